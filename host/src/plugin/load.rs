//! From a configuration's plugin to a component that has been shown to work.

use std::env;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use lockgate_component_cache::{ComponentCache, OpenError};

use super::Place;
use super::bundled;
use super::component::hex;
use crate::{config, registry};

/// The bytes of the component that the configuration names, if they have the digest that it asks for. In `kept` are those that
/// were fetched.
pub(super) fn read(plugin: &config::Plugin, place: Place<'_>, kept: Option<&Path>) -> Result<Vec<u8>, String> {
    let bytes = match &plugin.component {
        config::Component::Bundled(name) => bundled(&name.value)?.to_vec(),
        config::Component::Path(path) => read_file(&place.folder.join(&path.value))?,
        config::Component::Registry(reference) => {
            let way = registry::Way { registries: place.registries, folder: place.folder };
            registry::fetch(&reference.value, way, kept)?
        }
    };
    if let Some(pinned) = &plugin.sha256 {
        let actual = hex(&super::component::digest(&bytes));
        if !pinned.value.eq_ignore_ascii_case(&actual) {
            return Err(format!("has the digest sha256 {actual}, the configuration asks for {}", pinned.value));
        }
    }
    Ok(bytes)
}

/// Where the user's programs keep what can be made again.
pub fn cache_folder() -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    folder.map(|folder| folder.join("lockgate"))
}

/// The cache in that folder. Without one, plugins are compiled at each start.
pub(super) fn open_cache(folder: &Path) -> Option<ComponentCache> {
    match ComponentCache::open(folder) {
        Ok(cache) => Some(cache),
        Err(error @ OpenError::Unsafe { .. }) => {
            tracing::warn!("compiled plugins are not kept, so each start compiles them again: {error}");
            None
        }
        // Many a process has no home.
        Err(OpenError::Io(error)) => {
            tracing::debug!(%error, folder = %folder.display(), "no cache of compiled plugins");
            None
        }
    }
}

fn bundled(name: &str) -> Result<&'static [u8], String> {
    if let Some((_, component)) = bundled::ALL.iter().find(|(known, _)| *known == name) {
        return Ok(component);
    }
    let known = || bundled::ALL.iter().map(|(name, _)| *name);
    let all = known().collect::<Vec<_>>().join("\", \"");
    let hint =
        config::nearest(name, known()).map(|nearest| format!("; did you mean \"{nearest}\"?")).unwrap_or_default();
    Err(format!("is not bundled as \"{name}\": there are \"{all}\"{hint}"))
}

fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let shown = path.display();
    let unreadable = |error: std::io::Error| format!("cannot be read from `{shown}`: {error}{}", unmade(path, &error));
    // Before it is opened: a pipe would make us wait for its writer.
    let metadata = path.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(format!("cannot be read from `{shown}`: it is not a file"));
    }
    let too_large = || format!("is larger than {} MiB (`{shown}`)", LARGEST_FILE >> 20);
    if metadata.len() > LARGEST_FILE {
        return Err(too_large());
    }
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    // It may have grown meanwhile.
    file.take(LARGEST_FILE + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > LARGEST_FILE { Err(too_large()) } else { Ok(bytes) }
}

/// What makes a component that is not there, if it is known.
fn unmade(path: &Path, error: &std::io::Error) -> String {
    let folder = path.parent().map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    let project = folder.filter(|folder| folder.join("plugin.toml").is_file());
    match project.filter(|_| error.kind() == std::io::ErrorKind::NotFound) {
        Some(folder) => format!("; `lockgate plugin build {}` makes it", folder.display()),
        None => String::new(),
    }
}

/// Bytes of a component: more would take minutes to compile.
const LARGEST_FILE: u64 = 64 << 20;
