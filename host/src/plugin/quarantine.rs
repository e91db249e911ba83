//! Setting a plugin aside that keeps failing, and trying it again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::clock::now_nanos;
use crate::config::Quarantine as Settings;

/// Shared by all workers. While the plugin is in service, passing costs one load, of what stands first.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Quarantine {
    /// 0 in service; otherwise the moment from which one exchange may try it.
    until: AtomicU64,
    pub(super) settings: Settings,
    times: AtomicU64,
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
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings, until: AtomicU64::new(0), times: AtomicU64::new(0), state: Mutex::default() }
    }

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

    /// How much of that time is left: zero as soon as somebody may try it, so that whoever sends exchanges away meanwhile
    /// sends some again.
    pub(super) fn left(&self) -> Duration {
        Duration::from_nanos(self.until.load(Ordering::Relaxed).saturating_sub(now_nanos()))
    }

    /// How often it has been set aside.
    pub(super) fn times(&self) -> u64 {
        self.times.load(Ordering::Relaxed)
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
        let Settings { failures, back_off, longest_back_off, .. } = &self.settings;
        if *failures == 0 {
            return None;
        }
        let mut state = self.lock();
        let now = now_nanos();
        let in_service = self.until.load(Ordering::Relaxed) == 0;
        if pass != Pass::Probe {
            if !in_service || !state.too_many(&self.settings, now, calls()) {
                return None;
            }
            // After so long in service the next time begins with the shortest again.
            if now.saturating_sub(state.recovered) > nanos(*longest_back_off) {
                state.back_off = Duration::ZERO;
            }
        }
        state.back_off = (state.back_off * 2).clamp(*back_off, *longest_back_off);
        state.window = 0;
        self.times.fetch_add(1, Ordering::Relaxed);
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
    fn too_many(&mut self, settings: &Settings, now: u64, calls: u64) -> bool {
        if self.window == 0 || now.saturating_sub(self.window) > nanos(settings.window) {
            self.window = now;
            self.failures = 0;
            // This call has been counted already.
            self.calls_before = calls.saturating_sub(1);
        }
        self.failures += 1;
        let calls = calls.saturating_sub(self.calls_before);
        self.failures >= settings.failures && self.failures * 100 > calls * u64::from(settings.share)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// For the exchange that tries whether the plugin is well again.
const PROBE_LEASE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nine_failures_are_not_enough_and_ten_are() {
        let quarantine = Quarantine::new(Settings::default());
        for calls in 1..=9 {
            assert_eq!(quarantine.failed(Pass::Free, || calls), None);
        }
        assert_eq!(quarantine.pass(), Pass::Free);
        assert_eq!(quarantine.failed(Pass::Free, || 10), Some(Duration::from_secs(1)));
        assert_eq!(quarantine.pass(), Pass::Refused);
        assert_eq!(quarantine.back_off(), Some(Duration::from_secs(1)));
    }

    #[test]
    fn failures_that_are_a_third_of_the_calls_do_not_count() {
        let quarantine = Quarantine::new(Settings::default());
        for failure in 1..=1000 {
            assert_eq!(quarantine.failed(Pass::Free, || failure * 3), None);
        }
    }

    #[test]
    fn the_share_the_number_and_the_times_are_the_operators() {
        let settings = Settings {
            failures: 2,
            share: 10,
            window: Duration::from_millis(50),
            back_off: Duration::from_millis(20),
            longest_back_off: Duration::from_millis(30),
        };
        let quarantine = Quarantine::new(settings.clone());
        assert_eq!(quarantine.failed(Pass::Free, || 1), None);
        assert_eq!(quarantine.failed(Pass::Free, || 20), None, "a tenth is not more than a tenth");
        assert_eq!(quarantine.failed(Pass::Free, || 21), Some(Duration::from_millis(20)));
        assert!(quarantine.left() > Duration::ZERO && quarantine.left() <= Duration::from_millis(20));
        assert_eq!(quarantine.failed(Pass::Probe, || 22), Some(Duration::from_millis(30)));
        assert_eq!(quarantine.times(), 2);
        let off = Quarantine::new(Settings { failures: 0, ..settings });
        assert!((0..1000).all(|calls| off.failed(Pass::Free, || calls).is_none()));
    }

    #[test]
    fn a_failing_probe_doubles_the_time_up_to_a_minute() {
        let quarantine = Quarantine::new(Settings::default());
        let back_offs: Vec<u64> =
            (0..8).filter_map(|_| quarantine.failed(Pass::Probe, || 0)).map(|time| time.as_secs()).collect();
        assert_eq!(back_offs, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn one_exchange_tries_and_the_others_wait() {
        let quarantine = Quarantine::new(Settings::default());
        quarantine.until.store(1, Ordering::Relaxed);
        assert_eq!(quarantine.pass(), Pass::Probe);
        assert_eq!(quarantine.pass(), Pass::Refused);
        quarantine.recovered();
        assert_eq!(quarantine.pass(), Pass::Free);
        assert_eq!(quarantine.back_off(), None);
    }
}
