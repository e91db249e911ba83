//! Every wait has an end, and says so.

use std::time::Duration;

use http::{Request, Response};
use lockgate_tests::{
    Answer, Certificates, Gate, Proxy, Step, backend, client, empty, eventually, full, get, proxy, proxy_to, raw,
    script, upload, within,
};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};

const SOON: Duration = Duration::from_millis(300);
/// Much later than `SOON`, even on a busy machine, and earlier than any default.
const LATE: Duration = Duration::from_secs(9);

/// `began` is before the proxy could begin to wait.
fn in_time(began: Instant) {
    let took = began.elapsed();
    // A worker's clock goes in steps.
    assert!(took >= SOON * 8 / 10 && took < LATE, "took {took:?}");
}

#[tokio::test]
async fn a_head_that_does_not_end_is_408() {
    let app = backend().await;
    let proxy = proxy_to(app.url()).and("[timeouts]\nheader = \"300ms\"").await;
    let began = Instant::now();
    let mut client = raw(proxy.address()).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ").await;
    let answer = client.answer_or_close().await;
    in_time(began);
    let answer = answer.expect("an answer that says why");
    assert_eq!((answer.status, answer.body.contains("request_timeout")), (408, true), "{answer:?}");
    client.closed().await;
}

#[tokio::test]
async fn a_head_in_drops_has_the_same_time_in_all() {
    let app = backend().await;
    let proxy = proxy_to(app.url()).and("[timeouts]\nheader = \"300ms\"").await;
    let began = Instant::now();
    let mut client = raw(proxy.address()).await;
    let drops = async {
        for byte in "GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ".bytes().chain(std::iter::repeat(b'x')) {
            client.send([byte]).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
            if client.stream.try_read(&mut [0; 1]).is_ok() {
                return;
            }
        }
    };
    timeout(LATE, drops).await.expect("the connection ends although bytes keep coming");
    in_time(began);
}

#[tokio::test]
async fn a_connection_without_a_request_is_closed_without_a_word() {
    let app = backend().says("hello").await;
    let proxy = proxy_to(app.url()).and("[timeouts]\nkeepalive = \"300ms\"\nheader = \"300ms\"").await;
    let mut unused = raw(proxy.address()).await;
    // On a busy machine a client may be too late with its request, too.
    let (began, mut used) = loop {
        let began = Instant::now();
        let mut used = raw(proxy.address()).await;
        used.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        match used.answer_or_close().await {
            Some(answer) if answer.status == 200 => break (began, used),
            _ => {}
        }
    };
    used.closed().await;
    in_time(began);
    let rest = unused.rest().await;
    assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 408"), "{rest}");
}

#[tokio::test]
async fn an_http_2_connection_without_a_stream_is_closed() {
    let app = backend().says("hello").await;
    let proxy = proxy_to(app.url()).and("[timeouts]\nkeepalive = \"300ms\"").await;
    let began = Instant::now();
    let mut client = client(proxy.address()).http2().await;
    assert_eq!(client.get("/").await.text(), "hello");
    eventually("the connection is closed", || client.is_closed()).await;
    in_time(began);
}

#[tokio::test]
async fn a_request_body_that_moves_has_all_the_time_it_wants() {
    let app = backend().await;
    let proxy = proxy_to(app.url()).and("[timeouts]\nbody_idle = \"3s\"").await;
    assert_eq!(slow_upload(&proxy).await.json()["body"], "xxxxxxxx");
}

/// Sends a body byte by byte, for four seconds.
async fn slow_upload(proxy: &Proxy) -> Answer {
    let mut client = client(proxy.address()).await;
    let (hand, body) = upload();
    let response = tokio::spawn(client.start(Request::post("/").body(body).unwrap()));
    for _ in 0..8 {
        assert!(hand.send("x").await);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    drop(hand);
    Answer::read(within("the answer", response).await.unwrap().unwrap()).await
}

#[tokio::test]
async fn a_response_body_that_stalls_is_cut_and_seen_to_be() {
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf";
    let app = script([Step::ReadHead, Step::say(half), Step::ReadToEnd]).await;
    let proxy = proxy_to(app.url()).and("[timeouts]\nbody_idle = \"300ms\"").await;
    for http2 in [false, true] {
        let client = client(proxy.address());
        let mut client = if http2 { client.http2().await } else { client.await };
        let began = Instant::now();
        let answer = client.get("/").await;
        in_time(began);
        assert!(answer.status == 200 && answer.broken.is_some(), "{answer:?}");
        eventually("the backend's connection is gone", || app.ledger.open() == 0).await;
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_not_waited_for() {
    let app = backend()
        .answers(|_| async {
            let (hand, body) = upload();
            tokio::spawn(async move { while hand.send(vec![b'x'; 1 << 16]).await {} });
            Response::new(body)
        })
        .await;
    let proxy = proxy_to(app.url()).and("[timeouts]\nbody_idle = \"300ms\"").await;
    for http2 in [false, true] {
        let client = client(proxy.address());
        let mut client = if http2 { client.http2().await } else { client.await };
        let response = client.open(Request::get("/").body(empty()).unwrap()).await.unwrap();
        assert_eq!(app.ledger.connections(), 1 + usize::from(http2));
        eventually("the backend is let go", || app.ledger.open() == 0).await;
        drop(response);
    }
}

#[tokio::test]
async fn a_backend_that_accepts_and_stalls_is_504_and_not_asked_again_for_a_post() {
    let app = script([Step::ReadHead, Step::ReadToEnd]).await;
    let proxy = proxy_to(app.url()).upstream("response_timeout = \"300ms\"").await;
    let began = Instant::now();
    let answer = client(proxy.address()).await.post("/", "x").await;
    in_time(began);
    assert_eq!(answer.status, 504);
    assert!(answer.text().contains("upstream_timeout"), "{}", answer.text());
    assert_eq!(app.ledger.connections(), 1);
    eventually("the backend's connection is gone", || app.ledger.open() == 0).await;
}

#[tokio::test]
async fn a_response_head_in_drops_has_the_same_time_in_all() {
    let head = "HTTP/1.1 200 OK\r\nx-slow: ".to_owned() + &"x".repeat(2000);
    let app = script([Step::ReadHead, Step::SendSlowly(head.into(), Duration::from_millis(20))]).await;
    let proxy = proxy_to(app.url()).upstream("response_timeout = \"300ms\"").await;
    let began = Instant::now();
    let answer = get(proxy.address(), "/").await;
    in_time(began);
    assert_eq!(answer.status, 504);
}

#[tokio::test]
async fn a_slow_upload_does_not_count_as_the_backends_time() {
    let app = backend().await;
    let proxy = proxy_to(app.url()).upstream("response_timeout = \"3s\"").await;
    assert_eq!(slow_upload(&proxy).await.status, 200);
}

#[tokio::test]
async fn all_attempts_together_have_the_routes_time() {
    let app = script([Step::ReadHead, Step::ReadToEnd]).await;
    let proxy = proxy_to(app.url()).route("timeout = \"300ms\"").await;
    let began = Instant::now();
    let answer = get(proxy.address(), "/").await;
    in_time(began);
    assert_eq!(answer.status, 504);
}

#[tokio::test]
async fn a_backend_that_does_not_even_accept_is_given_up() {
    // A backlog that is full: further connections are not answered at all.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = timeout(SOON, TcpStream::connect(address)).await {
        waiting.push(stream.unwrap());
    }
    let proxy =
        proxy_to(format!("http://{address}")).upstream("connect_timeout = \"300ms\"\nretry = { attempts = 0 }").await;
    let began = Instant::now();
    let answer = client(proxy.address()).await.post("/", "x").await;
    in_time(began);
    assert!([502, 504].contains(&answer.status.as_u16()), "{answer:?}");
    assert!(
        ["connect_failed", "upstream_timeout"].iter().any(|reason| answer.text().contains(reason)),
        "{}",
        answer.text()
    );
}

#[tokio::test]
async fn a_tls_handshake_that_does_not_end_is_closed() {
    let certificates = Certificates::new();
    let issued = certificates.issue("localhost");
    let proxy = proxy(
        "[timeouts]\ntls_handshake = \"300ms\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n[[listener.certificate]]\n\
         certificate = \"$crt\"\nkey = \"$key\"\n[[route]]\nrespond = { body = \"hello\" }",
    )
    .set("crt", issued.certificate.display())
    .set("key", issued.key.display())
    .await;
    let began = Instant::now();
    let mut silent = raw(proxy.address()).await;
    let mut half = raw(proxy.address()).await;
    half.send([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00]).await;
    silent.closed().await;
    in_time(began);
    half.closed().await;
    // On a busy machine a handshake in good faith may be too late as well.
    let served = async {
        loop {
            if let Ok(mut client) = client(proxy.address()).tls(certificates.client(&[])).try_connect().await {
                return client.get("/").await.text();
            }
        }
    };
    assert_eq!(within("others are served", served).await, "hello");
}

#[tokio::test]
async fn idle_connections_to_a_backend_are_closed_in_time() {
    let app = backend().says("hello").await;
    let proxy = proxy_to(app.url()).upstream("pool = { idle_timeout = \"300ms\" }").await;
    let began = Instant::now();
    assert_eq!(get(proxy.address(), "/").await.text(), "hello");
    assert_eq!(app.ledger.connections(), 1);
    eventually("the idle connection is closed", || app.ledger.open() == 0).await;
    in_time(began);
}

#[tokio::test]
async fn no_more_idle_connections_to_a_backend_are_kept_than_the_configuration_says() {
    let gate = Gate::default();
    let app = backend().says_past(&gate, "hello").await;
    let proxy = proxy_to(app.url()).upstream("pool = { idle = 2 }").and("[server]\nworkers = 1").await;
    let requests: Vec<_> = (0..5).map(|_| tokio::spawn(get(proxy.address(), "/"))).collect();
    eventually("each has a connection of its own", || app.ledger.count() == 5).await;
    (0..6).for_each(|_| gate.open());
    for request in requests {
        assert_eq!(request.await.unwrap().text(), "hello");
    }
    eventually("all but two are closed", || app.ledger.open() == 2).await;
    assert_eq!(get(proxy.address(), "/").await.text(), "hello");
    assert_eq!((app.ledger.connections(), app.ledger.open()), (5, 2), "and those are used again");
}

#[tokio::test]
async fn a_probe_has_its_time() {
    let app = script([Step::ReadHead, Step::ReadToEnd]).await;
    let health = "health = { path = \"/health\", interval = \"50ms\", timeout = \"200ms\", fall = 1 }";
    let proxy = proxy_to(app.url()).upstream(health).await;
    let line = proxy.log.line("probes in a row failed").await;
    assert!(line.contains("no answer within 200ms"), "{line}");
}

#[tokio::test]
async fn a_slow_backend_within_its_time_is_fine() {
    let app = backend()
        .answers(|_| async {
            tokio::time::sleep(Duration::from_secs(4)).await;
            Response::new(full("worth it"))
        })
        .await;
    let proxy = proxy_to(app.url()).and("[timeouts]\nheader = \"2s\"\nkeepalive = \"2s\"\nbody_idle = \"2s\"").await;
    assert_eq!(get(proxy.address(), "/").await.text(), "worth it", "no other timer strikes meanwhile");
}

#[tokio::test]
async fn a_request_body_that_stalls_is_408_and_not_the_backends_fault() {
    let app = backend().await;
    let proxy = proxy_to(app.url()).and("[timeouts]\nbody_idle = \"300ms\"").await;
    let began = Instant::now();
    let mut client = raw(proxy.address()).await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf").await;
    let answer = client.answer().await;
    in_time(began);
    assert_eq!(answer.status, 408, "{answer:?}");
    client.closed().await;
    eventually("the backend's connection is gone", || app.ledger.connections() == 1 && app.ledger.open() == 0).await;
    assert_eq!(get(proxy.address(), "/next").await.status, 200);
}

#[tokio::test]
async fn a_request_with_a_body_gives_its_backend_no_more_time() {
    let app = script([Step::ReadHead, Step::Read(4), Step::ReadToEnd]).await;
    let proxy = proxy_to(app.url()).upstream("response_timeout = \"5s\"").await;
    let began = Instant::now();
    assert_eq!(client(proxy.address()).await.post("/", "body").await.status, 504);
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(4900) && took < Duration::from_millis(9900), "{took:?}");
}
