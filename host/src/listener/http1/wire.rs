//! The bytes of an HTTP/1 connection: what has been read and not yet understood, and what waits to be written. Both the
//! driver and the body of the request in hand read from it, never at once.

use std::cell::RefCell;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWrite};

use crate::config::Limits;
use crate::http1;
use crate::http1::{BadHead, BadIncoming, Decoder, HeadEnd, Outbox, Piece, Source, may_be_request};
use crate::message::Incoming;
use crate::reason::Reason;
use crate::socket::{ClientStream, Phase, Watch};

/// A connection's bytes.
#[derive(Debug)]
pub(super) struct Wire {
    watch: Rc<Watch>,
    inner: RefCell<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// None once it has been taken away, and at the end.
    stream: Option<ClientStream>,
    input: BytesMut,
    /// Where in `input` the next head ends.
    head: HeadEnd,
    out: Outbox,
    /// What is still to come of the request's body.
    body: Decoder,
    /// Counts the exchanges, so that a body that has been left behind reads nothing of the next.
    exchange: u64,
    /// The client waits to be told to go on.
    expects_continue: bool,
    /// Nothing has gone on for a while, or ever: whatever is read into is given back when there is nothing to read.
    rests: bool,
}

/// Why there is no head.
#[derive(Debug)]
pub(super) enum NoHead {
    /// What came is none that is served.
    Refused(Reason),
    /// The client has gone.
    Lost,
}

impl Wire {
    /// `input` has been read from `stream` already.
    pub(super) fn new(stream: ClientStream, input: BytesMut, watch: Rc<Watch>) -> Self {
        let inner = Inner {
            stream: Some(stream),
            input,
            head: HeadEnd::default(),
            out: Outbox::default(),
            body: Decoder::length(0),
            exchange: 0,
            expects_continue: false,
            // It may take its time over its first request, or never send one.
            rests: true,
        };
        Self { watch, inner: RefCell::new(inner) }
    }

    /// The next head; none when the client has closed instead.
    pub(super) fn poll_head(&self, cx: &mut Context<'_>, limits: &Limits) -> Poll<Result<Option<Bytes>, NoHead>> {
        let inner = &mut *self.inner.borrow_mut();
        loop {
            match inner.head.find(&inner.input) {
                Ok(Some(length)) => return Poll::Ready(Ok(Some(inner.input.split_to(length).freeze()))),
                Ok(None) => inner.check_part(limits).map_err(NoHead::Refused)?,
                Err(bad) => return Poll::Ready(Err(NoHead::Refused(reason_of(bad)))),
            }
            match inner.poll_read(cx, HEAD) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(None)),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Err(NoHead::Lost)),
                Poll::Pending => {
                    if inner.rests && inner.input.is_empty() {
                        inner.input = BytesMut::new();
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    /// Whether a head has begun.
    pub(super) fn has_input(&self) -> bool {
        !self.inner.borrow().input.is_empty()
    }

    /// A head has been understood: the body behind it.
    pub(super) fn begin(self: &Rc<Self>, body: Decoder, expects_continue: bool) -> Incoming {
        let inner = &mut *self.inner.borrow_mut();
        inner.exchange += 1;
        inner.rests = false;
        inner.expects_continue = expects_continue;
        inner.body = body;
        if inner.body.is_over() {
            return Incoming::None;
        }
        let length = inner.body.left();
        Incoming::Http1(http1::Incoming::new(Rc::<Self>::clone(self), inner.exchange, length))
    }

    /// Whether the request's body has been read to its end.
    pub(super) fn body_is_over(&self) -> bool {
        self.inner.borrow().body.is_over()
    }

    /// Adds to what waits to be written.
    pub(super) fn write<T>(&self, add: impl FnOnce(&mut Outbox) -> T) -> T {
        add(&mut self.inner.borrow_mut().out)
    }

    /// Writes all that waits.
    pub(super) fn poll_write(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.borrow_mut().poll_write(cx, &self.watch)
    }

    /// Whether the client has reset its connection.
    pub(super) fn gone(&self) -> bool {
        self.inner.borrow().stream.as_ref().is_none_or(ClientStream::gone)
    }

    /// Whether the connection is reset if it ends from here on.
    pub(super) fn set_abrupt(&self, abrupt: bool) -> io::Result<()> {
        self.inner.borrow().stream.as_ref().map_or(Ok(()), |stream| stream.set_abrupt(abrupt))
    }

    /// Gives back memory while nothing goes on.
    pub(super) fn rest(&self) {
        let inner = &mut *self.inner.borrow_mut();
        inner.out.rest();
        // The next look whether there is a head gives back what that would be read into.
        inner.rests = true;
    }

    /// The connection itself, and what has been read of it beyond the last request. Nothing can be done here any more.
    pub(super) fn take(&self) -> Option<(ClientStream, Bytes)> {
        let inner = &mut *self.inner.borrow_mut();
        Some((inner.stream.take()?, inner.input.split().freeze()))
    }
}

impl Source for Wire {
    fn discard(&self, exchange: u64, most: usize) -> bool {
        let inner = &mut *self.inner.borrow_mut();
        inner.exchange == exchange && inner.body.left().is_none_or(|left| left <= most as u64) && inner.discard(most)
    }

    fn poll_piece(&self, exchange: u64, cx: &mut Context<'_>) -> Poll<Result<(Piece, bool), BadIncoming>> {
        let inner = &mut *self.inner.borrow_mut();
        if inner.exchange != exchange {
            return Poll::Ready(Err(io::Error::from(io::ErrorKind::ConnectionAborted).into()));
        }
        loop {
            match inner.body.decode(&mut inner.input)? {
                Piece::Starved => {}
                piece => return Poll::Ready(Ok((piece, inner.body.is_over()))),
            }
            if inner.expects_continue && self.watch.phase() == Phase::Exchange {
                inner.expects_continue = false;
                inner.out.text().extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
                if let Poll::Ready(Err(error)) = inner.poll_write(cx, &self.watch) {
                    return Poll::Ready(Err(error.into()));
                }
            }
            let room = inner.body.left().and_then(|left| usize::try_from(left).ok()).unwrap_or(BODY);
            if ready!(inner.poll_read(cx, room.clamp(HEAD, BODY)))? == 0 {
                inner.body.finish()?;
                return Poll::Ready(Ok((Piece::End, true)));
            }
        }
    }
}

impl Inner {
    /// Throws away what has come of the body, up to `most` bytes; says whether that was the rest of it.
    fn discard(&mut self, most: usize) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        let mut left = most;
        // A client that waits to be told to go on may send the body or not: nobody knows what comes next.
        while !self.expects_continue && !self.body.is_over() {
            match self.body.decode(&mut self.input) {
                Ok(Piece::Data(data)) if data.len() <= left => left -= data.len(),
                Ok(Piece::Trailers(_) | Piece::End) => {}
                Ok(Piece::Starved) if matches!(self.poll_read(&mut cx, BODY), Poll::Ready(Ok(1..))) => {}
                Ok(Piece::Data(_) | Piece::Starved) | Err(_) => return false,
            }
        }
        self.body.is_over()
    }

    /// Holds the beginning of a head against the limits.
    fn check_part(&self, limits: &Limits) -> Result<(), Reason> {
        let length = self.input.len();
        let line = limits.uri_length.saturating_add(SPARE);
        if !may_be_request(&self.input) {
            return Err(Reason::BadRequest);
        }
        if self.head.in_first_line() && length > line {
            return Err(Reason::UriTooLong);
        }
        if length > line.saturating_add(limits.header_size) { Err(Reason::HeadersTooLarge) } else { Ok(()) }
    }

    /// Reads what there is, with room for so many bytes or thereabouts.
    fn poll_read(&mut self, cx: &mut Context<'_>, room: usize) -> Poll<io::Result<usize>> {
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        if self.input.capacity() - self.input.len() < room / 4 {
            self.input.reserve(room);
        }
        pin!(stream.read_buf(&mut self.input)).poll(cx)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, watch: &Watch) -> Poll<io::Result<()>> {
        let mut stream = Pin::new(self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?);
        while !self.out.is_empty() {
            let slices = self.out.slices();
            let written = match slices {
                [front, ref piece, _] if piece.is_empty() && !front.is_empty() => {
                    stream.as_mut().poll_write(cx, &front)
                }
                _ => stream.as_mut().poll_write_vectored(cx, &slices),
            };
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => {
                    self.out.advance(written);
                    watch.takes(written);
                }
            }
            if watch.phase() == Phase::Body {
                watch.body_moves();
            }
        }
        // TLS may hold some of it back.
        stream.poll_flush(cx)
    }
}

/// What the client is told of a head that breaks the rules.
pub(super) fn reason_of(bad: BadHead) -> Reason {
    tracing::debug!(cause = %bad, "a request is refused");
    match bad {
        BadHead::TooManyFields => Reason::HeadersTooLarge,
        BadHead::BareLineFeed
        | BadHead::LeadingLine
        | BadHead::Fragment
        | BadHead::Framing
        | BadHead::Syntax
        | BadHead::Length => Reason::BadRequest,
    }
}

/// Room to read a head into.
const HEAD: usize = 4 * 1024;
/// Room to read a body into.
const BODY: usize = 32 * 1024;
/// Bytes of a request line beside the path and query, which have a limit of their own: method, authority, version.
const SPARE: usize = 1024;
