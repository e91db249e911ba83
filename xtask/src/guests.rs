//! Guests: the crates of the `plugins/` workspace, compiled to core wasm by cargo and made into components here.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::{env, fs};

use anyhow::{Context, Result, bail, ensure};
use wit_component::ComponentEncoder;

/// What guests are compiled for.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// What guests are compiled for that want WASI. Its linker makes components by itself.
pub const WASI_TARGET: &str = "wasm32-wasip2";

/// A stack of 64 KiB rather than 1 MiB, and room for a first heap: what an instance has from the start need not be asked for
/// when it is made, and is small enough to be cleared in place when it goes.
const MEMORY: [&str; 2] = ["-zstack-size=65536", "--initial-memory=196608"];

/// The guests that want WASI.
const WASI: [&str; 1] = ["wasi-guest"];

/// Names of guests and the components that were made of them.
pub type Components = BTreeMap<String, PathBuf>;

/// The component of the guest of that name, be it bundled or a fixture. Builds all guests once for each process; a build
/// that finds nothing to do takes a fraction of a second.
///
/// # Panics
/// When the guests cannot be built or there is none of that name: for tests, which cannot go on then.
#[must_use]
#[expect(clippy::panic, reason = "for tests, which cannot go on without their guests")]
pub fn component(name: &str) -> PathBuf {
    static COMPONENTS: OnceLock<Components> = OnceLock::new();
    let components = COMPONENTS.get_or_init(|| build(&[]).unwrap_or_else(|error| panic!("{error:#}")));
    components.get(name).unwrap_or_else(|| panic!("no guest named {name:?} in plugins/")).clone()
}

/// Builds the guests of those names, or all of them if `names` is empty, and says where their components are.
///
/// # Errors
/// When the target is missing and cannot be installed, cargo fails, or a module cannot become a component.
pub fn build(names: &[&str]) -> Result<Components> {
    let plugins = workspace()?.join("plugins");
    build_in(&plugins, &target_dir(&plugins), names)
}

/// The same for any copy of the `plugins/` folder (beside a copy of `wit/`), with the artifacts going to `target_dir`.
///
/// # Errors
/// As those of [`build`].
pub fn build_in(plugins: &Path, target_dir: &Path, names: &[&str]) -> Result<Components> {
    let wanted = |name: &str| names.is_empty() || names.contains(&name);
    install_target(TARGET)?;
    // First, because the folders of registries must be there for `remapped` to see them.
    run(cargo(plugins).args(["fetch", "--locked"]))?;
    let memory = MEMORY.map(|argument| format!("-Clink-arg={argument}"));
    let flags = [remapped(plugins)?, memory.to_vec()].concat().join("\u{1f}");
    let build = |target: &str| {
        let mut build = cargo(plugins);
        build.env("CARGO_ENCODED_RUSTFLAGS", &flags);
        build.args(["build", "--locked", "--release", "--target", target, "--target-dir"]).arg(target_dir);
        build
    };
    let mut plain = build(TARGET);
    match names {
        [] => plain.arg("--workspace").args(WASI.iter().flat_map(|name| ["--exclude", name])),
        names => {
            let plain_ones = names.iter().filter(|name| !WASI.contains(name));
            plain.args(plain_ones.flat_map(|name| ["--package", name]))
        }
    };
    run(&mut plain)?;
    if WASI.iter().any(|name| wanted(name)) {
        install_target(WASI_TARGET)?;
        run(build(WASI_TARGET).args(WASI.iter().flat_map(|name| ["--package", name])))?;
    }

    let folder = target_dir.join("components");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut components = Components::new();
    for name in guests(plugins)?.into_iter().filter(|name| wanted(name)) {
        let built = |target| target_dir.join(target).join("release").join(format!("{}.wasm", name.replace('-', "_")));
        let component = if WASI.contains(&name.as_str()) {
            let path = built(WASI_TARGET);
            fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?
        } else {
            encode(&built(TARGET))?
        };
        let path = folder.join(format!("{name}.wasm"));
        replace(&path, &component)?;
        components.insert(name, path);
    }
    Ok(components)
}

/// The names of all guests: the folders in `bundled/` and `fixtures/`, each of which holds a package of that name.
fn guests(plugins: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for group in ["bundled", "fixtures"] {
        let folder = plugins.join(group);
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let entry = entry?;
            if entry.path().join("Cargo.toml").exists() {
                names.extend(entry.file_name().into_string());
            }
        }
    }
    names.sort();
    Ok(names)
}

/// Makes a core module with its types, as wit-bindgen leaves it, into a component and validates it.
///
/// # Errors
/// When there is no such file, or its imports and exports are not those of a component.
pub fn encode(module: &Path) -> Result<Vec<u8>> {
    let make = || ComponentEncoder::default().validate(true).module(&fs::read(module)?)?.encode();
    make().with_context(|| format!("cannot make a component of {}", module.display()))
}

/// Writes a file at once, so that another process never reads half of it; leaves a file alone that holds those bytes.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    let beside = path.with_extension(format!("{}.tmp", std::process::id()));
    fs::write(&beside, bytes)
        .and_then(|()| fs::rename(&beside, path))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// A call of cargo for the guests: what the caller wants of a build of its own is not meant for them.
fn cargo(plugins: &Path) -> Command {
    let mut cargo = Command::new(program("CARGO", "cargo"));
    cargo.current_dir(plugins);
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let foreign = ["CARGO_BUILD_", "CARGO_PROFILE_", "CARGO_TARGET_", "CARGO_PKG_", "CARGO_MANIFEST_"];
        if foreign.iter().any(|prefix| name.starts_with(prefix)) || name == "RUSTFLAGS" {
            cargo.env_remove(name);
        }
    }
    cargo
}

fn run(cargo: &mut Command) -> Result<()> {
    let output = cargo.output().context("cannot run cargo")?;
    ensure!(output.status.success(), "cannot build the guests:\n{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Flags that keep this machine's folders out of panic messages, so that the same sources make the same bytes wherever they
/// lie. Of two that match, the compiler takes the last.
fn remapped(plugins: &Path) -> Result<Vec<String>> {
    let sysroot = PathBuf::from(rustc(&["--print", "sysroot"])?);
    let home = env::home_dir().unwrap_or_else(|| PathBuf::from("/"));
    let cargo_home = env::var_os("CARGO_HOME").map_or_else(|| home.join(".cargo"), PathBuf::from);
    let registry = cargo_home.join("registry/src");
    let mut folders = vec![(home, "/home".into()), (registry.clone(), "/registry".into())];
    // The folder of a registry carries a hash of its address, which a mirror changes.
    for index in fs::read_dir(registry).into_iter().flatten().flatten() {
        folders.push((index.path(), "/registry".into()));
    }
    folders.push((sysroot.join("lib/rustlib/src/rust"), "/rust".into()));
    folders.push((plugins.parent().unwrap_or(plugins).to_owned(), "/lockgate".into()));
    Ok(folders
        .iter()
        .map(|(from, to): &(PathBuf, String)| format!("--remap-path-prefix={}={to}", from.display()))
        .collect())
}

/// Makes sure that the compiler has a standard library for the guests' target.
fn install_target(target: &str) -> Result<()> {
    let library = rustc(&["--print", "target-libdir", "--target", target])?;
    // Whoever has cargo build the library needs none.
    if Path::new(&library).exists() || env::var_os("CARGO_UNSTABLE_BUILD_STD").is_some() {
        return Ok(());
    }
    let toolchain = env::var_os("RUSTUP_TOOLCHAIN").map(|name| [OsString::from("--toolchain"), name]);
    let added = Command::new("rustup").args(["target", "add", target]).args(toolchain.into_iter().flatten()).output();
    match added {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => bail!("{MISSING}\n{}", String::from_utf8_lossy(&output.stderr).trim_end()),
        Err(error) => bail!("{MISSING}\nrustup: {error}"),
    }
}

const MISSING: &str = "guests need the targets wasm32-unknown-unknown and wasm32-wasip2, one of which rustup could not add. plugins/README.md names \
                       another way to have it";

/// What the compiler prints.
pub(crate) fn rustc(arguments: &[&str]) -> Result<String> {
    let output = Command::new(program("RUSTC", "rustc")).args(arguments).output().context("cannot run rustc")?;
    ensure!(output.status.success(), "rustc {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
}

/// A program that the environment may name.
fn program(variable: &str, name: &str) -> OsString {
    env::var_os(variable).unwrap_or_else(|| name.into())
}

/// Where guests are built: `CARGO_TARGET_DIR` has a place for them too, apart from what is native.
fn target_dir(plugins: &Path) -> PathBuf {
    env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| plugins.join("target"), |folder| PathBuf::from(folder).join("guests"))
}

/// The folder of the repository.
pub(crate) fn workspace() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    here.canonicalize().with_context(|| format!("{} is gone", here.display()))
}
