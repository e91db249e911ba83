//! What all workers share of one use of a plugin.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::component::Compiled;
use super::engine::Clock;
use super::failure::LogLimit;
use super::imports::counters::Counters;
use super::imports::metrics::Registry;
use super::quarantine::Quarantine;
use super::stats::Stats;
use crate::config::{Isolation, OnFailure, PluginLimits};

/// What all workers share of one use of a plugin. Instances hold it, and it holds no instance.
pub(super) struct Core {
    /// The plugin's name in the configuration.
    pub(super) name: Arc<str>,
    /// Where a worker's pools keep the instances of this use; never the same twice in a process.
    pub(super) index: usize,
    /// The component.
    pub(super) compiled: Arc<Compiled>,
    /// What interrupts its guests.
    pub(super) clock: Arc<Clock>,
    /// What `configure` is given.
    pub(super) config: String,
    pub(super) limits: PluginLimits,
    pub(super) on_failure: OnFailure,
    pub(super) isolation: Isolation,
    /// Whether calls run on the worker's own stack. They then cannot be put aside, so their budget is the longest that
    /// a worker can stall.
    pub(super) plain: bool,
    pub(super) counters: Counters,
    pub(super) series: Registry,
    pub(super) stats: Stats,
    pub(super) quarantine: Quarantine,
    pub(super) log_limit: LogLimit,
    /// Whether no configuration uses it any more: instances that come back are dropped.
    pub(super) retired: AtomicBool,
}

impl Core {
    pub(super) fn new(
        name: &str,
        plugin: &crate::config::Plugin,
        config: String,
        compiled: Arc<Compiled>,
        clock: &Arc<Clock>,
    ) -> Self {
        Self {
            name: name.into(),
            index: NEXT_INDEX.fetch_add(1, Ordering::Relaxed),
            compiled,
            clock: clock.clone(),
            config,
            limits: plugin.limits.clone(),
            on_failure: plugin.on_failure,
            isolation: plugin.isolation,
            plain: plugin.limits.cpu <= LONGEST_STALL,
            counters: Counters::default(),
            series: Registry::default(),
            stats: Stats::default(),
            quarantine: Quarantine::default(),
            log_limit: LogLimit::default(),
            retired: AtomicBool::new(false),
        }
    }
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("name", &self.name).field("index", &self.index).finish_non_exhaustive()
    }
}

/// How long one guest may keep a worker from its other work.
const LONGEST_STALL: Duration = Duration::from_millis(2);

static NEXT_INDEX: AtomicUsize = AtomicUsize::new(0);
