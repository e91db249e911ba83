//! What an instance's store holds: the exchange in hand, the moment, and how much the guest may still use.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use cpu_time::ThreadTime;
use wasmtime::{ResourceLimiter, UpdateDeadline};

use super::clock::{Clock, TICK, now_nanos};
use super::core::Core;
use super::direct::{Answered, Rooms};
use super::grants::Reach;
use super::imports::counters::CounterCache;
use super::imports::http_client::Calls;
use super::imports::metrics::SeriesTable;
use super::imports::random::Entropy;
use super::stats::Hook;
use super::wasi::{self, Wasi};
use crate::config::PluginLimits;
use crate::exchange::{Exchange, Logged};
use crate::recording::Recording;
use crate::tenant::{Tenant, Turn};

/// The data of one store. What every call looks at stands together, and first: of a thousand instances that are called in turn
/// nothing is in the processor's caches, and each line of memory that a call touches has to be fetched.
#[repr(C)]
pub(super) struct Host {
    /// The use that the instance belongs to.
    pub(super) core: Arc<Core>,
    /// The exchange in hand. It sits here, not in a resource table: a look-up there costs as much as half a call.
    pub(super) exchange: Option<Box<Exchange>>,
    /// What is being called.
    pub(super) moment: Hook,
    /// Whether the guest runs only to make room for an answer, or to free one: it must not call anything then.
    pub(super) secluded: bool,
    /// Imports that the call may still call.
    host_calls: u32,
    /// Time that the call may compute.
    budget: Budget,
    /// HTTP calls that it has made.
    pub(super) calls: Calls,
    /// WASI, for a guest that imports it.
    pub(super) wasi: Option<Box<Wasi>>,
    /// Series that this instance has opened.
    pub(super) series: SeriesTable,
    /// Its memory, if it is called directly.
    pub(super) guest_memory: Option<wasmtime::Memory>,
    /// Room in that which an import wants for its answer.
    pub(super) rooms: Rooms,
    /// What the hook has answered.
    pub(super) answer: Option<Answered>,
    /// Memory that the instance may have.
    pub(super) memory: Memory,
    /// Counters that this instance has met.
    pub(super) counters: CounterCache,
    /// Random bytes that have been fetched and not been used.
    pub(super) entropy: Entropy,
    /// Its worker's ways to the outside; none until it has been configured.
    pub(super) reach: Option<Arc<Reach>>,
    /// What was logged where there is no exchange.
    pub(super) logged: Logged,
    /// What is recorded where there is no exchange.
    pub(super) recording: Option<Box<Recording>>,
}

impl Host {
    pub(super) fn new(core: Arc<Core>, yields: bool) -> Self {
        Self {
            exchange: None,
            moment: Hook::Configure,
            budget: Budget::new(&core, yields),
            host_calls: core.limits.host_calls,
            secluded: false,
            guest_memory: None,
            rooms: Rooms::default(),
            answer: None,
            memory: Memory::new(&core.limits, core.tenant.clone()),
            counters: CounterCache::default(),
            series: SeriesTable::default(),
            entropy: Entropy::default(),
            reach: None,
            calls: Calls::default(),
            wasi: core.compiled.wasi.then(|| Box::new(Wasi::new(core.outside.stand_in.as_ref()))),
            logged: Logged::default(),
            recording: None,
            core,
        }
    }

    /// What measures the CPU time of its calls.
    pub(super) fn meter(&self) -> Arc<Meter> {
        self.budget.meter.clone()
    }

    /// An import that waits begins: until what this answers is dropped, the guest is charged for nothing.
    pub(super) fn waits(&self) -> Outing {
        let meter = self.meter();
        meter.pause();
        meter.outside.store(true, Ordering::Relaxed);
        Outing(meter)
    }

    /// Before each call: the guest has all its time again, and the clock sees to it that it has no more.
    #[inline]
    pub(super) fn starts(&mut self, hook: Hook) {
        self.moment = hook;
        self.budget.renew();
        self.host_calls = self.core.limits.host_calls;
        self.core.clock.called();
    }

    /// Changes how long its calls may compute.
    pub(super) fn may_compute(&mut self, cpu: Duration) {
        self.budget.limit = cpu;
    }

    /// At each call of an import.
    #[inline]
    pub(super) fn host_call(&mut self) -> Result<(), TooManyHostCalls> {
        match self.host_calls.checked_sub(1) {
            Some(left) => {
                self.host_calls = left;
                Ok(())
            }
            None => Err(TooManyHostCalls(self.core.limits.host_calls)),
        }
    }

    /// At each call of an import straight from a core module.
    #[inline]
    pub(super) fn direct_call(&mut self) -> wasmtime::Result<()> {
        if self.secluded {
            return Err(Misuse::Bound("an import was called out of `cabi_realloc` or `cabi_post`".into()).into());
        }
        Ok(self.host_call()?)
    }

    /// The memory of a guest that is called directly.
    #[inline]
    pub(super) fn guest_memory(&self) -> Result<wasmtime::Memory, Misuse> {
        self.guest_memory.ok_or_else(|| Misuse::Bound("an import was called before there is a memory".into()))
    }

    /// After each call.
    #[inline]
    pub(super) fn rests(&self) {
        if let Some(turn) = &self.budget.turn {
            turn.give();
        }
    }

    /// How long the call that has just ended has computed, if it was long enough to meet a tick.
    pub(super) fn computed(&self) -> Option<Duration> {
        if self.budget.is_used() { self.budget.meter.computed() } else { None }
    }

    /// Its turns among the guests of its tenant, if it has one and can be put aside.
    pub(super) fn turn(&self) -> Option<Arc<Turn>> {
        self.budget.turn.clone()
    }

    /// After each call, however it went: takes the exchange back.
    #[inline]
    pub(super) fn ends(&mut self) -> Option<Box<Exchange>> {
        self.calls.end();
        self.rests();
        if self.wasi.is_some() {
            wasi::log_output(self);
        }
        self.exchange.take()
    }

    /// Logs that something outside failed the guest, unless there have been many such lines of late.
    #[cold]
    pub(super) fn complain(&self, what: &'static str, reason: &'static str, error: &dyn std::fmt::Display, url: &str) {
        let Some(suppressed) = self.core.log_limit.line() else { return };
        let (tenant, plugin) = (self.core.tenant_name(), &*self.core.name);
        let url = Some(url).filter(|url| !url.is_empty());
        let suppressed = Some(suppressed).filter(|suppressed| *suppressed > 0);
        let request_id = self.exchange.as_deref().map(|exchange| exchange.request_id.as_str());
        tracing::warn!(target: "lockgate::plugin", tenant, plugin, reason, url, request_id, suppressed, "{what} failed: {error}");
    }

    /// At each tick that finds the guest at work.
    pub(super) fn tick(&self) -> wasmtime::Result<UpdateDeadline> {
        if self.wasi.as_ref().is_some_and(|wasi| wasi.called_too_often) {
            return Err(TooManyHostCalls(self.core.limits.host_calls).into());
        }
        // The clock went on while the guest waited: that is not its doing.
        if self.budget.meter.has_just_waited() {
            self.core.clock.called();
            return self.budget.go_on();
        }
        let pause = self.core.clock.found_at_work();
        self.core.stats.interruptions.fetch_add(1, Ordering::Relaxed);
        self.budget.tick(pause)
    }

    /// The exchange in hand, in any hook of an exchange.
    #[inline]
    pub(super) fn exchange(&self, what: &'static str) -> Result<&Exchange, Misuse> {
        self.exchange.as_deref().ok_or(Misuse::Moment { what, hook: self.moment })
    }

    /// The exchange in hand with all fields of the request, in any hook of an exchange.
    pub(super) fn exchange_whole(&mut self, what: &'static str) -> Result<&Exchange, Misuse> {
        let exchange = self.exchange.as_deref_mut().ok_or(Misuse::Moment { what, hook: self.moment })?;
        exchange.tell();
        Ok(exchange)
    }

    /// The exchange in hand, to be changed, in the hooks that `allowed` names.
    #[inline]
    pub(super) fn exchange_mut(&mut self, what: &'static str, allowed: &[Hook]) -> Result<&mut Exchange, Misuse> {
        let hook = self.moment;
        match self.exchange.as_deref_mut() {
            Some(exchange) if allowed.contains(&hook) => Ok(exchange),
            _ => Err(Misuse::Moment { what, hook }),
        }
    }
}

/// What a guest must not do. It ends the call as a trap does.
#[derive(Debug, thiserror::Error)]
pub(super) enum Misuse {
    /// A call that makes no sense at that moment.
    #[error("{what} is not available in {}", hook.name())]
    Moment { what: &'static str, hook: Hook },
    /// A bound that the contract names was passed.
    #[error("{0}")]
    Bound(String),
}

/// The guest called imports more often than `limits.host_calls`.
#[derive(Debug, thiserror::Error)]
#[error("the call called the host more often than limits.host_calls ({0})")]
pub(super) struct TooManyHostCalls(u32);

/// The guest computed for longer than `limits.cpu`.
#[derive(Debug, thiserror::Error)]
#[error("the call computed for longer than limits.cpu ({0:?})")]
pub(super) struct OutOfCpu(Duration);

/// The CPU time that one call may use. It is measured at the engine's ticks by the thread's CPU clock, so a guest is not
/// charged for the time in which the machine ran something else; a call that no tick meets costs no look at a clock. A look at
/// the thread's CPU clock is a system call. What a guest computes between two waits mostly meets no tick, and is measured by
/// the clock on the wall, which is not; the machine may run something else meanwhile, so it counts as one tick at most.
struct Budget {
    limit: Duration,
    meter: Arc<Meter>,
    yields: bool,
    /// Whether a tick has met a call since the last was renewed. Where a call cannot be put aside, nothing else uses the meter.
    ticked: Cell<bool>,
    /// Of a tenant's guest that can be put aside.
    turn: Option<Arc<Turn>>,
}

/// What one call has used. Whoever drives the call tells it when the guest is put aside, because what the worker does
/// meanwhile is not the guest's.
pub(super) struct Meter {
    clock: Arc<Clock>,
    /// Nanoseconds, up to the current slice.
    used: AtomicU64,
    /// The thread's CPU clock at the start of the current slice, in nanoseconds; 0 when that met no tick yet.
    slice: AtomicU64,
    /// The clock on the wall when it was the guest's turn again, in nanoseconds; 0 before it has waited.
    turn: AtomicU64,
    /// Whether the guest is in an import that waits: what the host does for it there is not its computing.
    outside: AtomicBool,
    /// Whether the worker went on with other work meanwhile, and no tick has met the guest since.
    waited: AtomicBool,
    /// Of a call that met a tick: nanoseconds that it computed before, in the mean.
    before: AtomicU64,
}

/// An import that waits, for as long as it does.
pub(super) struct Outing(Arc<Meter>);

impl Drop for Outing {
    fn drop(&mut self) {
        self.0.outside.store(false, Ordering::Relaxed);
        self.0.resume();
    }
}

impl Budget {
    fn new(core: &Core, yields: bool) -> Self {
        let turn = core.tenant.as_ref().filter(|_| yields).map(|tenant| Arc::new(Turn::new(Arc::clone(tenant))));
        let meter = Arc::new(Meter::new(core.clock.clone()));
        Self { limit: core.limits.cpu, meter, yields, ticked: Cell::new(false), turn }
    }

    /// Whether there can be something on the meter. If not, a call need not look at it.
    #[inline]
    fn is_used(&self) -> bool {
        self.yields || self.ticked.get()
    }

    #[inline]
    fn renew(&self) {
        if !self.is_used() {
            return;
        }
        self.ticked.set(false);
        self.meter.used.store(0, Ordering::Relaxed);
        self.meter.slice.store(0, Ordering::Relaxed);
        self.meter.turn.store(0, Ordering::Relaxed);
        self.meter.before.store(0, Ordering::Relaxed);
        self.meter.waited.store(false, Ordering::Relaxed);
    }

    /// At a tick that fell into a wait.
    fn go_on(&self) -> wasmtime::Result<UpdateDeadline> {
        if self.meter.used.load(Ordering::Relaxed) >= u64::try_from(self.limit.as_nanos()).unwrap_or(u64::MAX) {
            return Err(OutOfCpu(self.limit).into());
        }
        Ok(UpdateDeadline::Continue(1))
    }

    /// `pause` is the time from one tick to the next.
    fn tick(&self, pause: Duration) -> wasmtime::Result<UpdateDeadline> {
        self.ticked.set(true);
        self.meter.ticked(pause);
        if self.meter.charge() >= self.limit {
            return Err(OutOfCpu(self.limit).into());
        }
        if !self.yields {
            return Ok(UpdateDeadline::Continue(1));
        }
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(give_way(self.turn.clone()))))
    }
}

/// Lets the worker's other tasks run once. The runtime looks at its sockets before it is this call's turn again: a task that
/// merely wakes itself would be polled 61 times, a slice each, before it does.
async fn give_way(turn: Option<Arc<Turn>>) {
    tokio::task::yield_now().await;
    if let Some(turn) = turn {
        turn.take().await;
    }
}

impl Meter {
    fn new(clock: Arc<Clock>) -> Self {
        Self {
            clock,
            used: AtomicU64::new(0),
            slice: AtomicU64::new(0),
            turn: AtomicU64::new(0),
            outside: AtomicBool::new(false),
            waited: AtomicBool::new(false),
            before: AtomicU64::new(0),
        }
    }

    /// How long the call that has just ended has computed, if it was put aside or long enough to meet a tick.
    fn computed(&self) -> Option<Duration> {
        let since = self.slice.load(Ordering::Relaxed);
        let slice = match since {
            0 if self.turn.load(Ordering::Relaxed) == 0 => return None,
            0 => self.since_turn(),
            since => thread_nanos().saturating_sub(since),
        };
        // A call that was put aside before it met a tick has hardly computed.
        let before = self.before.load(Ordering::Relaxed);
        Some(Duration::from_nanos(self.used.load(Ordering::Relaxed) + slice + before))
    }

    fn ticked(&self, pause: Duration) {
        if self.before.load(Ordering::Relaxed) == 0 {
            self.before.store(pause.as_nanos() as u64 / 2, Ordering::Relaxed);
        }
    }

    /// Whether it has waited for something of its own until a moment ago. Says so once.
    fn has_just_waited(&self) -> bool {
        if !self.waited.swap(false, Ordering::Relaxed) {
            return false;
        }
        let since = match self.slice.load(Ordering::Relaxed) {
            0 => now_nanos().saturating_sub(self.turn.load(Ordering::Relaxed)),
            slice => thread_nanos().saturating_sub(slice),
        };
        since < TICK.as_nanos() as u64 / 2
    }

    /// The guest waits, or gives way.
    pub(super) fn pause(&self) {
        if self.outside.load(Ordering::Relaxed) {
            self.waited.store(true, Ordering::Relaxed);
            return;
        }
        if self.slice.load(Ordering::Relaxed) != 0 {
            self.charge();
        } else {
            self.used.fetch_add(self.since_turn(), Ordering::Relaxed);
        }
    }

    /// It is the guest's turn again. One that has met a tick is a long one, and measured exactly from then on: its slices are
    /// short, and many of them would each be charged for what the machine did meanwhile.
    pub(super) fn resume(&self) {
        if self.outside.load(Ordering::Relaxed) {
            return;
        }
        let long = self.before.load(Ordering::Relaxed) != 0;
        if long {
            self.slice.store(thread_nanos(), Ordering::Relaxed);
        } else {
            self.slice.store(0, Ordering::Relaxed);
            self.turn.store(now_nanos().max(1), Ordering::Relaxed);
        }
        self.clock.resumed(long);
    }

    /// Ends a slice and begins the next. Says how much was used.
    fn charge(&self) -> Duration {
        let now = thread_nanos();
        let since = self.slice.swap(now, Ordering::Relaxed);
        let slice = if since == 0 { self.since_turn() } else { now.saturating_sub(since) };
        Duration::from_nanos(self.used.fetch_add(slice, Ordering::Relaxed) + slice)
    }

    /// Nanoseconds since it was the guest's turn again, less than one tick. A call's part before it first waits or meets a tick,
    /// no longer than that either, is not charged: its start is not known.
    fn since_turn(&self) -> u64 {
        match self.turn.load(Ordering::Relaxed) {
            0 => 0,
            turn => now_nanos().saturating_sub(turn).min(TICK.as_nanos() as u64),
        }
    }
}

fn thread_nanos() -> u64 {
    // Without such a clock nothing would ever be charged, so then every tick counts as one.
    match ThreadTime::try_now() {
        Ok(now) => u64::try_from(now.as_duration().as_nanos()).unwrap_or(u64::MAX).max(1),
        Err(_) => now_nanos(),
    }
}

/// How much memory an instance has, and may have.
pub(super) struct Memory {
    limit: usize,
    table_limit: usize,
    /// Bytes of all linear memories.
    pub(super) used: usize,
    /// Elements of all tables.
    elements: usize,
    /// What the guest has been refused, so that its end can be explained.
    pub(super) refused: Option<Refused>,
    tenant: Option<Arc<Tenant>>,
}

/// What a guest wanted more of than it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// Linear memory.
    Memory,
    /// Elements of tables.
    Table,
    /// Linear memory that its tenant has no more of.
    TenantMemory,
}

impl Memory {
    fn new(limits: &PluginLimits, tenant: Option<Arc<Tenant>>) -> Self {
        Self { limit: limits.memory, table_limit: limits.table, used: 0, elements: 0, refused: None, tenant }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if let Some(tenant) = &self.tenant {
            tenant.give_memory(self.used as u64);
        }
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let wanted = self.used.saturating_add(desired.saturating_sub(current));
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        if wanted > self.limit {
            self.refused = Some(Refused::Memory);
            return Ok(false);
        }
        if self.tenant.as_ref().is_some_and(|tenant| !tenant.take_memory((wanted - self.used) as u64)) {
            self.refused = Some(Refused::TenantMemory);
            return Ok(false);
        }
        self.used = wanted;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let wanted = self.elements.saturating_add(desired.saturating_sub(current));
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        if wanted > self.table_limit {
            self.refused = Some(Refused::Table);
            return Ok(false);
        }
        self.elements = wanted;
        Ok(true)
    }

    fn instances(&self) -> usize {
        64
    }

    fn tables(&self) -> usize {
        32
    }

    fn memories(&self) -> usize {
        8
    }
}
