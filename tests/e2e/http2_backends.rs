//! Backends that speak HTTP/2 and do not want to, or not any more: what they have not processed is sent elsewhere, whatever it
//! is, and what they may have processed is not sent twice.

use http::Request;
use lockgate_tests::frames::{END_HEADERS, END_STREAM, frame, kind, setting};
use lockgate_tests::stub::{Reply, Stub, ok, stub};
use lockgate_tests::{Answer, Proxy, client, full, proxy};

/// A proxy with one worker whose round robin begins at the first of two backends.
async fn pair(first: &Stub, second: &Stub) -> Proxy {
    proxy(
        "[server]\nworkers = 1\n[upstream.app]\nprotocol = \"http2\"\nbackends = [\"$first\", \"$second\"]\n\
         response_timeout = \"1s\"\n[[route]]\nupstream = \"app\"\n",
    )
    .set("first", first.url())
    .set("second", second.url())
    .await
}

/// The same with one backend.
async fn proxy_to_frames(app: &Stub) -> Proxy {
    proxy(
        "[server]\nworkers = 1\n[upstream.app]\nprotocol = \"http2\"\nbackends = [\"$app\"]\n\
         response_timeout = \"1s\"\n[[route]]\nupstream = \"app\"\n",
    )
    .set("app", app.url())
    .await
}

/// One that answers everything.
async fn willing(body: &'static str) -> Stub {
    stub(Vec::new(), move |_, stream| Reply::say(ok(stream, body))).await
}

async fn post(proxy: &Proxy) -> Answer {
    client(proxy.address()).await.send(Request::post("/").body(full("body")).unwrap()).await
}

fn goaway(last: u32, code: u32) -> Vec<u8> {
    frame(kind::GOAWAY, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat())
}

const NO_ERROR: u32 = 0;
const INTERNAL_ERROR: u32 = 2;
const REFUSED_STREAM: u32 = 7;

#[tokio::test]
async fn a_stream_that_is_refused_goes_to_the_next_whatever_it_is() {
    let refusing = |_, stream| Reply::say(frame(kind::RST_STREAM, 0, stream, &REFUSED_STREAM.to_be_bytes()));
    let (first, second) = (stub(Vec::new(), refusing).await, willing("second").await);
    let proxy = pair(&first, &second).await;
    for count in 1..=3 {
        assert_eq!(post(&proxy).await.text(), "second");
        assert_eq!(second.requests(), count, "each was executed once");
    }
    assert!(first.requests() >= 1 && first.connections() == 1, "refusing a stream is no end of a connection");
}

#[tokio::test]
async fn a_stream_that_was_broken_off_is_not_sent_twice() {
    let breaking = |_, stream| Reply::say(frame(kind::RST_STREAM, 0, stream, &INTERNAL_ERROR.to_be_bytes()));
    let (first, second) = (stub(Vec::new(), breaking).await, willing("second").await);
    let proxy = pair(&first, &second).await;
    assert_eq!(post(&proxy).await.status, 502);
    assert_eq!((first.requests(), second.requests()), (1, 0));
}

#[tokio::test]
async fn what_a_goaway_leaves_out_goes_to_the_next_whatever_it_is() {
    for code in [NO_ERROR, INTERNAL_ERROR] {
        let leaving = move |_, _| Reply::last(goaway(0, code));
        let (first, second) = (stub(Vec::new(), leaving).await, willing("second").await);
        let proxy = pair(&first, &second).await;
        assert_eq!(post(&proxy).await.text(), "second", "GOAWAY {code}");
        assert_eq!((first.requests(), second.requests()), (1, 1), "GOAWAY {code}");
    }
}

#[tokio::test]
async fn what_a_goaway_includes_is_not_sent_twice() {
    for code in [NO_ERROR, INTERNAL_ERROR] {
        let leaving = move |_, stream| Reply::last(goaway(stream, code));
        let (first, second) = (stub(Vec::new(), leaving).await, willing("second").await);
        let proxy = pair(&first, &second).await;
        assert_eq!(post(&proxy).await.status, 502, "GOAWAY {code}");
        assert_eq!((first.requests(), second.requests()), (1, 0), "GOAWAY {code}");
    }
}

#[tokio::test]
async fn what_is_under_way_is_finished_after_a_goaway_and_the_next_takes_another_connection() {
    let leaving = |_, stream| Reply::say([goaway(stream, NO_ERROR), ok(stream, "finished")].concat());
    let app = stub(Vec::new(), leaving).await;
    let proxy = proxy_to_frames(&app).await;
    for count in 1..=4 {
        assert_eq!(post(&proxy).await.text(), "finished");
        assert_eq!(app.requests(), count);
    }
    assert_eq!(app.connections(), 4);
}

#[tokio::test]
async fn a_backend_that_takes_one_stream_at_a_time_gets_them_one_by_one_and_on_one_connection() {
    // MAX_CONCURRENT_STREAMS.
    let app = stub(setting(3, 1), |_, stream| Reply::say(ok(stream, "one"))).await;
    let proxy = proxy_to_frames(&app).await;
    assert_eq!(post(&proxy).await.text(), "one");
    let mut client = client(proxy.address()).http2().await;
    let streams: Vec<_> = (0..50).map(|_| client.start(Request::post("/").body(full("x")).unwrap())).collect();
    for response in futures_util::future::join_all(streams).await {
        assert_eq!(Answer::read(response.unwrap()).await.text(), "one");
    }
    assert_eq!((app.requests(), app.connections()), (51, 1));
}

#[tokio::test]
async fn a_backend_that_takes_no_streams_is_waited_for_as_long_as_for_any_other() {
    let app = stub(setting(3, 0), |_, stream| Reply::say(ok(stream, "none"))).await;
    let proxy = proxy_to_frames(&app).await;
    // The first may be sent before its wish is known.
    let first = post(&proxy).await;
    assert!([200, 504].contains(&first.status.as_u16()), "{first:?}");
    let mut client = client(proxy.address()).http2().await;
    let streams: Vec<_> = (0..20).map(|_| client.start(Request::post("/").body(full("x")).unwrap())).collect();
    for response in futures_util::future::join_all(streams).await {
        assert_eq!(Answer::read(response.unwrap()).await.status, 504);
    }
    assert!(app.connections() == 1, "{} connections", app.connections());
}

#[tokio::test]
async fn responses_that_break_the_rules_of_http_2_are_502_and_others_pass() {
    type Answers = fn(u32) -> Vec<u8>;
    let broken: [(&str, Answers); 5] = [
        ("no status", |stream| frame(kind::HEADERS, END_HEADERS | END_STREAM, stream, &[])),
        ("a switch of protocols", |stream| {
            let fields = [&[0x08, 3][..], b"101"].concat();
            frame(kind::HEADERS, END_HEADERS | END_STREAM, stream, &fields)
        }),
        ("a status of letters", |stream| {
            let fields = [&[0x08, 3][..], b"abc"].concat();
            frame(kind::HEADERS, END_HEADERS | END_STREAM, stream, &fields)
        }),
        ("two lengths", |stream| {
            let length = |digit: u8| [0x0f, 0x0d, 1, digit];
            let fields = [&[0x88][..], &length(b'0'), &length(b'1')].concat();
            frame(kind::HEADERS, END_HEADERS | END_STREAM, stream, &fields)
        }),
        ("a line end in a value", |stream| {
            let fields = [&[0x88, 0x00, 1, b'x', 4][..], b"a\r\nb"].concat();
            frame(kind::HEADERS, END_HEADERS | END_STREAM, stream, &fields)
        }),
    ];
    for (what, answer) in broken {
        let app = stub(Vec::new(), move |connection, stream| {
            Reply::say(if stream == 1 && connection == 0 { answer(stream) } else { ok(stream, "clean") })
        })
        .await;
        let proxy = proxy_to_frames(&app).await;
        let answer = post(&proxy).await;
        assert_eq!((answer.status.as_u16(), answer.text().contains("\r\nb")), (502, false), "{what}: {answer:?}");
        assert_eq!(post(&proxy).await.text(), "clean", "{what}: the next");
    }
}
