//! What a call of a bare HTTP client costs, for `bench/platform` to hold the calls of plugins against: a server that asks a
//! backend before it answers. `bare_client PORT BACKEND` serves `127.0.0.1:PORT`; a request with `X-Ask` has it ask `BACKEND`,
//! a `HOST:PORT`, for `/`, one with `X-Say` is answered with that. What the first costs more than the second is the call. Each
//! connection has a connection of its own to the backend, which is kept.

use std::env;
use std::error::Error;

use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::task::{LocalSet, spawn_local};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [port, backend] = arguments.as_slice() else {
        return Err("usage: bare_client PORT HOST:PORT".into());
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let backend: &'static str = backend.clone().leak();
    runtime.block_on(LocalSet::new().run_until(serve(port.parse()?, backend)))
}

async fn serve(port: u16, backend: &'static str) -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        spawn_local(async move {
            let client = Mutex::new(None);
            let answer = service_fn(|request| answer(request, &client, backend));
            // A client that leaves is no news.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    client: &Mutex<Option<SendRequest<Empty<Bytes>>>>,
    backend: &str,
) -> Result<Response<Full<Bytes>>> {
    let text = match request.headers().get("x-say") {
        Some(text) => text.to_str()?.to_owned(),
        None if request.headers().contains_key("x-ask") => ask(&mut *client.lock().await, backend).await?,
        None => String::new(),
    };
    Ok(Response::new(Full::new(text.into())))
}

async fn ask(client: &mut Option<SendRequest<Empty<Bytes>>>, backend: &str) -> Result<String> {
    let sender = match client {
        Some(sender) => sender,
        None => client.insert(connect(backend).await?),
    };
    sender.ready().await?;
    let request = Request::get("/").header("host", backend).body(Empty::new())?;
    let response = sender.send_request(request).await?;
    let (head, body) = response.into_parts();
    let body = body.collect().await?.to_bytes();
    let kind = head.headers.get(CONTENT_TYPE).map_or(Ok(""), |kind| kind.to_str())?;
    Ok(format!("{} {kind} {}", head.status.as_u16(), String::from_utf8_lossy(&body)))
}

async fn connect(backend: &str) -> Result<SendRequest<Empty<Bytes>>> {
    let stream = TcpStream::connect(backend).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    spawn_local(connection);
    Ok(sender)
}
