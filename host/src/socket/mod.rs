//! A client's socket while HTTP runs on it: what is read and written passes here, below the HTTP library, which cannot
//! tell us when a head begins, and does not look at every byte of it.

mod scan;
mod watch;

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

pub use scan::{Flaw, Scan};
pub use watch::{Phase, Watch};

use crate::tls::ServerStream;

/// A client's connection, encrypted or not.
#[derive(Debug)]
pub enum ClientStream {
    /// In the clear.
    Tcp(TcpStream),
    /// TLS.
    Tls(Box<ServerStream>),
}

/// A look at a client's connection while it is in use.
#[derive(Debug)]
pub struct Probe(Rc<RefCell<ClientStream>>);

/// A [`ClientStream`] that tells a [`Watch`] what it sees.
#[derive(Debug)]
pub struct Socket {
    stream: Rc<RefCell<ClientStream>>,
    watch: Rc<Watch>,
    /// Bytes that were read to find out which protocol is spoken, to be read again.
    prefix: Bytes,
    /// Looks at requests; none for HTTP/2.
    scan: Option<RefCell<Scan>>,
}

impl Socket {
    /// `prefix` has been read from `stream` already. `http1` turns the check of heads on.
    #[must_use]
    pub fn new(stream: ClientStream, watch: Rc<Watch>, prefix: Bytes, http1: bool) -> Self {
        Self { stream: Rc::new(RefCell::new(stream)), watch, prefix, scan: http1.then(RefCell::default) }
    }

    /// A way to see whether the client is still there.
    #[must_use]
    pub fn probe(&self) -> Probe {
        Probe(Rc::clone(&self.stream))
    }

    /// The stream itself, once HTTP is done with it and nobody holds a [`Probe`].
    #[must_use]
    pub fn into_stream(self) -> Option<ClientStream> {
        Rc::into_inner(self.stream).map(RefCell::into_inner)
    }

    /// Whether a head has begun of which not even the first line is complete.
    #[must_use]
    pub fn in_request_line(&self) -> bool {
        self.scan.as_ref().is_some_and(|scan| scan.borrow().in_request_line())
    }

    /// A head begins, or goes on: look at its bytes.
    fn seen(&self, bytes: &[u8]) -> io::Result<()> {
        self.watch.bytes_came();
        let Some(scan) = &self.scan else { return Ok(()) };
        scan.borrow_mut().bytes(bytes).map_err(|flaw| {
            self.watch.refuse(flaw);
            io::Error::new(io::ErrorKind::InvalidData, flaw)
        })
    }
}

impl Probe {
    /// Whether the client has reset its connection. One that has only closed its side may still wait for the response.
    #[must_use]
    pub fn gone(&self) -> bool {
        let stream = self.0.borrow();
        let tcp = match &*stream {
            ClientStream::Tcp(stream) => stream,
            ClientStream::Tls(stream) => stream.get_ref().0,
        };
        let peeked = socket2::SockRef::from(tcp).peek(&mut [std::mem::MaybeUninit::uninit(); 1]);
        peeked.is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock)
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if self.prefix.is_empty() {
            std::task::ready!(Pin::new(&mut *self.stream.borrow_mut()).poll_read(cx, buf))?;
        } else {
            let n = self.prefix.len().min(buf.remaining());
            buf.put_slice(&self.prefix[..n]);
            self.prefix.advance(n);
        }
        let new = &buf.filled()[before..];
        if !new.is_empty() {
            self.seen(new)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.scan.is_some() && this.watch.is_unasked(bufs) {
            // The library's bare answer to a head that it cannot parse: the listener has a better one.
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        }
        if this.watch.has_interim() {
            std::task::ready!(this.poll_write_interim(cx))?;
        }
        this.watch.wrote();
        match &mut *this.stream.borrow_mut() {
            ClientStream::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            ClientStream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.watch.flushed();
        if this.watch.has_interim() {
            std::task::ready!(this.poll_write_interim(cx))?;
        }
        Pin::new(&mut *this.stream.borrow_mut()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream.borrow_mut()).poll_shutdown(cx)
    }
}

impl Socket {
    /// Writes interim responses (103), which the HTTP library has no way to send.
    fn poll_write_interim(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(mut bytes) = self.watch.take_interim() {
            let written = match Pin::new(&mut *self.stream.borrow_mut()).poll_write(cx, &bytes) {
                Poll::Ready(result) => result?,
                Poll::Pending => {
                    self.watch.put_back_interim(bytes);
                    return Poll::Pending;
                }
            };
            bytes.advance(written);
            if !bytes.is_empty() {
                self.watch.put_back_interim(bytes);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
