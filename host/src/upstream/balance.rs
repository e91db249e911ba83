//! Which backend is next: round robin by weight, exact across workers.

use std::sync::atomic::{AtomicU64, Ordering};

use smallvec::SmallVec;

use super::Upstream;

/// Places in `Upstream::backends` that a request may go to now, in ascending order.
pub type Live = SmallVec<[u16; 16]>;

/// How many requests have been given out, for each number of backends to choose from.
///
/// One count for all would let a retry, which has one backend fewer to choose from, take the turn of a request that has
/// all of them, and the rounds would no longer be even.
#[derive(Debug)]
pub(super) struct Positions(Box<[AtomicU64]>);

impl Positions {
    pub(super) fn new(backends: usize) -> Self {
        Self((0..=backends).map(|_| AtomicU64::new(0)).collect())
    }

    fn next(&self, choices: usize) -> u64 {
        self.0[choices.min(self.0.len() - 1)].fetch_add(1, Ordering::Relaxed)
    }
}

impl Upstream {
    /// The backends that a request may go to: healthy, not ejected, not in `tried`, with room for another request. If so
    /// few are healthy that `panic_threshold` applies, all of them. A backend whose ejection is over is among them for one
    /// request, and after that when it has served it well.
    #[must_use]
    pub fn live(&self, tried: &[u16]) -> Live {
        let now = if self.group.all_sound() { 0 } else { self.group.now() };
        self.live_at(tried, now)
    }

    pub(super) fn live_at(&self, tried: &[u16], now: u64) -> Live {
        let all = self.group.all_sound() || self.panicking();
        let mut live = Live::new();
        for (place, backend) in (0..).zip(&self.backends) {
            if !tried.contains(&place) && self.has_room(backend) && (all || backend.health.lets_in(now)) {
                live.push(place);
            }
        }
        live
    }

    /// Round robin by weight, exact across workers: a place in `live`, which must not be empty.
    #[must_use]
    pub fn next(&self, live: &Live) -> usize {
        if live.len() == 1 {
            return 0;
        }
        if !self.group.all_sound()
            && !self.panicking()
            && let Some(place) = live.iter().position(|place| self.backend(*place).health.on_trial())
        {
            // It was let in for one request, which is to show whether it can come back.
            return place;
        }
        let ticket = self.positions.next(live.len());
        if self.equal_weights {
            return usize::try_from(ticket % live.len() as u64).unwrap_or(0);
        }
        self.by_weight(live, ticket)
    }

    /// Whether all backends that a request could go to are at `max_requests`.
    #[must_use]
    pub fn full(&self, tried: &[u16]) -> bool {
        let all = self.group.all_sound() || self.panicking();
        let mut usable = (0..)
            .zip(&self.backends)
            .filter(|(place, backend)| !tried.contains(place) && (all || backend.healthy()))
            .map(|(_, backend)| backend)
            .peekable();
        usable.peek().is_some() && usable.all(|backend| !self.has_room(backend))
    }

    fn has_room(&self, backend: &super::Backend) -> bool {
        (backend.in_flight.load(Ordering::SeqCst) as usize) < self.settings.max_requests
    }

    fn backend(&self, place: u16) -> &super::Backend {
        &self.backends[usize::from(place)]
    }

    /// Every backend owns as many slots as its weight says. Walking through all slots in a stride that has no factor in
    /// common with their number visits each once a round; a stride near the golden section spreads a backend's slots evenly.
    fn by_weight(&self, live: &Live, ticket: u64) -> usize {
        let weight = |place: &u16| u64::from(self.backend(*place).weight);
        let total: u64 = live.iter().map(weight).sum();
        let mut slot = ticket % total * stride(total) % total;
        for (place, backend) in live.iter().enumerate() {
            match slot.checked_sub(weight(backend)) {
                Some(rest) => slot = rest,
                None => return place,
            }
        }
        0
    }
}

/// The number nearest above 0.618 of `slots` that has no factor in common with it.
fn stride(slots: u64) -> u64 {
    let mut stride = (slots * 618 / 1000).max(1);
    while common_factor(stride, slots) != 1 {
        stride += 1;
    }
    stride
}

fn common_factor(mut one: u64, mut other: u64) -> u64 {
    while other != 0 {
        (one, other) = (other, one % other);
    }
    one
}
