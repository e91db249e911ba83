//! The components of this process that are compiled: each once, for as long as a use of it is held.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use lockgate_component_cache::ComponentCache;

use super::component::{Compiled, digest};
use super::imports::Linkers;
use super::lock;

/// What has been compiled, and what that takes.
pub(super) struct Components {
    linkers: Linkers,
    /// The same for plugins whose key spaces are in Redis, which has them wait.
    waiting_linkers: Linkers,
    cache: Option<ComponentCache>,
    slots: Mutex<HashMap<Key, Slot>>,
}

/// The digest of a component's bytes, and whether its key space may wait.
type Key = ([u8; 32], bool);

/// Where one stands. Locked for as long as it takes to compile it, so that nobody does so a second time.
type Slot = Arc<Mutex<Weak<Compiled>>>;

impl Components {
    /// None are compiled yet.
    pub(super) fn new(linkers: Linkers, waiting_linkers: Linkers, cache: Option<ComponentCache>) -> Self {
        Self { linkers, waiting_linkers, cache, slots: Mutex::default() }
    }

    /// Compiles the component with these bytes, unless somebody has it. The error is what is wrong with it, to be put after
    /// its name.
    pub(super) fn compiled(&self, bytes: Vec<u8>, limit: Duration, kv_waits: bool) -> Result<Arc<Compiled>, String> {
        let digest = digest(&bytes);
        let slot = self.slot((digest, kv_waits));
        let mut known = lock(&slot);
        if let Some(known) = known.upgrade() {
            return Ok(known);
        }
        let linkers = if kv_waits { &self.waiting_linkers } else { &self.linkers };
        let made = Arc::new(Compiled::new(bytes, limit, digest, (linkers, kv_waits), self.cache.as_ref())?);
        *known = Arc::downgrade(&made);
        Ok(made)
    }

    /// Forgets what nobody has any more. The lock of all slots is not kept while one is filled: that can take seconds.
    fn slot(&self, key: Key) -> Slot {
        let mut slots = lock(&self.slots);
        slots.retain(|_, slot| Arc::strong_count(slot) > 1 || lock(slot).strong_count() > 0);
        Arc::clone(slots.entry(key).or_default())
    }
}
