//! A request's body as it comes from the client, whichever HTTP it speaks.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};

use super::BodyError;
use crate::http1;
use crate::http1::BadIncoming;
use crate::reason::Reason;

/// A request's body.
#[derive(Debug)]
pub enum Incoming {
    /// There is none.
    None,
    /// Over HTTP/1.
    Http1(http1::Incoming),
    /// Over HTTP/2.
    Http2(hyper::body::Incoming),
}

/// What a client has sent of a body, or why it broke off.
type Received = Result<Frame<Bytes>, (Reason, BodyError)>;

impl Incoming {
    /// The next frame.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Received>> {
        match self {
            Self::None => Poll::Ready(None),
            Self::Http1(body) => body.poll_frame(cx).map_err(|error| (blame(&error), error.into())),
            // The library has ended the stream if the client broke the rules; to us, it is gone.
            Self::Http2(body) => Pin::new(body).poll_frame(cx).map_err(|error| (Reason::ClientGone, error.into())),
        }
    }

    /// Whether all of it has been read.
    #[must_use]
    pub fn is_end_stream(&self) -> bool {
        match self {
            Self::None => true,
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
        }
    }

    /// Throws away the rest of it, if that has come and is no more than `most` bytes, so that the connection can be used
    /// again. Says whether it was.
    pub fn discard(&mut self, most: usize) -> bool {
        match self {
            Self::None => true,
            Self::Http1(body) => body.discard(most),
            // A stream of its own: what is left of it is nobody else's matter.
            Self::Http2(_) => false,
        }
    }

    /// Its length, if the client has announced it.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        match self {
            Self::None => Some(0),
            Self::Http1(body) => body.length(),
            Self::Http2(body) => body.size_hint().exact(),
        }
    }
}

/// Whether the client broke off, or broke the rules.
fn blame(error: &BadIncoming) -> Reason {
    match error {
        BadIncoming::Malformed(_) => Reason::BadRequest,
        BadIncoming::Lost(_) => Reason::ClientGone,
    }
}
