//! Backends that keep to the rules: real servers that answer, and remember what they were asked.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use http::{HeaderMap, Method, Request, Response, Version};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::body::{Body, full};
use crate::tls::Issued;
use crate::wait::Gate;

/// A backend, to be awaited. Unless told otherwise it speaks HTTP/1.1 and HTTP/2 in the clear and answers with what it was
/// sent, as JSON: method, path, version, headers, body.
#[must_use]
pub fn backend() -> BackendBuilder {
    BackendBuilder {
        handler: Arc::new(|request| Box::pin(echo(request))),
        tls: None,
        address: "127.0.0.1:0".parse().unwrap(),
    }
}

type Handler = Arc<dyn Fn(Request<Incoming>) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> + Send + Sync>;

/// The URL of a place where nobody listens, nor ever will while the scenes last.
pub async fn nowhere() -> String {
    // A socket that is bound and does not listen refuses connections and keeps its port from others.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    std::mem::forget(socket);
    url
}

/// A backend about to start.
pub struct BackendBuilder {
    handler: Handler,
    tls: Option<TlsAcceptor>,
    address: SocketAddr,
}

/// A running backend. Dropping it closes its listener and all its connections.
#[derive(Debug)]
pub struct Backend {
    /// Where it listens.
    pub address: SocketAddr,
    /// What it was asked.
    pub ledger: Ledger,
    scheme: &'static str,
    task: AbortHandle,
}

/// What a backend was asked, in the order in which it began to work on it. Clones look at the same ledger.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    requests: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
}

/// A request's head, as a backend saw it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub target: String,
    /// The version that it came in.
    pub version: Version,
    /// The fields.
    pub headers: HeaderMap,
    /// The authority of the target: `:authority` in HTTP/2.
    pub authority: Option<String>,
}

impl BackendBuilder {
    /// Answers everything with 200 and this text.
    #[must_use]
    pub fn says(self, text: &str) -> Self {
        let text = text.to_owned();
        self.answers(move |_| {
            let response = Response::new(full(text.clone()));
            async move { response }
        })
    }

    /// Answers everything with 200 and this text, as often as the gate lets it.
    #[must_use]
    pub fn says_past(self, gate: &Gate, text: &str) -> Self {
        let (gate, text) = (gate.clone(), text.to_owned());
        self.answers(move |_| {
            let (gate, response) = (gate.clone(), Response::new(full(text.clone())));
            async move {
                gate.pass().await;
                response
            }
        })
    }

    /// Answers as this function does.
    #[must_use]
    pub fn answers<F, R>(mut self, answer: F) -> Self
    where
        F: Fn(Request<Incoming>) -> R + Send + Sync + 'static,
        R: Future<Output = Response<Body>> + Send + 'static,
    {
        self.handler = Arc::new(move |request| Box::pin(answer(request)));
        self
    }

    /// Speaks TLS with this certificate, and of these protocols by ALPN.
    #[must_use]
    pub fn tls(mut self, issued: &Issued, alpn: &[&str]) -> Self {
        self.tls = Some(TlsAcceptor::from(Arc::new(issued.server(alpn))));
        self
    }

    /// Listens on this address, where another backend has been.
    #[must_use]
    pub fn at(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    async fn start(self) -> Backend {
        let listener = TcpListener::bind(self.address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let ledger = Ledger::default();
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let task = tokio::spawn(serve(listener, self.handler, self.tls, ledger.clone())).abort_handle();
        Backend { address, ledger, scheme, task }
    }
}

impl std::fmt::Debug for BackendBuilder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("BackendBuilder").field("address", &self.address).finish_non_exhaustive()
    }
}

impl IntoFuture for BackendBuilder {
    type Output = Backend;
    type IntoFuture = Pin<Box<dyn Future<Output = Backend> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.start())
    }
}

impl Backend {
    /// For `backends = [..]`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// Dies: the listener and all connections are gone at once.
    pub fn die(&self) {
        self.task.abort();
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.die();
    }
}

impl Ledger {
    /// All requests so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Seen> {
        self.requests.lock().unwrap().clone()
    }

    /// How many requests there were.
    #[must_use]
    pub fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }

    /// Method and target of each request: `GET /x`.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.requests.lock().unwrap().iter().map(|seen| format!("{} {}", seen.method, seen.target)).collect()
    }

    /// The last request.
    #[must_use]
    pub fn last(&self) -> Seen {
        self.requests.lock().unwrap().last().expect("at least one request").clone()
    }

    /// How many connections were accepted.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// How many connections are open now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// Writes a request down.
    pub fn note(&self, seen: Seen) {
        self.requests.lock().unwrap().push(seen);
    }

    /// Forgets all requests.
    pub fn clear(&self) {
        self.requests.lock().unwrap().clear();
    }

    /// Counts a connection, which is open until the guard is dropped.
    #[must_use]
    pub fn connected(&self) -> impl Drop + use<> {
        self.connections.fetch_add(1, Ordering::SeqCst);
        self.open.fetch_add(1, Ordering::SeqCst);
        Open(self.open.clone())
    }
}

impl Seen {
    /// The value of the only field of that name, if there is one.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?.to_str().unwrap();
        assert!(values.next().is_none(), "{name} is there more than once: {:?}", self.headers);
        Some(value)
    }

    /// The head of that request.
    #[must_use]
    pub fn of<B>(request: &Request<B>) -> Self {
        let target = request.uri().path_and_query().map_or("*", http::uri::PathAndQuery::as_str).to_owned();
        let authority = request.uri().authority().map(ToString::to_string);
        let (method, headers) = (request.method().clone(), request.headers().clone());
        Self { method, target, version: request.version(), headers, authority }
    }
}

struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn serve(listener: TcpListener, handler: Handler, tls: Option<TlsAcceptor>, ledger: Ledger) {
    // Connections end with this task.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (handler, tls, ledger) = (handler.clone(), tls.clone(), ledger.clone());
        connections.spawn(connection(stream, handler, tls, ledger));
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(stream: TcpStream, handler: Handler, tls: Option<TlsAcceptor>, ledger: Ledger) {
    let open = ledger.connected();
    stream.set_nodelay(true).unwrap();
    match tls {
        None => exchanges(stream, handler, ledger).await,
        Some(tls) => {
            if let Ok(stream) = tls.accept(stream).await {
                exchanges(stream, handler, ledger).await;
            }
        }
    }
    drop(open);
}

async fn exchanges<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(stream: S, handler: Handler, ledger: Ledger) {
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        ledger.note(Seen::of(&request));
        let answer = handler(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let server = auto::Builder::new(TokioExecutor::new());
    // How a client leaves is its own affair.
    let _ = server.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
}

/// Answers with the request, as JSON. Trailers of the request come back under `trailers`.
pub async fn echo(request: Request<Incoming>) -> Response<Body> {
    let seen = Seen::of(&request);
    let collected = match request.into_body().collect().await {
        Ok(collected) => collected,
        Err(error) => {
            return Response::builder().status(400).body(full(error.to_string())).unwrap();
        }
    };
    let trailers = collected.trailers().map(as_json);
    let body = String::from_utf8_lossy(&collected.to_bytes()).into_owned();
    let json = json!({
        "method": seen.method.as_str(),
        "target": seen.target,
        "version": format!("{:?}", seen.version),
        "authority": seen.authority,
        "headers": as_json(&seen.headers),
        "body": body,
        "trailers": trailers,
    });
    Response::builder().header("content-type", "application/json").body(full(json.to_string())).unwrap()
}

/// Several fields of one name become one, joined by commas.
fn as_json(headers: &HeaderMap) -> Value {
    let text =
        |name| headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect::<Vec<_>>();
    headers
        .keys()
        .map(|name| (name.to_string(), Value::from(text(name).join(", "))))
        .collect::<serde_json::Map<_, _>>()
        .into()
}
