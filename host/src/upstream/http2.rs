//! HTTP/2 to a backend, by the library.

use std::time::Duration;

use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};

use super::body::BackendBody;
use super::client::Sent;
use super::connect::BackendStream;
use super::failure::{Retryable, SendError};
use super::pool::Stream;
use crate::config::Limits;
use crate::http1::ResponseFacts;
use crate::message::{UploadBody, check_response};
use crate::reason::Reason;

/// Begins HTTP/2 on a new connection.
pub(super) async fn handshake(stream: BackendStream, limits: &Limits) -> hyper::Result<http2::SendRequest<UploadBody>> {
    let mut builder = http2::Builder::new(LocalExecutor);
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(16 * WINDOW)
        .max_send_buf_size(BUFFER)
        .max_header_list_size(u32::try_from(limits.header_size).unwrap_or(u32::MAX))
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    tokio::task::spawn_local(connection);
    Ok(sender)
}

/// Sends one request and waits for the head of its response.
pub(super) async fn send(
    mut sender: http2::SendRequest<UploadBody>,
    stream: Stream,
    request: http::Request<UploadBody>,
    limits: &Limits,
) -> Result<Sent, SendError> {
    match sender.try_send_request(request).await {
        Ok(response) => {
            let (head, body) = response.into_parts();
            let facts = ResponseFacts::of(&head.headers).map_err(|_| SendError::broken(Reason::BadResponse))?;
            check_response(&head, &facts, limits).map_err(SendError::broken)?;
            Ok(Sent { head, body: BackendBody::http2(body, stream) })
        }
        Err(mut error) => {
            let never_sent = error.take_message().is_some();
            let mut error = SendError::http2(error.into_error());
            if never_sent {
                error.retry = Retryable::Always;
            }
            Err(error)
        }
    }
}

/// Runs what HTTP/2 needs to run beside a connection, on the worker's own thread.
#[derive(Debug, Clone, Copy)]
struct LocalExecutor;

impl<F> hyper::rt::Executor<F> for LocalExecutor
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// Bytes buffered for one connection, each way.
const BUFFER: usize = 64 * 1024;
/// Bytes of one HTTP/2 stream that may be under way to us.
const WINDOW: u32 = 64 * 1024 - 1;
/// How often a quiet HTTP/2 connection is asked whether it lives, and how long it may think about it.
const PING: Duration = Duration::from_secs(15);
