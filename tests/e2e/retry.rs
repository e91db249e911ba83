//! Which requests are tried again, and which never: a backend executes a POST at most once.

use std::time::Duration;

use http::Request;
use lockgate_tests::script::{Script, scripts};
use lockgate_tests::{
    Answer, Proxy, ProxyBuilder, Step, backend, client, eventually, full, get, nowhere, proxy, proxy_to, script, upload,
};

/// A proxy whose round robin begins at the first of two backends.
fn pair(first: &str, second: &str, more: &str) -> ProxyBuilder {
    proxy(&format!(
        "[server]\nworkers = 1\n[upstream.app]\nbackends = [\"$first\", \"$second\"]\n{more}\n[[route]]\nupstream = \"app\"\n"
    ))
    .set("first", first)
    .set("second", second)
}

async fn send(proxy: &Proxy, method: &str, body: &str) -> Answer {
    let request = Request::builder().method(method).uri("/").body(full(body.to_owned())).unwrap();
    client(proxy.address()).await.send(request).await
}

#[tokio::test]
async fn what_never_reached_a_backend_goes_to_the_next_whatever_it_is() {
    let app = backend().await;
    let proxy = pair(&nowhere().await, &app.url(), "").await;
    for method in ["GET", "POST", "PATCH", "PURGE"] {
        for _ in 0..2 {
            let answer = send(&proxy, method, "body").await;
            assert_eq!((answer.status.as_u16(), answer.json()["body"].as_str()), (200, Some("body")), "{method}");
        }
    }
    assert_eq!(app.ledger.count(), 8);
    let retried = app.ledger.requests().iter().filter(|seen| seen.header("x-lockgate-attempt").is_some()).count();
    assert!(retried > 0, "a second attempt says so: {:?}", app.ledger.last());
}

/// A backend that keeps a connection after one exchange, and closes it as soon as another request has come.
async fn closes_on_reuse() -> Script {
    scripts([
        vec![Step::ReadHead, Step::ok("first"), Step::ReadHead, Step::Close],
        vec![Step::ReadHead, Step::ok("second"), Step::Again],
    ])
    .await
}

#[tokio::test]
async fn a_reused_connection_that_closes_is_no_failure_for_a_get() {
    let app = closes_on_reuse().await;
    let proxy = proxy_to(app.url()).and("[server]\nworkers = 1").await;
    assert_eq!(get(proxy.address(), "/1").await.text(), "first");
    assert_eq!(get(proxy.address(), "/2").await.text(), "second");
    assert_eq!(app.received().matches("GET /2 ").count(), 2);
}

#[tokio::test]
async fn a_reused_connection_that_closes_is_a_failure_for_a_post() {
    let app = closes_on_reuse().await;
    let proxy = proxy_to(app.url()).and("[server]\nworkers = 1").await;
    assert_eq!(get(proxy.address(), "/1").await.text(), "first");
    let answer = send(&proxy, "POST", "").await;
    assert_eq!(answer.status, 502);
    assert_eq!(app.received().matches("POST").count(), 1, "{}", app.received());
}

#[tokio::test]
async fn an_idempotent_request_with_a_short_body_is_repeated_with_its_body() {
    let app = scripts([
        vec![Step::ReadHead, Step::ok("first"), Step::ReadHead, Step::Read(4), Step::Close],
        vec![Step::ReadHead, Step::Read(4), Step::ok("second"), Step::Again],
    ])
    .await;
    let proxy = proxy_to(app.url()).and("[server]\nworkers = 1").await;
    assert_eq!(get(proxy.address(), "/1").await.text(), "first");
    assert_eq!(send(&proxy, "PUT", "body").await.text(), "second");
    assert_eq!(app.received().matches("\r\n\r\nbody").count(), 2);
}

#[tokio::test]
async fn an_idempotent_request_with_a_long_body_is_not_repeated() {
    let app = scripts([
        vec![Step::ReadHead, Step::ok("first"), Step::ReadHead, Step::Read(70_000), Step::Close],
        vec![Step::ReadHead, Step::ok("second"), Step::Again],
    ])
    .await;
    let proxy = proxy_to(app.url()).and("[server]\nworkers = 1").await;
    assert_eq!(get(proxy.address(), "/1").await.text(), "first");
    assert_eq!(send(&proxy, "PUT", &"x".repeat(70_000)).await.status, 502);
    assert_eq!(app.received().matches("PUT").count(), 1);
}

#[tokio::test]
async fn a_fresh_connection_that_closes_is_a_failure() {
    // P4: only a reused connection may have been closed for reasons that are not this request's.
    let dying = script([Step::ReadHead, Step::Close]).await;
    let app = backend().await;
    let proxy = pair(&dying.url(), &app.url(), "").await;
    let statuses = [send(&proxy, "GET", "").await.status, send(&proxy, "GET", "").await.status];
    assert!(statuses.contains(&http::StatusCode::BAD_GATEWAY), "{statuses:?}");
    assert_eq!(dying.received().matches("GET").count(), 1);
}

#[tokio::test]
async fn a_post_whose_backend_dies_is_executed_once() {
    let dying = script([Step::ReadHead, Step::Read(4), Step::Reset]).await;
    let app = backend().await;
    let proxy = pair(&dying.url(), &app.url(), "").await;
    let statuses =
        [send(&proxy, "POST", "body").await.status.as_u16(), send(&proxy, "POST", "body").await.status.as_u16()];
    assert_eq!(statuses.iter().filter(|status| **status == 502).count(), 1, "{statuses:?}");
    assert_eq!(app.ledger.count() + dying.received().matches("POST").count(), 2, "each of them once");
}

#[tokio::test]
async fn nothing_is_repeated_once_a_byte_of_the_answer_has_come() {
    let cut = scripts([
        vec![Step::ReadHead, Step::ok("first"), Step::ReadHead, Step::say("HTTP/1.1 200 OK\r\ncont"), Step::Close],
        vec![Step::ReadHead, Step::ok("second"), Step::Again],
    ])
    .await;
    let proxy = proxy_to(cut.url()).and("[server]\nworkers = 1").await;
    assert_eq!(get(proxy.address(), "/1").await.text(), "first");
    assert_eq!(get(proxy.address(), "/2").await.status, 502);
    assert_eq!(cut.received().matches("GET /2 ").count(), 1);
}

#[tokio::test]
async fn a_status_is_tried_again_only_if_the_configuration_says_so() {
    let busy = "HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nbusy";
    let failing = script([Step::ReadHead, Step::say(busy), Step::Again]).await;
    let app = backend().says("fine").await;
    let proxy = pair(&failing.url(), &app.url(), "eject = { failures = 0 }").await;
    let statuses = [get(proxy.address(), "/").await.status.as_u16(), get(proxy.address(), "/").await.status.as_u16()];
    assert!(statuses.contains(&503), "{statuses:?}");
    let proxy = pair(&failing.url(), &app.url(), "eject = { failures = 0 }\nretry = { status = [503] }").await;
    for _ in 0..4 {
        assert_eq!(get(proxy.address(), "/").await.text(), "fine");
    }
    // A POST that was answered was executed.
    let statuses = [send(&proxy, "POST", "").await.status.as_u16(), send(&proxy, "POST", "").await.status.as_u16()];
    assert!(statuses.contains(&503), "{statuses:?}");
}

#[tokio::test]
async fn a_post_is_tried_again_if_the_configuration_says_so() {
    let app = closes_on_reuse().await;
    let proxy = proxy_to(app.url()).and("[server]\nworkers = 1").upstream("retry = { non_idempotent = true }").await;
    assert_eq!(get(proxy.address(), "/1").await.text(), "first");
    assert_eq!(send(&proxy, "POST", "").await.text(), "second");
}

#[tokio::test]
async fn retries_have_a_budget() {
    // Every attempt fails, so each exchange would like one more: 10 a second, and a fifth of the requests, are allowed.
    let app = script([Step::ReadHead, Step::say("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n"), Step::Again]).await;
    let more = "eject = { failures = 0 }\nretry = { status = [503] }";
    let proxy = pair(&app.url(), &app.url().replace("127.0.0.1", "localhost"), more).await;
    let began = std::time::Instant::now();
    let requests = 400;
    let mut clients = Vec::new();
    for _ in 0..8 {
        let mut client = client(proxy.address()).await;
        clients.push(tokio::spawn(async move {
            for _ in 0..requests / 8 {
                assert_eq!(client.get("/").await.status, 503);
            }
        }));
    }
    for client in clients {
        client.await.unwrap();
    }
    let attempts = app.received().matches("GET / ").count();
    let allowed = requests as f64 * 1.2 + 10.0 * (10.0 + began.elapsed().as_secs_f64());
    assert!(attempts > requests && (attempts as f64) <= allowed, "{attempts} attempts for {requests} requests");
}

#[tokio::test]
async fn all_attempts_stay_within_the_routes_time() {
    let silent = script([Step::ReadHead, Step::ReadToEnd]).await;
    let more = "response_timeout = \"2s\"\nretry = { attempts = 10, status = [504] }";
    let proxy =
        pair(&silent.url(), &silent.url().replace("127.0.0.1", "localhost"), more).route("timeout = \"3s\"").await;
    let began = std::time::Instant::now();
    assert_eq!(get(proxy.address(), "/").await.status, 504);
    // Eleven attempts would have 22 s.
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_streamed_upload_whose_backend_dies_fails_and_is_not_sent_twice() {
    let dying = script([Step::ReadHead, Step::Read(1000), Step::Close]).await;
    let app = backend().await;
    let proxy = pair(&dying.url(), &app.url(), "").await;
    let mut failed = 0;
    for _ in 0..2 {
        let mut client = client(proxy.address()).await;
        let (hand, body) = upload();
        let response = tokio::spawn(client.start(Request::put("/").body(body).unwrap()));
        for _ in 0..10 {
            if !hand.send(vec![b'x'; 200]).await {
                break;
            }
        }
        drop(hand);
        failed += usize::from(response.await.unwrap().unwrap().status() == 502);
    }
    assert_eq!(failed, 1);
    eventually("all is let go", || dying.ledger.open() == 0).await;
    assert_eq!(app.ledger.count() + dying.received().matches("PUT").count(), 2);
}
