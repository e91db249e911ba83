//! TLS with clients: which certificate, which protocol, and sessions that can be resumed.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert, ServerSessionMemoryCache};
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::{HTTP1, HTTP2, TenantsTls, pem, provider};
use crate::config::{At, Certificate, Problems, Source};

/// A TLS connection with a client.
pub type ServerStream = tokio_rustls::server::TlsStream<TcpStream>;

/// How a listener does TLS. Cheap to clone.
#[derive(Clone)]
pub struct ServerTls {
    acceptor: TlsAcceptor,
    http2: bool,
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
}

/// What a handshake with a client came to.
#[derive(Debug)]
pub struct Handshake {
    /// Whether HTTP/2 was agreed on.
    pub http2: bool,
    /// What exchanges may know of it.
    pub info: TlsInfo,
}

impl ServerTls {
    /// Reads the certificates and keys of a listener. Everything wrong with them becomes a problem, at the file's name in the
    /// configuration; then there is no `ServerTls`.
    #[must_use]
    pub fn build(certificates: &[Certificate], http2: bool, source: &Source, problems: &mut Problems) -> Option<Self> {
        let mut hasher = Sha256::new_with_prefix([u8::from(http2)]);
        let mut by_name = ByName::default();
        let before = problems.len();
        for certificate in certificates {
            if let Some(loaded) = load(certificate, source, problems) {
                hasher.update(loaded.identity);
                by_name.add(&loaded.names, Arc::new(loaded.key));
            }
        }
        if problems.len() > before || by_name.default.is_none() {
            return None;
        }

        let config = server_config(Arc::new(by_name), http2, CACHED_SESSIONS);
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Some(Self { acceptor, http2, tenants: None, identity: hasher.finalize().into() })
    }

    /// The same, but for the names of these tenants with their certificates.
    #[must_use]
    pub fn with(&self, tenants: &Arc<TenantsTls>) -> Self {
        Self { tenants: (!tenants.is_empty()).then(|| Arc::clone(tenants)), ..self.clone() }
    }

    /// The handshake with a client that has just connected. The caller sets its limit in time.
    ///
    /// # Errors
    /// When the handshake fails.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<(ServerStream, Handshake)> {
        let (stream, tenant) = match &self.tenants {
            None => (self.acceptor.accept(stream).await?, None),
            Some(tenants) => tenants.accept(stream, self.acceptor.config(), self.http2).await?,
        };
        let connection = stream.get_ref().1;
        let handshake = Handshake {
            http2: connection.alpn_protocol() == Some(HTTP2),
            info: TlsInfo { server_name: connection.server_name().map(str::to_owned), tenant },
        };
        Ok((stream, handshake))
    }

    /// Whether both have the same certificates, keys and protocols, so that one can go on in place of the other and sessions
    /// stay resumable.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        self.identity == other.identity
    }
}

/// How to speak TLS with those certificates, with sessions of its own.
pub(super) fn server_config(certificates: Arc<ByName>, http2: bool, sessions: usize) -> rustls::ServerConfig {
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .expect("the provider offers suites for both versions")
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.alpn_protocols = if http2 { vec![HTTP2.to_vec(), HTTP1.to_vec()] } else { vec![HTTP1.to_vec()] };
    // Early data can be replayed, and none of our backends can tell.
    config.max_early_data_size = 0;
    // Tickets for all that take them, with keys that rotate; the cache is for TLS 1.2 clients that do not.
    config.session_storage = ServerSessionMemoryCache::new(sessions);
    match rustls::crypto::aws_lc_rs::Ticketer::new() {
        Ok(ticketer) => config.ticketer = ticketer,
        Err(error) => tracing::warn!("no TLS session tickets: {error}"),
    }
    config
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
