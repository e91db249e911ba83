//! What the admin server is asked about.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;

use crate::admin::{self, Readiness, Status};
use crate::metrics::Metrics;
use crate::plugin::Plugins;
use crate::snapshot::Snapshot;

/// What runs now.
#[derive(Debug)]
pub(super) struct State {
    snapshot: ArcSwap<Snapshot>,
    metrics: Arc<Metrics>,
    plugins: Arc<Plugins>,
    draining: AtomicBool,
}

impl State {
    pub(super) fn new(snapshot: Arc<Snapshot>, metrics: Arc<Metrics>, plugins: Arc<Plugins>) -> Self {
        Self { snapshot: ArcSwap::new(snapshot), metrics, plugins, draining: AtomicBool::new(false) }
    }

    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    pub(super) fn swap(&self, snapshot: Arc<Snapshot>) {
        self.snapshot.store(snapshot);
    }

    pub(super) fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    pub(super) fn plugins(&self) -> &Arc<Plugins> {
        &self.plugins
    }

    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }
}

impl admin::Source for State {
    fn render_metrics(&self, out: &mut String) {
        admin::render(&self.snapshot.load(), &self.metrics, out);
        self.plugins.expose(out);
    }

    fn ready(&self) -> Readiness {
        if self.draining.load(Ordering::Relaxed) {
            return Readiness::Not("draining".to_owned());
        }
        Readiness::Ready
    }

    fn status(&self) -> Status {
        Status::of(&self.snapshot.load(), &self.metrics)
    }
}
