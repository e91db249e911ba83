//! How many connections there may be: in all, from one address, and in the middle of a TLS handshake.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::Limits;

/// What all workers share to keep to limits that hold for the whole process. Touched once for each connection.
#[derive(Debug, Default)]
pub struct Admission {
    connections: AtomicUsize,
    handshakes: AtomicUsize,
    by_client: Mutex<HashMap<IpAddr, usize>>,
}

/// A connection's place, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    admission: Arc<Admission>,
    /// None as long as it is not known who that is.
    client: Option<IpAddr>,
}

/// A TLS handshake's place.
#[derive(Debug)]
pub(super) struct HandshakePermit(Arc<Admission>);

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
        let mut clients = self.admission.by_client.lock().unwrap_or_else(PoisonError::into_inner);
        let count = clients.entry(client).or_default();
        if *count >= limits.connections_per_client {
            return Err("connections_per_client");
        }
        *count += 1;
        drop(clients);
        self.client = Some(client);
        Ok(())
    }

    /// Takes a place for a TLS handshake.
    pub(super) fn handshake(&self, limits: &Limits) -> Result<HandshakePermit, &'static str> {
        let permit = HandshakePermit(Arc::clone(&self.admission));
        if self.admission.handshakes.fetch_add(1, Ordering::Relaxed) >= limits.handshakes {
            return Err("handshakes");
        }
        Ok(permit)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.admission.connections.fetch_sub(1, Ordering::Relaxed);
        let Some(client) = &self.client else { return };
        let mut clients = self.admission.by_client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = clients.get_mut(client) {
            *count -= 1;
            if *count == 0 {
                clients.remove(client);
            }
        }
    }
}

impl Drop for HandshakePermit {
    fn drop(&mut self) {
        self.0.handshakes.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One client of IPv6 has a whole /64 to call from.
fn network_of(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn limits(connections: usize, per_client: usize) -> Limits {
        Limits {
            connections,
            connections_per_client: per_client,
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
        let third = Permit::take(&admission, Some(c), &limits).unwrap();
        let mut later = Permit::take(&admission, None, &self::limits(9, 1)).unwrap();
        assert_eq!(later.is_for(c, &limits).unwrap_err(), "connections_per_client");
        drop(later);
        let _handshake = third.handshake(&limits).unwrap();
        assert_eq!(third.handshake(&limits).unwrap_err(), "handshakes");
        assert_eq!(admission.by_client.lock().unwrap().len(), 2);
    }

    #[test]
    fn neighbours_in_a_64_are_one_client() {
        let [a, b] = ["2001:db8::1", "2001:db8::ffff:2"].map(|ip| network_of(ip.parse().unwrap()));
        assert_eq!(a, b);
    }
}
