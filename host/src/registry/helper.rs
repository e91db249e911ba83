//! Programs that keep credentials for docker: `docker-credential-NAME get`, which is told a registry and answers in JSON.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use super::credentials::Credentials;

/// Who we are at `server`, as the program of that name has it, if it knows.
///
/// # Errors
/// When it is not there, fails, says too much or nothing that can be understood, or takes longer than that.
pub(super) async fn ask(name: &str, server: &str, longest: Duration) -> Result<Option<Credentials>, String> {
    let program = format!("docker-credential-{name}");
    // It is sought where programs are, and nowhere else.
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
        return Err(format!("docker's configuration names {program:?}, which is no program's name"));
    }
    let mut command = Command::new(&program);
    command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("{program}, which docker's configuration names, is not on the PATH"),
        _ => format!("{program}, which docker's configuration names, cannot be run: {error}"),
    })?;
    let said = match tokio::time::timeout(longest, talk(&mut child, server)).await {
        Ok(Ok(said)) => said,
        failed => {
            // So that nothing is left of it.
            let _ = child.kill().await;
            return Err(match failed {
                Ok(Err(error)) => format!("{program}: {error}"),
                _ => format!("{program} takes longer than {longest:?} to say who we are at {server}"),
            });
        }
    };
    if !said.well {
        return match said.words() {
            words if words.contains(NOT_FOUND) => Ok(None),
            words if words.is_empty() => Err(format!("{program} failed for {server}, and says nothing of it")),
            words => Err(format!("{program} failed for {server}: {words}")),
        };
    }
    // What it has printed may be a secret.
    let found: Found = serde_json::from_slice(&said.out).map_err(|error| {
        format!("{program} does not answer in JSON with Username and Secret: {:?}", error.classify())
    })?;
    Ok(Some(match found.username.as_str() {
        "<token>" => Credentials::Identity(found.secret),
        user => Credentials::Password(STANDARD.encode(format!("{user}:{}", found.secret))),
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Found {
    username: String,
    secret: String,
}

/// What a program said.
struct Said {
    well: bool,
    out: Vec<u8>,
    err: Vec<u8>,
}

impl Said {
    /// Why it failed, as a line. Such programs say it on their standard output.
    fn words(&self) -> String {
        let said = if self.out.trim_ascii().is_empty() { &self.err } else { &self.out };
        let text = String::from_utf8_lossy(said);
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        line.chars().filter(|c| !c.is_control()).take(MOST_WORDS).collect()
    }
}

async fn talk(child: &mut Child, server: &str) -> io::Result<Said> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let told = async {
        if let Some(mut stdin) = stdin {
            // One that does not read it may know the answer all the same.
            let _ = stdin.write_all(server.as_bytes()).await;
        }
        Ok(())
    };
    let ((), out, err, status) = tokio::try_join!(told, read(stdout), read(stderr), child.wait())?;
    Ok(Said { well: status.success(), out, err })
}

async fn read(from: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        from.take(MOST + 1).read_to_end(&mut bytes).await?;
    }
    if bytes.len() as u64 > MOST {
        return Err(io::Error::other(format!("it says more than {} KiB", MOST >> 10)));
    }
    Ok(bytes)
}

/// What those programs say of a registry that they know nothing of.
const NOT_FOUND: &str = "credentials not found";

/// Bytes of an answer.
const MOST: u64 = 64 << 10;

/// Characters of it that are told.
const MOST_WORDS: usize = 300;
