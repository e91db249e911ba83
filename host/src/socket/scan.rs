//! Looks at the bytes of HTTP/1 heads for what the parser lets pass or hides: line feeds without carriage return
//! (RFC 9112 §2.2), and a Content-Length beside a Transfer-Encoding (RFC 9112 §6.3), of which it drops one.

use std::fmt;

use crate::reason::Reason;

/// What is wrong with a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// A line ends in LF alone.
    BareLineFeed,
    /// An empty line before the request line.
    LeadingLine,
    /// Both Content-Length and Transfer-Encoding.
    TwoFramings,
    /// Content-Length or Transfer-Encoding more than once.
    RepeatedFraming,
    /// A Content-Length that is no number.
    BadLength,
}

/// Where in a connection's bytes we are, as far as heads go.
#[derive(Debug, Default)]
pub struct HeadScan {
    state: State,
    /// The beginning of the current line, as long as it can still be a framing field.
    line: Vec<u8>,
    line_length: usize,
    last: u8,
    first_line: bool,
    length: Option<u64>,
    chunked: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Head,
    /// So many bytes of a body are still to come.
    Body(u64),
    /// A chunked body, whose end only the parser knows. Looking goes on when the next exchange begins.
    Unknown,
}

impl HeadScan {
    /// The next bytes of the connection.
    ///
    /// # Errors
    /// When a head among them must not be served.
    pub fn bytes(&mut self, mut bytes: &[u8]) -> Result<(), Flaw> {
        while !bytes.is_empty() {
            match self.state {
                State::Unknown => return Ok(()),
                State::Body(left) => {
                    let n = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    bytes = &bytes[n..];
                    let left = left - n as u64;
                    self.state = if left == 0 { State::Head } else { State::Body(left) };
                }
                State::Head => bytes = self.head(bytes)?,
            }
        }
        Ok(())
    }

    /// The exchange is over, so the next bytes begin a head.
    pub fn next_head(&mut self) {
        if self.state == State::Unknown {
            *self = Self::default();
        }
    }

    /// Whether a head has begun of which not even the first line is complete.
    pub(super) fn in_request_line(&self) -> bool {
        self.state == State::Head && !self.first_line && self.line_length > 0
    }

    fn head<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Flaw> {
        let Some(end) = memchr::memchr(b'\n', bytes) else {
            self.part_of_line(bytes);
            return Ok(&[]);
        };
        let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
        let whole = if self.line_length == 0 {
            line
        } else {
            self.part_of_line(line);
            &[]
        };
        let (length, last) = if self.line_length == 0 {
            (line.len(), line.last().copied())
        } else {
            (self.line_length, Some(self.last))
        };
        if last != Some(b'\r') {
            return Err(Flaw::BareLineFeed);
        }
        if length == 1 {
            self.end_of_head()?;
        } else {
            let kept = std::mem::take(&mut self.line);
            self.field(if whole.is_empty() { &kept } else { whole })?;
            self.first_line = true;
        }
        self.line_length = 0;
        Ok(rest)
    }

    fn part_of_line(&mut self, bytes: &[u8]) {
        if let Some(last) = bytes.last() {
            self.last = *last;
        }
        self.line_length += bytes.len();
        let room = KEPT.saturating_sub(self.line.len());
        self.line.extend_from_slice(&bytes[..room.min(bytes.len())]);
    }

    fn end_of_head(&mut self) -> Result<(), Flaw> {
        if !self.first_line {
            return Err(Flaw::LeadingLine);
        }
        let state = match (self.length, self.chunked) {
            (Some(_), true) => return Err(Flaw::TwoFramings),
            (None | Some(0), false) => State::Head,
            (Some(length), false) => State::Body(length),
            (None, true) => State::Unknown,
        };
        *self = Self { state, ..Self::default() };
        Ok(())
    }

    fn field(&mut self, line: &[u8]) -> Result<(), Flaw> {
        // Almost every field is passed over by its first letter.
        match line.first() {
            Some(b'c' | b'C') => {
                let Some(value) = value_of(line, b"content-length") else { return Ok(()) };
                if self.length.is_some() {
                    return Err(Flaw::RepeatedFraming);
                }
                self.length = Some(length(value)?);
            }
            Some(b't' | b'T') if value_of(line, b"transfer-encoding").is_some() => {
                if self.chunked {
                    return Err(Flaw::RepeatedFraming);
                }
                self.chunked = true;
            }
            _ => {}
        }
        Ok(())
    }
}

impl Flaw {
    /// What the client is told.
    #[must_use]
    pub const fn reason(self) -> Reason {
        match self {
            Self::BareLineFeed | Self::LeadingLine | Self::TwoFramings | Self::RepeatedFraming | Self::BadLength => {
                Reason::BadRequest
            }
        }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BareLineFeed => "a line ends in LF without CR",
            Self::LeadingLine => "an empty line stands before the request line",
            Self::TwoFramings => "both content-length and transfer-encoding",
            Self::RepeatedFraming => "content-length or transfer-encoding more than once",
            Self::BadLength => "content-length is not a number",
        })
    }
}

impl std::error::Error for Flaw {}

fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (before, after) = line.split_at_checked(name.len())?;
    if !before.eq_ignore_ascii_case(name) {
        return None;
    }
    after.strip_prefix(b":").map(<[u8]>::trim_ascii)
}

/// RFC 9110 §8.6: 1*DIGIT.
fn length(value: &[u8]) -> Result<u64, Flaw> {
    let digits = std::str::from_utf8(value).map_err(|_| Flaw::BadLength)?;
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Flaw::BadLength);
    }
    digits.parse::<u64>().ok().filter(|n| *n <= i64::MAX.unsigned_abs()).ok_or(Flaw::BadLength)
}

/// Bytes of a line that is cut in two reads that are kept: enough for any framing field that we would serve.
const KEPT: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `text` whole, and in two parts cut at every place: the verdict must be the same.
    fn scan(text: &str) -> Result<(), Flaw> {
        let whole = HeadScan::default().bytes(text.as_bytes());
        for cut in 0..text.len() {
            let mut scan = HeadScan::default();
            let parts = scan.bytes(&text.as_bytes()[..cut]).and_then(|()| scan.bytes(&text.as_bytes()[cut..]));
            assert_eq!(parts, whole, "cut at {cut} of {text:?}");
        }
        whole
    }

    #[test]
    fn good_heads_pass() {
        assert_eq!(scan("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: b\r\n\r\n"), Ok(()));
        assert_eq!(scan("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n\n\n\nGET / HTTP/1.1\r\n\r\n"), Ok(()));
        assert_eq!(scan("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;\nx"), Ok(()));
    }

    #[test]
    fn what_the_parser_hides_is_seen() {
        assert_eq!(scan("GET / HTTP/1.1\nHost: a\r\n\r\n"), Err(Flaw::BareLineFeed));
        assert_eq!(scan("GET / HTTP/1.1\r\nHost: a\n\r\n"), Err(Flaw::BareLineFeed));
        assert_eq!(scan("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), Err(Flaw::LeadingLine));
        let both = "POST / HTTP/1.1\r\nContent-Length: 6\r\ntransfer-ENCODING: chunked\r\n\r\n0\r\n\r\nG";
        assert_eq!(scan(both), Err(Flaw::TwoFramings));
        assert_eq!(
            scan("POST / HTTP/1.1\r\nContent-Length: 6\r\nContent-Length: 6\r\n\r\n"),
            Err(Flaw::RepeatedFraming)
        );
        for bad in ["", "+5", "5, 5", "0x5", "99999999999999999999"] {
            assert_eq!(
                scan(&format!("POST / HTTP/1.1\r\nContent-Length: {bad}\r\n\r\n")),
                Err(Flaw::BadLength),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn the_next_pipelined_head_is_seen_behind_a_body() {
        let second = "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nabGET / HTTP/1.1\nHost: a\r\n\r\n";
        assert_eq!(scan(second), Err(Flaw::BareLineFeed));
    }
}
