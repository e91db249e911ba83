//! A backend that speaks HTTP/2 in exact frames (RFC 9113 §4), sound or not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::frames::{END_HEADERS, END_STREAM, PREFACE, frame, kind};

/// A backend of frames, until it is dropped.
#[derive(Debug)]
pub struct Stub {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

/// What is said to a request.
#[derive(Debug, Clone)]
pub struct Reply {
    /// These frames.
    pub frames: Vec<u8>,
    /// And then the connection is closed.
    pub close: bool,
}

impl Reply {
    /// Frames, and the connection goes on.
    #[must_use]
    pub fn say(frames: Vec<u8>) -> Self {
        Self { frames, close: false }
    }

    /// Frames, and the end.
    #[must_use]
    pub fn last(frames: Vec<u8>) -> Self {
        Self { frames, close: true }
    }
}

/// A response of 200 on that stream.
#[must_use]
pub fn ok(stream: u32, body: &str) -> Vec<u8> {
    let head = frame(kind::HEADERS, END_HEADERS, stream, &[0x88]);
    [head, frame(kind::DATA, END_STREAM, stream, body.as_bytes())].concat()
}

/// What sends `settings` first, and to the request on that stream of that connection what `answer` says.
pub async fn stub<F>(settings: Vec<u8>, answer: F) -> Stub
where
    F: Fn(usize, u32) -> Reply + Send + Sync + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (connections, requests) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counts = (Arc::clone(&connections), Arc::clone(&requests));
    let answer = Arc::new(answer);
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (answer, requests) = (Arc::clone(&answer), Arc::clone(&counts.1));
            let number = counts.0.fetch_add(1, Ordering::SeqCst);
            let hello = frame(kind::SETTINGS, 0, 0, &settings);
            tokio::spawn(async move {
                // That the other side has gone is no failure of the scene.
                let _ = converse(stream, hello, &requests, |stream| answer(number, stream)).await;
            });
        }
    });
    Stub { address, connections, requests, task }
}

async fn converse(
    mut stream: TcpStream,
    hello: Vec<u8>,
    requests: &AtomicUsize,
    answer: impl Fn(u32) -> Reply,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    stream.read_exact(&mut [0; PREFACE.len()]).await?;
    stream.write_all(&hello).await?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let [a, b, c, kind, flags, rest @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        stream.read_exact(&mut payload).await?;
        let number = u32::from_be_bytes(rest);
        match kind {
            kind::SETTINGS if flags & ACK == 0 => stream.write_all(&frame(kind::SETTINGS, ACK, 0, &[])).await?,
            kind::PING if flags & ACK == 0 => stream.write_all(&frame(kind::PING, ACK, 0, &payload)).await?,
            kind::HEADERS | kind::DATA if flags & END_STREAM != 0 => {
                requests.fetch_add(1, Ordering::SeqCst);
                let reply = answer(number);
                stream.write_all(&reply.frames).await?;
                if reply.close {
                    return Ok(());
                }
            }
            _ => {}
        }
    }
}

impl Stub {
    /// As a backend's address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Connections so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Whole requests so far.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The flag of a frame that answers another.
const ACK: u8 = 1;
