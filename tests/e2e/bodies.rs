//! The hooks for bodies: chunk in, chunk out, in constant memory, and never half a body that looks like a whole one.

use std::time::Duration;

use http::{HeaderMap, Method, Request, Response};
use lockgate_tests::{
    Answer, Client, Gate, Proxy, ProxyBuilder, Step, Upload, backend, client, empty, full, get, proxy, raw, script,
    upload, within,
};
use tokio::sync::mpsc::UnboundedReceiver;
use xtask::guests::component;

/// A proxy whose chain is these uses of the guest that changes bodies, each `deed on side`.
fn bodies(uses: &[(&str, &str)], more: &str) -> ProxyBuilder {
    let uses: Vec<String> = uses
        .iter()
        .map(|(deed, side)| format!("{{ name = \"guest\", config = {{ do = \"{deed}\", side = \"{side}\" }} }}"))
        .collect();
    proxy(&format!(
        "[upstream.app]\nbackends = [\"$app\"]\n\
         [plugin.guest]\npath = \"$guest\"\nconfig = {{ do = \"pass\", side = \"both\" }}\n{more}\n\
         [[route]]\nplugins = [{}]\nupstream = \"app\"\n\
         [[route]]\npath = \"/own\"\nplugins = [{0}]\nrespond = {{ body = \"own words\" }}\n",
        uses.join(", ")
    ))
    .set("guest", component("bodies").display())
}

/// A backend whose every response is written by the hand that comes out of the channel.
async fn written() -> (lockgate_tests::Backend, UnboundedReceiver<Upload>) {
    let (hands, written) = tokio::sync::mpsc::unbounded_channel();
    let app = backend()
        .answers(move |_| {
            let (hand, body) = upload();
            hands.send(hand).unwrap();
            async move { Response::builder().header("etag", "\"1\"").body(body).unwrap() }
        })
        .await;
    (app, written)
}

async fn post(proxy: &Proxy, body: impl Into<bytes::Bytes>) -> Answer {
    client(proxy.address()).await.post("/x", body).await
}

async fn line(proxy: &Proxy) -> String {
    proxy.log.line("bodies chunks=").await
}

#[tokio::test]
async fn bodies_are_changed_both_ways_with_http1_and_http2() {
    let app = backend().await;
    let proxy = bodies(&[("upper", "both")], "").set("app", app.url()).await;
    for http2 in [false, true] {
        let mut client = if http2 { client(proxy.address()).http2().await } else { client(proxy.address()).await };
        let answer = client.post("/x", "hello").await;
        let json: serde_json::Value = serde_json::from_str(&answer.text().to_lowercase()).unwrap();
        assert!(answer.text().contains("\"BODY\":\"HELLO\""), "{answer:?}");
        // Nobody knows how long it will be.
        assert_eq!(answer.header("content-length"), None);
        assert_eq!(json["headers"]["content-length"], serde_json::Value::Null, "{json}");
    }
    assert!(line(&proxy).await.contains("chunks=2 lasts=1,1"));
}

#[tokio::test]
async fn a_body_goes_down_the_chain_and_comes_up_again() {
    let app = backend()
        .answers(|request| async move {
            use http_body_util::BodyExt as _;
            let body = request.into_body().collect().await.unwrap().to_bytes();
            Response::new(full(body))
        })
        .await;
    // Down: 8 bytes become 80 and then 40. Up: the last plugin is first, so 40 become 20 and then 200.
    let proxy = bodies(&[("grow", "both"), ("shrink", "both")], "").set("app", app.url()).await;
    let answer = post(&proxy, "01234567").await;
    assert_eq!(answer.body.len(), 200, "{answer:?}");
    assert!(answer.text().starts_with(&"0".repeat(20)));
}

#[tokio::test]
async fn unchanged_bodies_arrive_unchanged_and_so_do_those_of_the_routes_own() {
    let app = backend()
        .answers(|request| async move {
            use http_body_util::BodyExt as _;
            Response::new(full(request.into_body().collect().await.unwrap().to_bytes()))
        })
        .await;
    let sent: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    for (deed, limits) in [("pass", ""), ("gather", ""), ("pass", "limits = { cpu = \"2ms\" }")] {
        let proxy = bodies(&[(deed, "both"), ("pass", "request")], limits).set("app", app.url()).await;
        let answer = post(&proxy, sent.clone()).await;
        if deed == "gather" {
            // More than may be made of one chunk.
            assert_eq!(answer.status, 503);
        } else {
            assert!(answer.body == sent, "{deed} {}", answer.body.len());
        }
    }
    let proxy = bodies(&[("upper", "response")], "").set("app", app.url()).await;
    assert_eq!(get(proxy.address(), "/own").await.text(), "OWN WORDS");
}

#[tokio::test]
async fn a_plugin_may_keep_a_body_back_or_swallow_it() {
    let app = backend().says("gathered, and let go").await;
    for (deed, expected) in [("gather", "gathered, and let go"), ("swallow", "")] {
        let proxy = bodies(&[(deed, "response")], "").set("app", app.url()).await;
        let mut client = client(proxy.address()).await;
        for _ in 0..2 {
            let answer = client.get("/x").await;
            assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, expected));
        }
        let line = line(&proxy).await;
        assert!(line.contains(&format!("out={}", expected.len())) && line.contains("End::Complete"), "{line}");
    }
}

#[tokio::test]
async fn the_last_chunk_comes_once_and_with_it_the_trailers() {
    let (app, mut written) = written().await;
    let proxy = proxy(
        "[upstream.app]\nbackends = [\"$app\"]\nprotocol = \"http2\"\n[plugin.guest]\npath = \"$guest\"\n\
         config = { do = \"sign\", side = \"response\" }\n[[route]]\nplugins = [\"guest\"]\nupstream = \"app\"\n",
    )
    .set("guest", component("bodies").display())
    .set("app", app.url())
    .await;
    let mut client = client(proxy.address()).http2().await;
    for with_trailers in [true, false] {
        let response = tokio::spawn(client.start(Request::get("/x").body(empty()).unwrap()));
        let hand = within("the request", written.recv()).await.unwrap();
        assert!(hand.send("words").await);
        if with_trailers {
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", "7".parse().unwrap());
            trailers.insert("x-gone", "1".parse().unwrap());
            hand.trailers(trailers).await;
        } else {
            drop(hand);
        }
        let answer = Answer::read(response.await.unwrap().unwrap()).await;
        assert_eq!(answer.text(), "words -- signed");
        assert_eq!(answer.header("etag"), Some("W/\"1\""));
        let trailers = answer.trailers.unwrap();
        assert_eq!(trailers["x-signed"], if with_trailers { "7 of 2" } else { " of 0" });
        assert!(!trailers.contains_key("x-gone"));
    }
}

#[tokio::test]
async fn heads_that_can_have_no_body_are_not_called_for_one() {
    let app = backend().says("some words").await;
    let proxy = bodies(&[("sign", "response")], "").set("app", app.url()).await;
    let mut client = client(proxy.address()).await;
    for method in [Method::HEAD, Method::GET] {
        let request = Request::builder().method(&method).uri("/x").body(empty()).unwrap();
        let answer = client.send(request).await;
        assert_eq!(answer.header("content-length"), None, "{method}");
        assert_eq!(answer.text(), if method == Method::HEAD { "" } else { "some words -- signed" });
    }
    for head in ["204 No Content\r\n", "304 Not Modified\r\ncontent-length: 9\r\netag: \"1\"\r\n"] {
        let app = script([Step::ReadHead, Step::say(&format!("HTTP/1.1 {head}\r\n")), Step::Again]).await;
        let proxy = bodies(&[("sign", "response")], "").set("app", app.url()).await;
        let answer = get(proxy.address(), "/x").await;
        assert_eq!((answer.body.len(), answer.header("content-length")), (0, None), "{head}");
        assert!(answer.broken.is_none());
        assert!(line(&proxy).await.contains("lasts=0,0"));
    }
    let app = script([Step::ReadHead, Step::say("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"), Step::Again]).await;
    let proxy = bodies(&[("sign", "response")], "").set("app", app.url()).await;
    assert_eq!(get(proxy.address(), "/x").await.text(), " -- signed");
}

#[tokio::test]
async fn a_request_for_a_part_becomes_one_for_the_whole() {
    let app = backend().await;
    let proxy = bodies(&[("pass", "response")], "").set("app", app.url()).await;
    let request = Request::get("/x").header("range", "bytes=0-3").header("if-range", "\"1\"").body(empty()).unwrap();
    let json = client(proxy.address()).await.send(request).await.json();
    assert_eq!(
        (&json["headers"]["range"], &json["headers"]["if-range"]),
        (&serde_json::Value::Null, &serde_json::Value::Null)
    );
}

#[tokio::test]
async fn chunks_pass_as_they_come_and_not_when_all_are_there() {
    let (app, mut written) = written().await;
    let proxy = bodies(&[("upper", "response")], "").set("app", app.url()).await;
    let mut client = raw(proxy.address()).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let hand = within("the request", written.recv()).await.unwrap();
    assert!(hand.send("one").await);
    assert!(client.head().await.contains("transfer-encoding: chunked"));
    assert_eq!(client.bytes(8).await, b"3\r\nONE\r\n");
    assert!(hand.send("two").await);
    assert_eq!(client.bytes(8).await, b"3\r\nTWO\r\n");
    drop(hand);
    assert_eq!(client.bytes(5).await, b"0\r\n\r\n");
}

#[tokio::test]
async fn a_plugin_that_fails_in_the_middle_of_a_response_leaves_it_cut_short() {
    for (deed, more) in
        [("trap", ""), ("spin", "limits = { cpu = \"20ms\" }"), ("abort", ""), ("trap", "on_failure = \"skip\"")]
    {
        let (app, mut written) = written().await;
        let proxy = bodies(&[(deed, "response")], more).set("app", app.url()).await;
        for http2 in [false, true] {
            let mut client = if http2 { client(proxy.address()).http2().await } else { client(proxy.address()).await };
            let response = client.start(Request::get("/x").body(empty()).unwrap());
            let response = tokio::spawn(response);
            let hand = within("the request", written.recv()).await.unwrap();
            assert!(hand.send("first").await);
            let response = response.await.unwrap().unwrap();
            assert_eq!(response.status(), 200);
            // It is not known when the backend's side hears of it.
            let more = tokio::spawn(async move { while hand.send("second").await {} });
            let answer = within("the end", Answer::read(response)).await;
            assert!(answer.broken.is_some(), "{deed} {more:?}: {answer:?}");
            within("the backend is let go", more).await.unwrap();
        }
        let line = line(&proxy).await;
        assert!(line.contains("end=End::Aborted"), "{deed}: {line}");
        let reason = if deed == "abort" { "plugin_aborted" } else { "plugin_failed" };
        assert!(proxy.out.line("GET /x").await.contains(&format!("reason={reason}")), "{deed}");
    }
}

#[tokio::test]
async fn a_plugin_that_fails_in_the_middle_of_a_request_ends_its_exchange_only() {
    let app = backend().await;
    for (deed, status, reason) in [
        ("trap", 503, "plugin_failed"),
        ("spin", 503, "plugin_failed"),
        ("abort", 403, "plugin_aborted"),
        ("flood", 503, "plugin_failed"),
        ("early-trailers", 503, "plugin_failed"),
    ] {
        let proxy = bodies(&[(deed, "request")], "limits = { cpu = \"20ms\" }").set("app", app.url()).await;
        let mut client = raw(proxy.address()).await;
        client.send("POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        client.send("3\r\none\r\n3\r\ntwo\r\n5\r\nthree\r\n").await;
        let answer = within("the answer", client.answer()).await;
        assert_eq!(answer.status, status, "{deed}: {answer:?}");
        assert!(answer.body.contains(reason), "{deed}: {answer:?}");
        assert_eq!(get(proxy.address(), "/x").await.status, 200, "{deed}: the next exchange works");
        if deed != "abort" {
            assert!(proxy.log.line("on-request-body").await.contains("guest"), "{deed}");
        }
    }
}

#[tokio::test]
async fn a_response_that_has_begun_is_cut_when_a_plugin_fails_with_the_request() {
    for (deed, reason) in [("trap", "plugin_failed"), ("abort", "plugin_aborted")] {
        for http2 in [false, true] {
            let gate = Gate::default();
            let head = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf!";
            let app =
                script([Step::ReadHead, Step::say(head), Step::Wait(gate.clone()), Step::say("whole"), Step::Stall]);
            let app = app.await;
            let proxy = bodies(&[(deed, "request")], "").set("app", app.url()).await;
            let mut client = if http2 { client(proxy.address()).http2().await } else { client(proxy.address()).await };
            let (hand, body) = upload();
            let response = tokio::spawn(client.start(Request::post("/x").body(body).unwrap()));
            assert!(hand.send("one").await);
            let response = within("the head", response).await.unwrap().unwrap();
            assert_eq!(response.status(), 200);
            // The guest does it with the second chunk, or the third; nobody may read them any more.
            for _ in 0..5 {
                hand.send("two").await;
            }
            let failed = async {
                while proxy.metric("lockgate_hook_calls_total{plugin=\"guest\",hook=\"on-request-body\"}").await < 2.0 {
                }
            };
            within("the guest's call", failed).await;
            gate.open();
            let answer = within("the end", Answer::read(response)).await;
            assert!(answer.broken.is_some(), "{deed}: {answer:?}");
            drop(hand);
            assert!(proxy.out.line("POST /x").await.contains(&format!("reason={reason}")), "{deed}, http2: {http2}");
        }
    }
}

#[tokio::test]
async fn a_plugin_that_has_changed_nothing_may_be_skipped() {
    let (app, mut written) = written().await;
    let proxy = bodies(&[("trap-unchanged", "response")], "on_failure = \"skip\"").set("app", app.url()).await;
    let mut client = client(proxy.address()).await;
    let response = tokio::spawn(client.start(Request::get("/x").body(empty()).unwrap()));
    let hand = within("the request", written.recv()).await.unwrap();
    for word in ["one ", "two ", "three"] {
        assert!(hand.send(word).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(hand);
    assert_eq!(Answer::read(response.await.unwrap().unwrap()).await.text(), "one two three");
}

#[tokio::test]
async fn a_second_attempt_sends_what_was_made_of_the_body_at_the_first() {
    // The first connection takes the whole request and is then lost without a word.
    let chunk = "a\r\nSOME WORDS\r\n".len();
    let app = lockgate_tests::script::scripts([
        vec![Step::ReadHead, Step::ok("warm"), Step::ReadHead, Step::Read(chunk), Step::Close],
        vec![Step::ReadHead, Step::Read(chunk), Step::ok("second"), Step::Stall],
    ])
    .await;
    let proxy = bodies(&[("upper", "request")], "").and("[server]\nworkers = 1").set("app", app.url()).await;
    let mut client = client(proxy.address()).await;
    assert_eq!(client.get("/x").await.text(), "warm");
    let request = Request::put("/x").body(full("some words")).unwrap();
    let answer = client.send(request).await;
    assert_eq!(answer.text(), "second");
    let received = app.received();
    assert_eq!(received.matches("SOME WORDS").count(), 2, "{received}");
    assert!(line(&proxy).await.contains("lasts=0,1"));
}

#[tokio::test]
async fn the_limit_counts_what_the_client_sends() {
    let app = backend().await;
    let proxy = proxy(
        "[limits]\nbody = \"100 B\"\n[upstream.app]\nbackends = [\"$app\"]\n\
         [plugin.guest]\npath = \"$guest\"\nconfig = { do = \"$deed\", side = \"request\" }\n\
         [[route]]\nplugins = [\"guest\"]\nupstream = \"app\"\n",
    );
    let proxy = proxy.set("guest", component("bodies").display()).set("deed", "grow").set("app", app.url()).await;
    let answer = post(&proxy, "x".repeat(90)).await;
    assert_eq!(answer.json()["body"].as_str().unwrap().len(), 900);
    let (hand, body) = upload();
    let mut client = client(proxy.address()).await;
    let response = tokio::spawn(client.start(Request::post("/x").body(body).unwrap()));
    // No more than a closed connection is still listened to for, and no end.
    tokio::spawn(async move {
        for _ in 0..20 {
            hand.send("0123456789").await;
        }
        std::future::pending::<()>().await;
    });
    assert_eq!(within("the answer", response).await.unwrap().unwrap().status(), 413);
}

#[tokio::test]
async fn memory_stays_flat_however_long_a_body_is_and_however_slow_its_reader() {
    let (app, mut written) = written().await;
    let proxy = bodies(&[("grow", "response")], "").and("[server]\nworkers = 1").set("app", app.url()).await;
    let mut client = client(proxy.address()).await;
    let chunk = bytes::Bytes::from(vec![b'x'; 60_000]);
    // The first bodies show the allocator how large the pieces are that it will be asked for: it keeps some MiB of each size
    // at hand from then on, and the sizes depend on how much there is to read when there is time to. What was kept of a body
    // would be kept of each.
    let response = client.open(Request::get("/x").body(empty()).unwrap());
    let (response, hand) = tokio::join!(response, written.recv());
    let (response, hand) = (response.unwrap(), hand.unwrap());
    let first = chunk.clone();
    let sending = tokio::spawn(async move {
        for _ in 0..200 {
            assert!(hand.send(first.clone()).await);
        }
    });
    assert_eq!(within("the first body", Answer::read(response)).await.body.len(), 200 * 600_000);
    sending.await.unwrap();
    let mut grown = Vec::new();
    while grown.len() < 10 && grown.last().is_none_or(|grown| *grown >= 4 << 10) {
        grown.push(growth(&proxy, &mut client, &mut written, &chunk).await);
    }
    assert!(grown.last().is_some_and(|grown| *grown < 4 << 10), "each body that is stuck grew it by {grown:?} KiB");
}

/// By how many KiB the proxy grows with a response that a plugin makes ten times as long, and that nobody reads until
/// nothing more can be written. It then arrives whole.
async fn growth(
    proxy: &Proxy,
    client: &mut Client,
    written: &mut UnboundedReceiver<Upload>,
    chunk: &bytes::Bytes,
) -> u64 {
    let response = client.open(Request::get("/x").body(empty()).unwrap());
    let (response, hand) = tokio::join!(response, written.recv());
    let (response, hand) = (response.unwrap(), hand.unwrap());
    let before = proxy.memory("VmRSS");
    // Nobody reads: after a while nothing more can be written. How much is for the kernel to say, which may keep 32 MiB.
    let stuck = async {
        while let Ok(taken) = tokio::time::timeout(Duration::from_secs(1), hand.send(chunk.clone())).await {
            assert!(taken, "the backend's connection was closed");
        }
    };
    within("back-pressure to reach the backend", stuck).await;
    let grown = proxy.memory("VmRSS").saturating_sub(before);
    drop(hand);
    let answer = within("the rest", Answer::read(response)).await;
    assert!(answer.broken.is_none() && answer.body.iter().all(|byte| *byte == b'x'));
    grown
}

#[tokio::test]
async fn a_client_that_leaves_ends_a_call_and_the_next_exchange_works() {
    let (app, mut written) = written().await;
    let proxy =
        bodies(&[("spin", "response")], "limits = { cpu = \"30s\", wall = \"40s\" }").set("app", app.url()).await;
    let mut client = raw(proxy.address()).await;
    client.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let hand = within("the request", written.recv()).await.unwrap();
    assert!(hand.send("first").await);
    assert!(client.head().await.starts_with("HTTP/1.1 200"));
    assert!(hand.send("second").await);
    tokio::time::sleep(Duration::from_millis(50)).await;
    client.reset();
    assert!(line(&proxy).await.contains("end=End::ClientGone"));
}
