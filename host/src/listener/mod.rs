//! Accepts connections and hands them on, within the limits on how many there may be.

mod admission;
mod connection;
mod handshakes;
mod http1;
mod http2;
mod proxied;
mod sessions;

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use socket2::{SockFilter, SockRef};
use tokio::net::{TcpListener, TcpStream};

pub use admission::Admission;
pub(crate) use sessions::Sessions;

use self::admission::Permit;
use crate::proxy::Local;
use crate::snapshot::Snapshot;
use crate::socket::Watch;

/// Accepts connections at `address`, the one that the snapshot names, until it is dropped.
pub(crate) async fn accept(listener: Rc<TcpListener>, address: SocketAddr, local: Rc<Local>, sessions: Rc<Sessions>) {
    let mut told: Option<Instant> = None;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => admit(stream, peer, address, &local, &sessions),
            Err(error) => {
                // The system is out of something, or a client left between two packets. Neither may end the loop.
                local.metrics.connection_refused("accept");
                if told.is_none_or(|told| told.elapsed() >= SILENCE) {
                    tracing::warn!(%address, %error, "cannot accept a connection");
                    told = Some(Instant::now());
                }
                if !is_about_one_connection(&error) {
                    // Whoever does nothing with a connection gives it to those who would.
                    sessions.close_some();
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

/// Accepts what waits to be accepted: the system would reset it when the socket is closed, although its client has been told
/// that it is connected.
pub(crate) fn accept_waiting(listener: &TcpListener, address: SocketAddr, local: &Rc<Local>, sessions: &Rc<Sessions>) {
    let listener = SockRef::from(listener);
    // The socket is closed a moment later. Whoever comes in between is not answered, tries again, and is refused, instead of
    // being connected and then reset. Without the filter all this is as it was, so its failure is no matter.
    let _ = listener.attach_filter(&[DROP_ALL]);
    // Asked for directly, because the runtime may not have heard of them yet.
    while let Ok((socket, peer)) = listener.accept() {
        let stream = std::net::TcpStream::from(socket);
        let Some(peer) = peer.as_socket() else { continue };
        if let Ok(stream) = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream)) {
            admit(stream, peer, address, local, sessions);
        }
    }
}

/// Starts to serve a connection, or closes it at once if there are too many.
fn admit(stream: TcpStream, peer: SocketAddr, address: SocketAddr, local: &Rc<Local>, sessions: &Rc<Sessions>) {
    if local.tight.get() && sessions.count() >= FEW {
        return local.metrics.connection_refused("memory");
    }
    let snapshot = local.snapshot();
    // Behind a proxy that tells of its clients, who this is comes with the first bytes.
    let told =
        snapshot.listeners.iter().any(|listener| listener.address == address && listener.proxy_protocol.is_some());
    let client = (!told).then(|| peer.ip().to_canonical());
    let client = client.filter(|client| is_one_client(*client, &snapshot));
    let mut permit = match Permit::take(&sessions.admission, client, &snapshot.config.limits) {
        Ok(permit) => permit,
        Err(limit) => return local.metrics.connection_refused(limit),
    };
    // Small answers must not wait for the acknowledgement of others.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    // Here and not in the task, so that a drain that begins before the task does knows of it.
    let watch = Rc::new(Watch::new(&local.clock, &snapshot.config.timeouts));
    let session = sessions.enter(address, &watch);
    let local = Rc::clone(local);
    tokio::task::spawn_local(async move {
        let admitted = (&mut permit, &session.sessions.handshakes);
        connection::serve(stream, (peer, address), snapshot, local, watch, admitted).await;
        drop(session);
    });
}

/// Whether limits for each client hold for that address: a trusted proxy has the connections of many.
fn is_one_client(address: IpAddr, snapshot: &Snapshot) -> bool {
    !snapshot.config.server.trusts(address)
}

fn is_about_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// A packet filter that lets nothing in: return 0 bytes of it.
const DROP_ALL: SockFilter = SockFilter::new(0x06, 0, 0, 0);
/// How long accepting rests when the system has refused.
const PAUSE: Duration = Duration::from_millis(20);
/// How long nothing more is said of it.
const SILENCE: Duration = Duration::from_secs(1);
/// Connections that a worker may have however little memory there is: what has been freed is not always given back to the
/// system, and somebody must be served for it to be used.
const FEW: usize = 16;
