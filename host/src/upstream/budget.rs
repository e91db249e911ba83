//! The budget for retries of one upstream: at most 20 % of the requests and 10 per second, both over the last 10 s. So
//! retries cannot multiply the load on backends that fail because of load.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Counts requests with one atomic addition; all else is done when a retry is wanted.
#[derive(Debug)]
pub(super) struct Budget {
    requests: AtomicU64,
    start: Instant,
    seconds: Mutex<VecDeque<Second>>,
}

/// A second in which retries were wanted.
#[derive(Debug)]
struct Second {
    /// Since `start`.
    number: u64,
    /// Requests counted before the first retry that was wanted in it.
    requests: u64,
    /// Retries granted in it.
    retries: u64,
}

impl Budget {
    pub(super) fn count(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn spend(&self) -> bool {
        self.spend_at(self.start.elapsed().as_secs())
    }

    /// A retry that was granted just now is not made.
    pub(super) fn give_back(&self) {
        if let Ok(mut seconds) = self.seconds.lock()
            && let Some(second) = seconds.iter_mut().rev().find(|second| second.retries > 0)
        {
            second.retries -= 1;
        }
    }

    fn spend_at(&self, now: u64) -> bool {
        let total = self.requests.load(Ordering::Relaxed);
        let Ok(mut seconds) = self.seconds.lock() else { return false };
        if seconds.back().is_none_or(|last| last.number < now) {
            seconds.push_back(Second { number: now, requests: total, retries: 0 });
        }
        let window_start = now.saturating_sub(WINDOW);
        // The last one before the window stays: it tells how many requests came before.
        while seconds.get(1).is_some_and(|second| second.number <= window_start) {
            seconds.pop_front();
        }
        let recent = total.saturating_sub(requests_before(&seconds, window_start, now, total));
        let spent: u64 = seconds
            .iter()
            .filter(|second| now < WINDOW || second.number > window_start)
            .map(|second| second.retries)
            .sum();
        let granted = spent < recent * PERCENT / 100 + PER_SECOND * WINDOW;
        if granted && let Some(second) = seconds.back_mut() {
            second.retries += 1;
        }
        granted
    }
}

/// Requests counted before the window. If nobody asked for a retry at its start, an even flow is assumed around it.
fn requests_before(seconds: &VecDeque<Second>, window_start: u64, now: u64, total: u64) -> u64 {
    let Some(before) = seconds.front().filter(|second| second.number <= window_start) else { return 0 };
    let (next_number, next_requests) = seconds.get(1).map_or((now, total), |next| (next.number, next.requests));
    let span = next_number.saturating_sub(before.number).max(1);
    let grown = next_requests.saturating_sub(before.requests);
    before.requests + grown.saturating_mul(window_start - before.number) / span
}

impl Default for Budget {
    fn default() -> Self {
        let first = Second { number: 0, requests: 0, retries: 0 };
        Self { requests: AtomicU64::new(0), start: Instant::now(), seconds: Mutex::new(VecDeque::from([first])) }
    }
}

/// Seconds.
const WINDOW: u64 = 10;
const PERCENT: u64 = 20;
const PER_SECOND: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(budget: &Budget, wanted: u64, now: u64) -> u64 {
        (0..wanted).filter(|_| budget.spend_at(now)).count() as u64
    }

    fn count(budget: &Budget, requests: u64) {
        (0..requests).for_each(|_| budget.count());
    }

    #[test]
    fn a_burst_gets_a_fifth_and_a_hundred() {
        let budget = Budget::default();
        count(&budget, 1000);
        assert_eq!(granted(&budget, 1000, 0), 300);
        assert_eq!(granted(&budget, 1000, 5), 0);
    }

    #[test]
    fn what_is_given_back_can_be_spent_again() {
        let budget = Budget::default();
        assert_eq!(granted(&budget, 200, 0), 100);
        budget.give_back();
        assert_eq!(granted(&budget, 200, 0), 1);
    }

    #[test]
    fn what_was_spent_comes_back_after_the_window() {
        let budget = Budget::default();
        assert_eq!(granted(&budget, 200, 3), 100);
        assert_eq!(granted(&budget, 200, 12), 0);
        assert_eq!(granted(&budget, 200, 13), 100);
    }

    #[test]
    fn requests_of_long_ago_buy_nothing() {
        let budget = Budget::default();
        count(&budget, 36_000);
        // An hour at 10 per second, so far as can be known: 100 in the window.
        assert_eq!(granted(&budget, 1000, 3600), 120);
        assert_eq!(granted(&budget, 1000, 7200), 100);
    }

    #[test]
    fn the_window_moves_with_the_requests() {
        let budget = Budget::default();
        for second in 0..60 {
            count(&budget, 100);
            assert!(granted(&budget, 30, second) <= 30);
        }
        // 30 were wanted each second; 20 + 10 per second are allowed.
        assert!(
            (280..=300).contains(
                &(0..10)
                    .map(|n| {
                        count(&budget, 100);
                        granted(&budget, 30, 60 + n)
                    })
                    .sum::<u64>()
            )
        );
        assert!(
            (290..=310).contains(
                &(0..10)
                    .map(|n| {
                        count(&budget, 100);
                        granted(&budget, 90, 70 + n)
                    })
                    .sum::<u64>()
            )
        );
    }
}
