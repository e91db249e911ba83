//! Memory after very many traps, in a process of its own: other tests would be measured with it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::time::Duration;

use lockgate::plugin::{Cause, Hook};

use crate::scene::{failure, misbehave_with, on_a_worker, proceeded};

#[allow(dead_code, reason = "words for all scenes, of which this is one")]
#[path = "plugin/scene.rs"]
mod scene;

/// `LOCKGATE_TRAPS=100000` for the full number.
#[test]
fn memory_is_flat_after_many_traps() {
    let traps: u32 = std::env::var("LOCKGATE_TRAPS").ok().and_then(|text| text.parse().ok()).unwrap_or(10_000);
    // A machine that is busy with something else must not look like a plugin that computes for too long.
    let plugin = misbehave_with("flat", "trap", |plugin| plugin.limits.cpu = Duration::from_secs(1));
    on_a_worker(async |worker| {
        let mut before = 0;
        for trap in 0..traps {
            failure(worker.exchange(&plugin, "x-now").await);
            // So that it is not set aside, most of its calls are well.
            for _ in 0..2 {
                proceeded(worker.exchange(&plugin, "x-else").await);
            }
            if trap == traps / 10 {
                before = resident();
            }
        }
        let after = resident();
        assert!(after < before + (2 << 20), "{before} bytes after a tenth of the traps, {after} after all");
        assert_eq!(plugin.stats().failures, [(Hook::OnRequest, Cause::Trap, u64::from(traps))]);
        assert_eq!(plugin.stats().instances_made, u64::from(traps) + 1);
    });
}

fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
}
