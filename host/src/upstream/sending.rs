//! A request on its way to a backend over HTTP/1.1.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http_body::Body;
use tokio::io::AsyncWrite;

use super::connect::BackendStream;
use super::outgoing::{BodyFraming, Outgoing};
use crate::http1::{write_chunk_head, write_last_chunk};
use crate::message::{BodyError, UploadBody};

/// A request on its way to a backend: what of it is ready to be written, and the rest of the body.
#[derive(Debug)]
pub(super) struct Sending {
    /// Written first.
    out: BytesMut,
    /// Written next: a piece of the body that is too large to be copied.
    large: Bytes,
    /// A chunk's content is written, the line end behind it is not.
    owes_line_end: bool,
    body: UploadBody,
    framing: BodyFraming,
    /// All of the body has been taken.
    body_over: bool,
    flushed: bool,
    written: bool,
}

/// Why a request could not be sent.
#[derive(Debug)]
pub(super) enum SendingError {
    /// The body came to no good end.
    Body(BodyError),
    /// The connection failed.
    Stream(io::Error),
}

impl Sending {
    /// `out` is empty, for its memory.
    pub(super) fn new(mut out: BytesMut, request: &Outgoing<'_>, body: UploadBody) -> Self {
        let framing = BodyFraming::of(&body);
        request.write(&mut out, framing);
        Self {
            out,
            large: Bytes::new(),
            owes_line_end: false,
            body,
            framing,
            body_over: framing == BodyFraming::None,
            flushed: false,
            written: false,
        }
    }

    /// Whether all has been handed to the connection.
    pub(super) fn is_over(&self) -> bool {
        self.flushed
    }

    /// The buffer, to be used again.
    pub(super) fn into_buffer(self) -> BytesMut {
        self.out
    }

    /// The body, if nothing has been written.
    pub(super) fn into_unsent(self) -> Option<UploadBody> {
        (!self.written).then_some(self.body)
    }

    /// Sends what can be sent now. Ready when all has been.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, stream: &mut BackendStream) -> Poll<Result<(), SendingError>> {
        loop {
            let starved = self.fill(cx)?;
            while !self.out.is_empty() || !self.large.is_empty() {
                ready!(self.poll_write(cx, stream)).map_err(SendingError::Stream)?;
            }
            if self.body_over || starved {
                ready!(Pin::new(&mut *stream).poll_flush(cx)).map_err(SendingError::Stream)?;
                if !self.body_over {
                    return Poll::Pending;
                }
                if self.out.capacity() > KEPT {
                    // The response may be long in coming.
                    self.out = BytesMut::new();
                }
                self.flushed = true;
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Takes so much of the body that it is worth a write. Says whether the body has no more at the moment.
    fn fill(&mut self, cx: &mut Context<'_>) -> Result<bool, SendingError> {
        while !self.body_over && self.large.is_empty() && self.out.len() < WORTH {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => return Ok(true),
                Poll::Ready(Some(Err(error))) => return Err(SendingError::Body(error)),
                Poll::Ready(None) => self.end(None)?,
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.data(data)?,
                    Err(frame) => self.end(frame.into_trailers().ok())?,
                },
            }
            // What ends the last chunk is written before what is large, so it has to wait for that.
            let in_order = self.large.is_empty() || self.framing != BodyFraming::Chunked;
            if !self.body_over && in_order && self.body.is_end_stream() {
                self.end(None)?;
            }
        }
        Ok(false)
    }

    fn data(&mut self, data: Bytes) -> Result<(), SendingError> {
        if data.is_empty() {
            return Ok(());
        }
        match &mut self.framing {
            BodyFraming::None => return Err(SendingError::Body("a body where none was announced".into())),
            BodyFraming::Length(left) => {
                let less = left.checked_sub(data.len() as u64);
                *left = less.ok_or_else(|| SendingError::Body("the body is longer than announced".into()))?;
            }
            BodyFraming::Chunked => {
                self.line_end();
                write_chunk_head(&mut self.out, data.len());
                self.owes_line_end = true;
            }
        }
        if data.len() <= COPIED {
            self.out.extend_from_slice(&data);
        } else {
            self.large = data;
        }
        Ok(())
    }

    fn end(&mut self, trailers: Option<http::HeaderMap>) -> Result<(), SendingError> {
        match self.framing {
            BodyFraming::None | BodyFraming::Length(0) => {}
            BodyFraming::Length(_) => return Err(SendingError::Body("the body is shorter than announced".into())),
            BodyFraming::Chunked => {
                self.line_end();
                write_last_chunk(&mut self.out, trailers.as_ref());
            }
        }
        self.body_over = true;
        Ok(())
    }

    fn line_end(&mut self) {
        if self.owes_line_end {
            self.out.extend_from_slice(b"\r\n");
            self.owes_line_end = false;
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, stream: &mut BackendStream) -> Poll<io::Result<()>> {
        let stream = Pin::new(stream);
        let n = if self.large.is_empty() {
            ready!(stream.poll_write(cx, &self.out))?
        } else {
            ready!(stream.poll_write_vectored(cx, &[IoSlice::new(&self.out), IoSlice::new(&self.large)]))?
        };
        if n == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.written = true;
        let first = n.min(self.out.len());
        if first == self.out.len() {
            // Keeps the memory, where `advance` would give it up.
            self.out.clear();
        } else {
            self.out.advance(first);
        }
        self.large.advance(n - first);
        Poll::Ready(Ok(()))
    }
}

/// Bytes that a connection keeps for each way when it has nothing to carry.
pub(super) const KEPT: usize = 16 * 1024;
/// Bytes that are worth a write before more of the body is asked for.
const WORTH: usize = 16 * 1024;
/// A larger piece of the body is written from where it is.
const COPIED: usize = 4 * 1024;
