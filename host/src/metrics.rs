//! What is counted, and how it is shown to Prometheus.

use std::time::Duration;

use crate::reason::Reason;

/// One worker's numbers. Only that worker writes them, so no read-modify-write instruction is needed.
#[derive(Debug, Default)]
pub struct WorkerMetrics {}

impl WorkerMetrics {
    /// A client's connection was accepted.
    pub fn connection_opened(&self) {}
    /// A client's connection is gone.
    pub fn connection_closed(&self) {}
    /// A client's connection was refused, or ended before its first request: `connections`, `connections_per_client`,
    /// `handshakes`, `tls_handshake` (failed), `handshake_timeout`, `accept` (the system refused).
    pub fn connection_refused(&self, why: &'static str) {
        let _ = why;
    }
    /// An exchange began.
    pub fn exchange_started(&self) {}
    /// An exchange ended.
    pub fn exchange_finished(&self, status: u16, total: Duration, request_bytes: u64, response_bytes: u64) {
        let _ = (status, total, request_bytes, response_bytes);
    }
    /// Something failed; counted by reason.
    pub fn failure(&self, reason: Reason) {
        let _ = reason;
    }
    /// Another attempt was made for an exchange.
    pub fn retried(&self) {}
    /// A connection to a backend was opened.
    pub fn upstream_connected(&self) {}
}
