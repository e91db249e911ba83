//! A key space in memory: exact across workers, bounded, the least recently used keys giving way.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use lru::LruCache;

use super::KvError;

/// The key spaces of this process. One lasts for as long as somebody uses it.
#[derive(Debug, Default)]
pub struct Spaces {
    by_owner: Mutex<HashMap<(u64, String), Weak<Space>>>,
}

/// One key space.
#[derive(Debug)]
pub struct Space {
    limit: AtomicUsize,
    used: AtomicUsize,
    evicted: AtomicU64,
    /// How often keys were used: says which of two was used earlier, whatever shards they are in.
    uses: AtomicU64,
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
}

/// How full a key space is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Keys, those among them that have expired and were not asked for since.
    pub keys: usize,
    /// Bytes of keys and values, and what it takes to keep them.
    pub bytes: usize,
    /// Keys that gave way to others.
    pub evicted: u64,
}

type Shard = LruCache<Box<str>, Entry>;

#[derive(Debug)]
struct Entry {
    value: Box<[u8]>,
    expires: Option<Instant>,
    /// Of `Space::uses`, when it was used last.
    used: u64,
}

impl Spaces {
    /// The key space of the plugin of that tenant, or of nobody's if that is 0, of at most `limit` bytes from now on.
    #[must_use]
    pub fn open(&self, tenant: u64, plugin: &str, limit: usize) -> Arc<Space> {
        let mut by_owner = self.by_owner.lock().unwrap_or_else(PoisonError::into_inner);
        by_owner.retain(|_, space| space.strong_count() > 0);
        let owner = (tenant, plugin.to_owned());
        if let Some(space) = by_owner.get(&owner).and_then(Weak::upgrade) {
            space.limit.store(limit, Ordering::Relaxed);
            return space;
        }
        let space = Arc::new(Space::new(limit));
        by_owner.insert(owner, Arc::downgrade(&space));
        space
    }
}

impl Space {
    /// An empty one.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit: AtomicUsize::new(limit),
            used: AtomicUsize::new(0),
            evicted: AtomicU64::new(0),
            uses: AtomicU64::new(0),
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::new(LruCache::unbounded())),
        }
    }

    /// How full it is.
    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage {
            keys: self.shards.iter().map(|shard| lock(shard).len()).sum(),
            bytes: self.used.load(Ordering::Relaxed),
            evicted: self.evicted.load(Ordering::Relaxed),
        }
    }

    /// The value, if there is one.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        let mut shard = lock(self.shard(key));
        self.live(&mut shard, key).map(|entry| entry.value.to_vec())
    }

    /// Stores a value.
    ///
    /// # Errors
    /// [`KvError::TooLarge`]
    pub fn set(&self, key: &str, value: &[u8], life: Option<Duration>) -> Result<(), KvError> {
        self.fits(key, value)?;
        let mut shard = lock(self.shard(key));
        self.put(&mut shard, key, value.into(), life.map(|life| Instant::now() + life));
        drop(shard);
        self.shrink();
        Ok(())
    }

    /// Removes a key, and says whether it was there.
    pub fn delete(&self, key: &str) -> bool {
        let mut shard = lock(self.shard(key));
        let was_there = self.live(&mut shard, key).is_some();
        self.forget(&mut shard, key);
        was_there
    }

    /// Stores a value if what is there is `expected`, and says whether it did.
    ///
    /// # Errors
    /// [`KvError::TooLarge`]
    pub fn compare_and_set(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        value: &[u8],
        life: Option<Duration>,
    ) -> Result<bool, KvError> {
        self.fits(key, value)?;
        let mut shard = lock(self.shard(key));
        if self.live(&mut shard, key).map(|entry| &*entry.value) != expected {
            return Ok(false);
        }
        self.put(&mut shard, key, value.into(), life.map(|life| Instant::now() + life));
        drop(shard);
        self.shrink();
        Ok(true)
    }

    /// Adds to a number and returns the sum. A key that is made now lives so long.
    ///
    /// # Errors
    /// [`KvError::NotANumber`]
    pub fn increment(&self, key: &str, by: i64, life: Option<Duration>) -> Result<i64, KvError> {
        let mut shard = lock(self.shard(key));
        let (before, expires) = match self.live(&mut shard, key) {
            Some(entry) => (number(&entry.value).ok_or(KvError::NotANumber)?, entry.expires),
            None => (0, life.map(|life| Instant::now() + life)),
        };
        let sum = before.checked_add(by).ok_or(KvError::NotANumber)?;
        self.put(&mut shard, key, sum.to_string().into_bytes().into(), expires);
        drop(shard);
        self.shrink();
        Ok(sum)
    }

    fn shard(&self, key: &str) -> &Mutex<Shard> {
        let hash = self.hasher.hash_one(key);
        &self.shards[usize::try_from(hash % SHARDS as u64).expect("there are few shards")]
    }

    fn fits(&self, key: &str, value: &[u8]) -> Result<(), KvError> {
        if cost(key, value) <= self.limit.load(Ordering::Relaxed) { Ok(()) } else { Err(KvError::TooLarge) }
    }

    /// The entry of that key, which counts as used now. One that has expired is dropped.
    fn live<'a>(&self, shard: &'a mut Shard, key: &str) -> Option<&'a Entry> {
        let entry = shard.get_mut(key)?;
        entry.used = self.uses.fetch_add(1, Ordering::Relaxed);
        if entry.expires.is_some_and(|expires| expires <= Instant::now()) {
            self.forget(shard, key);
            return None;
        }
        shard.peek(key)
    }

    fn put(&self, shard: &mut Shard, key: &str, value: Box<[u8]>, expires: Option<Instant>) {
        self.forget(shard, key);
        self.used.fetch_add(cost(key, &value), Ordering::Relaxed);
        let used = self.uses.fetch_add(1, Ordering::Relaxed);
        shard.put(key.into(), Entry { value, expires, used });
    }

    fn forget(&self, shard: &mut Shard, key: &str) {
        if let Some(entry) = shard.pop(key) {
            self.used.fetch_sub(cost(key, &entry.value), Ordering::Relaxed);
        }
    }

    /// Lets the least recently used keys go until all is within the bound again. Nobody holds one lock and waits for another but
    /// this, which takes all of them in their order.
    fn shrink(&self) {
        if !self.is_full() {
            return;
        }
        let mut shards = self.shards.each_ref().map(lock);
        let mut oldest = shards.each_ref().map(|shard| last_use(shard));
        while self.is_full() {
            let places = oldest.iter().enumerate();
            let Some((place, _)) = places.filter_map(|(place, used)| Some((place, (*used)?))).min_by_key(|it| it.1)
            else {
                return;
            };
            self.evict(&mut shards[place]);
            oldest[place] = last_use(&shards[place]);
        }
    }

    fn is_full(&self) -> bool {
        self.used.load(Ordering::Relaxed) > self.limit.load(Ordering::Relaxed)
    }

    fn evict(&self, shard: &mut Shard) {
        if let Some((key, entry)) = shard.pop_lru() {
            self.used.fetch_sub(cost(&key, &entry.value), Ordering::Relaxed);
            self.evicted.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// When the key was used that was not used for longest.
fn last_use(shard: &Shard) -> Option<u64> {
    shard.peek_lru().map(|(_, entry)| entry.used)
}

fn cost(key: &str, value: &[u8]) -> usize {
    key.len() + value.len() + OVERHEAD
}

/// A number as `increment` writes it.
fn number(value: &[u8]) -> Option<i64> {
    let number: i64 = std::str::from_utf8(value).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == value).then_some(number)
}

/// Locks of one space: workers seldom meet at one of them.
const SHARDS: usize = 16;

/// About what the map, the list and the allocations take for one key.
const OVERHEAD: usize = 128;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn what_is_stored_is_found_until_it_is_deleted() {
        let space = Space::new(1 << 20);
        assert_eq!(space.get("a"), None);
        space.set("a", b"1", None).unwrap();
        space.set("a", b"two", None).unwrap();
        assert_eq!(space.get("a").unwrap(), b"two");
        assert_eq!((space.delete("a"), space.delete("a")), (true, false));
        assert_eq!((space.get("a"), space.usage()), (None, Usage::default()));
    }

    #[test]
    fn a_value_goes_when_its_time_is_over_and_a_window_is_not_renewed() {
        let space = Space::new(1 << 20);
        let moment = Duration::from_millis(1);
        space.set("a", b"1", Some(moment)).unwrap();
        space.set("kept", b"1", Some(moment)).unwrap();
        space.set("kept", b"1", None).unwrap();
        let window = Some(Duration::from_millis(40));
        let began = Instant::now();
        assert_eq!(space.increment("window", 1, window), Ok(1));
        while space.increment("window", 1, window).unwrap() > 1 {
            assert!(began.elapsed() < Duration::from_secs(5), "it was renewed");
            std::thread::yield_now();
        }
        assert!(began.elapsed() >= Duration::from_millis(40));
        assert_eq!((space.get("a"), space.get("kept")), (None, Some(b"1".to_vec())));
        assert!(space.compare_and_set("a", None, b"2", None).unwrap(), "what has expired is not there");
    }

    #[test]
    fn compare_and_set_changes_only_what_is_expected() {
        let space = Space::new(1 << 20);
        assert!(!space.compare_and_set("a", Some(b"1"), b"2", None).unwrap());
        assert!(space.compare_and_set("a", None, b"1", None).unwrap());
        assert!(!space.compare_and_set("a", None, b"2", None).unwrap());
        assert!(space.compare_and_set("a", Some(b"1"), b"2", None).unwrap());
        assert_eq!(space.get("a").unwrap(), b"2");
    }

    #[test]
    fn increments_add_up_across_threads() {
        let space = Space::new(1 << 20);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..5000).for_each(|_| assert!(space.increment("n", 1, None).is_ok())));
            }
        });
        assert_eq!(space.get("n").unwrap(), b"20000");
        assert_eq!(space.increment("n", -20_001, None), Ok(-1));
        space.set("text", b"1x", None).unwrap();
        assert_eq!(space.increment("text", 1, None), Err(KvError::NotANumber));
        space.set("n", i64::MAX.to_string().as_bytes(), None).unwrap();
        assert_eq!(space.increment("n", 1, None), Err(KvError::NotANumber));
        assert_eq!(space.get("n").unwrap(), i64::MAX.to_string().into_bytes());
    }

    #[test]
    fn the_bound_holds_and_what_is_used_stays() {
        let space = Space::new(64 << 10);
        for number in 0..10_000 {
            space.set(&format!("key-{number}"), &[7; 100], None).unwrap();
            assert!(space.usage().bytes <= 64 << 10, "{:?}", space.usage());
            assert!(space.get("key-0").is_some(), "it was used a moment ago ({number})");
        }
        let usage = space.usage();
        assert!(usage.keys > 200 && usage.evicted > 9000, "{usage:?}");
        assert!(space.get("key-9999").is_some());
        assert_eq!(space.set("large", &[0; 64 << 10], None), Err(KvError::TooLarge));
        space.set("large", &[0; 60 << 10], None).unwrap();
        assert!(space.get("large").is_some() && space.usage().bytes <= 64 << 10, "{:?}", space.usage());
    }

    #[test]
    fn the_key_that_was_not_used_for_longest_goes_first_wherever_it_is() {
        let value = [7; 1000];
        // Room for four.
        let space = Space::new(4 * cost("0000", &value));
        space.set("used", &value, None).unwrap();
        for number in 0..1000_u32 {
            space.set(&format!("{number:04}"), &value, None).unwrap();
            let there = |number: u32| space.get(&format!("{number:04}")).is_some();
            assert!((number.saturating_sub(2)..=number).all(there), "the last three ({number})");
            assert!(number < 3 || !there(number - 3), "the one before them ({number})");
            assert!(space.get("used").is_some(), "it was used a moment ago ({number})");
        }
        assert_eq!(space.usage(), Usage { keys: 4, bytes: 4 * cost("0000", &value), evicted: 997 });
    }

    #[test]
    fn spaces_are_apart_and_last_while_somebody_has_them() {
        let spaces = Spaces::default();
        let mine = spaces.open(0, "a", 1 << 20);
        mine.set("key", b"mine", None).unwrap();
        assert_eq!(spaces.open(0, "a", 1 << 20).get("key").unwrap(), b"mine");
        assert_eq!(spaces.open(0, "b", 1 << 20).get("key"), None);
        assert_eq!(spaces.open(7, "a", 1 << 20).get("key"), None);
        drop(mine);
        assert_eq!(spaces.open(0, "a", 1 << 20).get("key"), None);
    }
}
