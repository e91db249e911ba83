//! `lockgate certificate`: a certificate for development, in files.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::certificate;

/// What was asked for.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// A name or address that the certificate is for; may be given several times
    #[arg(long = "host", value_name = "HOST", default_values_t = LOCAL.map(str::to_owned))]
    hosts: Vec<String>,
    /// The folder for the two files, which are named after the first host
    #[arg(long, value_name = "FOLDER", default_value = "certs")]
    out: PathBuf,
    /// For how many days it is good
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
    /// Replace files that are there already
    #[arg(long)]
    force: bool,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The hosts do not make a certificate.
    #[error(transparent)]
    Make(#[from] certificate::Error),
    /// A file is there already.
    #[error("{} is there already; --force replaces it", .0.display())]
    Exists(PathBuf),
    /// A file cannot be written.
    #[error("cannot write {}", .0.display())]
    Write(PathBuf, #[source] io::Error),
}

/// Writes the two files and says what to do with them.
pub(super) fn run(options: &Options) -> Result<String, Error> {
    let pair = certificate::self_signed(&options.hosts, options.days)?;
    let stem = options.hosts.first().map_or("localhost", String::as_str).replace('*', "wildcard").replace(':', "_");
    let certificate = options.out.join(format!("{stem}.crt"));
    let key = options.out.join(format!("{stem}.key"));
    if let Some(present) = [&certificate, &key].into_iter().find(|path| path.exists() && !options.force) {
        return Err(Error::Exists(present.clone()));
    }
    fs::create_dir_all(&options.out).map_err(|error| Error::Write(options.out.clone(), error))?;
    write(&key, &pair.key, OWNER_ONLY)?;
    write(&certificate, &pair.certificate, EVERYBODY)?;
    Ok(format!(
        "{crt} is a certificate for {hosts}, good for {days} days; {key} is its key, which only you can read.\n\n\
         In the configuration:\n\n    \
         [[listener]]\n    \
         address = \"127.0.0.1:8443\"\n    \
         [[listener.certificate]]\n    \
         certificate = \"{crt}\"\n    \
         key = \"{key}\"\n\n\
         Nobody trusts it yet: try it with curl --cacert {crt} https://{first}:8443/\n",
        crt = certificate.display(),
        key = key.display(),
        hosts = options.hosts.join(", "),
        days = options.days,
        first = options.hosts.first().map_or("localhost".to_owned(), |host| in_url(host)),
    ))
}

/// A host as it stands in a URL that can be tried.
fn in_url(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.replace('*', "www") }
}

/// Replaces a file rather than writing into it, so that the mode is right from its first byte on.
fn write(path: &Path, text: &str, mode: u32) -> Result<(), Error> {
    let written = || {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(text.as_bytes())
    };
    written().map_err(|error| Error::Write(path.to_owned(), error))
}

const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
const OWNER_ONLY: u32 = 0o600;
const EVERYBODY: u32 = 0o644;
