//! A new configuration in the place of the old: when it is time for one, what it comes to, and what is different. Putting it
//! to work is the job of `server`.

mod changes;
mod watch;

pub use changes::changes;
pub use watch::Watch;

use std::path::{Path, PathBuf};

use crate::config::{self, Component, Config, Problems};
use crate::plugin::Plugins;
use crate::snapshot::{self, Snapshot};

/// What a configuration file comes to.
#[derive(Debug)]
pub struct Prepared {
    /// The files to watch from now on, also if there is something wrong with one of them.
    pub files: Vec<PathBuf>,
    /// A successor of the previous snapshot, or all that is wrong.
    pub snapshot: Result<Snapshot, Problems>,
}

/// Reads the configuration file and everything that it names. Blocking and slow: never call it on a worker.
#[must_use]
pub fn prepare(path: &Path, previous: &Snapshot, plugins: &Plugins) -> Prepared {
    match config::load(path) {
        Ok(config) => Prepared { files: files(&config), snapshot: snapshot::build(config, Some(previous), plugins) },
        Err(problems) => Prepared { files: files(&previous.config), snapshot: Err(problems) },
    }
}

/// The files that a configuration is made of: itself, certificates, keys, authorities, plugins.
#[must_use]
pub fn files(config: &Config) -> Vec<PathBuf> {
    let source = &config.source;
    let certificates = config.listeners.iter().flat_map(|listener| &listener.certificates);
    let pairs = certificates.flat_map(|pair| [&pair.certificate.value, &pair.key.value]);
    let authorities = config.upstreams.values().filter_map(|upstream| Some(&upstream.tls.ca.as_ref()?.value));
    let plugins = config.plugins.values().filter_map(|plugin| match &plugin.component {
        Component::Path(path) => Some(&path.value),
        Component::Bundled(_) => None,
    });
    let token = config.admin.iter().filter_map(|admin| Some(&admin.token_file.as_ref()?.value));
    let named = pairs.chain(authorities).chain(plugins).chain(token).map(|path| source.resolve(path));
    std::iter::once(source.path.clone()).chain(named).collect()
}
