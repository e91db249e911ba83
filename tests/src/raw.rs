//! A client that sends and reads exact bytes.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::wait::within;

/// Connects, to send bytes.
#[track_caller]
pub fn raw(address: SocketAddr) -> impl Future<Output = Raw> {
    within("connecting", async move {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Raw { stream, unread: Vec::new() }
    })
}

/// A connection of bytes.
#[derive(Debug)]
pub struct Raw {
    /// The socket itself.
    pub stream: TcpStream,
    unread: Vec<u8>,
}

/// A response in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawAnswer {
    /// The status.
    pub status: u16,
    /// Status line and fields, as sent.
    pub head: String,
    /// The body, without chunked framing.
    pub body: String,
    /// Whether the body ended as the head promised.
    pub complete: bool,
}

impl Raw {
    /// Sends bytes. That the other side may close meanwhile is no failure of the scene.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _ = within("sending", self.stream.write_all(bytes.as_ref())).await;
        self
    }

    /// Says that nothing more will be sent.
    pub async fn finish(&mut self) {
        // The other side may have closed already.
        let _ = self.stream.shutdown().await;
    }

    /// Leaves with a RST.
    pub fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }

    /// Reads one response to a request other than HEAD.
    pub async fn answer(&mut self) -> RawAnswer {
        let head = self.head().await;
        self.body_of(head).await
    }

    /// Reads one response, if the connection is not closed instead.
    pub async fn answer_or_close(&mut self) -> Option<RawAnswer> {
        while head_length(&self.unread).is_none() {
            if !self.more().await {
                return None;
            }
        }
        Some(self.answer().await)
    }

    /// Reads one head: of a response to HEAD, or an interim one.
    pub async fn head(&mut self) -> String {
        loop {
            if let Some(length) = head_length(&self.unread) {
                return self.take(length);
            }
            assert!(
                self.more().await,
                "closed before a head was complete: {:?}",
                String::from_utf8_lossy(&self.unread)
            );
        }
    }

    /// Reads this many bytes.
    pub async fn bytes(&mut self, length: usize) -> Vec<u8> {
        while self.unread.len() < length {
            assert!(self.more().await, "closed after {} of {length} bytes", self.unread.len());
        }
        self.unread.drain(..length).collect()
    }

    /// Reads up to the end of the connection and says what came.
    pub async fn rest(&mut self) -> String {
        while self.more().await {}
        self.take(self.unread.len())
    }

    /// Sees that the other side has closed, and had nothing more to say.
    #[track_caller]
    pub fn closed(&mut self) -> impl Future<Output = ()> {
        let place = std::panic::Location::caller();
        async move {
            let rest = self.rest().await;
            assert!(rest.is_empty(), "{place}: there was more: {rest:?}");
        }
    }

    async fn body_of(&mut self, head: String) -> RawAnswer {
        let status =
            head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("no status: {head:?}"));
        let value = |name: &str| field(&head, name);
        let (body, complete) = if status < 200 || status == 204 || status == 304 {
            (String::new(), true)
        } else if value("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            self.chunks().await
        } else if let Some(length) = value("content-length") {
            let length: usize = length.parse().unwrap();
            while self.unread.len() < length && self.more().await {}
            let complete = self.unread.len() >= length;
            (self.take(length.min(self.unread.len())), complete)
        } else {
            (self.rest().await, true)
        };
        RawAnswer { status, head, body, complete }
    }

    async fn chunks(&mut self) -> (String, bool) {
        let mut body = String::new();
        loop {
            let Some(line) = self.line().await else { return (body, false) };
            let Ok(length) = usize::from_str_radix(line.trim_end(), 16) else { panic!("not a chunk's size: {line:?}") };
            if length == 0 {
                // Trailers, up to the empty line.
                loop {
                    match self.line().await {
                        None => return (body, false),
                        Some(line) if line == "\r\n" => return (body, true),
                        Some(line) => body.push_str(&format!("[{}]", line.trim_end())),
                    }
                }
            }
            while self.unread.len() < length + 2 {
                if !self.more().await {
                    body.push_str(&self.take(self.unread.len()));
                    return (body, false);
                }
            }
            body.push_str(&self.take(length));
            self.take(2);
        }
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|pair| pair == b"\r\n") {
                return Some(self.take(end + 2));
            }
            if !self.more().await {
                return None;
            }
        }
    }

    fn take(&mut self, length: usize) -> String {
        String::from_utf8_lossy(&self.unread.drain(..length).collect::<Vec<_>>()).into_owned()
    }

    async fn more(&mut self) -> bool {
        let mut bytes = [0; 16 * 1024];
        match within("bytes from the other side", self.stream.read(&mut bytes)).await {
            Ok(0) | Err(_) => false,
            Ok(length) => {
                self.unread.extend_from_slice(&bytes[..length]);
                true
            }
        }
    }
}

impl RawAnswer {
    /// The value of the first field of that name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }
}

/// How long the head is that these bytes begin with, if it is whole.
#[must_use]
pub fn head_length(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let (_, value) =
        head.lines().filter_map(|line| line.split_once(':')).find(|(known, _)| known.eq_ignore_ascii_case(name))?;
    Some(value.trim())
}
