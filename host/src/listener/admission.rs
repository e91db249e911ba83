//! How many connections there may be: in all, from one address at once and in a while, and in the middle of a TLS handshake.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::config::Limits;

/// What all workers share to keep to limits that hold for the whole process. Touched once for each connection.
#[derive(Debug)]
pub struct Admission {
    start: Instant,
    connections: AtomicUsize,
    /// TLS handshakes under way, which the workers count.
    pub(super) handshakes: AtomicUsize,
    clients: Mutex<Clients>,
}

/// Who has connections, or had one of late.
#[derive(Debug, Default)]
struct Clients {
    by_address: HashMap<IpAddr, Client>,
    /// Which of the `WINDOW`s since the start it is.
    window: u64,
}

#[derive(Debug, Default)]
struct Client {
    open: usize,
    /// Connections that came since the window began.
    came: usize,
}

/// A connection's place, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    admission: Arc<Admission>,
    /// None as long as it is not known who that is.
    client: Option<IpAddr>,
}

impl Permit {
    /// Takes a place, or says which limit has been reached. Who the client is may be told later: [`Permit::is_for`].
    pub(super) fn take(
        admission: &Arc<Admission>,
        client: Option<IpAddr>,
        limits: &Limits,
    ) -> Result<Self, &'static str> {
        if admission.connections.fetch_add(1, Ordering::Relaxed) >= limits.connections {
            admission.connections.fetch_sub(1, Ordering::Relaxed);
            return Err("connections");
        }
        let mut permit = Self { admission: Arc::clone(admission), client: None };
        if let Some(client) = client {
            permit.is_for(client, limits)?;
        }
        Ok(permit)
    }

    /// Says whose place it is, or which limit has been reached.
    pub(super) fn is_for(&mut self, client: IpAddr, limits: &Limits) -> Result<(), &'static str> {
        let client = network_of(client);
        self.admission.clients().enter(client, self.admission.start.elapsed(), limits)?;
        self.client = Some(client);
        Ok(())
    }
}

impl Admission {
    /// Nobody is there yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
            connections: AtomicUsize::new(0),
            handshakes: AtomicUsize::new(0),
            clients: Mutex::default(),
        }
    }

    fn clients(&self) -> MutexGuard<'_, Clients> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Admission {
    fn default() -> Self {
        Self::new()
    }
}

impl Clients {
    /// Counts a connection of that client, which came so long after the start; or says which limit has been reached.
    fn enter(&mut self, address: IpAddr, now: Duration, limits: &Limits) -> Result<(), &'static str> {
        let window = now.as_secs() / WINDOW.as_secs();
        if self.window != window {
            self.window = window;
            // The others are forgotten, so nobody is remembered for longer than it takes to count.
            self.by_address.retain(|_, client| {
                client.came = 0;
                client.open > 0
            });
        }
        let client = self.by_address.entry(address).or_default();
        client.came += 1;
        if client.came > limits.new_connections_per_client {
            if client.came == limits.new_connections_per_client + 1 {
                tracing::warn!(client = %address, "more than {} new connections within {WINDOW:?}", client.came - 1);
            }
            return Err("new_connections_per_client");
        }
        if client.open >= limits.connections_per_client {
            return Err("connections_per_client");
        }
        client.open += 1;
        Ok(())
    }

    fn leave(&mut self, address: IpAddr) {
        if let Some(client) = self.by_address.get_mut(&address) {
            client.open -= 1;
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.admission.connections.fetch_sub(1, Ordering::Relaxed);
        if let Some(client) = self.client {
            self.admission.clients().leave(client);
        }
    }
}

/// One client of IPv6 has a whole /64 to call from.
fn network_of(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
    }
}

/// In which the new connections of a client are counted.
const WINDOW: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn limits(connections: usize, per_client: usize) -> Limits {
        Limits {
            connections,
            connections_per_client: per_client,
            new_connections_per_client: 100,
            handshakes: 1,
            header_count: 1,
            header_size: 1,
            uri_length: 1,
            body: 1,
            streams: 1,
            exchanges_per_connection: 1,
            memory: None,
        }
    }

    #[test]
    fn places_are_limited_and_given_back() {
        let admission = Arc::new(Admission::default());
        let limits = limits(2, 1);
        let [a, b, c] = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(|ip| ip.parse::<IpAddr>().unwrap());
        let first = Permit::take(&admission, Some(a), &limits).unwrap();
        assert_eq!(Permit::take(&admission, Some(a), &limits).unwrap_err(), "connections_per_client");
        let _second = Permit::take(&admission, Some(b), &limits).unwrap();
        assert_eq!(Permit::take(&admission, Some(c), &limits).unwrap_err(), "connections");
        drop(first);
        let _third = Permit::take(&admission, Some(c), &limits).unwrap();
        let mut later = Permit::take(&admission, None, &self::limits(9, 1)).unwrap();
        assert_eq!(later.is_for(c, &limits).unwrap_err(), "connections_per_client");
        drop(later);
        assert_eq!(admission.clients().by_address.values().filter(|client| client.open > 0).count(), 2);
    }

    #[test]
    fn who_comes_too_often_is_let_in_again_after_a_while_and_who_has_left_is_forgotten() {
        let limits = Limits { new_connections_per_client: 2, ..limits(9, 9) };
        let [a, b] = ["10.0.0.1", "10.0.0.2"].map(|ip| ip.parse::<IpAddr>().unwrap());
        let mut clients = Clients::default();
        let (early, late) = (WINDOW - Duration::from_millis(1), WINDOW);
        assert_eq!([clients.enter(a, early, &limits), clients.enter(a, early, &limits)], [Ok(()); 2]);
        clients.leave(a);
        // That others have left makes no room, and that it is refused does not stop the count.
        for _ in 0..3 {
            assert_eq!(clients.enter(a, early, &limits), Err("new_connections_per_client"));
        }
        assert_eq!(clients.enter(b, early, &limits), Ok(()));
        clients.leave(b);
        assert_eq!(clients.enter(a, late, &limits), Ok(()));
        assert_eq!(clients.by_address.keys().collect::<Vec<_>>(), [&a]);
        assert_eq!((clients.by_address[&a].open, clients.by_address[&a].came), (2, 1));
    }

    #[test]
    fn neighbours_in_a_64_are_one_client() {
        let [a, b] = ["2001:db8::1", "2001:db8::ffff:2"].map(|ip| network_of(ip.parse().unwrap()));
        assert_eq!(a, b);
    }
}
