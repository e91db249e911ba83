//! JavaScript and TypeScript: esbuild makes one module of the plugin and what it imports, componentize-qjs puts it into a
//! component with the QuickJS engine. Both are npm packages that the project names.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::contract::{Contract, WORLD};
use super::scan::{self, Case};
use super::{Error, Language, Manifest, files, source_map, tool};

/// Makes the component.
pub(super) fn build(manifest: &Manifest, contract: &Contract) -> Result<Vec<u8>, Error> {
    let scratch = manifest.scratch();
    let source = source(manifest)?;
    check_packages(manifest)?;
    if manifest.language == Language::Ts {
        let mut check = packaged(manifest, "tsc");
        check.args(["--noEmit", "--pretty", "false", "-p", "."]);
        tool::run(&mut check, "a plugin in TypeScript", INSTALL)?;
    }
    let exported = exports(manifest, contract, &source, &scratch)?;
    let hooks = hooks(&exported, &source)?;
    files::write(&scratch.join("entry.js"), entry(contract, &hooks, &exported, &source)?)?;
    let bundled = bundle(manifest, contract, &scratch.join("entry.js"), &scratch.join("plugin.js"))?;
    tell_lines(manifest, &scratch)?;
    // What the code does not import, the component shall not ask for.
    let imports = external(&bundled);
    let world = contract.world_text(&hooks, Some(&imports))?;
    let wit = scratch.join("wit");
    files::write(&wit.join("world.wit"), world)?;
    files::copy(&manifest.kit.join("wit"), &wit.join("deps/lockgate"), "wit")?;

    let component = scratch.join("plugin.wasm");
    let mut componentize = packaged(manifest, "componentize-qjs");
    // The paths are as the tool sees them, from the project's folder.
    componentize.args(["--sync", "--stub-wasi", "--wit", "target/lockgate/wit", "--world", WORLD]).args([
        "--js",
        "target/lockgate/plugin.js",
        "--output",
        "target/lockgate/plugin.wasm",
    ]);
    let said = tool::attempt(&mut componentize, "a plugin in JavaScript", INSTALL)?;
    if !said.well {
        return Err(Error::Tool(match asked_too_early(&said.text) {
            Some(asked) => format!(
                "{}: it asks for {asked} while it is loaded, and there is no host yet: ask in configure or in a hook",
                source.display()
            ),
            None => "componentize-qjs failed".to_owned(),
        }));
    }
    fs::read(&component).map_err(Error::file("read", &component))
}

/// What of the host a module has asked for where the component is made, if that is what its tool complains of.
fn asked_too_early(said: &str) -> Option<String> {
    let (_, rest) = said.split_once("unknown import: `lockgate:plugin/")?;
    let (interface, function) = rest.split_once('`')?.0.split_once('#')?;
    Some(format!("{}.{function}", interface.split('@').next()?))
}

/// The plugin's own module.
fn source(manifest: &Manifest) -> Result<PathBuf, Error> {
    let kind = if manifest.language == Language::Ts { "ts" } else { "js" };
    let names = [format!("plugin.{kind}"), format!("src/plugin.{kind}")];
    let found = names.iter().find(|name| manifest.folder.join(name).is_file());
    found.map(PathBuf::from).ok_or_else(|| {
        Error::Project(format!("there is neither {} nor {} in {}", names[0], names[1], manifest.folder.display()))
    })
}

/// Whether what package.json names has been installed.
fn check_packages(manifest: &Manifest) -> Result<(), Error> {
    let tools = ["esbuild", "componentize-qjs", "tsc"];
    let wanted = &tools[..if manifest.language == Language::Ts { 3 } else { 2 }];
    let folder = manifest.folder.join("node_modules");
    let path = std::env::var_os("PATH").unwrap_or_default();
    // What packages bring along begins with `#!/usr/bin/env node`, and would say that in fewer words.
    if !std::env::split_paths(&path).any(|place| place.join(NODE).is_file()) {
        let tool = format!("a plugin in {} needs `node`, which is not there", manifest.language);
        return Err(Error::Missing { tool, install: INSTALL.to_owned() });
    }
    match wanted.iter().find(|tool| !folder.join(".bin").join(tool).exists()) {
        None => Ok(()),
        Some(tool) => Err(Error::Missing {
            tool: format!(
                "a plugin in {} needs `{tool}` in {}, which is not there",
                manifest.language,
                folder.display()
            ),
            install: format!("(cd {} && npm install)", manifest.folder.display()),
        }),
    }
}

/// What the plugin's module exports.
fn exports(manifest: &Manifest, contract: &Contract, source: &Path, scratch: &Path) -> Result<Vec<String>, Error> {
    let meta = bundle(manifest, contract, &manifest.folder.join(source), &scratch.join("own.js"))?;
    let outputs = meta["outputs"].as_object().into_iter().flatten();
    let exports = outputs.flat_map(|(_, output)| output["exports"].as_array().into_iter().flatten());
    Ok(exports.filter_map(Value::as_str).map(str::to_owned).collect())
}

/// The hooks among what is exported; what only looks like one is a mistake.
fn hooks(exported: &[String], source: &Path) -> Result<Vec<String>, Error> {
    let all = super::contract::hooks();
    let hooks: Vec<_> = all.into_iter().filter(|hook| exported.contains(&Case::Camel.of(hook))).collect();
    for name in exported {
        scan::check(name, &hooks, Case::Camel).map_err(|why| Error::Project(format!("{}: {why}", source.display())))?;
    }
    if hooks.is_empty() {
        let shown = source.display();
        return Err(Error::Project(format!(
            "{shown}: exports no hook, such as onRequest: there is nothing to call it for"
        )));
    }
    Ok(hooks)
}

/// The module that has the exports of the contract, made of the plugin's functions.
fn entry(contract: &Contract, hooks: &[String], exported: &[String], source: &Path) -> Result<String, Error> {
    let mut text = format!(
        "import * as plugin from \"../../{}\";\nimport * as glue from \"lockgate/glue\";\n\n",
        source.display()
    );
    for interface in contract.interfaces(hooks)? {
        let mut functions = Vec::new();
        for function in contract.functions(&interface) {
            let name = Case::Camel.of(&function);
            if function != "configure" && !exported.contains(&name) {
                return Err(Error::Project(format!("{}: {name} is missing: it is one of a pair", source.display())));
            }
            functions.push(match WRAPPED.contains(&function.as_str()) {
                true => format!("{name}: glue.{name}(plugin.{name})"),
                false => format!("{name}: glue.plain(\"{name}\", plugin.{name})"),
            });
        }
        text += &format!("export const {} = {{ {} }};\n", Case::Camel.of(&interface), functions.join(", "));
    }
    Ok(text)
}

/// Makes one module of a module and what it imports, but for the host; says what is in it.
fn bundle(manifest: &Manifest, contract: &Contract, from: &Path, to: &Path) -> Result<Value, Error> {
    let folder = manifest.folder.canonicalize().map_err(Error::file("read", &manifest.folder))?;
    let within = |path: &Path| path.strip_prefix(&manifest.folder).unwrap_or(path).display().to_string();
    let meta = to.with_extension("json");
    let mut esbuild = packaged(manifest, "esbuild");
    esbuild.current_dir(&folder).arg(within(from)).args([
        "--bundle",
        "--format=esm",
        "--platform=neutral",
        "--main-fields=module,main",
        "--target=es2022",
        "--external:lockgate:*",
        "--log-level=warning",
        "--sourcemap=external",
        "--sources-content=false",
    ]);
    // In tests, a host of paper stands there.
    let interfaces = contract.imported_interfaces();
    let version = contract.version();
    esbuild.args(interfaces.iter().map(|name| format!("--alias:#host/{name}=lockgate:plugin/{name}@{version}")));
    esbuild.arg(format!("--outfile={}", within(to))).arg(format!("--metafile={}", within(&meta)));
    let said = tool::attempt(&mut esbuild, "a plugin in JavaScript", INSTALL)?;
    if !said.well {
        let of_node = said.text.contains("is built into node");
        let why = if of_node { ": there is nothing of Node's own in a plugin" } else { "" };
        return Err(Error::Tool(format!("esbuild failed{why}")));
    }
    let text = fs::read_to_string(&meta).map_err(Error::file("read", &meta))?;
    serde_json::from_str(&text).map_err(|error| Error::Tool(format!("esbuild left something else: {error}")))
}

/// Has a bundle say where its lines come from, for stacks of what it throws.
fn tell_lines(manifest: &Manifest, scratch: &Path) -> Result<(), Error> {
    let real = |path: &Path| path.canonicalize().map_err(Error::file("read", path));
    let (folder, scratch) = (real(&manifest.folder)?, real(scratch)?);
    let sdk = real(&manifest.kit.join("sdk/js"))?;
    // Of what the author has not written nobody wants to know the lines, and they would make the component larger.
    let shown = |source: &str| {
        let path = scratch.join(source).canonicalize().ok()?;
        let is_own = !path.starts_with(&sdk) && !path.starts_with(&scratch);
        is_own.then(|| path.strip_prefix(&folder).unwrap_or(&path).display().to_string())
    };
    let (bundle, map) = (scratch.join("plugin.js"), scratch.join("plugin.js.map"));
    let text = fs::read_to_string(&map).map_err(Error::file("read", &map))?;
    let lines = source_map::lines(&text, shown);
    let lines = lines.map_err(|why| Error::Tool(format!("esbuild left no source map: {why}")))?;
    let code = fs::read_to_string(&bundle).map_err(Error::file("read", &bundle))?;
    // Behind all the rest, whose lines must stay where they are.
    let text = format!("{code}globalThis.lockgateSources = {};\n", serde_json::json!(lines));
    files::write(&bundle, text)
}

/// The interfaces of the contract that a bundle imports.
fn external(meta: &Value) -> Vec<String> {
    let outputs = meta["outputs"].as_object().into_iter().flatten();
    let imports = outputs.flat_map(|(_, output)| output["imports"].as_array().into_iter().flatten());
    let ours = imports.filter_map(|import| import["path"].as_str()?.strip_prefix("lockgate:plugin/"));
    let mut names: Vec<_> = ours.map(|name| name.split('@').next().unwrap_or(name).to_owned()).collect();
    names.sort();
    names.dedup();
    names
}

/// A tool of the project's own packages.
fn packaged(manifest: &Manifest, name: &str) -> Command {
    let folder = manifest.folder.canonicalize().unwrap_or_else(|_| manifest.folder.clone());
    let mut command = Command::new(folder.join("node_modules/.bin").join(name));
    command.current_dir(folder);
    command
}

/// The functions that `lockgate/glue` knows by name.
const WRAPPED: [&str; 12] = [
    "configure",
    "self-test",
    "on-request",
    "on-request-complete",
    "on-request-body",
    "pick-backend",
    "on-connect",
    "on-attempt-failed",
    "on-response",
    "on-response-body",
    "export-state",
    "import-state",
];

const NODE: &str = if cfg!(windows) { "node.exe" } else { "node" };

const INSTALL: &str = "install Node.js 20 or newer (https://nodejs.org; Debian: apt-get install nodejs npm), then `npm install` in the project";
