//! The wasmtime engine: which of its powers are on, how much it may hold, and the clock that interrupts guests.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, Thread};
use std::time::Duration;

use wasmtime::{Config, Engine, EngineWeak, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::LoadError;

/// Makes the engine and starts its clock, which ends when the last handle of the engine is gone.
pub(super) fn start() -> Result<(Engine, Arc<Clock>), LoadError> {
    // A process whose address space is limited gets fewer slots rather than none.
    let engine = Engine::new(&config(SLOTS)).or_else(|_| Engine::new(&config(SLOTS / 16)));
    let engine = engine.map_err(|error| LoadError(format!("cannot run wasm on this machine: {error:#}")))?;
    let weak = engine.weak();
    let (tell, told) = mpsc::sync_channel::<Arc<Clock>>(1);
    // A thread of its own: a task would starve on the very worker that a guest keeps busy.
    let thread = thread::Builder::new()
        .name("plugin-clock".into())
        .spawn(move || {
            if let Ok(clock) = told.recv() {
                clock.run(&weak);
            }
        })
        .map_err(|error| LoadError(format!("cannot start the clock of the plugins: {error}")))?;
    let clock = Arc::new(Clock { called: AtomicBool::new(true), thread: thread.thread().clone() });
    // Its buffer has room, and the thread cannot be gone before it was told.
    let _ = tell.send(clock.clone());
    Ok((engine, clock))
}

/// What makes guests look up from their work. It rests while no guest is called: a thousand wake-ups a second are nothing
/// for a busy process, but a nuisance of an idle one.
#[derive(Debug)]
pub(super) struct Clock {
    /// Whether a guest was called, or was still at work, since the last tick.
    called: AtomicBool,
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

    #[cold]
    fn wake(&self) {
        if !self.called.swap(true, Ordering::SeqCst) {
            self.thread.unpark();
        }
    }

    fn run(&self, engine: &EngineWeak) {
        let mut quiet = 0;
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            quiet = if self.called.swap(false, Ordering::SeqCst) { 0 } else { quiet + 1 };
            if quiet < QUIET_TICKS {
                thread::sleep(TICK);
            } else {
                // A call that comes from now on finds nothing called, and so wakes us, even before we sleep.
                thread::park_timeout(LONGEST_REST);
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
        .linear_memory_keep_resident(64 << 10)
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
        .wasm_multi_memory(false)
        .wasm_relaxed_simd(false);
    config
}

/// How often a guest is interrupted: no worker is kept from its other work for longer than about two of these.
const TICK: Duration = Duration::from_millis(1);

/// After so many ticks without a call the clock rests.
const QUIET_TICKS: u32 = 50;

/// How long it rests, unless it is woken: until then the thread outlives its engine.
const LONGEST_REST: Duration = Duration::from_millis(200);

/// The most that `limits.memory` can be.
const MEMORY_CEILING: usize = 256 << 20;

/// Instances in the whole process, whatever the limits of the single uses add up to.
const SLOTS: u32 = 4096;
