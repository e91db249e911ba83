//! One address of an upstream, with what all workers know of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::health::{Group, Health};
use crate::config::{self, Problems};
use crate::tls::{ClientTls, UpstreamTls};

/// One address of an upstream, with what all workers know of it.
#[derive(Debug)]
pub struct Backend {
    /// A number that no other backend of this process has had: workers keep their connections by it.
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
    /// Whether connections begin with a PROXY header, and are for one client each.
    pub proxy_protocol: bool,
    /// HTTP version to speak.
    pub protocol: config::Protocol,
    /// A TCP connection and the TLS handshake on it.
    pub connect_timeout: Duration,
    /// Idle connections that each worker keeps.
    pub pool: config::PoolSettings,
    /// Its share, 1 unless configured.
    pub weight: u32,
    /// Requests that it is working on, from all workers. [`Backend::begin`] counts them.
    pub in_flight: AtomicU32,
    /// Moving average of the time to its first byte, in nanoseconds; 0 until it has answered once.
    pub latency_nanos: AtomicU64,
    /// Where it may be, if it is a tenant's.
    pub reach: Option<Arc<config::Reach>>,
    pub(super) health: Health,
    pub(super) group: Arc<Group>,
}

/// A request that a backend is working on, for as long as this lives.
#[derive(Debug)]
pub struct InFlight(Arc<Backend>);

impl Backend {
    /// Everything wrong with the address becomes a problem.
    pub(super) fn build(
        entry: &config::Backend,
        settings: &config::Upstream,
        tls: Option<&UpstreamTls>,
        group: &Arc<Group>,
        problems: &mut Problems,
    ) -> Option<Self> {
        let (Some(scheme), Some(authority)) = (entry.address.scheme_str(), entry.address.authority()) else {
            problems.push(&entry.at, format!("\"{}\" is not like http://host:port", entry.address));
            return None;
        };
        let host = authority.host();
        let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let tls = tls.filter(|_| scheme == "https");
        let named = tls.map(|tls| tls.with(host));
        if matches!(named, Some(None)) {
            problems.push(&entry.at, format!("no certificate can be for a backend named {host:?}"));
            return None;
        }
        let Ok(value) = http::HeaderValue::from_str(authority.as_str()) else {
            problems.push(&entry.at, format!("\"{authority}\" cannot be sent as Host"));
            return None;
        };
        Some(Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            address: format!("{scheme}://{authority}").into(),
            authority: value,
            host: host.to_owned(),
            port: authority.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 }),
            tls: named.flatten(),
            proxy_protocol: settings.proxy_protocol,
            protocol: settings.protocol,
            connect_timeout: settings.connect_timeout,
            pool: settings.pool.clone(),
            weight: entry.weight,
            in_flight: AtomicU32::new(0),
            latency_nanos: AtomicU64::new(0),
            reach: settings.reach.clone(),
            health: Health::default(),
            group: Arc::clone(group),
        })
    }

    /// Whether a connection to one can serve the other, and what is known of one holds for the other.
    pub(super) fn same_as(&self, other: &Self) -> bool {
        let same_tls = match (&self.tls, &other.tls) {
            (Some(one), Some(other)) => one.same_as(other),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        same_tls
            && self.address == other.address
            && self.protocol == other.protocol
            && self.proxy_protocol == other.proxy_protocol
            && self.connect_timeout == other.connect_timeout
            && self.pool == other.pool
            && self.weight == other.weight
            && self.reach == other.reach
    }

    /// Counts a request that this backend works on until what it returns is dropped.
    #[must_use]
    pub fn begin(self: &Arc<Self>) -> InFlight {
        // In one order with `queue`: either we see who waits, or they see that there is room.
        self.in_flight.fetch_add(1, Ordering::SeqCst);
        InFlight(Arc::clone(self))
    }

    /// Whether it is neither ejected nor found dead by probes.
    #[must_use]
    pub fn healthy(&self) -> bool {
        self.health.sound()
    }

    /// An exchange got its response's head from this backend, after so long.
    pub fn succeeded(&self, first_byte: Duration) {
        let new = u64::try_from(first_byte.as_nanos()).unwrap_or(u64::MAX).max(1);
        let old = self.latency_nanos.load(Ordering::Relaxed);
        // Two workers may overwrite each other's sample, which an average survives.
        let average = if old == 0 { new } else { old - old / 8 + new / 8 };
        self.latency_nanos.store(average.max(1), Ordering::Relaxed);
        self.group.succeeded(self);
    }

    /// An exchange failed at this backend: no connection, no or a broken response, too late.
    pub fn failed(&self) {
        self.group.failed(self);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
        self.0.group.room();
    }
}

static NEXT_ID: AtomicUsize = AtomicUsize::new(1);
