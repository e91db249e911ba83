//! Plugins: wasm components, their instances, and the chain that an exchange walks. The only place that knows wasmtime.
//!
//! An exchange is lent an instance (`pool`), moves into it for the time of a call and back (`hand`), and the instance goes
//! back if it is sound. What all workers share of a plugin is counters and atomics (`core`, `stats`, `quarantine`).

mod chain;
mod attempt;
mod body;
mod connect;
mod hand;
mod heritage;
mod hold;
mod pool;
mod instance;
mod hooks;
mod direct;
mod wit;
mod failure;
mod host;
mod imports;
mod core;
mod grants;
mod quarantine;
mod record;
mod expose;
mod stats;
mod swaps;
mod ticks;
mod load;
mod inspect;
mod wasi;
mod schema;
mod bundled;
mod component;
mod components;
mod compiler;
mod clock;
mod engine;

pub use attempt::{FailedAttempt, NextAttempt};
pub use body::{BodyAction, Chunk, Side};
pub use chain::{Chain, Run, Verdict};
pub use connect::Arriving;
pub use inspect::{Inspection, inspect};
pub use load::cache_folder;
pub use pool::Pools;
pub use schema::Objection;
pub use stats::{Cause, Hook, HookSet, UseStats};
pub use swaps::SwapStats;
pub use ticks::{Ticker, Ticks};

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use self::components::Components;
use self::core::Core;
use self::grants::{Grants, Outside};
use crate::config;
use crate::kv::{KeySpace, Server, Space, Spaces};
use crate::outbound::StandIn;
use crate::recording::Recorder;
use crate::tenant::Tenant;

/// All plugins of this process: the engine, what has been compiled, what is in use.
pub struct Plugins {
    components: Components,
    clock: Arc<clock::Clock>,
    /// The folder of components that registries had.
    kept: Option<PathBuf>,
    uses: Mutex<HashMap<String, Weak<PluginUse>>>,
    swaps: swaps::Swaps,
    key_spaces: Spaces,
    /// The server of the key spaces that was used last.
    server: Mutex<Option<Arc<Server>>>,
    /// The world of scenarios, if that is what this is for.
    stand_in: Option<Arc<StandIn>>,
}

/// Where a plugin is used: what its own section of the configuration does not say.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// What relative paths are relative to.
    pub folder: &'a Path,
    /// How registries are asked.
    pub registries: &'a config::Registries,
    /// Where key spaces are.
    pub kv: &'a config::Kv,
}

/// One use of a plugin: its component with a configuration, limits and instances apart from every other use.
#[derive(Debug)]
pub struct PluginUse {
    /// The plugin's name in the configuration.
    pub name: Arc<str>,
    core: Arc<Core>,
    /// What records its exchanges, if anything does.
    recorder: Option<Arc<Recorder>>,
}

/// What a plugin answered instead of a backend; already checked.
#[derive(Debug)]
pub struct Answer {
    /// 200 to 599.
    pub status: http::StatusCode,
    /// Without framing fields.
    pub headers: http::HeaderMap,
    /// The whole body.
    pub body: bytes::Bytes,
}

/// Why a plugin ended an exchange: `PluginFailed`, `PluginCapacity` or `PluginQuarantined`. The log line and the metric have
/// been written by whoever made this.
#[derive(Debug)]
pub struct Failure {
    /// The reason that the client, the log and the metrics see.
    pub reason: crate::reason::Reason,
}

/// A plugin that cannot be loaded, in one sentence.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct LoadError(pub String);

/// A use of a plugin that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum UseError {
    /// The plugin cannot be loaded, or does not start.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The plugin's schema does not allow that configuration: at least one objection, each about one place in it.
    #[error("plugin \"{name}\" cannot be configured like this: {}", one_by_one(.objections))]
    Config {
        /// The plugin's name in the configuration.
        name: String,
        /// What is wrong.
        objections: Vec<Objection>,
    },
}

impl Plugins {
    /// Starts the engine and its clock. What is compiled is kept in the user's cache folder (`$XDG_CACHE_HOME/lockgate` or
    /// `~/.cache/lockgate`), if there is one that nobody else can write to.
    ///
    /// # Errors
    /// When the engine cannot be had on this machine.
    pub fn new() -> Result<Self, LoadError> {
        Self::with_cache(load::cache_folder().as_deref())
    }

    /// The same with another folder for what is compiled, or none.
    ///
    /// # Errors
    /// When the engine cannot be had on this machine.
    pub fn with_cache(folder: Option<&Path>) -> Result<Self, LoadError> {
        Self::in_world(None, folder)
    }

    /// The same for scenarios: time, chance and those who are called are what `stand_in` says.
    ///
    /// # Errors
    /// When the engine cannot be had on this machine.
    pub fn for_scenarios(stand_in: Arc<StandIn>) -> Result<Self, LoadError> {
        Self::in_world(Some(stand_in), load::cache_folder().as_deref())
    }

    fn in_world(stand_in: Option<Arc<StandIn>>, folder: Option<&Path>) -> Result<Self, LoadError> {
        let engine = engine::start()?;
        let clock = clock::Clock::start(&engine)?;
        let linkers = |kv_waits| {
            let linkers = match &stand_in {
                Some(stand_in) => imports::arranged_linkers(&engine, stand_in),
                None => imports::linkers(&engine, kv_waits),
            };
            linkers.map_err(|error| LoadError(format!("cannot set up the plugins' imports: {error:#}")))
        };
        Ok(Self {
            components: Components::new(linkers(false)?, linkers(true)?, folder.and_then(load::open_cache)),
            clock,
            kept: folder.map(Path::to_owned),
            uses: Mutex::default(),
            key_spaces: Spaces::default(),
            server: Mutex::default(),
            swaps: swaps::Swaps::default(),
            stand_in,
        })
    }

    /// Finds or makes a use of `plugin`: reads its component, holds the configuration against its schema, compiles it unless
    /// that has been done already, makes an instance, configures it and has it test itself, as proof. The same name,
    /// component, configuration and limits give the same use again for as long as somebody holds it, so a reload keeps warm
    /// instances. A new use takes over what `predecessor` has counted.
    /// Blocking and slow: never call it on a worker. Several threads may call it at once.
    ///
    /// # Errors
    /// What keeps it from running: no such file, another digest, not a component, a configuration that its schema does not
    /// allow, a hook of another version, a grant that is missing, a failing `configure`.
    pub fn use_of(
        &self,
        name: &str,
        plugin: &config::Plugin,
        place: Place<'_>,
        predecessor: Option<&PluginUse>,
    ) -> Result<Arc<PluginUse>, UseError> {
        self.use_for(None, name, plugin, place, predecessor)
    }

    /// The same for a tenant: nothing but compiled code is shared with the uses of others.
    ///
    /// # Errors
    /// As those of [`Plugins::use_of`].
    pub fn use_for(
        &self,
        tenant: Option<&Arc<Tenant>>,
        name: &str,
        plugin: &config::Plugin,
        place: Place<'_>,
        predecessor: Option<&PluginUse>,
    ) -> Result<Arc<PluginUse>, UseError> {
        let made = self.find_or_make(tenant, name, plugin, place, predecessor);
        if let (Err(error), Some(before)) = (&made, predecessor) {
            self.swaps.refused(&before.full_name(), error.to_string());
        }
        made
    }

    fn find_or_make(
        &self,
        tenant: Option<&Arc<Tenant>>,
        name: &str,
        plugin: &config::Plugin,
        place: Place<'_>,
        predecessor: Option<&PluginUse>,
    ) -> Result<Arc<PluginUse>, UseError> {
        let wrong = |error: String| LoadError(format!("plugin \"{name}\" {error}"));
        let bytes = load::read(plugin, place, self.kept.as_deref()).map_err(wrong)?;
        if let Some(schema) = schema::Schema::of(&bytes).map_err(wrong)? {
            let objections = schema.objections(&plugin.config);
            if !objections.is_empty() {
                return Err(UseError::Config { name: name.to_owned(), objections });
            }
        }
        let compiled =
            self.components.compiled(bytes, plugin.limits.compile, place.kv.redis.is_some()).map_err(wrong)?;
        compiled.needs.check(Grants::given(&plugin.grants)).map_err(wrong)?;
        if plugin.tick.is_some() && !compiled.hooks.set.has(Hook::OnTick) {
            return Err(wrong("has no hook `on-tick`, so that `tick` would be for nothing".into()).into());
        }
        let config = plugin.config.to_string();
        let config::Plugin { limits, on_failure, isolation, grants, quarantine, tick, record, .. } = plugin;
        let key_space = || self.key_space(tenant, name, limits.kv, place.kv);
        let outside = Outside::new(compiled.needs, grants, place.folder, key_space, self.stand_in.as_ref());
        let outside = outside.map_err(wrong)?;
        // The id and not the name: a tenant that comes back is another one.
        let owner = tenant.map_or(0, |tenant| tenant.id);
        let key = format!(
            "{owner}\n{name}\n{}\n{limits:?}\n{on_failure:?}\n{isolation:?}\n{quarantine:?}\n{tick:?}\n{record:?}\n{}\n{config}",
            compiled.digest_hex(),
            outside.fingerprint()
        );
        if let Some(known) = lock(&self.uses).get(&key).and_then(Weak::upgrade) {
            return Ok(known);
        }
        let predecessor = predecessor.map(|plugin| &*plugin.core);
        let core = Arc::new(Core::new((tenant, name), plugin, config, compiled, &self.clock, outside, predecessor));
        // What cannot start fails here, where a person is looking.
        instance::Instance::new_as_proof(&core).map_err(|fault| wrong(format!("does not start: {}", fault.detail)))?;
        let mut uses = lock(&self.uses);
        uses.retain(|_, known| known.strong_count() > 0);
        if let Some(known) = uses.get(&key).and_then(Weak::upgrade) {
            return Ok(known);
        }
        let idle = Grants::given(grants).without(core.compiled.needs);
        if idle != Grants::default() {
            tracing::warn!(target: "lockgate::plugin", plugin = name, "it is granted {idle}, which it does not need");
        }
        let recorder = record.as_ref().map(|record| Arc::new(Recorder::new(name, plugin, record, place.folder)));
        let made = Arc::new(PluginUse { name: core.name.clone(), core, recorder });
        uses.insert(key, Arc::downgrade(&made));
        Ok(made)
    }

    /// These uses serve from now on, in the place of those before.
    pub fn swapped<'a>(
        &self,
        before: impl Iterator<Item = &'a Arc<PluginUse>>,
        after: impl Iterator<Item = &'a Arc<PluginUse>>,
    ) {
        let before: Vec<_> = before.map(|plugin| &plugin.core).collect();
        let known: HashSet<u64> = before.iter().map(|core| core.id).collect();
        let lines: HashSet<_> = before.iter().map(|core| core.line()).collect();
        let swapped = |it: &Arc<PluginUse>| !known.contains(&it.core.id) && lines.contains(&it.core.line());
        self.swaps.taken(after.map(|plugin| (plugin.full_name(), swapped(plugin))));
    }

    /// How often the plugin of that full name was replaced, and what kept it from being replaced.
    #[must_use]
    pub fn swaps_of(&self, name: &str) -> SwapStats {
        self.swaps.of(name)
    }

    /// Every use that somebody holds, by name.
    #[must_use]
    pub fn uses(&self) -> Vec<Arc<PluginUse>> {
        let mut uses: Vec<_> = lock(&self.uses).values().filter_map(Weak::upgrade).collect();
        uses.sort_by_key(|plugin| plugin.core.index);
        uses.sort_by(|one, other| (one.core.tenant_name(), &one.name).cmp(&(other.core.tenant_name(), &other.name)));
        uses
    }

    /// Appends the plugins' own metrics, as Prometheus reads them.
    pub fn expose(&self, out: &mut String) {
        let mut exposition = expose::Exposition::default();
        let mut uses = self.uses();
        // A version that is on its way out counts in the same place as the one that took over.
        uses.sort_by_key(|plugin| Arc::as_ptr(&plugin.core.series));
        uses.dedup_by_key(|plugin| Arc::as_ptr(&plugin.core.series));
        for plugin in uses {
            for series in plugin.core.series.all() {
                exposition.add(plugin.core.tenant_name(), &plugin.name, &series);
            }
        }
        exposition.write(out);
    }

    /// The key space of a plugin: its uses share it.
    fn key_space(&self, tenant: Option<&Arc<Tenant>>, name: &str, limit: usize, kv: &config::Kv) -> KeySpace {
        match self.server(kv) {
            Some(server) => {
                let tenant = tenant.map_or("", |tenant| &*tenant.name);
                KeySpace::Redis(server.clone(), server.prefix(tenant, name))
            }
            None => KeySpace::Memory(self.key_spaces.open(tenant.map_or(0, |tenant| tenant.id), name, limit)),
        }
    }

    /// The server that the configuration names: the one that is known, if it is used in the same way.
    fn server(&self, settings: &config::Kv) -> Option<Arc<Server>> {
        let mut last = lock(&self.server);
        if let Some(known) = last.as_ref().filter(|known| known.same_as(settings)) {
            return Some(known.clone());
        }
        // What is wrong with it has been told when the snapshot was built.
        let server = Arc::new(Server::new(settings)?.ok()?);
        *last = Some(server.clone());
        Some(server)
    }
}

impl std::fmt::Debug for Plugins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugins").finish_non_exhaustive()
    }
}

impl PluginUse {
    /// Its name, with its tenant's before it if it is a tenant's: `shop/ratelimit`.
    #[must_use]
    pub fn full_name(&self) -> String {
        match self.core.tenant_name() {
            Some(tenant) => format!("{tenant}/{}", self.name),
            None => self.name.to_string(),
        }
    }

    /// Whether it is what `plugin` under that name asks for, whatever its component is.
    #[must_use]
    pub fn is(&self, name: &str, plugin: &config::Plugin) -> bool {
        let core = &self.core;
        *self.name == *name
            && core.limits == plugin.limits
            && core.on_failure == plugin.on_failure
            && core.isolation == plugin.isolation
            && core.quarantine.settings == plugin.quarantine
            && core.tick == plugin.tick.unwrap_or_default()
            && *core.config == *plugin.config.to_string()
    }

    /// Whether the component exports the hook `pick-backend`.
    #[must_use]
    pub fn picks_backends(&self) -> bool {
        self.has(Hook::PickBackend)
    }

    /// Whether the component exports that hook.
    #[must_use]
    #[inline]
    pub fn has(&self, hook: Hook) -> bool {
        self.hooks().has(hook)
    }

    /// Whether it looks at connections, and at nothing that comes on them.
    #[must_use]
    pub fn is_for_connections_only(&self) -> bool {
        self.has(Hook::OnConnect) && !Hook::ALL.into_iter().any(|hook| hook.is_of_exchange() && self.has(hook))
    }

    /// The hooks that the component exports.
    #[must_use]
    #[inline]
    pub fn hooks(&self) -> HookSet {
        self.core.compiled.hooks.set
    }

    /// Whether its calls run on the worker's own stack, which cannot put them aside: `limits.cpu` is short, and the component
    /// imports nothing that waits.
    #[must_use]
    pub fn runs_on_workers_stack(&self) -> bool {
        self.core.plain
    }

    /// Whether the component imports what may have to wait, so that its calls need a stack of their own.
    #[must_use]
    pub fn may_wait(&self) -> bool {
        self.core.compiled.waits
    }

    /// The component's SHA-256, in hex.
    #[must_use]
    pub fn digest(&self) -> String {
        self.core.compiled.digest_hex()
    }

    /// How it has been doing, on all workers.
    #[must_use]
    pub fn stats(&self) -> UseStats {
        let stats = &self.core.stats;
        let hooks = self.core.compiled.hooks.names();
        UseStats {
            name: self.name.to_string(),
            digest: self.digest(),
            calls: hooks.iter().map(|hook| (*hook, stats.calls_of(*hook))).collect(),
            hooks,
            cpu_nanos: stats.cpu_nanos(),
            failures: stats.failures(),
            instances: stats.instances(),
            instances_made: stats.instances_made(),
            log_lines_dropped: stats.log_lines_dropped.load(Ordering::Relaxed),
            interruptions: stats.interruptions.load(Ordering::Relaxed),
            body_held: self.core.held.load(Ordering::Relaxed),
            quarantined: self.core.quarantine.back_off(),
            quarantine_left: self.core.quarantine.left(),
            quarantines: self.core.quarantine.times(),
            ticks_quarantined: self.core.ticking.back_off(),
            tick_quarantines: self.core.ticking.times(),
            http: self.core.outside.traffic.http_outcomes.all(),
            kv: self.core.outside.traffic.kv_outcomes.all(),
            key_space: self.core.outside.usage(),
            recorded: self.recorder.as_ref().map(|recorder| recorder.counts()).unwrap_or_default(),
        }
    }

    /// Its key space, if it has one in memory.
    #[must_use]
    pub fn key_space(&self) -> Option<&Arc<Space>> {
        self.core.outside.space()
    }

    /// Its counters.
    #[must_use]
    pub fn counters(&self) -> BTreeMap<String, u64> {
        self.core.counters.all()
    }

    /// Sets one of its counters, if it may have one of that name.
    pub fn set_counter(&self, name: &str, value: u64) {
        self.core.counters.set(name, value);
    }

    /// The names of the grants that the component needs, and of those that it was given without need.
    #[must_use]
    pub fn grants(&self, given: &config::Grants) -> (Vec<&'static str>, Vec<&'static str>) {
        let needs = self.core.compiled.needs;
        (needs.names(), Grants::given(given).without(needs).names())
    }
}

impl Drop for PluginUse {
    fn drop(&mut self) {
        // The workers drop its instances when they come upon them.
        self.core.retired.store(true, Ordering::Relaxed);
    }
}

/// The bytes of the component that the configuration names, if they have the digest that it asks for. Relative paths are
/// relative to `folder`.
///
/// # Errors
/// Why they cannot be had, to be put after the plugin's name.
pub fn component(plugin: &config::Plugin, folder: &Path) -> Result<Vec<u8>, String> {
    let place = Place { folder, registries: &config::Registries::default(), kv: &config::Kv::default() };
    load::read(plugin, place, load::cache_folder().as_deref())
}

/// `log: unknown key "a"; cpu: it is missing`
fn one_by_one(objections: &[Objection]) -> String {
    let all = objections.iter().map(|objection| match objection.pointer.as_str() {
        "" => objection.sentence.clone(),
        pointer => format!("{}: {}", pointer[1..].replace('/', "."), objection.sentence),
    });
    all.collect::<Vec<_>>().join("; ")
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
