//! `plugins/dist/`: the bundled plugins as the host embeds them.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::guests;

/// The plugins that the host embeds.
pub const BUNDLED: [&str; 3] = ["https-enforcer", "profiler", "round-robin"];

/// Builds the bundled plugins and puts them into `plugins/dist/`.
///
/// # Errors
/// When they cannot be built or written.
pub fn update() -> Result<Vec<PathBuf>> {
    let folder = guests::workspace()?.join("plugins/dist");
    fs::create_dir_all(&folder)?;
    let mut written = Vec::new();
    for (name, component) in guests::build(&BUNDLED)? {
        let path = folder.join(format!("{name}.wasm"));
        guests::replace(&path, &fs::read(&component).with_context(|| format!("cannot read {}", component.display()))?)?;
        written.push(path);
    }
    Ok(written)
}
