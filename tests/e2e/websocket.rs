//! WebSocket by tungstenite, and the ways to smuggle through an upgrade.

use std::time::Duration;

use futures_util::StreamExt as _;
use lockgate_tests::websocket::{ask, open, open_tls, parrot};
use lockgate_tests::{Certificates, Gate, Step, backend, eventually, proxy, proxy_to, raw, script, within};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Error;

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const ACCEPTED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

#[tokio::test]
async fn messages_go_both_ways() {
    let app = parrot().await;
    let proxy = proxy_to(app.url()).await;
    let (mut socket, response) = open(proxy.address()).await.unwrap();
    assert_eq!(response.status(), 101);
    for text in ["hello", &"long ".repeat(100_000)] {
        assert_eq!(ask(&mut socket, text).await.unwrap(), text);
    }
    socket.close(None).await.unwrap();
    while let Some(Ok(_)) = within("the other side's close", socket.next()).await {}
    drop(socket);
    eventually("the backend's connection is gone", || app.ledger.open() == 0).await;
}

#[tokio::test]
async fn messages_go_over_tls_too() {
    let certificates = Certificates::new();
    let issued = certificates.issue("localhost");
    let app = parrot().await;
    let proxy = proxy_to(app.url())
        .and(
            "[[listener]]\naddress = \"127.0.0.1:0\"\n[[listener.certificate]]\ncertificate = \"$crt\"\nkey = \"$key\"",
        )
        .set("crt", issued.certificate.display())
        .set("key", issued.key.display())
        .await;
    // A browser that offers both protocols gets HTTP/2 and opens another connection for this; that one offers HTTP/1.1.
    let (mut socket, _) = open_tls(proxy.address(), certificates.client(&["http/1.1"])).await.unwrap();
    assert_eq!(ask(&mut socket, "hello").await.unwrap(), "hello");
}

#[tokio::test]
async fn a_refusal_is_an_ordinary_answer() {
    let app = backend().says("no sockets here").await;
    let proxy = proxy_to(app.url()).await;
    match open(proxy.address()).await {
        Err(Error::Http(response)) => assert_eq!(response.status(), 200),
        other => panic!("{other:?}"),
    }
    // And the connection goes on in HTTP.
    let mut client = raw(proxy.address()).await;
    client.send(UPGRADE).await;
    assert_eq!(client.answer().await.body, "no sockets here");
    client.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 200);
}

#[tokio::test]
async fn a_backend_that_dies_takes_the_client_with_it() {
    let app = parrot().await;
    let proxy = proxy_to(app.url()).await;
    let (mut socket, _) = open(proxy.address()).await.unwrap();
    assert_eq!(ask(&mut socket, "hello").await.unwrap(), "hello");
    ask(&mut socket, "die").await.unwrap_err();
}

#[tokio::test]
async fn a_client_that_leaves_takes_the_backends_connection_with_it() {
    let app = parrot().await;
    let proxy = proxy_to(app.url()).await;
    let (socket, _) = open(proxy.address()).await.unwrap();
    drop(socket);
    eventually("the backend's connection is gone", || app.ledger.connections() == 1 && app.ledger.open() == 0).await;
}

#[tokio::test]
async fn a_tunnel_in_which_nothing_moves_is_closed() {
    let app = parrot().await;
    let proxy = proxy_to(app.url()).and("[timeouts]\ntunnel_idle = \"3s\"\nbody_idle = \"500ms\"").await;
    let (mut socket, _) = open(proxy.address()).await.unwrap();
    let began = Instant::now();
    let mut idle = began;
    while began.elapsed() < Duration::from_millis(3500) {
        idle = Instant::now();
        assert_eq!(ask(&mut socket, "still here").await.unwrap(), "still here");
        tokio::time::sleep(Duration::from_millis(800)).await;
    }
    let end = within("the end", socket.next()).await;
    assert!(!matches!(end, Some(Ok(_))), "{end:?}");
    assert!(idle.elapsed() >= Duration::from_millis(2900), "{:?}", idle.elapsed());
    eventually("the backend's connection is gone", || app.ledger.open() == 0).await;
}

#[tokio::test]
async fn nothing_reaches_the_backend_before_it_has_agreed() {
    // The backend answers only once it has seen the head, and would see smuggled bytes right behind it.
    let gate = Gate::default();
    let app = script([Step::ReadHead, Step::Wait(gate.clone()), Step::say(ACCEPTED), Step::ReadToEnd]).await;
    let proxy = proxy_to(app.url()).await;
    let mut client = raw(proxy.address()).await;
    client.send(UPGRADE).await.send("early bytes").await;
    eventually("the backend was asked", || app.received().contains("\r\n\r\n")).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(app.received().ends_with("\r\n\r\n"), "{}", app.received());
    gate.open();
    assert!(client.head().await.starts_with("HTTP/1.1 101"));
    eventually("what was held goes on", || app.received().ends_with("early bytes")).await;
}

#[tokio::test]
async fn bytes_behind_a_refused_upgrade_are_the_next_request_and_not_the_backends() {
    let no = "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno";
    let app = script([Step::ReadHead, Step::say(no), Step::ReadHead, Step::ok("next")]).await;
    let proxy = proxy_to(app.url()).await;
    let mut client = raw(proxy.address()).await;
    client.send(UPGRADE).await.send("GET /flag HTTP/1.1\r\nHost: a\r\nX-Seen: 1\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 403);
    let rest = client.answer_or_close().await;
    assert!(rest.is_none_or(|answer| [200, 502].contains(&answer.status)));
    let received = app.received();
    assert!(
        !received.contains("/flag") || received.contains("x-request-id"),
        "as a request of its own, if at all: {received}"
    );
}

#[tokio::test]
async fn an_upgrade_that_is_not_one_is_not_forwarded_as_one() {
    let app = backend().await;
    let proxy = proxy_to(app.url()).await;
    for (what, request) in [
        ("h2c", "GET /h2c HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n".to_owned()),
        ("another protocol", UPGRADE.replace("Upgrade: websocket", "Upgrade: tls/1.0")),
        ("not nominated", UPGRADE.replace("Connection: Upgrade", "Connection: keep-alive")),
    ] {
        let mut client = raw(proxy.address()).await;
        client.send(request).await;
        let answer = client.answer().await;
        if answer.status == 200 {
            let seen = app.ledger.last();
            for name in ["upgrade", "http2-settings", "connection"] {
                assert_eq!(seen.header(name), None, "{what}: {seen:?}");
            }
        } else {
            assert_eq!(answer.status, 400, "{what}");
        }
    }
}

#[tokio::test]
async fn an_upgrade_with_a_body_or_a_wrong_handshake_opens_no_tunnel() {
    // A backend that agrees to everything.
    let app = script([Step::ReadHead, Step::say(ACCEPTED), Step::ReadToEnd]).await;
    let proxy = proxy_to(app.url()).await;
    for request in [
        UPGRADE.replace("\r\n\r\n", "\r\nContent-Length: 30\r\n\r\nGET /flag HTTP/1.1\r\nHost: a\r\n\r\n"),
        UPGRADE.replace("Version: 13", "Version: 99"),
        UPGRADE.replace("GET /chat", "POST /chat"),
    ] {
        let mut client = raw(proxy.address()).await;
        client.send(&request).await;
        let answer = client.answer().await;
        assert_ne!(answer.status, 101, "{request}");
    }
}

#[tokio::test]
async fn a_backend_that_agrees_wrongly_opens_no_tunnel() {
    for answer in [
        ACCEPTED.replace("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "c29tZXRoaW5nIGVsc2UgYWx0bw=="),
        ACCEPTED.replace("Upgrade: websocket", "Upgrade: h2c"),
    ] {
        let app = script([Step::ReadHead, Step::say(&answer), Step::ReadToEnd]).await;
        let proxy = proxy_to(app.url()).await;
        let mut client = raw(proxy.address()).await;
        client.send(UPGRADE).await;
        assert_eq!(client.answer().await.status, 502, "{answer}");
        eventually("that connection is gone", || app.ledger.open() == 0).await;
    }
}

#[tokio::test]
async fn a_plugin_free_route_elsewhere_is_proxied_while_a_tunnel_is_open() {
    let sockets = parrot().await;
    let pages = backend().says("a page").await;
    let proxy = proxy(
        "[server]\nworkers = 1\n[upstream.sockets]\nbackends = [\"$sockets\"]\n[upstream.pages]\nbackends = [\"$pages\"]\n\
         [[route]]\npath = \"/chat\"\nupstream = \"sockets\"\n[[route]]\nupstream = \"pages\"",
    )
    .set("sockets", sockets.url())
    .set("pages", pages.url())
    .await;
    let (mut socket, _) = open(proxy.address()).await.unwrap();
    for _ in 0..3 {
        assert_eq!(ask(&mut socket, "hello").await.unwrap(), "hello");
        assert_eq!(lockgate_tests::get(proxy.address(), "/").await.text(), "a page");
    }
}
