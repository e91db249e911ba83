//! Listening sockets: for every worker its own at every address, between which the system spreads the connections.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use crate::snapshot::Snapshot;

/// One worker's sockets, by address.
pub(super) type Sockets = Vec<(SocketAddr, TcpListener)>;

/// The addresses that are listened on.
#[derive(Debug, Default)]
pub(super) struct Addresses(Vec<Listening>);

#[derive(Debug, Clone, Copy)]
struct Listening {
    /// As configured, perhaps with port 0.
    configured: SocketAddr,
    actual: SocketAddr,
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("{place}: cannot listen on {address}: {cause}")]
pub struct BindError {
    /// The listener's place in the configuration.
    place: String,
    address: SocketAddr,
    cause: io::Error,
}

impl Addresses {
    /// Binds sockets for as many workers as `workers` says, at every address of the snapshot that is not listened on yet. The
    /// snapshot is told which port the system has chosen for port 0; a reload keeps it.
    pub(super) fn bind(
        &self,
        snapshot: &mut Snapshot,
        workers: impl FnOnce(&Snapshot) -> usize,
    ) -> Result<(Self, Vec<Sockets>), BindError> {
        let mut known = self.0.clone();
        let mut listening = Vec::with_capacity(snapshot.listeners.len());
        let mut sockets: Vec<Sockets> = (0..workers(snapshot)).map(|_| Vec::new()).collect();
        for (listener, settings) in snapshot.listeners.iter_mut().zip(&snapshot.config.listeners) {
            let configured = settings.address;
            let place = known.iter().position(|known| known.configured == configured);
            let actual = match place {
                Some(place) => known.remove(place).actual,
                None => bind_all(configured, &mut sockets).map_err(|cause| BindError {
                    place: settings.at.path.clone(),
                    address: configured,
                    cause,
                })?,
            };
            listener.address = actual;
            listening.push(Listening { configured, actual });
        }
        Ok((Self(listening), sockets))
    }
}

/// Binds `address` once for each worker, and says which address it really is.
fn bind_all(address: SocketAddr, sockets: &mut [Sockets]) -> io::Result<SocketAddr> {
    if address.port() != 0 {
        // With SO_REUSEPORT, a second Lockgate would share the port with the first in silence.
        open(address, false)?;
    }
    let mut actual = address;
    for sockets in sockets {
        let socket = open(actual, true)?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        let listener = TcpListener::from(socket);
        actual = listener.local_addr()?;
        sockets.push((actual, listener));
    }
    Ok(actual)
}

fn open(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of an earlier process may linger at the port.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    if address.is_ipv6() {
        // Each family has listeners of its own: what the file says is what is open.
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Connections that wait to be accepted, for each worker; the system may have a lower limit.
const BACKLOG: i32 = 4096;
