//! Drives an HTTP/2 connection.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use http::Request;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

use crate::config::Limits;
use crate::message::Incoming;
use crate::proxy::{Connection, StreamExecutor, serve};
use crate::socket::Watched;

/// Serves the connection to its end.
pub(super) async fn drive(connection: Rc<Connection>, stream: Watched, limits: &Limits) {
    let service = {
        let connection = Rc::clone(&connection);
        service_fn(move |request: Request<hyper::body::Incoming>| {
            let connection = Rc::clone(&connection);
            async move { Ok::<_, Infallible>(serve(connection, request.map(Incoming::Http2), None).await) }
        })
    };
    let mut builder = http2::Builder::new(StreamExecutor);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_local_error_reset_streams(Some(ERRORS))
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(16 * WINDOW)
        .max_send_buf_size(BUFFER)
        .max_header_list_size(u32::try_from(limits.header_size).unwrap_or(u32::MAX));
    let mut http = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let watch = &connection.watch;
    let mut told_to_close = false;
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(ended) = http.as_mut().poll(cx) {
                if watch.flooded() || ended.is_err_and(|error| is_too_much(&error)) {
                    connection.local.metrics.connection_refused("flood");
                    tracing::info!(client = %connection.peer.address, "closed for a flood of frames");
                }
                return Poll::Ready(());
            }
            if watch.is_shed() {
                return Poll::Ready(());
            }
            // Asked for by itself: as long as exchanges come and go, each sets the deadline anew.
            let asked_to_close = watch.closing() && !told_to_close;
            if !asked_to_close && watch.poll_due(cx).is_pending() {
                return Poll::Pending;
            }
            if watch.active() > 0 && !asked_to_close {
                // The library reads all the time, and would have heard if the client had gone.
                watch.trust();
                continue;
            }
            if watch.rests() {
                continue;
            }
            if told_to_close {
                // It had its time to close.
                return Poll::Ready(());
            }
            // Asked to close, or idle for too long: GOAWAY, and what is under way is finished.
            told_to_close = true;
            watch.close();
            watch.closing_begun();
            Pin::as_mut(&mut http).graceful_shutdown();
        }
    })
    .await;
}

/// Whether the library has had enough of the client (RFC 9113 §7).
fn is_too_much(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<h2::Error>());
    cause.and_then(h2::Error::reason) == Some(h2::Reason::ENHANCE_YOUR_CALM)
}

/// Streams of one connection that we have to reset because the client broke the rules. Until their tasks hear of it, each
/// costs some KiB, and none counts as open.
const ERRORS: usize = 100;
/// Bytes of one stream that may be under way to us (RFC 9113 §6.9.2).
const WINDOW: u32 = 64 * 1024 - 1;
/// Bytes of one stream that may wait to be sent.
const BUFFER: usize = 64 * 1024;
