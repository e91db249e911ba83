//! A client on one connection, HTTP/1.1 or HTTP/2, in the clear or over TLS.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response, StatusCode, Version};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::body::{Body, empty, full};
use crate::wait::within;

/// A client on one connection to that address, to be awaited.
#[must_use]
pub fn client(address: SocketAddr) -> ClientBuilder {
    ClientBuilder { address, http2: false, tls: None, name: "localhost".to_owned() }
}

/// GET on a connection of its own.
#[track_caller]
pub fn get(address: SocketAddr, path: &str) -> impl Future<Output = Answer> {
    let path = path.to_owned();
    within("a GET", async move { client(address).await.get(&path).await })
}

/// A client about to connect.
#[derive(Debug)]
pub struct ClientBuilder {
    address: SocketAddr,
    http2: bool,
    tls: Option<ClientConfig>,
    name: String,
}

/// A connected client.
#[derive(Debug)]
pub struct Client {
    sender: Sender,
    scheme: &'static str,
    name: String,
    /// What ALPN agreed on.
    pub alpn: Option<String>,
}

/// A response, read to its end.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The version of the connection.
    pub version: Version,
    /// The fields.
    pub headers: HeaderMap,
    /// What came of the body.
    pub body: Bytes,
    /// The trailers, if there were any.
    pub trailers: Option<HeaderMap>,
    /// Why the body is not complete, if it is not.
    pub broken: Option<hyper::Error>,
}

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

impl ClientBuilder {
    /// Speaks HTTP/2: by prior knowledge in the clear.
    #[must_use]
    pub fn http2(mut self) -> Self {
        self.http2 = true;
        self
    }

    /// Speaks TLS, and what ALPN agrees on.
    #[must_use]
    pub fn tls(mut self, config: ClientConfig) -> Self {
        self.tls = Some(config);
        self
    }

    /// The name to ask for: as SNI, and as Host of requests that have none.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Connects, or says why not.
    pub async fn try_connect(self) -> std::io::Result<Client> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let Some(config) = self.tls else {
            let sender = Sender::over(stream, self.http2).await.map_err(std::io::Error::other)?;
            return Ok(Client { sender, scheme: "http", name: self.name, alpn: None });
        };
        let name = ServerName::try_from(self.name.clone()).map_err(std::io::Error::other)?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        let alpn = stream.get_ref().1.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
        let http2 = self.http2 || alpn.as_deref() == Some("h2");
        let sender = Sender::over(stream, http2).await.map_err(std::io::Error::other)?;
        Ok(Client { sender, scheme: "https", name: self.name, alpn })
    }
}

impl IntoFuture for ClientBuilder {
    type Output = Client;
    type IntoFuture = Pin<Box<dyn Future<Output = Client> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let address = self.address;
            let client = within("connecting", self.try_connect()).await;
            client.unwrap_or_else(|error| panic!("{address}: {error}"))
        })
    }
}

impl Client {
    /// GET.
    pub async fn get(&mut self, path: &str) -> Answer {
        self.send(Request::get(path).body(empty()).unwrap()).await
    }

    /// POST.
    pub async fn post(&mut self, path: &str, body: impl Into<Bytes>) -> Answer {
        self.send(Request::post(path).body(full(body)).unwrap()).await
    }

    /// Sends a request and reads the response to its end.
    pub async fn send(&mut self, request: Request<Body>) -> Answer {
        match self.try_send(request).await {
            Ok(answer) => answer,
            Err(error) => panic!("no response: {error:?}"),
        }
    }

    /// Sends a request and reads the response to its end, or says why there is none.
    pub async fn try_send(&mut self, request: Request<Body>) -> hyper::Result<Answer> {
        Ok(Answer::read(self.open(request).await?).await)
    }

    /// Sends a request and waits for the response's head.
    pub async fn open(&mut self, request: Request<Body>) -> hyper::Result<Response<Incoming>> {
        within("a response's head", self.start(request)).await
    }

    /// Sends a request; the response's head is the future's. Several may be under way with HTTP/2.
    pub fn start(&mut self, request: Request<Body>) -> impl Future<Output = hyper::Result<Response<Incoming>>> + use<> {
        let request = self.complete(request);
        match &mut self.sender {
            Sender::Http1(sender) => futures_util::future::Either::Left(sender.send_request(request)),
            Sender::Http2(sender) => futures_util::future::Either::Right(sender.send_request(request)),
        }
    }

    /// Whether the connection is closed, as far as is known.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        match &self.sender {
            Sender::Http1(sender) => sender.is_closed(),
            Sender::Http2(sender) => sender.is_closed(),
        }
    }

    /// Waits until another request can be sent. False when the connection is closed.
    pub async fn ready(&mut self) -> bool {
        match &mut self.sender {
            Sender::Http1(sender) => sender.ready().await.is_ok(),
            Sender::Http2(sender) => sender.ready().await.is_ok(),
        }
    }

    fn complete(&self, mut request: Request<Body>) -> Request<Body> {
        match &self.sender {
            Sender::Http1(_) => {
                if !request.headers().contains_key("host") {
                    request.headers_mut().insert("host", self.name.parse().unwrap());
                }
            }
            Sender::Http2(_) => {
                if request.uri().authority().is_none() {
                    let host = request.headers_mut().remove("host");
                    let host = host.map_or_else(|| self.name.clone(), |host| host.to_str().unwrap().to_owned());
                    let path = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
                    *request.uri_mut() = format!("{}://{host}{path}", self.scheme).parse().unwrap();
                }
                *request.version_mut() = Version::HTTP_2;
            }
        }
        request
    }
}

impl Sender {
    async fn over<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(stream: S, http2: bool) -> hyper::Result<Self> {
        // What ends a connection shows in the requests on it.
        if http2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            Ok(Self::Http2(sender))
        } else {
            let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection.with_upgrades());
            Ok(Self::Http1(sender))
        }
    }
}

impl Answer {
    /// Reads a response to its end, good or bad.
    pub async fn read(response: Response<Incoming>) -> Self {
        let (head, mut body) = response.into_parts();
        let mut answer = Self {
            status: head.status,
            version: head.version,
            headers: head.headers,
            body: Bytes::new(),
            trailers: None,
            broken: None,
        };
        let mut bytes = BytesMut::new();
        while let Some(frame) = within("a response's body", body.frame()).await {
            match frame.map(http_body::Frame::into_data) {
                Ok(Ok(data)) => bytes.extend_from_slice(&data),
                Ok(Err(other)) => answer.trailers = other.into_trailers().ok(),
                Err(error) => {
                    answer.broken = Some(error);
                    break;
                }
            }
        }
        answer.body = bytes.freeze();
        answer
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        assert!(self.broken.is_none(), "cut short: {:?}", self.broken);
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.text()).unwrap_or_else(|error| panic!("{error}: {:?}", self.text()))
    }

    /// The value of the only field of that name, if there is one.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?.to_str().unwrap();
        assert!(values.next().is_none(), "{name} is there more than once: {:?}", self.headers);
        Some(value)
    }
}
