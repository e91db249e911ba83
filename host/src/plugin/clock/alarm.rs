//! A thread's own alarm: a timer of the system, which is put off again and again while the thread gets on with its guests, and
//! a thread that waits for it.

use std::cell::{Cell, OnceCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use std::{io, thread};

use rustix::fd::OwnedFd;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use super::{Clock, SLICE, TICK, nanos, now_nanos};

thread_local! {
    static OWN: OnceCell<Own> = const { OnceCell::new() };
}

/// What the thread that calls guests has of it.
struct Own {
    alarm: Arc<Alarm>,
    /// Calls until the next look at the time: a look costs about as much as the rest of what is done before a call.
    calls: Cell<u8>,
}

/// What that thread shares with the one that waits.
struct Alarm {
    clock: Arc<Clock>,
    timer: OwnedFd,
    /// Whether a guest was called, or was still at work, since it last went off. As long as this is true, it goes off again.
    called: AtomicBool,
    /// When it is to go off, by [`now_nanos`].
    due: AtomicU64,
    /// Nanoseconds between when it was set and that.
    pause: AtomicU64,
    /// The same, when it last went off.
    passed: AtomicU64,
    /// The thread that calls guests is gone.
    over: AtomicBool,
    #[cfg(test)]
    gone_off: AtomicU64,
}

pub(super) fn keep(clock: &Arc<Clock>) {
    OWN.with(|own| {
        if own.get().is_none() {
            match Alarm::start(clock) {
                Ok(alarm) => {
                    let _ = own.set(Own { alarm, calls: Cell::new(0) });
                }
                Err(error) => tracing::warn!(
                    target: "lockgate::plugin",
                    "a thread has no timer of its own for plugins, and makes do with the clock of all: {error}"
                ),
            }
        }
    });
}

#[inline]
pub(super) fn called(clock: &Clock) -> bool {
    with_own(clock, Own::called).is_some()
}

pub(super) fn resumed(clock: &Clock, long: bool) -> bool {
    with_own(clock, |own| if long { own.alarm.within(SLICE) } else { own.called() }).is_some()
}

pub(super) fn found_at_work(clock: &Clock) -> Option<Duration> {
    with_own(clock, |own| {
        own.alarm.within(SLICE);
        Duration::from_nanos(own.alarm.passed.load(Ordering::Relaxed))
    })
}

#[inline]
fn with_own<T>(clock: &Clock, then: impl FnOnce(&Own) -> T) -> Option<T> {
    OWN.with(|own| own.get().filter(|own| std::ptr::eq(&raw const *own.alarm.clock, clock)).map(then))
}

impl Own {
    #[inline]
    fn called(&self) {
        match self.calls.get().checked_sub(1) {
            Some(calls) if self.alarm.called.load(Ordering::Relaxed) => self.calls.set(calls),
            _ => self.look(),
        }
    }

    /// Puts it off, if it would go off soon.
    #[cold]
    fn look(&self) {
        self.calls.set(CALLS_BETWEEN_LOOKS);
        self.alarm.put_off();
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.alarm.over.store(true, Ordering::SeqCst);
        self.alarm.set(Duration::from_nanos(1));
    }
}

impl Alarm {
    fn start(clock: &Arc<Clock>) -> io::Result<Arc<Self>> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
        let alarm = Arc::new(Self {
            clock: clock.clone(),
            timer,
            called: AtomicBool::new(false),
            due: AtomicU64::new(0),
            pause: AtomicU64::new(nanos(TICK)),
            passed: AtomicU64::new(nanos(TICK)),
            over: AtomicBool::new(false),
            #[cfg(test)]
            gone_off: AtomicU64::new(0),
        });
        let waiting = alarm.clone();
        thread::Builder::new().name("plugin-alarm".into()).spawn(move || waiting.run())?;
        Ok(alarm)
    }

    /// There is no guest at work on its thread, but there is about to be.
    fn put_off(&self) {
        // Before the look at when it is due: if it goes off in between, it either sees this, or is seen to be over.
        self.called.store(true, Ordering::SeqCst);
        if self.due.load(Ordering::SeqCst) < now_nanos() + nanos(TICK) / 2 {
            self.set(TICK);
        }
    }

    /// It goes off no later than that from now.
    fn within(&self, pause: Duration) {
        self.called.store(true, Ordering::SeqCst);
        let now = now_nanos();
        if !(now..now + nanos(pause)).contains(&self.due.load(Ordering::SeqCst)) {
            self.set(pause);
        }
    }

    fn set(&self, pause: Duration) {
        self.pause.store(nanos(pause), Ordering::Relaxed);
        self.due.store(now_nanos() + nanos(pause), Ordering::SeqCst);
        let at = Timespec { tv_sec: 0, tv_nsec: pause.subsec_nanos().into() };
        let once = Itimerspec { it_interval: Timespec::default(), it_value: at };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once).expect("it is a timer, and the time is one");
    }

    /// Waits for it to go off, over and over.
    fn run(&self) {
        // It has to interrupt the very thread that computes on this core, and the kernel would have it wait for its turn.
        if let Err(error) = lockgate_cpu_slice::set(SLICE) {
            tracing::info!(
                target: "lockgate::plugin",
                "a guest that computes may keep its worker for some milliseconds more, as the kernel refuses short slices: {error}"
            );
        }
        let mut times = [0; 8];
        loop {
            let read = rustix::io::read(&self.timer, &mut times);
            if self.over.load(Ordering::SeqCst) {
                return;
            }
            if read.is_err() {
                // A signal. Nothing else can go wrong with a timer.
                continue;
            }
            #[cfg(test)]
            self.gone_off.fetch_add(1, Ordering::SeqCst);
            self.passed.store(self.pause.load(Ordering::Relaxed), Ordering::Relaxed);
            // Before the tick, because a guest that it finds at work sets it again, and knows better.
            if self.called.swap(false, Ordering::SeqCst) {
                self.set(TICK);
            }
            self.clock.tick();
        }
    }
}

/// At 200 000 calls in a second, a look every 80 us.
const CALLS_BETWEEN_LOOKS: u8 = 16;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use wasmtime::{Config, Engine};

    use super::super::tests::{spins_until_stopped, until};
    use super::*;

    fn alarm() -> Arc<Alarm> {
        OWN.with(|own| own.get().unwrap().alarm.clone())
    }

    #[test]
    fn a_guest_is_stopped_however_long_nobody_was_called() {
        let engine = Engine::new(Config::new().epoch_interruption(true)).unwrap();
        let clock = Clock::start_with_rest(&engine, Duration::from_secs(3600)).unwrap();
        clock.keep_alarm();
        let alarm = alarm();
        until("the other's rest", || clock.resting.load(Ordering::SeqCst));
        for _ in 0..5 {
            until("the rest", || {
                now_nanos() > alarm.due.load(Ordering::SeqCst) && !alarm.called.load(Ordering::SeqCst)
            });
            spins_until_stopped(&engine, &clock);
        }
        assert!(alarm.gone_off.load(Ordering::SeqCst) >= 15, "its own alarm has stopped it");
    }

    #[test]
    fn it_does_not_go_off_while_calls_are_short() {
        let engine = Engine::new(&Config::new()).unwrap();
        let clock = Clock::start(&engine).unwrap();
        clock.keep_alarm();
        let alarm = alarm();
        until("a busy moment without an alarm", || {
            let (gone_off, due) = (alarm.gone_off.load(Ordering::SeqCst), alarm.due.load(Ordering::SeqCst));
            let long = now_nanos() + 3 * nanos(TICK);
            while now_nanos() < long {
                clock.called();
            }
            alarm.gone_off.load(Ordering::SeqCst) == gone_off && alarm.due.load(Ordering::SeqCst) > due
        });
    }

    #[test]
    fn it_goes_off_sooner_while_a_guest_computes_and_only_then() {
        let engine = Engine::new(&Config::new()).unwrap();
        let clock = Clock::start(&engine).unwrap();
        clock.keep_alarm();
        assert_eq!(found_at_work(&clock), Some(TICK));
        until("the haste", || found_at_work(&clock) == Some(SLICE));
        until("the calm", || {
            clock.called();
            found_at_work(&clock) == Some(TICK)
        });
    }

    #[test]
    fn its_thread_ends_with_the_one_that_it_is_for() {
        let engine = Engine::new(&Config::new()).unwrap();
        let clock = Clock::start(&engine).unwrap();
        let of_thread = thread::spawn(move || {
            clock.keep_alarm();
            alarm()
        });
        let alarm = of_thread.join().unwrap();
        until("its end", || Arc::strong_count(&alarm) == 1);
    }
}
