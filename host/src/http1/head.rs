//! What the heads of requests and responses have in common.

use bytes::{BufMut, BytesMut};
use http::HeaderMap;
use http::header::{self, HeaderName, HeaderValue};

/// A head that breaks the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadHead {
    /// RFC 9112 §2.2.
    #[error("a line ends in LF without CR")]
    BareLineFeed,
    /// RFC 9112 §3, §4, §5.
    #[error("the head is malformed")]
    Syntax,
    /// RFC 9112 §2.2.
    #[error("an empty line stands before the request line")]
    LeadingLine,
    /// RFC 9112 §3.2.
    #[error("the target has a fragment")]
    Fragment,
    /// RFC 9112 §6.3.
    #[error("the body is framed in more than one way, or in an unknown one")]
    Framing,
    /// More than the limits allow.
    #[error("the head has too many fields")]
    TooManyFields,
    /// RFC 9112 §6.3: no number, or more than one.
    #[error("the content-length is not one number")]
    Length,
}

/// Looks for the end of a head in bytes that come bit by bit. No byte is looked at twice.
#[derive(Debug, Default)]
pub struct HeadEnd {
    /// Where to look on.
    at: usize,
    /// Where the line that is looked at begins.
    line: usize,
}

impl HeadEnd {
    /// The length of the head that `bytes` begin with, if all of it is there. `bytes` are those of the last call, and more.
    ///
    /// # Errors
    /// [`BadHead::BareLineFeed`]: lines end in CR LF (RFC 9112 §2.2), and a reader who takes less reads other heads.
    pub fn find(&mut self, bytes: &[u8]) -> Result<Option<usize>, BadHead> {
        while let Some(found) = memchr::memchr(b'\n', &bytes[self.at..]) {
            let end = self.at + found;
            if end == self.line || bytes[end - 1] != b'\r' {
                return Err(BadHead::BareLineFeed);
            }
            let empty = end == self.line + 1;
            self.at = end + 1;
            self.line = self.at;
            if empty {
                let length = self.at;
                *self = Self::default();
                return Ok(Some(length));
            }
        }
        self.at = bytes.len();
        Ok(None)
    }

    /// Whether the first line is not complete.
    #[must_use]
    pub fn in_first_line(&self) -> bool {
        self.line == 0
    }
}

/// Whether a `Connection` field names that option (RFC 9110 §7.6.1).
#[must_use]
pub fn connection_says(headers: &HeaderMap, option: &str) -> bool {
    let options = headers.get_all(header::CONNECTION).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    options.into_iter().any(|one| one.trim_ascii().eq_ignore_ascii_case(option.as_bytes()))
}

/// Writes one field.
pub fn write_field(out: &mut BytesMut, name: &HeaderName, value: &HeaderValue) {
    let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
    out.reserve(name.len() + value.len() + 4);
    out.put_slice(name);
    out.put_slice(b": ");
    out.put_slice(value);
    out.put_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_found_wherever_a_read_ends() {
        for (head, expected) in [
            ("GET / HTTP/1.1\r\nA: b\r\n\r\n\n\n", Ok(Some(24))),
            ("\r\nGET / HTTP/1.1\r\n\r\n", Ok(Some(2))),
            ("GET / HTTP/1.1\r\nA: b\r\n", Ok(None)),
            ("GET / HTTP/1.1\nA: b\r\n\r\n", Err(BadHead::BareLineFeed)),
            ("GET / HTTP/1.1\r\nA: b\n\r\n", Err(BadHead::BareLineFeed)),
            ("GET / HTTP/1.1\r\nA: b\r\n\n", Err(BadHead::BareLineFeed)),
        ] {
            for cut in 0..head.len() {
                let mut end = HeadEnd::default();
                let first = end.find(&head.as_bytes()[..cut]);
                let found = if first == Ok(None) { end.find(head.as_bytes()) } else { first };
                assert_eq!(found, expected, "{head:?} cut at {cut}");
            }
        }
    }
}
