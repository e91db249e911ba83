//! TLS with backends: whom to trust, what to ask for, and sessions that can be resumed.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{HTTP1, HTTP2, pem, provider};
use crate::config::{self, Problems, Protocol, Source};

/// A TLS connection with a backend.
pub type ClientStream = tokio_rustls::client::TlsStream<TcpStream>;

/// How TLS is done with the backends of one upstream: they share what they trust and the cache of their sessions.
#[derive(Clone)]
pub struct UpstreamTls {
    connector: TlsConnector,
    server_name: Option<ServerName<'static>>,
    identity: [u8; 32],
}

/// How TLS is done with one backend. Cheap to clone.
#[derive(Clone)]
pub struct ClientTls {
    connector: TlsConnector,
    name: ServerName<'static>,
    identity: [u8; 32],
}

impl UpstreamTls {
    /// Reads the authorities to trust, if the configuration names a file; otherwise they are the public ones. Everything
    /// wrong with it becomes a problem; then there is no `UpstreamTls`.
    #[must_use]
    pub fn build(
        settings: &config::UpstreamTls,
        protocol: Protocol,
        source: &Source,
        problems: &mut Problems,
    ) -> Option<Self> {
        let before = problems.len();
        let trusted = match &settings.ca {
            Some(ca) => Trusted::from_file(&source.resolve(&ca.value)).map_err(|sentence| (&ca.at, sentence)),
            None => Ok(Trusted::public()),
        };
        let trusted = trusted.map_err(|(at, sentence)| _ = problems.push(at, sentence)).ok();
        let server_name = settings.server_name.as_ref().and_then(|name| {
            let parsed = server_name(&name.value);
            if parsed.is_none() {
                problems.push(&name.at, format!("{:?} is neither a host name nor an IP address", name.value));
            }
            parsed
        });
        let trusted = trusted.filter(|_| problems.len() == before)?;
        let mut hasher = Sha256::new_with_prefix([protocol as u8]);
        hasher.update(trusted.digest);
        hasher.update(settings.server_name.as_ref().map_or("", |name| &name.value));
        Some(Self { connector: connector(trusted, protocol), server_name, identity: hasher.finalize().into() })
    }

    /// TLS with anybody whom those authorities vouch for, or else the public ones; HTTP/2 where it is offered.
    ///
    /// # Errors
    /// A sentence: the file cannot be used.
    pub fn trusting(ca: Option<&Path>) -> Result<Self, String> {
        let trusted = ca.map_or_else(|| Ok(Trusted::public()), Trusted::from_file)?;
        let identity = Sha256::digest(trusted.digest).into();
        Ok(Self { connector: connector(trusted, Protocol::Auto), server_name: None, identity })
    }

    /// TLS with the backend at `host`. None if no certificate could be for such a host.
    #[must_use]
    pub fn with(&self, host: &str) -> Option<ClientTls> {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => server_name(host)?,
        };
        Some(ClientTls { connector: self.connector.clone(), name, identity: self.identity })
    }

    /// A digest of whom it trusts, whom it asks for and what it speaks.
    #[must_use]
    pub fn identity(&self) -> [u8; 32] {
        self.identity
    }

    /// Whether both trust the same, ask for the same and speak the same, so that one can go on in place of the other.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        self.identity == other.identity
    }
}

impl ClientTls {
    /// The handshake with a backend. The caller sets its limit in time. Also says whether HTTP/2 was agreed on.
    ///
    /// # Errors
    /// When the handshake fails, above all when the certificate cannot be verified.
    pub async fn connect(&self, stream: TcpStream) -> io::Result<(ClientStream, bool)> {
        let stream = self.connector.connect(self.name.clone(), stream).await?;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP2);
        Ok((stream, http2))
    }

    /// Whether both verify the same in the same way, so that a connection made with one can serve the other.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        self.identity == other.identity && self.name == other.name
    }
}

/// Authorities, and what tells them from others.
pub(super) struct Trusted {
    pub(super) roots: RootCertStore,
    pub(super) digest: [u8; 32],
}

impl Trusted {
    fn public() -> Self {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        Self { roots, digest: [0; 32] }
    }

    /// Those in a file, all of which must be usable.
    pub(super) fn from_file(file: &Path) -> Result<Self, String> {
        let contents = pem::certificates(file)?;
        let mut roots = RootCertStore::empty();
        for (index, certificate) in contents.items.into_iter().enumerate() {
            roots.add(certificate).map_err(|error| {
                format!("certificate {} in {} cannot be an authority: {error}", index + 1, file.display())
            })?;
        }
        Ok(Self { roots, digest: contents.digest })
    }
}

fn connector(trusted: Trusted, protocol: Protocol) -> TlsConnector {
    let mut config = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .expect("the provider offers suites for both versions")
        .with_root_certificates(trusted.roots)
        .with_no_client_auth();
    config.alpn_protocols = match protocol {
        Protocol::Auto => vec![HTTP2.to_vec(), HTTP1.to_vec()],
        Protocol::Http1 => vec![HTTP1.to_vec()],
        Protocol::Http2 => vec![HTTP2.to_vec()],
    };
    config.resumption = Resumption::in_memory_sessions(CACHED_SESSIONS);
    TlsConnector::from(Arc::new(config))
}

fn server_name(host: &str) -> Option<ServerName<'static>> {
    let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    ServerName::try_from(host.to_owned()).ok()
}

impl std::fmt::Debug for UpstreamTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpstreamTls").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientTls").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Sessions that are remembered for each upstream, by server name.
const CACHED_SESSIONS: usize = 256;
