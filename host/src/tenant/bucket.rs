//! A bucket of tokens in one number: the moment at which it is full again. (What is known as the generic cell rate
//! algorithm: exact, however many threads take from it.)

use std::sync::atomic::{AtomicU64, Ordering};

/// Full at first. Times are nanoseconds on one clock.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    full_at: AtomicU64,
}

impl Bucket {
    /// Takes a token if there is one: there is one more every `every`, and no more of them than come in `depth`.
    pub(super) fn take(&self, now: u64, every: u64, depth: u64) -> bool {
        let take = |full_at: u64| {
            let next = full_at.max(now).saturating_add(every);
            (next - now <= depth).then_some(next)
        };
        self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    /// Takes what has been used already, be there so much or not.
    pub(super) fn charge(&self, now: u64, cost: u64) {
        let charge = |full_at: u64| Some(full_at.max(now).saturating_add(cost));
        let _ = self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, charge);
    }

    /// Whether more than `depth` was taken.
    pub(super) fn exceeds(&self, now: u64, depth: u64) -> bool {
        self.full_at.load(Ordering::Relaxed).saturating_sub(now) > depth
    }
}
