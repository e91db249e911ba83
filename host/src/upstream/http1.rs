//! One HTTP/1.1 connection to a backend. The exchange that uses it reads and writes it itself: no task of its own, no
//! channel, and a request that has no body is one write.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::task::AbortHandle;

use super::connect::{BackendStream, Ends};
use super::failure::{Retryable, SendError};
use super::interim;
use super::outgoing::Outgoing;
use super::sending::{KEPT, Sending, SendingError};
use crate::config::Limits;
use crate::http1::{HeadEnd, ResponseHead, parse_response};
use crate::message::UploadBody;
use crate::ready::to_the_back;
use crate::reason::Reason;
use crate::socket::Watch;

/// A connection between two requests, or during one.
#[derive(Debug)]
pub(super) struct Http1 {
    stream: Rc<RefCell<BackendStream>>,
    /// What was read and not yet used.
    pub(super) input: BytesMut,
    /// Kept for its memory.
    output: BytesMut,
    /// Bytes to make room for before a read.
    room: usize,
    /// It has carried a request before.
    pub(super) reused: bool,
    /// Whose it is, if the backend was told: nobody else's requests go over it.
    pub(super) client: Option<Ends>,
}

/// A request that got no response.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) error: SendError,
    /// The body, if nothing of the request has left.
    pub(super) unsent: Option<UploadBody>,
}

/// A response's head, with the connection on which its body comes.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) head: ResponseHead,
    pub(super) connection: Http1,
    /// The request's body, if it is still on its way.
    pub(super) uploading: Option<Uploading>,
}

/// A request's body on its way beside the response's, in a task of its own.
#[derive(Debug)]
pub(super) struct Uploading {
    over: Rc<Cell<bool>>,
    task: Option<AbortHandle>,
}

impl Http1 {
    pub(super) fn new(stream: BackendStream, client: Option<Ends>) -> Self {
        Self {
            stream: Rc::new(RefCell::new(stream)),
            input: BytesMut::new(),
            output: BytesMut::new(),
            room: SMALL,
            reused: false,
            client,
        }
    }

    /// Sends one request and waits for the head of its response. Dropping the future ends the connection. `client` is who
    /// gets interim responses.
    pub(super) async fn send(
        mut self,
        request: &Outgoing<'_>,
        body: UploadBody,
        limits: &Limits,
        client: Option<&Watch>,
    ) -> Result<Answer, Fault> {
        to_the_back().await;
        // Only now, because of all who wait there each would hold what it is to write.
        let mut sending = Sending::new(std::mem::take(&mut self.output), request, body);
        let mut waiting = Waiting { end: HeadEnd::default(), heard: false, interim: 0, interim_bytes: 0, client };
        let mut broken = None;
        let answer = poll_fn(|cx| {
            if broken.is_none() && !sending.is_over() {
                match sending.poll(cx, &mut self.stream.borrow_mut()) {
                    Poll::Ready(Err(SendingError::Body(error))) => return Poll::Ready(Err(SendError::body(error))),
                    // The backend may have answered before it closed.
                    Poll::Ready(Err(SendingError::Stream(error))) => broken = Some(error),
                    Poll::Ready(Ok(())) | Poll::Pending => {}
                }
            }
            let head = ready!(waiting.poll(cx, &mut self, request, limits));
            Poll::Ready(head.map_err(|fault| fault.into_error(self.reused, waiting.heard, broken.take())))
        })
        .await;
        match answer {
            Ok(head) => {
                let uploading = if broken.is_some() {
                    Some(Uploading::never())
                } else if sending.is_over() {
                    self.output = sending.into_buffer();
                    None
                } else {
                    Some(Uploading::spawn(sending, &self.stream))
                };
                Ok(Answer { head, connection: self, uploading })
            }
            Err(mut error) => {
                let unsent = sending.into_unsent();
                if unsent.is_some() {
                    error.retry = Retryable::Always;
                }
                Err(Fault { error, unsent })
            }
        }
    }

    /// Whether nothing has come since the last response, not even the end: only then can it carry another request. Costs
    /// no system call unless something came.
    pub(super) fn is_quiet(&self) -> bool {
        if !self.input.is_empty() {
            return false;
        }
        match &mut *self.stream.borrow_mut() {
            BackendStream::Tcp(stream) => {
                stream.try_read(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
            }
            // There may be records that carry nothing for us, like new tickets.
            BackendStream::Tls(stream) => {
                let mut byte = [0];
                let mut buffer = ReadBuf::new(&mut byte);
                Pin::new(stream).poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer).is_pending()
            }
        }
    }

    /// Gives back memory that only a large message needed.
    pub(super) fn rest(&mut self) {
        self.reused = true;
        self.room = SMALL;
        if self.input.capacity() > KEPT {
            self.input = BytesMut::new();
        }
        if self.output.capacity() > KEPT {
            self.output = BytesMut::new();
        }
    }

    /// Reads more. 0 is the end.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.input.capacity() - self.input.len() < self.room / 4 {
            self.input.reserve(self.room);
        }
        let room = self.input.capacity() - self.input.len();
        let n = ready!(pin!(self.stream.borrow_mut().read_buf(&mut self.input)).poll(cx))?;
        if n == room {
            self.room = LARGE;
        }
        Poll::Ready(Ok(n))
    }

    /// The bare connection, with what was read behind the last head.
    pub(super) fn into_stream(self) -> Option<(BackendStream, Bytes)> {
        let stream = Rc::into_inner(self.stream)?.into_inner();
        Some((stream, self.input.freeze()))
    }
}

/// The wait for a response's head.
struct Waiting<'a> {
    end: HeadEnd,
    /// Something came.
    heard: bool,
    /// Interim responses so far.
    interim: u32,
    /// Bytes of them.
    interim_bytes: usize,
    client: Option<&'a Watch>,
}

/// Why there is no head.
enum NoHead {
    /// The connection ended.
    Ended(Option<io::Error>),
    /// What came breaks the rules.
    Broken(BoxError),
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Waiting<'_> {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut Http1,
        request: &Outgoing<'_>,
        limits: &Limits,
    ) -> Poll<Result<ResponseHead, NoHead>> {
        loop {
            while let Some(length) = self.end.find(&connection.input).map_err(NoHead::broken)? {
                let bytes = connection.input.split_to(length).freeze();
                if let Some(head) = self.head(&bytes, request, limits)? {
                    return Poll::Ready(Ok(head));
                }
            }
            if connection.input.len() + self.interim_bytes > BEFORE_HEAD {
                return Poll::Ready(Err(NoHead::broken("too much before the response's head")));
            }
            match ready!(connection.poll_read(cx)) {
                Ok(0) => return Poll::Ready(Err(NoHead::Ended(None))),
                Ok(_) => self.heard = true,
                Err(error) => return Poll::Ready(Err(NoHead::Ended(Some(error)))),
            }
        }
    }

    /// The final response's head, or none if these bytes are an interim response (RFC 9110 §15.2).
    fn head(&mut self, bytes: &Bytes, request: &Outgoing<'_>, limits: &Limits) -> Result<Option<ResponseHead>, NoHead> {
        let head = parse_response(bytes, request.method, limits.header_count).map_err(NoHead::broken)?;
        if !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Some(head));
        }
        self.interim += 1;
        self.interim_bytes += bytes.len();
        if self.interim > INTERIM {
            return Err(NoHead::broken("too many interim responses"));
        }
        if head.status != StatusCode::CONTINUE
            && let Some(client) = self.client
            && let Some(head) = interim::passable(&head)
        {
            client.send_interim(head);
        }
        Ok(None)
    }
}

impl NoHead {
    fn broken(cause: impl Into<BoxError>) -> Self {
        Self::Broken(cause.into())
    }

    fn into_error(self, reused: bool, heard: bool, sending: Option<io::Error>) -> SendError {
        match self {
            Self::Broken(cause) => SendError::new(Reason::BadResponse, Retryable::Never, cause),
            Self::Ended(reading) => {
                let cause = reading.or(sending).unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into());
                if heard {
                    return SendError::new(Reason::BadResponse, Retryable::Never, cause);
                }
                let retry = if reused { Retryable::IfIdempotent } else { Retryable::Never };
                SendError::new(Reason::UpstreamClosed, retry, cause)
            }
        }
    }
}

impl Uploading {
    /// Goes on sending while the response is read.
    fn spawn(mut sending: Sending, stream: &Rc<RefCell<BackendStream>>) -> Self {
        let over = Rc::new(Cell::new(false));
        let (done, stream) = (Rc::clone(&over), Rc::clone(stream));
        let task = tokio::task::spawn_local(async move {
            let sent = poll_fn(|cx| sending.poll(cx, &mut stream.borrow_mut())).await;
            done.set(sent.is_ok());
        });
        Self { over, task: Some(task.abort_handle()) }
    }

    /// It broke off.
    fn never() -> Self {
        Self { over: Rc::default(), task: None }
    }

    /// Whether all of it has been sent.
    pub(super) fn is_over(&self) -> bool {
        self.over.get()
    }
}

impl Drop for Uploading {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Bytes that a connection makes room for before it reads, at first and once it has seen that there is more.
const SMALL: usize = 16 * 1024;
const LARGE: usize = 64 * 1024;
/// Bytes that may come before a response's head is complete, interim responses included.
const BEFORE_HEAD: usize = 512 * 1024;
/// Interim responses to one request.
const INTERIM: u32 = 16;
