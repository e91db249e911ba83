//! Heads of responses, as clients are sent them, and how the bodies behind them are framed.

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{self, HeaderValue};
use http::{StatusCode, Version, response};

use super::chunk::{write_chunk_head, write_last_chunk};
use super::facts::length_of;
use super::head::write_field;
use super::outbox::Outbox;

/// What of a request decides how its response is written.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// 1.0 or 1.1.
    pub version: Version,
    /// Whether the method was HEAD.
    pub head: bool,
    /// Whether the client takes trailers.
    pub takes_trailers: bool,
    /// Whether the connection can be used again.
    pub keep_alive: bool,
}

/// A response whose head has been written, and what its body still owes.
#[derive(Debug)]
pub struct Reply {
    framing: Framing,
    takes_trailers: bool,
    /// Whether the connection can be used again.
    pub keep_alive: bool,
}

/// A body that is not what its head has said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body's length is not what its head says")]
pub struct WrongLength;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// There is no body, whatever comes.
    None,
    /// So many bytes are still owed.
    Length(u64),
    Chunks,
    UntilClose,
}

impl Reply {
    /// Writes a response's head. `length` is the body's, if it is known; `date` is now (RFC 9110 §6.6.1).
    pub fn begin(
        out: &mut Outbox,
        head: &response::Parts,
        length: Option<u64>,
        asked: &Asked,
        date: &HeaderValue,
    ) -> Self {
        let out = out.text();
        write_status_line(out, head.status, asked.version);
        let switching = head.status == StatusCode::SWITCHING_PROTOCOLS;
        let mut keep_alive = asked.keep_alive && !switching;
        let (mut said, mut dated) = (None, false);
        for (name, value) in &head.headers {
            // Almost every field is known by the length of its name to be none of these.
            match name.as_str() {
                "content-length" => {
                    said = length_of(value.as_bytes());
                    continue;
                }
                "connection" if !switching => {
                    keep_alive &= !value.as_bytes().eq_ignore_ascii_case(b"close");
                    continue;
                }
                "transfer-encoding" => continue,
                "date" => dated = true,
                _ => {}
            }
            write_field(out, name, value);
        }
        let framing = Framing::of(head.status, length.or(said), asked);
        match framing {
            Framing::Length(length) => write_length(out, length),
            Framing::Chunks => out.put_slice(b"transfer-encoding: chunked\r\n"),
            Framing::UntilClose => keep_alive = false,
            // Of the body that a GET would have got (RFC 9110 §8.6).
            Framing::None if asked.head || head.status == StatusCode::NOT_MODIFIED => {
                if let Some(length) = said {
                    write_length(out, length);
                }
            }
            Framing::None => {}
        }
        if !dated {
            write_field(out, &header::DATE, date);
        }
        if !keep_alive && !switching {
            out.put_slice(b"connection: close\r\n");
        } else if asked.version == Version::HTTP_10 {
            out.put_slice(b"connection: keep-alive\r\n");
        }
        out.put_slice(b"\r\n");
        Self { framing, takes_trailers: asked.takes_trailers, keep_alive }
    }

    /// Whether the end of the connection is the end of the body, and all that tells it from a cut.
    #[must_use]
    pub fn lasts_until_close(&self) -> bool {
        self.framing == Framing::UntilClose
    }

    /// Writes some of the body.
    ///
    /// # Errors
    /// When it is more than the head has announced.
    pub fn data(&mut self, out: &mut Outbox, data: Bytes) -> Result<(), WrongLength> {
        if data.is_empty() {
            return Ok(());
        }
        match &mut self.framing {
            Framing::None => {}
            Framing::Length(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(WrongLength)?;
                out.data(data);
            }
            Framing::Chunks => {
                write_chunk_head(out.text(), data.len());
                out.data(data);
                out.text().put_slice(b"\r\n");
            }
            Framing::UntilClose => out.data(data),
        }
        Ok(())
    }

    /// Writes the end of the body, with trailers if the client takes them.
    ///
    /// # Errors
    /// When it is less than the head has announced.
    pub fn end(&mut self, out: &mut Outbox, trailers: Option<&http::HeaderMap>) -> Result<(), WrongLength> {
        match std::mem::replace(&mut self.framing, Framing::None) {
            Framing::None | Framing::Length(0) | Framing::UntilClose => Ok(()),
            Framing::Length(_) => Err(WrongLength),
            Framing::Chunks => {
                write_last_chunk(out.text(), trailers.filter(|_| self.takes_trailers));
                Ok(())
            }
        }
    }
}

impl Framing {
    /// RFC 9112 §6.3.
    fn of(status: StatusCode, length: Option<u64>, asked: &Asked) -> Self {
        let bodiless = asked.head
            || status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        match length {
            _ if bodiless => Self::None,
            Some(length) => Self::Length(length),
            None if asked.version == Version::HTTP_11 => Self::Chunks,
            None => Self::UntilClose,
        }
    }
}

fn write_status_line(out: &mut BytesMut, status: StatusCode, version: Version) {
    out.reserve(HEAD);
    if status == StatusCode::OK && version == Version::HTTP_11 {
        return out.put_slice(b"HTTP/1.1 200 OK\r\n");
    }
    // Who knows only HTTP/1.0 is answered in it.
    out.put_slice(if version == Version::HTTP_10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    out.put_slice(status.as_str().as_bytes());
    out.put_slice(b" ");
    out.put_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.put_slice(b"\r\n");
}

fn write_length(out: &mut BytesMut, length: u64) {
    out.put_slice(b"content-length: ");
    out.put_slice(itoa::Buffer::new().format(length).as_bytes());
    out.put_slice(b"\r\n");
}

/// Bytes that most heads fit in.
const HEAD: usize = 512;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const ASKED: Asked = Asked { version: Version::HTTP_11, head: false, takes_trailers: false, keep_alive: true };
    const OLD: Asked = Asked { version: Version::HTTP_10, ..ASKED };

    /// All of a response: `None` is the end of a body's data.
    fn write(
        response: http::response::Builder,
        length: Option<u64>,
        asked: &Asked,
        body: &[&'static str],
    ) -> (String, Result<bool, WrongLength>) {
        let head = response.body(()).unwrap().into_parts().0;
        let mut out = Outbox::default();
        let mut reply = Reply::begin(&mut out, &head, length, asked, &HeaderValue::from_static("now"));
        let outcome = body
            .iter()
            .try_for_each(|data| reply.data(&mut out, Bytes::from_static(data.as_bytes())))
            .and_then(|()| reply.end(&mut out, None))
            .map(|()| reply.keep_alive);
        (out.drain(), outcome)
    }

    fn ok() -> http::response::Builder {
        http::Response::builder()
    }

    #[test]
    fn a_length_is_announced_and_kept_to() {
        let (text, kept) = write(ok().header("a", "b"), Some(5), &ASKED, &["he", "llo"]);
        assert_eq!(text, "HTTP/1.1 200 OK\r\na: b\r\ncontent-length: 5\r\ndate: now\r\n\r\nhello");
        assert_eq!(kept, Ok(true));
        let announced = ok().header("content-length", "5").header("date", "then");
        let (text, _) = write(announced, None, &ASKED, &["hello"]);
        assert_eq!(text, "HTTP/1.1 200 OK\r\ndate: then\r\ncontent-length: 5\r\n\r\nhello");
        for (body, length) in [(&["hell"][..], 5), (&["hello", "o"], 5), (&[], 1)] {
            assert_eq!(write(ok(), Some(length), &ASKED, body).1, Err(WrongLength), "{body:?}");
        }
    }

    #[test]
    fn what_has_no_length_is_sent_in_chunks_or_until_the_end() {
        let (text, kept) = write(ok(), None, &ASKED, &["hello", "", "you"]);
        assert!(
            text.ends_with("transfer-encoding: chunked\r\ndate: now\r\n\r\n5\r\nhello\r\n3\r\nyou\r\n0\r\n\r\n"),
            "{text}"
        );
        assert_eq!(kept, Ok(true));
        let (text, kept) = write(ok(), None, &OLD, &["hello"]);
        assert_eq!(text, "HTTP/1.0 200 OK\r\ndate: now\r\nconnection: close\r\n\r\nhello");
        assert_eq!(kept, Ok(false));
    }

    #[test]
    fn some_responses_have_no_body_whatever_comes() {
        let head = Asked { head: true, ..ASKED };
        let (text, kept) = write(ok().header("content-length", "9"), Some(0), &head, &["x"]);
        assert_eq!((text.as_str(), kept), ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\ndate: now\r\n\r\n", Ok(true)));
        let (text, _) = write(ok(), Some(0), &head, &[]);
        assert_eq!(text, "HTTP/1.1 200 OK\r\ndate: now\r\n\r\n");
        let (text, _) = write(ok().status(304).header("content-length", "9"), Some(0), &ASKED, &[]);
        assert_eq!(text, "HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\ndate: now\r\n\r\n");
        let (text, _) = write(ok().status(204).header("content-length", "0"), Some(0), &ASKED, &["x"]);
        assert_eq!(text, "HTTP/1.1 204 No Content\r\ndate: now\r\n\r\n");
        let switch = ok().status(101).header("connection", "upgrade").header("upgrade", "websocket");
        let (text, kept) = write(switch, Some(0), &ASKED, &[]);
        let expected =
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\ndate: now\r\n\r\n";
        assert_eq!((text.as_str(), kept), (expected, Ok(false)));
    }

    #[test]
    fn the_connection_ends_when_either_side_says_so() {
        let close = Asked { keep_alive: false, ..ASKED };
        for (response, asked) in [(ok(), close), (ok().header("connection", "close"), ASKED)] {
            let (text, kept) = write(response, Some(0), &asked, &[]);
            assert!(text.ends_with("\r\nconnection: close\r\n\r\n") && kept == Ok(false), "{text}");
        }
        let (text, kept) = write(ok(), Some(0), &OLD, &[]);
        assert!(text.ends_with("\r\nconnection: keep-alive\r\n\r\n") && kept == Ok(true), "{text}");
    }

    #[test]
    fn trailers_are_for_those_who_take_them() {
        let mut trailers = http::HeaderMap::new();
        trailers.insert("sum", HeaderValue::from_static("1"));
        for (takes_trailers, end) in [(true, "\r\n0\r\nsum: 1\r\n\r\n"), (false, "\r\n0\r\n\r\n")] {
            let head = ok().body(()).unwrap().into_parts().0;
            let mut out = Outbox::default();
            let asked = Asked { takes_trailers, ..ASKED };
            let mut reply = Reply::begin(&mut out, &head, None, &asked, &HeaderValue::from_static("now"));
            reply.end(&mut out, Some(&trailers)).unwrap();
            let text = out.drain();
            assert!(text.ends_with(end), "{text}");
        }
    }

    #[test]
    fn a_status_without_a_name_has_none() {
        let (text, _) = write(ok().status(599), Some(0), &ASKED, &[]);
        assert!(text.starts_with("HTTP/1.1 599 \r\n"), "{text}");
    }
}
