//! What all workers share of one use of a plugin.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::clock::Clock;
use super::component::Compiled;
use super::failure::LogLimit;
use super::grants::Outside;
use super::imports::counters::Counters;
use super::imports::metrics::Registry;
use super::quarantine::Quarantine;
use super::stats::Stats;
use super::ticks::Ticking;
use crate::config::{Isolation, OnFailure, PluginLimits, Tick};
use crate::tenant::Tenant;

/// What all workers share of one use of a plugin. Instances hold it, and it holds no instance. What every call looks at stands
/// together, as in [`super::host::Host`].
#[repr(C)]
pub(super) struct Core {
    /// Where a worker's pools keep the instances of this use; never the same as that of another use that lives.
    pub(super) index: usize,
    /// The component.
    pub(super) compiled: Arc<Compiled>,
    /// What interrupts its guests.
    pub(super) clock: Arc<Clock>,
    /// Whose it is; none for the operator.
    pub(super) tenant: Option<Arc<Tenant>>,
    /// Whether calls run on the worker's own stack. They then cannot be put aside, so their budget is the longest that
    /// a worker can stall.
    pub(super) plain: bool,
    pub(super) isolation: Isolation,
    pub(super) on_failure: OnFailure,
    /// Whether no configuration uses it any more: instances that come back are dropped.
    pub(super) retired: AtomicBool,
    pub(super) quarantine: Quarantine,
    pub(super) limits: PluginLimits,
    /// The plugin's name in the configuration.
    pub(super) name: Arc<str>,
    /// Never the same twice in a process.
    pub(super) id: u64,
    /// What `configure` is given.
    pub(super) config: String,
    /// What it may reach outside its sandbox.
    pub(super) outside: Outside,
    /// These three are handed down from one version to the next: a swap loses nothing that was counted.
    pub(super) counters: Arc<Counters>,
    pub(super) series: Arc<Registry>,
    pub(super) stats: Arc<Stats>,
    /// How often it ticks, and within which limits.
    pub(super) tick: Tick,
    pub(super) ticking: Ticking,
    /// Bytes of requests' bodies that are held for it, on all workers.
    pub(super) held: AtomicU64,
    pub(super) log_limit: LogLimit,
}

impl Core {
    pub(super) fn new(
        (tenant, name): (Option<&Arc<Tenant>>, &str),
        plugin: &crate::config::Plugin,
        config: String,
        compiled: Arc<Compiled>,
        clock: &Arc<Clock>,
        outside: Outside,
        predecessor: Option<&Self>,
    ) -> Self {
        let mut limits = plugin.limits.clone();
        if outside.stand_in.is_some() {
            // All is called for the first time there, maybe while the machine builds something: what shall pass must pass.
            limits.cpu = limits.cpu.max(SHORTEST_PROOF);
        }
        Self {
            name: name.into(),
            tenant: tenant.cloned(),
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            index: INDICES.lock().unwrap_or_else(PoisonError::into_inner).take(),
            plain: plugin.limits.cpu <= LONGEST_PLAIN && !compiled.waits,
            compiled,
            clock: clock.clone(),
            config,
            limits,
            on_failure: plugin.on_failure,
            isolation: plugin.isolation,
            outside: outside.succeeding(predecessor.map(|core| &core.outside)),
            counters: predecessor.map(|core| Arc::clone(&core.counters)).unwrap_or_default(),
            series: predecessor.map(|core| Arc::clone(&core.series)).unwrap_or_default(),
            stats: predecessor.map(|core| Arc::clone(&core.stats)).unwrap_or_default(),
            held: AtomicU64::new(0),
            quarantine: Quarantine::new(plugin.quarantine.clone()),
            tick: plugin.tick.unwrap_or_default(),
            ticking: Ticking::default(),
            log_limit: LogLimit::default(),
            retired: AtomicBool::new(false),
        }
    }

    /// For the log.
    pub(super) fn tenant_name(&self) -> Option<&str> {
        self.tenant.as_ref().map(|tenant| &*tenant.name)
    }
}

impl Core {
    /// The same for those that take each other's places, and for nobody else that lives.
    pub(super) fn line(&self) -> *const Stats {
        Arc::as_ptr(&self.stats)
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        // Every pool holds its core, so no worker has anything left at that index.
        INDICES.lock().unwrap_or_else(PoisonError::into_inner).give_back(self.index);
    }
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("name", &self.name).field("index", &self.index).finish_non_exhaustive()
    }
}

/// The longest budget with which a guest may run on the worker's own stack: the time before the first tick, which is not
/// charged, comes on top, so the worker stalls for twice as long at most.
const LONGEST_PLAIN: Duration = Duration::from_millis(1);

/// What calls may compute, however little `limits.cpu` says, where no worker makes them: in the proof that a plugin works, and
/// in scenarios.
pub(super) const SHORTEST_PROOF: Duration = Duration::from_millis(50);

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

static INDICES: Mutex<Indices> = Mutex::new(Indices { next: 0, free: Vec::new() });

/// Indices that are given to new cores. Those of old ones are used again, so that the workers' lists of pools do not grow with
/// every swap.
struct Indices {
    next: usize,
    free: Vec<usize>,
}

impl Indices {
    fn take(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        })
    }

    fn give_back(&mut self, index: usize) {
        self.free.push(index);
    }
}
