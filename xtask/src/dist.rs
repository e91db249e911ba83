//! `plugins/dist/`: the bundled plugins as the host embeds them, and a note of what they were made of.

use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::guests;

/// The plugins that the host embeds.
pub const BUNDLED: [&str; 3] = ["https-enforcer", "profiler", "round-robin"];

/// What some components are made of. Another compiler makes other bytes of the same sources, so both are noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeOf {
    /// What the compiler calls itself.
    pub compiler: String,
    /// The SHA-256 of the sources, in hex.
    pub sources: String,
}

impl MadeOf {
    /// What components would be made of now.
    ///
    /// # Errors
    /// When there is no compiler, or the sources cannot be read.
    pub fn now() -> Result<Self> {
        Ok(Self { compiler: guests::rustc(&["--version"])?, sources: digest(&guests::workspace()?)? })
    }

    /// What those in `plugins/dist/` were made of.
    ///
    /// # Errors
    /// When the note is missing.
    pub fn noted() -> Result<Self> {
        let note = fs::read_to_string(folder()?.join(NOTE)).context("cannot read plugins/dist/made-of")?;
        let mut lines = note.lines().map(str::to_owned);
        Ok(Self { compiler: lines.next().unwrap_or_default(), sources: lines.next().unwrap_or_default() })
    }
}

/// Builds the bundled plugins, puts them into `plugins/dist/` and notes what they were made of.
///
/// # Errors
/// When they cannot be built or written.
pub fn update() -> Result<Vec<PathBuf>> {
    let folder = folder()?;
    fs::create_dir_all(&folder)?;
    let mut written = Vec::new();
    for (name, component) in guests::build(&BUNDLED)? {
        let path = folder.join(format!("{name}.wasm"));
        guests::replace(&path, &fs::read(&component).with_context(|| format!("cannot read {}", component.display()))?)?;
        written.push(path);
    }
    let MadeOf { compiler, sources } = MadeOf::now()?;
    guests::replace(&folder.join(NOTE), format!("{compiler}\n{sources}\n").as_bytes())?;
    Ok(written)
}

/// `plugins/dist/`
///
/// # Errors
/// When the repository is gone.
pub fn folder() -> Result<PathBuf> {
    Ok(guests::workspace()?.join("plugins/dist"))
}

/// The digest of all that the bundled plugins are made of: code, manifests and contract, without comments.
fn digest(repository: &Path) -> Result<String> {
    let mut files = vec![repository.join("plugins/Cargo.toml"), repository.join("plugins/Cargo.lock")];
    for folder in ["wit", "plugins/sdk", "plugins/bundled"] {
        let folder = repository.join(folder);
        list(&folder, &mut files).with_context(|| format!("cannot list {}", folder.display()))?;
    }
    files.sort();
    let mut digest = Sha256::new();
    for file in files {
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        digest.update(file.strip_prefix(repository)?.to_string_lossy().as_bytes());
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with("//")) {
            digest.update(line);
            digest.update("\n");
        }
    }
    Ok(format!("{:x}", digest.finalize()))
}

/// Adds the sources in a folder and below, without unit tests.
fn list(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            list(&path, files)?;
        } else if path
            .extension()
            .is_some_and(|kind| ["rs", "toml", "wit", "json"].iter().any(|source| kind == *source))
            && !path.ends_with("tests.rs")
        {
            files.push(path);
        }
    }
    Ok(())
}

const NOTE: &str = "made-of";
