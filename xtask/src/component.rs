//! Components for tests that need no tool chain: of a core module that is at hand, or of nothing but WIT.

use anyhow::{Context, Result};
use wit_component::{ComponentEncoder, StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{ManglingAndAbi, Resolve, WorldId};

/// A component of that core module, whose names are those of the world.
///
/// # Errors
/// When the module does not fit the world.
pub fn of_module(resolve: &Resolve, world: WorldId, mut module: Vec<u8>) -> Result<Vec<u8>> {
    embed_component_metadata(&mut module, resolve, world, StringEncoding::UTF8).context("embedding the world")?;
    ComponentEncoder::default().module(&module).context("reading the world")?.encode().context("making a component")
}

/// A component that imports and exports all that the world does, and each of whose functions traps.
///
/// # Errors
/// When the world has what components cannot have.
pub fn of_world(resolve: &Resolve, world: WorldId, abi: ManglingAndAbi) -> Result<Vec<u8>> {
    of_module(resolve, world, dummy_module(resolve, world, abi))
}
