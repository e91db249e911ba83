//! `lockgate plugin push`: a component on its way into a registry.

use std::io;
use std::path::PathBuf;

use super::Error;
use super::registry::Asking;
use crate::plugin::inspect;
use crate::registry::{Target, push};

/// What was asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The component
    file: PathBuf,
    /// Where to: oci://REGISTRY/NAME:TAG; without a tag, `latest`
    target: String,
    #[command(flatten)]
    asking: Asking,
}

pub(super) fn run(options: &Options, print: impl Fn(&str) -> io::Result<()>) -> Result<(), Error> {
    let file = &options.file;
    let target = Target::parse(&options.target).map_err(Error::Request)?;
    let component = std::fs::read(file).map_err(|error| Error::Read(file.clone(), error))?;
    let found = inspect(&component).map_err(|why| Error::Unfit(file.clone(), why))?;
    if let Some(problem) = found.problems.into_iter().next() {
        return Err(Error::Unfit(file.clone(), problem));
    }
    let registries = options.asking.registries(&target.registry);
    let reference = push(&component, &target, Asking::way(&registries)).map_err(Error::Registry)?;
    Ok(print(&format!("{reference}\n"))?)
}

pub(super) const EXAMPLES: &str = "\
Examples:
  lockgate plugin push teapot.wasm oci://ghcr.io/acme/teapot:1.0
  lockgate plugin push teapot.wasm oci://registry.internal:5000/teapot --ca registry.pem";
