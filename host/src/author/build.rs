//! `lockgate plugin build`: from a project to a component that keeps to the contract.

use std::fs;
use std::path::{Path, PathBuf};

use super::contract::{self, Contract};
use super::{Error, Language, Manifest, c, go, javascript, python, rust, sections};
use crate::plugin::{Inspection, inspect};

/// What came of a build.
#[derive(Debug)]
pub struct Built {
    /// What was built.
    pub manifest: Manifest,
    /// Where the component is.
    pub component: PathBuf,
    /// What is to be known of it.
    pub inspection: Inspection,
}

/// Builds the project in a folder. What its tools say goes to standard error.
///
/// # Errors
/// When it is no project, a tool is missing or finds something wrong, or the component does not keep to this host's contract.
/// A component of an earlier build is then left as it was.
pub fn build(folder: &Path) -> Result<Built, Error> {
    let manifest = Manifest::read(folder)?;
    let contract = Contract::read(&manifest.kit.join("wit"))?;
    let made = match manifest.language {
        Language::Rust => rust::build(&manifest),
        Language::Js | Language::Ts => javascript::build(&manifest, &contract),
        Language::C => c::build(&manifest, &contract),
        Language::Go => go::build(&manifest, &contract),
        Language::Python => python::build(&manifest, &contract),
    };
    let mut component = made.map_err(|error| match (error, mend(&contract)) {
        // An SDK that is not of the same version as the contract is nothing that a compiler could tell.
        (Error::Tool(why), Some(mend)) => Error::Tool(format!("{why}; {mend}")),
        (error, _) => error,
    })?;
    if let Some(schema) = &manifest.schema {
        let schema = fs::read(schema).map_err(Error::file("read", schema))?;
        sections::append_custom(&mut component, "lockgate:config-schema", &schema);
    }
    let component = sections::without_custom(&component, nobodys(manifest.language));
    let path = manifest.component();
    let inspection = judge(&component, &contract).map_err(|why| Error::Unfit(format!("{}: {why}", manifest.name)))?;
    replace(&path, &component).map_err(Error::file("write", &path))?;
    Ok(Built { manifest, component: path, inspection })
}

/// Sections that tools leave there and nobody ever sees: names of inner items, and what is said of an engine's own functions.
fn nobodys(language: Language) -> &'static [&'static str] {
    match language {
        Language::Js | Language::Ts => &["component-name", "name", "target_features"],
        Language::Rust | Language::C | Language::Go | Language::Python => &["component-name"],
    }
}

/// What a component is, if this host would run it.
fn judge(component: &[u8], contract: &Contract) -> Result<Inspection, String> {
    let inspection = inspect(component)?;
    let mut problems = inspection.problems.clone();
    problems.extend(contract::departures(component));
    if problems.is_empty() {
        return Ok(inspection);
    }
    problems.extend(mend(contract));
    Err(problems.join("; "))
}

/// What to do about a contract that is not this host's.
fn mend(contract: &Contract) -> Option<String> {
    let (theirs, ours) = (contract.version(), contract::version());
    (theirs != ours).then(|| {
        format!(
            "the project's contract (`lockgate/wit`) is {theirs}, this lockgate's is {ours}: build with a lockgate that has \
             {theirs}, or make a project with this one and move the code there"
        )
    })
}

/// Writes a file at once: who watches it never sees half of it.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let beside = path.with_extension("wasm.part");
    fs::write(&beside, bytes)?;
    fs::rename(&beside, path)
}
