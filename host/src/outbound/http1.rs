//! One HTTP/1.1 connection for the requests of plugins. The call that uses it reads and writes it itself: no task of its own,
//! no channel, and a request with a small body is one write.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::header::{self, HeaderMap};
use http::{Method, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWrite as _, ReadBuf};
use tokio::time::Instant;

use super::access::Target;
use super::connect::Stream;
use super::{CallError, LARGEST_HEAD};
use crate::http1::{HeadEnd, ResponseHead, parse_response, write_all, write_field};
use crate::ready::to_the_back;
use crate::timer::Timer;

/// A connection between two requests, or during one.
#[derive(Debug)]
pub(super) struct Http1 {
    stream: Stream,
    /// What was read and not yet used.
    pub(super) input: BytesMut,
    /// What is to be sent: the head, and a body that is small.
    output: BytesMut,
    /// A body that is to follow.
    body: Bytes,
    flushed: bool,
    /// The other end takes no more. It may have answered before it closed.
    deaf: Option<io::Error>,
    /// It has carried a request before.
    reused: bool,
    /// For what is waited for on it.
    pub(super) timer: Timer,
}

/// There is no response.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) error: CallError,
    /// Nothing came, and the connection had been used before: the other end may have closed it before it saw the request.
    pub(super) stale: bool,
}

impl Http1 {
    pub(super) fn new(stream: Stream) -> Self {
        Self {
            stream,
            input: BytesMut::new(),
            output: BytesMut::new(),
            body: Bytes::new(),
            flushed: true,
            deaf: None,
            reused: false,
            timer: Timer::default(),
        }
    }

    /// Sends a request and waits for the head of its response. A body that the response overtakes is sent while the
    /// response's body is read.
    pub(super) async fn send(
        &mut self,
        method: &Method,
        target: &Target,
        headers: &HeaderMap,
        body: &Bytes,
        until: Instant,
    ) -> Result<ResponseHead, Lost> {
        self.write(method, target, headers, body);
        to_the_back().await;
        let (mut end, mut heard, mut passed) = (HeadEnd::default(), 0, 0);
        poll_fn(|cx| {
            loop {
                while let Some(length) = end.find(&self.input).map_err(|error| Lost::broken(&error))? {
                    if length + passed > LARGEST_HEAD {
                        return Poll::Ready(Err(Lost::too_large()));
                    }
                    let bytes = self.input.split_to(length).freeze();
                    let head = parse_response(&bytes, method, FIELDS).map_err(|error| Lost::broken(&error))?;
                    if head.status == StatusCode::SWITCHING_PROTOCOLS {
                        return Poll::Ready(Err(Lost::broken(
                            &"another protocol was answered, which nobody asked for",
                        )));
                    }
                    if !head.status.is_informational() {
                        return Poll::Ready(Ok(head));
                    }
                    passed += length;
                }
                if self.input.len() + passed > LARGEST_HEAD {
                    return Poll::Ready(Err(Lost::too_large()));
                }
                match self.poll_more(cx) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(self.ended(heard == 0, None))),
                    Poll::Ready(Ok(n)) => heard += n,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(self.ended(heard == 0, Some(error)))),
                    Poll::Pending => return self.timer.poll(until, cx).map(|()| Err(Lost::late())),
                }
            }
        })
        .await
    }

    /// Sends what is to be sent, and reads more. 0 is the end.
    pub(super) fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.deaf.is_none()
            && let Poll::Ready(Err(error)) = self.poll_send(cx)
        {
            self.deaf = Some(error);
        }
        if self.input.capacity() - self.input.len() < ROOM / 4 {
            self.input.reserve(ROOM);
        }
        pin!(self.stream.read_buf(&mut self.input)).poll(cx)
    }

    /// Whether the request has been sent to its last byte.
    pub(super) fn is_sent(&self) -> bool {
        self.flushed && self.deaf.is_none()
    }

    /// Whether nothing has come since the last response, not even the end: only then can it carry another request. Costs
    /// no system call unless something came.
    pub(super) fn is_quiet(&mut self) -> bool {
        let mut byte = [0];
        let mut buffer = ReadBuf::new(&mut byte);
        self.input.is_empty() && self.stream.poll_read_now(&mut buffer).is_pending()
    }

    /// Makes it ready for the next request.
    pub(super) fn rest(&mut self) {
        self.reused = true;
        if self.input.capacity() > KEPT {
            self.input = BytesMut::new();
        }
        if self.output.capacity() > KEPT {
            self.output = BytesMut::new();
        }
    }

    /// RFC 9112 §3. Fields that frame or route the request are not among `headers`.
    fn write(&mut self, method: &Method, target: &Target, headers: &HeaderMap, body: &Bytes) {
        let out = &mut self.output;
        out.clear();
        let name = method.as_str().as_bytes();
        let path = target.uri.path_and_query().map_or("/", |path| path.as_str());
        out.reserve(name.len() + path.len() + target.host.len() + 64 * (headers.len() + 2) + body.len().min(SMALL));
        write_all(out, [name, b" ", path.as_bytes(), b" HTTP/1.1\r\nhost: ", target.host.as_bytes(), b"\r\n"]);
        for (name, value) in headers {
            write_field(out, name, value);
        }
        // RFC 9110 §8.6: a method that comes with a body says so, also if it is empty.
        if !body.is_empty() || matches!(*method, Method::POST | Method::PUT | Method::PATCH) {
            let mut digits = itoa::Buffer::new();
            let length = digits.format(body.len()).as_bytes();
            write_all(out, [header::CONTENT_LENGTH.as_str().as_bytes(), b": ", length, b"\r\n"]);
        }
        out.extend_from_slice(b"\r\n");
        self.body = if body.len() <= SMALL {
            out.extend_from_slice(body);
            Bytes::new()
        } else {
            body.clone()
        };
        (self.flushed, self.deaf) = (false, None);
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.output))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                // All at once, nearly always: then the memory is kept.
                n if n == self.output.len() => self.output.clear(),
                n => self.output.advance(n),
            }
        }
        while !self.body.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.body))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => self.body.advance(n),
            }
        }
        if !self.flushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.flushed = true;
        }
        Poll::Ready(Ok(()))
    }

    fn ended(&mut self, nothing_came: bool, reading: Option<io::Error>) -> Lost {
        let cause = reading.or(self.deaf.take());
        let error = match cause {
            Some(cause) => format!("the connection broke before the response: {cause}"),
            None => "the connection was closed before the response".to_owned(),
        };
        Lost { error: CallError::Failed(error), stale: nothing_came && self.reused }
    }
}

impl Lost {
    fn broken(cause: &dyn std::fmt::Display) -> Self {
        Self { error: CallError::Failed(cause.to_string()), stale: false }
    }

    fn late() -> Self {
        Self { error: CallError::TimedOut, stale: false }
    }

    fn too_large() -> Self {
        Self::broken(&"the response's head is too large")
    }
}

impl Stream {
    /// What is there without waiting.
    fn poll_read_now(&mut self, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => match stream.try_read(buffer.initialize_unfilled()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
                other => Poll::Ready(other.map(|_| ())),
            },
            // There may be records that carry nothing for us, like new tickets.
            Self::Tls(stream) => {
                tokio::io::AsyncRead::poll_read(Pin::new(stream), &mut Context::from_waker(Waker::noop()), buffer)
            }
        }
    }
}

/// Fields of a response's head.
const FIELDS: usize = 100;
/// Bytes that are made room for before a read.
const ROOM: usize = 16 << 10;
/// A body that is sent in one piece with its head.
const SMALL: usize = 16 << 10;
/// Bytes that an idle connection keeps for each way.
const KEPT: usize = 32 << 10;
