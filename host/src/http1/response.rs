//! Heads of responses, as backends send them.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Version};

use super::decode::Decoder;
use super::head::{BadHead, connection_says};

/// The head of a response, and what it says of the bytes that follow.
#[derive(Debug)]
pub struct ResponseHead {
    /// The status; 100 to 999.
    pub status: StatusCode,
    /// 1.0 or 1.1.
    pub version: Version,
    /// The fields, as they came.
    pub headers: HeaderMap,
    /// How the body is framed (RFC 9112 §6.3).
    pub body: Decoder,
    /// Whether the connection can be used again once the body has been read (RFC 9112 §9.3).
    pub keep_alive: bool,
}

/// Reads a whole head that answers a request with `method`. Values of fields are slices of it.
///
/// # Errors
/// When it breaks the grammar, has more than `fields` fields, or does not say what frames its body.
pub fn parse_response(head: &Bytes, method: &Method, fields: usize) -> Result<ResponseHead, BadHead> {
    if fields <= ON_STACK {
        parse(head, method, &mut [const { MaybeUninit::uninit() }; ON_STACK][..fields])
    } else {
        parse(head, method, &mut vec![MaybeUninit::uninit(); fields])
    }
}

fn parse<'h>(
    head: &'h Bytes,
    method: &Method,
    fields: &mut [MaybeUninit<httparse::Header<'h>>],
) -> Result<ResponseHead, BadHead> {
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut response, head, fields);
    match parsed {
        Ok(httparse::Status::Complete(length)) if length == head.len() => {}
        Err(httparse::Error::TooManyHeaders) => return Err(BadHead::TooManyFields),
        Ok(_) | Err(_) => return Err(BadHead::Syntax),
    }
    let status = response.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(BadHead::Syntax)?;
    let version = if response.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    let mut headers = HeaderMap::with_capacity(response.headers.len() + ROOM);
    let mut framing = Framing::default();
    for field in response.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| BadHead::Syntax)?;
        let value = HeaderValue::from_maybe_shared(head.slice_ref(field.value)).map_err(|_| BadHead::Syntax)?;
        framing.field(&name, &value)?;
        headers.append(name, value);
    }
    let keep_alive = match version {
        Version::HTTP_10 => framing.connection && connection_says(&headers, "keep-alive"),
        _ => !(framing.connection && connection_says(&headers, "close")),
    };
    let body = framing.decoder(method, status);
    let open = body.left().is_none() && !framing.chunked;
    Ok(ResponseHead { status, version, headers, body, keep_alive: keep_alive && !open })
}

/// What the fields say of the body.
#[derive(Debug, Default)]
struct Framing {
    length: Option<u64>,
    coded: bool,
    chunked: bool,
    connection: bool,
}

impl Framing {
    fn field(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<(), BadHead> {
        if *name == header::CONTENT_LENGTH {
            if self.length.is_some() {
                return Err(BadHead::Length);
            }
            self.length = Some(length_of(value.as_bytes()).ok_or(BadHead::Length)?);
        } else if *name == header::TRANSFER_ENCODING {
            self.coded = true;
            self.chunked = value.as_bytes().eq_ignore_ascii_case(b"chunked");
        } else if *name == header::CONNECTION {
            self.connection = true;
        }
        Ok(())
    }

    fn decoder(&self, method: &Method, status: StatusCode) -> Decoder {
        let bodiless = *method == Method::HEAD
            || status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        match (bodiless, self.coded, self.length) {
            (true, _, _) => Decoder::length(0),
            (false, true, _) if self.chunked => Decoder::chunked(),
            (false, false, Some(length)) => Decoder::length(length),
            (false, _, _) => Decoder::until_end(),
        }
    }
}

/// RFC 9110 §8.6: 1*DIGIT, as far as anybody can count.
pub(super) fn length_of(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 18 {
        return None;
    }
    value.iter().try_fold(0, |number, b| b.is_ascii_digit().then(|| number * 10 + u64::from(b - b'0')))
}

/// Fields that are parsed without an allocation.
const ON_STACK: usize = 100;
/// Fields that are added to a response.
const ROOM: usize = 4;

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
        ] {
            assert_eq!(parse(bad).map(|_| ()), Err(BadHead::Syntax), "{bad:?}");
        }
        let text = Bytes::from(format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(200)));
        assert_eq!(parse_response(&text, &Method::GET, 100).map(|_| ()), Err(BadHead::TooManyFields));
        assert_eq!(parse_response(&text, &Method::GET, 200).map(|head| head.headers.len()), Ok(200));
    }
}
