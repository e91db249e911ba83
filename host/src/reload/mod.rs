//! A new configuration in the place of the old: when it is time for one, what it comes to, and what is different. Putting it
//! to work is the job of `server`.

mod changes;
mod watch;

pub use changes::changes;
pub use watch::{Watch, Watched};

use std::path::{Path, PathBuf};

use crate::config::{self, Component, Config, Problems};
use crate::plugin::Plugins;
use crate::snapshot::{self, Snapshot};

/// What a configuration file comes to.
#[derive(Debug)]
pub struct Prepared {
    /// What to watch from now on, also if there is something wrong with it.
    pub watched: Watched,
    /// A successor of the previous snapshot, or all that is wrong.
    pub snapshot: Result<Snapshot, Problems>,
}

/// Reads the configuration file and everything that it names. Blocking and slow: never call it on a worker.
#[must_use]
pub fn prepare(path: &Path, previous: &Snapshot, plugins: &Plugins) -> Prepared {
    match config::load(path) {
        Ok(config) => Prepared { watched: files(&config), snapshot: snapshot::build(config, Some(previous), plugins) },
        Err(problems) => Prepared { watched: files(&previous.config), snapshot: Err(problems) },
    }
}

/// The files that a configuration is made of: itself, certificates, keys, authorities, plugins, and all of these of its
/// tenants.
#[must_use]
pub fn files(config: &Config) -> Watched {
    let mut files = vec![config.source.path.clone()];
    files.extend(named_by(config));
    for member in config::members(config).all.into_values() {
        files.extend(member.file);
        files.extend(member.config.iter().flat_map(named_by));
    }
    let patterns = config.tenants.include.iter().map(|pattern| config.source.resolve(Path::new(&pattern.value)));
    Watched { files, patterns: patterns.collect() }
}

fn named_by(config: &Config) -> impl Iterator<Item = PathBuf> {
    let certificates = config.listeners.iter().flat_map(|listener| &listener.certificates).chain(&config.certificates);
    let pairs = certificates.flat_map(config::Certificate::files).map(|file| &file.value);
    let clients = config.listeners.iter().filter_map(|listener| listener.client_auth.as_ref());
    let clients = clients.flat_map(config::ClientAuth::files).map(|file| &file.value);
    let authorities = config.upstreams.values().filter_map(|upstream| Some(&upstream.tls.ca.as_ref()?.value));
    let plugins = config.plugins.values().filter_map(|plugin| match &plugin.component {
        Component::Path(path) => Some(&path.value),
        // What a digest names does not change.
        Component::Bundled(_) | Component::Registry(_) => None,
    });
    let granted = config.plugins.values().filter_map(|plugin| Some(&plugin.grants.ca.as_ref()?.value));
    let token = config.admin.iter().filter_map(|admin| Some(&admin.token_file.as_ref()?.value));
    pairs
        .chain(clients)
        .chain(authorities)
        .chain(plugins)
        .chain(granted)
        .chain(token)
        .map(|path| config.source.resolve(path))
}
