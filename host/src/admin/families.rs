//! Metrics of what is shared by all workers: backends and plugins.

use std::sync::atomic::Ordering;

use crate::metrics::{Kind, Metrics, Text};
use crate::snapshot::Snapshot;

/// Appends all metrics of the host in Prometheus' text format. What plugins count themselves is not among them.
pub fn render(snapshot: &Snapshot, metrics: &Metrics, out: &mut String) {
    metrics.render(out);
    let mut text = Text::new(out);
    text.family("lockgate_config_generation", Kind::Gauge, "Counts the configurations that were taken, from 1.");
    text.count("", &[], snapshot.generation);
    render_backends(snapshot, &mut text);
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
