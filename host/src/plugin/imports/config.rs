//! `lockgate:plugin/config`

use wasmtime::component::LinkerInstance;

use super::super::host::Host;
use super::Cx;

pub(super) fn link(config: &mut LinkerInstance<'_, Host>) -> wasmtime::Result<()> {
    config.func_wrap("get", |cx: Cx<'_>, (): ()| Ok((cx.data().core.config.clone(),)))
}
