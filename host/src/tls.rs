//! TLS with clients and with backends. The only place that knows rustls.

use std::io;

use tokio::net::TcpStream;

/// A TLS connection with a client.
pub type ServerStream = tokio_rustls::server::TlsStream<TcpStream>;
/// A TLS connection with a backend.
pub type ClientStream = tokio_rustls::client::TlsStream<TcpStream>;

/// How a listener does TLS. Cheap to clone.
#[derive(Clone)]
pub struct ServerTls {
    config: std::sync::Arc<rustls::ServerConfig>,
}

/// How TLS is done with one backend. Cheap to clone.
#[derive(Clone)]
pub struct ClientTls {
    config: std::sync::Arc<rustls::ClientConfig>,
    name: rustls_pki_types::ServerName<'static>,
}

impl ServerTls {
    /// The handshake with a client that has just connected. The caller sets its limit in time.
    ///
    /// # Errors
    /// When the handshake fails.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<(ServerStream, Handshake)> {
        let stream = tokio_rustls::TlsAcceptor::from(self.config.clone()).accept(stream).await?;
        let connection = stream.get_ref().1;
        let handshake = Handshake {
            http2: connection.alpn_protocol() == Some(b"h2"),
            info: TlsInfo { server_name: connection.server_name().map(str::to_owned) },
        };
        Ok((stream, handshake))
    }
}

impl ClientTls {
    /// The handshake with a backend. The caller sets its limit in time. Also says whether HTTP/2 was agreed on.
    ///
    /// # Errors
    /// When the handshake fails, above all when the certificate cannot be verified.
    pub async fn connect(&self, stream: TcpStream) -> io::Result<(ClientStream, bool)> {
        let stream = tokio_rustls::TlsConnector::from(self.config.clone()).connect(self.name.clone(), stream).await?;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok((stream, http2))
    }
}

/// What exchanges may know of a TLS handshake.
#[derive(Debug, Clone, Default)]
pub struct TlsInfo {
    /// The name that the client asked for.
    pub server_name: Option<String>,
}

/// What a handshake with a client came to.
#[derive(Debug)]
pub struct Handshake {
    /// Whether HTTP/2 was agreed on.
    pub http2: bool,
    /// What exchanges may know of it.
    pub info: TlsInfo,
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientTls").field("name", &self.name).finish_non_exhaustive()
    }
}
