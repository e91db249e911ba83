//! A client's connection: its bytes, encrypted or not, and what is known of it from moment to moment.

mod frames;
mod stream;
mod watch;

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

pub use stream::MaybeTls;
pub use watch::{Phase, Watch};

use self::frames::Frames;
use crate::tls::ServerStream;

/// A client's connection, encrypted or not.
pub type ClientStream = MaybeTls<ServerStream>;

/// A [`ClientStream`] below the library that speaks HTTP/2: what has been read of it already is read again, a [`Watch`] hears
/// when requests come, and a flood of frames ends it.
#[derive(Debug)]
pub struct Watched {
    stream: ClientStream,
    watch: Rc<Watch>,
    /// Bytes that were read to find out which protocol is spoken.
    read: BytesMut,
    frames: Frames,
}

impl ClientStream {
    /// Whether the client has reset its connection. One that has only closed its side may still wait for the response.
    #[must_use]
    pub fn gone(&self) -> bool {
        let peeked = SockRef::from(self.tcp()).peek(&mut [std::mem::MaybeUninit::uninit(); 1]);
        peeked.is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock)
    }

    /// Whether the client's connection is reset, and not closed in good order, when this is dropped.
    ///
    /// # Errors
    /// When the system does not take it.
    pub fn set_abrupt(&self, abrupt: bool) -> io::Result<()> {
        SockRef::from(self.tcp()).set_linger(abrupt.then_some(Duration::ZERO))
    }

    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Tcp(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }
}

impl Watched {
    /// `read` has been read from `stream` already.
    #[must_use]
    pub fn new(stream: ClientStream, watch: Rc<Watch>, read: BytesMut) -> Self {
        let frames = Frames::new(watch.millis());
        Self { stream, watch, read, frames }
    }
}

impl AsyncRead for Watched {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        if this.read.is_empty() {
            ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        } else {
            let n = this.read.len().min(buf.remaining());
            buf.put_slice(&this.read[..n]);
            this.read.advance(n);
        }
        let passed = this.frames.pass(&buf.filled()[before..], || this.watch.millis());
        if passed.flood {
            this.watch.floods();
            return Poll::Ready(Err(io::Error::other("a flood of frames that carry nothing")));
        }
        if passed.request {
            this.watch.bytes_came();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        self.frames.sent(written);
        self.watch.takes(written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs))?;
        self.frames.sent(written);
        self.watch.takes(written);
        Poll::Ready(Ok(written))
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
