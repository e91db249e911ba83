//! What HTTP/2 lets one client ask of a server for next to nothing. Each such client is closed, and memory and the others
//! do not feel it.

use std::net::SocketAddr;

use http::Request;
use lockgate_tests::frames::{
    Attack, END_HEADERS, END_STREAM, PADDED, attack, frame, get, get_fields, kind, literal, setting,
};
use lockgate_tests::{Answer, Backend, Proxy, backend, client, empty, eventually, full, proxy_to};

/// Memory that an attack may cost: 4 MiB, in KiB.
const GROWTH: u64 = 4096;

/// A proxy that has served as many streams at once as one client may have, and its backend.
async fn warm() -> (Proxy, Backend) {
    let app = backend().says("hello").await;
    let proxy = proxy_to(app.url()).and("[server]\nworkers = 1").await;
    warm_up(&proxy).await;
    (proxy, app)
}

async fn warm_up(proxy: &Proxy) {
    for _ in 0..3 {
        let mut client = client(proxy.address()).http2().await;
        let streams: Vec<_> = (0..100).map(|_| client.start(Request::get("/").body(empty()).unwrap())).collect();
        for response in futures_util::future::join_all(streams).await {
            assert_eq!(Answer::read(response.unwrap()).await.status, 200);
        }
    }
}

/// Attacks while another client goes on with its requests, and sees that these are answered and the attacker is closed.
async fn survives(proxy: &Proxy, what: &str, attacker: impl FnOnce(SocketAddr) -> Attack + Send + 'static) {
    let address = proxy.address();
    let before = forget_peak(proxy);
    let mut innocent = client(address).http2().await;
    let attack = tokio::task::spawn_blocking(move || attacker(address));
    let mut served = 0;
    while served < 50 || !attack.is_finished() {
        assert_eq!(innocent.get("/").await.text(), "hello", "{what}: the innocent client");
        served += 1;
    }
    let attack = attack.await.unwrap();
    assert!(attack.closed, "{what}: still connected after {attack:?}");
    let grown = proxy.memory("VmHWM").saturating_sub(before);
    println!("{what}: {} rounds, {served} requests of the other client, {grown} KiB", attack.rounds);
    assert!(grown <= GROWTH, "{what}: {grown} KiB");
}

/// Forgets how much memory there was at most, and says how much there is.
fn forget_peak(proxy: &Proxy) -> u64 {
    std::fs::write(format!("/proc/{}/clear_refs", proxy.pid()), "5").unwrap();
    proxy.memory("VmRSS")
}

/// The number of the `round`th stream.
fn stream(round: u32) -> u32 {
    2 * round + 1
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_carry_nothing_are_limited() {
    let (proxy, _app) = warm().await;
    let floods: [(&str, Vec<u8>); 7] = [
        ("PING", frame(kind::PING, 0, 0, &[0; 8])),
        ("PING of answers", frame(kind::PING, 1, 0, &[0; 8])),
        ("SETTINGS", frame(kind::SETTINGS, 0, 0, &setting(3, 100))),
        ("PRIORITY", frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 3, 7])),
        ("frames of no kind", frame(0x42, 0, 0, b"x")),
        ("WINDOW_UPDATE", frame(kind::WINDOW_UPDATE, 0, 0, &1u32.to_be_bytes())),
        ("SETTINGS with nothing in it", frame(kind::SETTINGS, 0, 0, &[])),
    ];
    let count = floods.len();
    for (what, flood) in floods {
        let round = flood.repeat(100);
        survives(&proxy, what, move |address| attack(address, &[], &[], 20_000, |_| round.clone())).await;
    }
    let metric = "lockgate_connections_refused_total{why=\"flood\"}";
    assert!(proxy.metric(metric).await >= count as f64);
    proxy.log.line("closed for a flood of frames").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_opened_to_be_reset_are_limited_and_cancel_what_they_began() {
    let (proxy, app) = warm().await;
    let round = |round| [get(stream(round)), frame(kind::RST_STREAM, 0, stream(round), &8u32.to_be_bytes())].concat();
    survives(&proxy, "rapid reset", move |address| attack(address, &[], &[], 500_000, round)).await;
    // And those that are given a moment, so that they have been accepted when they are reset.
    let round = |round: u32| {
        let streams = (round / 2 * 50..).take(50).map(stream);
        if round.is_multiple_of(2) {
            return streams.flat_map(get).collect();
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
        streams.flat_map(|stream| frame(kind::RST_STREAM, 0, stream, &8u32.to_be_bytes())).collect()
    };
    survives(&proxy, "slower reset", move |address| attack(address, &[], &[], 4000, round)).await;
    // 64 idle connections are kept, and the innocent client may have one.
    eventually("what was begun is given up", || app.ledger.open() <= 65).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_opened_to_make_us_reset_them_are_limited() {
    let (proxy, _app) = warm().await;
    // The six ways, each with a request in front of it that is under way.
    type Primitive = fn(u32) -> Vec<u8>;
    let primitives: [(&str, Primitive); 6] = [
        ("a window opened by nothing", |stream| frame(kind::WINDOW_UPDATE, 0, stream, &0u32.to_be_bytes())),
        ("a window opened too wide", |stream| frame(kind::WINDOW_UPDATE, 0, stream, &0x7fff_ffffu32.to_be_bytes())),
        ("a priority of the wrong length", |stream| frame(kind::PRIORITY, 0, stream, &[0; 4])),
        ("a stream that depends on itself", |stream| {
            frame(kind::PRIORITY, 0, stream, &[&stream.to_be_bytes()[..], &[0]].concat())
        }),
        ("a body behind the end", |stream| frame(kind::DATA, END_STREAM, stream, b"x")),
        ("fields behind the end", |stream| frame(kind::HEADERS, END_HEADERS | END_STREAM, stream, &get_fields())),
    ];
    for (what, primitive) in primitives {
        let round = move |round| [get(stream(round)), primitive(stream(round))].concat();
        survives(&proxy, what, move |address| attack(address, &[], &[], 500_000, round)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_without_end_are_limited() {
    let (proxy, _app) = warm().await;
    let open = frame(kind::HEADERS, END_STREAM, 1, &get_fields());
    for (what, payload) in [
        ("CONTINUATION", literal(b"x", &[b'a'; 100]).repeat(10)),
        ("CONTINUATION with little in it", literal(b"x", b"")),
        ("CONTINUATION with nothing in it", Vec::new()),
    ] {
        let (open, round) = (open.clone(), frame(kind::CONTINUATION, 0, 1, &payload).repeat(10));
        survives(&proxy, what, move |address| attack(address, &[], &open, 500_000, |_| round.clone())).await;
    }
    // Twenty entries of the table in each, named a hundred times: 1 byte of the attacker's is 4 KiB here.
    let entry = [&[0x40, 1, b'x', 0x7f, 0xa1, 0x1e][..], &[b'a'; 4000]].concat();
    let first = frame(kind::HEADERS, END_STREAM | END_HEADERS, 1, &[get_fields(), entry].concat());
    let bomb = [get_fields(), vec![0xbe; 4000]].concat();
    let round = move |round| frame(kind::HEADERS, END_STREAM | END_HEADERS, stream(round + 1), &bomb);
    survives(&proxy, "a bomb of references", move |address| attack(address, &[], &first, 20_000, round)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_pieces_of_a_body_are_limited() {
    let (proxy, _app) = warm().await;
    let open = frame(kind::HEADERS, END_HEADERS, 1, &get_fields());
    for (what, piece) in [
        ("DATA with nothing in it", frame(kind::DATA, 0, 1, &[])),
        ("DATA with nothing but padding", frame(kind::DATA, PADDED, 1, &[1, 0])),
    ] {
        let (open, round) = (open.clone(), piece.repeat(100));
        survives(&proxy, what, move |address| attack(address, &[], &open, 20_000, |_| round.clone())).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_fields_are_refused_however_they_are_spelled() {
    let (proxy, app) = warm().await;
    let before = app.ledger.count();
    for (what, name) in [("fields", "x"), ("crumbs of a cookie", "cookie")] {
        let mut client = client(proxy.address()).http2().await;
        let mut request = Request::get("/");
        for _ in 0..150 {
            request = request.header(name, "a=b");
        }
        assert_eq!(client.send(request.body(empty()).unwrap()).await.status, 431, "{what}");
        assert_eq!(client.get("/").await.status, 200, "{what}: the next");
    }
    assert_eq!(app.ledger.count(), before + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_that_are_asked_for_and_never_let_in_are_given_up() {
    let app = backend().says(&"x".repeat(1 << 20)).await;
    let proxy =
        proxy_to(app.url()).and("[server]\nworkers = 1\n[timeouts]\nbody_idle = \"1s\"\nkeepalive = \"2s\"").await;
    warm_up(&proxy).await;
    let before = forget_peak(&proxy);
    // A window of 0.
    let address = proxy.address();
    let open = |round| get(stream(round));
    let attacker = tokio::task::spawn_blocking(move || attack(address, &setting(4, 0), &[], 100, open));
    let attack = attacker.await.unwrap();
    let grown = proxy.memory("VmHWM").saturating_sub(before);
    println!("zero windows: {} rounds, {grown} KiB", attack.rounds);
    assert!(attack.closed, "{attack:?}");
    assert!(grown <= GROWTH, "{grown} KiB");
    eventually("the backend is let go", || app.ledger.open() <= 1).await;
    assert_eq!(client(proxy.address()).http2().await.get("/").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bomb_that_keeps_to_the_limits_costs_no_more_than_its_limits() {
    // Several at once: what one costs is little beside what the allocator may keep or give back.
    const ATTACKERS: usize = 4;
    // An entry of the table, named by a byte as often as fields are allowed: each request is 30 KiB of fields in 100 bytes.
    let entry = [&[0x40, 1, b'x', 0x7f, 0xa3, 0x01][..], &[b'a'; 290]].concat();
    let first = frame(kind::HEADERS, END_STREAM | END_HEADERS, 1, &[get_fields(), entry].concat());
    let bomb = [get_fields(), vec![0xbe; 90]].concat();
    for answers in [true, false] {
        let (stall, stalls) = tokio::sync::watch::channel(false);
        let app = backend().answers(move |_| {
            let mut stalls = stalls.clone();
            async move {
                let _ = stalls.wait_for(|stalls| !stalls).await;
                http::Response::new(full("x".repeat(1 << 20)))
            }
        });
        let app = app.await;
        let settings = "[server]\nworkers = 1\n[timeouts]\nbody_idle = \"1s\"\nkeepalive = \"2s\"";
        let proxy = proxy_to(app.url()).upstream("response_timeout = \"1s\"").and(settings).await;
        warm_up(&proxy).await;
        stall.send_replace(!answers);
        let before = forget_peak(&proxy);
        let attackers = [(); ATTACKERS].map(|()| {
            let (address, first, bomb) = (proxy.address(), first.clone(), bomb.clone());
            let round = move |round| frame(kind::HEADERS, END_STREAM | END_HEADERS, stream(round + 1), &bomb);
            tokio::task::spawn_blocking(move || attack(address, &setting(4, 0), &first, 99, round))
        });
        for attack in attackers {
            let attack = attack.await.unwrap();
            assert!(attack.closed, "{attack:?}");
        }
        let grown = proxy.memory("VmHWM").saturating_sub(before);
        println!("{ATTACKERS} bombs, answered: {answers}: {grown} KiB");
        assert!(grown <= ATTACKERS as u64 * GROWTH, "{grown} KiB");
        eventually("the backend is let go", || app.ledger.open() <= 1).await;
    }
}
