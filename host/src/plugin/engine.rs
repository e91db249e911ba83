//! The wasmtime engine: which of its powers are on, how much it may hold, and the clock that interrupts guests.

use std::thread;
use std::time::Duration;

use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::LoadError;

/// Makes the engine and starts its clock, which ends when the last handle of the engine is gone.
pub(super) fn start() -> Result<Engine, LoadError> {
    // A process whose address space is limited gets fewer slots rather than none.
    let engine = Engine::new(&config(SLOTS)).or_else(|_| Engine::new(&config(SLOTS / 16)));
    let engine = engine.map_err(|error| LoadError(format!("cannot run wasm on this machine: {error:#}")))?;
    let clock = engine.weak();
    // A thread of its own: a task would starve on the very worker that a guest keeps busy.
    thread::Builder::new()
        .name("plugin-clock".into())
        .spawn(move || {
            while let Some(engine) = clock.upgrade() {
                engine.increment_epoch();
                drop(engine);
                thread::sleep(TICK);
            }
        })
        .map_err(|error| LoadError(format!("cannot start the clock of the plugins: {error}")))?;
    Ok(engine)
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
pub(super) const TICK: Duration = Duration::from_millis(1);

/// The most that `limits.memory` can be.
pub(super) const MEMORY_CEILING: usize = 256 << 20;

/// Instances in the whole process, whatever the limits of the single uses add up to.
const SLOTS: u32 = 4096;
