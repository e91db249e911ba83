//! Programs that scenes run as people do: curl, openssl, `lockgate check`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::binary;
use crate::wait::{LONG, within_time};

/// What a program said.
#[derive(Debug)]
pub struct Said {
    /// Its exit code.
    pub code: i32,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

/// Runs a program to its end.
#[track_caller]
pub fn run<A: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    arguments: impl IntoIterator<Item = A>,
) -> impl Future<Output = Said> {
    run_for(LONG, program, arguments)
}

/// Runs a program to its end, which may be so far off.
#[track_caller]
pub fn run_for<A: AsRef<OsStr>>(
    limit: Duration,
    program: impl AsRef<OsStr>,
    arguments: impl IntoIterator<Item = A>,
) -> impl Future<Output = Said> {
    let name = program.as_ref().to_owned();
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    within_time(limit, "a program", async move {
        let output = command.output().await.unwrap_or_else(|error| panic!("{}: {error}", name.display()));
        Said {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    })
}

/// The program of that name: where `.ci/install` puts those from Python packages, or where programs are.
#[must_use]
pub fn installed(name: &str) -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/origins/bin");
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(own).chain(std::env::split_paths(&folders).collect::<Vec<_>>());
    folders.chain([PathBuf::from("/usr/sbin")]).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// `curl --silent --show-error` and these arguments.
#[track_caller]
pub fn curl<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> impl Future<Output = Said> {
    let mut all = vec!["--silent".into(), "--show-error".into(), "--max-time".into(), "15".into()];
    all.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
    run("curl", all)
}

/// `lockgate` and these arguments.
#[track_caller]
pub fn lockgate<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> impl Future<Output = Said> {
    run(binary::lockgate(), arguments)
}

/// Sends a signal (`TERM`, `HUP`, `INT`, `KILL`) to one process.
pub async fn signal(pid: u32, name: &str) {
    let said = run("sh", ["-c", &format!("kill -s {name} {pid}")]).await;
    assert_eq!(said.code, 0, "kill -s {name} {pid}: {}", said.err);
}
