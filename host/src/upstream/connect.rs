//! Opens connections to backends.

use std::io;
use std::net::SocketAddr;

use rustix::io::Errno;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::Backend;
use crate::config::Protocol;
use crate::proxy_protocol;
use crate::reason::Reason;
use crate::socket::MaybeTls;
use crate::tls::ClientStream;

/// A connection to a backend, encrypted or not.
pub type BackendStream = MaybeTls<ClientStream>;

/// A connection that could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("{what} {address}: {source}")]
pub(super) struct ConnectError {
    /// `ConnectFailed`, `SystemLimit` or `UpstreamTls`.
    pub reason: Reason,
    what: &'static str,
    address: String,
    source: io::Error,
}

/// Opens a connection to `backend` within its `connect_timeout`. Says whether HTTP/2 is to be spoken on it.
///
/// # Errors
/// When no address can be reached, or the TLS handshake fails.
pub(super) async fn connect(backend: &Backend, client: Option<Ends>) -> Result<(BackendStream, bool), ConnectError> {
    let fail = |reason, what| {
        let address = backend.address.to_string();
        move |source| ConnectError { reason, what, address, source }
    };
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, "connect_timeout is over");
    let by = tokio::time::Instant::now() + backend.connect_timeout;
    let stream = tokio::time::timeout_at(by, connect_tcp(backend)).await;
    let stream = stream.map_err(late).flatten();
    let stream = stream.map_err(|error| fail(reason_of(&error), "cannot connect to")(error))?;
    stream.set_nodelay(true).map_err(fail(Reason::ConnectFailed, "cannot connect to"))?;
    let greeted = tokio::time::timeout_at(by, greet(stream, backend, client)).await;
    let stream = greeted.map_err(late).flatten().map_err(fail(Reason::ConnectFailed, "cannot connect to"))?;
    let Some(tls) = &backend.tls else {
        return Ok((BackendStream::Tcp(stream), backend.protocol == Protocol::Http2));
    };
    let handshake = tokio::time::timeout_at(by, tls.connect(stream)).await;
    let (stream, http2) = handshake.map_err(late).flatten().map_err(fail(Reason::UpstreamTls, "no TLS with"))?;
    if backend.protocol == Protocol::Http2 && !http2 {
        let refused = io::Error::other("the backend does not offer HTTP/2");
        return Err(fail(Reason::UpstreamTls, "no HTTP/2 with")(refused));
    }
    Ok((BackendStream::Tls(Box::new(stream)), http2))
}

/// Both ends of a client's connection.
pub(super) type Ends = (SocketAddr, SocketAddr);

/// Tells the backend whose connection it is, if it wants to know.
pub(super) async fn greet(mut stream: TcpStream, backend: &Backend, client: Option<Ends>) -> io::Result<TcpStream> {
    if backend.proxy_protocol {
        stream.write_all(&proxy_protocol::header(client)).await?;
    }
    Ok(stream)
}

/// Tries every address of the host in turn.
pub(super) async fn connect_tcp(backend: &Backend) -> io::Result<TcpStream> {
    let (host, port) = (backend.host.as_str(), backend.port);
    if let Ok(ip) = host.trim_start_matches('[').trim_end_matches(']').parse() {
        return connect_to(backend, SocketAddr::new(ip, port)).await;
    }
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in tokio::net::lookup_host((host, port)).await? {
        match connect_to(backend, address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Whether this machine is at its end, and not the backend.
pub(super) fn is_scarcity(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    errno.is_some_and(|errno| [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM].contains(&errno))
}

fn reason_of(error: &io::Error) -> Reason {
    if is_scarcity(error) { Reason::SystemLimit } else { Reason::ConnectFailed }
}

async fn connect_to(backend: &Backend, address: SocketAddr) -> io::Result<TcpStream> {
    if let Some(reach) = &backend.reach {
        let refused = |why| io::Error::new(io::ErrorKind::PermissionDenied, format!("not to {address}: {why}"));
        reach.allows(address).map_err(refused)?;
    }
    TcpStream::connect(address).await
}

impl ConnectError {
    /// The HTTP handshake on a new connection failed.
    pub(super) fn http(backend: &Backend, error: hyper::Error) -> Self {
        let address = backend.address.to_string();
        Self { reason: Reason::ConnectFailed, what: "no HTTP with", address, source: io::Error::other(error) }
    }
}
