//! Core modules made into components.

use std::fs;
use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, WorldId};

use super::Error;

/// Makes a core module, with its types as bindings leave them, into a component.
pub(super) fn encode(module: &Path) -> Result<Vec<u8>, Error> {
    encode_with(module, None, None)
}

/// The same for a module that does not have its types: they are those of a world. An adapter stands in for what the module
/// imports under that name.
pub(super) fn encode_with(
    module: &Path,
    world: Option<(&Resolve, WorldId)>,
    adapter: Option<(&str, &[u8])>,
) -> Result<Vec<u8>, Error> {
    let mut bytes = fs::read(module).map_err(Error::file("read", module))?;
    let mut make = || {
        if let Some((resolve, world)) = world {
            embed_component_metadata(&mut bytes, resolve, world, StringEncoding::UTF8)?;
        }
        let mut encoder = ComponentEncoder::default().validate(true).module(&bytes)?;
        if let Some((name, adapter)) = adapter {
            encoder = encoder.adapter(name, adapter)?;
        }
        encoder.encode()
    };
    make().map_err(|error: anyhow::Error| {
        Error::Unfit(format!("{} cannot be made into a component: {error:#}", module.display()))
    })
}
