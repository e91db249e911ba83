//! HTTP requests that plugins make: to whom they may go, over which connections, and within which bounds.

mod access;
mod address;
mod body;
mod connect;
mod http1;
mod pool;
mod stand_in;
#[cfg(test)]
mod tests;

pub use access::{Access, Target};
pub use body::Body;
pub use stand_in::{Answer, Arranged, StandIn};

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Version};
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::Instant;

use self::connect::{ConnectError, Stream, connect};
use self::http1::Http1;
use self::pool::{Http2, Pool};

/// One worker's connections for one use of a plugin. No other use gets them: it may have other grants.
#[derive(Debug)]
pub struct Client {
    access: Arc<Access>,
    pool: Arc<Pool>,
    /// The URL that was asked last, and what came of it: most plugins ask the same one, over and over.
    last: Mutex<Option<(Box<str>, Arc<Target>)>>,
}

/// What is to be sent.
struct Call<'a> {
    method: Method,
    target: &'a Target,
    headers: HeaderMap,
    body: Bytes,
    until: Instant,
    room: usize,
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
        Self { pool: Pool::new(access.origins.len()), access, last: Mutex::default() }
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
        let target = self.target(url)?;
        let until = Instant::now() + within;
        if let Some(stand_in) = &self.access.stand_in {
            let Arranged { status, headers, body: rest } = stand_in.answer(&method, url)?;
            return Ok(Response { status, headers, body: Body::whole(rest, room, until)? });
        }
        let call = Call { method, target: &target, headers, body, until, room };
        self.perform(call).await
    }

    fn target(&self, url: &str) -> Result<Arc<Target>, CallError> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, target)) = &*last
            && **known == *url
        {
            return Ok(Arc::clone(target));
        }
        let target = Arc::new(self.access.target(url)?);
        *last = Some((url.into(), Arc::clone(&target)));
        Ok(target)
    }

    async fn perform(&self, call: Call<'_>) -> Result<Response, CallError> {
        let origin = call.target.origin;
        while let Some(connection) = self.pool.take(origin) {
            match self.over_http1(&call, connection).await {
                // Whether it was seen nobody knows, so it must do no harm to be seen twice (RFC 9110 §9.2.2).
                Err((true, _)) if call.method.is_idempotent() => {}
                answer => return answer.map_err(|(_, error)| error),
            }
        }
        // What is rare is boxed: what waits for a call is moved a few times before it waits, and should be small.
        if let Some(sender) = self.pool.shared(origin) {
            return Box::pin(in_time(call.until, over_http2(call, sender))).await?;
        }
        Box::pin(self.over_new(call)).await
    }

    async fn over_new(&self, call: Call<'_>) -> Result<Response, CallError> {
        let (origin, until) = (call.target.origin, call.until);
        let connected = in_time(until, connect(&self.access, &self.access.origins[origin])).await?;
        let (stream, http2) = connected.map_err(|error| unconnected(&error))?;
        if !http2 {
            return self.over_http1(&call, Http1::new(stream)).await.map_err(|(_, error)| error);
        }
        let speak = async {
            let sender = speak_http2(stream).await?;
            self.pool.share(origin, sender.clone());
            over_http2(call, sender).await
        };
        in_time(until, speak).await?
    }

    /// Of an error, also whether the connection may have been closed before the request came.
    async fn over_http1(&self, call: &Call<'_>, mut connection: Http1) -> Result<Response, (bool, CallError)> {
        let head = connection.send(&call.method, call.target, &call.headers, &call.body, call.until).await;
        let mut head = head.map_err(|lost| (lost.stale, lost.error))?;
        let body = Body::http1(&mut head, connection, (&self.pool, call.target.origin), (call.room, call.until));
        let body = body.map_err(|error| (false, error))?;
        Ok(Response { status: head.status, headers: head.headers, body })
    }
}

/// For what is seldom waited for.
async fn in_time<T>(until: Instant, work: impl Future<Output = T>) -> Result<T, CallError> {
    tokio::time::timeout_at(until, work).await.map_err(|_| CallError::TimedOut)
}

async fn speak_http2(stream: Stream) -> Result<Http2, CallError> {
    let handshake = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(LARGEST_HEAD).expect("it is small"))
        .handshake(TokioIo::new(stream));
    let (sender, connection) = handshake.await.map_err(|error| CallError::Failed(with_causes(&error)))?;
    // It ends when nobody can send anything over it any more.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(sender)
}

async fn over_http2(call: Call<'_>, mut sender: Http2) -> Result<Response, CallError> {
    let mut request = Request::new(Full::new(call.body));
    *request.method_mut() = call.method;
    *request.uri_mut() = call.target.uri.clone();
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = call.headers;
    let failed = |error: hyper::Error| CallError::Failed(with_causes(&error));
    sender.ready().await.map_err(failed)?;
    let (head, incoming) = sender.send_request(request).await.map_err(failed)?.into_parts();
    Ok(Response { status: head.status, headers: head.headers, body: Body::http2(incoming, call.room, call.until) })
}

fn unconnected(error: &ConnectError) -> CallError {
    match error {
        ConnectError::PrivateAddress => CallError::PrivateAddress,
        ConnectError::Resolve(_) | ConnectError::Tcp(_) | ConnectError::Tls(_) => {
            CallError::Connect(with_causes(error))
        }
    }
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

/// Bytes of a response's head, with what comes before it.
const LARGEST_HEAD: usize = 64 << 10;
