//! HTTP/1.0 and HTTP/1.1, to the byte.

use lockgate_tests::{Step, backend, empty, full, proxy_to, raw, script};

#[tokio::test]
async fn one_connection_carries_many_exchanges_over_one_connection_to_the_backend() {
    let app = backend().await;
    let proxy = proxy_to(app.url()).and("[server]\nworkers = 1").await;
    let mut client = raw(proxy.address()).await;
    for number in 1..=3 {
        client.send(format!("GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        let answer = client.answer().await;
        assert_eq!(answer.status, 200);
        assert!(answer.body.contains(&format!("\"target\":\"/{number}\"")), "{}", answer.body);
    }
    assert_eq!(app.ledger.connections(), 1);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let app = backend().await;
    let proxy = proxy_to(app.url()).await;
    let mut client = raw(proxy.address()).await;
    let first = "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\none";
    client.send(format!("{first}GET /2 HTTP/1.1\r\nHost: a\r\n\r\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    for number in 1..=3 {
        let answer = client.answer().await;
        assert!(answer.body.contains(&format!("\"target\":\"/{number}\"")), "{}", answer.body);
    }
    assert_eq!(app.ledger.lines(), ["POST /1", "GET /2", "GET /3"]);
}

#[tokio::test]
async fn an_answer_does_not_wait_for_the_rest_of_the_next_request() {
    let app = backend().says("hello").await;
    let proxy = proxy_to(app.url()).await;
    let mut client = raw(proxy.address()).await;
    client.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHo").await;
    assert_eq!(client.answer().await.body, "hello");
    client.send("st: a\r\n\r\n").await;
    assert_eq!(client.answer().await.body, "hello");
}

#[tokio::test]
async fn a_client_of_http_1_0_gets_no_chunks_and_a_closed_connection() {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nfour\r\n0\r\n\r\n";
    let app = script([Step::ReadHead, Step::say(chunked), Step::Again]).await;
    let proxy = proxy_to(app.url()).await;
    let mut client = raw(proxy.address()).await;
    client.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n").await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "four"));
    assert_eq!(answer.header("transfer-encoding"), None);
    client.closed().await;
    assert!(app.received().contains("HTTP/1.1\r\n"), "the proxy speaks its own version: {}", app.received());
}

#[tokio::test]
async fn a_client_of_http_1_0_may_keep_the_connection_if_it_asks() {
    let app = backend().says("hello").await;
    let proxy = proxy_to(app.url()).await;
    let mut client = raw(proxy.address()).await;
    for _ in 0..2 {
        client.send("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n").await;
        assert_eq!(client.answer().await.body, "hello");
    }
}

#[tokio::test]
async fn the_answer_to_head_has_the_length_and_no_body() {
    let app = backend().says("twelve bytes").await;
    let proxy = proxy_to(app.url()).await;
    let mut client = raw(proxy.address()).await;
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let head = client.head().await.to_lowercase();
    assert!(head.starts_with("http/1.1 200") && head.contains("content-length: 12"), "{head}");
    assert_eq!(client.answer().await.body, "twelve bytes");
    assert_eq!(app.ledger.lines(), ["HEAD /", "GET /"]);
}

#[tokio::test]
async fn answers_without_a_body_have_none_and_the_connection_goes_on() {
    let app = script([
        Step::ReadHead,
        Step::say("HTTP/1.1 204 No Content\r\n\r\n"),
        Step::ReadHead,
        Step::say("HTTP/1.1 304 Not Modified\r\netag: \"x\"\r\ncontent-length: 100\r\n\r\n"),
        Step::ReadHead,
        Step::ok("a body again"),
    ])
    .await;
    let proxy = proxy_to(app.url()).await;
    let mut client = raw(proxy.address()).await;
    client.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.header("content-length"), answer.header("transfer-encoding")), (204, None, None));
    client.send("GET /2 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.header("etag")), (304, Some("\"x\"")));
    client.send("GET /3 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.answer().await.body, "a body again");
}

#[tokio::test]
async fn chunks_and_trailers_go_both_ways() {
    let response =
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-out\r\n\r\n3\r\nout\r\n0\r\nx-out: 2\r\n\r\n";
    let app = script([Step::ReadHead, Step::Read("5;a=b\r\n".len()), Step::say(response), Step::ReadToEnd]).await;
    let proxy = proxy_to(app.url()).await;
    let mut client = raw(proxy.address()).await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\nTrailer: x-in\r\n\r\n")
        .await
        .send("5;a=b\r\nhello\r\n0\r\nx-in: 1\r\n\r\n")
        .await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.body.as_str(), answer.complete), (200, "out[x-out: 2]", true));
    lockgate_tests::eventually("the backend has the request's trailer", || app.received().contains("x-in: 1")).await;
    assert!(app.received().contains("\r\n5\r\nhello\r\n0\r\n"), "extensions are dropped: {}", app.received());
}

#[tokio::test]
async fn trailers_that_could_reframe_or_reroute_are_dropped() {
    let app = backend().await;
    let proxy = proxy_to(app.url()).await;
    let mut client = raw(proxy.address()).await;
    let trailer = "Content-Length: 9\r\nHost: evil\r\nAuthorization: x\r\nTransfer-Encoding: chunked\r\nX-Fine: 1\r\n";
    client
        .send(
            "POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\nTrailer: x-fine, host\r\n\r\n",
        )
        .await
        .send(format!("2\r\nhi\r\n0\r\n{trailer}\r\nGET /next HTTP/1.1\r\nHost: a\r\n\r\n"))
        .await;
    let answer = client.answer().await;
    if answer.status == 200 {
        let json: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        for name in ["content-length", "host", "authorization", "transfer-encoding"] {
            assert_eq!(json["trailers"][name], serde_json::Value::Null, "{json}");
        }
        assert_eq!(client.answer().await.status, 200);
    } else {
        assert_eq!(answer.status, 400);
    }
}

#[tokio::test]
async fn a_client_that_waits_to_be_told_to_continue_is_told() {
    let app = backend().await;
    let proxy = proxy_to(app.url()).await;
    let mut client = raw(proxy.address()).await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n").await;
    assert!(client.head().await.starts_with("HTTP/1.1 100 "));
    client.send("hello").await;
    let answer = client.answer().await;
    assert!(answer.status == 200 && answer.body.contains("\"body\":\"hello\""), "{answer:?}");
}

#[tokio::test]
async fn another_expectation_fails() {
    let app = backend().await;
    let proxy = proxy_to(app.url()).await;
    for expectation in ["200-ok", "100-continue, more"] {
        let mut client = raw(proxy.address()).await;
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nExpect: {expectation}\r\nContent-Length: 5\r\n\r\n")).await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.body.contains("expectation_failed")), (417, true), "{answer:?}");
    }
    assert_eq!(app.ledger.count(), 0);
}

#[tokio::test]
async fn early_hints_pass_before_the_answer() {
    let hints = "HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n";
    let app = script([Step::ReadHead, Step::say(hints), Step::ok("the answer"), Step::Again]).await;
    let proxy = proxy_to(app.url()).await;
    let mut client = raw(proxy.address()).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.1 103") && head.to_lowercase().contains("link: </style.css>"), "{head}");
    assert_eq!(client.answer().await.body, "the answer");

    // RFC 9110 §15.2: no interim response for HTTP/1.0.
    let mut client = raw(proxy.address()).await;
    client.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 200);
}

#[tokio::test]
async fn connect_is_refused() {
    let app = backend().await;
    let proxy = proxy_to(app.url()).await;
    let mut client = raw(proxy.address()).await;
    client
        .send("CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\nGET /y HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.body.contains("method_not_served")), (405, true), "{answer:?}");
    assert_eq!(app.ledger.count(), 0);
}

#[tokio::test]
async fn a_client_that_has_said_all_still_hears_the_answer() {
    let app = backend()
        .answers(|_| async {
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            http::Response::new(full("late"))
        })
        .await;
    let proxy = proxy_to(app.url()).await;
    let mut client = raw(proxy.address()).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    client.finish().await;
    let before = proxy.processor_ticks();
    assert_eq!(client.answer().await.body, "late");
    assert!(proxy.processor_ticks() - before < 20, "a busy loop");
    client.closed().await;
}

#[tokio::test]
async fn a_client_that_says_close_is_closed() {
    let app = backend().says("bye").await;
    let proxy = proxy_to(app.url()).await;
    let mut client = raw(proxy.address()).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    let answer = client.answer().await;
    assert_eq!((answer.body.as_str(), answer.header("connection")), ("bye", Some("close")));
    client.closed().await;
    assert_eq!(app.ledger.last().header("connection"), None, "that was for this connection only");
}

#[tokio::test]
async fn options_for_the_server_itself_reaches_it() {
    let app = backend().answers(|_| async { http::Response::new(empty()) }).await;
    let proxy = proxy_to(app.url()).await;
    let mut client = raw(proxy.address()).await;
    client.send("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 200);
    assert_eq!(app.ledger.lines(), ["OPTIONS *"]);
}
