//! A tenant at work: its name, how much it may use, and how much it has used. Shared by all workers, without a lock on the
//! way of an exchange; an exchange without a tenant knows nothing of this.

mod bucket;
mod pressure;
mod turn;

pub use turn::Turn;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use crate::config::Quotas;
use crate::reason::Reason;
use bucket::Bucket;

/// A tenant at work. Kept over reloads for as long as there is a tenant of that name. What every exchange looks at stands
/// together, here and in its parts: of a thousand tenants nothing is in the processor's caches, and each line of memory has to
/// be fetched.
#[derive(Debug)]
#[repr(C)]
pub struct Tenant {
    exchanges: AtomicU64,
    rate: Bucket,
    cpu: Bucket,
    limits: Limits,
    counts: Counts,
    calls: Bucket,
    memory: AtomicU64,
    /// Never the same twice in a process.
    pub id: u64,
    /// As the operator and the log call it.
    pub name: Arc<str>,
}

/// An exchange under way, for as long as this lives.
#[derive(Debug)]
pub struct Admitted(Arc<Tenant>);

/// What a tenant has used, and what it was refused.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Usage {
    /// Exchanges that ended, by the first digit of their status; 0 where there was none.
    pub exchanges: [u64; 6],
    /// Exchanges under way.
    pub in_flight: u64,
    /// Bytes of requests' bodies.
    pub request_bytes: u64,
    /// Bytes of responses' bodies.
    pub response_bytes: u64,
    /// Time that its plugins have computed, in nanoseconds; an estimate.
    pub cpu_nanos: u64,
    /// Bytes of its plugins' linear memories.
    pub memory: u64,
    /// How often each quota was reached.
    pub refused: [u64; Quota::ALL.len()],
}

/// What a tenant may not have without end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quota {
    /// `quotas.rate`
    Rate,
    /// `quotas.exchanges`
    Exchanges,
    /// `quotas.cpu`
    Cpu,
    /// `quotas.memory`
    Memory,
    /// `quotas.kv`
    Kv,
    /// `quotas.calls`
    Calls,
}

impl Quota {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 6] = [Self::Rate, Self::Exchanges, Self::Cpu, Self::Memory, Self::Kv, Self::Calls];

    /// As in the configuration and in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Exchanges => "exchanges",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Kv => "kv",
            Self::Calls => "calls",
        }
    }
}

/// `quotas`, as numbers that a reload can change.
#[derive(Debug)]
#[repr(C)]
struct Limits {
    exchanges: AtomicU64,
    /// Nanoseconds from one request to the next; 0 for unlimited.
    request_every: AtomicU64,
    /// Nanoseconds in which the requests of a burst would be due.
    burst: AtomicU64,
    /// Nanoseconds of computing in a second; `u64::MAX` for unlimited.
    cpu: AtomicU64,
    memory: AtomicU64,
    kv: AtomicU64,
    /// Nanoseconds from one call to the next; 0 for unlimited.
    call_every: AtomicU64,
}

#[derive(Debug, Default)]
#[repr(C)]
struct Counts {
    response_bytes: AtomicU64,
    exchanges: [AtomicU64; 6],
    request_bytes: AtomicU64,
    cpu_nanos: AtomicU64,
    refused: [AtomicU64; Quota::ALL.len()],
}

impl Tenant {
    /// One that has used nothing yet.
    #[must_use]
    pub fn new(name: &str, quotas: &Quotas) -> Arc<Self> {
        let tenant = Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            name: name.into(),
            limits: Limits::new(),
            rate: Bucket::default(),
            cpu: Bucket::default(),
            calls: Bucket::default(),
            exchanges: AtomicU64::new(0),
            memory: AtomicU64::new(0),
            counts: Counts::default(),
        };
        tenant.adopt(quotas);
        Arc::new(tenant)
    }

    /// Keeps to these quotas from now on.
    pub fn adopt(&self, quotas: &Quotas) {
        let every = |rate: u64| if rate == u64::MAX { 0 } else { SECOND / rate.max(1) };
        let request_every = every(quotas.rate);
        let burst = quotas.burst.map_or(SECOND, |burst| burst.saturating_mul(request_every));
        let limits = &self.limits;
        for (limit, value) in [
            (&limits.request_every, request_every),
            (&limits.burst, burst.max(request_every)),
            (&limits.exchanges, quotas.exchanges),
            (&limits.cpu, u64::try_from(quotas.cpu.as_nanos()).unwrap_or(u64::MAX)),
            (&limits.memory, quotas.memory),
            (&limits.kv, quotas.kv),
            (&limits.call_every, every(quotas.calls)),
        ] {
            limit.store(value, Ordering::Relaxed);
        }
    }

    /// An exchange is to begin, whose request came at `now`. `computes` says whether plugins are on its way.
    ///
    /// # Errors
    /// The quota that stands in its way, as a reason. It has been counted.
    pub fn admit(self: &Arc<Self>, now: Instant, computes: bool) -> Result<Admitted, Reason> {
        let before = self.exchanges.fetch_add(1, Ordering::Relaxed);
        // Given back when it is dropped, whatever comes of it.
        let admitted = Admitted(Arc::clone(self));
        let refusal = if before >= self.limits.exchanges.load(Ordering::Relaxed) {
            Some((Quota::Exchanges, Reason::TenantExchanges))
        } else if computes && self.stands_back(now) {
            Some((Quota::Cpu, Reason::TenantCpu))
        } else if !self.takes_request(now) {
            Some((Quota::Rate, Reason::TenantRate))
        } else {
            None
        };
        match refusal {
            None => Ok(admitted),
            Some((quota, reason)) => {
                self.refuse(quota);
                Err(reason)
            }
        }
    }

    /// An exchange ended.
    pub fn finished(&self, status: u16, request_bytes: u64, response_bytes: u64) {
        let class = usize::from(status / 100);
        let counts = &self.counts;
        counts.exchanges[if class < counts.exchanges.len() { class } else { 0 }].fetch_add(1, Ordering::Relaxed);
        for (count, bytes) in [(&counts.request_bytes, request_bytes), (&counts.response_bytes, response_bytes)] {
            if bytes > 0 {
                count.fetch_add(bytes, Ordering::Relaxed);
            }
        }
    }

    /// One of its plugins has computed for so long.
    pub fn computed(&self, nanos: u64) {
        self.counts.cpu_nanos.fetch_add(nanos, Ordering::Relaxed);
        let limit = self.limits.cpu.load(Ordering::Relaxed);
        if limit != u64::MAX {
            let cost = u128::from(nanos) * u128::from(SECOND) / u128::from(limit.max(1));
            self.cpu.charge(nanos_of(Instant::now()), u64::try_from(cost).unwrap_or(u64::MAX));
        }
    }

    /// Whether its plugins have computed for longer than `quotas.cpu` while this worker has more to do than it can: then
    /// others go first.
    #[must_use]
    pub fn stands_back(&self, now: Instant) -> bool {
        self.cpu.exceeds(nanos_of(now), SECOND) && pressure::worker_is_busy(now)
    }

    /// Takes that much more memory for its plugins, if it may have it.
    #[must_use]
    pub fn take_memory(&self, bytes: u64) -> bool {
        let limit = self.limits.memory.load(Ordering::Relaxed);
        if self.memory.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) <= limit {
            return true;
        }
        self.memory.fetch_sub(bytes, Ordering::Relaxed);
        self.refuse(Quota::Memory);
        false
    }

    /// Gives memory back.
    pub fn give_memory(&self, bytes: u64) {
        self.memory.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Whether one of its plugins may make an outbound call now.
    #[must_use]
    pub fn may_call(&self) -> bool {
        let every = self.limits.call_every.load(Ordering::Relaxed);
        let may = every == 0 || self.calls.take(nanos_of(Instant::now()), every, SECOND.max(every));
        if !may {
            self.refuse(Quota::Calls);
        }
        may
    }

    /// Bytes that its plugins may keep in key-value stores.
    #[must_use]
    pub fn kv_limit(&self) -> u64 {
        self.limits.kv.load(Ordering::Relaxed)
    }

    /// A quota was reached.
    #[cold]
    pub fn refuse(&self, quota: Quota) {
        self.counts.refused[quota as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// What it has used so far.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let counts = &self.counts;
        Usage {
            exchanges: std::array::from_fn(|class| read(&counts.exchanges[class])),
            in_flight: read(&self.exchanges),
            request_bytes: read(&counts.request_bytes),
            response_bytes: read(&counts.response_bytes),
            cpu_nanos: read(&counts.cpu_nanos),
            memory: read(&self.memory),
            refused: std::array::from_fn(|quota| read(&counts.refused[quota])),
        }
    }

    fn takes_request(&self, now: Instant) -> bool {
        let every = self.limits.request_every.load(Ordering::Relaxed);
        every == 0 || self.rate.take(nanos_of(now), every, self.limits.burst.load(Ordering::Relaxed))
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.0.exchanges.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Limits {
    fn new() -> Self {
        let none = || AtomicU64::new(0);
        Self {
            request_every: none(),
            burst: none(),
            exchanges: none(),
            cpu: none(),
            memory: none(),
            kv: none(),
            call_every: none(),
        }
    }
}

/// Nanoseconds since some moment before now; never 0.
fn nanos_of(moment: Instant) -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(moment.saturating_duration_since(*START).as_nanos()).unwrap_or(u64::MAX / 2).saturating_add(1)
}

const SECOND: u64 = Duration::from_secs(1).as_nanos() as u64;

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn quotas() -> Quotas {
        Quotas { rate: 10, burst: Some(5), exchanges: 3, calls: 2, memory: 100, ..Quotas::default() }
    }

    #[test]
    fn exchanges_end_when_they_are_dropped() {
        let tenant = Tenant::new("a", &Quotas { rate: u64::MAX, ..quotas() });
        let now = Instant::now();
        let mut under_way: Vec<_> = (0..3).map(|_| tenant.admit(now, false).unwrap()).collect();
        assert_eq!(tenant.admit(now, false).err(), Some(Reason::TenantExchanges));
        assert_eq!(tenant.usage().in_flight, 3, "one that is refused takes no place");
        under_way.pop();
        assert!(tenant.admit(now, false).is_ok());
        assert_eq!(tenant.usage().refused[Quota::Exchanges as usize], 1);
    }

    #[test]
    fn a_burst_is_served_and_then_as_many_as_the_rate_says() {
        let tenant = Tenant::new("a", &quotas());
        let now = Instant::now();
        let served = |at: Instant, tries: usize| (0..tries).filter(|_| tenant.admit(at, false).is_ok()).count();
        assert_eq!(served(now, 20), 5);
        assert_eq!(served(now + Duration::from_millis(99), 20), 0);
        assert_eq!(served(now + Duration::from_millis(301), 20), 3);
        assert_eq!(served(now + Duration::from_secs(60), 20), 5);
        tenant.adopt(&Quotas { rate: u64::MAX, ..quotas() });
        assert_eq!(served(now, 20), 20);
    }

    #[test]
    fn many_workers_together_serve_no_more_than_the_rate() {
        let tenant = Tenant::new("a", &Quotas { rate: 1_000_000_000, burst: Some(1000), ..Quotas::default() });
        tenant.adopt(&Quotas { rate: 1, burst: Some(1000), exchanges: u64::MAX, ..Quotas::default() });
        let now = Instant::now();
        let served: usize = std::thread::scope(|scope| {
            let worker = || (0..10_000).filter(|_| tenant.admit(now, false).is_ok()).count();
            let workers: Vec<_> = (0..4).map(|_| scope.spawn(worker)).collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).sum()
        });
        assert_eq!(served, 1000);
    }

    #[test]
    fn memory_and_calls_have_bounds() {
        let tenant = Tenant::new("a", &quotas());
        assert!(tenant.take_memory(60) && !tenant.take_memory(41) && tenant.take_memory(40));
        tenant.give_memory(60);
        assert_eq!(tenant.usage().memory, 40);
        assert_eq!((0..10).filter(|_| tenant.may_call()).count(), 2);
        assert_eq!(tenant.usage().refused[Quota::Calls as usize], 8);
    }

    #[test]
    fn computing_is_charged_by_the_share() {
        let tenant = Tenant::new("a", &Quotas { cpu: Duration::from_millis(100), ..quotas() });
        let now = Instant::now();
        tenant.computed(90_000_000);
        assert!(!tenant.cpu.exceeds(nanos_of(now), SECOND));
        tenant.computed(60_000_000);
        assert!(tenant.cpu.exceeds(nanos_of(now), SECOND));
        assert!(!tenant.cpu.exceeds(nanos_of(now + Duration::from_secs(1)), SECOND), "half a second pays it back");
        assert_eq!(tenant.usage().cpu_nanos, 150_000_000);
        assert!(tenant.admit(now, true).is_ok(), "nobody else needs the processor");
    }
}
