//! Python: this machine's own interpreter says what the plugin has, componentize-py puts it into a component with CPython.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use super::contract::{Contract, WORLD};
use super::scan::{self, Case};
use super::{Error, Manifest, files, tool};

/// Makes the component.
pub(super) fn build(manifest: &Manifest, contract: &Contract) -> Result<Vec<u8>, Error> {
    let folder = manifest.folder.canonicalize().map_err(Error::file("read", &manifest.folder))?;
    if !folder.join("plugin.py").is_file() {
        return Err(Error::Project(format!("there is no plugin.py in {}", manifest.folder.display())));
    }
    let sdk = manifest.kit.join("sdk/python").canonicalize().map_err(Error::file("read", &manifest.kit))?;
    let scratch = folder.join("target/lockgate");
    let found = look(manifest, &folder, &sdk)?;
    let hooks = found.hooks(&folder)?;
    let interfaces = contract.interfaces(&hooks)?;
    let classes: Vec<_> = interfaces.iter().map(|interface| Case::Pascal.of(interface)).collect();
    let app = format!("# Generated.\nfrom lockgate.glue import {}\n", classes.join(", "));
    files::write(&scratch.join("app/lockgate_app.py"), app)?;
    let wit = scratch.join("wit");
    files::write(&wit.join("world.wit"), contract.world_text(&hooks, Some(&found.imports()))?)?;
    files::copy(&manifest.kit.join("wit"), &wit.join("deps/lockgate"), "wit")?;

    let component = scratch.join("plugin.wasm");
    let mut componentize = Command::new(program(manifest, "componentize-py"));
    componentize.current_dir(&folder).arg("--quiet").arg("--wit-path").arg(&wit).args(["--world", WORLD]);
    componentize.args(["componentize", "--stub-wasi"]);
    for place in [&scratch.join("app"), &folder, &sdk] {
        componentize.arg("--python-path").arg(place);
    }
    componentize.args(["lockgate_app", "--output"]).arg(&component);
    tool::run(&mut componentize, "a plugin in Python", INSTALL)?;
    fs::read(&component).map_err(Error::file("read", &component))
}

/// What `lockgate.check` of the SDK says.
#[derive(Deserialize)]
struct Found {
    /// The methods of the plugin's class, with their places: file and line.
    methods: BTreeMap<String, String>,
    /// The modules of the SDK that are imported.
    modules: Vec<String>,
}

/// Has the interpreter import the plugin, which also shows mistakes of the language.
fn look(manifest: &Manifest, folder: &Path, sdk: &Path) -> Result<Found, Error> {
    let path = env::join_paths([folder, sdk]).map_err(|error| Error::Project(error.to_string()))?;
    let mut python = Command::new(program(manifest, "python3"));
    python.current_dir(folder).env("PYTHONPATH", path).env("PYTHONDONTWRITEBYTECODE", "1");
    python.args(["-m", "lockgate.check"]);
    let output = tool::output(&mut python, "a plugin in Python", INSTALL_PYTHON)?;
    serde_json::from_str(&output).map_err(|error| Error::Tool(format!("lockgate.check said something else: {error}")))
}

impl Found {
    /// The hooks among the methods; what only looks like one is a mistake.
    fn hooks(&self, folder: &Path) -> Result<Vec<String>, Error> {
        let known = super::contract::hooks();
        for (method, place) in self.methods.iter().filter(|(method, _)| method.starts_with("on_")) {
            let place = place.strip_prefix(&format!("{}/", folder.display())).unwrap_or(place);
            scan::check(method, &known, Case::Snake).map_err(|why| Error::Project(format!("{place}: {why}")))?;
        }
        let hooks: Vec<_> = known.into_iter().filter(|hook| self.methods.contains_key(&Case::Snake.of(hook))).collect();
        if hooks.is_empty() {
            let why = "plugin.py: the class has no hook, such as on_request: there is nothing to call it for";
            return Err(Error::Project(why.to_owned()));
        }
        Ok(hooks)
    }

    /// The interfaces of the contract that the plugin uses: the rest the component shall not ask for.
    fn imports(&self) -> Vec<String> {
        let interface = |module: &String| if module == "http" { "http-client".to_owned() } else { module.clone() };
        let mut imports: Vec<_> = self.modules.iter().map(interface).collect();
        // What hooks raise is logged.
        imports.push("log".to_owned());
        imports.sort();
        imports.dedup();
        imports
    }
}

/// A program of the project's own environment, or whichever the `PATH` has.
fn program(manifest: &Manifest, name: &str) -> OsString {
    let folder = manifest.folder.canonicalize().unwrap_or_else(|_| manifest.folder.clone());
    let own: PathBuf = folder.join(".venv/bin").join(name);
    if own.is_file() { own.into() } else { name.into() }
}

const INSTALL_PYTHON: &str =
    "install Python 3.10 or newer (https://www.python.org; Debian: apt-get install python3 python3-venv)";

const INSTALL: &str = "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt (in the project; Debian: apt-get \
                       install python3-venv)";
