//! What one client may use.

use http::{Request, Response};
use lockgate_tests::{Certificates, backend, client, empty, eventually, full, get, proxy_to, raw, upload};

#[tokio::test]
async fn more_fields_than_allowed_are_431() {
    let app = backend().await;
    let proxy = proxy_to(app.url()).and("[limits]\nheader_count = 10").await;
    for (count, status) in [(9, 200), (11, 431)] {
        let fields = (0..count - 1).map(|number| format!("X-{number}: 1\r\n")).collect::<String>();
        let mut client = raw(proxy.address()).await;
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).await;
        assert_eq!(client.answer().await.status, status, "{count} fields");
    }
    assert_eq!(app.ledger.count(), 1);
}

#[tokio::test]
async fn a_longer_header_section_than_allowed_is_431() {
    let app = backend().await;
    let proxy = proxy_to(app.url()).and("[limits]\nheader_size = \"4 KiB\"").await;
    for http2 in [false, true] {
        for (length, status) in [(3 * 1024, 200), (5 * 1024, 431)] {
            let client = client(proxy.address());
            let mut client = if http2 { client.http2().await } else { client.await };
            let request = Request::get("/").header("x-long", "x".repeat(length)).body(empty()).unwrap();
            assert_eq!(client.send(request).await.status, status, "{length} bytes, http2: {http2}");
        }
    }
    assert_eq!(app.ledger.count(), 2);
}

#[tokio::test]
async fn default_limits_hold_against_much_more() {
    let app = backend().await;
    let proxy = proxy_to(app.url()).await;
    let mut client = raw(proxy.address()).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n").await;
    let field = format!("X-Long: {}\r\n", "x".repeat(1000));
    for _ in 0..1000 {
        client.send(&field).await;
    }
    if let Some(answer) = client.answer_or_close().await {
        assert_eq!(answer.status, 431);
    }
    assert_eq!(app.ledger.count(), 0);
    assert_eq!(get(proxy.address(), "/").await.status, 200);
}

#[tokio::test]
async fn a_longer_target_than_allowed_is_414() {
    let app = backend().await;
    let proxy = proxy_to(app.url()).and("[limits]\nuri_length = \"64 B\"").await;
    for http2 in [false, true] {
        for (length, status) in [(60, 200), (65, 414)] {
            let client = client(proxy.address());
            let mut client = if http2 { client.http2().await } else { client.await };
            let answer = client.get(&format!("/{}", "x".repeat(length - 1))).await;
            assert_eq!(answer.status, status, "{length} bytes, http2: {http2}");
        }
    }
}

#[tokio::test]
async fn a_declared_body_longer_than_allowed_is_413_before_it_is_sent() {
    let app = backend().await;
    let proxy = proxy_to(app.url()).route("body_limit = \"1 KiB\"").await;
    let mut client = raw(proxy.address()).await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1025\r\nExpect: 100-continue\r\n\r\n").await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.body.contains("body_too_large")), (413, true), "{answer:?}");
    assert_eq!(app.ledger.count(), 0);
    let mut client = raw(proxy.address()).await;
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1024\r\n\r\n{}", "x".repeat(1024))).await;
    assert_eq!(client.answer().await.status, 200);
}

#[tokio::test]
async fn a_body_in_chunks_longer_than_allowed_is_413_and_the_backend_never_has_it_whole() {
    let app = backend()
        .answers(|request| async {
            match http_body_util::BodyExt::collect(request.into_body()).await {
                Ok(_) => Response::new(full("whole")),
                Err(_) => Response::new(full("cut")),
            }
        })
        .await;
    let proxy = proxy_to(app.url()).and("[limits]\nbody = \"64 KiB\"").await;
    for http2 in [false, true] {
        let client = client(proxy.address());
        let mut client = if http2 { client.http2().await } else { client.await };
        let (hand, body) = upload();
        let response = tokio::spawn(client.start(Request::post("/").body(body).unwrap()));
        for _ in 0..5 {
            if !hand.send(vec![b'x'; 16 * 1024]).await {
                break;
            }
        }
        drop(hand);
        let response = response.await.unwrap().unwrap();
        assert_eq!(response.status(), 413, "http2: {http2}");
    }
    eventually("the backend's connections are gone", || app.ledger.open() == 0).await;
    assert_eq!(client(proxy.address()).await.post("/", "x".repeat(64 * 1024)).await.text(), "whole");
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_at_once_and_room_is_used_again() {
    let app = backend().says("hello").await;
    let proxy = proxy_to(app.url()).and("[limits]\nconnections = 3").await;
    drop(filled(&proxy, 3).await);
    wait_for_room(&proxy).await;
}

#[tokio::test]
async fn connections_of_one_address_beyond_the_limit_are_closed_and_others_come_in() {
    let app = backend().says("hello").await;
    let proxy = proxy_to(app.url()).and("[limits]\nconnections_per_client = 2").await;
    let clients = filled(&proxy, 2).await;
    // Every address of 127/8 is this machine.
    let said = lockgate_tests::curl(["--interface", "127.0.0.2", &proxy.url("/")]).await;
    assert_eq!(said.out, "hello", "{}", said.err);
    drop(clients);
    wait_for_room(&proxy).await;
}

#[tokio::test]
async fn who_connects_too_often_is_closed_out_for_a_while_and_others_come_in() {
    let app = backend().says("hello").await;
    // Few enough to be there long before those of the last 10 s are forgotten, twice.
    let proxy = proxy_to(app.url()).and("[limits]\nnew_connections_per_client = 4").await;
    let refused = async || proxy.metric("lockgate_connections_refused_total{why=\"new_connections_per_client\"}").await;
    let mut served = 0;
    while refused().await == 0.0 {
        let mut client = raw(proxy.address()).await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        served += usize::from(client.answer_or_close().await.is_some());
    }
    assert!((4..=8).contains(&served), "{served} of one window or two");
    let line = proxy.log.line("new connections within").await;
    assert!(line.contains("127.0.0.1") && line.contains("more than 4"), "{line}");
    let said = lockgate_tests::curl(["--interface", "127.0.0.2", &proxy.url("/")]).await;
    assert_eq!(said.out, "hello", "{}", said.err);
}

#[tokio::test]
async fn a_trusted_proxy_is_not_one_client() {
    let app = backend().says("hello").await;
    let proxy = proxy_to(app.url())
        .and("[server]\ntrusted_proxies = [\"127.0.0.1\"]\n[limits]\nconnections_per_client = 2\nnew_connections_per_client = 2")
        .await;
    let mut kept = Vec::new();
    for _ in 0..5 {
        let mut client = raw(proxy.address()).await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(client.answer_or_close().await.is_some());
        kept.push(client);
    }
    for limit in ["connections_per_client", "new_connections_per_client"] {
        let refused = proxy.metric(&format!("lockgate_connections_refused_total{{why=\"{limit}\"}}")).await;
        assert_eq!(refused, 0.0, "{limit}");
    }
}

/// So many clients that are connected, and one more who is not let in.
async fn filled(proxy: &lockgate_tests::Proxy, most: usize) -> Vec<lockgate_tests::Raw> {
    let mut clients = Vec::new();
    for number in 0..=most {
        let mut client = raw(proxy.address()).await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        match client.answer_or_close().await {
            Some(answer) if number < most => assert_eq!(answer.body, "hello"),
            Some(answer) => assert_eq!(answer.status, 503),
            None => assert_eq!(number, most),
        }
        clients.push(client);
    }
    clients
}

async fn wait_for_room(proxy: &lockgate_tests::Proxy) {
    let room = async {
        loop {
            let mut client = raw(proxy.address()).await;
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
            match client.answer_or_close().await {
                Some(answer) if answer.body == "hello" => return,
                _ => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
            }
        }
    };
    lockgate_tests::within("room for a new connection", room).await;
}

#[tokio::test]
async fn streams_beyond_the_limit_wait_or_are_refused_and_the_rest_go_on() {
    let app = backend()
        .answers(|_| async {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            Response::new(full("hello"))
        })
        .await;
    let proxy = proxy_to(app.url()).and("[limits]\nstreams = 4").await;
    let mut client = client(proxy.address()).http2().await;
    assert_eq!(client.get("/").await.text(), "hello");
    let streams: Vec<_> = (0..12).map(|_| client.start(Request::get("/").body(empty()).unwrap())).collect();
    let mut most = 0;
    let answers = futures_util::future::join_all(streams);
    tokio::pin!(answers);
    let answers = loop {
        tokio::select! {
            answers = &mut answers => break answers,
            () = tokio::time::sleep(std::time::Duration::from_millis(5)) => most = most.max(app.ledger.open()),
        }
    };
    assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|response| response.status() == 200)), "{answers:?}");
    assert!(most <= 4, "{most} at once");
}

#[tokio::test]
async fn a_connection_ends_in_good_order_after_its_share_of_exchanges() {
    let app = backend().says("hello").await;
    let proxy = proxy_to(app.url()).and("[limits]\nexchanges_per_connection = 3").await;
    let mut client = raw(proxy.address()).await;
    for number in 1..=3 {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.header("connection") == Some("close")), (200, number == 3));
    }
    client.closed().await;

    let mut client = lockgate_tests::client(proxy.address()).http2().await;
    for _ in 0..3 {
        assert_eq!(client.get("/").await.text(), "hello");
    }
    eventually("the connection is closed", || client.is_closed()).await;
}

#[tokio::test]
async fn handshakes_beyond_the_limit_do_not_shut_others_out_for_long() {
    let certificates = Certificates::new();
    let issued = certificates.issue("localhost");
    let app = backend().says("hello").await;
    let proxy = proxy_to(app.url())
        .and("[limits]\nhandshakes = 2\n[timeouts]\ntls_handshake = \"500ms\"")
        .and(
            "[[listener]]\naddress = \"127.0.0.1:0\"\n[[listener.certificate]]\ncertificate = \"$crt\"\nkey = \"$key\"",
        )
        .set("crt", issued.certificate.display())
        .set("key", issued.key.display())
        .await;
    let mut silent = Vec::new();
    for _ in 0..6 {
        silent.push(raw(proxy.address()).await);
    }
    let served = async {
        loop {
            let client = client(proxy.address()).tls(certificates.client(&[]));
            if let Ok(mut client) = client.try_connect().await {
                return client.get("/").await;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    assert_eq!(lockgate_tests::within("a place", served).await.text(), "hello");
}
