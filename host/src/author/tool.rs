//! Running the tools of a language: what they say goes to standard error while they say it, and is kept to explain failures.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::thread;

use super::Error;

/// Runs a tool to its end. What it writes, on either output, appears on standard error.
///
/// # Errors
/// When it is not there, with `install` as what to do about it, or when it fails.
pub(super) fn run(command: &mut Command, purpose: &str, install: &str) -> Result<(), Error> {
    let said = attempt(command, purpose, install)?;
    match said {
        Said { well: true, .. } => Ok(()),
        Said { .. } => Err(Error::Tool(format!("{} failed", name(command)))),
    }
}

/// What came of a tool.
pub(super) struct Said {
    /// Whether it ended with 0.
    pub(super) well: bool,
    /// What it wrote on standard error.
    pub(super) text: String,
}

/// Runs a tool and says how it went.
///
/// # Errors
/// When it is not there.
pub(super) fn attempt(command: &mut Command, purpose: &str, install: &str) -> Result<Said, Error> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| missing(command, purpose, install, &error))?;
    let stdout = child.stdout.take();
    let plain = thread::spawn(move || stdout.map(pass_on));
    let text = child.stderr.take().map(pass_on).unwrap_or_default();
    let _ = plain.join();
    let status = child.wait().map_err(|error| Error::Tool(format!("{}: {error}", name(command))))?;
    Ok(Said { well: status.success(), text })
}

/// Runs a tool and returns what it prints on standard output; what it says otherwise appears on standard error.
///
/// # Errors
/// When it is not there, or fails.
pub(super) fn output(command: &mut Command, purpose: &str, install: &str) -> Result<String, Error> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn();
    let child = child.map_err(|error| missing(command, purpose, install, &error))?;
    let output = child.wait_with_output().map_err(|error| Error::Tool(format!("{}: {error}", name(command))))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(Error::Tool(format!("{} failed", name(command)))),
    }
}

/// What a tool prints on standard output, if it runs well.
pub(super) fn ask(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok().map(|text| text.trim().to_owned())
}

fn missing(command: &Command, purpose: &str, install: &str, error: &io::Error) -> Error {
    let why = match error.kind() {
        io::ErrorKind::NotFound => "is not there".to_owned(),
        _ => format!("cannot be run: {error}"),
    };
    Error::Missing { tool: format!("{purpose} needs `{}`, which {why}", name(command)), install: install.to_owned() }
}

fn name(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    program.file_name().unwrap_or(OsStr::new("the tool")).to_string_lossy().into_owned()
}

/// Copies lines to standard error, and returns them.
fn pass_on(from: impl io::Read) -> String {
    let mut text = String::new();
    let mut lines = BufReader::new(from);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        let _ = io::stderr().write_all(&line);
        text.push_str(&String::from_utf8_lossy(&line));
        line.clear();
    }
    text
}
