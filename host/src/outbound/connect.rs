//! Connections for the requests of plugins. The address is looked at when it is connected to, so a name that leads elsewhere
//! by then does not get around the grants.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::access::{Access, Host, Origin};
use super::address::is_public;
use crate::tls::ClientStream;

/// A connection that could not be opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("the name leads to private addresses only")]
    PrivateAddress,
    #[error("there is no such host")]
    Resolve(#[source] io::Error),
    #[error("nobody could be reached there")]
    Tcp(#[source] io::Error),
    #[error("the TLS handshake failed")]
    Tls(#[source] io::Error),
}

/// A connection, encrypted or not.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Tls(Box<ClientStream>),
}

/// Opens a connection to an origin that was granted. Says whether HTTP/2 is to be spoken there.
pub(super) async fn connect(access: &Access, origin: &Origin) -> Result<(Stream, bool), ConnectError> {
    // Whoever waits for it may wait for longer, and for more.
    let late = |_| ConnectError::Tcp(io::ErrorKind::TimedOut.into());
    timeout(LONGEST_CONNECT, open(access, origin)).await.map_err(late)?
}

async fn open(access: &Access, origin: &Origin) -> Result<(Stream, bool), ConnectError> {
    let stream = match &origin.host {
        // Only an address that a prefix spells out gets as far as this.
        Host::Address(address) => connect_to(&[SocketAddr::new(*address, origin.port)]).await?,
        Host::Name(name) => connect_to(&resolve(access, name, origin.port).await?).await?,
    };
    stream.set_nodelay(true).map_err(ConnectError::Tcp)?;
    if !origin.tls {
        return Ok((Stream::Tcp(stream), false));
    }
    let no_host = || ConnectError::Resolve(io::ErrorKind::InvalidInput.into());
    let tls = access.tls.with(&origin.host.text()).ok_or_else(no_host)?;
    let (stream, http2) = tls.connect(stream).await.map_err(ConnectError::Tls)?;
    Ok((Stream::Tls(Box::new(stream)), http2))
}

/// The addresses of that name that may be connected to.
async fn resolve(access: &Access, name: &str, port: u16) -> Result<Vec<SocketAddr>, ConnectError> {
    let mut addresses: Vec<_> = tokio::net::lookup_host((name, port)).await.map_err(ConnectError::Resolve)?.collect();
    if addresses.is_empty() {
        return Err(ConnectError::Resolve(io::ErrorKind::NotFound.into()));
    }
    if !access.private {
        addresses.retain(|address| is_public(address.ip()));
    }
    if addresses.is_empty() { Err(ConnectError::PrivateAddress) } else { Ok(addresses) }
}

/// Tries each address in turn.
async fn connect_to(addresses: &[SocketAddr]) -> Result<TcpStream, ConnectError> {
    let mut last = io::ErrorKind::NotFound.into();
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(ConnectError::Tcp(last))
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// For a connection and its TLS handshake.
const LONGEST_CONNECT: Duration = Duration::from_secs(10);
