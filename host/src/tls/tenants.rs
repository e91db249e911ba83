//! Certificates of tenants. Each tenant has its own sessions: what it gave a client to resume with is worth nothing anywhere
//! else, so that a handshake always says whose guest the client is.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::Acceptor;
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;

use super::server::{ByName, ServerStream, load, server_config};
use crate::config::{Claims, Config, Problems};

/// How TLS is done for one tenant.
pub struct TenantTls {
    tenant: Arc<str>,
    certificates: Arc<ByName>,
    /// Without HTTP/2, and with it.
    configs: [Arc<ServerConfig>; 2],
    identity: [u8; 32],
}

/// All tenants that have certificates.
pub struct TenantsTls {
    claims: Arc<Claims>,
    by_tenant: HashMap<Arc<str>, Arc<TenantTls>>,
}

impl TenantTls {
    /// Reads a tenant's certificates. None if it has none. Everything wrong with them becomes a problem, among it a
    /// certificate for none of its hosts.
    #[must_use]
    pub fn build(tenant: &Arc<str>, config: &Config, claims: &Claims, problems: &mut Problems) -> Option<Arc<Self>> {
        let before = problems.len();
        let mut hasher = Sha256::new();
        let mut by_name = ByName::default();
        for certificate in &config.certificates {
            let Some(loaded) = load(certificate, &config.source, problems) else { continue };
            let (own, others): (Vec<_>, Vec<_>) =
                loaded.names.into_iter().partition(|name| claims.tenant_of(name) == Some(&**tenant));
            if own.is_empty() {
                let sentence = "this certificate is for none of the tenant's hosts";
                problems.push(&certificate.certificate.at, sentence).hint(format!("it is for {}", others.join(", ")));
                continue;
            }
            hasher.update(loaded.identity);
            own.iter().for_each(|name| hasher.update(name));
            by_name.add(&own, Arc::new(loaded.key));
        }
        if config.certificates.is_empty() || problems.len() > before {
            return None;
        }
        let certificates = Arc::new(by_name);
        let configs = [false, true].map(|http2| Arc::new(server_config(Arc::clone(&certificates), http2, SESSIONS)));
        Some(Arc::new(Self { tenant: Arc::clone(tenant), certificates, configs, identity: hasher.finalize().into() }))
    }

    /// Whether both are the same tenant's and have the same certificates, so that one can go on in place of the other and
    /// sessions stay resumable.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        self.tenant == other.tenant && self.identity == other.identity
    }
}

impl TenantsTls {
    /// For these tenants; `claims` say whose a name is.
    #[must_use]
    pub fn new(claims: Arc<Claims>, tenants: impl IntoIterator<Item = Arc<TenantTls>>) -> Self {
        Self { claims, by_tenant: tenants.into_iter().map(|tls| (Arc::clone(&tls.tenant), tls)).collect() }
    }

    /// Whether no tenant has a certificate.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_tenant.is_empty()
    }

    /// The handshake as the tenant does it whose name the client asks for, or else with `other`.
    pub(super) async fn accept(
        &self,
        stream: TcpStream,
        other: &Arc<ServerConfig>,
        http2: bool,
    ) -> io::Result<(ServerStream, Option<Arc<str>>)> {
        let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let tenant = hello.client_hello().server_name().and_then(|name| self.find(&name.to_ascii_lowercase()));
        let config = tenant.map_or(other, |tls| &tls.configs[usize::from(http2)]);
        let stream = hello.into_stream(Arc::clone(config)).await?;
        Ok((stream, tenant.map(|tls| Arc::clone(&tls.tenant))))
    }

    /// Whoever owns the name, if it has a certificate for it.
    fn find(&self, name: &str) -> Option<&TenantTls> {
        let tls = self.by_tenant.get(self.claims.tenant_of(name)?)?;
        tls.certificates.find(name).is_some().then_some(&**tls)
    }
}

impl std::fmt::Debug for TenantTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TenantTls").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for TenantsTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TenantsTls").finish_non_exhaustive()
    }
}

/// Sessions of TLS 1.2 clients without tickets, for each tenant.
const SESSIONS: usize = 64;
