//! Which route is this?

use http::{HeaderMap, Method};

/// Finds the most specific route of a request.
#[derive(Debug)]
pub struct Routes<T> {
    _targets: Vec<T>,
}

impl<T> Routes<T> {
    /// `host` in lower case and without port; `path` canonical.
    #[must_use]
    pub fn find(&self, host: &str, path: &str, method: &Method, headers: &HeaderMap) -> Option<&T> {
        let _ = (host, path, method, headers);
        None
    }
}
