//! gRPC end to end, by tonic on both ends.

use http::Request;
use lockgate_tests::{Step, client, full, grpc, proxy_to, script};
use tonic::Code;

#[tokio::test]
async fn a_call_brings_the_answer_with_its_metadata() {
    let app = grpc::words().await;
    let proxy = proxy_to(app.url()).upstream("protocol = \"http2\"").await;
    let channel = grpc::channel(proxy.address()).await;
    let answer = grpc::shout(&channel, "hello").await.unwrap();
    assert_eq!(answer.into_inner().text, "HELLO");
    let seen = app.ledger.last();
    assert_eq!(seen.header("te"), Some("trailers"), "a backend needs it to send trailers");
    assert_eq!(seen.header("content-type"), Some("application/grpc"));
}

#[tokio::test]
async fn a_status_arrives_as_it_was_sent() {
    let app = grpc::words().await;
    let proxy = proxy_to(app.url()).upstream("protocol = \"http2\"").await;
    let channel = grpc::channel(proxy.address()).await;
    let status = grpc::shout(&channel, "nobody").await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::NotFound, "there is nobody"));
}

#[tokio::test]
async fn both_sides_talk_at_once() {
    let app = grpc::words().await;
    let proxy = proxy_to(app.url()).upstream("protocol = \"http2\"").await;
    let channel = grpc::channel(proxy.address()).await;
    let mut chat = grpc::chat(&channel).await.unwrap();
    for word in ["one", "two", "three"] {
        // The answer comes while our side is still open: nothing waits for the whole body.
        assert_eq!(chat.answer(word).await.unwrap(), Some(word.to_uppercase()));
    }
    let status = chat.answer("stop").await.unwrap_err();
    assert_eq!(status.code(), Code::Aborted, "the status in the trailers arrives after messages: {status:?}");
}

#[tokio::test]
async fn a_stream_ends_well_when_the_client_has_said_all() {
    let app = grpc::words().await;
    let proxy = proxy_to(app.url()).upstream("protocol = \"http2\"").await;
    let channel = grpc::channel(proxy.address()).await;
    let mut chat = grpc::chat(&channel).await.unwrap();
    assert_eq!(chat.answer("one").await.unwrap().as_deref(), Some("ONE"));
    let grpc::Chat { say, mut hear } = chat;
    drop(say);
    let end = lockgate_tests::within("the end", hear.message()).await;
    assert_eq!(end.unwrap(), None, "OK in the trailers");
}

#[tokio::test]
async fn a_backend_that_dies_in_a_stream_is_never_a_good_end() {
    let app = grpc::words().await;
    let proxy = proxy_to(app.url()).upstream("protocol = \"http2\"").await;
    let channel = grpc::channel(proxy.address()).await;
    let mut chat = grpc::chat(&channel).await.unwrap();
    assert_eq!(chat.answer("one").await.unwrap().as_deref(), Some("ONE"));
    app.die();
    let status = lockgate_tests::within("the end", chat.hear.message()).await.unwrap_err();
    assert!([Code::Unavailable, Code::Internal, Code::Unknown, Code::Cancelled].contains(&status.code()), "{status:?}");
}

#[tokio::test]
async fn a_backend_that_is_not_there_is_unavailable() {
    let app = script([Step::Reset]).await;
    let proxy = proxy_to(app.url()).upstream("protocol = \"http2\"").await;
    let channel = grpc::channel(proxy.address()).await;
    let status = grpc::shout(&channel, "hello").await.unwrap_err();
    assert!([Code::Unavailable, Code::Internal].contains(&status.code()), "{status:?}");
}

#[tokio::test]
async fn a_response_of_headers_only_keeps_its_status() {
    let app = grpc::words().await;
    let proxy = proxy_to(app.url()).upstream("protocol = \"http2\"").await;
    let mut client = client(proxy.address()).http2().await;
    let request =
        Request::post("/words.Words/Nothing").header("content-type", "application/grpc").body(full("")).unwrap();
    let answer = client.send(request).await;
    assert_eq!((answer.status.as_u16(), answer.header("grpc-status")), (200, Some("12")));
}
