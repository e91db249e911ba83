//! The end of a process: what has begun is finished, what is new goes elsewhere.

use std::time::Duration;

use http::{Request, Response};
use http_body_util::BodyExt as _;
use lockgate_tests::{
    Answer, Backend, Gate, Upload, backend, client, empty, eventually, full, load, proxy_to, raw, upload, websocket,
    within,
};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// A backend whose answers the scene writes.
async fn by_hand() -> (Backend, mpsc::UnboundedReceiver<Upload>) {
    let (hands, written) = mpsc::unbounded_channel();
    let app = backend().answers(move |_| {
        let (hand, body) = upload();
        hands.send(hand).unwrap();
        async move { Response::new(body) }
    });
    (app.await, written)
}

#[tokio::test]
async fn a_drain_under_load_loses_nothing() {
    for http2 in [false, true] {
        let app = backend()
            .answers(|_| async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                Response::new(full("hello"))
            })
            .await;
        let mut proxy = proxy_to(app.url()).await;
        let work = load(proxy.address(), "/", 8, http2);
        work.progress(100).await;
        proxy.signal("TERM").await;
        assert!(proxy.ended().await.success());
        let tally = work.ended().await;
        assert!(tally.bad.is_empty(), "{tally:?}");
        assert_eq!(tally.good, app.ledger.count(), "what a backend executed, its client has heard: {tally:?}");
    }
}

#[tokio::test]
async fn what_has_begun_is_finished_and_the_connection_closed_in_good_order() {
    let (app, mut written) = by_hand().await;
    let mut proxy = proxy_to(app.url()).await;
    let mut client = raw(proxy.address()).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let hand = within("the request", written.recv()).await.unwrap();
    assert!(hand.send("before ").await);
    proxy.signal("TERM").await;
    refuses(&proxy).await;
    assert!(hand.send("and after").await);
    drop(hand);
    let answer = client.answer().await;
    assert_eq!((answer.body.as_str(), answer.complete), ("before and after", true));
    client.closed().await;
    assert!(proxy.ended().await.success());
}

#[tokio::test]
async fn answers_that_begin_in_a_drain_say_close() {
    let gate = Gate::default();
    let app = backend().says_past(&gate, "late").await;
    let mut proxy = proxy_to(app.url()).await;
    let mut client = raw(proxy.address()).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    eventually("the backend is asked", || app.ledger.count() == 1).await;
    proxy.signal("INT").await;
    refuses(&proxy).await;
    gate.open();
    let answer = client.answer().await;
    assert_eq!((answer.body.as_str(), answer.header("connection")), ("late", Some("close")));
    client.closed().await;
    assert!(proxy.ended().await.success());
}

#[tokio::test]
async fn idle_connections_do_not_hold_a_drain_up() {
    let app = backend().says("hello").await;
    let mut proxy = proxy_to(app.url()).and("[server]\ngrace = \"10min\"").await;
    let mut idle = raw(proxy.address()).await;
    idle.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(idle.answer().await.body, "hello");
    let mut silent = raw(proxy.address()).await;
    let mut client = client(proxy.address()).http2().await;
    assert_eq!(client.get("/").await.text(), "hello");
    proxy.signal("TERM").await;
    idle.closed().await;
    silent.closed().await;
    assert!(proxy.ended().await.success());
}

#[tokio::test]
async fn streams_of_http_2_are_finished_and_new_ones_are_not_begun() {
    let (app, mut written) = by_hand().await;
    let mut proxy = proxy_to(app.url()).await;
    let mut client = client(proxy.address()).http2().await;
    let response = client.open(Request::get("/").body(empty()).unwrap()).await.unwrap();
    let hand = within("the request", written.recv()).await.unwrap();
    proxy.signal("TERM").await;
    refuses(&proxy).await;
    // GOAWAY: this connection takes no more, and the client knows it.
    let refused = async {
        while client.ready().await {
            if client.try_send(Request::get("/").body(empty()).unwrap()).await.is_err() {
                return;
            }
        }
    };
    let other = tokio::spawn(async move {
        while let Some(hand) = written.recv().await {
            drop(hand);
        }
    });
    within("the end of new streams", refused).await;
    assert!(hand.send("whole").await);
    drop(hand);
    assert_eq!(Answer::read(response).await.text(), "whole");
    assert!(proxy.ended().await.success());
    other.abort();
}

#[tokio::test]
async fn the_grace_has_an_end() {
    let (app, mut written) = by_hand().await;
    let mut proxy = proxy_to(app.url()).and("[server]\ngrace = \"500ms\"").await;
    let mut client = client(proxy.address()).await;
    let response = client.open(Request::get("/").body(empty()).unwrap()).await.unwrap();
    let hand = within("the request", written.recv()).await.unwrap();
    assert!(hand.send("half").await);
    let began = Instant::now();
    proxy.signal("TERM").await;
    proxy.ended().await;
    let took = began.elapsed();
    // Without an end of it, the process would wait for the rest of the answer for ever.
    assert!(took >= Duration::from_millis(500), "{took:?}");
    assert!(Answer::read(response).await.broken.is_some(), "cut, and seen to be");
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let (app, mut written) = by_hand().await;
    let mut proxy = proxy_to(app.url()).and("[server]\ngrace = \"10min\"").await;
    let mut client = client(proxy.address()).await;
    let _response = client.open(Request::get("/").body(empty()).unwrap()).await.unwrap();
    let _hand = within("the request", written.recv()).await.unwrap();
    proxy.signal("TERM").await;
    refuses(&proxy).await;
    assert!(proxy.is_alive());
    proxy.signal("TERM").await;
    proxy.ended().await;
}

#[tokio::test]
async fn a_tunnel_ends_with_the_grace_at_the_latest() {
    let app = websocket::parrot().await;
    let mut proxy = proxy_to(app.url()).and("[server]\ngrace = \"500ms\"").await;
    let (mut socket, _) = websocket::open(proxy.address()).await.unwrap();
    assert_eq!(websocket::ask(&mut socket, "hello").await.unwrap(), "hello");
    proxy.signal("TERM").await;
    proxy.ended().await;
    websocket::ask(&mut socket, "anybody?").await.unwrap_err();
}

#[tokio::test]
async fn a_drain_waits_for_what_plugins_do_at_the_end_of_an_exchange_but_not_for_ever() {
    let gate = Gate::default();
    let notes = backend().says_past(&gate, "noted").await;
    for (grace, opens) in [("10min", true), ("500ms", false)] {
        let mut proxy = lockgate_tests::proxy(&format!(
            "[server]\nworkers = 1\ngrace = \"{grace}\"\n[plugin.guest]\npath = \"$guest\"\n\
             grants = {{ http = [\"$notes\"], kv = true }}\nconfig = {{ at_finish = \"$notes\" }}\n\
             limits = {{ http_timeout = \"50s\", wall = \"50s\" }}\n\
             [[route]]\nplugins = [\"guest\"]\nrespond = {{ body = \"fine\" }}\n"
        ))
        .set("guest", xtask::guests::component("outbound").display())
        .set("notes", notes.url())
        .await;
        let before = notes.ledger.count();
        assert_eq!(lockgate_tests::get(proxy.address(), "/").await.text(), "fine");
        eventually("the guest asks", || notes.ledger.count() > before).await;
        proxy.signal("TERM").await;
        refuses(&proxy).await;
        assert!(!opens || proxy.is_alive());
        if opens {
            gate.open();
            assert!(proxy.log.line("finished ").await.contains("Ok(\"noted\")"));
        }
        assert!(proxy.ended().await.success());
        assert_eq!(proxy.log.count("the grace is over"), usize::from(!opens));
    }
}

#[tokio::test]
async fn readiness_goes_first() {
    let (app, mut written) = by_hand().await;
    let proxy = proxy_to(app.url()).await;
    assert_eq!(proxy.admin("/readyz").await.status, 200);
    let mut client = client(proxy.address()).await;
    let response = client.open(Request::get("/").body(empty()).unwrap()).await.unwrap();
    let hand = within("the request", written.recv()).await.unwrap();
    proxy.signal("TERM").await;
    refuses(&proxy).await;
    assert_eq!(proxy.admin("/readyz").await.status, 503);
    assert_eq!(proxy.admin("/healthz").await.status, 200);
    drop(hand);
    within("the end", response.into_body().collect()).await.unwrap();
}

/// Waits until nobody is let in any more.
async fn refuses(proxy: &lockgate_tests::Proxy) {
    let closed = async {
        while tokio::net::TcpStream::connect(proxy.address()).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within("the end of the listener", closed).await;
}
