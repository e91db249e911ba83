//! What a client is told when something fails: a status, a reason, an id, and nothing internal.

use http::Request;
use lockgate_tests::script::scripts;
use lockgate_tests::{Answer, Step, client, empty, get, proxy, script};
use tokio::net::TcpListener;

/// A proxy with one route for each way to fail.
async fn failing() -> (lockgate_tests::Proxy, Vec<lockgate_tests::script::Script>) {
    let silent = script([Step::ReadHead, Step::ReadToEnd]).await;
    let closing = script([Step::ReadHead, Step::Close]).await;
    let broken = script([Step::ReadHead, Step::say("HTTP/1.1 2x0 What\r\n\r\n"), Step::Close]).await;
    let plain = script([Step::ReadToEnd]).await;
    let toml = "
        [upstream.nowhere]
        backends = [\"$nowhere\"]
        [upstream.silent]
        backends = [\"$silent\"]
        response_timeout = \"200ms\"
        [upstream.closing]
        backends = [\"$closing\"]
        [upstream.broken]
        backends = [\"$broken\"]
        [upstream.plain]
        backends = [\"https://$plain\"]
        connect_timeout = \"200ms\"
        [[route]]
        path = \"/connect_failed\"
        upstream = \"nowhere\"
        [[route]]
        path = \"/upstream_timeout\"
        upstream = \"silent\"
        [[route]]
        path = \"/upstream_closed\"
        upstream = \"closing\"
        [[route]]
        path = \"/bad_response\"
        upstream = \"broken\"
        [[route]]
        path = \"/upstream_tls\"
        upstream = \"plain\"
        [[route]]
        path = \"/body_too_large\"
        body_limit = \"1 B\"
        upstream = \"silent\"
    ";
    let proxy = proxy(toml)
        .set("nowhere", nowhere().await)
        .set("silent", silent.url())
        .set("closing", closing.url())
        .set("broken", broken.url())
        .set("plain", plain.address)
        .await;
    (proxy, vec![silent, closing, broken, plain])
}

/// The URL of a port at which nobody listens.
async fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

const FAILURES: &[(&str, u16)] = &[
    ("connect_failed", 502),
    ("upstream_timeout", 504),
    ("upstream_closed", 502),
    ("bad_response", 502),
    ("upstream_tls", 502),
    ("body_too_large", 413),
    ("no_route", 404),
];

async fn post(proxy: &lockgate_tests::Proxy, path: &str, accept: &str) -> Answer {
    let request = Request::post(path).header("accept", accept).body(lockgate_tests::full("xx")).unwrap();
    client(proxy.address()).await.send(request).await
}

#[tokio::test]
async fn every_failure_has_its_status_and_its_reason_in_answer_log_and_metrics() {
    let (proxy, _backends) = failing().await;
    for (reason, status) in FAILURES {
        let answer = post(&proxy, &format!("/{reason}"), "*/*").await;
        assert_eq!(answer.status, *status, "{reason}: {answer:?}");
        let text = answer.text();
        assert!(text.contains(reason), "{reason}: {text}");
        assert!(answer.header("content-type").unwrap().starts_with("text/plain"));
        let id = answer.header("x-request-id").expect("an id to ask about").to_owned();
        assert!(text.contains(&id), "{reason}: {text}");
        assert!(text.len() < 300 && !text.contains("127.0.0.1"), "nothing internal: {text}");
        let line = proxy.out.line(&format!("/{reason} ")).await;
        assert!(line.contains(reason) && line.contains(&status.to_string()), "{line}");
        let metrics = proxy.admin("/metrics").await.text();
        assert!(
            metrics.lines().any(|line| line.contains(&format!("\"{reason}\"")) && !line.ends_with(" 0")),
            "{reason}"
        );
    }
}

#[tokio::test]
async fn who_accepts_json_is_told_in_json() {
    let (proxy, _backends) = failing().await;
    for (reason, status) in FAILURES {
        let answer = post(&proxy, &format!("/{reason}"), "application/json").await;
        assert_eq!(answer.status, *status, "{reason}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let json = answer.json();
        assert!(json.to_string().contains(&format!("\"{reason}\"")), "{json}");
        assert!(json.to_string().contains(answer.header("x-request-id").unwrap()), "{json}");
    }
}

#[tokio::test]
async fn the_answer_to_head_is_the_same_without_a_body() {
    let (proxy, _backends) = failing().await;
    let mut client = lockgate_tests::raw(proxy.address()).await;
    client.send("HEAD /no_route HTTP/1.1\r\nHost: a\r\n\r\nGET /no_route HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(client.head().await.starts_with("HTTP/1.1 404"));
    assert!(client.answer().await.body.contains("no_route"), "and the connection goes on");
}

#[tokio::test]
async fn no_healthy_backend_is_503_at_once_with_a_time_to_come_back() {
    let app = scripts([vec![Step::ReadHead, Step::Close]]).await;
    let proxy = proxy(
        "[upstream.app]\nbackends = [\"$app\"]\npanic_threshold = 0\nretry = { attempts = 0 }\n\
         eject = { failures = 2, time = \"30s\", max_percent = 100 }\n[[route]]\nupstream = \"app\"",
    )
    .set("app", app.url())
    .await;
    for _ in 0..2 {
        assert_eq!(get(proxy.address(), "/").await.status, 502);
    }
    let answer = get(proxy.address(), "/").await;
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("no_backend"), "{}", answer.text());
    let seconds: u64 = answer.header("retry-after").expect("Retry-After").parse().unwrap();
    assert!((1..=30).contains(&seconds));
    assert_eq!(app.ledger.connections(), 2);
}

#[tokio::test]
async fn a_backend_at_its_limit_is_waited_for_and_then_503() {
    let app = script([Step::ReadHead, Step::ReadToEnd]).await;
    let proxy = proxy(
        "[upstream.app]\nbackends = [\"$app\"]\nmax_requests = 1\nqueue = 1\nqueue_timeout = \"100ms\"\n[[route]]\nupstream = \"app\"",
    )
    .set("app", app.url())
    .await;
    let mut busy = client(proxy.address()).await;
    let held = tokio::spawn(busy.start(Request::get("/").body(empty()).unwrap()));
    lockgate_tests::eventually("the backend is busy", || app.ledger.connections() == 1).await;
    let answer = get(proxy.address(), "/").await;
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("overloaded") && answer.header("retry-after").is_some(), "{answer:?}");
    assert_eq!(app.ledger.connections(), 1);
    held.abort();
}

#[tokio::test]
async fn a_backends_own_error_is_passed_on_as_it_is() {
    let own = "HTTP/1.1 503 Busy\r\nretry-after: 7\r\ncontent-length: 9\r\n\r\nmy errors";
    let app = script([Step::ReadHead, Step::say(own), Step::Again]).await;
    let proxy = lockgate_tests::proxy_to(app.url()).await;
    let answer = get(proxy.address(), "/").await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("retry-after"), answer.text().as_str()),
        (503, Some("7"), "my errors")
    );
}
