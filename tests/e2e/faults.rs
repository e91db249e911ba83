//! What goes wrong around a proxy, and that it stays with the exchange that it happened to.

use std::time::Duration;

use http::Request;
use http_body_util::BodyExt as _;
use lockgate_tests::script::scripts;
use lockgate_tests::{
    Answer, Gate, Step, backend, client, empty, eventually, get, proxy, proxy_to, raw, script, upload, within,
};

/// Responses that no proxy should pass on.
const MALFORMED: &[(&str, &str)] = &[
    ("not HTTP", "SSH-2.0-OpenSSH_9.2\r\n\r\n"),
    ("no status", "HTTP/1.1\r\n\r\n"),
    ("a status of letters", "HTTP/1.1 abc OK\r\ncontent-length: 0\r\n\r\n"),
    ("a status of two digits", "HTTP/1.1 20 OK\r\ncontent-length: 0\r\n\r\n"),
    ("a status of four digits", "HTTP/1.1 2000 OK\r\ncontent-length: 0\r\n\r\n"),
    ("another version", "HTTP/3.0 200 OK\r\ncontent-length: 0\r\n\r\n"),
    ("length and chunks", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("two lengths", "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab"),
    ("two lengths in one", "HTTP/1.1 200 OK\r\ncontent-length: 1, 2\r\n\r\nab"),
    ("a length with a sign", "HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nab"),
    ("a length in hex", "HTTP/1.1 200 OK\r\ncontent-length: 0x2\r\n\r\nab"),
    ("a length below nothing", "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\nab"),
    ("a length beyond reason", "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\nab"),
    ("chunks and something else", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n"),
    ("an unknown coding", "HTTP/1.1 200 OK\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n"),
    ("chunked twice", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("a space before the colon", "HTTP/1.1 200 OK\r\nx-a : b\r\ncontent-length: 0\r\n\r\n"),
    ("an empty name", "HTTP/1.1 200 OK\r\n: b\r\ncontent-length: 0\r\n\r\n"),
    ("a name that is no token", "HTTP/1.1 200 OK\r\nx(a): b\r\ncontent-length: 0\r\n\r\n"),
    ("a folded field", "HTTP/1.1 200 OK\r\nx-a: b\r\n c\r\ncontent-length: 0\r\n\r\n"),
    ("a null in a field", "HTTP/1.1 200 OK\r\nx-a: b\0c\r\ncontent-length: 0\r\n\r\n"),
    ("a lone CR in a field", "HTTP/1.1 200 OK\r\nx-a: b\rc\r\ncontent-length: 0\r\n\r\n"),
    (
        "an upgrade that nobody asked for",
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
    ),
    ("a head that ends early", "HTTP/1.1 200 OK\r\ncontent-le"),
    ("lines that end in LF", "HTTP/1.1 200 OK\ncontent-length: 0\n\n"),
    ("nothing", ""),
];

#[tokio::test]
async fn a_malformed_response_is_502_and_the_next_exchange_is_clean() {
    for (what, bytes) in MALFORMED {
        let first = vec![Step::ReadHead, Step::say(bytes), Step::Pause(Duration::from_millis(20)), Step::Close];
        let app = scripts([first, vec![Step::ReadHead, Step::ok("clean"), Step::Again]]).await;
        let proxy = proxy_to(app.url()).and("[server]\nworkers = 1").await;
        let mut client = client(proxy.address()).await;
        let answer = client.get("/").await;
        assert_eq!((answer.status.as_u16(), answer.broken.is_none()), (502, true), "{what}: {answer:?}");
        let reasons = ["bad_response", "upstream_closed", "headers_too_large"];
        assert!(reasons.iter().any(|reason| answer.text().contains(reason)), "{what}: {}", answer.text());
        assert_eq!(client.get("/").await.text(), "clean", "{what}");
        assert_eq!(app.ledger.connections(), 2, "{what}: the connection was used again");
    }
}

#[tokio::test]
async fn bodies_that_break_the_rules_are_cut() {
    for (what, chunks) in [
        ("a size that is none", "xyz\r\n"),
        ("a size with a sign", "+4\r\nfour\r\n0\r\n\r\n"),
        ("a size beyond reason", "fffffffffffffffff\r\nfour"),
        ("a chunk longer than it says", "2\r\nfour\r\n0\r\n\r\n"),
    ] {
        let response = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\ngood\r\n{chunks}");
        let app = script([Step::ReadHead, Step::say(&response), Step::Stall]).await;
        let proxy = proxy_to(app.url()).await;
        let answer = get(proxy.address(), "/").await;
        assert!(answer.status == 502 || answer.broken.is_some(), "{what}: {answer:?}");
        eventually("the connection is gone", || app.ledger.open() == 0).await;
    }
}

#[tokio::test]
async fn a_response_with_too_many_or_too_long_fields_is_502() {
    let many = "x-a: b\r\n".repeat(200);
    let long = format!("x-a: {}\r\n", "b".repeat(100_000));
    for fields in [many, long] {
        let response = format!("HTTP/1.1 200 OK\r\n{fields}content-length: 2\r\n\r\nhi");
        let app = script([Step::ReadHead, Step::say(&response), Step::Again]).await;
        let proxy = proxy_to(app.url()).await;
        assert_eq!(get(proxy.address(), "/").await.status, 502);
        eventually("the connection is gone", || app.ledger.open() == 0).await;
    }
}

#[tokio::test]
async fn as_many_fields_as_are_allowed_pass_both_ways() {
    let response = format!("HTTP/1.1 200 OK\r\n{}content-length: 2\r\n\r\nhi", "x-a: b\r\n".repeat(85));
    let app = script([Step::ReadHead, Step::say(&response), Step::Again]).await;
    let proxy = proxy_to(app.url()).await;
    let answer = get(proxy.address(), "/").await;
    assert_eq!((answer.status.as_u16(), answer.headers.get_all("x-a").iter().count()), (200, 85));
}

#[tokio::test]
async fn interim_responses_without_end_are_502() {
    let flood = "HTTP/1.1 100 Continue\r\n\r\n".repeat(50_000);
    for flood in [flood.clone(), flood.replace("100 Continue", "103 Early Hints")] {
        let app = script([Step::ReadHead, Step::say(&flood), Step::ok("after all")]).await;
        let proxy = proxy_to(app.url()).await;
        let mut client = raw(proxy.address()).await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let mut interim = 0;
        loop {
            let head = client.head().await;
            if !head.starts_with("HTTP/1.1 1") {
                assert!(head.starts_with("HTTP/1.1 502"), "{head}");
                break;
            }
            interim += 1;
        }
        assert!(interim <= 16, "{interim}");
    }
}

#[tokio::test]
async fn a_second_response_that_nobody_asked_for_is_never_anybodys() {
    let two = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfirstHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison";
    let app = scripts([
        vec![Step::ReadHead, Step::say(two), Step::ReadToEnd],
        vec![Step::ReadHead, Step::ok("clean"), Step::Again],
    ])
    .await;
    let proxy = proxy_to(app.url()).and("[server]\nworkers = 1").await;
    assert_eq!(get(proxy.address(), "/1").await.text(), "first");
    for _ in 0..3 {
        assert_eq!(get(proxy.address(), "/2").await.text(), "clean");
    }
}

#[tokio::test]
async fn an_idle_connection_that_was_reset_is_not_noticed_by_clients() {
    let gate = Gate::default();
    let app = scripts([
        vec![Step::ReadHead, Step::ok("first"), Step::Wait(gate.clone()), Step::Reset],
        vec![Step::ReadHead, Step::ok("second"), Step::Again],
    ])
    .await;
    let own = "[[route]]\npath = \"/own\"\nrespond = {}";
    let proxy = proxy_to(app.url()).and("[server]\nworkers = 1").and(own).await;
    assert_eq!(get(proxy.address(), "/").await.text(), "first");
    gate.open();
    eventually("the connection is reset", || app.ledger.open() == 0).await;
    // The only worker has looked at its sockets since.
    assert_eq!(get(proxy.address(), "/own").await.status, 200);
    assert_eq!(client(proxy.address()).await.post("/", "x").await.text(), "second", "it was known to be dead");
}

#[tokio::test]
async fn an_answer_before_the_upload_has_ended_reaches_the_client_at_once() {
    for status in ["413 Too Large", "200 OK"] {
        let early = format!("HTTP/1.1 {status}\r\ncontent-length: 5\r\n\r\nearly");
        let app = script([Step::ReadHead, Step::say(&early), Step::ReadToEnd]).await;
        let proxy = proxy_to(app.url()).await;
        for http2 in [false, true] {
            let client = client(proxy.address());
            let mut client = if http2 { client.http2().await } else { client.await };
            let (hand, body) = upload();
            let response = tokio::spawn(client.start(Request::post("/").body(body).unwrap()));
            assert!(hand.send(vec![b'x'; 1024]).await);
            // The upload goes on for as long as the hand lives.
            let response = within("the answer", response).await.unwrap().unwrap();
            assert_eq!(Answer::read(response).await.text(), "early");
            // hyper leaks such a connection (hyperium/hyper#4176); this proxy must not.
            drop(hand);
            eventually("the backend's connection is gone", || app.ledger.open() == 0).await;
        }
    }
}

#[tokio::test]
async fn after_an_early_answer_the_clients_connection_is_closed_and_never_out_of_step() {
    let app = script([Step::ReadHead, Step::ok("early"), Step::ReadToEnd]).await;
    let proxy = proxy_to(app.url()).await;
    let mut client = raw(proxy.address()).await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\npart of it").await;
    let answer = client.answer().await;
    assert_eq!((answer.body.as_str(), answer.header("connection")), ("early", Some("close")));
    client.send("GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.closed().await;
    assert!(!app.received().contains("smuggled GET"), "{}", app.received());
    assert_eq!(app.received().matches("HTTP/1.1\r\n").count(), 1, "the rest was a body: {}", app.received());
}

#[tokio::test]
async fn a_small_body_that_nobody_wants_does_not_cost_the_connection() {
    let app = backend().await;
    let proxy = proxy(
        "[upstream.app]\nbackends = [\"$app\"]\n[[route]]\npath = \"/app\"\nupstream = \"app\"\n\
         [[route]]\npath = \"/no\"\nrespond = { status = 403, body = \"no\" }\n",
    )
    .set("app", app.url())
    .await;
    let mut client = raw(proxy.address()).await;
    for (path, status) in [("/no", 403), ("/nowhere", 404)] {
        for request in [
            format!(
                "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 35\r\n\r\nGET /app/1 HTTP/1.1\r\nHost: aaaa\r\n\r\n"
            ),
            format!(
                "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: 1\r\n\r\n"
            ),
        ] {
            client.send(&request).await;
            let answer = client.answer().await;
            assert_eq!((answer.status, answer.header("connection")), (status, None), "{answer:?}");
        }
    }
    client.send("GET /app/2 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(app.ledger.lines(), ["GET /app/2"], "what was thrown away was a body");
    // A client that waits to be told to go on, one that has sent only part, and one that has announced more than is worth it.
    for (request, left) in [
        ("Content-Length: 5\r\nExpect: 100-continue\r\n\r\n", "hello"),
        ("Content-Length: 500\r\n\r\nhello", ""),
        ("Content-Length: 100000\r\n\r\nhello", ""),
        ("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "0\r\n\r\n"),
    ] {
        let mut client = raw(proxy.address()).await;
        client.send(format!("POST /no HTTP/1.1\r\nHost: a\r\n{request}")).await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.header("connection")), (403, Some("close")), "{request:?}: {answer:?}");
        client.send(format!("{left}GET /app/3 HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        client.closed().await;
    }
    assert_eq!(app.ledger.count(), 1);
}

#[tokio::test]
async fn a_backend_that_resets_while_a_client_uploads_is_502() {
    let app = script([Step::ReadHead, Step::Read(1000), Step::Reset]).await;
    let proxy = proxy_to(app.url()).await;
    let mut plain = raw(proxy.address()).await;
    plain.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999\r\n\r\n{}", "x".repeat(2000))).await;
    let answer = plain.answer().await;
    assert_eq!((answer.status, answer.header("connection")), (502, Some("close")), "{answer:?}");

    let mut client = client(proxy.address()).http2().await;
    let (hand, body) = upload();
    let response = tokio::spawn(client.start(Request::post("/").body(body).unwrap()));
    let writing = tokio::spawn(async move { while hand.send(vec![b'x'; 1000]).await {} });
    let response = within("an answer", response).await.unwrap().unwrap();
    assert_eq!(response.status(), 502);
    drop(response);
    drop(client);
    within("the end of the upload", writing).await.unwrap();
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_frees_the_backend_and_is_not_retried() {
    let app = script([Step::ReadHead, Step::ReadToEnd]).await;
    let proxy = proxy_to(app.url()).await;
    // With HTTP/1 a FIN may mean no more than that the request is over; a RST leaves no doubt.
    let mut leaving = raw(proxy.address()).await;
    leaving.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    eventually("the backend is asked", || app.ledger.open() == 1).await;
    leaving.reset();
    eventually("the backend is let go", || app.ledger.open() == 0).await;
    proxy.out.line("client_gone").await;

    let mut client = client(proxy.address()).http2().await;
    let response = tokio::spawn(client.start(Request::get("/").body(empty()).unwrap()));
    eventually("the backend is asked", || app.ledger.open() == 1).await;
    response.abort();
    eventually("the backend is let go", || app.ledger.open() == 0).await;
    proxy.out.nth_line("client_gone", 2).await;
    assert_eq!(app.ledger.connections(), 2);
}

#[tokio::test]
async fn a_stream_that_its_client_cancels_frees_the_backend_and_leaves_the_others_alone() {
    let app =
        script([Step::ReadHead, Step::say("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nx"), Step::ReadToEnd]).await;
    let proxy = proxy_to(app.url()).await;
    let mut client = client(proxy.address()).http2().await;
    let kept = client.open(Request::get("/kept").body(empty()).unwrap()).await.unwrap();
    let cancelled = client.open(Request::get("/cancelled").body(empty()).unwrap()).await.unwrap();
    assert_eq!(app.ledger.open(), 2);
    drop(cancelled);
    eventually("one is let go", || app.ledger.open() == 1).await;
    let mut body = kept.into_body();
    assert_eq!(within("a piece", body.frame()).await.unwrap().unwrap().into_data().unwrap(), "x");
    assert_eq!(app.ledger.open(), 1);
}

#[tokio::test]
async fn trailers_without_end_are_refused() {
    let trailers = "x-a: b\r\n".repeat(100_000);
    let response =
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-a\r\n\r\n2\r\nhi\r\n0\r\n{trailers}\r\n");
    let app = script([Step::ReadHead, Step::say(&response), Step::ReadToEnd]).await;
    let proxy = proxy_to(app.url()).await;
    let answer = get(proxy.address(), "/").await;
    assert!(answer.status == 502 || answer.broken.is_some(), "{}", answer.status);
}

#[tokio::test]
async fn faults_leave_nothing_behind() {
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nx";
    let faults = script([Step::ReadHead, Step::say(cut), Step::Reset]).await;
    let proxy = proxy_to(faults.url()).upstream("eject = { failures = 0 }").await;
    let mut files = 0;
    let mut memory = 0;
    for round in 0..5 {
        for number in 0..60 {
            let mut client = raw(proxy.address()).await;
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
            if number % 2 == 0 {
                client.reset();
            } else {
                client.answer_or_close().await;
            }
        }
        eventually("the backend is let go", || faults.ledger.open() == 0).await;
        if round == 1 {
            (files, memory) = (proxy.open_files(), proxy.memory("VmRSS"));
        }
    }
    eventually("files are closed", || proxy.open_files() <= files + 2).await;
    let grown = proxy.memory("VmRSS").saturating_sub(memory);
    assert!(grown < 4096, "grew by {grown} KiB");
}
