#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{Live, Prober, QueueFull, Upstream};
use crate::config::{
    self, At, Balance, Eject, HealthProbe, PoolSettings, Problems, Protocol, Retry, Source, UpstreamTls,
};

impl Upstream {
    /// An upstream with these backends and default settings, for tests.
    pub(crate) fn sample(addresses: &[&str]) -> Arc<Self> {
        build(&settings(addresses), None)
    }
}

fn settings(addresses: &[&str]) -> config::Upstream {
    let backend = |address: &&str| config::Backend { at: At::default(), address: address.parse().unwrap(), weight: 1 };
    config::Upstream {
        proxy_protocol: false,
        at: At::default(),
        backends: addresses.iter().map(backend).collect(),
        balance: Balance::RoundRobin,
        protocol: Protocol::Auto,
        tls: UpstreamTls::default(),
        pool: PoolSettings { idle: 64, idle_timeout: Duration::from_secs(60) },
        connect_timeout: Duration::from_secs(5),
        response_timeout: Duration::from_secs(60),
        retry: Retry { attempts: 1, non_idempotent: false, status: Vec::new() },
        health: None,
        eject: Eject { failures: 5, time: Duration::from_secs(30), max_percent: 50 },
        panic_threshold: 50,
        max_requests: 1024,
        queue: 1024,
        queue_timeout: Duration::from_millis(100),
        reach: None,
    }
}

fn weighted(weights: &[u32]) -> Arc<Upstream> {
    let addresses: Vec<_> = (0..weights.len()).map(|n| format!("http://10.0.0.{n}:80")).collect();
    let mut settings = settings(&addresses.iter().map(String::as_str).collect::<Vec<_>>());
    for (backend, weight) in settings.backends.iter_mut().zip(weights) {
        backend.weight = *weight;
    }
    build(&settings, None)
}

fn build(settings: &config::Upstream, previous: Option<&Arc<Upstream>>) -> Arc<Upstream> {
    let source = Source::default();
    let mut problems = Problems::new(&source);
    let upstream = Upstream::build("app", settings, previous, &source, &mut problems);
    let upstream = upstream.unwrap_or_else(|| panic!("{problems}"));
    upstream.adopt();
    upstream
}

fn told(settings: &config::Upstream) -> String {
    let source = Source::default();
    let mut problems = Problems::new(&source);
    assert!(Upstream::build("app", settings, None, &source, &mut problems).is_none());
    problems.to_string()
}

/// The backends of so many requests, one after another.
fn rounds(upstream: &Upstream, requests: usize, tried: &[u16]) -> Vec<u16> {
    (0..requests).map(|_| pick(upstream, tried)).collect()
}

fn pick(upstream: &Upstream, tried: &[u16]) -> u16 {
    let live = upstream.live(tried);
    live[upstream.next(&live)]
}

fn count(picks: &[u16], backend: u16) -> usize {
    picks.iter().filter(|pick| **pick == backend).count()
}

fn fail(upstream: &Upstream, backend: usize, times: u32, now: u64) {
    for _ in 0..times {
        let backend = &upstream.backends[backend];
        backend.group.failed_at(backend, now);
    }
}

#[test]
fn every_window_of_whole_rounds_is_even() {
    let upstream = weighted(&[1, 1, 1]);
    let picks = rounds(&upstream, 300, &[]);
    assert_eq!(picks[..6], [0, 1, 2, 0, 1, 2]);
    for window in picks.windows(30) {
        assert!((0..3).all(|backend| count(window, backend) == 10));
    }
}

#[test]
fn rounds_stay_even_when_some_are_out_and_when_others_retry() {
    let upstream = weighted(&[1, 1, 1, 1]);
    fail(&upstream, 1, 5, 1);
    assert!(!upstream.backends[1].healthy());
    let mut picks = Vec::new();
    for _ in 0..300 {
        let first = pick(&upstream, &[]);
        picks.push(first);
        if first == 3 {
            assert_ne!(pick(&upstream, &[first]), first);
        }
    }
    assert_eq!(count(&picks, 1), 0);
    for window in picks.windows(30) {
        assert!([0, 2, 3].iter().all(|backend| count(window, *backend) == 10));
    }
}

#[test]
fn rounds_are_even_across_threads() {
    let upstream = weighted(&[1, 1, 1]);
    let picks: Vec<u16> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| rounds(&upstream, 750, &[]))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!((0..3).all(|backend| count(&picks, backend) == 1000));
}

#[test]
fn weights_are_kept_in_every_round_and_spread_within_it() {
    let upstream = weighted(&[5, 1, 2]);
    let picks = rounds(&upstream, 80, &[]);
    for window in picks.windows(8) {
        assert_eq!([0, 1, 2].map(|backend| count(window, backend)), [5, 1, 2]);
    }
    // Never the whole share of the heaviest in one go.
    assert!(picks.windows(5).all(|window| count(window, 0) < 5));

    fail(&upstream, 0, 5, 1);
    let picks = rounds(&upstream, 30, &[]);
    assert!(picks.windows(3).all(|window| [0, 1, 2].map(|backend| count(window, backend)) == [0, 1, 2]));
}

#[test]
fn a_backend_that_was_tried_is_not_asked_again() {
    let upstream = weighted(&[1, 1]);
    assert_eq!(upstream.live(&[0])[..], [1]);
    assert!(upstream.live(&[0, 1]).is_empty());
    assert!(!upstream.full(&[0, 1]));
}

#[test]
fn a_failing_backend_is_ejected_tried_once_and_taken_back() {
    let upstream = weighted(&[1, 1, 1]);
    fail(&upstream, 0, 4, 1);
    upstream.backends[0].succeeded(Duration::from_millis(1));
    fail(&upstream, 0, 4, 1);
    assert!(upstream.backends[0].healthy(), "five in a row, not five in all");
    fail(&upstream, 0, 1, 1);
    assert_eq!(upstream.live_at(&[], 2)[..], [1, 2]);
    assert_eq!(upstream.live_at(&[], 30_000)[..], [1, 2]);

    let trial = upstream.live_at(&[], 30_001);
    assert_eq!(trial[..], [0, 1, 2]);
    assert_eq!(upstream.next(&trial), 0, "whoever has it on trial tries it");
    assert_eq!(upstream.live_at(&[], 30_002)[..], [1, 2], "one request tries it");
    fail(&upstream, 0, 1, 30_100);
    assert_eq!(upstream.live_at(&[], 90_099)[..], [1, 2], "twice as long the second time");
    assert_eq!(upstream.live_at(&[], 90_100)[..], [0, 1, 2]);
    upstream.backends[0].succeeded(Duration::from_millis(1));
    assert!(upstream.backends[0].healthy());
    assert_eq!(upstream.live_at(&[], 90_101)[..], [0, 1, 2]);
}

#[test]
fn an_answer_from_before_the_ejection_does_not_end_it() {
    let upstream = weighted(&[1, 1]);
    fail(&upstream, 0, 5, 1);
    upstream.backends[0].succeeded(Duration::from_millis(1));
    assert!(!upstream.backends[0].healthy());
    fail(&upstream, 0, 20, 2);
    assert_eq!(upstream.live_at(&[], 30_001)[..], [0, 1], "late failures do not lengthen it");
}

#[test]
fn no_more_than_the_configured_part_is_ejected() {
    let upstream = weighted(&[1, 1, 1, 1, 1]);
    (0..5).for_each(|backend| fail(&upstream, backend, 5, 1));
    assert_eq!(upstream.live_at(&[], 2)[..], [2, 3, 4]);
    let alone = weighted(&[1]);
    fail(&alone, 0, 50, 1);
    assert_eq!(alone.live_at(&[], 2)[..], [0]);
}

#[test]
fn when_too_few_are_healthy_all_are_used() {
    let mut settings = settings(&["http://a:1", "http://b:1", "http://c:1"]);
    let upstream = build(&settings, None);
    let down = |upstream: &Upstream, place: usize| {
        let backend = &upstream.backends[place];
        backend.group.probed_down(backend, "a test");
    };
    down(&upstream, 0);
    assert_eq!((upstream.live(&[]).len(), upstream.panicking()), (2, false));
    down(&upstream, 1);
    assert_eq!((upstream.live(&[]).len(), upstream.panicking()), (3, true));
    upstream.backends[1].group.probed_up(&upstream.backends[1], "a test");
    assert_eq!((upstream.live(&[]).len(), upstream.panicking()), (2, false));

    settings.panic_threshold = 0;
    let strict = build(&settings, None);
    (0..3).for_each(|place| down(&strict, place));
    assert!(strict.live(&[]).is_empty() && !strict.full(&[]) && !strict.panicking());
}

#[test]
fn equal_settings_give_the_same_upstream_wherever_they_stand() {
    let settings = settings(&["http://a:1", "http://b:1"]);
    let first = build(&settings, None);
    let mut moved = settings;
    moved.at = At { path: "upstream.app".to_owned(), span: 7..9 };
    assert!(Arc::ptr_eq(&first, &build(&moved, Some(&first))));
}

#[test]
fn a_changed_upstream_keeps_the_backends_that_stayed_and_their_health() {
    let first = Upstream::sample(&["http://a:1", "http://b:1"]);
    fail(&first, 0, 5, 1);
    let second = build(&settings(&["http://c:1", "http://a:1"]), Some(&first));
    assert!(!Arc::ptr_eq(&first, &second));
    assert!(Arc::ptr_eq(&first.backends[0], &second.backends[1]));
    assert_eq!(second.live_at(&[], 2)[..], [0]);
    assert!(second.backends[0].id > first.backends[1].id);

    // The one that went away while it was ill is forgotten.
    let third = build(&settings(&["http://c:1"]), Some(&second));
    assert!(third.group.all_sound());
    fail(&second, 1, 50, 3);
    assert!(third.group.all_sound());
}

#[test]
fn wrong_addresses_are_told() {
    let mut upstream = settings(&["http://a:1"]);
    upstream.backends[0].address = "/path".parse().unwrap();
    assert!(told(&upstream).contains("not like http://host:port"), "{}", told(&upstream));
}

#[tokio::test]
async fn exchanges_wait_for_room_in_a_queue_of_limited_length() {
    let mut settings = settings(&["http://a:1", "http://b:1"]);
    (settings.max_requests, settings.queue) = (1, 1);
    let upstream = build(&settings, None);
    let requests = [upstream.backends[0].begin(), upstream.backends[1].begin()];
    assert!(upstream.live(&[]).is_empty() && upstream.full(&[]));

    let other = Arc::clone(&upstream);
    let waiting = tokio::spawn(async move { other.live_or_wait(&[]).await });
    while upstream.group.queue().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(upstream.live_or_wait(&[]).await, Err(QueueFull));
    drop(requests);
    let live = tokio::time::timeout(Duration::from_secs(5), waiting).await.unwrap().unwrap().unwrap();
    assert!(!live.is_empty());
    assert!(upstream.group.queue().is_empty());
    assert_eq!(upstream.live_or_wait(&[]).await, Ok(Live::from_slice(&[0, 1])));
    assert_eq!(upstream.backends[0].in_flight.load(Ordering::Relaxed), 0);
}

/// A server that answers every connection with what is in `answer` at that time, and its address.
async fn server(answer: &'static std::sync::Mutex<&'static str>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 1024];
            let _ = stream.read(&mut head).await;
            let text = *answer.lock().unwrap();
            let _ = stream.write_all(text.as_bytes()).await;
        }
    });
    format!("http://{address}")
}

async fn until(what: impl Fn() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(10), async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    waited.await.unwrap();
}

#[tokio::test]
async fn probes_take_a_backend_out_and_bring_it_back() {
    const WELL: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    static ANSWER: std::sync::Mutex<&str> = std::sync::Mutex::new(WELL);
    let mut settings = settings(&[&server(&ANSWER).await, &server(&ANSWER).await]);
    settings.panic_threshold = 0;
    settings.health = Some(HealthProbe {
        path: "/health".to_owned(),
        interval: Duration::from_millis(5),
        timeout: Duration::from_millis(500),
        fall: 3,
        rise: 2,
        expect: 200..=399,
    });
    let upstream = build(&settings, None);
    let mut prober = Prober::default();
    prober.follow([&upstream]);
    for wrong in [
        "HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n",
        "nonsense\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx",
    ] {
        *ANSWER.lock().unwrap() = wrong;
        until(|| upstream.backends.iter().all(|backend| !backend.healthy())).await;
        *ANSWER.lock().unwrap() = WELL;
        until(|| upstream.backends.iter().all(|backend| backend.healthy())).await;
    }

    *ANSWER.lock().unwrap() = "";
    until(|| upstream.live(&[]).is_empty()).await;
    // Nobody would ever find out that it is well again.
    prober.follow([]);
    assert_eq!(upstream.live(&[]).len(), 2);
}
