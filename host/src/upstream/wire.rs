//! The bytes of a connection to a backend, below the HTTP library: how many came before the response's head, and interim
//! responses (RFC 9110 §15.2), which the library skips without limit.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use http::header::HeaderValue;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connect::BackendStream;
use crate::message::editable_name;
use crate::socket::Watch;

/// What one HTTP/1 connection has received since its last request.
#[derive(Debug, Default)]
pub(super) struct Wire {
    waiting: Cell<bool>,
    received: Cell<usize>,
    interim: Cell<u32>,
    /// The last byte of the head, while it is not complete.
    last: Cell<u8>,
    /// Bytes of the head's current line.
    line: Cell<usize>,
    head_complete: Cell<bool>,
    /// Where interim responses are passed on to.
    client: RefCell<Option<Rc<Watch>>>,
}

/// A connection to a backend that tells a [`Wire`] what it reads.
#[derive(Debug)]
pub(super) struct WiredStream {
    pub(super) stream: BackendStream,
    pub(super) wire: Rc<Wire>,
}

impl Wire {
    /// A request is about to be sent.
    pub(super) fn request_begins(&self, client: Option<&Rc<Watch>>) {
        self.waiting.set(true);
        self.received.set(0);
        self.interim.set(0);
        self.line.set(0);
        self.head_complete.set(false);
        *self.client.borrow_mut() = client.cloned();
    }

    /// The response's head is there.
    pub(super) fn response_begins(&self) {
        self.waiting.set(false);
        *self.client.borrow_mut() = None;
    }

    /// Whether anything came since the request was sent.
    pub(super) fn heard(&self) -> bool {
        self.received.get() > 0
    }

    fn read(&self, bytes: &[u8]) -> io::Result<()> {
        if !self.waiting.get() {
            return Ok(());
        }
        self.received.set(self.received.get() + bytes.len());
        if self.received.get() > BEFORE_HEAD {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "too much before the response's head"));
        }
        let mut rest = bytes;
        while let Some((status, head, after)) = interim(rest) {
            self.interim.set(self.interim.get() + 1);
            if self.interim.get() > INTERIM {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "too many interim responses"));
            }
            if status != b"100"
                && let Some(client) = &*self.client.borrow()
                && let Some(head) = passable(head)
            {
                client.send_interim(head);
            }
            rest = after;
        }
        self.head(rest)
    }

    /// Lines of a head end in CR LF (RFC 9112 §2.2); the library takes LF as well.
    fn head(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !self.head_complete.get() && !bytes.is_empty() {
            let Some(end) = memchr::memchr(b'\n', bytes) else {
                self.line.set(self.line.get() + bytes.len());
                self.last.set(bytes[bytes.len() - 1]);
                return Ok(());
            };
            let before = if end == 0 { self.last.get() } else { bytes[end - 1] };
            let length = self.line.get() + end;
            if length == 0 || before != b'\r' {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a line of the response ends in LF without CR"));
            }
            self.head_complete.set(length == 1);
            self.line.set(0);
            bytes = &bytes[end + 1..];
        }
        Ok(())
    }
}

/// If `bytes` begin with a whole interim response other than 101: its status, its head, and what follows.
fn interim(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let status = bytes.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    if status[0] != b'1' || status == b"101" {
        return None;
    }
    let end = memchr::memmem::find(bytes, b"\r\n\r\n")? + 4;
    Some((status, &bytes[..end], &bytes[end..]))
}

/// An interim response made anew, of what may be passed on of it.
fn passable(head: &[u8]) -> Option<Bytes> {
    let mut lines = head.split(|b| *b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let status_line = lines.next()?;
    let mut out = BytesMut::with_capacity(head.len());
    if status_line.iter().any(u8::is_ascii_control) {
        return None;
    }
    out.put_slice(status_line);
    out.put_slice(b"\r\n");
    for line in lines.filter(|line| !line.is_empty()) {
        let at = line.iter().position(|b| *b == b':')?;
        let name = editable_name(std::str::from_utf8(&line[..at]).ok()?).ok()?;
        let value = HeaderValue::from_bytes(line[at + 1..].trim_ascii()).ok()?;
        out.put_slice(name.as_str().as_bytes());
        out.put_slice(b": ");
        out.put_slice(value.as_bytes());
        out.put_slice(b"\r\n");
    }
    out.put_slice(b"\r\n");
    Some(out.freeze())
}

impl AsyncRead for WiredStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        Poll::Ready(this.wire.read(&buf.filled()[before..]))
    }
}

impl AsyncWrite for WiredStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Bytes that may come before a response's head is complete, interim responses included.
const BEFORE_HEAD: usize = 512 * 1024;

/// Interim responses to one request.
const INTERIM: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_interim_responses_are_enough() {
        let wire = Wire::default();
        wire.request_begins(None);
        let hint = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
        for _ in 0..16 {
            assert!(wire.read(hint).is_ok());
        }
        assert!(wire.read(hint).is_err());
    }

    #[test]
    fn lines_end_in_cr_lf_wherever_a_read_ends() {
        for (head, good) in [
            ("HTTP/1.1 200 OK\r\nA: b\r\n\r\n\n\n", true),
            ("HTTP/1.1 200 OK\nA: b\r\n\r\n", false),
            ("HTTP/1.1 200 OK\r\nA: b\n\r\n", false),
            ("HTTP/1.1 200 OK\r\nA: b\r\n\n", false),
        ] {
            for cut in 0..head.len() {
                let wire = Wire::default();
                wire.request_begins(None);
                let parts = wire.read(&head.as_bytes()[..cut]).and_then(|()| wire.read(&head.as_bytes()[cut..]));
                assert_eq!(parts.is_ok(), good, "{head:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn interim_responses_are_made_anew() {
        let head = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n";
        let made = passable(head).expect("passable");
        assert_eq!(&made[..], b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n");
        assert_eq!(passable(b"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n"), None);
    }
}
