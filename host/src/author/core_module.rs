//! Core modules made into components.

use std::fs;
use std::path::Path;

use wit_component::ComponentEncoder;

use super::Error;

/// Makes a core module, with its types as bindings leave them, into a component. An adapter stands in for what the module
/// imports under that name.
pub(super) fn encode(module: &Path, adapter: Option<(&str, &[u8])>) -> Result<Vec<u8>, Error> {
    let bytes = fs::read(module).map_err(Error::file("read", module))?;
    let make = || {
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
