//! To come.

use std::path::Path;

/// Why the server ended.
#[derive(Debug, thiserror::Error)]
#[error("this cannot be done yet")]
pub struct Error {}

/// Serves what that configuration file says.
///
/// # Errors
/// Always, until this is there.
pub fn run(_config: &Path) -> Result<(), Error> {
    Err(Error {})
}
