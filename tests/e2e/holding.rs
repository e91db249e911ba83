//! Requests that wait until a plugin has seen their whole bodies.

use std::time::Duration;

use http::Request;
use lockgate_tests::{Answer, Proxy, ProxyBuilder, backend, client, full, get, proxy, raw, upload, within};
use xtask::guests::component;

/// A proxy whose plugin holds bodies of at most 1000 bytes.
fn holding(more: &str) -> ProxyBuilder {
    proxy(&format!(
        "[upstream.app]\nbackends = [\"$app\"]\n[plugin.guest]\npath = \"$guest\"\n\
         config = {{ most = 1000 }}\n{more}\n[[route]]\nplugins = [\"guest\"]\nupstream = \"app\"\n"
    ))
    .set("guest", component("holder").display())
}

#[tokio::test]
async fn a_body_is_seen_whole_and_then_sent_as_it_was_or_as_another() {
    let app = backend().await;
    let proxy = holding("").set("app", app.url()).await;
    for http2 in [false, true] {
        let mut client = if http2 { client(proxy.address()).http2().await } else { client(proxy.address()).await };
        let json = client.post("/x", "some words").await.json();
        assert_eq!((&json["body"], &json["headers"]["x-held"]), (&"some words".into(), &"10".into()), "{json}");
        assert_eq!(json["headers"]["content-length"], "10", "{json}");
        let json = client.post("/x", "replace").await.json();
        assert_eq!(
            (&json["body"], &json["headers"]["x-held"]),
            (&"another, longer body".into(), &"7".into()),
            "{json}"
        );
        assert_eq!(json["headers"]["content-length"], "20", "{json}");
        // One that had none gets one.
        assert_eq!(client.get("/x").await.json()["body"], "another, longer body");
    }
}

#[tokio::test]
async fn nothing_reaches_the_backend_before_the_plugin_has_seen_it_all() {
    let app = backend().await;
    let proxy = holding("").set("app", app.url()).await;
    let mut client = client(proxy.address()).await;
    let answer = client.post("/x", "attack").await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (403, "no\n"));
    let (hand, body) = upload();
    let response = tokio::spawn(client.start(Request::post("/x").body(body).unwrap()));
    assert!(hand.send("some ").await);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(app.ledger.count(), 0);
    assert!(hand.send("words").await);
    drop(hand);
    let answer = Answer::read(within("the answer", response).await.unwrap().unwrap()).await;
    assert_eq!(answer.json()["body"], "some words");
    assert_eq!(app.ledger.count(), 1);
}

#[tokio::test]
async fn more_than_the_plugin_names_is_413() {
    let app = backend().await;
    let proxy = holding("").set("app", app.url()).await;
    let answer = client(proxy.address()).await.post("/x", "x".repeat(1001)).await;
    assert_eq!(answer.status, 413, "{answer:?}");
    assert_eq!(client(proxy.address()).await.post("/x", "x".repeat(1000)).await.status, 200);
    let mut chunked = raw(proxy.address()).await;
    chunked.send("POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    chunked.send(format!("1f4\r\n{0}\r\n1f5\r\n{0}x\r\n", "x".repeat(500))).await;
    let answer = within("the answer", chunked.answer()).await;
    assert_eq!(answer.status, 413, "{answer:?}");
    assert!(answer.body.contains("body_too_large"), "{answer:?}");
    assert_eq!(app.ledger.count(), 1);
}

#[tokio::test]
async fn a_client_that_stalls_is_408_and_no_fault_of_the_plugins() {
    let app = backend().await;
    let proxy = holding("limits = { wall = \"500ms\" }\n[timeouts]\nbody_idle = \"2s\"").set("app", app.url()).await;
    let mut slow = raw(proxy.address()).await;
    slow.send("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf").await;
    assert_eq!(within("the answer", slow.answer()).await.status, 408);
    assert_eq!(proxy.metric("lockgate_hook_failures_total").await, 0.0);
    assert_eq!(app.ledger.count(), 0);
}

#[tokio::test]
async fn a_plugin_that_fails_with_the_body_ends_its_exchange_or_is_skipped() {
    let app = backend().await;
    for (more, status) in [("", 503), ("on_failure = \"skip\"", 200)] {
        let proxy = holding(more).set("app", app.url()).await;
        let answer = client(proxy.address()).await.post("/x", "trap").await;
        assert_eq!(answer.status.as_u16(), status, "{answer:?}");
        if status == 200 {
            assert_eq!(answer.json()["body"], "trap", "the body goes on without the plugin");
        }
        assert_eq!(get(proxy.address(), "/x").await.status, 200);
        assert!(proxy.log.line("on-request-complete").await.contains("guest"));
    }
}

#[tokio::test]
async fn what_is_held_for_a_plugin_has_a_bound() {
    let app = backend().await;
    let proxy = holding("limits = { body_held = \"1500 B\" }").set("app", app.url()).await;
    let (hand, body) = upload();
    let mut first = client(proxy.address()).await;
    // It may have 1000 bytes, which are counted from the beginning.
    let response = tokio::spawn(first.start(Request::post("/x").body(body).unwrap()));
    assert!(hand.send("some ").await);
    holds(&proxy, 1000.0).await;
    let post = async |length| {
        let request = Request::post("/x").body(full("x".repeat(length))).unwrap();
        client(proxy.address()).await.send(request).await
    };
    let refused = post(600).await;
    assert_eq!(refused.status, 503);
    assert!(refused.text().contains("plugin_capacity"), "{refused:?}");
    assert_eq!(post(100).await.status, 200, "a smaller one has room");
    drop(hand);
    assert_eq!(within("the answer", response).await.unwrap().unwrap().status(), 200);
    holds(&proxy, 0.0).await;
    assert_eq!(post(1000).await.status, 200);
}

/// Waits until so many bytes are held.
async fn holds(proxy: &Proxy, bytes: f64) {
    let series = "lockgate_body_held_bytes{plugin=\"guest\"}";
    within("what is held", async { while proxy.metric(series).await != bytes {} }).await;
}
