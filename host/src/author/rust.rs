//! Rust: cargo makes a core module for no system at all, which becomes a component here, or a component for WASI 0.2.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Error, Manifest, core_module, tool};

/// Compiles the crate.
pub(super) fn build(manifest: &Manifest) -> Result<Vec<u8>, Error> {
    let target = if manifest.wasi { "wasm32-wasip2" } else { "wasm32-unknown-unknown" };
    check_target(target)?;
    let mut cargo = Command::new(program("CARGO", "cargo"));
    cargo.current_dir(&manifest.folder).args(["build", "--release", "--target", target]);
    tool::run(&mut cargo, "a plugin in Rust", INSTALL)?;
    let module = module(manifest, target)?;
    if manifest.wasi {
        return fs::read(&module).map_err(Error::file("read", &module));
    }
    core_module::encode(&module)
}

/// Where cargo has put the crate's module.
fn module(manifest: &Manifest, target: &str) -> Result<PathBuf, Error> {
    let mut cargo = Command::new(program("CARGO", "cargo"));
    cargo.current_dir(&manifest.folder).args(["metadata", "--format-version=1", "--no-deps", "--offline"]);
    let metadata = tool::ask(&mut cargo).and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok());
    let metadata = metadata.ok_or_else(|| Error::Tool("cargo metadata failed".to_owned()))?;
    let folder = metadata["target_directory"].as_str().unwrap_or("target");
    let here = manifest.folder.canonicalize().unwrap_or_else(|_| manifest.folder.clone()).join("Cargo.toml");
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let own = packages.filter(|package| package["manifest_path"].as_str().is_some_and(|path| Path::new(path) == here));
    let targets = own.flat_map(|package| package["targets"].as_array().into_iter().flatten());
    let is_cdylib = |target: &&serde_json::Value| {
        target["crate_types"].as_array().into_iter().flatten().any(|kind| kind == "cdylib")
    };
    let name = targets.filter(is_cdylib).find_map(|target| target["name"].as_str()).ok_or_else(|| {
        Error::Project(format!(
            "{}: [lib] must have crate-type = [\"cdylib\"], or there is nothing to load",
            here.display()
        ))
    })?;
    Ok(Path::new(folder).join(target).join("release").join(format!("{}.wasm", name.replace('-', "_"))))
}

/// Makes sure that the compiler has a standard library for the target: cargo's own words for it are many.
fn check_target(target: &str) -> Result<(), Error> {
    // Whoever has cargo build the library needs none.
    if env::var_os("CARGO_UNSTABLE_BUILD_STD").is_some() {
        return Ok(());
    }
    let mut rustc = Command::new(program("RUSTC", "rustc"));
    rustc.args(["--print", "target-libdir", "--target", target]);
    match tool::ask(&mut rustc) {
        Some(library) if !Path::new(&library).exists() => Err(Error::Missing {
            tool: format!("a plugin in Rust needs the compiler's target {target}, which is not there"),
            install: format!("rustup target add {target}"),
        }),
        // Without a compiler, cargo says so.
        _ => Ok(()),
    }
}

fn program(variable: &str, name: &str) -> std::ffi::OsString {
    env::var_os(variable).unwrap_or_else(|| name.into())
}

const INSTALL: &str = "install Rust with rustup, https://rustup.rs, then `rustup target add wasm32-unknown-unknown`";
