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

    /// Sockets at all these addresses for one more worker.
    pub(super) fn bind_again(&self) -> io::Result<Sockets> {
        let mut sockets = [Sockets::new()];
        for Listening { actual, .. } in &self.0 {
            bind_each(*actual, &mut sockets)?;
        }
        let [sockets] = sockets;
        Ok(sockets)
    }
}

/// Binds `address` once for each worker, and says which address it really is.
fn bind_all(address: SocketAddr, sockets: &mut [Sockets]) -> io::Result<SocketAddr> {
    if address.port() != 0 {
        // With SO_REUSEPORT, a second Lockgate would share the port with the first in silence.
        open(address, false)?;
    }
    bind_each(address, sockets)
}

fn bind_each(address: SocketAddr, sockets: &mut [Sockets]) -> io::Result<SocketAddr> {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use super::*;
    use crate::config::{Source, parse};
    use crate::plugin::Plugins;
    use crate::snapshot::build;

    fn snapshot(addresses: &[&str]) -> Snapshot {
        let listeners: String =
            addresses.iter().map(|address| format!("[[listener]]\naddress = \"{address}\"\n")).collect();
        let text = format!("{listeners}[[route]]\nrespond = {{}}\n");
        let config = parse(Source { path: "lockgate.toml".into(), text }).unwrap();
        build(config, None, &Plugins::new().unwrap()).unwrap()
    }

    fn addresses(sockets: &[Sockets]) -> Vec<Vec<SocketAddr>> {
        sockets.iter().map(|sockets| sockets.iter().map(|(address, _)| *address).collect()).collect()
    }

    #[test]
    fn every_worker_listens_at_every_address_and_a_reload_keeps_the_ports() {
        let mut first = snapshot(&["127.0.0.1:0", "127.0.0.1:0"]);
        let (known, sockets) = Addresses::default().bind(&mut first, |_| 3).unwrap();
        let listening: Vec<_> = first.listeners.iter().map(|listener| listener.address).collect();
        assert!(listening[0] != listening[1] && listening.iter().all(|address| address.port() != 0));
        assert_eq!(addresses(&sockets), vec![listening.clone(); 3]);

        let mut second = snapshot(&["127.0.0.1:0", "[::1]:0", "127.0.0.1:0"]);
        let (_, new) = known.bind(&mut second, |_| 3).unwrap();
        let actual: Vec<_> = second.listeners.iter().map(|listener| listener.address).collect();
        assert_eq!([actual[0], actual[2]], listening[..]);
        assert_eq!(addresses(&new), vec![vec![actual[1]]; 3]);
    }

    #[test]
    fn an_address_in_use_is_told_with_its_place() {
        let mut first = snapshot(&["127.0.0.1:0"]);
        // Whoever has it lets others have it too, as another Lockgate would.
        let (_, _sockets) = Addresses::default().bind(&mut first, |_| 1).unwrap();
        let taken = first.listeners[0].address;
        let mut second = snapshot(&["127.0.0.1:0", &taken.to_string()]);
        let error = Addresses::default().bind(&mut second, |_| 1).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("listener[1]: cannot listen on {taken}: Address already in use")),
            "{error}"
        );
    }
}
