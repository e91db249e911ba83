//! `lockgate:plugin/backends`

use std::sync::atomic::Ordering;

use wasmtime::component::{ComponentType, Lower};

use super::super::direct::{GuestMemory, Put, Rooms, in_memory};
use super::super::host::{Host, Misuse};
use super::super::stats::Hook;
use super::{Cx, LinkerInstance};
use crate::exchange::Candidates;

/// `backends.backend`
#[derive(Debug, ComponentType, Lower)]
#[component(record)]
struct Backend {
    address: String,
    weight: u32,
    #[component(name = "in-flight")]
    in_flight: u32,
    #[component(name = "latency-nanos")]
    latency_nanos: u64,
    healthy: bool,
}

in_memory!(Backend);

impl Put for Backend {
    const SIZE: u32 = 32;
    const ALIGN: u32 = 8;
    const WANTS_ROOM: bool = true;

    fn rooms(&self, rooms: &mut Rooms) -> wasmtime::Result<()> {
        self.address.rooms(rooms)
    }

    fn put(self, guest: &mut GuestMemory<'_>, at: u32) -> wasmtime::Result<()> {
        self.address.put(guest, at)?;
        self.weight.put(guest, at.wrapping_add(8))?;
        self.in_flight.put(guest, at.wrapping_add(12))?;
        self.latency_nanos.put(guest, at.wrapping_add(16))?;
        self.healthy.put(guest, at.wrapping_add(24))
    }
}

pub(super) fn link(backends: &mut LinkerInstance<'_, Host>) -> wasmtime::Result<()> {
    backends.func_wrap("count", |cx: Cx<'_>, (): ()| {
        let count = candidates(&cx, "backends.count")?.live.len();
        Ok((u32::try_from(count).unwrap_or(u32::MAX),))
    })?;
    backends.func_wrap("get", |cx: Cx<'_>, (index,): (u32,)| {
        let candidates = candidates(&cx, "backends.get")?;
        let place = usize::try_from(index).ok().and_then(|index| candidates.live.get(index));
        let Some(backend) = place.and_then(|place| candidates.upstream.backends.get(usize::from(*place))) else {
            let count = candidates.live.len();
            return Err(Misuse::Bound(format!("backends.get was asked for backend {index} of {count}")).into());
        };
        Ok((Backend {
            address: backend.address.to_string(),
            weight: backend.weight,
            in_flight: backend.in_flight.load(Ordering::Relaxed),
            latency_nanos: backend.latency_nanos.load(Ordering::Relaxed),
            healthy: backend.healthy(),
        },))
    })
}

fn candidates<'a>(cx: &'a Cx<'_>, what: &'static str) -> Result<&'a Candidates, Misuse> {
    let host = cx.data();
    match (host.moment, &host.exchange(what)?.candidates) {
        (Hook::PickBackend | Hook::OnAttemptFailed, Some(candidates)) => Ok(candidates),
        (hook, _) => Err(Misuse::Moment { what, hook }),
    }
}
