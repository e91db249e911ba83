//! Which backends are healthy. Two judges, and a backend must please both: the exchanges themselves (a backend that fails
//! too many in a row is ejected for a while) and probes (`probe`).

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::Backend;
use super::queue::Queue;
use crate::config::Eject;

/// What is known of one backend's health. On cache lines of its own: every request reads it, and hardly any changes it, while
/// the counts beside it change with every request.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Health {
    /// `EJECTED` and `DOWN`; 0 for a sound backend.
    state: AtomicU8,
    /// It was let in for a request that is to show whether it can come back.
    trial: AtomicBool,
    /// Exchanges that failed in a row.
    failures: AtomicU32,
    /// Ejections so far, less one for each `eject.time` that it has been sound.
    ejections: AtomicU32,
    /// In `Group::now`: when it may be tried again.
    until: AtomicU64,
    /// In `Group::now`: when it came back last.
    returned: AtomicU64,
}

/// What the backends of an upstream have in common. Kept over reloads.
#[derive(Debug)]
pub(super) struct Group {
    name: Arc<str>,
    start: Instant,
    /// Backends that are not sound; 0 is the fast path of every request.
    impaired: AtomicU32,
    panicking: AtomicBool,
    /// `eject.failures`
    failures_to_eject: AtomicU32,
    members: Mutex<Members>,
    queue: Queue,
}

#[derive(Debug)]
struct Members {
    backends: Vec<Weak<Backend>>,
    eject: Eject,
    panic_threshold: u32,
}

impl Health {
    pub(super) fn sound(&self) -> bool {
        self.state.load(Ordering::Relaxed) == 0
    }

    /// Whether a request may go there: it is sound, or its ejection is over and this is the one request that tries it.
    pub(super) fn lets_in(&self, now: u64) -> bool {
        match self.state.load(Ordering::Relaxed) {
            0 => true,
            EJECTED => self.begin_trial(now),
            _ => false,
        }
    }

    /// Whether it is ejected but was let in for a trial.
    pub(super) fn on_trial(&self) -> bool {
        self.state.load(Ordering::Relaxed) == EJECTED && self.trial.load(Ordering::Relaxed)
    }

    fn begin_trial(&self, now: u64) -> bool {
        let until = self.until.load(Ordering::Relaxed);
        if now < until {
            return false;
        }
        // A picker may choose another backend, and the client may go away: then there is a next trial, soon.
        let next = now + TRIAL_INTERVAL;
        let mine = self.until.compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if mine {
            self.trial.store(true, Ordering::Relaxed);
        }
        mine
    }
}

impl Group {
    pub(super) fn new(name: &str) -> Self {
        let eject = Eject { failures: 0, time: Duration::ZERO, max_percent: 0 };
        Self {
            name: name.into(),
            start: Instant::now(),
            impaired: AtomicU32::new(0),
            panicking: AtomicBool::new(false),
            failures_to_eject: AtomicU32::new(0),
            members: Mutex::new(Members { backends: Vec::new(), eject, panic_threshold: 0 }),
            queue: Queue::default(),
        }
    }

    /// From now on, these are the backends and the rules.
    pub(super) fn adopt(&self, backends: &[Arc<Backend>], eject: &Eject, panic_threshold: u32) {
        let mut members = self.members();
        members.backends = backends.iter().map(Arc::downgrade).collect();
        members.eject = eject.clone();
        members.panic_threshold = panic_threshold;
        self.failures_to_eject.store(eject.failures, Ordering::Relaxed);
        if eject.failures == 0 {
            for backend in backends {
                backend.health.state.fetch_and(!EJECTED, Ordering::Relaxed);
            }
        }
        self.recount(&members);
    }

    /// Milliseconds on this group's clock, never 0.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX / 2) + 1
    }

    pub(super) fn all_sound(&self) -> bool {
        self.impaired.load(Ordering::Relaxed) == 0
    }

    pub(super) fn panicking(&self) -> bool {
        self.panicking.load(Ordering::Relaxed)
    }

    pub(super) fn queue(&self) -> &Queue {
        &self.queue
    }

    /// A backend has room for another request.
    pub(super) fn room(&self) {
        self.queue.room();
    }

    pub(super) fn succeeded(&self, backend: &Backend) {
        let health = &backend.health;
        if health.failures.load(Ordering::Relaxed) != 0 {
            health.failures.store(0, Ordering::Relaxed);
        }
        // Without a trial, it is the answer to a request from before the ejection.
        if health.state.load(Ordering::Relaxed) & EJECTED != 0
            && (health.trial.load(Ordering::Relaxed) || self.panicking())
        {
            self.take_back(backend);
        }
    }

    pub(super) fn failed(&self, backend: &Backend) {
        self.failed_at(backend, self.now());
    }

    pub(super) fn failed_at(&self, backend: &Backend, now: u64) {
        let threshold = self.failures_to_eject.load(Ordering::Relaxed);
        let health = &backend.health;
        let failures = health.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if threshold == 0 {
            return;
        }
        if health.state.load(Ordering::Relaxed) & EJECTED == 0 {
            if failures >= threshold {
                self.eject(backend, &format!("{failures} exchanges in a row failed"), now);
            }
        } else if health.trial.load(Ordering::Relaxed) {
            self.eject(backend, "it failed again", now);
        }
    }

    fn eject(&self, backend: &Backend, reason: &str, now: u64) {
        let members = self.members();
        let health = &backend.health;
        let again = health.state.load(Ordering::Relaxed) & EJECTED != 0;
        if again && !health.trial.load(Ordering::Relaxed) {
            return; // Another worker was first.
        }
        if !again && !members.may_eject_one_more() {
            health.failures.store(0, Ordering::Relaxed);
            return;
        }
        let time = u64::try_from(members.eject.time.as_millis()).unwrap_or(u64::MAX).max(1);
        let sound_for = if again { 0 } else { now.saturating_sub(health.returned.load(Ordering::Relaxed)) };
        let forgiven = u32::try_from(sound_for / time).unwrap_or(u32::MAX);
        let before = health.ejections.load(Ordering::Relaxed).saturating_sub(forgiven);
        let ejections = (before + 1).min(MOST_EJECTIONS);
        health.ejections.store(ejections, Ordering::Relaxed);
        let time = time.saturating_mul(u64::from(ejections));
        health.until.store(now.saturating_add(time), Ordering::Relaxed);
        health.trial.store(false, Ordering::Relaxed);
        health.state.fetch_or(EJECTED, Ordering::Relaxed);
        let time = humantime::format_duration(Duration::from_millis(time));
        tracing::warn!("upstream {}: {} is ejected for {time}: {reason}", self.name, backend.address);
        self.recount(&members);
    }

    fn take_back(&self, backend: &Backend) {
        let members = self.members();
        let health = &backend.health;
        if health.state.fetch_and(!EJECTED, Ordering::Relaxed) & EJECTED == 0 {
            return; // Another worker was first.
        }
        health.trial.store(false, Ordering::Relaxed);
        health.returned.store(self.now(), Ordering::Relaxed);
        tracing::info!("upstream {}: {} is back: it answered again", self.name, backend.address);
        self.recount(&members);
    }

    /// Probes found that the backend is dead, for that reason.
    pub(super) fn probed_down(&self, backend: &Backend, reason: &str) {
        let members = self.members();
        if backend.health.state.fetch_or(DOWN, Ordering::Relaxed) & DOWN == 0 {
            tracing::warn!("upstream {}: {} is unhealthy: {reason}", self.name, backend.address);
            self.recount(&members);
        }
    }

    /// Probes found that the backend is well, or there are no more probes.
    pub(super) fn probed_up(&self, backend: &Backend, reason: &str) {
        let members = self.members();
        if backend.health.state.fetch_and(!DOWN, Ordering::Relaxed) & DOWN != 0 {
            tracing::info!("upstream {}: {} is healthy: {reason}", self.name, backend.address);
            self.recount(&members);
        }
    }

    /// Counted afresh after each change: changes are rare, and nothing can drift.
    fn recount(&self, members: &Members) {
        let total = members.backends.len();
        let impaired = members.count(|health| !health.sound());
        self.impaired.store(u32::try_from(impaired).unwrap_or(u32::MAX), Ordering::Relaxed);
        let healthy = total - impaired;
        let panicking = impaired > 0 && healthy * 100 < members.panic_threshold as usize * total;
        if self.panicking.swap(panicking, Ordering::Relaxed) != panicking {
            if panicking {
                tracing::error!("upstream {}: {healthy} of {total} backends are healthy, so all are used", self.name);
            } else {
                tracing::info!("upstream {}: {healthy} of {total} backends are healthy, which is enough", self.name);
            }
        }
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        // Nothing in here can be left half done that the next recount would not put right.
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Members {
    fn may_eject_one_more(&self) -> bool {
        let ejected = self.count(|health| health.state.load(Ordering::Relaxed) & EJECTED != 0);
        (ejected + 1) * 100 <= self.backends.len() * self.eject.max_percent as usize
    }

    fn count(&self, which: impl Fn(&Health) -> bool) -> usize {
        self.backends.iter().filter_map(Weak::upgrade).filter(|backend| which(&backend.health)).count()
    }
}

/// Left out because exchanges failed.
const EJECTED: u8 = 1;
/// Left out because probes failed.
const DOWN: u8 = 2;
/// Milliseconds between two trials of which nothing was heard.
const TRIAL_INTERVAL: u64 = 1000;
/// An ejection lasts at most so many times `eject.time`.
const MOST_EJECTIONS: u32 = 10;
