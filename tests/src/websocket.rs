//! WebSocket by tungstenite, both ends.

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::{SinkExt as _, StreamExt as _};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::handshake::client::Response;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, accept_async, client_async};

use crate::backend::Ledger;
use crate::wait::within;

/// A stream in both directions.
pub trait Stream: AsyncRead + AsyncWrite + std::fmt::Debug + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + std::fmt::Debug + Send + Unpin> Stream for S {}

/// A client's end.
pub type Socket = WebSocketStream<Box<dyn Stream>>;

/// A backend that sends every message back. The text `die` makes it drop the connection without a word.
#[derive(Debug)]
pub struct Parrot {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its connections.
    pub ledger: Ledger,
    task: AbortHandle,
}

/// Starts such a backend.
pub async fn parrot() -> Parrot {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let ledger = Ledger::default();
    let counts = ledger.clone();
    let task = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let open = counts.connected();
            connections.spawn(async move {
                repeat(stream).await;
                drop(open);
            });
        }
    });
    Parrot { address, ledger, task: task.abort_handle() }
}

/// Opens `ws://localhost/chat` at that address.
pub async fn open(address: SocketAddr) -> Result<(Socket, Response), Error> {
    let stream = TcpStream::connect(address).await?;
    over(Box::new(stream), "ws://localhost/chat").await
}

/// Opens `wss://localhost/chat` at that address.
pub async fn open_tls(address: SocketAddr, config: ClientConfig) -> Result<(Socket, Response), Error> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    over(Box::new(stream), "wss://localhost/chat").await
}

/// Sends a text and waits for the next one.
pub async fn ask(socket: &mut Socket, text: &str) -> Result<String, Error> {
    within("sending", socket.send(Message::text(text))).await?;
    match within("a message", socket.next()).await {
        Some(Ok(message)) => Ok(message.to_text()?.to_owned()),
        Some(Err(error)) => Err(error),
        None => Err(Error::ConnectionClosed),
    }
}

async fn over(stream: Box<dyn Stream>, url: &str) -> Result<(Socket, Response), Error> {
    within("a WebSocket handshake", client_async(url, stream)).await
}

async fn repeat(stream: TcpStream) {
    let Ok(mut socket) = accept_async(stream).await else { return };
    while let Some(Ok(message)) = socket.next().await {
        if message == Message::text("die") {
            return;
        }
        let data = message.is_text() || message.is_binary();
        if data && socket.send(message).await.is_err() {
            return;
        }
    }
}

impl Parrot {
    /// For `backends = [..]`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Parrot {
    fn drop(&mut self) {
        self.task.abort();
    }
}
