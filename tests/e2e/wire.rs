//! HTTP/1 connections as networks and clients treat them: cut anywhere, filled up, left alone.

use std::time::Duration;

use lockgate_tests::{Step, backend, proxy, proxy_to, raw, script, within};
use tokio::io::AsyncReadExt as _;
use tokio::time::Instant;

#[tokio::test]
async fn requests_that_come_byte_by_byte_are_what_they_are() {
    let app = backend().await;
    let proxy = proxy_to(app.url()).await;
    let mut client = raw(proxy.address()).await;
    let chunked = "POST /1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\none\r\n3\r\ntwo\r\n0\r\nA: b\r\n\r\n";
    for byte in chunked.bytes() {
        client.send([byte]).await;
    }
    let answer = client.answer().await;
    assert!(answer.body.contains("\"target\":\"/1\"") && answer.body.contains("\"body\":\"onetwo\""), "{answer:?}");
    for byte in "POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello".bytes() {
        client.send([byte]).await;
    }
    let answer = client.answer().await;
    assert!(answer.body.contains("\"target\":\"/2\"") && answer.body.contains("\"body\":\"hello\""), "{answer:?}");
}

#[tokio::test]
async fn two_hundred_requests_in_one_write_are_two_hundred_answers() {
    let app = backend().await;
    let proxy = proxy_to(app.url()).await;
    let mut client = raw(proxy.address()).await;
    let request = |number: usize| match number % 3 {
        0 => format!("GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n"),
        1 => format!("POST /{number} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"),
        _ => format!("POST /{number} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    };
    client.send((0..200).map(request).collect::<String>()).await;
    for number in 0..200 {
        let answer = client.answer().await;
        let target = format!("\"target\":\"/{number}\"");
        assert!(answer.body.contains(&target), "{number}: {answer:?}");
        assert_eq!(answer.body.contains("\"body\":\"hello\""), number % 3 > 0, "{answer:?}");
    }
}

#[tokio::test]
async fn an_answer_cut_short_does_not_look_complete_where_only_the_end_would_tell() {
    let cut = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n";
    let app = script([Step::ReadHead, Step::say(cut), Step::Pause(Duration::from_millis(100)), Step::Close]).await;
    let proxy = proxy_to(app.url()).await;
    let mut client = raw(proxy.address()).await;
    client.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n").await;
    let end = async {
        loop {
            match client.stream.read(&mut [0; 1024]).await {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) => return Some(error.kind()),
            }
        }
    };
    assert_eq!(within("the end", end).await, Some(std::io::ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn early_hints_do_not_wait_for_the_answer() {
    let hints = "HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n";
    let app = script([Step::ReadHead, Step::say(hints), Step::Read(2), Step::ok("the answer")]).await;
    let proxy = proxy_to(app.url()).await;
    let mut client = raw(proxy.address()).await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n").await;
    assert!(client.head().await.starts_with("HTTP/1.1 103"));
    client.send("hi").await;
    assert_eq!(client.answer().await.body, "the answer");
}

#[tokio::test]
async fn who_has_sent_the_body_already_is_not_told_to_continue() {
    let app = backend().await;
    let proxy = proxy_to(app.url()).await;
    let mut client = raw(proxy.address()).await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello").await;
    let answer = client.answer().await;
    assert!(answer.status == 200 && answer.body.contains("\"body\":\"hello\""), "{answer:?}");
}

#[tokio::test]
async fn trailers_are_for_those_who_take_them() {
    let response =
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n2\r\nhi\r\n0\r\nx-sum: 1\r\n\r\n";
    let app = script([Step::ReadHead, Step::say(response), Step::Again]).await;
    let proxy = proxy_to(app.url()).await;
    let mut client = raw(proxy.address()).await;
    for (te, body) in [("", "hi"), ("TE: trailers\r\n", "hi[x-sum: 1]")] {
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{te}\r\n")).await;
        let answer = client.answer().await;
        assert_eq!((answer.body.as_str(), answer.complete), (body, true), "{te:?}");
    }
}

#[tokio::test]
async fn another_protocol_is_told_so_at_once() {
    let app = backend().await;
    let proxy = proxy_to(app.url()).await;
    let hello = [0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01];
    let began = Instant::now();
    let mut client = raw(proxy.address()).await;
    client.send(hello).await;
    assert_eq!(client.answer().await.status, 400);
    // It does not wait for the rest of a head, which has 10 s.
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_request_line_without_end_is_414() {
    let app = backend().await;
    let proxy = proxy_to(app.url()).await;
    let mut client = raw(proxy.address()).await;
    client.send(format!("GET /{}", "x".repeat(12_000))).await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.body.contains("uri_too_long")), (414, true), "{answer:?}");
}

#[tokio::test]
async fn a_client_that_asks_and_asks_and_never_reads_is_given_up() {
    let route = format!("[[route]]\nrespond = {{ body = \"{}\" }}", "x".repeat(1 << 16));
    let proxy = proxy(&route).and("[timeouts]\nbody_idle = \"300ms\"").await;
    let mut client = raw(proxy.address()).await;
    // More than all the buffers between the two hold.
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(2500)).await;
    let given_up = async {
        while proxy.metric("lockgate_connections_total").await < 1.0
            || proxy.metric("lockgate_connections_open").await > 0.0
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("the connection is given up", given_up).await;
}

#[tokio::test]
async fn idle_connections_are_cheap() {
    let proxy = proxy("[server]\nworkers = 1\n[[route]]\nrespond = { body = \"hello\" }").await;
    let mut clients = Vec::new();
    let mut before = 0;
    for number in 0..1000 {
        let mut client = raw(proxy.address()).await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(client.answer().await.body, "hello");
        clients.push(client);
        if number == 200 {
            before = proxy.memory("VmRSS");
        }
    }
    let each = (proxy.memory("VmRSS") - before) * 1024 / 800;
    assert!(each < 24 * 1024, "{each} bytes each");
}
