//! Groups of backends: which one, over which connection, and what to do when it fails.

use std::sync::atomic::{AtomicU32, AtomicU64};

/// A named group of backends.
#[derive(Debug)]
pub struct Upstream {
    /// Its name in the configuration.
    pub name: String,
    /// In the order of the configuration.
    pub backends: Vec<std::sync::Arc<Backend>>,
}

/// One address of an upstream, with what all workers know of it.
#[derive(Debug)]
pub struct Backend {
    /// As the configuration has it: `http://10.0.0.1:8080`.
    pub address: String,
    /// Its share, 1 unless configured.
    pub weight: u32,
    /// Requests that it is working on, from all workers.
    pub in_flight: AtomicU32,
    /// Moving average of the time to its first byte, in nanoseconds; 0 until it has answered once.
    pub latency_nanos: AtomicU64,
}

impl Backend {
    /// Whether it is neither ejected nor found dead by probes.
    #[must_use]
    pub fn healthy(&self) -> bool {
        true
    }
}
