//! What a client may name as the host that it wants.

use http::uri::Authority;

/// RFC 9110 §7.2: uri-host and an optional port, without user information.
#[must_use]
pub fn is_host(host: &[u8]) -> bool {
    // A name or an IPv4 address, and a port: what nearly every client sends.
    let end = host.iter().position(|b| !IN_NAMES[usize::from(*b)]).unwrap_or(host.len());
    if end > 0 && is_port(&host[end..]) {
        return true;
    }
    // IPv6 addresses.
    let Ok(authority) = Authority::try_from(host) else { return false };
    let address = authority.host().strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let known = address.is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok());
    known && !authority.as_str().contains('@')
}

/// Nothing, or a colon and maybe a number that a port can have.
fn is_port(text: &[u8]) -> bool {
    let digits = match text {
        [] => return true,
        [b':', digits @ ..] => digits,
        _ => return false,
    };
    let port = digits.iter().try_fold(0_u32, |port, digit| {
        let digit = digit.wrapping_sub(b'0');
        let port = port * 10 + u32::from(digit);
        (digit <= 9 && port <= u32::from(u16::MAX)).then_some(port)
    });
    port.is_some()
}

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
    fn hosts_are_names_or_addresses_with_a_port_and_nothing_else() {
        for good in ["a", "a.example:8080", "a:", "a:65535", "a:00080", "[::1]:80", "127.0.0.1", "a_b.example"] {
            assert!(is_host(good.as_bytes()), "{good}");
        }
        for bad in [
            "", "u@a", "a/b", "a, b", "a:b", "a:123456", "a:99999", "a:65536", "a:8_0", ":80", "[::1", "a b", "a#b",
            "[1]", "u@[::1]", "a:80:80", "a:-1", "\u{e9}",
        ] {
            assert!(!is_host(bad.as_bytes()), "{bad:?}");
        }
    }
}
