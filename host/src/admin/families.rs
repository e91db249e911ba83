//! Metrics of what is shared by all workers: backends and plugins.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use crate::metrics::{Kind, Metrics, Text};
use crate::plugin::{Plugins, UseStats};
use crate::snapshot::Snapshot;

/// Appends all metrics of the host in Prometheus' text format. What plugins count themselves is not among them.
pub fn render(snapshot: &Snapshot, metrics: &Metrics, plugins: &Plugins, out: &mut String) {
    metrics.render(out);
    let mut text = Text::new(out);
    text.family("lockgate_config_generation", Kind::Gauge, "Counts the configurations that were taken, from 1.");
    text.count("", &[], snapshot.generation);
    render_backends(snapshot, &mut text);
    render_plugins(&stats(snapshot), &mut text);
    render_swaps(snapshot, plugins, &mut text);
}

fn render_backends(snapshot: &Snapshot, text: &mut Text<'_>) {
    let backends = snapshot.upstreams.iter().flat_map(|(name, upstream)| {
        upstream
            .backends
            .iter()
            .map(move |backend| ([("upstream", name.as_str()), ("backend", &*backend.address)], backend))
    });
    text.family("lockgate_backend_healthy", Kind::Gauge, "1 if a backend is neither ejected nor found dead by probes.");
    for (labels, backend) in backends.clone() {
        text.count("", &labels, backend.healthy().into());
    }
    text.family("lockgate_upstream_panic", Kind::Gauge, "1 if so few backends are healthy that all are used.");
    for (name, upstream) in &snapshot.upstreams {
        text.count("", &[("upstream", name.as_str())], upstream.panicking().into());
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

/// The stats of each plugin. A route may configure a plugin anew, which makes another use of the same name: these are one
/// series, since nothing that lasts would tell them apart.
fn stats(snapshot: &Snapshot) -> BTreeMap<String, UseStats> {
    let mut plugins: BTreeMap<String, UseStats> = BTreeMap::new();
    for plugin in &snapshot.plugins {
        let stats = plugin.stats();
        match plugins.entry(stats.name.clone()) {
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
    sum.quarantined = sum.quarantined.max(other.quarantined);
}

/// What plugins count themselves is called `lockgate_plugin_NAME`, so nothing of ours begins like that.
fn render_plugins(plugins: &BTreeMap<String, UseStats>, text: &mut Text<'_>) {
    text.family("lockgate_hook_calls_total", Kind::Counter, "Calls of a plugin's hooks.");
    for (name, stats) in plugins {
        for (hook, count) in &stats.calls {
            text.count("", &[("plugin", name), ("hook", hook.name())], *count);
        }
    }
    text.family("lockgate_hook_failures_total", Kind::Counter, "Calls that failed, by cause.");
    for (name, stats) in plugins {
        for (hook, cause, count) in &stats.failures {
            text.count("", &[("plugin", name), ("hook", hook.name()), ("cause", cause.name())], *count);
        }
    }
    text.family("lockgate_hook_cpu_seconds_total", Kind::Counter, "Time that a plugin's calls took; an estimate.");
    for (name, stats) in plugins {
        text.sample("", &[("plugin", name)], stats.cpu_nanos as f64 / 1e9);
    }
    text.family("lockgate_instances", Kind::Gauge, "Instances of a plugin, on all workers.");
    for (name, stats) in plugins {
        text.count("", &[("plugin", name)], stats.instances);
    }
    text.family("lockgate_instances_made_total", Kind::Counter, "Instances of a plugin that were made.");
    for (name, stats) in plugins {
        text.count("", &[("plugin", name)], stats.instances_made);
    }
    text.family("lockgate_hook_log_lines_dropped_total", Kind::Counter, "Log lines over a plugin's limit.");
    for (name, stats) in plugins {
        text.count("", &[("plugin", name)], stats.log_lines_dropped);
    }
    text.family("lockgate_quarantined", Kind::Gauge, "1 while a plugin is set aside because it kept failing.");
    for (name, stats) in plugins {
        text.count("", &[("plugin", name)], stats.quarantined.is_some().into());
    }
}

fn render_swaps(snapshot: &Snapshot, plugins: &Plugins, text: &mut Text<'_>) {
    let names: BTreeSet<&str> = snapshot.plugins.iter().map(|plugin| &*plugin.name).collect();
    let help = "New versions of a plugin, or configurations, that took the place of the old or were refused.";
    text.family("lockgate_swaps_total", Kind::Counter, help);
    for name in names {
        let swaps = plugins.swaps_of(name);
        for (result, count) in [("taken", swaps.taken), ("refused", swaps.refused)] {
            text.count("", &[("plugin", name), ("result", result)], count);
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
