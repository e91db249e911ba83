//! Looks at the bytes of HTTP/1 requests for what the parser lets pass or hides: line feeds without carriage return
//! (RFC 9112 §2.2), a Content-Length beside a Transfer-Encoding (RFC 9112 §6.3), of which it drops one, and loose grammar
//! around chunks (RFC 9112 §7.1).

use std::fmt;

use crate::reason::Reason;

/// What is wrong with a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// A line ends in LF alone.
    BareLineFeed,
    /// An empty line before the request line.
    LeadingLine,
    /// A target with a fragment.
    Fragment,
    /// Both Content-Length and Transfer-Encoding.
    TwoFramings,
    /// Content-Length or Transfer-Encoding more than once.
    RepeatedFraming,
    /// A Content-Length that is no number.
    BadLength,
    /// A chunk whose size, extension or end breaks the grammar (RFC 9112 §7.1).
    BadChunk,
}

/// Where in a connection's bytes we are, and what the head that we are in has said so far.
#[derive(Debug, Default)]
pub struct Scan {
    state: State,
    /// The beginning of a line that was cut in two reads.
    line: Vec<u8>,
    line_length: usize,
    last: u8,
    has_request_line: bool,
    length: Option<u64>,
    chunked: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Lines of a head.
    #[default]
    Head,
    /// So many bytes of a body are still to come.
    Body(u64),
    /// A chunk's size.
    ChunkSize,
    /// So many bytes of a chunk are still to come.
    Chunk(u64),
    /// The line end behind a chunk.
    ChunkEnd,
    /// Lines behind the last chunk.
    Trailers,
}

impl Scan {
    /// The next bytes of the connection.
    ///
    /// # Errors
    /// When a message among them must not be served.
    pub fn bytes(&mut self, mut bytes: &[u8]) -> Result<(), Flaw> {
        while !bytes.is_empty() {
            bytes = match self.state {
                State::Body(left) => self.skip(bytes, left, State::Head, State::Body),
                State::Chunk(left) => self.skip(bytes, left, State::ChunkEnd, State::Chunk),
                State::Head | State::ChunkSize | State::ChunkEnd | State::Trailers => self.lines(bytes)?,
            };
        }
        Ok(())
    }

    /// Whether a head has begun of which not even the first line is complete.
    pub(super) fn in_request_line(&self) -> bool {
        self.state == State::Head && !self.has_request_line && self.line_length > 0
    }

    fn skip<'a>(&mut self, bytes: &'a [u8], left: u64, then: State, rest: fn(u64) -> State) -> &'a [u8] {
        let n = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let left = left - n as u64;
        self.state = if left == 0 { then } else { rest(left) };
        &bytes[n..]
    }

    /// Takes one line off the bytes, or all of them if none ends there.
    fn lines<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Flaw> {
        let Some(end) = memchr::memchr(b'\n', bytes) else {
            self.part_of_line(bytes);
            return Ok(&[]);
        };
        let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
        if self.line_length == 0 {
            self.line(line, line.len())?;
        } else {
            self.part_of_line(line);
            let (mut kept, length) = (std::mem::take(&mut self.line), self.line_length);
            if length > kept.len() {
                // What lies between does not matter, but how the line ends does.
                kept.push(self.last);
            }
            self.line(&kept, length)?;
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

    /// A whole line but for its LF. `length` is what it was before its middle was left out.
    fn line(&mut self, line: &[u8], length: usize) -> Result<(), Flaw> {
        let Some(line) = line.strip_suffix(b"\r") else { return Err(Flaw::BareLineFeed) };
        match self.state {
            State::Head if line.is_empty() => self.end_of_head(),
            State::Head if self.has_request_line => self.field(line),
            State::Head => {
                self.has_request_line = true;
                // The parser drops a fragment (RFC 9112 §3.2), and would have the backend see another target than we.
                if memchr::memchr(b'#', line).is_some() { Err(Flaw::Fragment) } else { Ok(()) }
            }
            State::ChunkSize => {
                let size = chunk_size(line).filter(|_| length <= KEPT).ok_or(Flaw::BadChunk)?;
                self.state = if size == 0 { State::Trailers } else { State::Chunk(size) };
                Ok(())
            }
            State::ChunkEnd if line.is_empty() => {
                self.state = State::ChunkSize;
                Ok(())
            }
            State::Trailers => {
                if line.is_empty() {
                    self.state = State::Head;
                }
                Ok(())
            }
            State::ChunkEnd | State::Body(_) | State::Chunk(_) => Err(Flaw::BadChunk),
        }
    }

    fn end_of_head(&mut self) -> Result<(), Flaw> {
        if !self.has_request_line {
            return Err(Flaw::LeadingLine);
        }
        let state = match (self.length, self.chunked) {
            (Some(_), true) => return Err(Flaw::TwoFramings),
            (None | Some(0), false) => State::Head,
            (Some(length), false) => State::Body(length),
            (None, true) => State::ChunkSize,
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
            Self::BareLineFeed
            | Self::LeadingLine
            | Self::Fragment
            | Self::TwoFramings
            | Self::RepeatedFraming
            | Self::BadLength
            | Self::BadChunk => Reason::BadRequest,
        }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BareLineFeed => "a line ends in LF without CR",
            Self::LeadingLine => "an empty line stands before the request line",
            Self::Fragment => "the target has a fragment",
            Self::TwoFramings => "both content-length and transfer-encoding",
            Self::RepeatedFraming => "content-length or transfer-encoding more than once",
            Self::BadLength => "content-length is not a number",
            Self::BadChunk => "a chunk's size, extension or end is malformed",
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

/// RFC 9112 §7.1.1: the size in hex, and extensions of the form `;name` or `;name=value`, which are dropped.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let mut parts = line.split(|b| *b == b';');
    let digits = parts.next()?;
    if digits.is_empty() || digits.len() > 16 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    for extension in parts {
        let name = extension.split(|b| *b == b'=').next()?;
        let token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
        if name.is_empty() || !name.iter().all(token) || extension.iter().any(u8::is_ascii_control) {
            return None;
        }
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
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
        let whole = Scan::default().bytes(text.as_bytes());
        for cut in 0..text.len() {
            let mut scan = Scan::default();
            let parts = scan.bytes(&text.as_bytes()[..cut]).and_then(|()| scan.bytes(&text.as_bytes()[cut..]));
            assert_eq!(parts, whole, "cut at {cut} of {text:?}");
        }
        whole
    }

    #[test]
    fn good_heads_pass() {
        assert_eq!(scan("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: b\r\n\r\n"), Ok(()));
        assert_eq!(scan("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n\n\n\nGET / HTTP/1.1\r\n\r\n"), Ok(()));
        let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        for body in ["1\r\n\n\r\n0\r\n\r\n", "A;a=1;b\r\n0123456789\r\n0\r\nT: 1\r\n\r\n"] {
            assert_eq!(scan(&format!("{chunked}{body}GET / HTTP/1.1\r\nHost: a\r\n\r\n")), Ok(()), "{body:?}");
        }
    }

    #[test]
    fn what_the_parser_hides_is_seen() {
        assert_eq!(scan("GET / HTTP/1.1\nHost: a\r\n\r\n"), Err(Flaw::BareLineFeed));
        assert_eq!(scan("GET / HTTP/1.1\r\nHost: a\n\r\n"), Err(Flaw::BareLineFeed));
        assert_eq!(scan("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), Err(Flaw::LeadingLine));
        assert_eq!(scan("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"), Err(Flaw::Fragment));
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
    fn loose_chunks_are_refused() {
        let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        for bad in
            ["1;\r\n", "1 \r\n", "0x1\r\n", "+1\r\n", "\r\n", "1;a b\r\n", "00000000000000001\r\n", "1\r\nXZZ0\r\n"]
        {
            assert_eq!(scan(&format!("{chunked}{bad}")), Err(Flaw::BadChunk), "{bad:?}");
        }
        assert_eq!(scan(&format!("{chunked}1;a\nX\r\n0\r\n\r\n")), Err(Flaw::BareLineFeed));
        assert_eq!(scan(&format!("{chunked}0\r\n\r\nGET / HTTP/1.1\nHost: a\r\n\r\n")), Err(Flaw::BareLineFeed));
    }

    #[test]
    fn the_next_pipelined_head_is_seen_behind_a_body() {
        let second = "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nabGET / HTTP/1.1\nHost: a\r\n\r\n";
        assert_eq!(scan(second), Err(Flaw::BareLineFeed));
    }
}
