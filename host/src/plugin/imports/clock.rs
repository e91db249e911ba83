//! `lockgate:plugin/clock`

use std::sync::Arc;
use std::time::SystemTime;

use super::super::clock::now_nanos;
use super::super::host::Host;
use super::{Cx, LinkerInstance};
use crate::outbound::StandIn;

pub(super) fn link(clock: &mut LinkerInstance<'_, Host>) -> wasmtime::Result<()> {
    clock.func_wrap("now", |_: Cx<'_>, (): ()| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Ok((u64::try_from(now.as_nanos()).unwrap_or(u64::MAX),))
    })?;
    clock.func_wrap("monotonic", |_: Cx<'_>, (): ()| Ok((now_nanos(),)))
}

/// The clock of a scenario.
pub(super) fn link_arranged(clock: &mut LinkerInstance<'_, Host>, stand_in: &Arc<StandIn>) -> wasmtime::Result<()> {
    for name in ["now", "monotonic"] {
        let stand_in = stand_in.clone();
        clock.func_wrap(name, move |_: Cx<'_>, (): ()| Ok((stand_in.now(),)))?;
    }
    Ok(())
}
