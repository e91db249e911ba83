//! Core modules made into components.

use std::fs;
use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, WorldId};

use super::Error;

/// Makes a core module, with its types as bindings leave them, into a component.
pub(super) fn encode(module: &Path) -> Result<Vec<u8>, Error> {
    let bytes = fs::read(module).map_err(Error::file("read", module))?;
    let make = || ComponentEncoder::default().validate(true).module(&bytes)?.encode();
    make().map_err(|error: anyhow::Error| unfit(module, &error))
}

/// What stands in for what a module imports under a name.
pub(super) struct Adapter<'a> {
    pub(super) name: &'a str,
    pub(super) module: &'a [u8],
    /// The world that has what it imports itself, and no export.
    pub(super) world: WorldId,
}

/// The same for a module that does not have its types: they are those of a world.
pub(super) fn encode_with(
    module: &Path,
    (resolve, world): (&Resolve, WorldId),
    adapter: &Adapter<'_>,
) -> Result<Vec<u8>, Error> {
    let mut bytes = fs::read(module).map_err(Error::file("read", module))?;
    let mut adapting = adapter.module.to_vec();
    let mut make = || {
        embed_component_metadata(&mut bytes, resolve, world, StringEncoding::UTF8)?;
        embed_component_metadata(&mut adapting, resolve, adapter.world, StringEncoding::UTF8)?;
        ComponentEncoder::default().validate(true).module(&bytes)?.adapter(adapter.name, &adapting)?.encode()
    };
    make().map_err(|error: anyhow::Error| unfit(module, &error))
}

fn unfit(module: &Path, error: &anyhow::Error) -> Error {
    Error::Unfit(format!("{} cannot be made into a component: {error:#}", module.display()))
}
