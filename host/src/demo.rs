//! To come.

/// Where the demo listens.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    /// For HTTP.
    pub http: u16,
    /// For HTTPS.
    pub https: u16,
}

/// Why the demo ended.
#[derive(Debug, thiserror::Error)]
#[error("this cannot be done yet")]
pub struct Error {}

/// Shows what Lockgate does.
///
/// # Errors
/// Always, until this is there.
pub fn run(_ports: &Ports) -> Result<(), Error> {
    Err(Error {})
}
