//! A connection from its first packet to its last: TLS, which HTTP it speaks, and what comes after HTTP.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::admission::Permit;
use super::handshakes::Handshakes;
use super::{http1, http2, proxied};
use crate::exchange::Peer;
use crate::message::Forwarding;
use crate::plugin::{Arriving, PluginUse};
use crate::proxy::{Connection, Local};
use crate::snapshot::Snapshot;
use crate::socket::{ClientStream, Watch, Watched};
use crate::tls::ServerTls;

/// Serves one connection that came in at `address` while `snapshot` held.
pub(super) async fn serve(
    mut stream: TcpStream,
    (peer, address): (SocketAddr, SocketAddr),
    snapshot: Arc<Snapshot>,
    local: Rc<Local>,
    watch: Rc<Watch>,
    (permit, handshakes): (&mut Permit, &Handshakes),
) {
    let Some(listener) = snapshot.listeners.iter().find(|listener| listener.address == address) else { return };
    let Ok(own) = stream.local_addr() else { return };
    local.metrics.connection_opened();
    let mut ends = (peer, own);
    if let Some(senders) = &listener.proxy_protocol
        && let Err(why) =
            Box::pin(proxied::read(&mut stream, &mut ends, senders, &snapshot, (&*local, &mut *permit))).await
    {
        local.metrics.connection_refused(why);
        local.metrics.connection_closed();
        return;
    }
    let (peer, own) = ends;
    let secured = match &listener.tls {
        // Boxed, as it is much larger than what is left of it.
        Some(tls) => match Box::pin(handshake(stream, tls, &snapshot, &local, handshakes)).await {
            Ok((stream, handshake)) => {
                let (http2, alpn) = (handshake.http2(), handshake.alpn);
                Some((stream, (http2, alpn), Some(handshake.info), BytesMut::new()))
            }
            Err(why) => {
                local.metrics.connection_refused(why);
                None
            }
        },
        None => match preface(stream, listener.http2, &watch).await {
            Ok((stream, http2, bytes)) => Some((stream, (http2, None), None, bytes)),
            Err(_) => None,
        },
    };
    if let Some((stream, (http2, alpn), tls, read)) = secured {
        let peer = Peer { address: peer, local: own, trusted: false, tls };
        let arriving = Arriving { peer: &peer, listener: address, alpn, http2 };
        if !listener.plugins.is_empty()
            && let Err(why) = Box::pin(admitted(&listener.plugins, arriving, &local)).await
        {
            local.metrics.connection_refused(why);
            local.metrics.connection_closed();
            return;
        }
        let connection =
            Rc::new(connection_of((peer, address), &snapshot, Rc::clone(&local), Rc::clone(&watch), http2));
        let limits = snapshot.config.limits.clone();
        // The connection may last for days, and must not keep plugins that have been replaced since.
        drop(snapshot);
        if http2 {
            // Boxed, because it is much the larger of the two, and the task lives as long as the connection.
            Box::pin(http2::drive(connection, Watched::new(stream, watch, read), &limits)).await;
        } else {
            http1::drive(connection, stream, read, &limits).await;
        }
    }
    local.metrics.connection_closed();
}

/// Whether the plugins of the listener let that connection be. The error is what is counted.
async fn admitted(plugins: &[Arc<PluginUse>], arriving: Arriving<'_>, local: &Local) -> Result<(), &'static str> {
    for plugin in plugins {
        match plugin.on_connect(arriving, &local.pools).await {
            Ok(true) => {}
            Ok(false) => return Err("plugin"),
            Err(failure) => return Err(failure.reason.code()),
        }
    }
    Ok(())
}

fn connection_of(
    (mut peer, listener): (Peer, SocketAddr),
    snapshot: &Snapshot,
    local: Rc<Local>,
    watch: Rc<Watch>,
    http2: bool,
) -> Connection {
    let server = &snapshot.config.server;
    let ip = peer.address.ip().to_canonical();
    peer.trusted = server.trusts(ip);
    let forwarding =
        Forwarding::new(peer.address, peer.local, peer.tls.is_some(), peer.trusted, &server.via, server.forwarded);
    Connection {
        local,
        listener,
        forwarding: Arc::new(forwarding),
        // Only a trusted peer's list of clients is ever held against it.
        trusted_proxies: if peer.trusted { server.trusted_proxies.clone() } else { Vec::new() },
        peer: Arc::new(peer),
        watch,
        tunnel: std::cell::RefCell::default(),
        http2,
    }
}

async fn handshake(
    stream: TcpStream,
    tls: &ServerTls,
    snapshot: &Snapshot,
    local: &Local,
    handshakes: &Handshakes,
) -> Result<(ClientStream, crate::tls::Handshake), &'static str> {
    let begun = handshakes.begin(&local.clock, &snapshot.config.limits, &snapshot.config.timeouts)?;
    match begun.limit(tls.accept(stream)).await? {
        Ok((stream, handshake)) => Ok((ClientStream::Tls(Box::new(stream)), handshake)),
        Err(error) => {
            tracing::debug!(reason = error.reason, error = %error.error, "no TLS with a client");
            Err(error.reason)
        }
    }
}

/// Reads as much as it takes to tell HTTP/2 with prior knowledge (RFC 9113 §3.3) from HTTP/1.
async fn preface(mut stream: TcpStream, http2: bool, watch: &Watch) -> io::Result<(ClientStream, bool, BytesMut)> {
    let mut bytes = BytesMut::new();
    let mut told_to_close = false;
    while http2 && bytes.len() < PREFACE.len() && PREFACE.starts_with(&bytes) {
        bytes.reserve(FIRST_READ);
        let reading = stream.read_buf(&mut bytes);
        let mut reading = std::pin::pin!(reading);
        let read = std::future::poll_fn(|cx| {
            if let std::task::Poll::Ready(read) = reading.as_mut().poll(cx) {
                return std::task::Poll::Ready(read);
            }
            if watch.poll_due(cx).is_ready() {
                if watch.closing() && !told_to_close {
                    // It may be sending its first request this very moment.
                    told_to_close = true;
                    watch.closing_begun();
                } else {
                    return std::task::Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
            }
            watch.poll_due(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
        });
        if read.await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let is_http2 = http2 && bytes.starts_with(PREFACE);
    Ok((ClientStream::Tcp(stream), is_http2, bytes))
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FIRST_READ: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    type Admitted<'a> = (&'a mut Permit, &'a Handshakes);

    fn size_of_future<'a, A, B, C, D, E, F: Future>(_: impl Fn(A, B, C, D, E, Admitted<'a>) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_connection_is_small_enough_to_be_idle_in_thousands() {
        let size = size_of_future(serve);
        assert!(size <= 1536, "{size} bytes");
    }
}
