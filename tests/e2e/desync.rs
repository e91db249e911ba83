//! Requests that two parsers could read in two ways. What reaches a backend must be what was routed, and nothing else.

use lockgate_tests::corpus::{self, Verdict};
use lockgate_tests::{Backend, backend, client, empty, proxy, proxy_to, raw};

/// A backend that counts only what it has read to its end.
pub(super) async fn recording() -> (Backend, lockgate_tests::Ledger) {
    let whole = lockgate_tests::Ledger::default();
    let ledger = whole.clone();
    let app = backend()
        .answers(move |request| {
            let ledger = ledger.clone();
            async move {
                let seen = lockgate_tests::backend::Seen::of(&request);
                if http_body_util::BodyExt::collect(request.into_body()).await.is_ok() {
                    ledger.note(seen);
                }
                http::Response::new(empty())
            }
        })
        .await;
    (app, whole)
}

#[tokio::test]
async fn what_could_be_read_in_two_ways_is_refused_and_the_rest_is_seen_as_it_was_sent() {
    let (app, whole) = recording().await;
    let proxy = proxy_to(app.url()).await;
    let mut wrong = Vec::new();
    for case in corpus::http1().into_iter().chain(corpus::guardian()) {
        let mut client = raw(proxy.address()).await;
        client.send(case.whole()).await.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n").await.finish().await;
        let rest = client.rest().await;
        let due = match &case.verdict {
            Verdict::Refused(status) => (vec![status.to_string()], Vec::new()),
            Verdict::Passed(line) => (vec!["200".to_owned(); 2], vec![line.clone(), "GET /next".to_owned()]),
        };
        let came = (statuses(&rest), whole.lines());
        if came != due {
            wrong.push(format!("{}: {came:?}, not {due:?}: {:?}", case.title, String::from_utf8_lossy(&case.bytes)));
        }
        whole.clear();
    }
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// The status codes of final responses.
fn statuses(answers: &str) -> Vec<String> {
    let codes =
        answers.match_indices("HTTP/1.").map(|(at, word)| answers[at + word.len() + 2..].chars().take(3).collect());
    codes.filter(|code: &String| !code.starts_with('1')).collect()
}

#[tokio::test]
async fn what_follows_a_body_in_chunks_is_looked_at_as_closely() {
    let (app, whole) = recording().await;
    let proxy = proxy_to(app.url()).await;
    let mut wrong = Vec::new();
    let before = "POST /first HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    for case in corpus::http1().into_iter().filter(|case| matches!(case.verdict, Verdict::Refused(_))) {
        let mut client = raw(proxy.address()).await;
        client.send([before.as_bytes(), &case.whole(), b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"].concat()).await;
        client.finish().await;
        // The first may be lost with its connection; what matters is that nothing after it counts.
        let rest = client.rest().await;
        let reached = whole.lines();
        if rest.matches(" 200 ").count() > 1 || reached.iter().any(|line| line != "POST /first") {
            wrong.push(format!("{}: backend: {reached:?}, in all: {:?}", case.title, rest.lines().next()));
        }
        whole.clear();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn the_body_of_a_get_is_its_body() {
    let app = backend().await;
    let proxy = proxy_to(app.url()).await;
    let mut client = raw(proxy.address()).await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    client.send(format!("GET /x HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{smuggled}", smuggled.len())).await;
    client.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(client.answer().await.body.contains("\"target\":\"/x\""));
    assert!(client.answer().await.body.contains("\"target\":\"/next\""));
    assert_eq!(app.ledger.lines(), ["GET /x", "GET /next"]);
}

#[tokio::test]
async fn an_absolute_target_and_a_host_that_differ_never_reach_two_places() {
    let (evil, good) = (backend().says("evil").await, backend().says("good").await);
    let proxy = proxy(
        "[upstream.evil]\nbackends = [\"$evil\"]\n[upstream.good]\nbackends = [\"$good\"]\n\
         [[route]]\nhosts = [\"evil\"]\nupstream = \"evil\"\n[[route]]\nhosts = [\"good\"]\nupstream = \"good\"\n",
    )
    .set("evil", evil.url())
    .set("good", good.url())
    .await;
    let mut client = raw(proxy.address()).await;
    client.send("GET http://evil/ HTTP/1.1\r\nHost: good\r\n\r\n").await;
    let answer = client.answer().await;
    assert_eq!(good.ledger.count(), 0);
    if answer.status == 200 {
        assert_eq!(evil.ledger.last().header("host"), Some("evil"));
    } else {
        assert_eq!(answer.status, 400);
    }
}

#[tokio::test]
async fn no_spelling_of_a_path_reaches_a_place_that_its_route_does_not_own() {
    let (public, admin) = (backend().says("public").await, backend().says("admin").await);
    let proxy = proxy(
        "[upstream.public]\nbackends = [\"$public\"]\n[upstream.admin]\nbackends = [\"$admin\"]\n\
         [[route]]\npath = \"/public\"\nupstream = \"public\"\n[[route]]\npath = \"/admin\"\nupstream = \"admin\"\n",
    )
    .set("public", public.url())
    .set("admin", admin.url())
    .await;
    for path in [
        "/public/../admin",
        "/public/%2e%2e/admin",
        "/public/%2E./admin",
        "/public/..;/admin",
        "/public/..%2fadmin",
        "/public/..%5cadmin",
        "/public/..\\admin",
        "/public\\..\\admin",
        "/public/./../admin",
        "/public/x/../../admin",
        "/public//../admin",
    ] {
        for http2 in [false, true] {
            let status = if http2 {
                let mut client = client(proxy.address()).http2().await;
                let Ok(request) = http::Request::get(path).body(empty()) else { continue };
                client.try_send(request).await.map_or(400, |answer| answer.status.as_u16())
            } else {
                let mut client = raw(proxy.address()).await;
                client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
                client.answer().await.status
            };
            let seen = public.ledger.lines();
            assert!(seen.is_empty(), "{path} reached the public backend as {seen:?}");
            assert!([200, 400, 404].contains(&status), "{path}: {status}");
            for line in admin.ledger.lines() {
                assert_eq!(line, "GET /admin", "{path}: what was routed is what is sent");
            }
        }
    }
    // And what is decoded once is not decoded twice.
    let mut client = raw(proxy.address()).await;
    client.send("GET /public/%252e%252e/admin HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.answer().await.body, "public");
}
