//! What operators ask a running Lockgate: is it alive, is it ready, what does it count, what is it made of. Served by a
//! thread of its own, so that an answer comes while workers are busy and a slow reader costs them nothing.

mod actions;
mod families;
mod status;

pub use actions::{Action, ActionError, Swapped};
pub use families::render;
pub use status::{Reload, Status};

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot};

use crate::snapshot::Token;

/// What the answers are made of. Asked on the admin thread; it must not wait for workers.
pub trait Source: Send + Sync {
    /// Appends all metrics in Prometheus' text format.
    fn render_metrics(&self, out: &mut String);
    /// Whether new exchanges are welcome.
    fn ready(&self) -> Readiness;
    /// What runs, and how it is doing.
    fn status(&self) -> Status;
    /// What callers must know who tell it to act, if there is something.
    fn token(&self) -> Option<Token>;
    /// Sees to it that something is done soon; false if it will not be.
    fn act(&self, action: Action) -> bool;
}

/// Whether new exchanges are welcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// They are.
    Ready,
    /// They are not, for this reason: `draining`, `starting`.
    Not(String),
}

/// The admin server. It stops when this is dropped.
#[derive(Debug)]
pub struct Handle {
    address: SocketAddr,
    _stop: oneshot::Sender<()>,
}

/// An admin server that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be had.
    #[error("cannot listen on {address} for admin.address: {cause}")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why.
        cause: io::Error,
    },
    /// The system refused a thread or its runtime.
    #[error("cannot start the admin server: {0}")]
    System(#[from] io::Error),
}

/// Starts the admin server.
///
/// # Errors
/// When the address cannot be had, or the system refuses a thread.
pub fn serve(address: SocketAddr, source: Arc<dyn Source>) -> Result<Handle, Error> {
    let listener = TcpListener::bind(address).map_err(|cause| Error::Bind { address, cause })?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (stop, stopped) = oneshot::channel();
    thread::Builder::new().name("admin".to_owned()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                error = accept(listener, source) => tracing::error!("the admin server has ended: {error}"),
                _ = stopped => {}
            }
        });
    })?;
    Ok(Handle { address, _stop: stop })
}

impl Handle {
    /// Where it listens; the port is the system's choice if 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn accept(listener: TcpListener, source: Arc<dyn Source>) -> io::Error {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return error,
    };
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Beyond the limit a connection is closed at once.
                let Ok(permit) = room.clone().try_acquire_owned() else { continue };
                let source = source.clone();
                tokio::spawn(async move {
                    // A client that takes too long, at whatever, is not told why.
                    let _ = tokio::time::timeout(LIFETIME, converse(stream, peer.ip(), source)).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!("the admin server cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, caller: IpAddr, source: Arc<dyn Source>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let source = source.clone();
        async move {
            let path = request.uri().path();
            Ok::<_, Infallible>(match actions::plugin_to_reload(path) {
                Some(name) => actions::reload_plugin(name, &request, caller, source.as_ref()).await,
                None => answer(&request, source.as_ref()),
            })
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER)
        .max_buf_size(HEADER_SIZE)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!("an admin connection failed: {error}");
    }
}

fn answer<B>(request: &Request<B>, source: &dyn Source) -> Response<Full<Bytes>> {
    let answer: fn(&dyn Source) -> Response<Full<Bytes>> = match request.uri().path() {
        "/healthz" => |_| response(StatusCode::OK, TEXT, "alive\n"),
        "/readyz" => readyz,
        "/metrics" => metrics,
        "/status" => status,
        _ => {
            return response(
                StatusCode::NOT_FOUND,
                TEXT,
                "try /metrics, /healthz, /readyz or /status, or POST /plugins/NAME/reload\n",
            );
        }
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD are served here\n");
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    answer(source)
}

fn readyz(source: &dyn Source) -> Response<Full<Bytes>> {
    match source.ready() {
        Readiness::Ready => json(StatusCode::OK, &serde_json::json!({ "ready": true })),
        Readiness::Not(why) => {
            json(StatusCode::SERVICE_UNAVAILABLE, &serde_json::json!({ "ready": false, "why": why }))
        }
    }
}

fn metrics(source: &dyn Source) -> Response<Full<Bytes>> {
    let mut text = String::with_capacity(16 << 10);
    source.render_metrics(&mut text);
    response(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text)
}

fn status(source: &dyn Source) -> Response<Full<Bytes>> {
    json(StatusCode::OK, &source.status())
}

fn json(status: StatusCode, value: &impl serde::Serialize) -> Response<Full<Bytes>> {
    match serde_json::to_string_pretty(value) {
        Ok(text) => response(status, "application/json", text + "\n"),
        Err(error) => response(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n")),
    }
}

fn response(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

const TEXT: &str = "text/plain; charset=utf-8";

/// Connections at a time.
const CONNECTIONS: usize = 32;

/// For a request's head, and between requests.
const HEADER: Duration = Duration::from_secs(20);

/// Of a request's head.
const HEADER_SIZE: usize = 16 << 10;

/// Of a connection, whatever it does.
const LIFETIME: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::sync::Mutex;

    use super::*;
    use crate::metrics::Metrics;

    struct Fake(Mutex<Readiness>);

    impl Source for Fake {
        fn render_metrics(&self, out: &mut String) {
            Metrics::new().render(out);
        }

        fn ready(&self) -> Readiness {
            self.0.lock().unwrap().clone()
        }

        fn status(&self) -> Status {
            Status { version: "1.2.3", ..Status::default() }
        }

        fn token(&self) -> Option<Token> {
            None
        }

        fn act(&self, action: Action) -> bool {
            let Action::ReloadPlugin { tenant, name, done } = action;
            if name == "busy" {
                return false;
            }
            let swapped = Swapped { tenant, plugin: name.clone(), generation: 2, swapped: true, digest: None };
            let outcome = match &*name {
                "good" => Ok(swapped),
                "bad" => Err(ActionError::Refused("it is not wasm".to_owned())),
                _ => Err(ActionError::NoSuchPlugin),
            };
            done.send(outcome).is_ok()
        }
    }

    fn server() -> (Handle, Arc<Fake>) {
        let source = Arc::new(Fake(Mutex::new(Readiness::Ready)));
        (serve("127.0.0.1:0".parse().unwrap(), source.clone()).unwrap(), source)
    }

    fn connect(handle: &Handle) -> TcpStream {
        let stream = TcpStream::connect(handle.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    /// Sends one request and returns the response's head and body.
    fn ask(handle: &Handle, method: &str, path: &str) -> (String, String) {
        let mut stream = connect(handle);
        write!(stream, "{method} {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.to_ascii_lowercase(), body.to_owned())
    }

    #[test]
    fn it_lives_and_says_what_it_counts() {
        let (server, _) = server();
        let (head, _) = ask(&server, "GET", "/healthz");
        assert!(head.starts_with("http/1.1 200 "), "{head}");
        let (head, body) = ask(&server, "GET", "/metrics?x=1");
        assert!(head.starts_with("http/1.1 200 ") && head.contains("text/plain; version=0.0.4"), "{head}");
        assert!(body.contains("\nlockgate_exchanges_in_flight 0\n"), "{body}");
        let (head, body) = ask(&server, "GET", "/status");
        assert!(head.contains("content-type: application/json"), "{head}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&body).unwrap()["version"], "1.2.3");
    }

    #[test]
    fn it_is_not_ready_while_it_drains() {
        let (server, source) = server();
        let (head, body) = ask(&server, "GET", "/readyz");
        assert!(head.starts_with("http/1.1 200 ") && body.contains("true"), "{head} {body}");
        *source.0.lock().unwrap() = Readiness::Not("draining".to_owned());
        let (head, body) = ask(&server, "GET", "/readyz");
        assert!(head.starts_with("http/1.1 503 "), "{head}");
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body, serde_json::json!({ "ready": false, "why": "draining" }));
        assert!(ask(&server, "GET", "/healthz").0.starts_with("http/1.1 200 "));
    }

    #[test]
    fn other_paths_and_methods_are_refused() {
        let (server, _) = server();
        let (head, body) = ask(&server, "GET", "/");
        assert!(head.starts_with("http/1.1 404 ") && body.contains("/readyz"), "{head} {body}");
        let (head, _) = ask(&server, "POST", "/status");
        assert!(head.starts_with("http/1.1 405 ") && head.contains("allow: get, head"), "{head}");
        let (head, body) = ask(&server, "HEAD", "/metrics");
        assert!(head.starts_with("http/1.1 200 ") && head.contains("content-length: "), "{head}");
        assert_eq!(body, "");
    }

    #[test]
    fn a_plugin_is_reloaded_on_request() {
        let (server, _) = server();
        let (head, body) = ask(&server, "POST", "/plugins/good/reload");
        assert!(head.starts_with("http/1.1 200 "), "{head}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&body).unwrap()["swapped"], true);
        for (name, status, words) in
            [("bad", 422, "it is not wasm"), ("none", 404, "no plugin"), ("busy", 503, "at once")]
        {
            let (head, body) = ask(&server, "POST", &format!("/plugins/{name}/reload"));
            assert!(head.starts_with(&format!("http/1.1 {status} ")) && body.contains(words), "{head} {body}");
        }
        let (head, _) = ask(&server, "GET", "/plugins/good/reload");
        assert!(head.starts_with("http/1.1 405 ") && head.contains("allow: post"), "{head}");
    }

    #[test]
    fn too_many_connections_are_closed_and_later_ones_served() {
        let (server, _) = server();
        let held: Vec<_> = (0..CONNECTIONS).map(|_| connect(&server)).collect();
        // Connections are accepted in order, so all that are held count before this one is looked at.
        let mut one_more = connect(&server);
        assert_eq!(one_more.read(&mut [0]).unwrap(), 0, "closed without a word");
        drop(held);
        let begin = std::time::Instant::now();
        while begin.elapsed() < Duration::from_secs(10) {
            let mut stream = connect(&server);
            let _ = write!(stream, "GET /healthz HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n");
            let mut text = String::new();
            if stream.read_to_string(&mut text).is_ok() && text.starts_with("HTTP/1.1 200 ") {
                return;
            }
        }
        panic!("no later connection was served");
    }

    #[test]
    fn a_taken_address_is_an_error_that_names_it() {
        let (server, source) = server();
        let error = serve(server.address(), source).unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot listen on {} for admin.address: ", server.address())), "{error}");
    }

    #[test]
    fn it_stops_when_it_is_dropped() {
        let (server, _) = server();
        let mut stream = connect(&server);
        write!(stream, "GET /healthz HTTP/1.1\r\nhost: admin\r\n\r\n").unwrap();
        assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
        drop(server);
        assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0, "the connection is closed");
    }
}
