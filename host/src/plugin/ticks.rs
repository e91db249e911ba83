//! Background work of plugins: `on-tick`, on a thread of its own, which no exchange waits for. Each use has one instance there,
//! and one tick at a time, also while another version takes its place.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use std::{fmt, io, thread};

use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep_until};

use super::PluginUse;
use super::core::Core;
use super::failure::tick_failed;
use super::grants::Reach;
use super::instance::{Fault, Instance};
use super::stats::{Hook, Stats, Tally};
use crate::config::Isolation;
use crate::kv::Connections;

/// The thread on which plugins tick; none until one wants to.
#[derive(Debug, Default)]
pub struct Ticks {
    serving: Option<mpsc::UnboundedSender<Vec<Arc<Core>>>>,
}

impl Ticks {
    /// These uses serve from now on, and no others: those that took the place of others tick in their stead, once a tick that
    /// is under way has ended.
    ///
    /// # Errors
    /// When the system refuses the thread or its runtime.
    pub fn follow<'a>(&mut self, uses: impl Iterator<Item = &'a Arc<PluginUse>>) -> io::Result<()> {
        let cores: Vec<_> = uses.filter(|plugin| plugin.has(Hook::OnTick)).map(|plugin| plugin.core.clone()).collect();
        if cores.is_empty() && self.serving.is_none() {
            return Ok(());
        }
        // A thread that has ended, which is a fault of ours, gives them back.
        let rest = match &self.serving {
            Some(serving) => serving.send(cores).err().map(|unsent| unsent.0),
            None => Some(cores),
        };
        if let Some(cores) = rest {
            let serving = start()?;
            let _ = serving.send(cores);
            self.serving = Some(serving);
        }
        Ok(())
    }

    /// No tick begins any more, and one that is under way is cut off.
    pub fn stop(&mut self) {
        self.serving = None;
    }
}

fn start() -> io::Result<mpsc::UnboundedSender<Vec<Arc<Core>>>> {
    let (serving, inbox) = mpsc::unbounded_channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name("plugin-ticks".into()).spawn(move || {
        let tasks = LocalSet::new();
        tasks.block_on(&runtime, run(inbox));
        // Tasks first, because they live on the runtime.
        drop(tasks);
        runtime.shutdown_background();
    })?;
    Ok(serving)
}

/// One use, and those that take its place after it.
struct Line {
    /// The use that ticks now.
    id: u64,
    line: *const Stats,
    serving: watch::Sender<Option<Arc<Core>>>,
}

async fn run(mut inbox: mpsc::UnboundedReceiver<Vec<Arc<Core>>>) {
    let connections = Rc::new(Connections::default());
    let mut lines: Vec<Line> = Vec::new();
    while let Some(cores) = inbox.recv().await {
        let mut before = std::mem::take(&mut lines);
        let mut new = Vec::new();
        for core in cores {
            match before.iter().position(|line| line.id == core.id) {
                Some(place) => lines.push(before.swap_remove(place)),
                None => new.push(core),
            }
        }
        for core in new {
            let (id, stats) = (core.id, core.line());
            let serving = match before.iter().position(|line| line.line == stats) {
                Some(place) => {
                    let serving = before.swap_remove(place).serving;
                    serving.send_replace(Some(core));
                    serving
                }
                None => {
                    let (serving, told) = watch::channel(Some(core));
                    tokio::task::spawn_local(tick(told, connections.clone()));
                    serving
                }
            };
            lines.push(Line { id, line: stats, serving });
        }
        for gone in before {
            gone.serving.send_replace(None);
        }
    }
}

/// The ticks of one use after another, each from when it serves until it does not.
async fn tick(mut serving: watch::Receiver<Option<Arc<Core>>>, connections: Rc<Connections>) {
    loop {
        let Some(core) = serving.borrow_and_update().clone() else { return };
        let mut ticker = Ticker::new(core, &connections);
        loop {
            ticker.tick().await;
            tokio::select! {
                biased;
                changed = serving.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
                () = sleep_until(ticker.next) => {}
            }
        }
    }
}

/// The ticks of one use, in one instance as long as that is sound.
pub struct Ticker {
    core: Arc<Core>,
    reach: Arc<Reach>,
    tally: Arc<Tally>,
    /// The instance of the tick before, if it is sound.
    instance: Option<Instance>,
    /// In a row.
    failures: u32,
    back_off: Duration,
    next: Instant,
}

impl fmt::Debug for Ticker {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Ticker").field("plugin", &self.core.name).finish_non_exhaustive()
    }
}

impl Ticker {
    /// Of a use that does not tick by itself.
    #[must_use]
    pub fn of(plugin: &PluginUse) -> Self {
        Self::new(plugin.core.clone(), &Connections::default())
    }

    fn new(core: Arc<Core>, connections: &Connections) -> Self {
        let (reach, tally) = (core.outside.reach(connections).into(), core.stats.tally());
        let (back_off, next) = (Duration::ZERO, Instant::now());
        Self { core, reach, tally, instance: None, failures: 0, back_off, next }
    }

    /// One tick. How it fails is in the use's numbers and in the log.
    pub async fn tick(&mut self) {
        let started = Instant::now();
        match self.call().await {
            Ok(()) => self.did_well(),
            Err(fault) => self.failed(&fault),
        }
        self.tally.live(usize::from(self.instance.is_some()));
        // One that takes too long leaves out those that should have come meanwhile.
        let next = started + self.core.tick.every.max(self.back_off);
        self.next = next.max(Instant::now() + SHORTEST_REST);
    }

    async fn call(&mut self) -> Result<(), Fault> {
        let core = self.core.clone();
        let mut instance = match self.instance.take() {
            Some(instance) => instance,
            None => self.make().await?,
        };
        let time = self.tally.call(Hook::OnTick).then(Instant::now);
        let outcome = instance.on_tick(&core.tick).await;
        let sampled = time.map(|time| time.elapsed());
        self.tally.sampled(sampled.map_or(0, nanos));
        if let (Some(tenant), Some(nanos)) = (&core.tenant, instance.computed(sampled)) {
            tenant.computed(nanos);
        }
        instance.exchanges += 1;
        if outcome.is_ok() && core.isolation == Isolation::Use && !instance.is_worn() {
            self.instance = Some(instance);
        }
        outcome
    }

    async fn make(&self) -> Result<Instance, Fault> {
        let started = Instant::now();
        let mut instance = Instance::new_on_fiber(&self.core).await?;
        instance.may_reach(self.reach.clone());
        self.tally.made(started.elapsed());
        Ok(instance)
    }

    fn did_well(&mut self) {
        self.failures = 0;
        self.back_off = Duration::ZERO;
        if self.core.ticking.end() {
            let (tenant, plugin) = (self.core.tenant_name(), &*self.core.name);
            tracing::info!(target: "lockgate::plugin", tenant, plugin, "the plugin's ticks are well again");
        }
    }

    fn failed(&mut self, fault: &Fault) {
        tick_failed(&self.core, fault);
        self.failures += 1;
        let settings = &self.core.quarantine.settings;
        if settings.failures == 0 || self.failures < FAILURES {
            return;
        }
        let shortest = settings.back_off.max(self.core.tick.every * 2);
        self.back_off = (self.back_off * 2).clamp(shortest, settings.longest_back_off.max(shortest));
        self.core.ticking.begin(self.back_off);
        let (tenant, plugin, back_off) = (self.core.tenant_name(), &*self.core.name, self.back_off);
        tracing::warn!(target: "lockgate::plugin", tenant, plugin, ?back_off, "the plugin's ticks keep failing and are set aside");
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.core.ticking.end();
        self.core.stats.retire(&self.tally);
    }
}

/// Whether a use's ticks are set aside.
#[derive(Debug, Default)]
pub(super) struct Ticking {
    /// For how long, in nanoseconds; 0 while they are in service.
    back_off: AtomicU64,
    times: AtomicU64,
}

impl Ticking {
    /// For how long they are set aside this time, if they are.
    pub(super) fn back_off(&self) -> Option<Duration> {
        let back_off = self.back_off.load(Ordering::Relaxed);
        (back_off != 0).then(|| Duration::from_nanos(back_off))
    }

    /// How often they have been set aside.
    pub(super) fn times(&self) -> u64 {
        self.times.load(Ordering::Relaxed)
    }

    fn begin(&self, back_off: Duration) {
        self.back_off.store(nanos(back_off), Ordering::Relaxed);
        self.times.fetch_add(1, Ordering::Relaxed);
    }

    /// Says whether they were set aside.
    fn end(&self) -> bool {
        self.back_off.swap(0, Ordering::Relaxed) != 0
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Ticks in a row that fail before they are set aside.
const FAILURES: u32 = 3;

/// Between two ticks, however long the first has taken.
const SHORTEST_REST: Duration = Duration::from_millis(10);
