//! Picks one backend after the other.

use lockgate_plugin::{NoConfig, PickBackend, Plugin, backends, counters};

/// Keeps nothing of its own: the position is a counter of the host, so that all workers take turns together.
struct RoundRobin;

impl Plugin for RoundRobin {
    type Config = NoConfig;

    fn new(_: NoConfig) -> Result<Self, String> {
        Ok(Self)
    }
}

impl PickBackend for RoundRobin {
    fn pick_backend(&mut self) -> Option<u32> {
        // A counter wraps around after 2^64 picks, which is the one time that the turn may be unfair.
        let turn = counters::add("position", 1) % u64::from(backends::count());
        u32::try_from(turn).ok()
    }
}

lockgate_plugin::export!(RoundRobin: PickBackend);
