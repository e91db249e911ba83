//! gRPC by tonic, both ends, without generated code.

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use http::Request;
use http::uri::PathAndQuery;
use hyper::body::Incoming;
use tokio::sync::mpsc;
use tonic::client::Grpc;
use tonic::server::{StreamingService, UnaryService};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::backend::{Backend, backend};
use crate::body::{Abort, Body};
use crate::wait::within;

/// The only message: a word.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Word {
    /// Its letters.
    #[prost(string, tag = "1")]
    pub text: String,
}

/// A word.
#[must_use]
pub fn word(text: &str) -> Word {
    Word { text: text.to_owned() }
}

/// A backend with two methods: `/words.Words/Shout` answers a word in capitals, with the metadata `x-seen` as a trailer, or
/// with NOT_FOUND if the word is `nobody`; `/words.Words/Chat` answers each word of a stream, and fails with ABORTED at
/// the word `stop`.
pub async fn words() -> Backend {
    backend().answers(serve).await
}

/// Connects to that address by prior knowledge.
pub async fn channel(address: SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    within("connecting", endpoint.connect()).await.unwrap()
}

/// Calls `Shout`.
pub async fn shout(channel: &Channel, text: &str) -> Result<tonic::Response<Word>, Status> {
    let mut grpc = Grpc::new(channel.clone());
    within("a call", async {
        grpc.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
        let path = PathAndQuery::from_static("/words.Words/Shout");
        grpc.unary(tonic::Request::new(word(text)), path, ProstCodec::<Word, Word>::default()).await
    })
    .await
}

/// A running call of `Chat`.
#[derive(Debug)]
pub struct Chat {
    /// Says words; dropping it ends our side.
    pub say: mpsc::Sender<Word>,
    /// What the other side says.
    pub hear: Streaming<Word>,
}

/// Calls `Chat`.
pub async fn chat(channel: &Channel) -> Result<Chat, Status> {
    let (say, words) = mpsc::channel(1);
    let mut grpc = Grpc::new(channel.clone());
    let response = within("a call", async {
        grpc.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
        let path = PathAndQuery::from_static("/words.Words/Chat");
        grpc.streaming(tonic::Request::new(Words(words)), path, ProstCodec::<Word, Word>::default()).await
    })
    .await?;
    Ok(Chat { say, hear: response.into_inner() })
}

impl Chat {
    /// Says a word and waits for the answer.
    pub async fn answer(&mut self, text: &str) -> Result<Option<String>, Status> {
        within("saying", self.say.send(word(text))).await.map_err(|_| Status::new(Code::Unknown, "nobody listens"))?;
        Ok(within("hearing", self.hear.message()).await?.map(|word| word.text))
    }
}

struct Words(mpsc::Receiver<Word>);

impl Stream for Words {
    type Item = Word;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Word>> {
        self.0.poll_recv(context)
    }
}

async fn serve(request: Request<Incoming>) -> http::Response<Body> {
    let mut grpc = tonic::server::Grpc::new(ProstCodec::<Word, Word>::default());
    let response = match request.uri().path() {
        "/words.Words/Shout" => grpc.unary(Shout, request).await,
        "/words.Words/Chat" => grpc.streaming(Answers, request).await,
        path => Status::unimplemented(path).into_http(),
    };
    response.map(|body| http_body_util::BodyExt::map_err(body, |_| Abort)).map(Trailing::boxed)
}

/// tonic's body need not be `Sync`, ours must.
struct Trailing;

impl Trailing {
    fn boxed(body: impl http_body::Body<Data = Bytes, Error = Abort> + Send + 'static) -> Body {
        let (hand, body_of_ours) = crate::body::upload();
        tokio::spawn(async move {
            let mut body = std::pin::pin!(body);
            while let Some(frame) = http_body_util::BodyExt::frame(&mut body).await {
                match frame.map(http_body::Frame::into_data) {
                    Ok(Ok(data)) => {
                        if !hand.send(data).await {
                            return;
                        }
                    }
                    Ok(Err(other)) => return hand.trailers(other.into_trailers().unwrap_or_default()).await,
                    Err(_) => return hand.abort().await,
                }
            }
        });
        body_of_ours
    }
}

struct Shout;

impl UnaryService<Word> for Shout {
    type Response = Word;
    type Future = Pin<Box<dyn Future<Output = Result<tonic::Response<Word>, Status>> + Send>>;

    fn call(&mut self, request: tonic::Request<Word>) -> Self::Future {
        Box::pin(async move {
            let seen = request.metadata().get("x-word").cloned();
            let text = request.into_inner().text;
            if text == "nobody" {
                return Err(Status::not_found("there is nobody"));
            }
            let mut response = tonic::Response::new(word(&text.to_uppercase()));
            if let Some(seen) = seen {
                response.metadata_mut().insert("x-seen", seen);
            }
            Ok(response)
        })
    }
}

struct Answers;

type Heard = Pin<Box<dyn Stream<Item = Result<Word, Status>> + Send>>;

impl StreamingService<Word> for Answers {
    type Response = Word;
    type ResponseStream = Heard;
    type Future = Pin<Box<dyn Future<Output = Result<tonic::Response<Heard>, Status>> + Send>>;

    fn call(&mut self, request: tonic::Request<Streaming<Word>>) -> Self::Future {
        let answers = request.into_inner().map(|heard| match heard?.text.as_str() {
            "stop" => Err(Status::aborted("as you wish")),
            text => Ok(word(&text.to_uppercase())),
        });
        Box::pin(async move { Ok(tonic::Response::new(Box::pin(answers) as Heard)) })
    }
}
