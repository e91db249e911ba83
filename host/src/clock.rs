//! A worker's clock: coarse, and so cheap that every wait can have an end.
//!
//! A timer of the runtime costs some 150 ns to arm and disarm. Here, arming is a store: deadlines lie in one slab, and a
//! task looks at all of them every 10 ms. Ten thousand of them take it about 10 us.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use slab::Slab;

/// The clock of one worker. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Clock(Rc<Inner>);

/// A moment after which something is over. Not armed at first.
#[derive(Debug)]
pub struct Deadline {
    clock: Rc<Inner>,
    key: usize,
}

/// The deadline passed first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elapsed;

#[derive(Debug)]
struct Inner {
    start: Instant,
    /// Milliseconds since `start`, as of the last tick.
    now: Cell<u64>,
    entries: RefCell<Slab<Entry>>,
    armed: Cell<usize>,
    /// The ticking task, while it sleeps because nothing is armed.
    asleep: RefCell<Option<Waker>>,
}

#[derive(Debug)]
struct Entry {
    /// Milliseconds since `start`, or `NEVER`.
    due: u64,
    /// What the clock showed when it was armed.
    armed_at: u64,
    waker: Option<Waker>,
}

impl Clock {
    /// A clock that shows the right time as long as [`Clock::run`] runs.
    #[must_use]
    pub fn new() -> Self {
        Self(Rc::new(Inner {
            start: Instant::now(),
            now: Cell::new(0),
            entries: RefCell::default(),
            armed: Cell::new(0),
            asleep: RefCell::new(None),
        }))
    }

    /// Milliseconds since this clock was made, up to a tick too few.
    #[must_use]
    pub fn millis(&self) -> u64 {
        if self.0.armed.get() == 0 {
            self.0.refresh();
        }
        self.0.now.get()
    }

    /// A deadline, not yet armed.
    #[must_use]
    pub fn deadline(&self) -> Deadline {
        let key = self.0.entries.borrow_mut().insert(Entry { due: NEVER, armed_at: 0, waker: None });
        Deadline { clock: Rc::clone(&self.0), key }
    }

    /// Ticks for ever. A worker runs this as a task.
    pub async fn run(self) {
        loop {
            poll_fn(|cx| {
                if self.0.armed.get() > 0 {
                    return Poll::Ready(());
                }
                *self.0.asleep.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            })
            .await;
            tokio::time::sleep(TICK).await;
            self.0.tick();
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

impl Deadline {
    /// Arms it, or arms it anew.
    pub fn set(&self, after: Duration) {
        let clock = &self.clock;
        let mut entries = clock.entries.borrow_mut();
        let entry = &mut entries[self.key];
        if entry.due == NEVER {
            clock.arm();
        }
        let after = u64::try_from(after.as_millis()).unwrap_or(NEVER / 2);
        entry.armed_at = clock.now.get();
        entry.due = entry.armed_at.saturating_add(after.max(1)).min(NEVER - 1);
    }

    /// Disarms it.
    pub fn clear(&self) {
        let mut entries = self.clock.entries.borrow_mut();
        let entry = &mut entries[self.key];
        if entry.due != NEVER {
            entry.due = NEVER;
            self.clock.armed.set(self.clock.armed.get() - 1);
        }
    }

    /// Makes it pass now, and wakes whoever waits for it.
    pub fn expire(&self) {
        let waker = {
            let mut entries = self.clock.entries.borrow_mut();
            let entry = &mut entries[self.key];
            if entry.due == NEVER {
                self.clock.arm();
            }
            entry.due = 0;
            entry.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether it is armed and has passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.clock.entries.borrow()[self.key].due <= self.clock.now.get()
    }

    /// Ready once it has passed. The task is woken when that happens, and also when it is armed later.
    pub fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        let mut entries = self.clock.entries.borrow_mut();
        let entry = &mut entries[self.key];
        if entry.due <= self.clock.now.get() {
            return Poll::Ready(());
        }
        match &mut entry.waker {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            slot => *slot = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// The future's output, unless the deadline passes first.
    ///
    /// # Errors
    /// [`Elapsed`], with the future dropped.
    pub async fn limit<F: Future>(&self, future: F) -> Result<F::Output, Elapsed> {
        let mut future = pin!(future);
        self.limit_pinned(future.as_mut()).await
    }

    /// The same for a future that the caller keeps.
    ///
    /// # Errors
    /// [`Elapsed`]; the future can be polled on.
    pub async fn limit_pinned<F: Future>(&self, mut future: Pin<&mut F>) -> Result<F::Output, Elapsed> {
        poll_fn(|cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            self.poll(cx).map(|()| Err(Elapsed))
        })
        .await
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.clear();
        self.clock.entries.borrow_mut().remove(self.key);
    }
}

impl Inner {
    fn refresh(&self) {
        self.now.set(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(NEVER / 2));
    }

    fn arm(&self) {
        let armed = self.armed.get();
        if armed == 0 {
            // The clock has stood still since the last deadline was disarmed.
            self.refresh();
            if let Some(waker) = self.asleep.borrow_mut().take() {
                waker.wake();
            }
        }
        self.armed.set(armed + 1);
    }

    fn tick(&self) {
        let before = self.now.get();
        self.refresh();
        let now = self.now.get();
        if now - before > LATE {
            self.postpone(before, now - before);
        }
        let mut woken = 0;
        // Woken one by one and not under the borrow, because waking may drop a task and with it deadlines.
        while let Some(waker) = self.next_due(now, &mut woken) {
            waker.wake();
        }
    }

    /// The thread stood still, because the machine or a task kept it busy. What was armed since the last tick may have been
    /// armed at any time since: it must not pass too early.
    #[cold]
    fn postpone(&self, armed_at: u64, by: u64) {
        for (_, entry) in self.entries.borrow_mut().iter_mut() {
            if entry.armed_at == armed_at && entry.due < NEVER - by {
                // Not one that was made to pass.
                entry.due += if entry.due > armed_at { by } else { 0 };
            }
        }
    }

    fn next_due(&self, now: u64, from: &mut usize) -> Option<Waker> {
        let mut entries = self.entries.borrow_mut();
        let last = entries.capacity();
        while *from < last {
            let key = *from;
            *from += 1;
            if let Some(entry) = entries.get_mut(key)
                && entry.due <= now
                && entry.waker.is_some()
            {
                return entry.waker.take();
            }
        }
        None
    }
}

const TICK: Duration = Duration::from_millis(10);
/// A tick that comes so many milliseconds after the last one is late.
const LATE: u64 = 30;
const NEVER: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    fn on_a_worker<F: Future>(future: F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        tokio::task::LocalSet::new().block_on(&runtime, future)
    }

    #[test]
    fn a_wait_ends_at_its_deadline_and_not_before() {
        on_a_worker(async {
            let clock = Clock::new();
            tokio::task::spawn_local(clock.clone().run());
            let deadline = clock.deadline();
            deadline.set(Duration::from_millis(50));
            let start = Instant::now();
            assert_eq!(deadline.limit(std::future::pending::<()>()).await, Err(Elapsed));
            assert!(start.elapsed() >= Duration::from_millis(40), "{:?}", start.elapsed());
        });
    }

    #[test]
    fn a_deadline_that_is_armed_after_a_standstill_does_not_pass_too_early() {
        on_a_worker(async {
            let clock = Clock::new();
            tokio::task::spawn_local(clock.clone().run());
            let (before, after, expired) = (clock.deadline(), clock.deadline(), clock.deadline());
            before.set(Duration::from_millis(20));
            // The clock has begun to tick.
            tokio::time::sleep(Duration::from_millis(15)).await;
            // This is what a busy worker does.
            std::thread::sleep(Duration::from_millis(200));
            after.set(Duration::from_millis(150));
            expired.set(Duration::from_millis(150));
            expired.expire();
            let start = Instant::now();
            assert_eq!(after.limit(std::future::pending::<()>()).await, Err(Elapsed));
            assert!(start.elapsed() >= Duration::from_millis(115), "{:?}", start.elapsed());
            assert!(before.passed() && expired.passed());
        });
    }

    #[test]
    fn an_expired_deadline_wakes_its_task() {
        on_a_worker(async {
            let clock = Clock::new();
            let deadline = Rc::new(clock.deadline());
            let other = Rc::clone(&deadline);
            let waiting = tokio::task::spawn_local(async move { other.limit(std::future::pending::<()>()).await });
            tokio::task::yield_now().await;
            deadline.expire();
            assert_eq!(waiting.await.expect("no panic"), Err(Elapsed));
        });
    }

    #[test]
    fn a_cleared_deadline_does_not_pass() {
        on_a_worker(async {
            let clock = Clock::new();
            tokio::task::spawn_local(clock.clone().run());
            let (kept, cleared) = (clock.deadline(), clock.deadline());
            cleared.set(Duration::from_millis(10));
            cleared.clear();
            kept.set(Duration::from_millis(60));
            assert_eq!(kept.limit(std::future::pending::<()>()).await, Err(Elapsed));
            assert!(!cleared.passed());
        });
    }
}
