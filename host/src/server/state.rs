//! What the admin server is asked about.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::mpsc;

use crate::admin::{self, Action, Readiness, Reload, Status};
use crate::metrics::Metrics;
use crate::plugin::Plugins;
use crate::snapshot::{Snapshot, Token};

/// What runs now.
#[derive(Debug)]
pub(super) struct State {
    snapshot: ArcSwap<Snapshot>,
    metrics: Arc<Metrics>,
    plugins: Arc<Plugins>,
    draining: AtomicBool,
    last_reload: Mutex<Option<Reload>>,
    actions: mpsc::Sender<Action>,
}

impl State {
    pub(super) fn new(
        snapshot: Arc<Snapshot>,
        metrics: Arc<Metrics>,
        plugins: Arc<Plugins>,
        actions: mpsc::Sender<Action>,
    ) -> Self {
        let draining = AtomicBool::new(false);
        Self { snapshot: ArcSwap::new(snapshot), metrics, plugins, draining, last_reload: Mutex::default(), actions }
    }

    /// How the last reload went.
    pub(super) fn reloaded(&self, reload: Reload) {
        *self.last_reload.lock().unwrap_or_else(PoisonError::into_inner) = Some(reload);
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
        admin::render(&self.snapshot.load(), &self.metrics, &self.plugins, out);
        self.plugins.expose(out);
    }

    fn ready(&self) -> Readiness {
        if self.draining.load(Ordering::Relaxed) {
            return Readiness::Not("draining".to_owned());
        }
        let snapshot = self.snapshot.load();
        if snapshot.config.admin.as_ref().is_some_and(|admin| admin.ready_fails_on_quarantine) {
            // Once it may be tried again we must be sent exchanges, or it would never come back.
            let aside = snapshot.plugins.iter().find(|plugin| !plugin.stats().quarantine_left.is_zero());
            if let Some(plugin) = aside {
                return Readiness::Not(format!("plugin {} is set aside", plugin.name));
            }
        }
        Readiness::Ready
    }

    fn status(&self) -> Status {
        let mut status = Status::of(&self.snapshot.load(), &self.metrics, &self.plugins);
        status.last_reload.clone_from(&self.last_reload.lock().unwrap_or_else(PoisonError::into_inner));
        status
    }

    fn token(&self) -> Option<Token> {
        self.snapshot.load().admin_token
    }

    fn act(&self, action: Action) -> bool {
        !self.draining.load(Ordering::Relaxed) && self.actions.try_send(action).is_ok()
    }
}
