//! Requests that two parsers could read in two ways. What reaches a backend must be what was routed, and nothing else.

use lockgate_tests::{Backend, backend, client, empty, proxy, proxy_to, raw};

/// Each must be refused with 400 (501 where a transfer coding is unknown), or the connection closed, and never reach a backend.
const REFUSED: &[(&str, &str)] = &[
    (
        "length and chunks",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
    ),
    (
        "chunks and length",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\nG",
    ),
    ("coding with a comma in front", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n"),
    ("chunked twice in one", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
    (
        "chunked twice in two",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "two codings in two",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    ),
    ("another coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    ("a coding with VT", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\x0b\r\n\r\n0\r\n\r\n"),
    ("gzip before chunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    ("chunked before identity", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
    ("an empty coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n0\r\n\r\n"),
    ("chunks in HTTP/1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("an empty length and another", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\nContent-Length: 5\r\n\r\nhello"),
    ("an empty length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n"),
    ("a length with a sign", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello"),
    ("a length below nothing", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n"),
    ("two lengths in one", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello"),
    ("a length in hex", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello"),
    ("a length with a space within", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5 5\r\n\r\nhello"),
    ("a length beyond reason", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\nhello"),
    ("a length twice", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
    ("two lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
    ("lines that end in LF", "GET / HTTP/1.1\nHost: a\n\n"),
    ("a field that ends in LF", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n"),
    ("a lone CR in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n"),
    ("a null in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n"),
    ("a folded field", "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n"),
    ("a folded first field", "GET / HTTP/1.1\r\n X: a\r\nHost: a\r\n\r\n"),
    ("a space before the colon", "GET / HTTP/1.1\r\nHost: a\r\nX : a\r\n\r\n"),
    ("a length with a space before the colon", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\nhello"),
    ("no name", "GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n"),
    ("a name that is not ASCII", "GET / HTTP/1.1\r\nHost: a\r\nH\u{e9}ader: 1\r\n\r\n"),
    ("no colon", "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n"),
    ("no host", "GET / HTTP/1.1\r\n\r\n"),
    ("two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    ("a host twice", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
    ("an empty host", "GET / HTTP/1.1\r\nHost:\r\n\r\n"),
    ("a host with a user", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"),
    ("a host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    ("two hosts in one", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"),
    ("a host with a space", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
    ("a host with a fragment", "GET / HTTP/1.1\r\nHost: a#b\r\n\r\n"),
    ("a host with a bad port", "GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n"),
    ("a target with a fragment", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a trailer with a null", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: a\0b\r\n\r\n"),
    ("a target of a star", "GET * HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a target without a slash", "GET x HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a tab", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("another version", "GET / HTTP/1.2\r\nHost: a\r\n\r\n"),
    ("an old version", "GET /\r\n"),
    ("a method that is no token", "G(T / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a null in the path", "GET /a%00b HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a chunk in hex with 0x", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\nX\r\n0\r\n\r\n"),
    ("a chunk with a sign", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n+1\r\nX\r\n0\r\n\r\n"),
    ("a chunk with a space", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1 \r\nX\r\n0\r\n\r\n"),
    ("an empty extension", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;\r\nX\r\n0\r\n\r\n"),
    ("an extension with LF", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;a\nX\r\n0\r\n\r\n"),
    (
        "a chunk's line that ends in LF",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\nX\r\n0\r\n\r\n",
    ),
    (
        "a chunk that ends elsewhere",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nXZZ0\r\n\r\n",
    ),
    (
        "a chunk's size beyond reason",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nX\r\n0\r\n\r\n",
    ),
];

/// A backend that counts only what it has read to its end.
async fn recording() -> (Backend, lockgate_tests::Ledger) {
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
async fn what_could_be_read_in_two_ways_is_refused_and_the_connection_closed() {
    let (app, whole) = recording().await;
    let proxy = proxy_to(app.url()).await;
    let mut wrong = Vec::new();
    for (what, request) in REFUSED {
        let mut client = raw(proxy.address()).await;
        client.send(request).await.send("GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n").await;
        client.finish().await;
        let rest = client.rest().await;
        let status = rest
            .strip_prefix("HTTP/1.1 ")
            .or(rest.strip_prefix("HTTP/1.0 "))
            .unwrap_or(&rest)
            .chars()
            .take(3)
            .collect::<String>();
        let reached = whole.lines();
        if !["", "400", "501"].contains(&status.as_str()) || rest.matches("HTTP/1.").count() > 1 || !reached.is_empty()
        {
            wrong.push(format!("{what}: {status:?}, backend: {reached:?}, in all: {:?}", rest.lines().next()));
        }
        whole.clear();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn what_follows_a_body_in_chunks_is_looked_at_as_closely() {
    let (app, whole) = recording().await;
    let proxy = proxy_to(app.url()).await;
    let mut wrong = Vec::new();
    let before = "POST /first HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    for (what, request) in REFUSED {
        let mut client = raw(proxy.address()).await;
        client.send(format!("{before}{request}")).await.send("GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n").await;
        client.finish().await;
        // The first may be lost with its connection; what matters is that nothing after it counts.
        let rest = client.rest().await;
        let reached = whole.lines();
        if rest.matches(" 200 ").count() > 1 || reached.iter().any(|line| line != "POST /first") {
            wrong.push(format!("{what}: backend: {reached:?}, in all: {:?}", rest.lines().next()));
        }
        whole.clear();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn what_can_be_read_in_one_way_passes() {
    let app = backend().await;
    let proxy = proxy_to(app.url()).await;
    for (what, request) in [
        (
            "names and codings in any case",
            "POST / HTTP/1.1\r\nHOST: a\r\ntransfer-ENCODING: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ),
        ("spaces around a value", "POST / HTTP/1.1\r\nHost:  a \r\nContent-Length:  5 \r\n\r\nhello"),
        (
            "a chunk's size in capitals with zeros",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0005;x=\"y z\"\r\nhello\r\n0\r\n\r\n",
        ),
        ("a host with a port", "POST / HTTP/1.1\r\nHost: [::1]:8080\r\nContent-Length: 5\r\n\r\nhello"),
        ("bytes beyond ASCII in a value", "POST / HTTP/1.1\r\nHost: a\r\nX: \u{e9}\r\nContent-Length: 5\r\n\r\nhello"),
        ("a method of its own", "PURGE / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"),
        ("an encoded path", "POST /a%20b%C3%A9?x=%2F HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"),
        ("HTTP/1.0 without a host", "POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello"),
    ] {
        let mut client = raw(proxy.address()).await;
        client.send(request).await;
        let answer = client.answer().await;
        assert!(answer.status == 200 && answer.body.contains("\"body\":\"hello\""), "{what}: {answer:?}");
    }
    assert!(app.ledger.lines().contains(&"POST /a%20b%C3%A9?x=%2F".to_owned()), "{:?}", app.ledger.lines());
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
async fn an_expectation_in_folded_lines_smuggles_nothing() {
    let app = backend().await;
    let proxy = proxy_to(app.url()).await;
    let mut client = raw(proxy.address()).await;
    client.send("OPTIONS / HTTP/1.1\r\nHost: a\r\nExpect:\r\n 100-continue\r\nContent-Length: 39\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\n").await;
    let answer = client.answer().await;
    assert!([400, 417].contains(&answer.status), "{answer:?}");
    client.rest().await;
    assert_eq!(app.ledger.count(), 0);
}

#[tokio::test]
async fn a_nomination_does_not_remove_the_framing() {
    let app = backend().await;
    let proxy = proxy_to(app.url()).await;
    let mut client = raw(proxy.address()).await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nConnection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n").await;
    let answer = client.answer().await;
    assert!(answer.status == 400 || answer.body.contains("\"body\":\"hello\""), "{answer:?}");
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
