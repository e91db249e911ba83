//! The body of an HTTP/1 message, off the bytes of its connection: by its length, in chunks, or until the connection ends
//! (RFC 9112 §6.3). The grammar of chunks is held to the letter: what two readers can read in two ways is how requests are
//! smuggled.

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

/// How much of a body is still to come.
#[derive(Debug)]
pub struct Decoder(State);

/// What the bytes at hand hold of a body.
#[derive(Debug)]
pub enum Piece {
    /// Some of its content; never empty.
    Data(Bytes),
    /// The fields behind the last chunk. The body is over.
    Trailers(HeaderMap),
    /// Nothing yet: more bytes are needed.
    Starved,
    /// The body is over. What is left of the bytes belongs to the next message.
    End,
}

/// A body that breaks the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadBody {
    /// RFC 9112 §7.1.
    #[error("a chunk's size, extension or end is malformed")]
    Chunk,
    /// RFC 9112 §2.2.
    #[error("a line ends in LF without CR")]
    BareLineFeed,
    /// RFC 9112 §7.1.2.
    #[error("a trailer field is malformed")]
    Trailer,
    /// More than [`TRAILERS`] or [`TRAILER_BYTES`].
    #[error("the trailer section is too large")]
    TrailersTooLarge,
    /// The connection ended first.
    #[error("the connection ended in the middle of the body")]
    Truncated,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// So many bytes.
    Length(u64),
    /// All that comes.
    UntilEnd,
    /// The line with a chunk's size.
    Size,
    /// So many bytes of a chunk.
    Chunk(u64),
    /// The line end behind a chunk.
    ChunkEnd,
    /// The lines behind the last chunk, of which so many bytes hold no end.
    Trailers(usize),
    Over,
}

impl Decoder {
    /// A body of so many bytes.
    #[must_use]
    pub const fn length(length: u64) -> Self {
        Self(if length == 0 { State::Over } else { State::Length(length) })
    }

    /// A body in chunks.
    #[must_use]
    pub const fn chunked() -> Self {
        Self(State::Size)
    }

    /// A body that lasts until the connection ends.
    #[must_use]
    pub const fn until_end() -> Self {
        Self(State::UntilEnd)
    }

    /// Whether nothing is to come.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.0 == State::Over
    }

    /// The bytes that are still to come, if that is known.
    #[must_use]
    pub fn left(&self) -> Option<u64> {
        match self.0 {
            State::Length(left) => Some(left),
            State::Over => Some(0),
            State::UntilEnd | State::Size | State::Chunk(_) | State::ChunkEnd | State::Trailers(_) => None,
        }
    }

    /// Takes the next piece off `bytes`.
    ///
    /// # Errors
    /// When they break the rules; the connection is then of no more use.
    pub fn decode(&mut self, bytes: &mut BytesMut) -> Result<Piece, BadBody> {
        loop {
            match self.0 {
                State::Over => return Ok(Piece::End),
                _ if bytes.is_empty() => return Ok(Piece::Starved),
                State::UntilEnd => return Ok(Piece::Data(bytes.split().freeze())),
                State::Length(left) => return Ok(Piece::Data(self.take(bytes, left, State::Length, State::Over))),
                State::Chunk(left) => return Ok(Piece::Data(self.take(bytes, left, State::Chunk, State::ChunkEnd))),
                State::Size => match chunk_size(bytes)? {
                    Some(0) => self.0 = State::Trailers(0),
                    Some(size) => self.0 = State::Chunk(size),
                    None => return Ok(Piece::Starved),
                },
                State::ChunkEnd => match bytes[..] {
                    [b'\r', b'\n', ..] => {
                        bytes.advance(2);
                        self.0 = State::Size;
                    }
                    [b'\r'] => return Ok(Piece::Starved),
                    [b'\n', ..] => return Err(BadBody::BareLineFeed),
                    _ => return Err(BadBody::Chunk),
                },
                State::Trailers(seen) => return self.trailers(bytes, seen),
            }
        }
    }

    /// The connection has ended: was the body complete?
    ///
    /// # Errors
    /// [`BadBody::Truncated`].
    pub fn finish(&mut self) -> Result<(), BadBody> {
        match self.0 {
            State::UntilEnd | State::Over => {
                self.0 = State::Over;
                Ok(())
            }
            State::Length(_) | State::Size | State::Chunk(_) | State::ChunkEnd | State::Trailers(_) => {
                Err(BadBody::Truncated)
            }
        }
    }

    fn take(&mut self, bytes: &mut BytesMut, left: u64, rest: fn(u64) -> State, then: State) -> Bytes {
        let n = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let left = left - n as u64;
        self.0 = if left == 0 { then } else { rest(left) };
        bytes.split_to(n).freeze()
    }

    fn trailers(&mut self, bytes: &mut BytesMut, seen: usize) -> Result<Piece, BadBody> {
        match bytes[..] {
            [b'\r', b'\n', ..] => {
                bytes.advance(2);
                self.0 = State::Over;
                return Ok(Piece::End);
            }
            [b'\r'] => return Ok(Piece::Starved),
            _ => {}
        }
        // The end may have begun in what was seen before.
        let from = seen.saturating_sub(3);
        let Some(end) = memchr::memmem::find(&bytes[from..], b"\r\n\r\n").map(|at| from + at + 4) else {
            if bytes.len() > TRAILER_BYTES {
                return Err(BadBody::TrailersTooLarge);
            }
            self.0 = State::Trailers(bytes.len());
            return Ok(Piece::Starved);
        };
        let section = bytes.split_to(end);
        self.0 = State::Over;
        parse_trailers(&section).map(Piece::Trailers)
    }
}

/// Takes the line with a chunk's size off `bytes`, if all of it is there.
fn chunk_size(bytes: &mut BytesMut) -> Result<Option<u64>, BadBody> {
    let Some(end) = memchr::memchr(b'\n', &bytes[..bytes.len().min(SIZE_LINE)]) else {
        return if bytes.len() < SIZE_LINE { Ok(None) } else { Err(BadBody::Chunk) };
    };
    let line = bytes[..end].strip_suffix(b"\r").ok_or(BadBody::BareLineFeed)?;
    let size = parse_size(line).ok_or(BadBody::Chunk)?;
    bytes.advance(end + 1);
    Ok(Some(size))
}

/// The size, and extensions that are `;name` or `;name=value` without blanks: nobody sends others in good faith.
fn parse_size(line: &[u8]) -> Option<u64> {
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

fn parse_trailers(section: &[u8]) -> Result<HeaderMap, BadBody> {
    for end in memchr::memchr_iter(b'\n', section) {
        if end == 0 || section[end - 1] != b'\r' {
            return Err(BadBody::BareLineFeed);
        }
    }
    let mut fields = [httparse::EMPTY_HEADER; TRAILERS];
    let fields = match httparse::parse_headers(section, &mut fields) {
        Ok(httparse::Status::Complete((_, fields))) => fields,
        Err(httparse::Error::TooManyHeaders) => return Err(BadBody::TrailersTooLarge),
        Ok(httparse::Status::Partial) | Err(_) => return Err(BadBody::Trailer),
    };
    let mut trailers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| BadBody::Trailer)?;
        let value = HeaderValue::from_bytes(field.value).map_err(|_| BadBody::Trailer)?;
        trailers.append(name, value);
    }
    Ok(trailers)
}

/// Bytes of a line with a chunk's size.
const SIZE_LINE: usize = 256;
/// Bytes of a trailer section.
pub const TRAILER_BYTES: usize = 16 * 1024;
/// Fields of a trailer section.
pub const TRAILERS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    /// What a body says, read whole, and in two parts cut at every place: it must be the same.
    fn read(decoder: fn() -> Decoder, text: &str) -> Result<(String, usize, String), BadBody> {
        let whole = read_parts(decoder(), &[text]);
        for cut in 0..text.len() {
            assert_eq!(read_parts(decoder(), &[&text[..cut], &text[cut..]]), whole, "{text:?} cut at {cut}");
        }
        whole
    }

    /// Content, number of trailers, and what is left.
    fn read_parts(mut decoder: Decoder, parts: &[&str]) -> Result<(String, usize, String), BadBody> {
        let (mut content, mut bytes, mut trailers) = (Vec::new(), BytesMut::new(), 0);
        for part in parts {
            bytes.extend_from_slice(part.as_bytes());
            loop {
                match decoder.decode(&mut bytes)? {
                    Piece::Data(data) => content.extend_from_slice(&data),
                    Piece::Trailers(fields) => trailers = fields.len(),
                    Piece::Starved | Piece::End => break,
                }
            }
        }
        decoder.finish()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((text(&content), trailers, text(&bytes)))
    }

    #[test]
    fn a_length_ends_where_it_says() {
        assert_eq!(read(|| Decoder::length(3), "abcGET"), Ok(("abc".into(), 0, "GET".into())));
        assert_eq!(read(|| Decoder::length(0), "GET"), Ok((String::new(), 0, "GET".into())));
        assert_eq!(read(|| Decoder::length(4), "abc"), Err(BadBody::Truncated));
        assert_eq!(read(Decoder::until_end, "abc"), Ok(("abc".into(), 0, String::new())));
    }

    #[test]
    fn chunks_are_joined() {
        let text = "1\r\na\r\nA;a=1;b\r\n0123456789\r\n0\r\n\r\nGET";
        assert_eq!(read(Decoder::chunked, text), Ok(("a0123456789".into(), 0, "GET".into())));
        let text = "1\r\n\n\r\n0\r\nA: 1\r\nB: 2\r\n\r\nGET";
        assert_eq!(read(Decoder::chunked, text), Ok(("\n".into(), 2, "GET".into())));
    }

    #[test]
    fn loose_chunks_are_refused() {
        for bad in
            ["1;\r\n", "1 \r\n", "0x1\r\n", "+1\r\n", "\r\n", "1;a b\r\n", "00000000000000001\r\n", "1\r\nXZZ0\r\n"]
        {
            assert_eq!(read(Decoder::chunked, bad), Err(BadBody::Chunk), "{bad:?}");
        }
        for bad in ["1;a\nX\r\n0\r\n\r\n", "1\na\r\n0\r\n\r\n", "1\r\na\n0\r\n\r\n", "0\r\nA: 1\nB: 2\r\n\r\n"] {
            assert_eq!(read(Decoder::chunked, bad), Err(BadBody::BareLineFeed), "{bad:?}");
        }
        assert_eq!(read(Decoder::chunked, "0\r\nA : 1\r\n\r\n"), Err(BadBody::Trailer));
        assert_eq!(read(Decoder::chunked, "3\r\nab"), Err(BadBody::Truncated));
        assert_eq!(read(Decoder::chunked, "0\r\n"), Err(BadBody::Truncated));
    }

    #[test]
    fn lines_and_trailers_have_bounds() {
        let mut bytes = BytesMut::from(format!("1;{}", "a".repeat(SIZE_LINE)).as_bytes());
        assert_eq!(Decoder::chunked().decode(&mut bytes).map(|_| ()), Err(BadBody::Chunk));
        let mut bytes = BytesMut::from(format!("0\r\nA: {}", "a".repeat(TRAILER_BYTES)).as_bytes());
        assert_eq!(Decoder::chunked().decode(&mut bytes).map(|_| ()), Err(BadBody::TrailersTooLarge));
        let mut bytes = BytesMut::from(format!("0\r\n{}\r\n", "A: 1\r\n".repeat(TRAILERS + 1)).as_bytes());
        assert_eq!(Decoder::chunked().decode(&mut bytes).map(|_| ()), Err(BadBody::TrailersTooLarge));
    }
}
