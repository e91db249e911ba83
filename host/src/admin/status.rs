//! What runs, and how it is doing, as `/status` shows it. Configurations of plugins are left out: they may hold secrets.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use serde::Serialize;

use crate::config::{self, PathMatch};
use crate::metrics::{CLASSES, Metrics};
use crate::plugin::{PluginUse, Plugins};
use crate::snapshot::{self, Snapshot, Tenancy};
use crate::tenant::Quota;
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
    /// By name.
    pub tenants: BTreeMap<String, Tenant>,
    /// How the last reload went; null if there was none.
    pub last_reload: Option<Reload>,
}

/// How a reload went.
#[derive(Debug, Clone, Serialize)]
pub struct Reload {
    /// When, in seconds since the epoch.
    pub at: u64,
    /// `SIGHUP`, `a file changed`, or what an operator asked for.
    pub why: String,
    /// Whether the new configuration was taken.
    pub ok: bool,
    /// What is different, or what is wrong.
    pub says: String,
}

/// A tenant, with what is its own.
#[derive(Debug, Serialize)]
pub struct Tenant {
    /// Whether it serves anything.
    pub serving: bool,
    /// Whether its file is wrong; what it serves is then what it said before.
    pub refused: bool,
    /// Exchanges that ended, by class of the status sent.
    pub exchanges: BTreeMap<&'static str, u64>,
    /// Exchanges under way now.
    pub exchanges_in_flight: u64,
    /// Time that its plugins have computed; an estimate.
    pub plugin_cpu_seconds: f64,
    /// Bytes of its plugins' memories.
    pub plugin_memory_bytes: u64,
    /// How often each quota was reached.
    pub refusals: BTreeMap<&'static str, u64>,
    /// In the order of its file.
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
    /// As configured, with the port that the system chose for port 0.
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
    /// SHA-256 of the component, in hex.
    pub digest: String,
    /// Calls of each hook that the component exports.
    pub calls: BTreeMap<&'static str, u64>,
    /// Time that its calls took; an estimate.
    pub cpu_seconds: f64,
    /// What went wrong.
    pub failures: Vec<Failure>,
    /// Instances that exist now, on all workers.
    pub instances: u64,
    /// Instances that were made.
    pub instances_made: u64,
    /// Versions that took the place of others.
    pub swaps: u64,
    /// What keeps a newer version from taking this one's place; null if nothing does.
    pub swap_refused: Option<String>,
    /// For how long it is set aside because it kept failing; null if it is not.
    pub quarantined_seconds: Option<f64>,
    /// How much of that time is left; 0 once an exchange may try whether it is well again.
    pub quarantine_left_seconds: f64,
    /// How often it has been set aside.
    pub quarantines: u64,
    /// For how long its ticks are set aside because they kept failing; null if they are not.
    pub ticks_quarantined_seconds: Option<f64>,
}

/// How often a hook failed for one cause.
#[derive(Debug, Serialize)]
pub struct Failure {
    /// As in WIT.
    pub hook: &'static str,
    /// `trap`, `cpu`, `wall`, `memory`, `table`, `host_calls`, `bad_answer`, `capacity` or `quarantined`.
    pub cause: &'static str,
    /// How often.
    pub count: u64,
}

impl Status {
    /// Of what runs now.
    #[must_use]
    pub fn of(snapshot: &Snapshot, metrics: &Metrics, plugins: &Plugins) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: metrics.uptime().as_secs_f64(),
            generation: snapshot.generation,
            config: snapshot.config.source.path.display().to_string(),
            workers: workers(metrics),
            listeners: snapshot.listeners.iter().map(Listener::of).collect(),
            routes: snapshot.config.routes.iter().map(Route::of).collect(),
            upstreams: snapshot.upstreams.iter().map(|(name, upstream)| (name.clone(), backends(upstream))).collect(),
            plugins: snapshot.plugins.iter().map(|plugin| Plugin::of(plugin, plugins)).collect(),
            last_reload: None,
            tenants: (snapshot.tenants.iter())
                .map(|(name, tenancy)| (name.clone(), Tenant::of(tenancy, plugins)))
                .collect(),
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

impl Tenant {
    fn of(tenancy: &Tenancy, plugins: &Plugins) -> Self {
        let usage = tenancy.tenant.usage();
        let served = tenancy.served.as_ref();
        let parts = served.map(|served| &served.parts);
        let upstreams = parts.into_iter().flat_map(|parts| &parts.upstreams);
        Self {
            serving: served.is_some(),
            refused: tenancy.refused,
            exchanges: CLASSES.into_iter().zip(usage.exchanges).filter(|(_, count)| *count > 0).collect(),
            exchanges_in_flight: usage.in_flight,
            plugin_cpu_seconds: usage.cpu_nanos as f64 / 1e9,
            plugin_memory_bytes: usage.memory,
            refusals: Quota::ALL
                .map(Quota::name)
                .into_iter()
                .zip(usage.refused)
                .filter(|(_, count)| *count > 0)
                .collect(),
            routes: served.into_iter().flat_map(|served| &served.config.routes).map(Route::of).collect(),
            upstreams: upstreams.map(|(name, upstream)| (name.clone(), backends(upstream))).collect(),
            plugins: parts.into_iter().flat_map(|parts| &parts.plugins).map(|it| Plugin::of(it, plugins)).collect(),
        }
    }
}

impl Listener {
    fn of(listener: &snapshot::Listener) -> Self {
        Self { address: listener.address.to_string(), tls: listener.tls.is_some(), http2: listener.http2 }
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
    fn of(plugin: &PluginUse, plugins: &Plugins) -> Self {
        let stats = plugin.stats();
        let swaps = plugins.swaps_of(&plugin.full_name());
        let failures = stats.failures.iter();
        Self {
            name: stats.name,
            digest: stats.digest,
            calls: stats.calls.iter().map(|(hook, count)| (hook.name(), *count)).collect(),
            cpu_seconds: stats.cpu_nanos as f64 / 1e9,
            failures: failures
                .map(|(hook, cause, count)| Failure { hook: hook.name(), cause: cause.name(), count: *count })
                .collect(),
            instances: stats.instances,
            instances_made: stats.instances_made,
            swaps: swaps.taken,
            swap_refused: swaps.why,
            quarantined_seconds: stats.quarantined.map(|time| time.as_secs_f64()),
            quarantine_left_seconds: stats.quarantine_left.as_secs_f64(),
            quarantines: stats.quarantines,
            ticks_quarantined_seconds: stats.ticks_quarantined.map(|time| time.as_secs_f64()),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::config::Source;

    /// A snapshot with two routes, two backends and a plugin that is used in two ways.
    pub(in crate::admin) fn snapshot() -> (Snapshot, Plugins) {
        let plugins = Plugins::new().unwrap();
        let text = r#"
            [[listener]]
            address = "127.0.0.1:8080"
            [upstream.app]
            backends = ["http://127.0.0.1:3000", { address = "http://127.0.0.1:3001", weight = 3 }]
            [plugin.profiler]
            bundled = "profiler"
            config = { log = "off" }
            [[route]]
            name = "api"
            hosts = ["example.com"]
            path = "/api"
            plugins = ["profiler"]
            upstream = "app"
            [[route]]
            plugins = [{ name = "profiler", config = { log = "slow", slow_threshold_ms = 5 } }]
            respond = { body = "hello" }
        "#;
        let config = config::parse(Source { path: "x.toml".into(), text: text.to_owned() }).unwrap();
        (snapshot::build(config, None, &plugins).unwrap(), plugins)
    }

    #[test]
    fn it_shows_what_runs() {
        let metrics = Metrics::new();
        metrics.worker().exchange_started();
        let (snapshot, plugins) = snapshot();
        let backend = &snapshot.upstreams["app"].backends[1];
        backend.in_flight.store(2, Ordering::Relaxed);
        backend.latency_nanos.store(1_500_000, Ordering::Relaxed);
        let status = serde_json::to_value(Status::of(&snapshot, &metrics, &plugins)).unwrap();
        assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(status["generation"], 1);
        assert_eq!(status["config"], "x.toml");
        assert_eq!(status["workers"][0]["exchanges_in_flight"], 1);
        let listeners = serde_json::json!([{ "address": "127.0.0.1:8080", "tls": false, "http2": true }]);
        assert_eq!(status["listeners"], listeners);
        let api = serde_json::json!({
            "name": "api", "hosts": ["example.com"], "path": "/api/*", "plugins": ["profiler"], "upstream": "app"
        });
        assert_eq!(status["routes"][0], api);
        assert_eq!(status["routes"][1]["upstream"], serde_json::Value::Null);
        let backends = serde_json::json!([
            { "address": "http://127.0.0.1:3000", "weight": 1, "healthy": true, "in_flight": 0, "latency_ms": null },
            { "address": "http://127.0.0.1:3001", "weight": 3, "healthy": true, "in_flight": 2, "latency_ms": 1.5 },
        ]);
        assert_eq!(status["upstreams"]["app"], backends);
        assert_eq!(status["plugins"].as_array().unwrap().len(), 2);
        let plugin = &status["plugins"][0];
        assert_eq!(plugin["name"], "profiler");
        assert_eq!(plugin["digest"].as_str().unwrap().len(), 64);
        assert_eq!(plugin["calls"]["on-response-finish"], 0);
        assert!(!status.to_string().contains("slow_threshold"), "configurations of plugins may hold secrets");
    }
}
