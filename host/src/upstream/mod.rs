//! Groups of backends: which one, over which connection, and what to do when it fails.

mod backend;
mod balance;
mod body;
mod budget;
mod client;
mod connect;
mod failure;
mod health;
mod http1;
mod http2;
mod interim;
mod outgoing;
mod pool;
mod probe;
mod queue;
mod sending;

pub use backend::{Backend, InFlight};
pub use balance::Live;
pub use body::BackendBody;
pub use client::{Connections, Sent, Upgraded};
pub use connect::BackendStream;
pub use failure::{Retryable, SendError};
pub use outgoing::Outgoing;
pub use probe::Prober;
pub use queue::QueueFull;

use std::sync::Arc;

use crate::config::{self, Balance, Problems, Source};
use crate::tls::UpstreamTls;

/// A named group of backends. Shared by all workers, kept over a reload if its configuration did not change.
#[derive(Debug)]
pub struct Upstream {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// What the configuration says of it.
    pub settings: config::Upstream,
    /// In the order of the configuration.
    pub backends: Vec<Arc<Backend>>,
    tls: Option<UpstreamTls>,
    positions: balance::Positions,
    equal_weights: bool,
    budget: Arc<budget::Budget>,
    group: Arc<health::Group>,
}

impl Upstream {
    /// What the configuration says, made ready. Everything wrong with it becomes a problem; then there is no `Upstream`.
    ///
    /// From `previous`, the upstream of the same name before a reload, is kept what has not changed: all of it, or else each
    /// backend (with its health, its latency and the workers' connections) and the budget for retries. Call
    /// [`Upstream::adopt`] once it is in use.
    #[must_use]
    pub fn build(
        name: &str,
        settings: &config::Upstream,
        previous: Option<&Arc<Self>>,
        source: &Source,
        problems: &mut Problems,
    ) -> Option<Arc<Self>> {
        let needs_tls = settings.backends.iter().any(|backend| backend.address.scheme_str() == Some("https"));
        let mut tls = None;
        if needs_tls {
            let built = UpstreamTls::build(&settings.tls, settings.protocol, source, problems)?;
            // The old one, if it is the same, knows sessions that can be resumed.
            let known = previous.and_then(|previous| previous.tls.clone()).filter(|known| known.same_as(&built));
            tls = Some(known.unwrap_or(built));
        }
        if let Some(previous) = previous
            && same_settings(&previous.settings, settings)
            && same_tls(previous.tls.as_ref(), tls.as_ref())
        {
            return Some(Arc::clone(previous));
        }

        let group = previous.map_or_else(|| Arc::new(health::Group::new(name)), |previous| Arc::clone(&previous.group));
        let budget = previous.map_or_else(Arc::default, |previous| Arc::clone(&previous.budget));
        let mut known: Vec<_> = previous.map(|previous| previous.backends.clone()).unwrap_or_default();
        let mut backends = Vec::with_capacity(settings.backends.len());
        for entry in &settings.backends {
            let built = Backend::build(entry, settings, tls.as_ref(), &group, problems)?;
            let backend = match known.iter().position(|known| known.same_as(&built)) {
                Some(place) => known.swap_remove(place),
                None => Arc::new(built),
            };
            backends.push(backend);
        }
        if backends.len() > usize::from(u16::MAX) {
            problems
                .push(&settings.at, format!("{} backends are more than the 65535 that are possible", backends.len()));
            return None;
        }
        Some(Arc::new(Self {
            name: name.into(),
            settings: settings.clone(),
            tls,
            positions: balance::Positions::new(backends.len()),
            equal_weights: backends.iter().all(|backend| backend.weight == backends[0].weight),
            backends,
            budget,
            group,
        }))
    }

    /// Judges the health of the backends by this upstream's settings from now on, no longer by its predecessor's.
    pub fn adopt(&self) {
        self.group.adopt(&self.backends, &self.settings.eject, self.settings.panic_threshold);
    }

    /// Whether so few backends are healthy that all are used.
    #[must_use]
    pub fn panicking(&self) -> bool {
        self.group.panicking()
    }

    /// Counts a request against the budget for retries. Called once for each exchange.
    pub fn exchange_started(&self) {
        self.budget.count();
    }

    /// Whether the budget allows another attempt (at most 20 % of the requests and 10 per second, over 10 s), which it
    /// then has spent.
    #[must_use]
    pub fn spend_retry(&self) -> bool {
        self.budget.spend()
    }

    /// The attempt that was paid for is not made.
    pub fn return_retry(&self) {
        self.budget.give_back();
    }
}

fn same_tls(one: Option<&UpstreamTls>, other: Option<&UpstreamTls>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.same_as(other),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// Whether both say the same, wherever in the file. Taken apart by name, so that no new setting can be forgotten here.
fn same_settings(one: &config::Upstream, other: &config::Upstream) -> bool {
    let config::Upstream {
        at: _,
        backends,
        balance,
        protocol,
        proxy_protocol,
        tls: _, // By contents: `same_tls`.
        pool,
        connect_timeout,
        response_timeout,
        retry,
        health,
        eject,
        panic_threshold,
        max_requests,
        queue,
        queue_timeout,
        reach,
    } = one;
    let same_balance = match (balance, &other.balance) {
        (Balance::RoundRobin, Balance::RoundRobin) => true,
        (Balance::Plugin(one), Balance::Plugin(other)) => one.value == other.value,
        (Balance::RoundRobin, Balance::Plugin(_)) | (Balance::Plugin(_), Balance::RoundRobin) => false,
    };
    let same_backend =
        |(one, other): (&config::Backend, &config::Backend)| one.address == other.address && one.weight == other.weight;
    same_balance
        && *reach == other.reach
        && backends.len() == other.backends.len()
        && backends.iter().zip(&other.backends).all(same_backend)
        && *protocol == other.protocol
        && *proxy_protocol == other.proxy_protocol
        && *pool == other.pool
        && *connect_timeout == other.connect_timeout
        && *response_timeout == other.response_timeout
        && *retry == other.retry
        && *health == other.health
        && *eject == other.eject
        && *panic_threshold == other.panic_threshold
        && *max_requests == other.max_requests
        && *queue == other.queue
        && *queue_timeout == other.queue_timeout
}

#[cfg(test)]
mod tests;
