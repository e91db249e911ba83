//! What makes guests look up from their work.

#[cfg_attr(not(target_os = "linux"), path = "clock/no_alarm.rs")]
mod alarm;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, mpsc};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use wasmtime::{Engine, EngineWeak};

use super::LoadError;

/// What makes guests look up from their work: each of its ticks ends the epoch of the engine.
///
/// A thread that calls guests all the time, such as a worker, has an alarm of its own that it puts off as long as it gets on,
/// so that nothing is woken for guests that take no longer than they should, and one that was put aside has the same slice each
/// time that it is its turn ([`keep_alarm`](Self::keep_alarm)). For all others a thread ticks as long as guests are called, and
/// rests when none is. While a guest computes for longer than a tick, ticks are faster: an exchange that has the worker in common
/// with it waits for a slice each time that it has to wait for anything.
pub(super) struct Clock {
    engine: EngineWeak,
    /// Whether a guest was called, or was still at work, since the last tick.
    called: AtomicBool,
    /// Whether the last tick found one at work.
    at_work: AtomicBool,
    /// Nanoseconds from the last tick to the next.
    pause: AtomicU64,
    resting: AtomicBool,
    thread: Thread,
    /// When the last tick was, by [`now_nanos`], whoever made it, and how long that was after the one before.
    last: AtomicU64,
    gap: AtomicU64,
}

impl Clock {
    /// Starts its thread, which ends when the last handle of the engine is gone.
    pub(super) fn start(engine: &Engine) -> Result<Arc<Self>, LoadError> {
        Self::start_with_rest(engine, LONGEST_REST)
    }

    fn start_with_rest(engine: &Engine, rest: Duration) -> Result<Arc<Self>, LoadError> {
        let (tell, told) = mpsc::sync_channel::<Arc<Self>>(1);
        // A thread of its own: a task would starve on the very worker that a guest keeps busy.
        let thread = thread::Builder::new()
            .name("plugin-clock".into())
            .spawn(move || {
                if let Ok(clock) = told.recv() {
                    clock.run(rest);
                }
            })
            .map_err(|error| LoadError(format!("cannot start the clock of the plugins: {error}")))?;
        let thread = thread.thread().clone();
        let clock = Arc::new(Self {
            engine: engine.weak(),
            called: AtomicBool::new(true),
            at_work: AtomicBool::new(false),
            pause: AtomicU64::new(nanos(TICK)),
            resting: AtomicBool::new(false),
            thread,
            last: AtomicU64::new(0),
            gap: AtomicU64::new(0),
        });
        // Its buffer has room, and the thread cannot be gone before it was told.
        let _ = tell.send(clock.clone());
        Ok(clock)
    }

    /// Gives this thread an alarm of its own, if it has none and the system has one for it.
    pub(super) fn keep_alarm(self: &Arc<Self>) {
        alarm::keep(self);
    }

    /// A guest is called. Mostly this does no more than look.
    #[inline]
    pub(super) fn called(&self) {
        if !alarm::called(self) && !self.called.load(Ordering::Relaxed) {
            self.wake();
        }
    }

    /// It is the turn again of a guest that was put aside, one that has met a tick before if it is `long`.
    pub(super) fn resumed(&self, long: bool) {
        if !alarm::resumed(self, long) {
            self.called();
        }
    }

    /// A tick has found a guest at work. Says how long it may have been at work: since the tick before, be that for a guest on
    /// another thread, or for as long as this thread's guests may be at work without one.
    pub(super) fn found_at_work(&self) -> Duration {
        let pause = alarm::found_at_work(self).unwrap_or_else(|| {
            self.called();
            self.at_work.store(true, Ordering::Relaxed);
            Duration::from_nanos(self.pause.load(Ordering::Relaxed))
        });
        pause.min(Duration::from_nanos(self.gap.load(Ordering::Relaxed)))
    }

    #[cold]
    fn wake(&self) {
        if !self.called.swap(true, Ordering::SeqCst) {
            self.thread.unpark();
        }
    }

    /// Says whether there still is an engine.
    fn tick(&self) -> bool {
        let now = now_nanos();
        self.gap.store(now.saturating_sub(self.last.swap(now, Ordering::Relaxed)), Ordering::Relaxed);
        self.engine.upgrade().is_some_and(|engine| {
            engine.increment_epoch();
            true
        })
    }

    fn run(&self, rest: Duration) {
        let mut quiet = 0;
        while self.tick() {
            quiet = if self.called.swap(false, Ordering::SeqCst) { 0 } else { quiet + 1 };
            if quiet < QUIET_TICKS {
                let pause = if self.at_work.swap(false, Ordering::Relaxed) { SLICE } else { TICK };
                self.pause.store(nanos(pause), Ordering::Relaxed);
                thread::sleep(pause);
            } else {
                // A call that comes from now on finds nothing called, and so wakes us, even before we sleep.
                self.resting.store(true, Ordering::Relaxed);
                thread::park_timeout(rest);
                self.resting.store(false, Ordering::Relaxed);
            }
        }
    }
}

/// Nanoseconds since some moment before now; never 0.
pub(super) fn now_nanos() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX).saturating_add(1)
}

const fn nanos(time: Duration) -> u64 {
    time.as_nanos() as u64
}

/// How soon a guest is interrupted: no worker is kept from its other work for longer than about two of these.
pub(super) const TICK: Duration = Duration::from_millis(1);

/// How soon, once it has computed for longer than that.
const SLICE: Duration = Duration::from_micros(100);

/// After so many ticks without a call the clock rests.
const QUIET_TICKS: u32 = 50;

/// How long it rests, unless it is woken: until then the thread outlives its engine.
const LONGEST_REST: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use wasmtime::{Config, Instance, Module, Store};

    use super::*;

    pub(super) fn until(what: &str, happened: impl Fn() -> bool) {
        let began = Instant::now();
        while !happened() {
            assert!(began.elapsed() < Duration::from_secs(20), "{what} takes too long");
            thread::yield_now();
        }
    }

    /// Has a guest compute until it has met its third tick.
    pub(super) fn spins_until_stopped(engine: &Engine, clock: &Arc<Clock>) {
        let module = Module::new(engine, SPIN).unwrap();
        let mut store = Store::new(engine, 0);
        let found = clock.clone();
        store.epoch_deadline_callback(move |mut cx| {
            found.found_at_work();
            *cx.data_mut() += 1;
            if *cx.data() < 3 {
                Ok(wasmtime::UpdateDeadline::Continue(1))
            } else {
                Err(wasmtime::Error::msg("stopped"))
            }
        });
        store.set_epoch_deadline(1);
        clock.called();
        let stopped = Instance::new(&mut store, &module, &[]).unwrap_err();
        assert!(format!("{stopped:#}").contains("stopped"), "{stopped:#}");
        assert_eq!(*store.data(), 3, "it ran from tick to tick");
    }

    /// A clock that would rest for an hour, were it not woken.
    #[test]
    fn a_guest_is_stopped_by_the_next_tick_however_long_the_clock_has_rested() {
        let engine = Engine::new(Config::new().epoch_interruption(true)).unwrap();
        let clock = Clock::start_with_rest(&engine, Duration::from_secs(3600)).unwrap();
        for _ in 0..5 {
            until("the rest", || clock.resting.load(Ordering::Relaxed));
            spins_until_stopped(&engine, &clock);
        }
    }

    #[test]
    fn it_ticks_faster_while_a_guest_computes_and_only_then() {
        let engine = Engine::new(&Config::new()).unwrap();
        let clock = Clock::start_with_rest(&engine, Duration::from_millis(1)).unwrap();
        let pause = || Duration::from_nanos(clock.pause.load(Ordering::Relaxed));
        until("the first tick", || !clock.called.load(Ordering::Relaxed));
        assert_eq!(pause(), TICK);
        until("the haste", || {
            clock.found_at_work();
            pause() == SLICE
        });
        until("the calm", || {
            clock.called();
            pause() == TICK
        });
        drop(engine);
    }

    #[test]
    fn a_guest_has_not_been_at_work_since_before_the_last_tick() {
        let engine = Engine::new(&Config::new()).unwrap();
        let clock = Clock::start(&engine).unwrap();
        until("two ticks in a row", || {
            clock.tick();
            clock.tick();
            clock.found_at_work() < SLICE / 2
        });
    }

    /// `(module (func (loop br 0)) (start 0))`
    const SPIN: &[u8] =
        b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x08\x01\0\x0a\x09\x01\x07\0\x03\x40\x0c\0\x0b\x0b";
}
