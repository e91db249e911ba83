//! The words themselves, client straight to backend: what a scene blames on the proxy is the proxy's fault.

use std::time::Duration;

use http::{HeaderMap, Request, StatusCode};
use lockgate_tests::script::scripts;
use lockgate_tests::{
    Certificates, Step, backend, client, curl, eventually, full, get, grpc, load, raw, script, upload, websocket,
};

use tonic::Code;

#[tokio::test]
async fn a_backend_answers_with_what_it_was_sent() {
    let app = backend().await;
    for http2 in [false, true] {
        let mut client = if http2 { client(app.address).http2().await } else { client(app.address).await };
        let answer = client.post("/x?y=1", "hello").await;
        assert_eq!(answer.status, StatusCode::OK);
        let json = answer.json();
        assert_eq!((json["method"].as_str(), json["target"].as_str()), (Some("POST"), Some("/x?y=1")));
        assert_eq!(json["body"], "hello");
        assert_eq!(json["version"], if http2 { "HTTP/2.0" } else { "HTTP/1.1" });
    }
    assert_eq!(app.ledger.lines(), ["POST /x?y=1", "POST /x?y=1"]);
    eventually("the clients are gone", || app.ledger.open() == 0).await;
    assert_eq!(app.ledger.connections(), 2);
}

#[tokio::test]
async fn a_body_is_written_piece_by_piece_and_ends_with_trailers() {
    let app = backend().await;
    let (hand, body) = upload();
    let mut client = client(app.address).http2().await;
    let response = client.start(Request::post("/").body(body).unwrap());
    let response = tokio::spawn(response);
    assert!(hand.send("one ").await);
    assert!(hand.send("two").await);
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "7".parse().unwrap());
    hand.trailers(trailers).await;
    let answer = lockgate_tests::Answer::read(response.await.unwrap().unwrap()).await.json();
    assert_eq!(answer["body"], "one two");
    assert_eq!(answer["trailers"]["x-sum"], "7");
}

#[tokio::test]
async fn a_backend_with_tls_is_asked_by_the_client_and_by_curl() {
    let certificates = Certificates::new();
    let app = backend().says("over TLS").tls(&certificates.issue("localhost"), &["h2", "http/1.1"]).await;
    let mut client = client(app.address).tls(certificates.client(&["h2"])).await;
    assert_eq!(client.alpn.as_deref(), Some("h2"));
    assert_eq!(client.get("/").await.text(), "over TLS");

    let said = curl([
        "--cacert",
        certificates.authority().to_str().unwrap(),
        &format!("https://localhost:{}/", app.address.port()),
        "--resolve",
        &format!("localhost:{}:127.0.0.1", app.address.port()),
    ])
    .await;
    assert_eq!((said.code, said.out.as_str()), (0, "over TLS"), "{}", said.err);
}

#[tokio::test]
async fn a_certificate_that_has_expired_or_is_for_another_name_is_refused_by_the_client() {
    let certificates = Certificates::new();
    for issued in [certificates.issue_expired("localhost"), certificates.issue("example.com")] {
        let app = backend().tls(&issued, &[]).await;
        let error =
            client(app.address).tls(certificates.client_of(&[&rustls::version::TLS12], &[])).try_connect().await;
        assert!(error.unwrap_err().to_string().contains("certificate"));
    }
}

#[tokio::test]
async fn a_script_is_played_on_each_connection() {
    let app = script([Step::ReadHead, Step::Read(3), Step::ok("heard"), Step::Again]).await;
    let mut client = client(app.address).await;
    assert_eq!(client.post("/a", "one").await.text(), "heard");
    assert_eq!(client.post("/b", "two").await.text(), "heard");
    assert!(app.received().contains("POST /b HTTP/1.1"), "{}", app.received());
    drop(client);
    eventually("the script sees the client leave", || app.ledger.open() == 0).await;
}

#[tokio::test]
async fn a_script_cuts_resets_and_stalls() {
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf";
    let app = scripts([
        vec![Step::ReadHead, Step::say(cut), Step::Close],
        vec![Step::ReadHead, Step::Reset],
        vec![
            Step::ReadHead,
            Step::SendSlowly("HTTP/1.1 204 No Content\r\n\r\n".into(), Duration::from_micros(100)),
            Step::Stall,
        ],
    ])
    .await;
    let answer = get(app.address, "/").await;
    assert_eq!(answer.body, "half");
    assert!(answer.broken.is_some());
    let request = Request::get("/").body(full("")).unwrap();
    assert!(client(app.address).await.try_send(request).await.is_err());
    assert_eq!(get(app.address, "/").await.status, 204);
    eventually("the stalled connection sees the client leave", || app.ledger.open() == 0).await;
}

#[tokio::test]
async fn the_raw_client_reads_what_the_bytes_say() {
    let app = script([
        Step::ReadHead,
        Step::say("HTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\n"),
        Step::say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nfour\r\n0\r\nx-sum: 4\r\n\r\n"),
        Step::ReadHead,
        Step::say("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort"),
    ])
    .await;
    let mut client = raw(app.address).await;
    client.send("GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n").await;
    assert!(client.head().await.starts_with("HTTP/1.1 103"));
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.body.as_str(), answer.complete), (200, "four[x-sum: 4]", true));
    let answer = client.answer().await;
    assert_eq!((answer.body.as_str(), answer.complete), ("short", false));
    client.closed().await;
}

#[tokio::test]
async fn the_load_counts_what_is_good_and_what_is_not() {
    let app = backend().says("good").await;
    let work = load(app.address, "/", 3, false);
    work.progress(30).await;
    let tally = work.stop().await;
    assert_eq!((tally.connections, tally.bad.len(), tally.unanswered), (3, 0, 0));
    assert_eq!(tally.good, app.ledger.count());

    let work = load(app.address, "/", 3, true);
    work.progress(30).await;
    app.die();
    let tally = work.ended().await;
    assert_eq!(tally.refused, 3);

    let bad = script([Step::ReadHead, Step::say("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n"), Step::Again]).await;
    let work = load(bad.address, "/", 1, false);
    eventually("the load has been heard", || bad.received().contains("GET")).await;
    assert!(work.stop().await.bad[0].contains("500"));
}

#[tokio::test]
async fn grpc_calls_bring_answers_and_statuses() {
    let app = grpc::words().await;
    let channel = grpc::channel(app.address).await;
    assert_eq!(grpc::shout(&channel, "hello").await.unwrap().into_inner().text, "HELLO");
    assert_eq!(grpc::shout(&channel, "nobody").await.unwrap_err().code(), Code::NotFound);

    let mut chat = grpc::chat(&channel).await.unwrap();
    assert_eq!(chat.answer("one").await.unwrap().as_deref(), Some("ONE"));
    assert_eq!(chat.answer("stop").await.unwrap_err().code(), Code::Aborted);
}

#[tokio::test]
async fn a_parrot_repeats_and_dies() {
    let app = websocket::parrot().await;
    let (mut socket, _) = websocket::open(app.address).await.unwrap();
    assert_eq!(websocket::ask(&mut socket, "hello").await.unwrap(), "hello");
    websocket::ask(&mut socket, "die").await.unwrap_err();
    eventually("the connection is gone", || app.ledger.open() == 0).await;
}
