//! `lockgate:plugin/clock`

use std::time::SystemTime;

use super::super::host::Host;
use super::super::now_nanos;
use super::{Cx, LinkerInstance};

pub(super) fn link(clock: &mut LinkerInstance<'_, Host>) -> wasmtime::Result<()> {
    clock.func_wrap("now", |_: Cx<'_>, (): ()| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Ok((u64::try_from(now.as_nanos()).unwrap_or(u64::MAX),))
    })?;
    clock.func_wrap("monotonic", |_: Cx<'_>, (): ()| Ok((now_nanos(),)))
}
