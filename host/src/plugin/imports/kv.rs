//! `lockgate:plugin/kv`. In memory no operation waits, so a plugin that has its keys there may be called plainly; in Redis
//! each of them does.

use std::time::Duration;

use wasmtime::component::{ComponentType, Lower};

use super::super::direct::{GuestMemory, Put, Rooms, in_memory};
use super::super::grants::Store;
use super::super::host::{Host, Misuse};
use super::super::record;
use super::{Cx, LinkerInstance};
use crate::kv::{Connection, KvError, Space, check_key, check_value, time_to_live};

/// `kv.error`
#[derive(Debug, ComponentType, Lower)]
#[component(variant)]
enum WitError {
    #[component(name = "invalid-key")]
    InvalidKey,
    #[component(name = "too-large")]
    TooLarge,
    #[component(name = "not-a-number")]
    NotANumber,
    #[component(name = "unavailable")]
    Unavailable(String),
}

in_memory!(
    Result<Option<Bytes>, WitError>,
    Result<(), WitError>,
    Result<bool, WitError>,
    Result<i64, WitError>
);

impl Put for WitError {
    const SIZE: u32 = 12;
    const ALIGN: u32 = 4;
    const WANTS_ROOM: bool = true;

    fn rooms(&self, rooms: &mut Rooms) -> wasmtime::Result<()> {
        if let Self::Unavailable(why) = self { why.rooms(rooms) } else { Ok(()) }
    }

    fn put(self, guest: &mut GuestMemory<'_>, at: u32) -> wasmtime::Result<()> {
        let (case, why): (u8, _) = match self {
            Self::InvalidKey => (0, None),
            Self::TooLarge => (1, None),
            Self::NotANumber => (2, None),
            Self::Unavailable(why) => (3, Some(why)),
        };
        case.put(guest, at)?;
        why.map_or(Ok(()), |why| why.put(guest, at.wrapping_add(4)))
    }
}

impl From<KvError> for WitError {
    fn from(error: KvError) -> Self {
        match error {
            KvError::InvalidKey => Self::InvalidKey,
            KvError::TooLarge => Self::TooLarge,
            KvError::NotANumber => Self::NotANumber,
            KvError::Unavailable(why) => Self::Unavailable(why.into_owned()),
        }
    }
}

type Answer<T> = wasmtime::Result<(Result<T, WitError>,)>;
type Bytes = Vec<u8>;
/// What `set` is given.
pub(in super::super) type Set = (String, Bytes, Option<u64>);
/// What `compare-and-set` is given.
pub(in super::super) type CompareAndSet = (String, Option<Bytes>, Bytes, Option<u64>);

/// For key spaces in memory.
pub(super) fn link(kv: &mut LinkerInstance<'_, Host>) -> wasmtime::Result<()> {
    kv.func_wrap("get", |mut cx: Cx<'_>, (key,): (String,)| {
        now(&mut cx, "kv.get", &key, &[], |space| Ok(space.get(&key)))
    })?;
    kv.func_wrap("set", |mut cx: Cx<'_>, (key, value, ttl): Set| {
        now(&mut cx, "kv.set", &key, &value, |space| space.set(&key, &value, life(ttl)))
    })?;
    kv.func_wrap("delete", |mut cx: Cx<'_>, (key,): (String,)| {
        now(&mut cx, "kv.delete", &key, &[], |space| Ok(space.delete(&key)))
    })?;
    kv.func_wrap("compare-and-set", |mut cx: Cx<'_>, (key, expected, value, ttl): CompareAndSet| {
        now(&mut cx, "kv.compare-and-set", &key, &value, |space| {
            space.compare_and_set(&key, expected.as_deref(), &value, life(ttl))
        })
    })?;
    kv.func_wrap("increment", |mut cx: Cx<'_>, (key, by, ttl): (String, i64, Option<u64>)| {
        now(&mut cx, "kv.increment", &key, &[], |space| space.increment(&key, by, life(ttl)))
    })
}

/// For key spaces in Redis.
pub(super) fn link_waiting(kv: &mut LinkerInstance<'_, Host>) -> wasmtime::Result<()> {
    kv.func_wrap_async("get", |cx: Cx<'_>, (key,): (String,)| {
        Box::new(async move { later(cx, "kv.get", &key, &[], async |redis, key| redis.get(key).await).await })
    })?;
    kv.func_wrap_async("set", |cx: Cx<'_>, (key, value, ttl): Set| {
        Box::new(async move {
            later(cx, "kv.set", &key, &value, async |redis, key| redis.set(key, &value, life(ttl)).await).await
        })
    })?;
    kv.func_wrap_async("delete", |cx: Cx<'_>, (key,): (String,)| {
        Box::new(async move { later(cx, "kv.delete", &key, &[], async |redis, key| redis.delete(key).await).await })
    })?;
    kv.func_wrap_async("compare-and-set", |cx: Cx<'_>, (key, expected, value, ttl): CompareAndSet| {
        Box::new(async move {
            later(cx, "kv.compare-and-set", &key, &value, async |redis, key| {
                redis.compare_and_set(key, expected.as_deref(), &value, life(ttl)).await
            })
            .await
        })
    })?;
    kv.func_wrap_async("increment", |cx: Cx<'_>, (key, by, ttl): (String, i64, Option<u64>)| {
        Box::new(async move {
            later(cx, "kv.increment", &key, &[], async |redis, key| redis.increment(key, by, life(ttl)).await).await
        })
    })
}

fn now<T>(
    cx: &mut Cx<'_>,
    what: &'static str,
    key: &str,
    value: &[u8],
    act: impl FnOnce(&Space) -> Result<T, KvError>,
) -> Answer<T> {
    let host = cx.data_mut();
    if let Some(part) = record::part(&mut host.exchange, &mut host.recording)
        && let Some(Store::Memory(space)) = host.reach.as_ref().and_then(|reach| reach.kv.as_ref())
    {
        part.found(key, || space.get(key));
    }
    let host = cx.data();
    let Store::Memory(space) = store(host, what)? else { return Err(other_store()) };
    let checked = check_key(key).and_then(|()| check_value(value));
    Ok((told(host, what, checked.and_then(|()| act(space))),))
}

async fn later<T>(
    mut cx: Cx<'_>,
    what: &'static str,
    key: &str,
    value: &[u8],
    act: impl AsyncFnOnce(&Connection, &str) -> Result<T, KvError>,
) -> Answer<T> {
    let _outing = cx.data().waits();
    let Store::Redis(redis, prefix) = store(cx.data(), what)?.clone() else { return Err(other_store()) };
    let answer = match check_key(key).and_then(|()| check_value(value)) {
        Ok(()) => {
            let full = format!("{prefix}{key}");
            if recorded(&mut cx).is_some() {
                // One more look, for the few exchanges that are recorded.
                let found = redis.get(&full).await.ok().flatten();
                if let Some(part) = recorded(&mut cx) {
                    part.found(key, || found);
                }
            }
            act(&redis, &full).await
        }
        Err(error) => Err(error),
    };
    Ok((told(cx.data(), what, answer),))
}

fn recorded<'a>(cx: &'a mut Cx<'_>) -> Option<&'a mut crate::recording::Part> {
    let host = cx.data_mut();
    record::part(&mut host.exchange, &mut host.recording)
}

/// Counts what became of an operation, and logs that it failed for a reason that is not the guest's own.
fn told<T>(host: &Host, what: &'static str, answer: Result<T, KvError>) -> Result<T, WitError> {
    let outcome = answer.as_ref().map_or_else(KvError::name, |_| "done");
    host.core.outside.traffic.kv_outcomes.count(outcome);
    if let Err(error) = &answer {
        host.complain(what, outcome, error, "");
    }
    answer.map_err(WitError::from)
}

fn store<'a>(host: &'a Host, what: &'static str) -> Result<&'a Store, Misuse> {
    host.reach.as_ref().and_then(|reach| reach.kv.as_ref()).ok_or(Misuse::Moment { what, hook: host.moment })
}

fn life(millis: Option<u64>) -> Option<Duration> {
    millis.map(time_to_live)
}

fn other_store() -> wasmtime::Error {
    wasmtime::Error::msg("the key space is not of the kind that the plugin was linked for")
}
