//! TLS with clients: which certificate, which protocol, and sessions that can be resumed.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use rustls::server::{Acceptor, ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::policy::{Policies, Policy, Rules, Terms};
use super::{ClientCertificate, HTTP1, HTTP2, TenantsTls, pem, provider};
use crate::config::{self, At, Certificate, ClientAuthMode, Problems, Source};

/// A TLS connection with a client.
pub type ServerStream = tokio_rustls::server::TlsStream<TcpStream>;

/// How a listener does TLS. Cheap to clone.
#[derive(Clone)]
pub struct ServerTls {
    policies: Arc<Policies>,
    http2: bool,
    /// Whether the listener itself asks something of clients.
    guarded: bool,
    /// Only if a tenant has a certificate.
    tenants: Option<Arc<TenantsTls>>,
    identity: [u8; 32],
}

/// What exchanges may know of a TLS handshake.
#[derive(Debug, Clone, Default)]
pub struct TlsInfo {
    /// The name that the client asked for.
    pub server_name: Option<String>,
    /// The tenant whose certificate it was shown: the connection is for nobody else.
    pub tenant: Option<Arc<str>>,
    /// The client's certificate, if it was asked for one and has shown it.
    pub client: Option<Arc<ClientCertificate>>,
    /// Whether backends are told of the client's certificate.
    pub forwards: bool,
    /// What was asked of the client: a digest.
    pub rules: Rules,
}

/// What a handshake with a client came to.
#[derive(Debug)]
pub struct Handshake {
    /// What was agreed on by ALPN: `h2` or `http/1.1`.
    pub alpn: Option<&'static str>,
    /// What exchanges may know of it.
    pub info: TlsInfo,
}

/// Why a handshake came to nothing: the reason that is counted, and the error for the log.
#[derive(Debug)]
pub struct NoHandshake {
    /// `client_certificate` or `tls_handshake`.
    pub reason: &'static str,
    /// What happened.
    pub error: io::Error,
}

impl ServerTls {
    /// Reads the certificates and keys of a listener, and what clients must show. Everything wrong with them becomes a problem,
    /// at the file's name in the configuration; then there is no `ServerTls`.
    #[must_use]
    pub fn build(listener: &config::Listener, source: &Source, problems: &mut Problems) -> Option<Self> {
        let http2 = listener.http2;
        let of_all = listener.client_auth.as_ref();
        let terms = Terms { sessions: CACHED_SESSIONS, http2: Some(http2) };
        let every = |_: &Certificate, names, _: &mut Problems| Some(names);
        let policies = Policies::build(&listener.certificates, of_all, terms, source, problems, every)?;
        let guarded = of_all.is_some_and(|auth| auth.mode != ClientAuthMode::None);
        let mut hasher = Sha256::new_with_prefix([u8::from(http2), u8::from(guarded)]);
        hasher.update(policies.identity);
        Some(Self { policies: Arc::new(policies), http2, guarded, tenants: None, identity: hasher.finalize().into() })
    }

    /// The same, but for the names of these tenants with their certificates. Not where the listener itself asks something of
    /// clients: no tenant's certificate is a way around that.
    #[must_use]
    pub fn with(&self, tenants: &Arc<TenantsTls>) -> Self {
        let shown = !self.guarded && !tenants.is_empty();
        Self { tenants: shown.then(|| Arc::clone(tenants)), ..self.clone() }
    }

    /// The handshake with a client that has just connected. The caller sets its limit in time.
    ///
    /// # Errors
    /// When the handshake fails.
    pub async fn accept(&self, stream: TcpStream) -> Result<(ServerStream, Handshake), NoHandshake> {
        let (policy, tenant, accepted) = match (&self.tenants, self.policies.single()) {
            (None, Some(policy)) => {
                let acceptor = TlsAcceptor::from(Arc::clone(policy.config(self.http2)));
                (policy, None, acceptor.accept(stream).await)
            }
            _ => {
                let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
                let name = hello.client_hello().server_name().map(str::to_ascii_lowercase);
                let (policy, tenant) = self.policy_of(name.as_deref());
                let tenant = tenant.cloned();
                (policy, tenant, hello.into_stream(Arc::clone(policy.config(self.http2))).await)
            }
        };
        let stream = accepted?;
        let connection = stream.get_ref().1;
        let client = match connection.peer_certificates() {
            Some([leaf, ..]) => Some(Arc::new(ClientCertificate::of(leaf).ok_or_else(NoHandshake::certificate)?)),
            _ => None,
        };
        let alpn = match connection.alpn_protocol() {
            Some(HTTP2) => Some("h2"),
            Some(HTTP1) => Some("http/1.1"),
            _ => None,
        };
        let server_name = connection.server_name().map(str::to_owned);
        let info = TlsInfo { server_name, tenant, client, forwards: policy.forwards, rules: policy.rules };
        Ok((stream, Handshake { alpn, info }))
    }

    /// Whether something is asked of clients, at least for some names.
    #[must_use]
    pub fn asks(&self) -> bool {
        self.policies.ask() || self.tenants.as_ref().is_some_and(|tenants| tenants.ask())
    }

    /// Whether what was asked of the client of that connection is what is asked for that host: if not, the connection is not
    /// for requests to that host (RFC 9110 §15.5.20).
    #[must_use]
    pub fn admits(&self, info: &TlsInfo, host: &str) -> bool {
        self.policy_of(Some(host)).0.rules == info.rules
    }

    /// The policy for that name, in lower case, and the tenant that it is of.
    fn policy_of(&self, name: Option<&str>) -> (&Policy, Option<&Arc<str>>) {
        let of_tenant = name.and_then(|name| self.tenants.as_ref()?.find(name));
        match of_tenant {
            Some((policy, tenant)) => (policy, Some(tenant)),
            None => (self.policies.of(name), None),
        }
    }

    /// Whether both have the same certificates, keys, protocols and rules, so that one can go on in place of the other and
    /// sessions stay resumable.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        self.identity == other.identity
    }
}

impl Handshake {
    /// Whether HTTP/2 was agreed on.
    #[must_use]
    pub fn http2(&self) -> bool {
        self.alpn == Some("h2")
    }
}

impl NoHandshake {
    fn certificate() -> Self {
        let error = io::Error::new(io::ErrorKind::InvalidData, "the client's certificate is malformed or has expired");
        Self { reason: "client_certificate", error }
    }
}

impl From<io::Error> for NoHandshake {
    fn from(error: io::Error) -> Self {
        use rustls::Error::{InvalidCertificate, NoCertificatesPresented};
        let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
        let certificate = matches!(cause, Some(InvalidCertificate(_) | NoCertificatesPresented));
        Self { reason: if certificate { "client_certificate" } else { "tls_handshake" }, error }
    }
}

/// A certificate with its key, found to be fit for use.
pub(super) struct Loaded {
    pub(super) key: CertifiedKey,
    pub(super) names: Vec<String>,
    pub(super) identity: [u8; 32],
}

pub(super) fn load(certificate: &Certificate, source: &Source, problems: &mut Problems) -> Option<Loaded> {
    let chain_at = &certificate.certificate.at;
    let key_at = &certificate.key.at;
    let key_file = source.resolve(&certificate.key.value);
    let chain = pem::certificates(&source.resolve(&certificate.certificate.value));
    let key = pem::private_key(&key_file);
    let chain = chain.map_err(|sentence| _ = problems.push(chain_at, sentence)).ok();
    let key = key.map_err(|sentence| _ = problems.push(key_at, sentence)).ok();

    let names = match &chain {
        Some(chain) => examine(&chain.items[0], chain_at, problems)?,
        None => return None,
    };
    let (chain, key) = (chain?, key?);
    let mut identity = Sha256::new();
    identity.update(chain.digest);
    identity.update(key.digest);

    let signing = match provider().key_provider.load_private_key(key.items) {
        Ok(signing) => signing,
        Err(error) => {
            problems.push(key_at, format!("cannot use the key in {}: {error}", key_file.display()));
            return None;
        }
    };
    let key = CertifiedKey::new(chain.items, signing);
    match key.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
        Err(_) => {
            let certificate = certificate.certificate.value.display();
            problems
                .push(key_at, format!("the key in {} does not fit the certificate {certificate}", key_file.display()));
            return None;
        }
    }
    Some(Loaded { key, names, identity: identity.finalize().into() })
}

/// The names that a certificate is for. A problem if it is not one, or not valid now.
fn examine(leaf: &[u8], at: &At, problems: &mut Problems) -> Option<Vec<String>> {
    let certificate = match X509Certificate::from_der(leaf) {
        Ok((_, certificate)) => certificate,
        Err(error) => {
            problems.push(at, format!("the first certificate is malformed: {error}"));
            return None;
        }
    };
    let validity = certificate.validity();
    let now = x509_parser::time::ASN1Time::now();
    if now > validity.not_after {
        problems.push(at, format!("the certificate expired on {}", validity.not_after));
        return None;
    }
    if now < validity.not_before {
        problems.push(at, format!("the certificate is not valid before {}", validity.not_before));
        return None;
    }
    let names = match certificate.subject_alternative_name() {
        Ok(Some(extension)) => extension.value.general_names.iter().filter_map(dns_name).collect(),
        _ => Vec::new(),
    };
    Some(names)
}

fn dns_name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    }
}

/// Finds the certificate for the name that a client asks for.
#[derive(Debug, Default)]
pub(super) struct ByName {
    exact: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// By what stands behind `*.`, which is one label (RFC 9525 §6.3).
    wildcard: HashMap<String, Vec<Arc<CertifiedKey>>>,
    default: Option<Arc<CertifiedKey>>,
}

impl ByName {
    pub(super) fn add(&mut self, names: &[String], key: Arc<CertifiedKey>) {
        for name in names {
            let keys = match name.strip_prefix("*.") {
                Some(rest) => self.wildcard.entry(rest.to_owned()),
                None => self.exact.entry(name.clone()),
            };
            keys.or_default().push(key.clone());
        }
        self.default.get_or_insert(key);
    }

    pub(super) fn has_exact(&self, name: &str) -> bool {
        self.exact.contains_key(name)
    }

    pub(super) fn find(&self, name: &str) -> Option<&Vec<Arc<CertifiedKey>>> {
        self.exact.get(name).or_else(|| self.wildcard.get(name.split_once('.')?.1))
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let found = hello.server_name().and_then(|name| {
            let keys = self.find(&name.to_ascii_lowercase())?;
            // Two certificates for one name have keys of two kinds; the client may know but one.
            keys.iter().find(|key| key.key.choose_scheme(hello.signature_schemes()).is_some()).or_else(|| keys.first())
        });
        found.or(self.default.as_ref()).cloned()
    }
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

/// Sessions of TLS 1.2 clients without tickets; about 300 bytes each.
const CACHED_SESSIONS: usize = 4096;
