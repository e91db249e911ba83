//! What can be said of a component without running or compiling it.

use std::collections::BTreeSet;

use serde::Serialize;
use wasmparser::{KnownCustom, Parser, Payload, Validator, WasmFeatures};

use super::component::{OFFERED, WASI, check_kind, compatible, digest, hex, is_wasi_2, not_valid, ours};
use super::grants::Grants;
use super::imports::INTERFACES;
use super::schema::Schema;
use super::stats::Hook;

/// What a component says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// Bytes.
    pub size: usize,
    /// In hex.
    pub sha256: String,
    /// The versions of the package `lockgate:plugin` that it was built against.
    pub contract: BTreeSet<String>,
    /// The hooks that it exports, `configure` among them.
    pub hooks: Vec<String>,
    /// The interfaces of the contract that it imports.
    pub imports: BTreeSet<String>,
    /// What it must be granted.
    pub grants: Vec<&'static str>,
    /// What it imports of WASI.
    pub wasi: BTreeSet<String>,
    /// Whether it carries a schema for its configuration.
    pub schema: bool,
    /// The languages that it was written in, as far as its tools say so.
    pub languages: BTreeSet<String>,
    /// The tools that made it.
    pub made_by: BTreeSet<String>,
    /// What keeps this host from running it.
    pub problems: Vec<String>,
}

/// Looks at a component.
///
/// # Errors
/// Why it is none, to be put after its name.
pub fn inspect(bytes: &[u8]) -> Result<Inspection, String> {
    check_kind(bytes)?;
    let mut found = Inspection { size: bytes.len(), sha256: hex(&digest(bytes)), ..Inspection::default() };
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(|error| not_valid(&error.to_string()))? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(imports) if depth == 0 => {
                for import in imports {
                    found.import(import.map_err(|error| not_valid(&error.to_string()))?.name.name);
                }
            }
            Payload::ComponentExportSection(exports) if depth == 0 => {
                for export in exports {
                    found.export(export.map_err(|error| not_valid(&error.to_string()))?.name.name);
                }
            }
            Payload::CustomSection(section) => {
                if let KnownCustom::Producers(producers) = section.as_known() {
                    found.producers(producers);
                }
            }
            _ => {}
        }
    }
    found.hooks.sort_by_key(|name| Hook::ALL.iter().position(|hook| hook.name() == name));
    if found.languages.is_empty() {
        found.guess_language();
    }
    found.grants = Grants::needed(found.imports.iter().map(String::as_str)).names();
    match Schema::of(bytes) {
        Ok(schema) => found.schema = schema.is_some(),
        Err(problem) => found.problems.push(problem),
    }
    if let Some(problem) = invalid(bytes) {
        found.problems.push(problem);
    } else if found.hooks.iter().all(|hook| hook == Hook::Configure.name()) {
        found.problems.push("exports no hook: there is nothing that it could be called for".to_owned());
    }
    Ok(found)
}

impl Inspection {
    fn import(&mut self, name: &str) {
        if let Some((interface, version)) = ours(name) {
            self.version(name, version, "imports");
            if interface != "types" {
                self.imports.insert(interface.to_owned());
            }
            if compatible(version) && !INTERFACES.contains(&interface) {
                self.problems.push(format!("imports `{name}`, which this host does not offer"));
            }
        } else if name.starts_with(WASI) {
            self.wasi.insert(name.to_owned());
            if !is_wasi_2(name) {
                self.problems.push(format!("imports `{name}`, and this host offers WASI 0.2"));
            }
        } else {
            self.problems.push(format!("imports `{name}`, which this host does not offer"));
        }
    }

    fn export(&mut self, name: &str) {
        let Some((interface, version)) = ours(name) else { return };
        self.version(name, version, "exports");
        match Hook::ALL.into_iter().find(|hook| hook.interface() == interface) {
            Some(hook) => self.hooks.push(hook.name().to_owned()),
            None => {
                self.problems.push(format!("exports `{name}`, a hook that this host (hooks {OFFERED}) does not know"))
            }
        }
    }

    fn version(&mut self, name: &str, version: &str, how: &str) {
        if self.contract.insert(version.to_owned()) && !compatible(version) {
            self.problems.push(format!("needs hooks {version}, this host offers {OFFERED} (it {how} `{name}`)"));
        }
    }

    /// A stripped component does not say it, but its bindings do.
    fn guess_language(&mut self) {
        for (tool, language) in TOOLS {
            if self.made_by.iter().any(|made_by| made_by.starts_with(tool)) {
                self.languages.insert(language.to_owned());
            }
        }
    }

    fn producers(&mut self, producers: wasmparser::ProducersSectionReader<'_>) {
        for field in producers.into_iter().flatten() {
            for value in field.values.into_iter().flatten() {
                let told = format!("{} {}", value.name, value.version);
                let told = told.trim_end().chars().filter(|c| !c.is_control()).collect();
                match field.name {
                    "language" => self.languages.insert(told),
                    _ => self.made_by.insert(told),
                };
            }
        }
    }
}

/// Tools that serve one language only.
const TOOLS: [(&str, &str); 7] = [
    ("wit-bindgen-rust", "Rust"),
    ("wit-bindgen-c", "C"),
    ("wit-bindgen-go", "Go"),
    ("componentize-py", "Python"),
    ("componentize-js", "JavaScript"),
    ("componentize-qjs", "JavaScript"),
    ("ComponentizeJS", "JavaScript"),
];

/// Why it would not be compiled: what is not offered here is not valid here.
fn invalid(bytes: &[u8]) -> Option<String> {
    let mut features = WasmFeatures::default();
    features.remove(WasmFeatures::CM_ASYNC);
    let error = Validator::new_with_features(features).validate_all(bytes).err()?;
    Some(not_valid(error.message()))
}
