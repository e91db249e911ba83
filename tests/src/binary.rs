//! Where the binary is that the scenes run.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// The `lockgate` that belongs to these tests: what `LOCKGATE_BINARY` names, or the one that cargo builds next to them.
#[must_use]
pub fn lockgate() -> &'static Path {
    static BINARY: LazyLock<PathBuf> = LazyLock::new(|| match std::env::var_os("LOCKGATE_BINARY") {
        Some(path) => path.into(),
        None => build(),
    });
    &BINARY
}

/// Cargo builds another package's binary for `cargo test` only if that package's integration tests are run as well, so
/// `cargo test --test e2e` could meet a stale one. Asking again costs a moment when there is nothing to do.
fn build() -> PathBuf {
    let test = std::env::current_exe().expect("a process knows its file");
    let profile = test.ancestors().nth(2).expect("tests are in target/PROFILE/deps");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // The whole workspace, because the features of shared dependencies depend on what is asked for.
    cargo.args(["build", "--quiet", "--workspace", "--bin", "lockgate", "--target-dir"]);
    cargo.arg(profile.parent().expect("profiles are in target"));
    cargo.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is above this package"));
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    assert!(cargo.status().expect("cargo can be started").success(), "lockgate does not build");
    profile.join("lockgate")
}
