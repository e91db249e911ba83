//! Heads of responses, as backends send them.

use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::{Method, StatusCode, Version};

use super::decode::Decoder;
use super::facts::ResponseFacts;
use super::head::{BadHead, EXPECTED, Lines, parse_field};

/// The head of a response, and what it says of the bytes that follow.
#[derive(Debug)]
pub struct ResponseHead {
    /// The status; 100 to 999.
    pub status: StatusCode,
    /// 1.0 or 1.1.
    pub version: Version,
    /// The fields, as they came, but for a `Connection` that says no more than `keep_alive` does.
    pub headers: HeaderMap,
    /// What all of them say.
    pub facts: ResponseFacts,
    /// How the body is framed (RFC 9112 §6.3).
    pub body: Decoder,
    /// Whether the connection can be used again once the body has been read (RFC 9112 §9.3).
    pub keep_alive: bool,
}

/// Reads a whole head that answers a request with `method`, as [`super::HeadEnd`] finds it. Values of fields are slices of
/// it.
///
/// # Errors
/// When it breaks the grammar, has more than `fields` fields, or does not say what frames its body.
pub fn parse_response(head: &Bytes, method: &Method, fields: usize) -> Result<ResponseHead, BadHead> {
    let mut lines = Lines::of(head);
    let line = lines.next().ok_or(BadHead::Syntax)?;
    // With the line's own end, and without the empty line at the end.
    let size = head.len().saturating_sub(line.end + 4);
    let (version, status) = parse_status_line(&head[line])?;
    let mut headers = HeaderMap::try_with_capacity(EXPECTED).map_err(|_| BadHead::TooManyFields)?;
    let mut facts = ResponseFacts { size, ..ResponseFacts::default() };
    let mut options = Options::default();
    for (place, line) in lines.take_while(|line| !line.is_empty()).enumerate() {
        if place == fields {
            return Err(BadHead::TooManyFields);
        }
        let (name, value) = parse_field(head, line)?;
        facts.field(&name, &value)?;
        if name != header::CONNECTION || options.add(value.as_bytes()) {
            headers.try_append(name, value).map_err(|_| BadHead::TooManyFields)?;
        }
    }
    let keep_alive = !options.close && (options.keep_alive || version == Version::HTTP_11);
    let body = decoder(&facts, method, status);
    let open = body.left().is_none() && !facts.chunked;
    Ok(ResponseHead { status, version, headers, facts, body, keep_alive: keep_alive && !open })
}

/// RFC 9112 §4: `HTTP-version SP status-code`, and a reason that nobody reads.
fn parse_status_line(line: &[u8]) -> Result<(Version, StatusCode), BadHead> {
    let (version, rest) = line.split_at_checked(9).ok_or(BadHead::Syntax)?;
    let version = match version {
        b"HTTP/1.1 " => Version::HTTP_11,
        b"HTTP/1.0 " => Version::HTTP_10,
        _ => return Err(BadHead::Syntax),
    };
    let (status, reason) = rest.split_at_checked(3).ok_or(BadHead::Syntax)?;
    // Many leave the space out where there is no reason.
    let ends = match reason {
        [] => true,
        [b' ', reason @ ..] => !reason.iter().any(|b| b.is_ascii_control() && *b != b'\t'),
        _ => false,
    };
    let status = StatusCode::from_bytes(status).ok().filter(|_| ends).ok_or(BadHead::Syntax)?;
    Ok((version, status))
}

/// How the body is framed, as the fields say.
fn decoder(facts: &ResponseFacts, method: &Method, status: StatusCode) -> Decoder {
    let bodiless = *method == Method::HEAD
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    match (bodiless, facts.codings, facts.length) {
        (true, _, _) => Decoder::length(0),
        (false, 1.., _) if facts.chunked => Decoder::chunked(),
        (false, 0, Some(length)) => Decoder::length(length),
        (false, _, _) => Decoder::until_end(),
    }
}

/// What `Connection` fields say of the connection.
#[derive(Debug, Default)]
struct Options {
    keep_alive: bool,
    close: bool,
}

impl Options {
    /// Says whether the field's value tells anybody else anything. Nearly always it is a single option, which is for us
    /// alone.
    fn add(&mut self, value: &[u8]) -> bool {
        let (keep_alive, close) = (has_option(value, "keep-alive"), has_option(value, "close"));
        self.keep_alive |= keep_alive;
        self.close |= close;
        value.contains(&b',') || !(keep_alive || close)
    }
}

/// Whether a `Connection` field's value names that option (RFC 9110 §7.6.1).
fn has_option(value: &[u8], option: &str) -> bool {
    value.split(|b| *b == b',').any(|one| one.trim_ascii().eq_ignore_ascii_case(option.as_bytes()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn parse(text: &str) -> Result<ResponseHead, BadHead> {
        parse_response(&Bytes::from(text.to_owned()), &Method::GET, 100)
    }

    /// Bytes of the body if they are known, and whether the connection lives on.
    fn framing(fields: &str) -> (Option<u64>, bool) {
        let head = parse(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n")).unwrap();
        (head.body.left(), head.keep_alive)
    }

    #[test]
    fn fields_say_where_the_body_ends() {
        assert_eq!(framing("Content-Length: 5\r\n"), (Some(5), true));
        assert_eq!(framing("content-length: 0\r\nConnection: Close\r\n"), (Some(0), false));
        assert_eq!(framing("Transfer-Encoding: chunked\r\n"), (None, true));
        assert_eq!(framing("Transfer-Encoding: gzip\r\n"), (None, false));
        assert_eq!(framing(""), (None, false));
        let old = parse("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n").unwrap();
        assert!(!old.keep_alive && old.version == Version::HTTP_10);
        let kept = parse("HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: x, Keep-Alive\r\n\r\n").unwrap();
        assert!(kept.keep_alive);
    }

    #[test]
    fn some_responses_have_no_body_whatever_they_say() {
        for status in ["204 No Content", "304 Not Modified", "103 Early Hints"] {
            let head = parse(&format!("HTTP/1.1 {status}\r\nContent-Length: 5\r\n\r\n")).unwrap();
            assert!(head.body.is_over() && head.keep_alive, "{status}");
        }
        let text = Bytes::from_static(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert!(parse_response(&text, &Method::HEAD, 100).unwrap().body.is_over());
    }

    #[test]
    fn bad_heads_are_refused() {
        for bad in ["", "+5", "5, 5", "0x5", "9999999999999999999"] {
            let text = format!("HTTP/1.1 200 OK\r\nContent-Length: {bad}\r\n\r\n");
            assert_eq!(parse(&text).map(|_| ()), Err(BadHead::Length), "{bad:?}");
        }
        let twice = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(parse(twice).map(|_| ()), Err(BadHead::Length));
        for bad in [
            "HTTP/1.1 99 No\r\n\r\n",
            "HTTP/2.0 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
            "ICY 200 OK\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 200 a\0\r\n\r\n",
        ] {
            assert_eq!(parse(bad).map(|_| ()), Err(BadHead::Syntax), "{bad:?}");
        }
        let text = Bytes::from(format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(200)));
        assert_eq!(parse_response(&text, &Method::GET, 100).map(|_| ()), Err(BadHead::TooManyFields));
        assert_eq!(parse_response(&text, &Method::GET, 200).map(|head| head.headers.len()), Ok(200));
    }
}
