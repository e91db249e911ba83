//! Accepts connections, does TLS handshakes, and hands connections to HTTP.

/// What all workers share to keep to the limits on connections.
#[derive(Debug, Default)]
pub struct Admission {}
