//! The PROXY protocol, in which a proxy in front tells whose connection it is, before the first byte of it: versions 1 and 2
//! are read, version 2 is written. Only bytes: nothing here touches a socket.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// How many bytes it has.
    pub length: usize,
    /// Whose connection it is, from where and to where; none if that is the sender's own secret (LOCAL, UNKNOWN, or a kind of
    /// address that is none of the internet).
    pub ends: Option<(SocketAddr, SocketAddr)>,
}

/// Why bytes are no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Neither version begins like that.
    #[error("there is no PROXY header")]
    Missing,
    /// Version 1: the line does not end where it must.
    #[error("the line of the PROXY header is too long")]
    Endless,
    /// Version 1: something in the line is wrong.
    #[error("the line of the PROXY header is malformed")]
    Line,
    /// Version 2: another version, command, or kind of address.
    #[error("the PROXY header is of a kind that there is not")]
    Kind,
    /// Version 2: longer than anybody needs.
    #[error("the PROXY header is too long")]
    TooLong,
    /// Version 2: shorter than its addresses.
    #[error("the PROXY header is too short for its addresses")]
    TooShort,
    /// Version 2: what stands behind the addresses is longer than the header.
    #[error("what the PROXY header says besides addresses does not fit into it")]
    Additions,
    /// Version 2: it has a checksum, of other bytes.
    #[error("the PROXY header has been changed on its way: its checksum is another")]
    Checksum,
}

/// Reads a header from the beginning of what has come so far. None if it is not complete.
///
/// # Errors
/// Why it is none, as soon as that can be told.
pub fn parse(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let begins = |signature: &[u8]| bytes.iter().zip(signature).all(|(one, other)| one == other);
    if begins(SIGNATURE) && !bytes.is_empty() {
        return parse_v2(bytes);
    }
    if begins(LINE) {
        return parse_v1(bytes);
    }
    Err(Malformed::Missing)
}

/// A header of version 2 for a connection with these ends; of the sender's own, if there are none.
#[must_use]
pub fn header(ends: Option<(SocketAddr, SocketAddr)>) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    let Some((from, to)) = ends else {
        bytes.extend([VERSION_2 | LOCAL, 0, 0, 0]);
        return bytes;
    };
    bytes.push(VERSION_2 | PROXY);
    match (from.ip().to_canonical(), to.ip().to_canonical()) {
        (IpAddr::V4(source), IpAddr::V4(target)) => {
            bytes.extend([TCP4, 0, 12]);
            bytes.extend(source.octets());
            bytes.extend(target.octets());
        }
        (source, target) => {
            bytes.extend([TCP6, 0, 36]);
            bytes.extend(v6(source).octets());
            bytes.extend(v6(target).octets());
        }
    }
    bytes.extend(from.port().to_be_bytes());
    bytes.extend(to.port().to_be_bytes());
    bytes
}

fn v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

fn parse_v1(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let Some(end) = bytes.iter().take(LONGEST_LINE).position(|byte| *byte == b'\n') else {
        return if bytes.len() >= LONGEST_LINE { Err(Malformed::Endless) } else { Ok(None) };
    };
    let line = bytes[..end].strip_suffix(b"\r").ok_or(Malformed::Line)?;
    let text = std::str::from_utf8(line).ok().filter(|text| text.is_ascii()).ok_or(Malformed::Line)?;
    let words: Vec<_> = text.split(' ').collect();
    let ends = match *words {
        // Whatever follows is to be ignored.
        ["PROXY", "UNKNOWN", ..] => None,
        ["PROXY", "TCP4", from, to, source, target] => {
            let [from, to] = [from, to].map(|text| text.parse::<Ipv4Addr>().map(IpAddr::from));
            Some(ends(from, to, source, target)?)
        }
        ["PROXY", "TCP6", from, to, source, target] => {
            let [from, to] = [from, to].map(|text| text.parse::<Ipv6Addr>().map(IpAddr::from));
            Some(ends(from, to, source, target)?)
        }
        _ => return Err(Malformed::Line),
    };
    Ok(Some(Header { length: end + 1, ends }))
}

type Parsed = Result<IpAddr, std::net::AddrParseError>;

fn ends(from: Parsed, to: Parsed, source: &str, target: &str) -> Result<(SocketAddr, SocketAddr), Malformed> {
    let address = |ip: Parsed, port: &str| {
        // Digits only, without zeros before them: `parse` alone would take a plus.
        let plain = port.bytes().all(|byte| byte.is_ascii_digit()) && (port == "0" || !port.starts_with('0'));
        let port = port.parse().ok().filter(|_| plain)?;
        Some(SocketAddr::new(ip.ok()?.to_canonical(), port))
    };
    address(from, source).zip(address(to, target)).ok_or(Malformed::Line)
}

fn parse_v2(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let (Some(command), Some(kind)) = (bytes.get(12), bytes.get(13)) else {
        return bytes.get(12).map_or(Ok(None), |command| check_command(*command).map(|_| None));
    };
    let local = check_command(*command)? == LOCAL;
    let addresses = match *kind {
        UNSPECIFIED => 0,
        TCP4 => 12,
        TCP6 => 36,
        UNIX => 216,
        // Datagrams do not come over a connection. What a LOCAL header says of addresses counts for nothing.
        _ if local => 0,
        _ => return Err(Malformed::Kind),
    };
    let Some(length) = bytes.get(14..16) else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
    if length > LONGEST {
        return Err(Malformed::TooLong);
    }
    if !local && length < addresses {
        return Err(Malformed::TooShort);
    }
    let Some(rest) = bytes.get(16..16 + length) else { return Ok(None) };
    if !local {
        check_additions(&bytes[..16 + length], 16 + addresses)?;
    }
    let port = |at: usize| u16::from_be_bytes([rest[at], rest[at + 1]]);
    let ends = match *kind {
        _ if local => None,
        TCP4 => {
            let ip = |at: usize| IpAddr::from([rest[at], rest[at + 1], rest[at + 2], rest[at + 3]]);
            Some((SocketAddr::new(ip(0), port(8)), SocketAddr::new(ip(4), port(10))))
        }
        TCP6 => {
            let ip = |at: usize| {
                let mut octets = [0; 16];
                octets.copy_from_slice(&rest[at..at + 16]);
                IpAddr::from(octets).to_canonical()
            };
            Some((SocketAddr::new(ip(0), port(32)), SocketAddr::new(ip(16), port(34))))
        }
        _ => None,
    };
    Ok(Some(Header { length: 16 + length, ends }))
}

/// Goes through what a header of version 2 says from `at` on, behind its addresses: type, length and value each. It is for
/// others, and skipped, but for a checksum.
fn check_additions(header: &[u8], mut at: usize) -> Result<(), Malformed> {
    while at < header.len() {
        let Some([kind, high, low]) = header.get(at..at + 3) else { return Err(Malformed::Additions) };
        let value = at + 3..at + 3 + usize::from(u16::from_be_bytes([*high, *low]));
        let Some(told) = header.get(value.clone()) else { return Err(Malformed::Additions) };
        if *kind == CHECKSUM {
            let told = told.try_into().map_err(|_| Malformed::Additions)?;
            // Of the whole header, with zeros where it stands itself.
            let parts = [&header[..value.start], &[0; 4], &header[value.end..]];
            if crc32c(parts) != u32::from_be_bytes(told) {
                return Err(Malformed::Checksum);
            }
        }
        at = value.end;
    }
    Ok(())
}

/// CRC-32C (RFC 9260 appendix A). Bit by bit, because headers are short and few have one.
fn crc32c(parts: [&[u8]; 3]) -> u32 {
    let mut crc = u32::MAX;
    for byte in parts.into_iter().flatten() {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let carry = crc & 1;
            crc = (crc >> 1) ^ if carry == 1 { 0x82f6_3b78 } else { 0 };
        }
    }
    !crc
}

/// The command, if it is one of version 2.
fn check_command(byte: u8) -> Result<u8, Malformed> {
    match byte & 0x0f {
        command @ (LOCAL | PROXY) if byte & 0xf0 == VERSION_2 => Ok(command),
        _ => Err(Malformed::Kind),
    }
}

/// What a header can have at most.
pub const LONGEST_HEADER: usize = 16 + LONGEST;

/// What version 2 begins with.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// What version 1 begins with.
const LINE: &[u8] = b"PROXY ";
/// With its end: as the specification has it.
const LONGEST_LINE: usize = 107;
/// Behind the first 16 bytes of version 2. Addresses take 216 at most; a chain of certificates would not fit, and need not.
const LONGEST: usize = 2048;

const VERSION_2: u8 = 0x20;
const LOCAL: u8 = 0;
const PROXY: u8 = 1;
const UNSPECIFIED: u8 = 0x00;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
const UNIX: u8 = 0x31;
/// Behind the addresses: a CRC-32C.
const CHECKSUM: u8 = 0x03;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn ends(from: &str, to: &str) -> Option<(SocketAddr, SocketAddr)> {
        Some((from.parse().unwrap(), to.parse().unwrap()))
    }

    fn v2(command: u8, kind: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, kind], &length, rest].concat()
    }

    #[test]
    fn lines_are_read() {
        for (line, expected) in [
            ("PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n", ends("192.0.2.1:56324", "198.51.100.2:443")),
            (
                "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
                ends("255.255.255.255:65535", "255.255.255.255:65535"),
            ),
            ("PROXY TCP6 2001:db8::1 2001:db8::2 1 0\r\n", ends("[2001:db8::1]:1", "[2001:db8::2]:0")),
            ("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", ends("192.0.2.1:1", "[::1]:2")),
            ("PROXY UNKNOWN\r\n", None),
            ("PROXY UNKNOWN ffff:f..f:ffff 1 2 whatever\r\n", None),
        ] {
            let more = format!("{line}GET / HTTP/1.1\r\n");
            assert_eq!(parse(more.as_bytes()), Ok(Some(Header { length: line.len(), ends: expected })), "{line:?}");
            for cut in 0..line.len() {
                assert_eq!(parse(&line.as_bytes()[..cut]), Ok(None), "{cut} bytes of {line:?}");
            }
        }
    }

    #[test]
    fn lines_that_are_wrong_are_refused() {
        for line in [
            "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 56324\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443 1\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 56324 65536\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 +5 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 05 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 -5 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2  443\r\n",
            "PROXY TCP4  192.0.2.1 198.51.100.2 1 443\r\n",
            "PROXY TCP4\t192.0.2.1 198.51.100.2 1 443\r\n",
            "PROXY TCP4 192.0.2 198.51.100.2 1 443\r\n",
            "PROXY TCP4 192.0.2.01 198.51.100.2 1 443\r\n",
            "PROXY TCP4 2001:db8::1 198.51.100.2 1 443\r\n",
            "PROXY TCP6 192.0.2.1 198.51.100.2 1 443\r\n",
            "PROXY UDP4 192.0.2.1 198.51.100.2 1 443\r\n",
            "PROXY tcp4 192.0.2.1 198.51.100.2 1 443\r\n",
            "PROXY \r\n",
            "PROXY UNKNOWN\u{e4}\r\n",
        ] {
            assert_eq!(parse(line.as_bytes()), Err(Malformed::Line), "{line:?}");
        }
        for other in
            ["GET / HTTP/1.1\r\n", "proxy TCP4", "PROXYTCP4", "\r\n\r\n\0\r\nQUIT\r", "\0", " PROXY", "\r\nPROXY"]
        {
            assert_eq!(parse(other.as_bytes()), Err(Malformed::Missing), "{other:?}");
        }
        let endless = format!("PROXY UNKNOWN {}", "x".repeat(200));
        assert_eq!(parse(endless.as_bytes()), Err(Malformed::Endless));
        assert_eq!(parse(&endless.as_bytes()[..106]), Ok(None));
        assert_eq!(parse(&endless.as_bytes()[..107]), Err(Malformed::Endless));
        assert_eq!(parse(format!("{}\r\n", &endless[..105]).as_bytes()).map(|it| it.unwrap().length), Ok(107));
    }

    #[test]
    fn version_2_is_read_at_every_split() {
        let four = [192, 0, 2, 1, 198, 51, 100, 2, 0xdc, 0x04, 1, 0xbb];
        let mut six = [0; 36];
        six[15] = 1;
        six[31] = 2;
        six[33] = 3;
        six[35] = 4;
        let with_more = [&four[..], &[0x04, 0, 2, b'a', b'b']].concat();
        let length = u16::try_from(LONGEST - 15).unwrap().to_be_bytes();
        let filled = [&four[..], &[0x04], &length, &[7; LONGEST - 15]].concat();
        for (bytes, expected) in [
            (v2(0x21, TCP4, &four), ends("192.0.2.1:56324", "198.51.100.2:443")),
            (v2(0x21, TCP4, &with_more), ends("192.0.2.1:56324", "198.51.100.2:443")),
            (v2(0x21, TCP6, &six), ends("[::1]:3", "[::2]:4")),
            (v2(0x21, UNIX, &[b'/'; 216]), None),
            (v2(0x21, UNSPECIFIED, &[]), None),
            (v2(0x21, UNSPECIFIED, &[4, 0, 1, 0]), None),
            (v2(0x20, UNSPECIFIED, &[1, 2, 3]), None),
            (v2(0x20, UNSPECIFIED, &[]), None),
            (v2(0x20, TCP4, &four), None),
            (v2(0x20, 0x12, &[]), None),
            (v2(0x21, TCP4, &filled), ends("192.0.2.1:56324", "198.51.100.2:443")),
        ] {
            let more = [&bytes[..], b"PRI * HTTP/2.0"].concat();
            assert_eq!(parse(&more), Ok(Some(Header { length: bytes.len(), ends: expected })), "{bytes:?}");
            for cut in 0..bytes.len() {
                assert_eq!(parse(&bytes[..cut]), Ok(None), "{cut} bytes of {bytes:?}");
            }
        }
    }

    #[test]
    fn version_2_that_is_wrong_is_refused() {
        for (bytes, why) in [
            (v2(0x11, TCP4, &[0; 12]), Malformed::Kind),
            (v2(0x31, TCP4, &[0; 12]), Malformed::Kind),
            (v2(0x22, TCP4, &[0; 12]), Malformed::Kind),
            (v2(0x2f, TCP4, &[0; 12]), Malformed::Kind),
            (v2(0x01, TCP4, &[0; 12]), Malformed::Kind),
            (v2(0x21, 0x12, &[0; 12]), Malformed::Kind),
            (v2(0x21, 0x22, &[0; 36]), Malformed::Kind),
            (v2(0x21, 0x32, &[0; 216]), Malformed::Kind),
            (v2(0x21, 0x10, &[0; 12]), Malformed::Kind),
            (v2(0x21, 0x41, &[0; 12]), Malformed::Kind),
            (v2(0x21, 0xff, &[0; 12]), Malformed::Kind),
            (v2(0x21, TCP4, &[0; 11]), Malformed::TooShort),
            (v2(0x21, TCP6, &[0; 35]), Malformed::TooShort),
            (v2(0x21, UNIX, &[0; 215]), Malformed::TooShort),
            (v2(0x21, TCP4, &[]), Malformed::TooShort),
            (v2(0x21, TCP4, &[0; LONGEST + 1]), Malformed::TooLong),
            (v2(0x20, UNSPECIFIED, &[0; LONGEST + 1]), Malformed::TooLong),
        ] {
            assert_eq!(parse(&bytes), Err(why), "{:?}", &bytes[12..16]);
            // It is told from the first 16 bytes, so nobody waits for the rest.
            assert_eq!(parse(&bytes[..16]), Err(why), "{:?}", &bytes[12..16]);
        }
    }

    #[test]
    fn what_stands_behind_the_addresses_must_fit() {
        for additions in [&[4][..], &[4, 0], &[4, 0, 1], &[4, 0, 2, 1], &[4, 0, 1, 1, 2], &[4, 255, 255], &[3, 0, 0]] {
            let bytes = v2(0x21, TCP4, &[&[0; 12], additions].concat());
            assert_eq!(parse(&bytes), Err(Malformed::Additions), "{additions:?}");
        }
    }

    #[test]
    fn a_checksum_is_held_against_the_header() {
        // The example of RFC 3720 appendix B.4.
        assert_eq!(crc32c([&[0; 16], &[], &[0; 16]]), 0x8a91_36aa);
        assert_eq!(crc32c([b"123", b"456", b"789"]), 0xe306_9283);
        let mut bytes = v2(0x21, TCP4, &[&[1; 12], &[4, 0, 1, 9, 3, 0, 4, 0, 0, 0, 0, 4, 0, 0][..]].concat());
        let checksum = crc32c([&bytes, &[], &[]]).to_be_bytes();
        bytes[35..39].copy_from_slice(&checksum);
        assert_eq!(parse(&bytes).map(|it| it.unwrap().length), Ok(bytes.len()));
        for place in [16, 31, 35, 38] {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            assert_eq!(parse(&changed), Err(Malformed::Checksum), "byte {place}");
        }
    }

    #[test]
    fn what_is_written_is_read_as_it_was() {
        for (from, to) in [
            ("192.0.2.1:56324", "198.51.100.2:443"),
            ("[2001:db8::1]:1", "[2001:db8::2]:2"),
            ("192.0.2.1:1", "[2001:db8::2]:2"),
            ("[::ffff:192.0.2.1]:1", "198.51.100.2:2"),
        ] {
            let ends = ends(from, to).map(|(from, to)| {
                let canonical = |it: SocketAddr| SocketAddr::new(it.ip().to_canonical(), it.port());
                (canonical(from), canonical(to))
            });
            let written = header(ends);
            assert_eq!(parse(&written), Ok(Some(Header { length: written.len(), ends })), "{from} {to}");
        }
        assert_eq!(parse(&header(None)), Ok(Some(Header { length: 16, ends: None })));
    }
}
