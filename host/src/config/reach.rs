//! Where a tenant's backends may be: not at the operator's own listeners, and not on this machine or where clouds keep their
//! secrets unless the operator says so.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use ipnet::IpNet;

use super::{Config, Terms};

/// Where a tenant's backends may be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    /// What the operator allows, if it has said.
    networks: Option<Vec<IpNet>>,
    /// Where the operator itself listens.
    listeners: Vec<SocketAddr>,
}

impl Reach {
    /// What these terms allow beside the operator's own configuration.
    #[must_use]
    pub fn of(terms: &Terms, operators: &Config) -> Self {
        let listeners = operators.listeners.iter().map(|listener| listener.address);
        let admin = operators.admin.iter().map(|admin| admin.address);
        Self { networks: terms.backends.clone(), listeners: listeners.chain(admin).collect() }
    }

    /// Whether there may be a backend.
    ///
    /// # Errors
    /// What that address is instead.
    pub fn allows(&self, address: SocketAddr) -> Result<(), &'static str> {
        // Whoever connects to no address in particular reaches this machine.
        let ip = match address.ip().to_canonical() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        let is_it = |listener: &&SocketAddr| {
            let own = listener.ip().to_canonical();
            listener.port() == address.port() && (own == ip || own.is_unspecified() && is_here(ip))
        };
        if self.listeners.iter().any(|listener| is_it(&listener)) {
            return Err("that is the operator's own listener");
        }
        match &self.networks {
            Some(networks) if networks.iter().any(|network| network.contains(&ip)) => Ok(()),
            Some(_) => Err("that is in none of the networks that the tenant was given"),
            None if is_delicate(ip) => Err("that is on this machine or this link, or knows secrets of it"),
            None => Ok(()),
        }
    }
}

/// Whether it is an address of this machine's.
fn is_here(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}

/// Addresses at which somebody may be who trusts whoever reaches him.
fn is_delicate(ip: IpAddr) -> bool {
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.segments()[0] & 0xffc0 == 0xfe80,
    };
    ip.is_loopback() || link_local || ip.is_multicast() || METADATA.contains(&ip)
}

/// Where clouds tell a machine its secrets, as far as that is not link-local.
const METADATA: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn reach(networks: Option<&[&str]>, listeners: &[&str]) -> Reach {
        let networks = networks.map(|networks| networks.iter().map(|network| network.parse().unwrap()).collect());
        Reach { networks, listeners: listeners.iter().map(|listener| listener.parse().unwrap()).collect() }
    }

    fn allowed(reach: &Reach, address: &str) -> bool {
        reach.allows(address.parse().unwrap()).is_ok()
    }

    #[test]
    fn this_machine_and_this_link_must_be_granted() {
        let unsaid = reach(None, &[]);
        for address in [
            "127.0.0.1:80",
            "127.8.9.1:80",
            "0.0.0.0:80",
            "[::1]:80",
            "[::]:80",
            "[::ffff:127.0.0.1]:80",
            "169.254.169.254:80",
            "[fe80::1]:80",
            "[fd00:ec2::254]:80",
            "224.0.0.1:80",
            "255.255.255.255:80",
            "100.100.100.200:80",
        ] {
            assert!(!allowed(&unsaid, address), "{address}");
            assert!(allowed(&reach(Some(&["0.0.0.0/0", "::/0"]), &[]), address), "{address}");
        }
        for address in ["10.0.0.1:80", "192.0.2.1:80", "[2001:db8::1]:80", "[fd12::1]:80"] {
            assert!(allowed(&unsaid, address), "{address}");
            assert!(!allowed(&reach(Some(&["10.1.0.0/16"]), &[]), address), "{address}");
        }
    }

    #[test]
    fn the_operators_listeners_are_never_granted() {
        let reach = reach(Some(&["0.0.0.0/0", "::/0"]), &["0.0.0.0:8080", "127.0.0.1:9901", "[::]:8081"]);
        for address in ["127.0.0.1:8080", "0.0.0.0:8080", "127.0.0.1:9901", "[::ffff:127.0.0.1]:9901", "[::1]:8081"] {
            assert!(!allowed(&reach, address), "{address}");
        }
        for address in ["127.0.0.1:8082", "192.0.2.1:8080", "127.0.0.2:9901"] {
            assert!(allowed(&reach, address), "{address}");
        }
    }
}
