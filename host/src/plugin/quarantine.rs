//! Setting a plugin aside that keeps failing, and trying it again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::now_nanos;

/// Shared by all workers. While the plugin is in service, passing costs one load.
#[derive(Debug, Default)]
pub(super) struct Quarantine {
    /// 0 in service; otherwise the moment from which one exchange may try it.
    until: AtomicU64,
    state: Mutex<State>,
}

/// Whether a plugin may be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// It is in service.
    Free,
    /// It is set aside, but this exchange tries whether it is well again.
    Probe,
    /// It is set aside.
    Refused,
}

#[derive(Debug, Default)]
struct State {
    window: u64,
    calls_before: u64,
    failures: u64,
    /// How long it is set aside this time; zero when it never was.
    back_off: Duration,
    /// When it came back into service.
    recovered: u64,
}

impl Quarantine {
    /// Whether a new exchange may have the plugin.
    #[inline]
    pub(super) fn pass(&self) -> Pass {
        match self.until.load(Ordering::Relaxed) {
            0 => Pass::Free,
            until => self.try_again(until),
        }
    }

    /// For how long it is set aside this time, if it is.
    pub(super) fn back_off(&self) -> Option<Duration> {
        (self.until.load(Ordering::Relaxed) != 0).then(|| self.lock().back_off)
    }

    /// The exchange that tried it found it well.
    pub(super) fn recovered(&self) {
        let mut state = self.lock();
        state.recovered = now_nanos();
        state.window = 0;
        self.until.store(0, Ordering::Relaxed);
    }

    /// A call failed. `calls` tells how many there were in all. Returns for how long the plugin is now set aside, if
    /// this was one failure too many.
    pub(super) fn failed(&self, pass: Pass, calls: impl FnOnce() -> u64) -> Option<Duration> {
        let mut state = self.lock();
        let now = now_nanos();
        let in_service = self.until.load(Ordering::Relaxed) == 0;
        if pass != Pass::Probe {
            if !in_service || !state.too_many(now, calls()) {
                return None;
            }
            if now.saturating_sub(state.recovered) > nanos(FORGIVEN) {
                state.back_off = Duration::ZERO;
            }
        }
        state.back_off = (state.back_off * 2).clamp(FIRST_BACK_OFF, LONGEST_BACK_OFF);
        state.window = 0;
        self.until.store(now + nanos(state.back_off), Ordering::Relaxed);
        Some(state.back_off)
    }

    fn try_again(&self, until: u64) -> Pass {
        let now = now_nanos();
        if now < until {
            return Pass::Refused;
        }
        // Should the probe never end (its client may leave), another one follows.
        let lease = now + nanos(PROBE_LEASE);
        match self.until.compare_exchange(until, lease, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => Pass::Probe,
            Err(0) => Pass::Free,
            Err(_) => Pass::Refused,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn too_many(&mut self, now: u64, calls: u64) -> bool {
        if self.window == 0 || now.saturating_sub(self.window) > nanos(WINDOW) {
            self.window = now;
            self.failures = 0;
            // This call has been counted already.
            self.calls_before = calls.saturating_sub(1);
        }
        self.failures += 1;
        self.failures >= FAILURES && self.failures * 2 > calls.saturating_sub(self.calls_before)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// So many failures within [`WINDOW`], if they are more than half of the calls.
const FAILURES: u64 = 10;
const WINDOW: Duration = Duration::from_secs(10);
const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(60);
/// After so long in service the next time begins with [`FIRST_BACK_OFF`] again.
const FORGIVEN: Duration = Duration::from_secs(60);
const PROBE_LEASE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nine_failures_are_not_enough_and_ten_are() {
        let quarantine = Quarantine::default();
        for calls in 1..=9 {
            assert_eq!(quarantine.failed(Pass::Free, || calls), None);
        }
        assert_eq!(quarantine.pass(), Pass::Free);
        assert_eq!(quarantine.failed(Pass::Free, || 10), Some(FIRST_BACK_OFF));
        assert_eq!(quarantine.pass(), Pass::Refused);
        assert_eq!(quarantine.back_off(), Some(FIRST_BACK_OFF));
    }

    #[test]
    fn failures_that_are_a_third_of_the_calls_do_not_count() {
        let quarantine = Quarantine::default();
        for failure in 1..=1000 {
            assert_eq!(quarantine.failed(Pass::Free, || failure * 3), None);
        }
    }

    #[test]
    fn a_failing_probe_doubles_the_time_up_to_a_minute() {
        let quarantine = Quarantine::default();
        let back_offs: Vec<u64> =
            (0..8).filter_map(|_| quarantine.failed(Pass::Probe, || 0)).map(|time| time.as_secs()).collect();
        assert_eq!(back_offs, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn one_exchange_tries_and_the_others_wait() {
        let quarantine = Quarantine::default();
        quarantine.until.store(1, Ordering::Relaxed);
        assert_eq!(quarantine.pass(), Pass::Probe);
        assert_eq!(quarantine.pass(), Pass::Refused);
        quarantine.recovered();
        assert_eq!(quarantine.pass(), Pass::Free);
        assert_eq!(quarantine.back_off(), None);
    }
}
