//! The wasmtime engine: which of its powers are on, how much it may hold, and the clock that interrupts guests.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, Thread};
use std::time::Duration;

use wasmtime::{Config, Engine, EngineWeak, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::LoadError;

/// Makes the engine and starts its clock, which ends when the last handle of the engine is gone.
pub(super) fn start() -> Result<(Engine, Arc<Clock>), LoadError> {
    start_with_rest(LONGEST_REST)
}

fn start_with_rest(rest: Duration) -> Result<(Engine, Arc<Clock>), LoadError> {
    // A process whose address space is limited gets fewer slots rather than none.
    let fewer = |slots| move |_| Engine::new(&config(slots));
    let engine =
        Engine::new(&config(SLOTS)).or_else(fewer(SLOTS / 16)).or_else(fewer(SLOTS / 256)).or_else(fewer(SLOTS / 1024));
    let engine = engine.map_err(|error| LoadError(format!("cannot run wasm on this machine: {error:#}")))?;
    let weak = engine.weak();
    let (tell, told) = mpsc::sync_channel::<Arc<Clock>>(1);
    // A thread of its own: a task would starve on the very worker that a guest keeps busy.
    let thread = thread::Builder::new()
        .name("plugin-clock".into())
        .spawn(move || {
            if let Ok(clock) = told.recv() {
                clock.run(&weak, rest);
            }
        })
        .map_err(|error| LoadError(format!("cannot start the clock of the plugins: {error}")))?;
    let thread = thread.thread().clone();
    let clock = Arc::new(Clock {
        called: AtomicBool::new(true),
        at_work: AtomicBool::new(false),
        pause: AtomicU64::new(TICK.as_nanos() as u64),
        resting: AtomicBool::new(false),
        thread,
    });
    // Its buffer has room, and the thread cannot be gone before it was told.
    let _ = tell.send(clock.clone());
    Ok((engine, clock))
}

/// What makes guests look up from their work. It rests while no guest is called: a thousand wake-ups a second are nothing
/// for a busy process, but a nuisance of an idle one. While a guest computes for longer than a tick, it ticks faster: an
/// exchange that has the worker in common with it waits for a slice each time that it has to wait for anything.
#[derive(Debug)]
pub(super) struct Clock {
    /// Whether a guest was called, or was still at work, since the last tick.
    called: AtomicBool,
    /// Whether the last tick found one at work.
    at_work: AtomicBool,
    /// Nanoseconds from the last tick to the next.
    pause: AtomicU64,
    resting: AtomicBool,
    thread: Thread,
}

impl Clock {
    /// A guest is called, or is still at work. Between two ticks, only the first caller does more than look.
    #[inline]
    pub(super) fn called(&self) {
        if !self.called.load(Ordering::Relaxed) {
            self.wake();
        }
    }

    /// A tick has found a guest at work. Says how far apart the ticks are, or were.
    pub(super) fn found_at_work(&self) -> Duration {
        self.called();
        self.at_work.store(true, Ordering::Relaxed);
        Duration::from_nanos(self.pause.load(Ordering::Relaxed))
    }

    #[cold]
    fn wake(&self) {
        if !self.called.swap(true, Ordering::SeqCst) {
            self.thread.unpark();
        }
    }

    fn run(&self, engine: &EngineWeak, rest: Duration) {
        let mut quiet = 0;
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            quiet = if self.called.swap(false, Ordering::SeqCst) { 0 } else { quiet + 1 };
            if quiet < QUIET_TICKS {
                let pause = if self.at_work.swap(false, Ordering::Relaxed) { SLICE } else { TICK };
                self.pause.store(pause.as_nanos() as u64, Ordering::Relaxed);
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

fn config(slots: u32) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots.saturating_mul(4))
        .total_memories(slots)
        .total_tables(slots.saturating_mul(2))
        .total_stacks(slots)
        .max_memory_size(MEMORY_CEILING)
        .max_memories_per_module(1)
        // What a small instance has in all: cleared in place, it is there for the next without a page fault. Beyond that, pages
        // are given back. (`pagemap_scan` would find those that were written, but misses what has been swapped out, which the
        // next instance would then see.)
        .linear_memory_keep_resident(192 << 10)
        .table_keep_resident(16 << 10)
        .max_unused_warm_slots(64);
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        // Without it a call costs a quarter; components that use the async ABI then do not load.
        .concurrency_support(false)
        .epoch_interruption(true)
        .max_wasm_stack(512 << 10)
        .async_stack_size(1 << 20)
        .wasm_memory64(false)
        // Where a component is made of others, as those of JavaScript are, the code that joins two sees the memories of both.
        // A module of a plugin's own has one at most: the pool's `max_memories_per_module`.
        .wasm_multi_memory(true)
        .wasm_relaxed_simd(false);
    config
}

/// How often a guest is interrupted: no worker is kept from its other work for longer than about two of these.
pub(super) const TICK: Duration = Duration::from_millis(1);

/// How often, while one computes for longer than that.
const SLICE: Duration = Duration::from_micros(100);

/// After so many ticks without a call the clock rests.
const QUIET_TICKS: u32 = 50;

/// How long it rests, unless it is woken: until then the thread outlives its engine.
const LONGEST_REST: Duration = Duration::from_millis(200);

/// The most that `limits.memory` can be.
const MEMORY_CEILING: usize = 256 << 20;

/// Instances in the whole process, whatever the limits of the single uses add up to.
const SLOTS: u32 = 4096;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::time::Instant;

    use wasmtime::{Instance, Module, Store};

    use super::*;

    fn until(what: &str, happened: impl Fn() -> bool) {
        let began = Instant::now();
        while !happened() {
            assert!(began.elapsed() < Duration::from_secs(20), "{what} takes too long");
            thread::yield_now();
        }
    }

    /// A clock that would rest for an hour, were it not woken.
    #[test]
    fn a_guest_is_stopped_by_the_next_tick_however_long_the_clock_has_rested() {
        let (engine, clock) = start_with_rest(Duration::from_secs(3600)).unwrap();
        let module = Module::new(&engine, SPIN).unwrap();
        for _ in 0..5 {
            until("the rest", || clock.resting.load(Ordering::Relaxed));
            let mut store = Store::new(&engine, 0);
            store.epoch_deadline_callback(|mut cx| {
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
    }

    #[test]
    fn it_ticks_faster_while_a_guest_computes_and_only_then() {
        let (engine, clock) = start_with_rest(Duration::from_millis(1)).unwrap();
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

    /// `(module (func (loop br 0)) (start 0))`
    const SPIN: &[u8] =
        b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x08\x01\0\x0a\x09\x01\x07\0\x03\x40\x0c\0\x0b\x0b";
}
