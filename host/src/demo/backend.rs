//! The demo's backends: they say who they are, and show what they are sent.

use std::convert::Infallible;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full, Limited};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

use crate::log::escape;

/// Starts a backend on a port of the system's choice. It shows each request through `show` and ends with the process.
///
/// # Errors
/// When the system refuses a socket or a thread.
pub(super) fn start(number: u32, show: fn(&str)) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name(format!("backend-{number}")).spawn(move || {
        let Err(error) = runtime.block_on(serve(listener, number, show));
        tracing::error!("backend {number} of the demo has ended: {error}");
    })?;
    Ok(address)
}

async fn serve(listener: TcpListener, number: u32, show: fn(&str)) -> io::Result<Infallible> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // No file descriptor left, most likely: that passes.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let service =
            service_fn(move |request| async move { Ok::<_, Infallible>(answer(request, number, show).await) });
        tokio::spawn(
            hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service),
        );
    }
}

async fn answer<B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>>>(
    request: Request<B>,
    number: u32,
    show: fn(&str),
) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, BODY).collect().await else {
        let mut response = Response::new(Full::new(Bytes::from_static(b"too long, or cut short")));
        *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
        return response;
    };
    // What is not JSON is shown as nothing, as a server that only understands JSON would.
    let body: serde_json::Value = serde_json::from_slice(&body.to_bytes()).unwrap_or_else(|_| serde_json::json!({}));
    let mut line = Vec::new();
    escape::message(&mut line, &format!("server {number} {} {} {body}", head.method, head.uri));
    show(&String::from_utf8_lossy(&line));
    let mut response = Response::new(Full::new(format!("Hello from server {number}!").into()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// Prints a line, if somebody reads it.
pub(super) fn print(line: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Bytes of a body that are shown.
const BODY: usize = 64 << 10;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::io::Read;
    use std::net::TcpStream;
    use std::sync::Mutex;

    use super::*;

    static SHOWN: Mutex<Vec<String>> = Mutex::new(Vec::new());

    fn ask(address: SocketAddr, request: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let length = body.len();
        write!(stream, "{request} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}")
            .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn it_answers_and_prints_as_in_the_article() {
        let address = start(1, |line| SHOWN.lock().unwrap().push(line.to_owned())).unwrap();
        let answer = ask(address, "GET /test3", "");
        assert!(
            answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nHello from server 1!"),
            "{answer}"
        );
        ask(address, "POST /test4?x=1", r#"{ "name": "Ada", "x": "\u001b" }"#);
        ask(address, "POST /test5", "not JSON");
        let answer = ask(address, "POST /test6", &format!("\"{}\"", "x".repeat(BODY)));
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        assert_eq!(
            *SHOWN.lock().unwrap(),
            [
                "server 1 GET /test3 {}",
                r#"server 1 POST /test4?x=1 {"name":"Ada","x":"\u001b"}"#,
                "server 1 POST /test5 {}"
            ]
        );
    }
}
