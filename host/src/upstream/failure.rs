//! Why a request got no response, and whether it may be sent again.

use super::connect::ConnectError;
use crate::message::BodyError;
use crate::reason::Reason;

/// A request that got no response.
#[derive(Debug)]
pub struct SendError {
    /// What the client would be told.
    pub reason: Reason,
    /// What may be done about it.
    pub retry: Retryable,
    /// For the log.
    pub cause: Box<dyn std::error::Error + Send + Sync>,
}

/// Whether a request that failed may be sent again (P4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retryable {
    /// It never left, or the backend said that it did not look at it.
    Always,
    /// It went out on a connection that had been used before, which was closed before anything came back.
    IfIdempotent,
    /// The backend may have acted on it.
    Never,
}

impl SendError {
    /// The response's status is one that the configuration retries.
    #[must_use]
    pub fn status(status: http::StatusCode) -> Self {
        Self::new(Reason::BadResponse, Retryable::Always, format!("status {status}"))
    }

    /// The response's head is there and must not be passed on.
    #[must_use]
    pub(super) fn broken(reason: Reason) -> Self {
        Self::new(reason, Retryable::Never, "the response breaks HTTP's rules")
    }

    /// Time ran out.
    #[must_use]
    pub fn late(reason: Reason, what: &'static str) -> Self {
        Self::new(reason, Retryable::Never, what)
    }

    /// Whether it says something about the backend, and not about the client or this machine.
    #[must_use]
    pub fn blames_the_backend(&self) -> bool {
        !matches!(self.reason, Reason::RequestTimeout | Reason::SystemLimit)
    }

    pub(super) fn new(
        reason: Reason,
        retry: Retryable,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { reason, retry, cause: cause.into() }
    }

    /// The request's own body came to no good end, so that no backend is at fault.
    pub(super) fn body(cause: BodyError) -> Self {
        Self::new(Reason::Internal, Retryable::Never, cause)
    }

    /// What the library says of HTTP/2.
    pub(super) fn http2(error: hyper::Error) -> Self {
        let cause = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<h2::Error>());
        let Some(cause) = cause else {
            return Self::new(Reason::UpstreamClosed, Retryable::IfIdempotent, error);
        };
        // RFC 9113 §8.7: refused, or above the last stream of a GOAWAY, means not processed. The library fails only those
        // with the GOAWAY, whatever it is for; the others end with their connection.
        let refused = cause.reason() == Some(h2::Reason::REFUSED_STREAM) || (cause.is_go_away() && cause.is_remote());
        let retry = if refused { Retryable::Always } else { Retryable::IfIdempotent };
        Self::new(Reason::UpstreamClosed, retry, error)
    }
}

impl From<ConnectError> for SendError {
    fn from(error: ConnectError) -> Self {
        // What this machine has not got, it has not got for another backend either.
        let scarce = error.reason == Reason::SystemLimit;
        Self::new(error.reason, if scarce { Retryable::Never } else { Retryable::Always }, error)
    }
}
