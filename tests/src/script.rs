//! Backends that break the rules: each connection plays a script, step by step, in bytes.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;

use crate::backend::Ledger;
use crate::raw::head_length;
use crate::wait::Gate;

/// One step of a script.
#[derive(Debug, Clone)]
pub enum Step {
    /// Reads a request's head.
    ReadHead,
    /// Reads this many bytes more.
    Read(usize),
    /// Reads until the other side closes.
    ReadToEnd,
    /// Sends bytes.
    Send(Bytes),
    /// Sends bytes one by one, with a pause after each.
    SendSlowly(Bytes, Duration),
    /// Does nothing for a while.
    Pause(Duration),
    /// Reads whatever comes until the scene lets it go on.
    Wait(Gate),
    /// Does nothing any more, and keeps the connection open.
    Stall,
    /// Closes the connection with a FIN.
    Close,
    /// Closes the connection with a RST.
    Reset,
    /// Begins again.
    Again,
}

/// Starts a backend whose every connection plays these steps. At the end of the script the connection is closed.
pub async fn script(steps: impl IntoIterator<Item = Step>) -> Script {
    scripts([steps.into_iter().collect()]).await
}

/// Starts a backend whose first connection plays the first script, and so on; the last is for all that follow.
pub async fn scripts(scripts: impl IntoIterator<Item = Vec<Step>>) -> Script {
    let scripts: Vec<Vec<Step>> = scripts.into_iter().collect();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (ledger, received) = (Ledger::default(), Arc::<Mutex<Vec<u8>>>::default());
    let script = (ledger.clone(), received.clone());
    let task = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        for number in 0.. {
            let Ok((stream, _)) = listener.accept().await else { return };
            let steps = scripts[number.min(scripts.len() - 1)].clone();
            let player = Player { stream, unread: Vec::new(), received: received.clone() };
            let open = ledger.connected();
            connections.spawn(async move {
                player.play(&steps).await;
                drop(open);
            });
        }
    });
    Script { address, ledger: script.0, received: script.1, task: task.abort_handle() }
}

/// A backend that plays a script.
#[derive(Debug)]
pub struct Script {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its connections; it knows of no requests.
    pub ledger: Ledger,
    received: Arc<Mutex<Vec<u8>>>,
    task: AbortHandle,
}

impl Script {
    /// For `backends = [..]`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All that was read so far, on all connections, byte by byte.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.received.lock().unwrap().clone()
    }

    /// All that was read so far, on all connections.
    #[must_use]
    pub fn received(&self) -> String {
        String::from_utf8_lossy(&self.received.lock().unwrap()).into_owned()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Step {
    /// Sends text.
    #[must_use]
    pub fn say(text: &str) -> Self {
        Self::Send(Bytes::copy_from_slice(text.as_bytes()))
    }

    /// Sends a whole response with status 200 and this body.
    #[must_use]
    pub fn ok(body: &str) -> Self {
        Self::say(&format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
    }
}

struct Player {
    stream: TcpStream,
    unread: Vec<u8>,
    received: Arc<Mutex<Vec<u8>>>,
}

impl Player {
    /// Ends at the end of the script, or where the other side leaves.
    async fn play(mut self, steps: &[Step]) {
        self.stream.set_nodelay(true).unwrap();
        let mut next = 0;
        while let Some(step) = steps.get(next) {
            next += 1;
            let done = match step {
                Step::ReadHead => self.read_head().await,
                Step::Read(length) => self.read(*length).await,
                Step::ReadToEnd => {
                    while self.more().await {}
                    true
                }
                Step::Send(bytes) => self.stream.write_all(bytes).await.is_ok(),
                Step::SendSlowly(bytes, pause) => self.send_slowly(bytes, *pause).await,
                Step::Pause(time) => {
                    sleep(*time).await;
                    true
                }
                Step::Wait(gate) => self.wait(gate).await,
                Step::Stall => self.stall().await,
                Step::Close => false,
                Step::Reset => {
                    self.stream.set_zero_linger().unwrap();
                    false
                }
                Step::Again => {
                    next = 0;
                    true
                }
            };
            if !done {
                return;
            }
        }
    }

    async fn read_head(&mut self) -> bool {
        loop {
            if let Some(length) = head_length(&self.unread) {
                self.unread.drain(..length);
                return true;
            }
            if !self.more().await {
                return false;
            }
        }
    }

    async fn read(&mut self, length: usize) -> bool {
        while self.unread.len() < length {
            if !self.more().await {
                return false;
            }
        }
        self.unread.drain(..length);
        true
    }

    async fn send_slowly(&mut self, bytes: &[u8], pause: Duration) -> bool {
        for byte in bytes.chunks(1) {
            if self.stream.write_all(byte).await.is_err() {
                return false;
            }
            sleep(pause).await;
        }
        true
    }

    /// Reads nothing, so that the other side feels it; looks now and then whether it has left.
    async fn stall(&self) -> bool {
        let mut byte = [0];
        loop {
            let _ = self.stream.ready(tokio::io::Interest::READABLE).await;
            match self.stream.peek(&mut byte).await {
                Ok(0) | Err(_) => return false,
                Ok(_) => sleep(Duration::from_millis(20)).await,
            }
            if self.stream.take_error().is_ok_and(|error| error.is_some()) {
                return false;
            }
        }
    }

    async fn wait(&mut self, gate: &Gate) -> bool {
        loop {
            tokio::select! {
                () = gate.pass() => return true,
                more = self.more() => if !more {
                    return false;
                }
            }
        }
    }

    async fn more(&mut self) -> bool {
        let mut bytes = [0; 16 * 1024];
        match self.stream.read(&mut bytes).await {
            Ok(0) | Err(_) => false,
            Ok(length) => {
                self.unread.extend_from_slice(&bytes[..length]);
                self.received.lock().unwrap().extend_from_slice(&bytes[..length]);
                true
            }
        }
    }
}
