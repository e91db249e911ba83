//! Clocks that are held beside each call, and what they themselves take.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use cpu_time::ThreadTime;

use crate::plugin::Hook;

/// Taken at the start and the end of each call of a hook.
pub(super) trait Stopwatch: Clone + 'static {
    type Mark: Copy + 'static;
    fn start(&self) -> Self::Mark;
    fn stop(&self, hook: Hook, mark: Self::Mark);
}

/// A clock that can be asked how long it takes to ask it.
pub(super) trait Clock {
    fn now() -> u64;

    /// Nanoseconds between two looks at it with nothing between them, in the mean of the best of some rounds.
    fn overhead() -> f64 {
        let round = |_| {
            let apart: u64 = (0..LOOKS)
                .map(|_| {
                    let from = Self::now();
                    Self::now() - from
                })
                .sum();
            apart as f64 / f64::from(LOOKS)
        };
        (0..20).map(round).fold(f64::INFINITY, f64::min)
    }
}

/// No clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Silent;

impl Stopwatch for Silent {
    type Mark = ();

    fn start(&self) {}

    fn stop(&self, _: Hook, (): ()) {}
}

/// The time of day, for means: the cheapest to ask. Medians of many batches do not see what else the machine did.
#[derive(Debug, Clone, Default)]
pub(super) struct Wall(Rc<[Cell<(u64, u64)>; Hook::COUNT]>);

impl Wall {
    pub(super) fn reset(&self) {
        self.0.iter().for_each(|hook| hook.set((0, 0)));
    }

    /// The mean of the calls of a hook since the last reset, if there were any.
    pub(super) fn mean(&self, hook: Hook) -> Option<f64> {
        let (calls, nanos) = self.0[hook as usize].get();
        (calls > 0).then(|| nanos as f64 / calls as f64)
    }
}

impl Clock for Wall {
    fn now() -> u64 {
        thread_local! {
            static START: Instant = Instant::now();
        }
        u64::try_from(START.with(Instant::elapsed).as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Stopwatch for Wall {
    type Mark = u64;

    #[inline]
    fn start(&self) -> u64 {
        Self::now()
    }

    #[inline]
    fn stop(&self, hook: Hook, mark: u64) {
        let took = Self::now() - mark;
        let (calls, nanos) = self.0[hook as usize].get();
        self.0[hook as usize].set((calls + 1, nanos + took));
    }
}

/// The CPU time of this thread, for the longest calls.
#[derive(Debug, Clone, Default)]
pub(super) struct Cpu(Rc<[Cell<u64>; Hook::COUNT]>);

impl Cpu {
    pub(super) fn reset(&self) {
        self.0.iter().for_each(|hook| hook.set(0));
    }

    /// The longest call of a hook since the last reset.
    pub(super) fn longest(&self, hook: Hook) -> u64 {
        self.0[hook as usize].get()
    }
}

impl Clock for Cpu {
    fn now() -> u64 {
        u64::try_from(ThreadTime::now().as_duration().as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Stopwatch for Cpu {
    type Mark = u64;

    #[inline]
    fn start(&self) -> u64 {
        Self::now()
    }

    #[inline]
    fn stop(&self, hook: Hook, mark: u64) {
        let took = Self::now() - mark;
        let longest = &self.0[hook as usize];
        longest.set(longest.get().max(took));
    }
}

const LOOKS: u32 = 1000;
