//! How often plugins were replaced while they served, and what kept others from it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// The swaps of all plugins, by name.
#[derive(Debug, Default)]
pub(super) struct Swaps(Mutex<BTreeMap<String, SwapStats>>);

/// The swaps of one plugin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SwapStats {
    /// New versions, or configurations, that took the place of the old.
    pub taken: u64,
    /// Those that did not.
    pub refused: u64,
    /// Why the last one did not, until one does.
    pub why: Option<String>,
}

impl Swaps {
    pub(super) fn of(&self, name: &str) -> SwapStats {
        self.lock().get(name).cloned().unwrap_or_default()
    }

    /// What was to replace the plugin cannot: the old one stays.
    pub(super) fn refused(&self, name: &str, why: String) {
        let mut swaps = self.lock();
        let swap = swaps.entry(name.to_owned()).or_default();
        swap.refused += 1;
        swap.why = Some(why);
    }

    /// These plugins are in use now, and those that are marked have taken the place of others.
    pub(super) fn taken(&self, plugins: impl Iterator<Item = (String, bool)>) {
        let mut swaps = self.lock();
        let mut now = BTreeMap::new();
        for (name, swapped) in plugins {
            // A name that is configured in two ways comes twice.
            let known = now.remove(&name).or_else(|| swaps.remove(&name)).unwrap_or_default();
            let taken = known.taken + u64::from(swapped);
            now.insert(name, SwapStats { taken, why: None, ..known });
        }
        *swaps = now;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, SwapStats>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_is_told_until_something_is_taken() {
        let swaps = Swaps::default();
        swaps.refused("a", "is not wasm".to_owned());
        assert_eq!(swaps.of("a"), SwapStats { taken: 0, refused: 1, why: Some("is not wasm".to_owned()) });
        let named =
            |plugins: &[(&str, bool)]| plugins.iter().map(|(name, it)| ((*name).to_owned(), *it)).collect::<Vec<_>>();
        swaps.taken(named(&[("a", true), ("b", false), ("a", false)]).into_iter());
        assert_eq!(swaps.of("a"), SwapStats { taken: 1, refused: 1, why: None });
        swaps.taken(named(&[("b", true)]).into_iter());
        assert_eq!((swaps.of("a"), swaps.of("b").taken), (SwapStats::default(), 1));
    }
}
