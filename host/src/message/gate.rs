//! What a head must be before it is served or passed on. The parser below has made sure of the grammar of lines; here is
//! what it lets through. What only the bytes tell is in `http1`.

use http::header::{self, HeaderMap, HeaderValue};
use http::uri::Authority;
use http::{Method, StatusCode, Version, request, response};

use super::edit::spells_framing;
use crate::config::Limits;
use crate::reason::Reason;

/// How a request says that its body is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// So many bytes.
    Length(u64),
    /// Until it ends.
    Open,
}

/// Holds a request against what Lockgate serves. Says how its body is framed.
///
/// # Errors
/// The reason that the client is told.
pub fn check_request(head: &request::Parts, limits: &Limits) -> Result<Framing, Reason> {
    if head.method == Method::CONNECT {
        return Err(Reason::MethodNotServed);
    }
    // Methods are case-sensitive (RFC 9110 §9.1); one in lower case is what a confused or hostile client sends.
    if head.method.as_str().bytes().any(|b| b.is_ascii_lowercase()) {
        return Err(Reason::BadRequest);
    }
    check_target(head, limits)?;
    let known = Known::of(&head.headers, limits)?;
    check_authority(head, &known.host)?;
    check_expect(&known.expect)?;
    framing(head, &known)
}

/// The host that the request is for, with its port; empty if an HTTP/1.0 client named none.
#[must_use]
pub fn host_of(head: &request::Parts) -> &str {
    match head.uri.authority() {
        Some(authority) => authority.as_str(),
        None => head.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default(),
    }
}

/// The same as a field's value, as it was sent; none if there is none.
#[must_use]
pub fn host_value(head: &request::Parts) -> Option<HeaderValue> {
    match head.uri.authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => head.headers.get(header::HOST).cloned(),
    }
}

/// Holds a backend's response against what may be passed on.
///
/// # Errors
/// [`Reason::BadResponse`].
pub fn check_response(head: &response::Parts, limits: &Limits) -> Result<(), Reason> {
    if head.status.is_informational() || head.status.as_u16() > 599 {
        return Err(Reason::BadResponse);
    }
    let (mut lengths, mut codings, mut size) = (0, 0, 0);
    for (name, value) in &head.headers {
        size += name.as_str().len() + value.len() + FIELD_EXTRA;
        if *name == header::CONTENT_LENGTH {
            lengths += 1;
            if head.status == StatusCode::NO_CONTENT && value.as_bytes() != b"0" {
                return Err(Reason::BadResponse);
            }
        } else if *name == header::TRANSFER_ENCODING {
            codings += 1;
            // RFC 9112 §6.1: none with 1xx or 204, and none in HTTP/1.0.
            let allowed = head.version == Version::HTTP_11 && head.status != StatusCode::NO_CONTENT;
            if !allowed || !value.as_bytes().eq_ignore_ascii_case(b"chunked") {
                return Err(Reason::BadResponse);
            }
        }
    }
    // RFC 9112 §6.3: one length or one coding.
    if lengths + codings > 1 || head.headers.len() > limits.header_count || size > limits.header_size {
        return Err(Reason::BadResponse);
    }
    Ok(())
}

fn check_target(head: &request::Parts, limits: &Limits) -> Result<(), Reason> {
    let target = head.uri.path_and_query().map_or("", |target| target.as_str());
    if target.len() > limits.uri_length {
        return Err(Reason::UriTooLong);
    }
    if target == "*" {
        return if head.method == Method::OPTIONS { Ok(()) } else { Err(Reason::BadRequest) };
    }
    if let Some(scheme) = head.uri.scheme_str()
        && scheme != "http"
        && scheme != "https"
    {
        return Err(Reason::BadRequest);
    }
    check_path(head.uri.path())
}

/// One path for the route, the plugins and the backend: what one of them could read otherwise is refused.
///
/// # Errors
/// [`Reason::BadRequest`].
pub fn check_path(path: &str) -> Result<(), Reason> {
    let bytes = path.as_bytes();
    if bytes.first() != Some(&b'/') {
        return Err(Reason::BadRequest);
    }
    // Nearly all paths have none of these bytes, and are done here.
    if !bytes.iter().any(|b| matches!(b, b'%' | b'\\' | b'.' | b'#') || !b.is_ascii_graphic()) {
        return Ok(());
    }
    if bytes.iter().any(|b| *b == b'\\' || *b == b'#' || !b.is_ascii_graphic()) {
        return Err(Reason::BadRequest);
    }
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|b| *b == b'%') {
        rest = &rest[at + 1..];
        let decoded = rest.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let decoded = decoded.and_then(|hex| u8::from_str_radix(hex, 16).ok()).ok_or(Reason::BadRequest)?;
        // Encoded slashes hide segments; encoded controls become header lines behind a careless backend.
        if matches!(decoded, b'/' | b'\\') || decoded < b' ' || decoded == 0x7f {
            return Err(Reason::BadRequest);
        }
    }
    if path.split('/').any(is_dot_segment) { Err(Reason::BadRequest) } else { Ok(()) }
}

/// `.` or `..`, its dots encoded or not, with or without a parameter behind it: `..;x`, `%2e.`.
fn is_dot_segment(segment: &str) -> bool {
    let mut rest = segment.split(';').next().unwrap_or_default().as_bytes();
    let mut dots = 0;
    loop {
        rest = match rest {
            [] => return matches!(dots, 1 | 2),
            [b'.', rest @ ..] | [b'%', b'2', b'e' | b'E', rest @ ..] => rest,
            _ => return false,
        };
        dots += 1;
    }
}

/// A field that may be there once.
#[derive(Default)]
struct Once<'a> {
    value: Option<&'a HeaderValue>,
    repeated: bool,
}

/// The fields that the gate looks at.
#[derive(Default)]
struct Known<'a> {
    host: Once<'a>,
    expect: Once<'a>,
    length: Once<'a>,
    coding: Once<'a>,
}

impl<'a> Once<'a> {
    fn is(&mut self, value: &'a HeaderValue) {
        self.repeated |= self.value.replace(value).is_some();
    }
}

impl<'a> Known<'a> {
    /// Finds them, all in one walk. Also that the section is not too large, and that no name frames the body in the eyes of
    /// some and not of others.
    fn of(headers: &'a HeaderMap, limits: &Limits) -> Result<Self, Reason> {
        if headers.len() > limits.header_count {
            return Err(Reason::HeadersTooLarge);
        }
        let (mut known, mut size, mut spelled) = (Self::default(), 0, false);
        for (name, value) in headers {
            let text = name.as_str();
            size += text.len() + value.len() + FIELD_EXTRA;
            // Almost every field is passed over by the length of its name.
            match text {
                "host" => known.host.is(value),
                "expect" => known.expect.is(value),
                "content-length" => known.length.is(value),
                "transfer-encoding" => known.coding.is(value),
                _ => spelled |= spells_framing(name),
            }
        }
        match (size > limits.header_size, spelled) {
            (true, _) => Err(Reason::HeadersTooLarge),
            (false, true) => Err(Reason::BadRequest),
            (false, false) => Ok(known),
        }
    }
}

/// RFC 9112 §3.2: exactly one Host in HTTP/1.1. RFC 9113 §8.3.1: `:authority` and Host agree.
fn check_authority(head: &request::Parts, host: &Once<'_>) -> Result<(), Reason> {
    if host.repeated {
        return Err(Reason::BadRequest);
    }
    match (host.value, head.uri.authority()) {
        (None, None) => {
            if head.version == Version::HTTP_10 {
                return Ok(());
            }
            Err(Reason::BadRequest)
        }
        (None, Some(authority)) => {
            if head.version < Version::HTTP_2 {
                return Err(Reason::BadRequest);
            }
            check_host(authority.as_str().as_bytes())
        }
        (Some(host), None) => check_host(host.as_bytes()),
        (Some(host), Some(authority)) => {
            if !authority.as_str().as_bytes().eq_ignore_ascii_case(host.as_bytes()) {
                return Err(Reason::BadRequest);
            }
            check_host(host.as_bytes())
        }
    }
}

/// RFC 9110 §7.2: uri-host and an optional port, without user information.
fn check_host(host: &[u8]) -> Result<(), Reason> {
    // A name or an IPv4 address, and a port: what nearly every client sends.
    let end = host.iter().position(|b| !IN_NAMES[usize::from(*b)]).unwrap_or(host.len());
    if end > 0 && is_port(&host[end..]) {
        return Ok(());
    }
    // IPv6 addresses.
    let authority = Authority::try_from(host).map_err(|_| Reason::BadRequest)?;
    let address = authority.host().strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match address.map(str::parse::<std::net::Ipv6Addr>) {
        Some(Ok(_)) if !authority.as_str().contains('@') => Ok(()),
        _ => Err(Reason::BadRequest),
    }
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

/// Nothing, or a colon and maybe a number that a port can have.
fn is_port(text: &[u8]) -> bool {
    let digits = match text {
        [] => return true,
        [b':', digits @ ..] => digits,
        _ => return false,
    };
    let port = digits.iter().try_fold(0_u16, |port, digit| {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 { None } else { port.checked_mul(10)?.checked_add(digit.into()) }
    });
    port.is_some()
}

/// RFC 9110 §10.1.1: 100-continue is the only expectation there is.
fn check_expect(expect: &Once<'_>) -> Result<(), Reason> {
    match expect.value {
        None => Ok(()),
        Some(value) if !expect.repeated && value.as_bytes().eq_ignore_ascii_case(b"100-continue") => Ok(()),
        Some(_) => Err(Reason::ExpectationFailed),
    }
}

/// RFC 9112 §6.3, and stricter: one framing, written once.
fn framing(head: &request::Parts, known: &Known<'_>) -> Result<Framing, Reason> {
    match (known.length.value, known.coding.value) {
        (None, None) if head.version >= Version::HTTP_2 => Ok(Framing::Open),
        (None, None) => Ok(Framing::None),
        (None, Some(coding)) => {
            let chunked = !known.coding.repeated && coding.as_bytes().eq_ignore_ascii_case(b"chunked");
            if chunked && head.version == Version::HTTP_11 { Ok(Framing::Open) } else { Err(Reason::BadRequest) }
        }
        (Some(length), None) if !known.length.repeated => {
            let digits = length.to_str().map_err(|_| Reason::BadRequest)?;
            if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return Err(Reason::BadRequest);
            }
            digits.parse().map(Framing::Length).map_err(|_| Reason::BadRequest)
        }
        (Some(_), _) => Err(Reason::BadRequest),
    }
}

/// What a field has beside name and value: colon, space, CR and LF.
const FIELD_EXTRA: usize = 4;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn limits() -> Limits {
        Limits {
            connections: 1,
            connections_per_client: 1,
            handshakes: 1,
            header_count: 100,
            header_size: 1024,
            uri_length: 64,
            body: 1,
            streams: 1,
            exchanges_per_connection: 1,
            memory: None,
        }
    }

    fn verdict(target: &str, headers: &[(&str, &str)]) -> Result<Framing, Reason> {
        let mut request = http::Request::get(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        check_request(&request.body(()).unwrap().into_parts().0, &limits())
    }

    #[test]
    fn hosts_are_names_or_addresses_with_a_port_and_nothing_else() {
        for good in ["a", "a.example:8080", "a:", "a:65535", "[::1]:80", "127.0.0.1", "a_b.example"] {
            assert_eq!(verdict("/", &[("host", good)]), Ok(Framing::None), "{good}");
        }
        for bad in
            ["", "u@a", "a/b", "a, b", "a:b", "a:123456", "a:99999", "a:65536", "a:8_0", ":80", "[::1", "a b", "a#b"]
        {
            assert_eq!(verdict("/", &[("host", bad)]), Err(Reason::BadRequest), "{bad:?}");
        }
        assert_eq!(verdict("/", &[]), Err(Reason::BadRequest));
        assert_eq!(verdict("/", &[("host", "a"), ("host", "a")]), Err(Reason::BadRequest));
        assert_eq!(verdict("http://b/", &[("host", "a")]), Err(Reason::BadRequest));
        assert_eq!(verdict("http://A/", &[("host", "a")]), Ok(Framing::None));
    }

    #[test]
    fn one_path_for_everybody() {
        for good in ["/", "/a/b.c", "/a%20b", "/.well-known/x", "/a..b/...", "/a;v=1", "/a%2eb"] {
            assert_eq!(verdict(good, &[("host", "a")]), Ok(Framing::None), "{good}");
        }
        for bad in
            ["/a/../b", "/a/%2e%2e/b", "/a%2fb", "/a%5cb", "/a%00", "/%0d%0aX:1", "/a/..;/b", "/a/.", "/%zz", "/%2"]
        {
            assert_eq!(verdict(bad, &[("host", "a")]), Err(Reason::BadRequest), "{bad}");
        }
        assert_eq!(verdict(&format!("/{}", "a".repeat(64)), &[("host", "a")]), Err(Reason::UriTooLong));
    }

    #[test]
    fn framing_is_written_once_and_one_way() {
        let host = ("host", "a");
        assert_eq!(verdict("/", &[host, ("content-length", "5")]), Ok(Framing::Length(5)));
        assert_eq!(verdict("/", &[host, ("transfer-encoding", "Chunked")]), Ok(Framing::Open));
        for bad in [",chunked", "chunked, chunked", "xchunked", "gzip, chunked", "identity"] {
            assert_eq!(verdict("/", &[host, ("transfer-encoding", bad)]), Err(Reason::BadRequest), "{bad}");
        }
        for other in ["content_length", "transfer_encoding", "transfer--encoding"] {
            assert_eq!(verdict("/", &[host, (other, "5")]), Err(Reason::BadRequest), "{other}");
        }
        let both = [host, ("content-length", "5"), ("transfer-encoding", "chunked")];
        assert_eq!(verdict("/", &both), Err(Reason::BadRequest));
        assert_eq!(verdict("/", &[host, ("content-length", "5"), ("content-length", "5")]), Err(Reason::BadRequest));
        let twice = [host, ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")];
        assert_eq!(verdict("/", &twice), Err(Reason::BadRequest));
    }

    #[test]
    fn there_is_one_expectation() {
        let (host, expect) = (("host", "a"), ("expect", "100-Continue"));
        assert_eq!(verdict("/", &[host, expect]), Ok(Framing::None));
        assert_eq!(verdict("/", &[host, ("expect", "x")]), Err(Reason::ExpectationFailed));
        assert_eq!(verdict("/", &[host, expect, expect]), Err(Reason::ExpectationFailed));
    }
}
