//! Drives an HTTP/1 connection: its exchanges one after the other, its deadlines, and the way it ends.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::proxy::{Connection, log_refusal, refusal, run_tunnel, serve};
use crate::reason::Reason;
use crate::snapshot::Snapshot;
use crate::socket::{ClientStream, Phase, Socket};

/// Serves the connection to its end.
pub(super) async fn drive(connection: Rc<Connection>, socket: Socket, snapshot: &Snapshot) {
    let service = {
        let connection = Rc::clone(&connection);
        service_fn(move |request: Request<Incoming>| {
            let connection = Rc::clone(&connection);
            Box::pin(async move { Ok::<_, Infallible>(serve(connection, request).await) })
        })
    };
    let limits = &snapshot.config.limits;
    let mut builder = http1::Builder::new();
    builder.half_close(true).max_buf_size(BUFFER);
    // Setting the default makes the library allocate for each request what it otherwise keeps on its stack.
    if limits.header_count != HYPER_HEADERS {
        builder.max_headers(limits.header_count);
    }
    let probe = socket.probe();
    let mut http = builder.serve_connection(TokioIo::new(socket), service);
    let watch = Rc::clone(&connection.watch);
    let (mut told_to_close, mut waited) = (false, false);
    let ending = poll_fn(|cx| {
        loop {
            if let Poll::Ready(result) = http.poll_without_shutdown(cx) {
                return Poll::Ready(Ending::of(result, watch.refused()));
            }
            // The library would close a connection that has not had its first request, which may be on its way. It gets a
            // moment, and the library is told when the request has come.
            let first_awaited = watch.served() == 0 && watch.active() == 0;
            if watch.closing() && !told_to_close && !first_awaited {
                told_to_close = true;
                watch.closing_begun();
                Pin::new(&mut http).graceful_shutdown();
                continue;
            }
            if watch.poll_due(cx).is_pending() {
                return Poll::Pending;
            }
            if watch.closing() && first_awaited && !waited {
                waited = true;
                watch.closing_begun();
                continue;
            }
            return Poll::Ready(match watch.phase() {
                Phase::Head if watch.has_head_bytes() => Ending::Refused(Reason::RequestTimeout),
                Phase::Idle | Phase::Head => Ending::Quiet,
                Phase::Exchange | Phase::Body if probe.gone() => Ending::Broken,
                Phase::Body if watch.body_stands() => {
                    watch.times_out();
                    Ending::Broken
                }
                Phase::Exchange | Phase::Body => {
                    watch.look_again();
                    continue;
                }
            });
        }
    })
    .await;
    drop(probe);
    if let Ending::Broken = ending {
        // A response that was cut short must not look whole: no more bytes, and no orderly end of TLS.
        return;
    }
    let parts = http.into_parts();
    let socket = parts.io.into_inner();
    let in_request_line = socket.in_request_line();
    let Some(stream) = socket.into_stream() else { return };
    match ending {
        Ending::Quiet => {
            let tunnel = connection.tunnel.borrow_mut().take();
            match tunnel {
                Some(tunnel) => {
                    let idle = watch.timeouts().tunnel_idle;
                    run_tunnel(stream, parts.read_buf, tunnel, &connection.local.clock, idle).await;
                }
                None => close(stream, &[]).await,
            }
        }
        Ending::Refused(reason) => {
            let reason = match reason {
                Reason::HeadersTooLarge if in_request_line => Reason::UriTooLong,
                reason => reason,
            };
            let id = format!("{:032x}", connection.local.ids.next());
            if !watch.refused_in_exchange() {
                log_refusal(&connection, reason, &id);
            }
            close(stream, &refusal(reason, &id)).await;
        }
        Ending::Broken => {}
    }
}

enum Ending {
    /// All that was begun has been finished.
    Quiet,
    /// What came cannot be served.
    Refused(Reason),
    /// Something broke off in the middle.
    Broken,
}

impl Ending {
    fn of(result: hyper::Result<()>, refused: Option<Reason>) -> Self {
        match (refused, result) {
            (Some(reason), _) => Self::Refused(reason),
            (None, Ok(())) => Self::Quiet,
            (None, Err(error)) if error.is_parse_too_large() => Self::Refused(Reason::HeadersTooLarge),
            (None, Err(error)) if error.is_parse() => Self::Refused(Reason::BadRequest),
            (None, Err(_)) => Self::Broken,
        }
    }
}

/// Sends what is left to be said and closes, reading on for a moment: bytes that come in after a close reset the
/// connection, and the client may lose what it was sent (RFC 9112 §9.6).
async fn close(mut stream: ClientStream, last_words: &[u8]) {
    let farewell = async {
        stream.write_all(last_words).await?;
        stream.shutdown().await?;
        let mut left = LINGER_BYTES;
        let mut buffer = [0; 4096];
        while left > 0 {
            let n = stream.read(&mut buffer).await?;
            if n == 0 {
                break;
            }
            left = left.saturating_sub(n);
        }
        Ok::<_, std::io::Error>(Bytes::new())
    };
    let _ = tokio::time::timeout(LINGER, farewell).await;
}

/// Bytes buffered for one connection, each way.
const BUFFER: usize = 64 * 1024;
/// Fields that the HTTP library takes by default.
const HYPER_HEADERS: usize = 100;
/// How long, and how many bytes, a closed connection is still listened to.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 64 * 1024;
