//! Metrics of what is shared by all workers: backends and plugins.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use crate::metrics::{CLASSES, Kind, Metrics, Text};
use crate::plugin::{Hook, Plugins, UseStats};
use crate::snapshot::Snapshot;
use crate::tenant::{Quota, Usage};

/// Appends all metrics of the host in Prometheus' text format. What plugins count themselves is not among them.
pub fn render(snapshot: &Snapshot, metrics: &Metrics, plugins: &Plugins, out: &mut String) {
    metrics.render(out);
    let mut text = Text::new(out);
    text.family("lockgate_config_generation", Kind::Gauge, "Counts the configurations that were taken, from 1.");
    text.count("", &[], snapshot.generation);
    render_backends(snapshot, &mut text);
    render_plugins(&stats(snapshot), &mut text);
    render_swaps(snapshot, plugins, &mut text);
    render_tenants(snapshot, &mut text);
}

fn render_backends(snapshot: &Snapshot, text: &mut Text<'_>) {
    let backends = snapshot.all_upstreams().flat_map(|(tenant, name, upstream)| {
        upstream.backends.iter().map(move |backend| {
            let labels = Labels::of(tenant, [("upstream", name), ("backend", &*backend.address)]);
            (labels, backend)
        })
    });
    text.family("lockgate_backend_healthy", Kind::Gauge, "1 if a backend is neither ejected nor found dead by probes.");
    for (labels, backend) in backends.clone() {
        text.count("", &labels, backend.healthy().into());
    }
    text.family("lockgate_upstream_panic", Kind::Gauge, "1 if so few backends are healthy that all are used.");
    for (tenant, name, upstream) in snapshot.all_upstreams() {
        text.count("", &Labels::of(tenant, [("upstream", name)]), upstream.panicking().into());
    }
    text.family("lockgate_backend_in_flight", Kind::Gauge, "Requests that a backend is working on.");
    for (labels, backend) in backends.clone() {
        text.count("", &labels, backend.in_flight.load(Ordering::Relaxed).into());
    }
    text.family(
        "lockgate_backend_latency_seconds",
        Kind::Gauge,
        "Moving average of the time to a backend's first byte.",
    );
    for (labels, backend) in backends {
        text.sample("", &labels, backend.latency_nanos.load(Ordering::Relaxed) as f64 / 1e9);
    }
}

/// What tenants have used and were refused.
fn render_tenants(snapshot: &Snapshot, text: &mut Text<'_>) {
    if snapshot.tenants.is_empty() {
        return;
    }
    let tenants: Vec<_> = snapshot.tenants.iter().map(|(name, it)| (name.as_str(), it, it.tenant.usage())).collect();
    text.family("lockgate_tenant_serving", Kind::Gauge, "1 if a tenant has a configuration that is served.");
    for (name, tenancy, _) in &tenants {
        text.count("", &[("tenant", name)], tenancy.served.is_some().into());
    }
    text.family("lockgate_tenant_refused", Kind::Gauge, "1 if a tenant's file is wrong, and not what is served.");
    for (name, tenancy, _) in &tenants {
        text.count("", &[("tenant", name)], tenancy.refused.into());
    }
    text.family("lockgate_tenant_exchanges_total", Kind::Counter, "Exchanges that ended, by class of the status sent.");
    for (name, _, usage) in &tenants {
        for (class, count) in CLASSES.into_iter().zip(usage.exchanges).filter(|(_, count)| *count > 0) {
            text.count("", &[("tenant", name), ("class", class)], count);
        }
    }
    text.family("lockgate_tenant_refusals_total", Kind::Counter, "How often a quota was reached.");
    for (name, _, usage) in &tenants {
        for (quota, count) in Quota::ALL.into_iter().zip(usage.refused).filter(|(_, count)| *count > 0) {
            text.count("", &[("tenant", name), ("quota", quota.name())], count);
        }
    }
    let numbers: [Number; 4] = [
        ("lockgate_tenant_exchanges_in_flight", Kind::Gauge, "Exchanges under way now.", |it| it.in_flight),
        ("lockgate_tenant_request_body_bytes_total", Kind::Counter, "Bytes of requests' bodies.", |it| {
            it.request_bytes
        }),
        ("lockgate_tenant_response_body_bytes_total", Kind::Counter, "Bytes of bodies.", |it| it.response_bytes),
        ("lockgate_tenant_plugin_memory_bytes", Kind::Gauge, "Bytes of plugins' linear memories.", |it| it.memory),
    ];
    for (family, kind, help, value) in numbers {
        text.family(family, kind, help);
        for (name, _, usage) in &tenants {
            text.count("", &[("tenant", name)], value(usage));
        }
    }
    text.family("lockgate_tenant_plugin_cpu_seconds_total", Kind::Counter, "Time that plugins computed; an estimate.");
    for (name, _, usage) in &tenants {
        text.sample("", &[("tenant", name)], usage.cpu_nanos as f64 / 1e9);
    }
}

/// A family, and what its samples show of a tenant's usage.
type Number = (&'static str, Kind, &'static str, fn(&Usage) -> u64);

/// Labels of a sample, with the tenant's first if there is one.
#[derive(Clone)]
struct Labels<'a>(SmallVec<[(&'a str, &'a str); 4]>);

impl<'a> Labels<'a> {
    fn of<const N: usize>(tenant: Option<&'a str>, labels: [(&'a str, &'a str); N]) -> Self {
        Self(tenant.map(|tenant| ("tenant", tenant)).into_iter().chain(labels).collect())
    }
}

impl<'a> std::ops::Deref for Labels<'a> {
    type Target = [(&'a str, &'a str)];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// By tenant and name.
type Stats<'a> = BTreeMap<(Option<&'a str>, String), UseStats>;

/// The stats of each plugin. A route may configure a plugin anew, which makes another use of the same name: these are one
/// series, since nothing that lasts would tell them apart.
fn stats(snapshot: &Snapshot) -> Stats<'_> {
    let mut plugins = Stats::new();
    for (tenant, plugin) in snapshot.all_plugins() {
        let stats = plugin.stats();
        match plugins.entry((tenant, stats.name.clone())) {
            Entry::Vacant(entry) => {
                entry.insert(stats);
            }
            Entry::Occupied(mut entry) => add(entry.get_mut(), stats),
        }
    }
    plugins
}

fn add(sum: &mut UseStats, other: UseStats) {
    for (hook, count) in other.calls {
        match sum.calls.iter_mut().find(|(known, _)| *known == hook) {
            Some((_, known)) => *known += count,
            None => sum.calls.push((hook, count)),
        }
    }
    for (hook, cause, count) in other.failures {
        match sum.failures.iter_mut().find(|(known, why, _)| (*known, *why) == (hook, cause)) {
            Some((_, _, known)) => *known += count,
            None => sum.failures.push((hook, cause, count)),
        }
    }
    sum.cpu_nanos += other.cpu_nanos;
    sum.instances += other.instances;
    sum.instances_made += other.instances_made;
    sum.log_lines_dropped += other.log_lines_dropped;
    sum.interruptions += other.interruptions;
    sum.body_held += other.body_held;
    sum.quarantined = sum.quarantined.max(other.quarantined);
    sum.quarantines += other.quarantines;
    sum.ticks_quarantined = sum.ticks_quarantined.max(other.ticks_quarantined);
    sum.tick_quarantines += other.tick_quarantines;
    add_outcomes(&mut sum.http, other.http);
    add_outcomes(&mut sum.kv, other.kv);
    add_outcomes(&mut sum.recorded, other.recorded);
    // All uses of a plugin share its key space.
    sum.key_space = sum.key_space.or(other.key_space);
}

fn add_outcomes(sum: &mut Vec<(&'static str, u64)>, other: Vec<(&'static str, u64)>) {
    for (outcome, count) in other {
        match sum.iter_mut().find(|(known, _)| *known == outcome) {
            Some((_, known)) => *known += count,
            None => sum.push((outcome, count)),
        }
    }
}

/// What plugins count themselves is called `lockgate_plugin_NAME`, so nothing of ours begins like that.
fn render_plugins(plugins: &Stats<'_>, text: &mut Text<'_>) {
    text.family("lockgate_hook_calls_total", Kind::Counter, "Calls of a plugin's hooks.");
    for ((tenant, name), stats) in plugins {
        for (hook, count) in &stats.calls {
            text.count("", &Labels::of(*tenant, [("plugin", name), ("hook", hook.name())]), *count);
        }
    }
    text.family("lockgate_hook_failures_total", Kind::Counter, "Calls that failed, by cause.");
    for ((tenant, name), stats) in plugins {
        for (hook, cause, count) in &stats.failures {
            text.count(
                "",
                &Labels::of(*tenant, [("plugin", name), ("hook", hook.name()), ("cause", cause.name())]),
                *count,
            );
        }
    }
    text.family("lockgate_hook_cpu_seconds_total", Kind::Counter, "Time that a plugin's calls took; an estimate.");
    for ((tenant, name), stats) in plugins {
        text.sample("", &Labels::of(*tenant, [("plugin", name)]), stats.cpu_nanos as f64 / 1e9);
    }
    text.family("lockgate_instances", Kind::Gauge, "Instances of a plugin, on all workers.");
    for ((tenant, name), stats) in plugins {
        text.count("", &Labels::of(*tenant, [("plugin", name)]), stats.instances);
    }
    text.family("lockgate_instances_made_total", Kind::Counter, "Instances of a plugin that were made.");
    for ((tenant, name), stats) in plugins {
        text.count("", &Labels::of(*tenant, [("plugin", name)]), stats.instances_made);
    }
    text.family("lockgate_hook_log_lines_dropped_total", Kind::Counter, "Log lines over a plugin's limit.");
    for ((tenant, name), stats) in plugins {
        text.count("", &Labels::of(*tenant, [("plugin", name)]), stats.log_lines_dropped);
    }
    text.family("lockgate_hook_interruptions_total", Kind::Counter, "Ticks that found a plugin still computing.");
    for ((tenant, name), stats) in plugins {
        text.count("", &Labels::of(*tenant, [("plugin", name)]), stats.interruptions);
    }
    text.family("lockgate_body_held_bytes", Kind::Gauge, "Bytes of requests' bodies that are held for a plugin.");
    for ((tenant, name), stats) in plugins {
        text.count("", &Labels::of(*tenant, [("plugin", name)]), stats.body_held);
    }
    text.family("lockgate_quarantined", Kind::Gauge, "1 while a plugin is set aside because it kept failing.");
    for ((tenant, name), stats) in plugins {
        text.count("", &Labels::of(*tenant, [("plugin", name)]), stats.quarantined.is_some().into());
    }
    text.family("lockgate_quarantines_total", Kind::Counter, "Times that a plugin was set aside.");
    for ((tenant, name), stats) in plugins {
        text.count("", &Labels::of(*tenant, [("plugin", name)]), stats.quarantines);
    }
    render_ticks(plugins, text);
    render_outside(plugins, text);
}

/// Of plugins that work in the background.
fn render_ticks(plugins: &Stats<'_>, text: &mut Text<'_>) {
    let ticking = || plugins.iter().filter(|(_, stats)| stats.hooks.contains(&Hook::OnTick));
    text.family(
        "lockgate_ticks_quarantined",
        Kind::Gauge,
        "1 while a plugin's ticks are set aside, for they kept failing.",
    );
    for ((tenant, name), stats) in ticking() {
        text.count("", &Labels::of(*tenant, [("plugin", name)]), stats.ticks_quarantined.is_some().into());
    }
    text.family("lockgate_tick_quarantines_total", Kind::Counter, "Times that a plugin's ticks were set aside.");
    for ((tenant, name), stats) in ticking() {
        text.count("", &Labels::of(*tenant, [("plugin", name)]), stats.tick_quarantines);
    }
}

/// What plugins do outside their sandbox.
fn render_outside(plugins: &Stats<'_>, text: &mut Text<'_>) {
    text.family("lockgate_http_client_calls_total", Kind::Counter, "HTTP requests of plugins, by outcome.");
    for ((tenant, name), stats) in plugins {
        for (outcome, count) in &stats.http {
            text.count("", &Labels::of(*tenant, [("plugin", name), ("outcome", outcome)]), *count);
        }
    }
    text.family("lockgate_kv_operations_total", Kind::Counter, "Operations on plugins' key spaces, by outcome.");
    for ((tenant, name), stats) in plugins {
        for (outcome, count) in &stats.kv {
            text.count("", &Labels::of(*tenant, [("plugin", name), ("outcome", outcome)]), *count);
        }
    }
    text.family("lockgate_recorded_total", Kind::Counter, "Exchanges to be recorded, by what became of them.");
    for ((tenant, name), stats) in plugins {
        for (outcome, count) in &stats.recorded {
            text.count("", &Labels::of(*tenant, [("plugin", name), ("outcome", outcome)]), *count);
        }
    }
    let spaces = plugins.iter().filter_map(|((tenant, name), stats)| {
        Some((Labels::of(*tenant, [("plugin", name.as_str())]), stats.key_space?))
    });
    let spaces: Vec<_> = spaces.collect();
    text.family("lockgate_kv_bytes", Kind::Gauge, "Bytes of a plugin's key space in memory.");
    for (labels, space) in &spaces {
        text.count("", labels, space.bytes as u64);
    }
    text.family("lockgate_kv_keys", Kind::Gauge, "Keys of a plugin's key space in memory.");
    for (labels, space) in &spaces {
        text.count("", labels, space.keys as u64);
    }
    text.family("lockgate_kv_evicted_total", Kind::Counter, "Keys that gave way to others.");
    for (labels, space) in &spaces {
        text.count("", labels, space.evicted);
    }
}

fn render_swaps(snapshot: &Snapshot, plugins: &Plugins, text: &mut Text<'_>) {
    let names: BTreeSet<_> = snapshot.all_plugins().map(|(tenant, it)| (tenant, &*it.name, it.full_name())).collect();
    let help = "New versions of a plugin, or configurations, that took the place of the old or were refused.";
    text.family("lockgate_swaps_total", Kind::Counter, help);
    for (tenant, name, full_name) in &names {
        let swaps = plugins.swaps_of(full_name);
        for (result, count) in [("taken", swaps.taken), ("refused", swaps.refused)] {
            text.count("", &Labels::of(*tenant, [("plugin", *name), ("result", result)]), count);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::admin::status::tests::snapshot;

    #[test]
    fn no_family_is_announced_twice_and_no_series_shown_twice() {
        let mut text = String::new();
        let (snapshot, plugins) = snapshot();
        render(&snapshot, &Metrics::new(), &plugins, &mut text);
        let mut seen = HashSet::new();
        for line in text.lines() {
            let what = match line.strip_prefix("# ") {
                Some(comment) => comment.splitn(3, ' ').take(2).collect::<Vec<_>>().join(" "),
                None => line.rsplit_once(' ').map_or_else(String::new, |(series, _)| series.to_owned()),
            };
            assert!(seen.insert(what), "{line} is there twice");
            assert!(!line.contains("lockgate_plugin_"), "{line} is for plugins to say");
        }
        for series in [
            "lockgate_config_generation",
            "lockgate_backend_healthy{upstream=\"app\",backend=\"http://127.0.0.1:3001\"}",
            "lockgate_hook_calls_total{plugin=\"profiler\",hook=\"on-response-finish\"}",
            "lockgate_quarantined{plugin=\"profiler\"}",
            "lockgate_swaps_total{plugin=\"profiler\",result=\"refused\"}",
        ] {
            assert!(seen.contains(series), "no {series}");
        }
    }
}
