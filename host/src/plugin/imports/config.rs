//! `lockgate:plugin/config`

use super::super::host::Host;
use super::{Cx, LinkerInstance};

pub(super) fn link(config: &mut LinkerInstance<'_, Host>) -> wasmtime::Result<()> {
    config.func_wrap("get", |cx: Cx<'_>, (): ()| Ok((cx.data().core.config.clone(),)))
}
