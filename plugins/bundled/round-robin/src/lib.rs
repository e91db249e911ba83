//! Picks one backend after the other.

use lockgate_plugin::{NoConfig, PickBackend, Plugin, counters};

/// Keeps nothing of its own: the position is a counter of the host, so that all workers take turns together.
struct RoundRobin;

impl Plugin for RoundRobin {
    type Config = NoConfig;

    fn new(_: NoConfig) -> Result<Self, String> {
        Ok(Self)
    }
}

impl PickBackend for RoundRobin {
    fn pick_backend(&mut self, count: u32) -> Option<u32> {
        // A counter wraps around after 2^64 picks, which is the one time that the turn may be unfair.
        let turn = counters::add("position", 1) % u64::from(count);
        u32::try_from(turn).ok()
    }
}

lockgate_plugin::export!(RoundRobin: PickBackend);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use lockgate_plugin::configured;

    #[test]
    fn backends_take_turns_across_instances() {
        let mut workers: [RoundRobin; 2] = [configured("{}").unwrap(), configured("{}").unwrap()];
        let picks: Vec<_> = (0..7).map(|turn| workers[turn % 2].pick_backend(3)).collect();
        assert_eq!(picks, [0, 1, 2, 0, 1, 2, 0].map(Some));
    }

    #[test]
    fn the_turn_goes_on_when_backends_come_and_go() {
        let mut plugin: RoundRobin = configured("{}").unwrap();
        for (count, expected) in [(2, 0), (2, 1), (1, 0), (3, 0), (3, 1)] {
            assert_eq!(plugin.pick_backend(count), Some(expected));
        }
    }

    #[test]
    fn it_takes_no_configuration() {
        assert_eq!(configured::<RoundRobin>(r#"{"a": 1}"#).err().unwrap(), "unknown field `a`, there are no fields");
    }
}
