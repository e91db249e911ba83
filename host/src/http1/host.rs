//! What a client may name as the host that it wants.

use http::uri::Authority;

/// The host that was asked for last: nearly all requests of a connection are for the same.
#[derive(Debug, Default)]
pub struct KnownHost(Box<[u8]>);

impl KnownHost {
    /// [`is_host`], and no more than a comparison for one that is known.
    #[inline]
    pub fn is_host(&mut self, host: &[u8]) -> bool {
        // Nothing is known at first, and nothing is no host.
        (*self.0 == *host && !host.is_empty()) || self.look_at(host)
    }

    fn look_at(&mut self, host: &[u8]) -> bool {
        let sound = is_host(host);
        if sound && host.len() <= KEPT {
            self.0 = host.into();
        }
        sound
    }
}

/// RFC 9110 §7.2: uri-host and an optional port, without user information.
#[must_use]
pub fn is_host(host: &[u8]) -> bool {
    // A name or an IPv4 address, and a port: what nearly every client sends.
    let from = host.len().saturating_sub(PORT);
    let name = match host[from..].iter().rposition(|b| *b == b':') {
        Some(colon) => &host[..from + colon],
        None => host,
    };
    let named = !name.is_empty() && name.iter().fold(true, |named, b| named & IN_NAMES[usize::from(*b)]);
    if named && is_port(&host[name.len()..]) {
        return true;
    }
    // IPv6 addresses.
    let Ok(authority) = Authority::try_from(host) else { return false };
    let address = authority.host().strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let known = address.is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok());
    known && !authority.as_str().contains('@')
}

/// Nothing, or a colon and maybe a number that a port can have. No more than [`PORT`] bytes.
fn is_port(text: &[u8]) -> bool {
    let (mut port, mut digits) = (0_u32, true);
    for digit in text.iter().skip(1) {
        let digit = digit.wrapping_sub(b'0');
        digits &= digit <= 9;
        port = port * 10 + u32::from(digit);
    }
    digits && port <= u32::from(u16::MAX)
}

/// A longer host is looked at each time, and not kept while its connection is idle.
const KEPT: usize = 64;

/// Bytes that a port and its colon may have.
const PORT: usize = 6;

/// The bytes of a host's name.
const IN_NAMES: [bool; 256] = {
    let (mut table, mut byte) = ([false; 256], 0);
    while byte < 128 {
        let named = byte as u8;
        table[byte] = named.is_ascii_alphanumeric() || matches!(named, b'.' | b'-' | b'_');
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_no_other_host() {
        let (mut known, long) = (KnownHost::default(), "a".repeat(100));
        for (host, sound) in
            [("", false), ("a:80", true), ("a:80", true), ("a@b", false), ("a:8", true), ("", false), (&long, true)]
        {
            assert_eq!(known.is_host(host.as_bytes()), sound, "{host}");
            assert_eq!(known.is_host(host.as_bytes()), sound, "{host}");
        }
        assert_eq!(*known.0, *b"a:8");
    }

    #[test]
    fn hosts_are_names_or_addresses_with_a_port_and_nothing_else() {
        for good in [
            "a",
            "a.example:8080",
            "a:",
            "a:65535",
            "a:00080",
            "a.long-name.example:1",
            "[::1]:80",
            "127.0.0.1",
            "a_b.example",
        ] {
            assert!(is_host(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            "u@a",
            "a/b",
            "a, b",
            "a:b",
            "a:123456",
            "a:99999",
            "a:65536",
            "a:8_0",
            ":80",
            "[::1",
            "a b",
            "a#b",
            "[1]",
            "u@[::1]",
            "a:80:80",
            "a:-1",
            "a:000080",
            ":",
            "a:1:",
            "a:99999999999999999999",
            "\u{e9}",
        ] {
            assert!(!is_host(bad.as_bytes()), "{bad:?}");
        }
    }
}
