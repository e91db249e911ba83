//! `lockgate plugin push`: a component on its way into a registry.

use std::io;
use std::path::{Path, PathBuf};

use super::Error;
use crate::config::{At, Located, Registries};
use crate::plugin::inspect;
use crate::registry::{Target, Way, push};

/// What was asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The component
    file: PathBuf,
    /// Where to: oci://REGISTRY/NAME:TAG; without a tag, `latest`
    target: String,
    /// Ask the registry without TLS. Those on this machine are always asked like that
    #[arg(long)]
    plain_http: bool,
    /// The authorities to trust instead of the public ones, as a PEM file
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

pub(super) fn run(options: &Options, print: impl Fn(&str) -> io::Result<()>) -> Result<(), Error> {
    let file = &options.file;
    let target = Target::parse(&options.target).map_err(Error::Request)?;
    let component = std::fs::read(file).map_err(|error| Error::Read(file.clone(), error))?;
    let found = inspect(&component).map_err(|why| Error::Unfit(file.clone(), why))?;
    if let Some(problem) = found.problems.into_iter().next() {
        return Err(Error::Unfit(file.clone(), problem));
    }
    let mut registries = Registries::default();
    if options.plain_http {
        registries.plain_http.push(target.registry.clone());
    } else if options.ca.is_some() {
        // Whoever says whom to trust wants TLS.
        registries.plain_http.clear();
    }
    registries.ca = options.ca.clone().map(|value| Located { value, at: At::default() });
    let way = Way { registries: &registries, folder: Path::new("") };
    let reference = push(&component, &target, way).map_err(Error::Push)?;
    Ok(print(&format!("{reference}\n"))?)
}

pub(super) const EXAMPLES: &str = "\
Examples:
  lockgate plugin push teapot.wasm oci://ghcr.io/acme/teapot:1.0
  lockgate plugin push teapot.wasm oci://registry.internal:5000/teapot --ca registry.pem";
