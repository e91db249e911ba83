//! Certificates and keys from PEM files, with a sentence for everything that can be wrong with them.

use std::path::Path;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};

/// What a file holds, and the digest that tells whether it has changed.
pub(super) struct Contents<T> {
    pub(super) items: T,
    pub(super) digest: [u8; 32],
}

/// All certificates in a file, in its order; at least one.
pub(super) fn certificates(file: &Path) -> Result<Contents<Vec<CertificateDer<'static>>>, String> {
    let bytes = read(file)?;
    let items = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("{} is not valid PEM: {}", file.display(), reason(&error)))?;
    if items.is_empty() {
        return Err(format!("{} holds no certificate in PEM form", file.display()));
    }
    Ok(Contents { items, digest: Sha256::digest(&bytes).into() })
}

/// The first private key in a file.
pub(super) fn private_key(file: &Path) -> Result<Contents<PrivateKeyDer<'static>>, String> {
    let bytes = read(file)?;
    let items = PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
        pem::Error::NoItemsFound if encrypted(&bytes) => {
            format!("the key in {} is encrypted; it must be in the clear", file.display())
        }
        pem::Error::NoItemsFound => format!("{} holds no private key in PEM form", file.display()),
        other => format!("{} is not valid PEM: {}", file.display(), reason(&other)),
    })?;
    warn_if_others_can_read(file);
    Ok(Contents { items, digest: Sha256::digest(&bytes).into() })
}

pub(super) fn read(file: &Path) -> Result<Vec<u8>, String> {
    let length = std::fs::metadata(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?.len();
    if length > LARGEST_FILE {
        return Err(format!("{} is too large to be a certificate or a key", file.display()));
    }
    std::fs::read(file).map_err(|error| format!("cannot read {}: {error}", file.display()))
}

fn encrypted(bytes: &[u8]) -> bool {
    let marker = b"ENCRYPTED";
    bytes.windows(marker.len()).any(|window| window == marker)
}

pub(super) fn reason(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a section has no end".to_owned(),
        pem::Error::IllegalSectionStart { .. } => "a section starts with a malformed line".to_owned(),
        pem::Error::Base64Decode(_) => "a section is not base64".to_owned(),
        pem::Error::Io(error) => error.to_string(),
        other => format!("{other:?}"),
    }
}

/// A warning only: in containers, the group often is what gives the key to the process.
fn warn_if_others_can_read(file: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let Ok(metadata) = std::fs::metadata(file) else { return };
    let mode = metadata.permissions().mode();
    if mode & 0o077 != 0 {
        let mode = mode & 0o777;
        tracing::warn!("others on this machine can read the private key {} (mode {mode:o})", file.display());
    }
}

/// The largest collection of authorities in use is under 1 MiB.
const LARGEST_FILE: u64 = 16 * 1024 * 1024;
