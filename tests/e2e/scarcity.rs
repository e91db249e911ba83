//! What Lockgate does when there is not enough of something: descriptors, memory, time for slow clients.

use std::time::Duration;

use lockgate_tests::{
    Answer, Certificates, Gate, Proxy, backend, client, eventually, proxy, proxy_to, raw, run, upload, within,
};
use tokio::time::{Instant, sleep};

const REFUSED: &str = "lockgate_connections_refused_total";

#[tokio::test]
async fn descriptors_that_run_out_stop_neither_those_who_are_served_nor_those_who_come_after() {
    let app = backend().says("hello").await;
    let proxy = proxy_to(app.url()).and("[server]\nworkers = 1").await;
    let mut innocent = client(proxy.address()).await;
    assert_eq!(innocent.get("/").await.text(), "hello");
    // For the admin listener, and a few more.
    let limit = proxy.open_files() + 20;
    run("prlimit", ["--pid", &proxy.pid().to_string(), &format!("--nofile={limit}:{limit}")]).await;
    let mut idle = Vec::new();
    for _ in 0..100 {
        idle.push(raw(proxy.address()).await);
    }
    proxy.log.line("cannot accept a connection").await;
    let (ticks, began) = (proxy.processor_ticks(), Instant::now());
    for _ in 0..50 {
        assert_eq!(innocent.get("/").await.text(), "hello");
        sleep(Duration::from_millis(10)).await;
    }
    // A tick is 10 ms: a loop that spins takes one for every 10 ms that pass.
    let (spent, passed) = (proxy.processor_ticks() - ticks, began.elapsed().as_millis() / 10);
    assert!(u128::from(spent) < passed / 2, "{spent} of {passed} ticks");
    // Who does nothing is let go, so that others can come in even while those try to stay.
    assert_eq!(within("a place", client(proxy.address()).await.get("/")).await.text(), "hello");
    drop(idle);
    assert_eq!(within("a place", client(proxy.address()).await.get("/")).await.text(), "hello");
    assert!(proxy.metric(&format!("{REFUSED}{{why=\"accept\"}}")).await > 0.0);
    assert!(proxy.log.count("cannot accept a connection") < 20, "said once a second at most");
}

/// Lets the proxy open nothing more before it has closed something. What it opens for a moment must not be under way.
async fn no_descriptors(proxy: &Proxy) {
    let lowest = || {
        let entries = std::fs::read_dir(format!("/proc/{}/fd", proxy.pid())).unwrap();
        let taken: Vec<u64> =
            entries.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect();
        (0..).find(|number| !taken.contains(number)).unwrap()
    };
    let mut free = lowest();
    // It looks at its memory now and then, by a descriptor that is gone at once.
    while free != lowest() {
        free = lowest();
    }
    limit_descriptors(proxy, free).await;
}

async fn limit_descriptors(proxy: &Proxy, soft: u64) {
    let said = run("prlimit", ["--pid", &proxy.pid().to_string(), &format!("--nofile={soft}:")]).await;
    assert_eq!(said.code, 0, "{said:?}");
}

/// A proxy with one worker that answers `/one` and `/two` from an upstream each, and thinks ill of backends quickly.
async fn quick_to_blame(one: &str, two: &str) -> Proxy {
    let hasty = "eject = { failures = 1, max_percent = 100 }\npanic_threshold = 0";
    let upstream = |name: &str| format!("[upstream.{name}]\nbackends = [${name}]\n{hasty}\n");
    let route = |name: &str| format!("[[route]]\npath = \"/{name}\"\nupstream = \"{name}\"\n");
    let toml = upstream("one") + &upstream("two") + &route("one") + &route("two") + "[server]\nworkers = 1\n";
    proxy(&toml).set("one", one).set("two", two).await
}

#[tokio::test]
async fn no_backend_is_to_blame_for_descriptors_that_run_out_on_the_way_to_it() {
    let gate = Gate::default();
    let (slow, free) = (backend().says_past(&gate, "hello").await, backend().says("hello").await);
    let other = backend().says("hello").await;
    let both = format!("\"{}\", \"{}\"", free.url(), other.url());
    let proxy = quick_to_blame(&format!("\"{}\"", slow.url()), &both).await;
    let (mut first, mut second) = (client(proxy.address()).await, client(proxy.address()).await);
    let under_way = first.start(http::Request::get("/one").body(lockgate_tests::empty()).unwrap());
    let under_way = tokio::spawn(under_way);
    eventually("it is under way", || slow.ledger.count() == 1).await;
    let mut idle = raw(proxy.address()).await;
    idle.send("GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!((idle.answer().await.status, second.get("/nothing").await.status.as_u16()), (404, 404));
    no_descriptors(&proxy).await;
    let answer = second.get("/two").await;
    assert_eq!((answer.status.as_u16(), answer.text().contains("system_limit")), (503, true), "{answer:?}");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    let line = proxy.log.line("exchange failed").await;
    assert!(line.contains("system_limit") && line.contains("Too many open files"), "{line}");
    // Who does nothing makes room for those who do something, and one can be served.
    idle.closed().await;
    drop((idle, second));
    let served = async || {
        let request = http::Request::get("/two").body(lockgate_tests::empty()).unwrap();
        client(proxy.address()).await.try_send(request).await.is_ok_and(|answer| answer.status == 200)
    };
    within("a place", async {
        while !served().await {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    gate.open();
    assert_eq!(within("the first", under_way).await.unwrap().unwrap().status(), 200);
    limit_descriptors(&proxy, 1000).await;
    assert!(proxy.metric("lockgate_failures_total{reason=\"system_limit\"}").await > 0.0);
    assert_eq!(proxy.metric("lockgate_retries_total").await, 0.0, "there are none for another backend either");
    assert_eq!(proxy.log.count("is ejected"), 0);
}

#[tokio::test]
async fn a_connection_that_is_kept_for_later_is_given_up_for_one_that_is_needed_now() {
    let (one, two) = (backend().says("one").await, backend().says("two").await);
    let proxy = quick_to_blame(&format!("\"{}\"", one.url()), &format!("\"{}\"", two.url())).await;
    let mut client = client(proxy.address()).await;
    assert_eq!(client.get("/one").await.text(), "one");
    assert_eq!(one.ledger.open(), 1, "it is kept");
    no_descriptors(&proxy).await;
    assert_eq!(client.get("/two").await.text(), "two");
    eventually("it is given up", || one.ledger.open() == 0).await;
    limit_descriptors(&proxy, 1000).await;
    assert_eq!(proxy.metric("lockgate_failures_total{reason=\"system_limit\"}").await, 0.0);
}

#[tokio::test]
async fn a_probe_that_cannot_be_sent_says_nothing_about_the_backend() {
    let app = backend().says("hello").await;
    let proxy = proxy_to(app.url())
        .upstream("health = { path = \"/well\", interval = \"20ms\", fall = 1 }\npanic_threshold = 0")
        .await;
    eventually("it is probed", || app.ledger.count() > 0).await;
    // Not even those that probes give back can be had again.
    limit_descriptors(&proxy, 3).await;
    proxy.log.nth_line("cannot be probed", 3).await;
    limit_descriptors(&proxy, 1000).await;
    let before = app.ledger.count();
    eventually("it is probed again", || app.ledger.count() > before).await;
    assert_eq!(proxy.log.count("is unhealthy"), 0);
}

#[tokio::test]
async fn memory_that_runs_out_costs_new_work_and_nothing_else() {
    // A backend that answers when it is told to.
    let (tell, told) = tokio::sync::watch::channel(false);
    let app = backend()
        .answers(move |request| {
            let mut told = told.clone();
            async move {
                if request.uri().path() == "/slow" {
                    let _ = told.wait_for(|told| *told).await;
                }
                http::Response::new(lockgate_tests::full("hello"))
            }
        })
        .await;
    // Every process has more than that.
    let proxy = proxy_to(app.url()).and("[limits]\nmemory = \"16 MiB\"").and("[server]\nworkers = 1").await;
    proxy.log.line("memory is tight").await;
    // One at a time is served: or it would never be better.
    let mut first = client(proxy.address()).await;
    let slow = first.start(http::Request::get("/slow").body(lockgate_tests::empty()).unwrap());
    eventually("it is under way", || app.ledger.count() == 1).await;
    for http2 in [false, true] {
        let client = client(proxy.address());
        let mut client = if http2 { client.http2().await } else { client.await };
        let answer = client.get("/").await;
        assert_eq!((answer.status.as_u16(), answer.text().contains("overloaded")), (503, true), "{answer:?}");
    }
    tell.send_replace(true);
    assert_eq!(slow.await.unwrap().status(), 200);
    drop(first);
    // Few connections are held, and no idle ones.
    let mut others = Vec::new();
    for _ in 0..40 {
        others.push(raw(proxy.address()).await);
    }
    let metric = format!("{REFUSED}{{why=\"memory\"}}");
    within("connections are refused", async {
        while proxy.metric(&metric).await == 0.0 {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    for other in &mut others {
        other.closed().await;
    }
    let roomy = "[upstream.app]\nbackends = [\"$app\"]\n[[route]]\nupstream = \"app\"\n\
                 [limits]\nmemory = \"unlimited\"\n[server]\nworkers = 1\n";
    proxy.reload(roomy).await;
    proxy.log.line("memory is no longer tight").await;
    assert_eq!(client(proxy.address()).await.get("/").await.text(), "hello");
}

#[tokio::test]
async fn memory_that_stays_tight_is_taken_from_clients_who_are_slow_to_take_their_responses() {
    let large = bytes::Bytes::from(vec![b'x'; 32 << 20]);
    let (said, events) = upload();
    let events = std::sync::Mutex::new(Some(events));
    let app = backend()
        .answers(move |request| {
            let events = events.lock().unwrap().take_if(|_| request.uri().path() == "/events");
            let body = events.unwrap_or_else(|| lockgate_tests::full(large.clone()));
            async move { http::Response::new(body) }
        })
        .await;
    let proxy = proxy_to(app.url()).and("[server]\nworkers = 1").await;
    let request = |path: &str| http::Request::get(path.to_owned()).body(lockgate_tests::empty()).unwrap();
    // One waits for its backend, and two keep theirs waiting.
    let mut listens = client(proxy.address()).await;
    let mut listens = listens.open(request("/events")).await.unwrap().into_body();
    let mut slow = raw(proxy.address()).await;
    slow.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let head = slow.head().await;
    let mut slower = client(proxy.address()).http2().await;
    let slower = slower.open(request("/large")).await.unwrap();
    proxy
        .reload(
            "[upstream.app]\nbackends = [\"$app\"]\n[[route]]\nupstream = \"app\"\n\
             [limits]\nmemory = \"16 MiB\"\n[server]\nworkers = 1\n",
        )
        .await;
    proxy.log.line("memory stays tight").await;
    proxy.out.nth_line("reason=overloaded", 2).await;
    assert!(head.contains("content-length: 33554432") && slow.rest().await.len() < 32 << 20, "cut short: {head}");
    assert!(within("the end", Answer::read(slower)).await.broken.is_some(), "and seen to be");
    assert!(proxy.metric(&format!("{REFUSED}{{why=\"memory\"}}")).await >= 2.0);
    said.send("news").await;
    let frame = within("an event", http_body_util::BodyExt::frame(&mut listens)).await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "news");
}

/// A proxy with TLS that has no patience.
async fn impatient(app: &str, certificates: &Certificates) -> Proxy {
    let issued = certificates.issue("localhost");
    proxy_to(app)
        .and("[timeouts]\nheader = \"1s\"\nbody_idle = \"1s\"\nkeepalive = \"1s\"\ntls_handshake = \"1s\"")
        .and("[limits]\nhandshakes = 64\nconnections_per_client = 16000")
        .and("[[listener]]\naddress = \"127.0.0.1:0\"")
        .and(
            "[[listener]]\naddress = \"127.0.0.1:0\"\n[[listener.certificate]]\ncertificate = \"$crt\"\nkey = \"$key\"",
        )
        .set("crt", issued.certificate.display())
        .set("key", issued.key.display())
        .await
}

/// How many silent clients, unless `LOCKGATE_CROWD` says otherwise.
fn crowd() -> usize {
    std::env::var("LOCKGATE_CROWD").map_or(200, |text| text.parse().expect("a number"))
}

#[tokio::test]
async fn a_crowd_of_slow_handshakes_and_silent_connections_goes_away_and_others_are_served_meanwhile() {
    let certificates = Certificates::new();
    let app = backend().says("hello").await;
    let proxy = impatient(&app.url(), &certificates).await;
    let plain = proxy.address();
    let (mut silent, mut slow) = (Vec::new(), Vec::new());
    for number in 0..crowd() {
        silent.push(raw(proxy.tls_address()).await);
        silent.push(raw(plain).await);
        slow.push(raw(proxy.tls_address()).await);
        if number % 50 == 0 {
            assert_eq!(client(plain).await.get("/").await.text(), "hello");
        }
    }
    // The beginning of a hello that is never whole, byte by byte: that something comes is no reason to wait longer.
    for byte in [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc] {
        for client in &mut slow {
            client.send([byte]).await;
        }
        assert_eq!(client(plain).await.get("/").await.text(), "hello");
    }
    let served = async {
        loop {
            let client = client(proxy.tls_address()).tls(certificates.client(&[]));
            if let Ok(mut client) = client.try_connect().await {
                return client.get("/").await;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    assert_eq!(within("a handshake", served).await.text(), "hello");
    for client in silent.iter_mut().chain(&mut slow) {
        client.closed().await;
    }
}

#[tokio::test]
async fn slowhttptest_finds_the_service_available() {
    let certificates = Certificates::new();
    let app = backend().says(&"hello".repeat(100_000)).await;
    let proxy = impatient(&app.url(), &certificates).await;
    let url = format!("http://{}/", proxy.address());
    for (what, arguments) in [
        ("headers", "-H -i 1 -t GET -x 24"),
        ("body", "-B -i 1 -s 8192 -t POST -x 10"),
        ("reading", "-X -w 1 -y 10 -n 1 -z 5 -k 3"),
    ] {
        let common = format!("{arguments} -c 100 -r 100 -l 4 -p 10 -u {url}");
        let attack = tokio::spawn(async move {
            let words: Vec<&str> = common.split(' ').collect();
            run("slowhttptest", words).await
        });
        let mut innocent = 0;
        while !attack.is_finished() {
            assert_eq!(client(proxy.address()).await.get("/").await.status, 200, "{what}");
            innocent += 1;
        }
        let said = attack.await.unwrap();
        assert!(innocent > 0 && !said.out.contains("service available:   NO"), "{what}: {}", said.out);
        eventually("the backend is let go", || app.ledger.open() <= 64).await;
    }
    assert_eq!(client(proxy.address()).await.get("/").await.status, 200);
}
