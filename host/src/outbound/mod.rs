//! HTTP requests that plugins make: to whom they may go, over which connections, and within which bounds.

mod access;
mod address;
mod connect;
mod stand_in;

pub use access::{Access, Target};
pub use stand_in::{Answer, Arranged, StandIn};

use std::borrow::Cow;
use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Version};
use http_body::Body as _;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::Instant;

use self::connect::{ConnectError, Connector};

/// One worker's connections for one use of a plugin. No other use gets them: it may have other grants.
#[derive(Debug)]
pub struct Client {
    access: Arc<Access>,
    http: legacy::Client<Connector, Full<Bytes>>,
}

/// The response to a request.
#[derive(Debug)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The fields.
    pub headers: HeaderMap,
    /// The body, of which nothing was read yet.
    pub body: Body,
}

/// The body of a response, as it comes. Dropping it closes its connection if it was not read to the end.
#[derive(Debug)]
pub struct Body {
    /// None of a body that is all in `rest`.
    incoming: Option<Incoming>,
    /// What has come and was not read.
    rest: Bytes,
    /// Bytes that may still come.
    room: usize,
    until: Instant,
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// It cannot be sent as it is.
    #[error("{0}")]
    Invalid(Cow<'static, str>),
    /// The URL is under none of the granted prefixes.
    #[error("the URL is under none of the granted prefixes")]
    NotGranted,
    /// Only addresses that are not granted.
    #[error("the name leads to private addresses only, which are not granted")]
    PrivateAddress,
    /// The exchange has made its calls.
    #[error("the exchange has made as many calls as limits.http_requests allows")]
    TooMany,
    /// Too many are under way.
    #[error("as many calls as limits.http_concurrent allows are under way")]
    Busy,
    /// The tenant's plugins may make no more calls now.
    #[error("the tenant's plugins have made as many calls as quotas.calls allows")]
    Quota,
    /// Time ran out.
    #[error("time ran out")]
    TimedOut,
    /// The response's body is too long.
    #[error("the response's body is longer than it may be")]
    TooLarge,
    /// There is no connection.
    #[error("{0}")]
    Connect(String),
    /// The connection broke, or what came is not HTTP.
    #[error("{0}")]
    Failed(String),
}

impl CallError {
    /// As in metrics and the log.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid_request",
            Self::NotGranted => "not_granted",
            Self::PrivateAddress => "private_address",
            Self::TooMany => "too_many",
            Self::Busy => "busy",
            Self::Quota => "quota",
            Self::TimedOut => "timed_out",
            Self::TooLarge => "too_large",
            Self::Connect(_) => "connect",
            Self::Failed(_) => "failed",
        }
    }
}

impl Client {
    /// One without connections. Call it on the worker whose they shall be.
    #[must_use]
    pub fn new(access: Arc<Access>) -> Self {
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(MOST_IDLE)
            .http1_max_buf_size(LARGEST_HEAD)
            .http2_max_header_list_size(u32::try_from(LARGEST_HEAD).expect("it is small"))
            .build(Connector::new(access.clone()));
        Self { access, http }
    }

    /// Sends a request and waits for the head of its response: until then, and until its body was read, `within` may pass.
    /// Of the body at most `room` bytes are read.
    ///
    /// # Errors
    /// Anything but a response.
    pub async fn send(
        &self,
        method: Method,
        url: &str,
        headers: HeaderMap,
        body: Bytes,
        (within, room): (Duration, usize),
    ) -> Result<Response, CallError> {
        if method == Method::CONNECT {
            return Err(CallError::Invalid("the method CONNECT is not for plugins".into()));
        }
        let Target { uri } = self.access.target(url)?;
        let until = Instant::now() + within;
        if let Some(stand_in) = &self.access.stand_in {
            let Arranged { status, headers, body: rest } = stand_in.answer(&method, url)?;
            let room = room.checked_sub(rest.len()).ok_or(CallError::TooLarge)?;
            return Ok(Response { status, headers, body: Body { incoming: None, rest, room, until } });
        }
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.version_mut() = Version::HTTP_11;
        *request.headers_mut() = headers;
        let sent = tokio::time::timeout_at(until, self.http.request(request)).await;
        let response = sent.map_err(|_| CallError::TimedOut)?.map_err(|error| failure(&error))?;
        let (head, incoming) = response.into_parts();
        let body = Body { incoming: Some(incoming), rest: Bytes::new(), room, until };
        Ok(Response { status: head.status, headers: head.headers, body })
    }
}

impl Body {
    /// The next bytes, at least one and at most `most`; none at the end.
    ///
    /// # Errors
    /// When it breaks off, takes too long or is too long.
    pub async fn read(&mut self, most: usize) -> Result<Bytes, CallError> {
        while self.rest.is_empty() {
            let Some(incoming) = &mut self.incoming else { return Ok(Bytes::new()) };
            let frame = tokio::time::timeout_at(self.until, incoming.frame()).await;
            match frame.map_err(|_| CallError::TimedOut)? {
                None => return Ok(Bytes::new()),
                Some(Err(error)) => return Err(CallError::Failed(with_causes(&error))),
                // Trailers are not shown.
                Some(Ok(frame)) => self.rest = frame.into_data().unwrap_or_default(),
            }
            self.room = self.room.checked_sub(self.rest.len()).ok_or(CallError::TooLarge)?;
        }
        Ok(self.rest.split_to(self.rest.len().min(most)))
    }

    /// All that is left, if it is at most `most` bytes.
    ///
    /// # Errors
    /// As those of [`Body::read`].
    pub async fn read_all(&mut self, most: usize) -> Result<Vec<u8>, CallError> {
        let announced =
            self.rest.len() as u64 + self.incoming.as_ref().map_or(0, |incoming| incoming.size_hint().lower());
        if announced > most.min(self.room.saturating_add(self.rest.len())) as u64 {
            return Err(CallError::TooLarge);
        }
        let mut all = Vec::with_capacity(usize::try_from(announced).unwrap_or(0));
        loop {
            let part = self.read(usize::MAX).await?;
            if part.is_empty() {
                return Ok(all);
            }
            if all.len() + part.len() > most {
                return Err(CallError::TooLarge);
            }
            all.extend_from_slice(&part);
        }
    }

    /// Whether all was read.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.rest.is_empty() && self.incoming.as_ref().is_none_or(Incoming::is_end_stream)
    }
}

fn failure(error: &legacy::Error) -> CallError {
    let mut cause = error.source();
    while let Some(error) = cause {
        match error.downcast_ref() {
            Some(ConnectError::PrivateAddress) => return CallError::PrivateAddress,
            Some(error) => return CallError::Connect(with_causes(error)),
            None => cause = error.source(),
        }
    }
    CallError::Failed(with_causes(error))
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// How long a connection is kept that nobody uses.
const IDLE: Duration = Duration::from_secs(30);

/// Connections that are kept for one host.
const MOST_IDLE: usize = 16;

/// Bytes of a response's head.
const LARGEST_HEAD: usize = 64 << 10;
