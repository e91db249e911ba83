//! What the heads of requests and responses have in common.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
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

/// RFC 9112 §5: a token, a colon without a blank before it, and the value without the blanks around it. A folded line
/// begins with a blank, which no token does.
pub(super) fn parse_field(head: &Bytes, line: Range<usize>) -> Result<(HeaderName, HeaderValue), BadHead> {
    let bytes = &head[line.clone()];
    let colon = memchr::memchr(b':', bytes).ok_or(BadHead::Syntax)?;
    let name = HeaderName::from_bytes(&bytes[..colon]).map_err(|_| BadHead::Syntax)?;
    let (mut from, mut to) = (colon + 1, bytes.len());
    while from < to && is_blank(bytes[from]) {
        from += 1;
    }
    while from < to && is_blank(bytes[to - 1]) {
        to -= 1;
    }
    let value = head.slice(line.start + from..line.start + to);
    Ok((name, HeaderValue::from_maybe_shared(value).map_err(|_| BadHead::Syntax)?))
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// The lines of a head, all of which end in CR LF.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    head: &'a [u8],
    at: usize,
}

impl<'a> Lines<'a> {
    pub(super) fn of(head: &'a [u8]) -> Self {
        Self { head, at: 0 }
    }
}

impl Iterator for Lines<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        let length = memchr::memchr(b'\n', &self.head[self.at..])?;
        let line = self.at..(self.at + length).saturating_sub(1).max(self.at);
        self.at += length + 1;
        Some(line)
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
    write_all(out, [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
}

/// Writes these parts one after the other, growing `out` only once.
pub fn write_all<const N: usize>(out: &mut BytesMut, parts: [&[u8]; N]) {
    let mut at = out.len();
    out.resize(at + parts.iter().map(|part| part.len()).sum::<usize>(), 0);
    for part in parts {
        out[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
}

/// Fields that there is room for at first, with those that are added on the way. A larger section grows.
pub(super) const EXPECTED: usize = 24;

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
