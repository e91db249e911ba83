//! A request's body as it comes over an HTTP/1 connection. Nothing is read before it is asked for.

use std::fmt::Debug;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Frame;

use super::decode::{BadBody, Piece};

/// The connection that a body comes over.
pub trait Source: Debug {
    /// The next piece of the body of that exchange, read from the connection if none is at hand; never
    /// [`Piece::Starved`]. Says also whether it was the last one.
    fn poll_piece(&self, exchange: u64, cx: &mut Context<'_>) -> Poll<Result<(Piece, bool), BadIncoming>>;

    /// Throws away what has come of the body of that exchange and up to `most` bytes, without waiting. Says whether that
    /// was the rest of it.
    fn discard(&self, exchange: u64, most: usize) -> bool;
}

/// A request's body.
#[derive(Debug)]
pub struct Incoming {
    source: Rc<dyn Source>,
    /// Which of the connection's exchanges it belongs to: the next one's bytes are not its.
    exchange: u64,
    length: Option<u64>,
    over: bool,
}

/// Why a body broke off.
#[derive(Debug, thiserror::Error)]
pub enum BadIncoming {
    /// It breaks the rules.
    #[error(transparent)]
    Malformed(BadBody),
    /// The client has gone.
    #[error("the client's connection was lost")]
    Lost(#[from] io::Error),
}

impl Incoming {
    /// The body of an exchange over `source`; `length` if that is known.
    #[must_use]
    pub fn new(source: Rc<dyn Source>, exchange: u64, length: Option<u64>) -> Self {
        Self { source, exchange, length, over: false }
    }

    /// The next frame.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BadIncoming>>> {
        if self.over {
            return Poll::Ready(None);
        }
        let piece = ready!(self.source.poll_piece(self.exchange, cx));
        self.over = !matches!(piece, Ok((_, false)));
        Poll::Ready(match piece {
            Ok((Piece::Data(data), _)) => Some(Ok(Frame::data(data))),
            Ok((Piece::Trailers(trailers), _)) => Some(Ok(Frame::trailers(trailers))),
            Ok((Piece::Starved | Piece::End, _)) => None,
            Err(error) => Some(Err(error)),
        })
    }

    /// Whether all of it has been read.
    #[must_use]
    pub fn is_end_stream(&self) -> bool {
        self.over
    }

    /// Throws away the rest of it, if that has come and is no more than `most` bytes. Says whether it was.
    pub fn discard(&mut self, most: usize) -> bool {
        self.over = self.over || self.source.discard(self.exchange, most);
        self.over
    }

    /// Its length, as the head announced it.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.length
    }
}

impl From<BadBody> for BadIncoming {
    fn from(bad: BadBody) -> Self {
        match bad {
            BadBody::Truncated => Self::Lost(io::ErrorKind::UnexpectedEof.into()),
            bad => Self::Malformed(bad),
        }
    }
}
