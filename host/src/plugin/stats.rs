//! What is counted about one use of a plugin.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What the host calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Hook {
    /// `configure`, for every new instance.
    Configure,
    /// `self-test`, before it is put into service.
    SelfTest,
    /// `export-state`, when another takes its place.
    ExportState,
    /// `import-state`, when it takes another's place.
    ImportState,
    /// `on-tick`, for no exchange, on a thread of its own.
    OnTick,
    /// `on-connect`, before there is an exchange.
    OnConnect,
    /// `on-request`
    OnRequest,
    /// `on-request-complete`
    OnRequestComplete,
    /// `on-request-body`
    OnRequestBody,
    /// `pick-backend`
    PickBackend,
    /// `on-attempt-failed`
    OnAttemptFailed,
    /// `on-response`
    OnResponse,
    /// `on-response-body`
    OnResponseBody,
    /// `on-response-finish`
    OnResponseFinish,
}

impl Hook {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// All of them, in the order of their numbers, which for those of an exchange is the order in which they come.
    pub const ALL: [Self; 14] = [
        Self::Configure,
        Self::SelfTest,
        Self::ExportState,
        Self::ImportState,
        Self::OnTick,
        Self::OnConnect,
        Self::OnRequest,
        Self::OnRequestComplete,
        Self::OnRequestBody,
        Self::PickBackend,
        Self::OnAttemptFailed,
        Self::OnResponse,
        Self::OnResponseBody,
        Self::OnResponseFinish,
    ];

    /// As in WIT.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Configure => "configure",
            Self::SelfTest => "self-test",
            Self::ExportState => "export-state",
            Self::ImportState => "import-state",
            Self::OnTick => "on-tick",
            Self::OnConnect => "on-connect",
            Self::OnRequest => "on-request",
            Self::OnRequestComplete => "on-request-complete",
            Self::OnRequestBody => "on-request-body",
            Self::PickBackend => "pick-backend",
            Self::OnAttemptFailed => "on-attempt-failed",
            Self::OnResponse => "on-response",
            Self::OnResponseBody => "on-response-body",
            Self::OnResponseFinish => "on-response-finish",
        }
    }

    /// Whether it is called for an exchange.
    #[must_use]
    pub const fn is_of_exchange(self) -> bool {
        !matches!(
            self,
            Self::Configure | Self::SelfTest | Self::ExportState | Self::ImportState | Self::OnTick | Self::OnConnect
        )
    }

    /// Whether a plugin can be of use with nothing else.
    #[must_use]
    pub const fn is_a_purpose(self) -> bool {
        self.is_of_exchange() || matches!(self, Self::OnTick | Self::OnConnect)
    }

    /// The interface in WIT that it is the function of.
    #[must_use]
    pub const fn interface(self) -> &'static str {
        match self {
            Self::Configure => "lifecycle",
            Self::SelfTest => "self-test-hook",
            Self::ExportState | Self::ImportState => "state-hook",
            Self::OnTick => "tick-hook",
            Self::OnConnect => "connect-hook",
            Self::OnRequest => "request-hook",
            Self::OnRequestComplete => "request-complete-hook",
            Self::OnRequestBody => "request-body-hook",
            Self::PickBackend => "pick-backend-hook",
            Self::OnAttemptFailed => "attempt-failed-hook",
            Self::OnResponse => "response-hook",
            Self::OnResponseBody => "response-body-hook",
            Self::OnResponseFinish => "response-finish-hook",
        }
    }
}

/// Some of the hooks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HookSet(u16);

impl HookSet {
    /// Whether that one is among them.
    #[must_use]
    #[inline]
    pub const fn has(self, hook: Hook) -> bool {
        self.0 & (1 << hook as u16) != 0
    }

    /// Whether one of them comes after `hook` in an exchange.
    #[must_use]
    #[inline]
    pub const fn has_after(self, hook: Hook) -> bool {
        self.0 >> (hook as u16 + 1) != 0
    }

    /// Whether `hook` is the only one of them that an exchange calls.
    #[must_use]
    #[inline]
    pub const fn is_just(self, hook: Hook) -> bool {
        self.0 >> Hook::OnRequest as u16 == 1 << (hook as u16 - Hook::OnRequest as u16)
    }

    /// One more.
    pub const fn insert(&mut self, hook: Hook) {
        self.0 |= 1 << hook as u16;
    }

    /// Those of both.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Why a call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Cause {
    /// It trapped, or did what the contract forbids.
    Trap,
    /// It computed for too long.
    Cpu,
    /// It took too long with all its waiting.
    Wall,
    /// It wanted more memory than it may have.
    Memory,
    /// It wanted larger tables than it may have.
    Table,
    /// It called the host too often.
    HostCalls,
    /// Its tenant has no more of something.
    Quota,
    /// What it answered cannot be.
    BadAnswer,
    /// No instance became free in time.
    Capacity,
    /// It is set aside because it kept failing.
    Quarantined,
}

impl Cause {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 10] = [
        Self::Trap,
        Self::Cpu,
        Self::Wall,
        Self::Memory,
        Self::Table,
        Self::HostCalls,
        Self::Quota,
        Self::BadAnswer,
        Self::Capacity,
        Self::Quarantined,
    ];

    /// As in metrics and the log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Cpu => "cpu",
            Self::Wall => "wall",
            Self::Memory => "memory",
            Self::Table => "table",
            Self::HostCalls => "host_calls",
            Self::Quota => "quota",
            Self::BadAnswer => "bad_answer",
            Self::Capacity => "capacity",
            Self::Quarantined => "quarantined",
        }
    }
}

/// How a use of a plugin has been doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UseStats {
    /// The plugin's name in the configuration.
    pub name: String,
    /// The component's SHA-256, in hex.
    pub digest: String,
    /// Hooks that the component exports, `configure` among them.
    pub hooks: Vec<Hook>,
    /// Calls of each of these hooks.
    pub calls: Vec<(Hook, u64)>,
    /// Time that its calls took, in nanoseconds; estimated from every 16th call.
    pub cpu_nanos: u64,
    /// Failures, where there were any.
    pub failures: Vec<(Hook, Cause, u64)>,
    /// Instances that exist now, on all workers.
    pub instances: u64,
    /// Instances that were made.
    pub instances_made: u64,
    /// Log lines that were dropped because an exchange had logged too much.
    pub log_lines_dropped: u64,
    /// Times that a call was interrupted, and put aside if it can be, because it has computed for a while.
    pub interruptions: u64,
    /// Bytes of requests' bodies that are held for it.
    pub body_held: u64,
    /// Whether it is set aside because it kept failing, and for how long it is this time.
    pub quarantined: Option<Duration>,
    /// How much of that time is left; zero once somebody may try it.
    pub quarantine_left: Duration,
    /// How often it has been set aside.
    pub quarantines: u64,
    /// Whether its ticks are set aside because they kept failing, and for how long they are this time.
    pub ticks_quarantined: Option<Duration>,
    /// How often they have been.
    pub tick_quarantines: u64,
    /// HTTP calls that it made, by outcome, where there were any.
    pub http: Vec<(&'static str, u64)>,
    /// Operations on its key space, by outcome, where there were any.
    pub kv: Vec<(&'static str, u64)>,
    /// How full its key space is, if it has one in memory. All uses of one plugin share it.
    pub key_space: Option<crate::kv::Usage>,
    /// Exchanges that were to be recorded, by what became of them, where there were any.
    pub recorded: Vec<(&'static str, u64)>,
}

/// One worker's numbers for one use. Only that worker writes them, so no read-modify-write instruction is needed.
#[derive(Debug, Default)]
pub(super) struct Tally {
    calls: [AtomicU64; Hook::COUNT],
    sampled_nanos: AtomicU64,
    live: AtomicU64,
    made: AtomicU64,
}

impl Tally {
    /// Counts a call; true for the one in [`SAMPLE`] whose time is to be taken.
    #[inline]
    pub(super) fn call(&self, hook: Hook) -> bool {
        let before = add(&self.calls[hook as usize], 1);
        before.is_multiple_of(SAMPLE)
    }

    pub(super) fn sampled(&self, nanos: u64) {
        add(&self.sampled_nanos, nanos);
    }

    /// An instance was made, in that time.
    pub(super) fn made(&self, took: Duration) {
        add(&self.made, 1);
        // Instances are rare enough to time each of them.
        self.sampled(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX) / SAMPLE);
    }

    pub(super) fn live(&self, now: usize) {
        self.live.store(now as u64, Ordering::Relaxed);
    }
}

#[inline]
fn add(number: &AtomicU64, by: u64) -> u64 {
    let before = number.load(Ordering::Relaxed);
    number.store(before.wrapping_add(by), Ordering::Relaxed);
    before
}

/// Two looks at a clock cost as much as half a call, so only one call in this many is timed.
pub(super) const SAMPLE: u64 = 16;

/// All workers' numbers for one use.
#[derive(Debug, Default)]
pub(super) struct Stats {
    tallies: Mutex<VecDeque<Arc<Tally>>>,
    gone: Tally,
    failures: [[AtomicU64; Cause::ALL.len()]; Hook::ALL.len()],
    /// Log lines that were dropped.
    pub(super) log_lines_dropped: AtomicU64,
    /// Ticks that found a guest at work.
    pub(super) interruptions: AtomicU64,
}

impl Stats {
    /// A worker begins to use the plugin.
    pub(super) fn tally(&self) -> Arc<Tally> {
        let tally = Arc::new(Tally::default());
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner).push_back(tally.clone());
        tally
    }

    /// A worker's pool is gone; what it counted stays.
    pub(super) fn retire(&self, tally: &Arc<Tally>) {
        let mut tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        tallies.retain(|other| !Arc::ptr_eq(other, tally));
        for (sum, part) in self.gone.calls.iter().zip(&tally.calls) {
            sum.fetch_add(part.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        self.gone.sampled_nanos.fetch_add(tally.sampled_nanos.load(Ordering::Relaxed), Ordering::Relaxed);
        self.gone.made.fetch_add(tally.made.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Counts a failure.
    pub(super) fn failure(&self, hook: Hook, cause: Cause) {
        self.failures[hook as usize][cause as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Calls that exchanges and connections made, well or not: one for each hook, and one where not even an instance could be had. Were
    /// each `configure` counted, a plugin that always fails would fail in half of its calls only.
    pub(super) fn attempts(&self) -> u64 {
        let hooks = Hook::ALL.into_iter().filter(|hook| hook.is_of_exchange() || *hook == Hook::OnConnect);
        let stillborn = &self.failures[Hook::Configure as usize];
        hooks.map(|hook| self.calls_of(hook)).sum::<u64>()
            + stillborn.iter().map(|count| count.load(Ordering::Relaxed)).sum::<u64>()
    }

    /// Calls of one hook.
    pub(super) fn calls_of(&self, hook: Hook) -> u64 {
        self.sum(|tally| &tally.calls[hook as usize])
    }

    /// Estimated from the calls that were timed.
    pub(super) fn cpu_nanos(&self) -> u64 {
        self.sum(|tally| &tally.sampled_nanos).saturating_mul(SAMPLE)
    }

    /// Instances that exist.
    pub(super) fn instances(&self) -> u64 {
        self.sum(|tally| &tally.live)
    }

    /// Instances that were made.
    pub(super) fn instances_made(&self) -> u64 {
        self.sum(|tally| &tally.made)
    }

    /// Failures, where there were any.
    pub(super) fn failures(&self) -> Vec<(Hook, Cause, u64)> {
        let all = Hook::ALL.into_iter().flat_map(|hook| Cause::ALL.map(|cause| (hook, cause)));
        all.map(|(hook, cause)| (hook, cause, self.failures[hook as usize][cause as usize].load(Ordering::Relaxed)))
            .filter(|(_, _, count)| *count > 0)
            .collect()
    }

    fn sum(&self, number: impl Fn(&Tally) -> &AtomicU64) -> u64 {
        let tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        let workers: u64 = tallies.iter().map(|tally| number(tally).load(Ordering::Relaxed)).sum();
        workers + number(&self.gone).load(Ordering::Relaxed)
    }
}
