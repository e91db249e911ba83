//! `lockgate:plugin/counters`

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::super::direct::Text;
use super::super::host::{Host, Misuse};
use super::{Cx, LinkerInstance};

pub(super) fn link(counters: &mut LinkerInstance<'_, Host>) -> wasmtime::Result<()> {
    counters.func_wrap("add", |mut cx: Cx<'_>, (name, delta): (Text, u64)| {
        with(&mut cx, &name, |counter| counter.fetch_add(delta, Ordering::Relaxed))
    })?;
    counters.func_wrap("get", |mut cx: Cx<'_>, (name,): (Text,)| {
        with(&mut cx, &name, |counter| counter.load(Ordering::Relaxed))
    })?;
    counters.func_wrap("set", |mut cx: Cx<'_>, (name, value): (Text, u64)| {
        with(&mut cx, &name, |counter| counter.swap(value, Ordering::Relaxed))
    })
}

fn with(cx: &mut Cx<'_>, name: &Text, act: impl FnOnce(&AtomicU64) -> u64) -> wasmtime::Result<(u64,)> {
    let name = name.to_str(&*cx)?;
    let host = cx.data();
    if let Some(counter) = host.counters.find(&name) {
        return Ok((act(counter),));
    }
    let name = name.into_owned();
    let counter = host.core.counters.open(&name)?;
    let value = act(&counter);
    cx.data_mut().counters.remember(name, counter);
    Ok((value,))
}

/// The counters of one use, shared by all workers.
#[derive(Debug, Default)]
pub(in super::super) struct Counters {
    by_name: Mutex<HashMap<String, Arc<AtomicU64>>>,
}

impl Counters {
    fn open(&self, name: &str) -> Result<Arc<AtomicU64>, Misuse> {
        let mut by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(counter) = by_name.get(name) {
            return Ok(counter.clone());
        }
        if name.len() > LONGEST_NAME {
            return Err(Misuse::Bound(format!("a counter's name is longer than {LONGEST_NAME} bytes")));
        }
        if by_name.len() >= MOST_COUNTERS {
            return Err(Misuse::Bound(format!("more than {MOST_COUNTERS} counters")));
        }
        Ok(by_name.entry(name.to_owned()).or_default().clone())
    }

    /// All counters.
    pub(in super::super) fn all(&self) -> BTreeMap<String, u64> {
        let by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        by_name.iter().map(|(name, counter)| (name.clone(), counter.load(Ordering::Relaxed))).collect()
    }

    /// Sets one, if there may be one of that name.
    pub(in super::super) fn set(&self, name: &str, value: u64) {
        if let Ok(counter) = self.open(name) {
            counter.store(value, Ordering::Relaxed);
        }
    }
}

/// Counters that one instance has met, so that it takes no lock for them again.
#[derive(Debug, Default)]
pub(in super::super) struct CounterCache {
    known: Vec<(String, Arc<AtomicU64>)>,
}

impl CounterCache {
    fn find(&self, name: &str) -> Option<&AtomicU64> {
        self.known.iter().find(|(known, _)| known == name).map(|(_, counter)| &**counter)
    }

    fn remember(&mut self, name: String, counter: Arc<AtomicU64>) {
        // A longer list would be slower than the lock.
        if self.known.len() < 32 {
            self.known.push((name, counter));
        }
    }
}

/// Counters of one use.
const MOST_COUNTERS: usize = 1024;

/// Bytes of a counter's name.
const LONGEST_NAME: usize = 256;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn counters_are_bounded() {
        let counters = Counters::default();
        for number in 0..MOST_COUNTERS {
            counters.open(&number.to_string()).unwrap();
        }
        assert!(counters.open("one too many").is_err());
        assert!(counters.open("7").is_ok());
        assert!(Counters::default().open(&"x".repeat(257)).is_err());
    }
}
