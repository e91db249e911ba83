//! `lockgate plugin inspect`: what a component is, without running it.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use super::Error;
use super::registry::Asking;
use crate::config::{Reference, SCHEME};
use crate::plugin::{Inspection, cache_folder, inspect};
use crate::registry::fetch;

/// What was asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The component: a file, or oci://REGISTRY/NAME@sha256:.. as in a configuration
    component: String,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    asking: Asking,
}

pub(super) fn run(options: &Options, print: impl Fn(&str) -> io::Result<()>) -> Result<(), Error> {
    let name = &options.component;
    let unfit = |why: String| Error::Unfit(PathBuf::from(name), why);
    let bytes = match name.starts_with(SCHEME) {
        true => {
            let reference = Reference::parse(name).map_err(|mistake| Error::Request(mistake.to_string()))?;
            let registries = options.asking.registries(&reference.registry);
            let fetched = fetch(&reference, Asking::way(&registries), cache_folder().as_deref());
            fetched.map_err(|why| Error::Registry(format!("the component {why}")))?
        }
        false => std::fs::read(name).map_err(|error| Error::Read(PathBuf::from(name), error))?,
    };
    let found = inspect(&bytes).map_err(unfit)?;
    print(&if options.json { to_json(name, &found) } else { to_text(name, &found) })?;
    match found.problems.into_iter().next() {
        Some(problem) => Err(unfit(problem)),
        None => Ok(()),
    }
}

fn to_json(name: &str, found: &Inspection) -> String {
    let mut json = serde_json::json!(found);
    json["file"] = name.into();
    format!("{json:#}\n")
}

fn to_text(name: &str, found: &Inspection) -> String {
    let list = |items: &BTreeSet<String>| items.iter().cloned().collect::<Vec<_>>();
    let contract: Vec<_> = found.contract.iter().map(|version| format!("lockgate:plugin@{version}")).collect();
    let schema = if found.schema { "yes" } else { "no" };
    let rows = [
        ("size", vec![format!("{} bytes", found.size)]),
        ("sha256", vec![found.sha256.clone()]),
        ("contract", contract),
        ("hooks", found.hooks.clone()),
        ("imports", list(&found.imports)),
        ("grants", found.grants.iter().map(|grant| (*grant).to_owned()).collect()),
        ("wasi", list(&found.wasi)),
        ("schema", vec![schema.to_owned()]),
        ("language", list(&found.languages)),
        ("made by", list(&found.made_by)),
    ];
    let mut text = format!("{name}\n");
    for (row, values) in rows {
        let values = if values.is_empty() { "none".to_owned() } else { values.join(", ") };
        text += &format!("  {row:<9} {values}\n");
    }
    for problem in &found.problems {
        text += &format!("  problem   {problem}\n");
    }
    text
}

pub(super) const EXAMPLES: &str = "\
Examples:
  lockgate plugin inspect teapot.wasm
  lockgate plugin inspect oci://ghcr.io/acme/teapot@sha256:.. --json   what a registry has, fetched as for a configuration";
