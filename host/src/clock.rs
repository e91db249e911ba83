//! A worker's clock: coarse, and so cheap that every wait can have an end.
//!
//! A timer of the runtime costs some 150 ns to arm and disarm. Here, arming is a store: a deadline is moved where it is, and
//! a task that comes by every 10 ms looks only at those that may be due, and only then finds out where they have been moved
//! to. What it goes through for that lies together: ten thousand of them take it about 10 us.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
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
    moment: Rc<Moment>,
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
    /// Entries that are to be looked at some time.
    awaited: Cell<usize>,
    /// The ticking task, while it sleeps because there is nothing to be looked at.
    asleep: RefCell<Option<Waker>>,
}

/// What the ticking task goes through.
#[derive(Debug)]
struct Entry {
    /// When to look at the moment: not after it, but maybe long before, because it moves without telling. Or `NEVER`.
    look: u64,
    moment: Rc<Moment>,
}

/// When a deadline passes, and who waits for that.
#[derive(Debug)]
struct Moment {
    /// Milliseconds since the clock's start, or `NEVER`.
    due: Cell<u64>,
    /// What the clock showed when it was armed.
    armed_at: Cell<u64>,
    /// The same as its entry's.
    look: Cell<u64>,
    waker: RefCell<Option<Waker>>,
}

impl Clock {
    /// A clock that shows the right time as long as [`Clock::run`] runs.
    #[must_use]
    pub fn new() -> Self {
        Self(Rc::new(Inner {
            start: Instant::now(),
            now: Cell::new(0),
            entries: RefCell::default(),
            awaited: Cell::new(0),
            asleep: RefCell::new(None),
        }))
    }

    /// Milliseconds since this clock was made, up to a tick too few.
    #[must_use]
    pub fn millis(&self) -> u64 {
        if self.0.awaited.get() == 0 {
            self.0.refresh();
        }
        self.0.now.get()
    }

    /// The same for who has a deadline armed: the clock goes then.
    #[must_use]
    pub fn shown(&self) -> u64 {
        self.0.now.get()
    }

    /// A deadline, not yet armed.
    #[must_use]
    pub fn deadline(&self) -> Deadline {
        let moment = Rc::new(Moment {
            due: Cell::new(NEVER),
            armed_at: Cell::new(0),
            look: Cell::new(NEVER),
            waker: RefCell::new(None),
        });
        let key = self.0.entries.borrow_mut().insert(Entry { look: NEVER, moment: Rc::clone(&moment) });
        Deadline { clock: Rc::clone(&self.0), key, moment }
    }

    /// Ticks for ever. A worker runs this as a task.
    pub async fn run(self) {
        // One timer for all ticks: it costs less to set it anew.
        let mut sleep = pin!(tokio::time::sleep(TICK));
        loop {
            poll_fn(|cx| {
                if self.0.awaited.get() > 0 {
                    return Poll::Ready(());
                }
                *self.0.asleep.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            })
            .await;
            sleep.as_mut().reset(tokio::time::Instant::now() + TICK);
            sleep.as_mut().await;
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
        self.set_millis(millis(after));
    }

    /// The same, for who has the number at hand. One millisecond is the least.
    pub fn set_millis(&self, after: u64) {
        let (moment, now) = (&*self.moment, self.clock.now.get());
        let due = now.saturating_add(after | 1);
        if due < moment.look.get() {
            return self.set_sooner(after);
        }
        moment.armed_at.set(now);
        moment.due.set(due);
    }

    /// Arms it for a moment before that at which the clock would look at it.
    #[cold]
    fn set_sooner(&self, after: u64) {
        if self.moment.look.get() == NEVER {
            self.clock.awaits_another();
        }
        let now = self.clock.now.get();
        let due = now.saturating_add(after | 1);
        self.moment.armed_at.set(now);
        self.moment.due.set(due);
        self.clock.entries.borrow_mut()[self.key].look_at(due);
    }

    /// Disarms it.
    pub fn clear(&self) {
        self.moment.due.set(NEVER);
    }

    /// Makes it pass now, and wakes whoever waits for it.
    pub fn expire(&self) {
        self.moment.due.set(0);
        let waker = self.moment.waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether it is armed and has passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.moment.due.get() <= self.clock.now.get()
    }

    /// Ready once it has passed. The task is woken when that happens, and also when it is armed later.
    #[inline]
    pub fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        if self.passed() {
            return Poll::Ready(());
        }
        let known = self.moment.waker.borrow().as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        if !known {
            self.wakes(cx.waker());
        }
        Poll::Pending
    }

    #[cold]
    fn wakes(&self, waker: &Waker) {
        self.moment.waker.replace(Some(waker.clone()));
    }

    /// The future's output, unless the deadline passes first.
    ///
    /// # Errors
    /// [`Elapsed`], with the future dropped.
    pub async fn limit<F: Future>(&self, future: F) -> Result<F::Output, Elapsed> {
        let mut future = pin!(future);
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
        let entry = self.clock.entries.borrow_mut().remove(self.key);
        if entry.look != NEVER {
            self.clock.awaited.set(self.clock.awaited.get() - 1);
        }
    }
}

impl Inner {
    fn refresh(&self) {
        self.now.set(millis(self.start.elapsed()));
    }

    fn awaits_another(&self) {
        let awaited = self.awaited.get();
        if awaited == 0 {
            // The clock has stood still since there was last something to look at.
            self.refresh();
            if let Some(waker) = self.asleep.borrow_mut().take() {
                waker.wake();
            }
        }
        self.awaited.set(awaited + 1);
    }

    fn tick(&self) {
        let before = self.now.get();
        self.refresh();
        let now = self.now.get();
        if now - before > LATE {
            self.postpone(before, now - before);
        }
        let mut seen = 0;
        // Woken one by one and not under the borrow, because waking may drop a task and with it deadlines.
        while let Some(waker) = self.next_due(now, &mut seen) {
            waker.wake();
        }
    }

    /// The thread stood still, because the machine or a task kept it busy. What was armed since the last tick may have been
    /// armed at any time since: it must not pass too early.
    #[cold]
    fn postpone(&self, armed_at: u64, by: u64) {
        for (_, Entry { moment, .. }) in self.entries.borrow().iter() {
            let due = moment.due.get();
            // Not one that was made to pass.
            if moment.armed_at.get() == armed_at && due > armed_at && due < NEVER - by {
                moment.due.set(due + by);
            }
        }
    }

    /// Who waits for the next deadline that has passed. Those that have moved on are looked at again when they are due.
    fn next_due(&self, now: u64, from: &mut usize) -> Option<Waker> {
        let mut entries = self.entries.borrow_mut();
        let last = entries.capacity();
        while *from < last {
            let key = *from;
            *from += 1;
            if let Some(entry) = entries.get_mut(key)
                && entry.look <= now
            {
                let due = entry.moment.due.get();
                let passed = due <= now;
                entry.look_at(if passed { NEVER } else { due });
                if entry.look == NEVER {
                    self.awaited.set(self.awaited.get() - 1);
                }
                if passed && let Some(waker) = entry.moment.waker.take() {
                    return Some(waker);
                }
            }
        }
        None
    }
}

impl Entry {
    fn look_at(&mut self, look: u64) {
        self.look = look;
        self.moment.look.set(look);
    }
}

/// Whole milliseconds.
#[must_use]
pub fn millis(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1000).saturating_add(duration.subsec_millis().into())
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
    fn a_deadline_passes_where_it_was_moved_to_however_often() {
        on_a_worker(async {
            let clock = Clock::new();
            tokio::task::spawn_local(clock.clone().run());
            let (moved, other) = (clock.deadline(), clock.deadline());
            let start = Instant::now();
            moved.set(Duration::from_millis(20));
            for _ in 0..4 {
                other.set(Duration::from_millis(20));
                assert_eq!(other.limit(std::future::pending::<()>()).await, Err(Elapsed));
                // Later than the clock would look at it, and then sooner than that.
                moved.set(Duration::from_secs(3600));
                moved.set(Duration::from_millis(60));
                assert!(!moved.passed());
            }
            assert_eq!(moved.limit(std::future::pending::<()>()).await, Err(Elapsed));
            assert!(start.elapsed() >= Duration::from_millis(100), "{:?}", start.elapsed());
        });
    }

    #[test]
    fn a_clock_stands_still_when_nothing_is_waited_for_and_is_right_when_something_is() {
        on_a_worker(async {
            let clock = Clock::new();
            tokio::task::spawn_local(clock.clone().run());
            let (first, second, dropped) = (clock.deadline(), clock.deadline(), clock.deadline());
            dropped.set(Duration::from_secs(3600));
            drop(dropped);
            first.set(Duration::from_millis(10));
            first.clear();
            first.set(Duration::from_millis(10));
            assert_eq!(first.limit(std::future::pending::<()>()).await, Err(Elapsed));
            while clock.0.asleep.borrow().is_none() {
                tokio::task::yield_now().await;
            }
            assert_eq!(clock.0.awaited.get(), 0);
            tokio::time::sleep(Duration::from_millis(100)).await;
            let start = Instant::now();
            second.set(Duration::from_millis(50));
            assert!(!second.passed());
            assert_eq!(second.limit(std::future::pending::<()>()).await, Err(Elapsed));
            assert!(start.elapsed() >= Duration::from_millis(40), "{:?}", start.elapsed());
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
