//! Programs that scenes run as people do: curl, openssl, `lockgate check`.

use std::ffi::OsStr;
use std::process::Stdio;

use tokio::process::Command;

use crate::binary;
use crate::wait::within;

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
    let name = program.as_ref().to_owned();
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    within("a program", async move {
        let output = command.output().await.unwrap_or_else(|error| panic!("{}: {error}", name.display()));
        Said {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    })
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
