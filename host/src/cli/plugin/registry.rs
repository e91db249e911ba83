//! How a registry is asked that is named on the command line.

use std::path::{Path, PathBuf};

use crate::config::{At, Located, Registries};
use crate::registry::Way;

/// What a configuration says in `[registries]`.
#[derive(Debug, clap::Args)]
pub(crate) struct Asking {
    /// Ask the registry without TLS. Those on this machine are always asked like that
    #[arg(long)]
    plain_http: bool,
    /// The authorities to trust instead of the public ones, as a PEM file
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

impl Asking {
    /// How that registry is asked.
    pub(super) fn registries(&self, registry: &str) -> Registries {
        let mut registries = Registries::default();
        if self.plain_http {
            registries.plain_http.push(registry.to_owned());
        } else if self.ca.is_some() {
            // Whoever says whom to trust wants TLS.
            registries.plain_http.clear();
        }
        registries.ca = self.ca.clone().map(|value| Located { value, at: At::default() });
        registries
    }

    /// The same, with paths that are relative to where one stands.
    pub(super) fn way(registries: &Registries) -> Way<'_> {
        Way { registries, folder: Path::new("") }
    }
}
