//! C: bindings are generated here, clang compiles them with the plugin for no system at all, and what comes out becomes a
//! component.

use std::path::Path;
use std::process::Command;

use wit_bindgen_core::Files;

use super::contract::{Contract, WORLD};
use super::scan::Case;
use super::{Error, Manifest, core_module, files, scan, sources, tool};

/// Compiles the plugin: all `.c` files of its folder and of `src`.
pub(super) fn build(manifest: &Manifest, contract: &Contract) -> Result<Vec<u8>, Error> {
    let scratch = manifest.scratch();
    let generated = generate(manifest, contract)?;
    for (name, content) in &generated {
        files::write(&scratch.join(name), content)?;
    }
    let sdk = manifest.kit.join("sdk/c");
    let sources = sources::of(&manifest.folder, &["", "src"], "c", "")?;
    scan::misspelt_functions(&sources, &manifest.hooks, Case::Snake)?;
    let module = scratch.join("plugin.wasm");
    let clang = std::env::var_os("LOCKGATE_CLANG").unwrap_or_else(|| "clang".into());
    let mut compile = Command::new(clang);
    compile
        .args(["--target=wasm32-unknown-unknown", "-std=c11", "-O2", "-nostdlib", "-ffreestanding", "-mbulk-memory"])
        .args([
            "-ffunction-sections",
            "-fdata-sections",
            "-flto",
            "-Wall",
            "-Wextra",
            "-Werror=implicit-function-declaration",
        ])
        .args([
            "-Wl,--no-entry",
            "-Wl,--gc-sections",
            "-Wl,--strip-all",
            "-Wl,-z,stack-size=65536",
            "-Wl,--stack-first",
        ])
        .arg("-isystem")
        .arg(sdk.join("include"))
        .arg("-I")
        .arg(&sdk)
        .arg("-I")
        .arg(&scratch)
        .args(&sources)
        .arg(sdk.join("runtime.c"))
        .args(generated.iter().map(|(name, _)| scratch.join(name)).filter(|path| has_kind(path, &["c", "o"])))
        .arg("-o")
        .arg(&module);
    let said = tool::attempt(&mut compile, "a plugin in C", INSTALL)?;
    if said.well {
        return core_module::encode(&module);
    }
    if said.text.contains("unable to execute command") || said.text.contains("invalid linker name") {
        return Err(Error::Missing {
            tool: "a plugin in C needs `wasm-ld` beside clang".to_owned(),
            install: INSTALL.to_owned(),
        });
    }
    let undefined =
        manifest.hooks.iter().find(|hook| said.text.contains(&format!("undefined symbol: {}", snake(hook))));
    Err(Error::Tool(match undefined {
        Some(hook) => format!(
            "plugin.toml names the hook \"{hook}\", and the code does not define {}: target/lockgate/hooks.h declares it",
            snake(hook)
        ),
        None => "clang failed".to_owned(),
    }))
}

/// The bindings, and what calls the plugin's functions from them.
fn generate(manifest: &Manifest, contract: &Contract) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let (mut resolve, world_id) = contract.world(&manifest.hooks)?;
    let exported = contract.interfaces(&manifest.hooks)?;
    // Short names: `request_header`, not `lockgate_plugin_request_header`.
    let world = contract.imported_interfaces().into_iter().chain(exported.iter().cloned());
    let rename = world.map(|name| (format!("lockgate:plugin/{name}@{}", contract.version()), snake(&name)));
    let options = wit_bindgen_c::Opts {
        rename: rename.collect(),
        rename_world: Some(WORLD.to_owned()),
        ..wit_bindgen_c::Opts::default()
    };
    let mut files = Files::default();
    options
        .build()
        .generate(&mut resolve, world_id, &mut files)
        .map_err(|error| Error::Project(format!("bindings for C cannot be generated: {error:#}")))?;
    let mut generated: Vec<_> = files.iter().map(|(name, content)| (name.to_owned(), content.to_vec())).collect();
    let header = generated.iter().find(|(name, _)| *name == format!("{WORLD}.h"));
    let header = header.map(|(_, content)| String::from_utf8_lossy(content).into_owned()).unwrap_or_default();
    let hooks = exported.iter().flat_map(|interface| {
        let functions = contract.functions(interface).into_iter();
        functions.map(|function| (snake(interface), snake(&function)))
    });
    let (declarations, definitions) = glue(&header, &hooks.collect::<Vec<_>>());
    generated.push(("hooks.h".to_owned(), declarations.into_bytes()));
    generated.push(("hooks.c".to_owned(), definitions.into_bytes()));
    Ok(generated)
}

/// The hooks as a plugin defines them, and the exports that call them, from the prototypes that were generated.
fn glue(header: &str, hooks: &[(String, String)]) -> (String, String) {
    let mut declarations = "// Generated: the hooks that plugin.toml names.\n#ifndef LOCKGATE_HOOKS_H\n".to_owned();
    declarations += &format!("#define LOCKGATE_HOOKS_H\n#include \"{WORLD}.h\"\n\n");
    let mut definitions = "// Generated.\n#include \"lockgate-plugin.h\"\n#include <string.h>\n".to_owned();
    for (interface, name) in hooks {
        let exported = format!("exports_{interface}_{name}");
        let prototype = header.lines().find_map(|line| {
            let (result, rest) = line.split_once(&format!(" {exported}("))?;
            Some((result, rest.strip_suffix(");")?))
        });
        let Some((result, parameters)) = prototype else { continue };
        let [result, parameters] =
            [result, parameters].map(|it| it.replace(&format!("exports_{interface}_"), "types_"));
        if name != "configure" {
            declarations += &format!("{result} {name}({parameters});\n");
        }
        let names: Vec<_> = parameters.split(", ").filter_map(|one| one.rsplit([' ', '*']).next()).collect();
        let names = if parameters == "void" { String::new() } else { names.join(", ") };
        // What is returned through a pointer begins as zeros: proceed, pass.
        let clear = if parameters.ends_with("_t *ret") { "  memset(ret, 0, sizeof *ret);\n" } else { "" };
        let (take, give) = match result.as_str() {
            "void" => (String::new(), ""),
            _ => (format!("{result} returned = "), "  return returned;\n"),
        };
        definitions += &format!(
            "\n{result} {exported}({parameters}) {{\n{clear}  {take}{name}({names});\n  lockgate_hook_returns({});\n{give}}}\n",
            name == "configure"
        );
    }
    (declarations + "\n#endif\n", definitions)
}

fn has_kind(path: &Path, kinds: &[&str]) -> bool {
    path.extension().is_some_and(|kind| kinds.iter().any(|known| kind == *known))
}

/// `on-request` as `on_request`.
fn snake(name: &str) -> String {
    name.replace('-', "_")
}

const INSTALL: &str = "install clang and lld (Debian: apt-get install clang lld; macOS: brew install llvm lld)";
