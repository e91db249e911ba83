//! Certificates of tenants. Each tenant has its own sessions: what it gave a client to resume with is worth nothing anywhere
//! else, so that a handshake always says whose guest the client is.

use std::collections::HashMap;
use std::sync::Arc;

use super::policy::{Policies, Policy, Terms};
use crate::config::{Certificate, Claims, Config, Problems};

/// How TLS is done for one tenant.
pub struct TenantTls {
    tenant: Arc<str>,
    policies: Policies,
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
        if config.certificates.is_empty() {
            return None;
        }
        let own = |certificate: &Certificate, names: Vec<String>, problems: &mut Problems| {
            let (own, others): (Vec<_>, Vec<_>) =
                names.into_iter().partition(|name| claims.tenant_of(name) == Some(&**tenant));
            if own.is_empty() {
                let sentence = "this certificate is for none of the tenant's hosts";
                problems.push(&certificate.certificate.at, sentence).hint(format!("it is for {}", others.join(", ")));
                return None;
            }
            Some(own)
        };
        let terms = Terms { sessions: SESSIONS, http2: None };
        let policies = Policies::build(&config.certificates, None, terms, &config.source, problems, own)?;
        Some(Arc::new(Self { tenant: Arc::clone(tenant), policies }))
    }

    /// Whether both are the same tenant's and have the same certificates, so that one can go on in place of the other and
    /// sessions stay resumable.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        self.tenant == other.tenant && self.policies.identity == other.policies.identity
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

    /// Whether any of them asks something of clients.
    pub(super) fn ask(&self) -> bool {
        self.by_tenant.values().any(|tls| tls.policies.ask())
    }

    /// How whoever owns the name does TLS for it, if it has a certificate for it.
    pub(super) fn find(&self, name: &str) -> Option<(&Policy, &Arc<str>)> {
        let tls = self.by_tenant.get(self.claims.tenant_of(name)?)?;
        Some((tls.policies.for_name(name)?, &tls.tenant))
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
