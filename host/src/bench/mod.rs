//! What a plugin costs, measured in the engine that serves: `lockgate plugin bench`. Exchanges that are made up walk through
//! a chain of one plugin as those of the proxy do; nothing here is a copy of that way.

mod budget;
mod figures;
mod stopwatch;
mod walk;

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use budget::Budget;
pub use figures::{Call, Figures, HookFigures, Memory};

use self::stopwatch::{Clock, Cpu, Silent, Wall};
use self::walk::Walker;
use crate::config::{self, Isolation, Kv, Quarantine, Registries};
use crate::log::Overheard;
use crate::plugin::{Chain, Hook, Place, PluginUse, Plugins, Pools, UseError, component};
use crate::synthetic::Synthetic;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    /// Exchanges that one instance serves before its memory is looked at.
    pub exchanges: u64,
    /// Exchanges of which the longest calls are sought.
    pub worst_of: u64,
    /// Time that each part of the measuring may take; what is done by then is what is told.
    pub longest: Duration,
}

impl Default for Extent {
    fn default() -> Self {
        Self { exchanges: 300_000, worst_of: 100_000, longest: Duration::from_secs(20) }
    }
}

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The plugin cannot be used.
    #[error(transparent)]
    Use(#[from] UseError),
    /// Wasm cannot be run here.
    #[error(transparent)]
    Engine(#[from] crate::plugin::LoadError),
    /// It fails, so that it would be measured how fast it fails.
    #[error("the plugin fails in {hook}, so there is nothing to measure: {why}")]
    Fails {
        /// In which hook.
        hook: &'static str,
        /// What the log says of it.
        why: String,
    },
    /// The system has no runtime for it.
    #[error("cannot start a runtime")]
    Runtime(#[from] std::io::Error),
}

/// Measures `plugin`, whose relative paths are relative to `folder`, with exchanges like that one.
///
/// # Errors
/// When the plugin cannot be loaded, or fails.
pub fn bench(plugin: &config::Plugin, folder: &Path, synthetic: &Synthetic, extent: Extent) -> Result<Figures, Error> {
    let plugins = Plugins::with_cache(None)?;
    let started = Instant::now();
    let first = load(&plugins, plugin, folder, "bench")?;
    let compile = started.elapsed();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let bench = Bench { plugins, folder, synthetic, extent };
    let mut figures = tokio::task::LocalSet::new().block_on(&runtime, bench.all(plugin, &first))?;
    figures.compile_nanos = nanos(compile);
    Ok(figures)
}

struct Bench<'a> {
    plugins: Plugins,
    folder: &'a Path,
    synthetic: &'a Synthetic,
    extent: Extent,
}

/// Where calls run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stack {
    /// On a stack of its own, so that the worker can put it aside.
    Own,
    /// On the worker's.
    Workers,
}

impl Bench<'_> {
    async fn all(&self, plugin: &config::Plugin, first: &Arc<PluginUse>) -> Result<Figures, Error> {
        self.trial(first).await?;
        let size = component(plugin, self.folder).map_or(0, |bytes| bytes.len() as u64);
        let mut figures = Figures::new(first, size, Wall::overhead(), Cpu::overhead());
        self.on_stack(plugin, Stack::Own, &mut figures).await?;
        if !first.may_wait() {
            figures = self.on_workers_stack_too(plugin, figures).await?;
        }
        if let Some(used) = self.on(plugin, Stack::Own)? {
            figures.memory = self.memory(&used).await?;
        }
        Ok(figures)
    }

    /// The figures, with those of the worker's stack. Its budget there is short: a plugin that needs more for one call of
    /// many, or to be configured, is not for the worker's stack. On a busy machine that may be chance once, and not again and
    /// again.
    async fn on_workers_stack_too(&self, plugin: &config::Plugin, own: Figures) -> Result<Figures, Error> {
        for _ in 0..TRIES {
            let mut figures = own.clone();
            match self.on_stack(plugin, Stack::Workers, &mut figures).await {
                Err(Error::Fails { .. }) => {}
                measured => return measured.map(|()| figures),
            }
        }
        Ok(own)
    }

    /// Calls and fresh instances, if they can be had there.
    async fn on_stack(&self, plugin: &config::Plugin, stack: Stack, figures: &mut Figures) -> Result<(), Error> {
        if let Some(used) = self.on(plugin, stack)? {
            self.calls(&used, stack, figures).await?;
            figures.fresh_nanos = self.fresh(plugin, stack).await?;
        }
        Ok(())
    }

    /// The plugin with a budget that has its calls run there; none if they cannot.
    fn on(&self, plugin: &config::Plugin, stack: Stack) -> Result<Option<Arc<PluginUse>>, Error> {
        let mut plugin = unworn(plugin);
        plugin.limits.cpu = match stack {
            Stack::Own => plugin.limits.cpu.max(LEAST_FOR_OWN_STACK),
            Stack::Workers => MOST_ON_WORKERS_STACK,
        };
        let used = load(&self.plugins, &plugin, self.folder, "bench")?;
        Ok(Some(used).filter(|used| used.runs_on_workers_stack() == (stack == Stack::Workers)))
    }

    /// One exchange, to see that the plugin does not fail.
    async fn trial(&self, used: &Arc<PluginUse>) -> Result<(), Error> {
        let (overheard, subscriber) = Overheard::new(tracing::Level::WARN);
        let walker = Walker::new(self.synthetic, chain(Some(used)), Silent);
        let trial = walker.walk();
        tracing::instrument::WithSubscriber::with_subscriber(trial, subscriber).await;
        check(used, &overheard)
    }

    /// The calls of each hook, and all of an exchange together.
    async fn calls(&self, used: &Arc<PluginUse>, stack: Stack, figures: &mut Figures) -> Result<(), Error> {
        let bound = Bound::new(self.extent.worst_of, self.extent.longest);
        let walker = Walker::new(self.synthetic, chain(Some(used)), Wall::default());
        walker.walk_times(WARM_UP).await;
        let mut means: [Vec<f64>; Hook::COUNT] = Default::default();
        let mut walked = 0;
        while bound.allows(walked) {
            walker.watch().reset();
            walker.walk_times(BATCH).await;
            walked += BATCH;
            for (hook, means) in Hook::ALL.into_iter().zip(&mut means) {
                means.extend(walker.watch().mean(hook));
            }
        }
        let worst = self.worst(used).await;
        let total = self.exchange(used).await;
        check(used, &Overheard::default())?;
        figures.batches = walked / BATCH;
        figures.batch = BATCH;
        figures.worst_of = worst.walked;
        for (hook, means) in Hook::ALL.into_iter().zip(means) {
            let Some(median) = median(means) else { continue };
            let call = Call {
                nanos: (median - figures.wall_clock_nanos).max(0.0),
                worst_nanos: worst.nanos[hook as usize].saturating_sub(figures.cpu_clock_nanos as u64),
            };
            figures.put(hook, stack == Stack::Workers, call);
        }
        match stack {
            Stack::Own => figures.exchange_nanos = Some(total),
            Stack::Workers => figures.exchange_on_workers_stack_nanos = Some(total),
        }
        Ok(())
    }

    /// The longest call of each hook, in CPU time: what else the machine did meanwhile is not the plugin's doing.
    async fn worst(&self, used: &Arc<PluginUse>) -> Worst {
        let bound = Bound::new(self.extent.worst_of, self.extent.longest);
        let walker = Walker::new(self.synthetic, chain(Some(used)), Cpu::default());
        walker.walk_times(WARM_UP).await;
        walker.watch().reset();
        let mut walked = 0;
        while bound.allows(walked) {
            walker.walk_times(BATCH).await;
            walked += BATCH;
        }
        Worst { walked, nanos: Hook::ALL.map(|hook| walker.watch().longest(hook)) }
    }

    /// What an exchange costs more with the plugin than without, in CPU time, with no clock in between.
    async fn exchange(&self, used: &Arc<PluginUse>) -> f64 {
        let with = Walker::new(self.synthetic, chain(Some(used)), Silent);
        let without = Walker::new(self.synthetic, chain(None), Silent);
        self.difference(&with, &without, self.extent.worst_of).await
    }

    /// What the first costs more than the second, for each exchange.
    async fn difference(&self, one: &Walker<'_, Silent>, other: &Walker<'_, Silent>, times: u64) -> f64 {
        one.walk_times(WARM_UP).await;
        other.walk_times(WARM_UP).await;
        let bound = Bound::new(times, self.extent.longest);
        let (mut walked, mut more) = (0, Vec::new());
        while bound.allows(walked) {
            let started = Cpu::now();
            one.walk_times(BATCH).await;
            let between = Cpu::now();
            other.walk_times(BATCH).await;
            let ended = Cpu::now();
            let [one, other] = [(started, between), (between, ended)].map(|(from, to)| to.saturating_sub(from));
            more.push((one as f64 - other as f64) / BATCH as f64);
            walked += BATCH;
        }
        median(more).unwrap_or_default().max(0.0)
    }

    /// What an exchange costs more with an instance that is made for it, configured and thrown away, than with a warm one.
    async fn fresh(&self, plugin: &config::Plugin, stack: Stack) -> Result<f64, Error> {
        let mut isolated = plugin.clone();
        isolated.isolation = Isolation::Exchange;
        let mut shared = plugin.clone();
        shared.isolation = Isolation::Use;
        let [Some(fresh), Some(warm)] = [self.on(&isolated, stack)?, self.on(&shared, stack)?] else {
            return Ok(0.0);
        };
        let fresh_walker = Walker::new(self.synthetic, chain(Some(&fresh)), Silent);
        let warm_walker = Walker::new(self.synthetic, chain(Some(&warm)), Silent);
        let more = self.difference(&fresh_walker, &warm_walker, self.extent.worst_of / 10).await;
        check(&fresh, &Overheard::default())?;
        Ok(more)
    }

    /// How much memory one instance has after its first exchanges, and after very many.
    async fn memory(&self, used: &Arc<PluginUse>) -> Result<Memory, Error> {
        let bound = Bound::new(self.extent.exchanges, self.extent.longest);
        let pools = Rc::new(Pools::default());
        let walker = Walker::with_pools(self.synthetic, chain(Some(used)), Silent, Rc::clone(&pools));
        let made_before = used.stats().instances_made;
        walker.walk_times(WARM_UP).await;
        let first_bytes = pools.idle_memory(used);
        let mut walked = WARM_UP;
        while bound.allows(walked) {
            walker.walk_times(BATCH).await;
            walked += BATCH;
        }
        check(used, &Overheard::default())?;
        let instances = used.stats().instances_made - made_before;
        Ok(Memory { first_bytes, bytes: pools.idle_memory(used), exchanges: walked, instances })
    }
}

struct Worst {
    walked: u64,
    nanos: [u64; Hook::COUNT],
}

/// So many, but not for longer than that.
struct Bound {
    most: u64,
    until: Instant,
}

impl Bound {
    fn new(most: u64, longest: Duration) -> Self {
        Self { most, until: Instant::now() + longest }
    }

    /// Whether there may be more. The first is always allowed.
    fn allows(&self, done: u64) -> bool {
        done == 0 || (done < self.most && Instant::now() < self.until)
    }
}

fn load(plugins: &Plugins, plugin: &config::Plugin, folder: &Path, name: &str) -> Result<Arc<PluginUse>, UseError> {
    plugins.use_of(name, plugin, Place { folder, registries: &Registries::default(), kv: &Kv::default() }, None)
}

/// Instances that are replaced only if they grow, of a plugin that is never set aside.
fn unworn(plugin: &config::Plugin) -> config::Plugin {
    let mut plugin = plugin.clone();
    plugin.limits.exchanges = u64::MAX;
    plugin.quarantine = Quarantine { failures: 0, ..Quarantine::default() };
    plugin
}

fn chain(used: Option<&Arc<PluginUse>>) -> Arc<Chain> {
    Arc::new(Chain::new(used.cloned().into_iter().collect()))
}

/// Figures of a plugin that fails are worth nothing.
fn check(used: &PluginUse, overheard: &Overheard) -> Result<(), Error> {
    let Some((hook, cause, _)) = used.stats().failures.into_iter().next() else { return Ok(()) };
    let told = overheard.lines().into_iter().map(|line| line.message).next();
    Err(Error::Fails { hook: hook.name(), why: told.unwrap_or_else(|| cause.name().to_owned()) })
}

/// The middle one.
fn median(mut all: Vec<f64>) -> Option<f64> {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied()
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Exchanges before the first that count.
const WARM_UP: u64 = 1000;

/// Exchanges between two looks at the figures.
const BATCH: u64 = 250;

/// A plugin with that budget runs on the worker's stack, if it imports nothing that waits.
const MOST_ON_WORKERS_STACK: Duration = Duration::from_millis(1);

/// How often a plugin may fail there before that is taken for its nature.
const TRIES: usize = 3;

/// A plugin with that budget runs on a stack of its own.
const LEAST_FOR_OWN_STACK: Duration = Duration::from_millis(50);
