//! What runs, and how it is doing, as `/status` shows it. Configurations of plugins are left out: they may hold secrets.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use serde::Serialize;

use crate::config::{self, PathMatch};
use crate::metrics::Metrics;
use crate::plugin::PluginUse;
use crate::snapshot::Snapshot;
use crate::upstream::Upstream;

/// What runs, and how it is doing.
#[derive(Debug, Default, Serialize)]
pub struct Status {
    /// Of Lockgate.
    pub version: &'static str,
    /// Since the start.
    pub uptime_seconds: f64,
    /// Counts the configurations that were taken, from 1.
    pub generation: u64,
    /// The configuration's file.
    pub config: String,
    /// One for each.
    pub workers: Vec<Worker>,
    /// In the order of the configuration.
    pub listeners: Vec<Listener>,
    /// In the order of the configuration.
    pub routes: Vec<Route>,
    /// By name.
    pub upstreams: BTreeMap<String, Vec<Backend>>,
    /// Every use of a plugin.
    pub plugins: Vec<Plugin>,
}

/// What a worker has counted.
#[derive(Debug, Serialize)]
pub struct Worker {
    /// Client connections accepted.
    pub connections: u64,
    /// Client connections open now.
    pub connections_open: u64,
    /// Exchanges that ended.
    pub exchanges: u64,
    /// Exchanges under way now.
    pub exchanges_in_flight: u64,
}

/// A listening address.
#[derive(Debug, Serialize)]
pub struct Listener {
    /// As configured.
    pub address: String,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// Whether it speaks HTTP/2.
    pub http2: bool,
}

/// A route.
#[derive(Debug, Serialize)]
pub struct Route {
    /// As configured, or `route[N]`.
    pub name: String,
    /// Empty for every host.
    pub hosts: Vec<String>,
    /// As a pattern: `/prefix/*`, `=/exact`, `/users/{id}`.
    pub path: String,
    /// The chain, in order.
    pub plugins: Vec<String>,
    /// Where requests go, unless the host answers.
    pub upstream: Option<String>,
}

/// A backend of an upstream.
#[derive(Debug, Serialize)]
pub struct Backend {
    /// As configured.
    pub address: String,
    /// Its share.
    pub weight: u32,
    /// Neither ejected nor found dead by probes.
    pub healthy: bool,
    /// Requests that it is working on.
    pub in_flight: u32,
    /// Moving average of the time to its first byte; null until it has answered once.
    pub latency_ms: Option<f64>,
}

/// A use of a plugin.
#[derive(Debug, Serialize)]
pub struct Plugin {
    /// As configured.
    pub name: String,
}

impl Status {
    /// Of what runs now.
    #[must_use]
    pub fn of(snapshot: &Snapshot, metrics: &Metrics) -> Self {
        let uptime = SystemTime::now().duration_since(metrics.started()).unwrap_or_default();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: uptime.as_secs_f64(),
            generation: snapshot.generation,
            config: snapshot.config.source.path.display().to_string(),
            workers: workers(metrics),
            listeners: snapshot.config.listeners.iter().map(Listener::of).collect(),
            routes: snapshot.config.routes.iter().map(Route::of).collect(),
            upstreams: snapshot.upstreams.iter().map(|(name, upstream)| (name.clone(), backends(upstream))).collect(),
            plugins: snapshot.plugins.iter().map(|plugin| Plugin::of(plugin)).collect(),
        }
    }
}

fn workers(metrics: &Metrics) -> Vec<Worker> {
    let workers = metrics.by_worker().into_iter();
    workers
        .map(|totals| Worker {
            connections: totals.connections,
            connections_open: totals.connections_open,
            exchanges: totals.exchanges,
            exchanges_in_flight: totals.exchanges_in_flight,
        })
        .collect()
}

fn backends(upstream: &Upstream) -> Vec<Backend> {
    let backends = upstream.backends.iter();
    backends
        .map(|backend| Backend {
            address: backend.address.to_string(),
            weight: backend.weight,
            healthy: backend.healthy(),
            in_flight: backend.in_flight.load(Ordering::Relaxed),
            latency_ms: match backend.latency_nanos.load(Ordering::Relaxed) {
                0 => None,
                nanos => Some(nanos as f64 / 1e6),
            },
        })
        .collect()
}

impl Listener {
    fn of(listener: &config::Listener) -> Self {
        Self { address: listener.address.to_string(), tls: !listener.certificates.is_empty(), http2: listener.http2 }
    }
}

impl Route {
    fn of(route: &config::Route) -> Self {
        Self {
            name: route.name.clone(),
            hosts: route.hosts.iter().map(|host| host.value.clone()).collect(),
            path: match &route.path.value {
                PathMatch::Prefix(prefix) => format!("{}/*", prefix.trim_end_matches('/')),
                PathMatch::Exact(path) => format!("={path}"),
                PathMatch::Pattern(pattern) => pattern.clone(),
            },
            plugins: route.plugins.iter().map(|plugin| plugin.name.value.clone()).collect(),
            upstream: match &route.action {
                config::Action::Upstream(name) => Some(name.value.clone()),
                config::Action::Respond(_) => None,
            },
        }
    }
}

impl Plugin {
    fn of(plugin: &PluginUse) -> Self {
        Self { name: plugin.name.to_string() }
    }
}
