//! Bodies: forwarded as they come, held back when nobody reads, never made to look whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use lockgate_tests::script::scripts;
use lockgate_tests::{
    Answer, Backend, Gate, Step, backend, client, empty, eventually, full, proxy_to, raw, script, upload, within,
};
use tokio::sync::mpsc;

const PIECE: usize = 64 * 1024;
const MIB: usize = 1024 * 1024;

/// A backend that sends this many bytes, and counts what it has handed to its connection.
async fn spring(length: usize) -> (Backend, Arc<AtomicUsize>) {
    let sent = Arc::<AtomicUsize>::default();
    let counter = sent.clone();
    let app = backend().answers(move |_| {
        let counter = counter.clone();
        async move {
            let (hand, body) = upload();
            tokio::spawn(async move {
                let piece = Bytes::from(vec![b'x'; PIECE]);
                for _ in 0..length / PIECE {
                    if !hand.send(piece.clone()).await {
                        return;
                    }
                    counter.fetch_add(PIECE, Ordering::SeqCst);
                }
            });
            Response::new(body)
        }
    });
    (app.await, sent)
}

/// A backend that counts the bytes of a body and answers with the count.
async fn sink() -> Backend {
    backend()
        .answers(|request| async move {
            let (mut body, mut count) = (request.into_body(), 0);
            while let Some(Ok(frame)) = body.frame().await {
                count += frame.data_ref().map_or(0, Bytes::len);
            }
            Response::new(full(count.to_string()))
        })
        .await
}

#[tokio::test]
async fn the_first_piece_of_an_answer_arrives_while_the_rest_is_not_written_yet() {
    let (hands, mut written) = mpsc::unbounded_channel();
    let app = backend()
        .answers(move |_| {
            let (hand, body) = upload();
            hands.send(hand).unwrap();
            async move { Response::new(body) }
        })
        .await;
    let proxy = proxy_to(app.url()).await;
    for http2 in [false, true] {
        let client = client(proxy.address());
        let mut client = if http2 { client.http2().await } else { client.await };
        let response = client.open(Request::get("/").body(empty()).unwrap()).await.unwrap();
        let hand = within("the request", written.recv()).await.unwrap();
        let mut body = response.into_body();
        for piece in ["one", "two"] {
            assert!(hand.send(piece).await);
            let frame = within("a piece", body.frame()).await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), piece);
        }
        drop(hand);
        assert!(within("the end", body.collect()).await.unwrap().to_bytes().is_empty());
    }
}

#[tokio::test]
async fn the_first_piece_of_a_request_arrives_while_the_rest_is_not_written_yet() {
    let (pieces, mut seen) = mpsc::unbounded_channel();
    let app = backend()
        .answers(move |request| {
            let pieces = pieces.clone();
            async move {
                let mut body = request.into_body();
                while let Some(Ok(frame)) = body.frame().await {
                    pieces.send(frame.into_data().unwrap()).unwrap();
                }
                Response::new(full("thanks"))
            }
        })
        .await;
    let proxy = proxy_to(app.url()).await;
    for http2 in [false, true] {
        let client = client(proxy.address());
        let mut client = if http2 { client.http2().await } else { client.await };
        let (hand, body) = upload();
        let response = tokio::spawn(client.start(Request::post("/").body(body).unwrap()));
        for piece in ["one", "two"] {
            assert!(hand.send(piece).await);
            assert_eq!(within("a piece", seen.recv()).await.unwrap(), piece);
        }
        drop(hand);
        assert_eq!(Answer::read(response.await.unwrap().unwrap()).await.text(), "thanks");
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_the_backend_back() {
    let length = 256 * MIB;
    let (app, sent) = spring(length).await;
    let proxy = proxy_to(app.url()).await;
    for http2 in [false, true] {
        sent.store(0, Ordering::SeqCst);
        let client = client(proxy.address());
        let mut client = if http2 { client.http2().await } else { client.await };
        let before = proxy.memory("VmRSS");
        let response = client.open(Request::get("/").body(empty()).unwrap()).await.unwrap();
        let held = standstill(&sent).await;
        // What is under way sits in the sockets' buffers, up to 32 MiB each; next to nothing of it in the proxy.
        assert!(held < 128 * MIB, "{held} bytes were sent to a client that reads nothing");
        let grown = proxy.memory("VmRSS").saturating_sub(before);
        assert!(grown < 8 * 1024, "grew by {grown} KiB, http2: {http2}");
        let answer = Answer::read(response).await;
        assert_eq!((answer.body.len(), answer.broken.is_none()), (length, true));
    }
}

#[tokio::test]
async fn a_backend_that_does_not_read_holds_the_client_back() {
    let app = script([Step::ReadHead, Step::Stall]).await;
    let proxy = proxy_to(app.url()).await;
    for http2 in [false, true] {
        let client = client(proxy.address());
        let mut client = if http2 { client.http2().await } else { client.await };
        let before = proxy.memory("VmRSS");
        let (hand, body) = upload();
        let response = tokio::spawn(client.start(Request::post("/").body(body).unwrap()));
        let sent = Arc::<AtomicUsize>::default();
        let counter = sent.clone();
        let writer = tokio::spawn(async move {
            while hand.send(vec![b'x'; PIECE]).await {
                counter.fetch_add(PIECE, Ordering::SeqCst);
            }
        });
        let held = standstill(&sent).await;
        assert!(held < 128 * MIB, "{held} bytes were taken for a backend that reads nothing");
        let grown = proxy.memory("VmRSS").saturating_sub(before);
        assert!(grown < 8 * 1024, "grew by {grown} KiB, http2: {http2}");
        writer.abort();
        response.abort();
    }
}

#[tokio::test]
async fn a_long_upload_passes_whole_and_leaves_memory_flat() {
    let app = sink().await;
    let proxy = proxy_to(app.url()).await;
    let length = 256 * MIB;
    for http2 in [false, true] {
        let client = client(proxy.address());
        let mut client = if http2 { client.http2().await } else { client.await };
        assert_eq!(client.post("/", "warm").await.text(), "4");
        let before = proxy.memory("VmRSS");
        let mut peak = before;
        let (hand, body) = upload();
        let response = tokio::spawn(client.start(Request::post("/").body(body).unwrap()));
        let piece = Bytes::from(vec![b'x'; PIECE]);
        for number in 0..length / PIECE {
            assert!(within("room for a piece", hand.send(piece.clone())).await);
            if number % 128 == 0 {
                peak = peak.max(proxy.memory("VmRSS"));
            }
        }
        drop(hand);
        assert_eq!(Answer::read(response.await.unwrap().unwrap()).await.text(), length.to_string());
        let grown = peak - before;
        assert!(grown < 8 * 1024, "grew by {grown} KiB, http2: {http2}");
    }
}

#[tokio::test]
async fn an_answer_cut_short_never_looks_complete() {
    let length = "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf";
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n";
    for cut in [length, chunked] {
        for end in [Step::Close, Step::Reset] {
            // The head has arrived before the connection breaks, or a reset may overtake it.
            let gate = Gate::default();
            let app = script([Step::ReadHead, Step::say(cut), Step::Wait(gate.clone()), end]).await;
            let proxy = proxy_to(app.url()).await;
            let mut client = raw(proxy.address()).await;
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
            assert!(client.head().await.starts_with("HTTP/1.1 200"), "{cut}");
            gate.open();
            let rest = client.rest().await;
            assert!(rest.contains("half") && !rest.contains("0\r\n\r\n"), "{cut}: {rest}");
            let mut client = lockgate_tests::client(proxy.address()).http2().await;
            for _ in 0..2 {
                let response = client.open(Request::get("/").body(empty()).unwrap()).await.unwrap();
                assert_eq!(response.status(), 200, "the connection itself is fine");
                gate.open();
                let answer = Answer::read(response).await;
                assert!(answer.broken.is_some(), "{cut}: {answer:?}");
            }
            proxy.out.nth_line("upstream_truncated", 3).await;
        }
    }
}

#[tokio::test]
async fn a_connection_whose_answer_was_cut_short_is_not_used_again() {
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf";
    let app = scripts([
        vec![Step::ReadHead, Step::say(cut), Step::Close],
        vec![Step::ReadHead, Step::ok("whole"), Step::Again],
    ])
    .await;
    let proxy = proxy_to(app.url()).await;
    assert!(lockgate_tests::get(proxy.address(), "/").await.broken.is_some());
    assert_eq!(lockgate_tests::get(proxy.address(), "/").await.text(), "whole");
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_frees_the_backend() {
    let (app, _) = spring(1024 * MIB).await;
    let proxy = proxy_to(app.url()).await;
    for http2 in [false, true] {
        let client = client(proxy.address());
        let mut client = if http2 { client.http2().await } else { client.await };
        let response = client.open(Request::get("/").body(empty()).unwrap()).await.unwrap();
        assert_eq!(app.ledger.open(), 1);
        drop(response);
        drop(client);
        eventually("the backend's connection is gone", || app.ledger.open() == 0).await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_its_body_never_makes_a_whole_request() {
    let (ends, mut ended) = mpsc::unbounded_channel();
    let app = backend()
        .answers(move |request| {
            let ends = ends.clone();
            async move {
                let whole = request.into_body().collect().await.is_ok();
                ends.send(whole).unwrap();
                Response::new(full("done"))
            }
        })
        .await;
    let proxy = proxy_to(app.url()).await;
    for request in ["Content-Length: 10\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"] {
        for reset in [false, true] {
            let before = app.ledger.count();
            let mut client = raw(proxy.address()).await;
            client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{request}")).await;
            eventually("the backend has begun", || app.ledger.count() > before).await;
            if reset {
                client.reset();
            } else {
                drop(client);
            }
            assert!(!within("the backend hears of it", ended.recv()).await.unwrap(), "{request}");
        }
    }
}

/// Waits until a counter has not moved for a while, and returns it.
async fn standstill(counter: &AtomicUsize) -> usize {
    let mut last = usize::MAX;
    loop {
        let now = counter.load(Ordering::SeqCst);
        if now == last && now > 0 {
            return now;
        }
        last = now;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}
