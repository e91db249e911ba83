//! TLS with clients and with backends. The only place that knows rustls.

mod client;
mod peer;
mod pem;
mod policy;
mod server;
mod tenants;

pub use client::{ClientStream, ClientTls, UpstreamTls};
pub use peer::ClientCertificate;
pub use server::{Handshake, NoHandshake, ServerStream, ServerTls, TlsInfo};
pub use tenants::{TenantTls, TenantsTls};

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// The cryptography that both sides use. Taken explicitly, so that nothing depends on a default of the process.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

#[cfg(test)]
mod tests;
