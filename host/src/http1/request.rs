//! Heads of requests, as clients send them. They are held to the letter of RFC 9112: what another server could read in
//! another way is refused, and the connection with it.

use std::ops::Range;

use bytes::Bytes;
use http::header::HeaderMap;
use http::{Method, Uri, Version, request};

use super::decode::Decoder;
use super::facts::{RequestFacts, Said};
use super::head::{BadHead, EXPECTED, Lines, connection_says, parse_field};
use super::host::KnownHost;

/// The head of a request, and what it says of the bytes that follow.
#[derive(Debug)]
pub struct RequestHead {
    /// Method, target, version (1.0 or 1.1) and fields, as they came.
    pub parts: request::Parts,
    /// What the fields say.
    pub facts: RequestFacts,
    /// How the body is framed (RFC 9112 §6.3).
    pub body: Decoder,
    /// Whether the client wants to use the connection again (RFC 9112 §9.3).
    pub keep_alive: bool,
    /// Whether the client waits to be told to go on before it sends the body (RFC 9110 §10.1.1).
    pub expects_continue: bool,
}

/// Whether a request could begin with these bytes, which need not be a whole head. Tells at once that another protocol is
/// spoken.
#[must_use]
pub fn may_be_request(bytes: &[u8]) -> bool {
    // What begins with a line end is a malformed request, which shows when the line is complete.
    bytes.first().is_none_or(|first| first.is_ascii_alphabetic() || b"\r\n!#$%&'*+-.^_`|~0123456789".contains(first))
}

/// Reads a whole head, as [`super::HeadEnd`] finds it. Values of fields and the target are slices of it. `known` is the host
/// that the connection asked for last.
///
/// # Errors
/// When it breaks the grammar, has more than `fields` fields, or frames its body in more than one way.
pub fn parse_request(head: &Bytes, fields: usize, known: &mut KnownHost) -> Result<RequestHead, BadHead> {
    let mut lines = Lines::of(head);
    let line = lines.next().filter(|line| !line.is_empty()).ok_or(BadHead::LeadingLine)?;
    // With the line's own end, and without the empty line at the end.
    let size = head.len().saturating_sub(line.end + 4);
    let (method, uri, version) = parse_request_line(head, line)?;
    let mut headers = HeaderMap::try_with_capacity(EXPECTED).map_err(|_| BadHead::TooManyFields)?;
    let mut facts = RequestFacts { size, ..RequestFacts::default() };
    for (place, line) in lines.take_while(|line| !line.is_empty()).enumerate() {
        if place == fields {
            return Err(BadHead::TooManyFields);
        }
        let (name, value) = parse_field(head, line)?;
        facts.field(&name, &value, known)?;
        headers.try_append(name, value).map_err(|_| BadHead::TooManyFields)?;
    }
    let body = decoder(&facts, version)?;
    let keep_alive = match version {
        Version::HTTP_10 => facts.connection && connection_says(&headers, "keep-alive"),
        _ => !(facts.connection && connection_says(&headers, "close")),
    };
    let mut parts = http::Request::new(()).into_parts().0;
    parts.method = method;
    parts.uri = uri;
    parts.version = version;
    parts.headers = headers;
    Ok(RequestHead {
        parts,
        expects_continue: facts.expectation == Said::Sound && version == Version::HTTP_11 && !body.is_over(),
        facts,
        body,
        keep_alive,
    })
}

/// RFC 9112 §3: `method SP request-target SP HTTP-version`, with one space each.
fn parse_request_line(head: &Bytes, line: Range<usize>) -> Result<(Method, Uri, Version), BadHead> {
    let bytes = &head[line.clone()];
    let space = memchr::memchr(b' ', bytes).ok_or(BadHead::Syntax)?;
    let method = Method::from_bytes(&bytes[..space]).map_err(|_| BadHead::Syntax)?;
    let rest = &bytes[space + 1..];
    let (target, version) = rest.split_at_checked(rest.len().wrapping_sub(VERSION)).ok_or(BadHead::Syntax)?;
    let version = match version {
        b" HTTP/1.1" => Version::HTTP_11,
        b" HTTP/1.0" => Version::HTTP_10,
        _ => return Err(BadHead::Syntax),
    };
    // Without an early return, so that the compiler may look at many bytes at once.
    let (blank, fragment) = target
        .iter()
        .fold((false, false), |(blank, fragment), b| (blank | (*b <= b' ') | (*b == 0x7f), fragment | (*b == b'#')));
    if blank {
        return Err(BadHead::Syntax);
    }
    if fragment {
        // It is no part of a target (RFC 9112 §3.2); `Uri` would drop it, and the backend see another than we.
        return Err(BadHead::Fragment);
    }
    let start = line.start + space + 1;
    let uri = Uri::from_maybe_shared(head.slice(start..start + target.len())).map_err(|_| BadHead::Syntax)?;
    Ok((method, uri, version))
}

/// How the body is framed, as the fields say.
fn decoder(facts: &RequestFacts, version: Version) -> Result<Decoder, BadHead> {
    match (facts.length, facts.chunked) {
        (None, false) => Ok(Decoder::length(0)),
        (Some(length), false) => Ok(Decoder::length(length)),
        (None, true) if version == Version::HTTP_11 => Ok(Decoder::chunked()),
        // RFC 9112 §6.1: the one hides a request from whoever reads the other; HTTP/1.0 knows no codings.
        (_, true) => Err(BadHead::Framing),
    }
}

/// ` HTTP/1.1`
const VERSION: usize = 9;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::super::HeadEnd;
    use super::*;

    fn parse(text: &str) -> Result<RequestHead, BadHead> {
        let mut end = HeadEnd::default();
        let length = end.find(text.as_bytes())?.expect("a whole head");
        assert!(may_be_request(text.as_bytes()));
        parse_request(&Bytes::copy_from_slice(&text.as_bytes()[..length]), 100, &mut KnownHost::default())
    }

    fn bad(text: &str) -> BadHead {
        parse(text).expect_err(text)
    }

    #[test]
    fn a_head_is_its_parts() {
        let head =
            parse("POST /a?b HTTP/1.1\r\nHost:  a \r\nX-B:\t1\r\nx-b: 2\r\nX-C:\r\nContent-Length: 3\r\n\r\n").unwrap();
        let parts = &head.parts;
        assert_eq!((parts.method.as_str(), parts.uri.to_string().as_str()), ("POST", "/a?b"));
        assert_eq!((parts.version, head.body.left(), head.keep_alive), (Version::HTTP_11, Some(3), true));
        assert_eq!((&parts.headers["host"], &parts.headers["x-c"]), (&"a".parse().unwrap(), &"".parse().unwrap()));
        assert_eq!(parts.headers.get_all("x-b").iter().collect::<Vec<_>>(), ["1", "2"]);
        assert!(!head.expects_continue && !head.facts.takes_trailers);
        assert_eq!(head.facts.size, "Host:  a \r\nX-B:\t1\r\nx-b: 2\r\nX-C:\r\nContent-Length: 3\r\n".len());
        let head = parse("PURGE http://a/b HTTP/1.1\r\nTE: gzip, trailers\r\nExpect: 100-Continue\r\ntransfer-ENCODING: Chunked\r\n\r\n").unwrap();
        assert!(head.expects_continue && head.facts.takes_trailers && head.body.left().is_none());
        assert_eq!(head.parts.uri.authority().unwrap(), "a");
    }

    #[test]
    fn a_connection_is_kept_as_its_version_says() {
        for (text, kept) in [
            ("GET / HTTP/1.1\r\n\r\n", true),
            ("GET / HTTP/1.1\r\nConnection: x, Close\r\n\r\n", false),
            ("GET / HTTP/1.0\r\n\r\n", false),
            ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true),
        ] {
            assert_eq!(parse(text).unwrap().keep_alive, kept, "{text:?}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        assert_eq!(bad("GET / HTTP/1.1\nHost: a\r\n\r\n"), BadHead::BareLineFeed);
        assert_eq!(bad("GET / HTTP/1.1\r\nHost: a\n\r\n"), BadHead::BareLineFeed);
        assert_eq!(bad("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), BadHead::LeadingLine);
        assert_eq!(bad("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"), BadHead::Fragment);
        for framing in [
            "Content-Length: 6\r\ntransfer-ENCODING: chunked",
            "Transfer-Encoding: chunked\r\nContent-Length: 6",
            "Content-Length: 6\r\nContent-Length: 6",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: ,chunked",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: xchunked",
            "Transfer-Encoding:",
        ] {
            assert_eq!(bad(&format!("POST / HTTP/1.1\r\n{framing}\r\n\r\n")), BadHead::Framing, "{framing:?}");
        }
        assert_eq!(bad("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), BadHead::Framing);
        for length in ["", "+5", "5, 5", "5 5", "0x5", "99999999999999999999"] {
            assert_eq!(
                bad(&format!("POST / HTTP/1.1\r\nContent-Length: {length}\r\n\r\n")),
                BadHead::Length,
                "{length:?}"
            );
        }
    }

    #[test]
    fn the_grammar_is_kept() {
        for line in [
            "GET /",
            "GET / HTTP/1.2",
            "GET / HTTP/2.0",
            "GET  / HTTP/1.1",
            "GET /  HTTP/1.1",
            "GET\t/ HTTP/1.1",
            "G(T / HTTP/1.1",
            " / HTTP/1.1",
            "GET /a b HTTP/1.1",
            "GET / HTTP/1.1 ",
            "GET HTTP/1.1",
            "GET /\u{7f} HTTP/1.1",
            "GET / http/1.1",
            "GET /\r HTTP/1.1",
        ] {
            assert!(matches!(parse_line(line), Err(BadHead::Syntax)), "{line:?}");
        }
        for field in
            [" X: folded", "X : a", ": a", "X", "X: a\rb", "X: a\0b", "H\u{e9}: 1", "X: a\r\n b", "X: \u{7f}", "X(: a"]
        {
            assert_eq!(bad(&format!("GET / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n")), BadHead::Syntax, "{field:?}");
        }
        let fields = "A: b\r\n".repeat(101);
        assert_eq!(bad(&format!("GET / HTTP/1.1\r\n{fields}\r\n")), BadHead::TooManyFields);
    }

    fn parse_line(line: &str) -> Result<RequestHead, BadHead> {
        parse_request(&Bytes::from(format!("{line}\r\nHost: a\r\n\r\n")), 100, &mut KnownHost::default())
    }

    #[test]
    fn another_protocol_is_known_by_its_first_byte() {
        for (bytes, may) in
            [(&b"\x16\x03\x01"[..], false), (b"\0", false), (b"\x80", false), (b"GET", true), (b"", true)]
        {
            assert_eq!(may_be_request(bytes), may, "{bytes:?}");
        }
    }
}
