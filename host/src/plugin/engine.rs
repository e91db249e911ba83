//! The wasmtime engine: which of its powers are on, and how much it may hold.

use wasmtime::{Config, Engine, Inlining, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::LoadError;

/// Makes the engine.
pub(super) fn start() -> Result<Engine, LoadError> {
    // A process whose address space is limited gets fewer slots rather than none.
    let fewer = |slots| move |_| Engine::new(&config(slots));
    let engine =
        Engine::new(&config(SLOTS)).or_else(fewer(SLOTS / 16)).or_else(fewer(SLOTS / 256)).or_else(fewer(SLOTS / 1024));
    engine.map_err(|error| LoadError(format!("cannot run wasm on this machine: {error:#}")))
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
        // Components of several modules, as those of JavaScript, Python and Go, call from one to another all the time: 5 % less
        // time in their hooks. Within modules the compilers have done it.
        .compiler_inlining(Inlining::InterModule)
        .wasm_memory64(false)
        // Where a component is made of others, as those of JavaScript are, the code that joins two sees the memories of both.
        // A module of a plugin's own has one at most: the pool's `max_memories_per_module`.
        .wasm_multi_memory(true)
        .wasm_relaxed_simd(false);
    config
}

/// The most that `limits.memory` can be.
const MEMORY_CEILING: usize = 256 << 20;

/// Instances in the whole process, whatever the limits of the single uses add up to.
const SLOTS: u32 = 4096;
