//! Exchanges that wait for a backend with room.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use super::{Live, Upstream};

/// Who waits for room at one of the backends of an upstream.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: AtomicUsize,
    room: Notify,
}

/// As many exchanges wait as the configuration allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueFull;

impl Queue {
    /// Wakes the exchange that has waited longest, if there is one.
    pub(super) fn room(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.room.notify_one();
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) == 0
    }
}

impl Upstream {
    /// Like [`Upstream::live`], but when all backends are at `max_requests` waits until one has room again. The caller sets
    /// the limit in time, which is `settings.queue_timeout`. The answer is empty only if no backend is healthy.
    ///
    /// # Errors
    /// When `settings.queue` exchanges wait already.
    pub async fn live_or_wait(&self, tried: &[u16]) -> Result<Live, QueueFull> {
        let live = self.live(tried);
        if !live.is_empty() || !self.full(tried) {
            return Ok(live);
        }
        let queue = self.group.queue();
        let _place = Place::take(queue, self.settings.queue)?;
        loop {
            let mut room = pin!(queue.room.notified());
            // From here on we are told, so what we see now cannot be out of date before we wait. Dropped after it was told,
            // it tells the next.
            room.as_mut().enable();
            let live = self.live(tried);
            if !live.is_empty() || !self.full(tried) {
                return Ok(live);
            }
            room.await;
        }
    }
}

/// A place in the queue.
struct Place<'a>(&'a Queue);

impl<'a> Place<'a> {
    fn take(queue: &'a Queue, most: usize) -> Result<Self, QueueFull> {
        let place = Self(queue);
        if queue.waiting.fetch_add(1, Ordering::SeqCst) < most { Ok(place) } else { Err(QueueFull) }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}
