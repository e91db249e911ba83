//! Why a request got no response, and whether it may be sent again.

use super::connect::ConnectError;
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
    pub fn broken(reason: Reason) -> Self {
        Self::new(reason, Retryable::Never, "the response breaks HTTP's rules")
    }

    /// Time ran out.
    #[must_use]
    pub fn late(reason: Reason, what: &'static str) -> Self {
        Self::new(reason, Retryable::Never, what)
    }

    pub(super) fn new(
        reason: Reason,
        retry: Retryable,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { reason, retry, cause: cause.into() }
    }

    pub(super) fn closed(error: hyper::Error) -> Self {
        Self::new(Reason::UpstreamClosed, Retryable::Never, error)
    }

    /// `reused`: the connection had carried another request before. `heard`: something came back for this one.
    pub(super) fn classify(error: hyper::Error, reused: bool, heard: bool) -> Self {
        let http2 = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<h2::Error>());
        if let Some(http2) = http2 {
            // RFC 9113 §8.7: refused, or above the last stream of a GOAWAY, means not processed.
            let refused = http2.reason() == Some(h2::Reason::REFUSED_STREAM)
                || (http2.is_go_away() && http2.is_remote() && http2.reason() == Some(h2::Reason::NO_ERROR));
            let retry = if refused { Retryable::Always } else { Retryable::IfIdempotent };
            return Self::new(Reason::UpstreamClosed, retry, error);
        }
        if error.is_parse() || error.is_parse_too_large() || (heard && error.is_incomplete_message()) {
            return Self::new(Reason::BadResponse, Retryable::Never, error);
        }
        let retry = if reused && !heard { Retryable::IfIdempotent } else { Retryable::Never };
        let reason = if heard { Reason::BadResponse } else { Reason::UpstreamClosed };
        Self::new(reason, retry, error)
    }
}

impl From<ConnectError> for SendError {
    fn from(error: ConnectError) -> Self {
        Self::new(error.reason, Retryable::Always, error)
    }
}
