//! Bodies of messages.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Empty, Full};
use tokio::sync::mpsc;

/// The body of a message that a scene sends.
pub type Body = BoxBody<Bytes, Abort>;

/// Breaks a body off in the middle.
#[derive(Debug)]
pub struct Abort;

impl std::fmt::Display for Abort {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("the scene broke the body off")
    }
}

impl std::error::Error for Abort {}

impl From<Infallible> for Abort {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// No body.
#[must_use]
pub fn empty() -> Body {
    Empty::new().map_err(Abort::from).boxed()
}

/// A body of known length.
#[must_use]
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(Abort::from).boxed()
}

/// A body of unknown length, and the hand that writes it. At most one frame waits in between, so a write waits for the
/// reader. Dropping the hand ends the body.
#[must_use]
pub fn upload() -> (Upload, Body) {
    let (sender, receiver) = mpsc::channel(1);
    (Upload { sender }, Stream { receiver }.boxed())
}

/// Writes a body, frame by frame.
#[derive(Debug)]
pub struct Upload {
    sender: mpsc::Sender<Result<Frame<Bytes>, Abort>>,
}

impl Upload {
    /// Sends some bytes once there is room. False when nobody reads any more.
    pub async fn send(&self, bytes: impl Into<Bytes>) -> bool {
        self.sender.send(Ok(Frame::data(bytes.into()))).await.is_ok()
    }

    /// Ends the body with trailers.
    pub async fn trailers(self, trailers: HeaderMap) {
        let _ = self.sender.send(Ok(Frame::trailers(trailers))).await;
    }

    /// Breaks the body off.
    pub async fn abort(self) {
        let _ = self.sender.send(Err(Abort)).await;
    }
}

struct Stream {
    receiver: mpsc::Receiver<Result<Frame<Bytes>, Abort>>,
}

impl http_body::Body for Stream {
    type Data = Bytes;
    type Error = Abort;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Abort>>> {
        self.receiver.poll_recv(context)
    }
}
