//! One worker's connections to backends: kept, reused, shared (HTTP/2), and thrown away when they are no good any more.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::uri::{PathAndQuery, Scheme};
use http::{Request, Response, Uri, Version, header};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use super::Backend;
use super::connect::{BackendStream, ConnectError, connect};
use super::failure::{Retryable, SendError};
use super::wire::{Wire, WiredStream};
use crate::clock::Clock;
use crate::config::{Limits, Protocol};
use crate::message::{Upload, UploadBody};
use crate::metrics::WorkerMetrics;
use crate::reason::Reason;
use crate::socket::Watch;

/// Backends' ids are small numbers that nobody outside chooses: they need no hashing.
#[derive(Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_usize(&mut self, id: usize) {
        // The table looks at the highest bits as well.
        self.0 = (id as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// One worker's connections to all backends.
#[derive(Debug)]
pub struct Connections {
    pools: RefCell<HashMap<usize, Rc<Pool>, BuildHasherDefault<IdHasher>>>,
    clock: Clock,
    metrics: Arc<WorkerMetrics>,
}

/// A response's head, its body to be read, and the hold on the connection that it comes over.
#[derive(Debug)]
pub struct Sent {
    /// The response.
    pub response: Response<Incoming>,
    /// To be kept as long as the body is read.
    pub lease: Lease,
}

/// The hold on a connection. [`Lease::done`] gives the connection back; dropping it ends the request.
#[derive(Debug)]
pub struct Lease(Held);

/// What a backend answered to a request for an upgrade.
#[derive(Debug)]
pub enum Upgraded {
    /// 101, and the connection with what was read beyond the head.
    Switched(Response<()>, BackendStream, bytes::Bytes),
    /// Any other response.
    Refused(Box<Sent>),
}

#[derive(Debug)]
enum Held {
    Http1 { connection: Option<Http1>, pool: Rc<Pool>, clock: Clock },
    Http2(#[expect(dead_code, reason = "counts the stream until it is dropped")] Stream),
}

#[derive(Debug)]
struct Pool {
    idle_limit: usize,
    idle_timeout: Duration,
    idle: RefCell<Vec<Idle>>,
    http2: RefCell<Vec<Http2>>,
    /// What ALPN agreed on, once known.
    speaks_http2: Cell<Option<bool>>,
    /// One HTTP/2 connection is opened at a time: all who wait will share it.
    opening: Semaphore,
}

#[derive(Debug)]
struct Idle {
    connection: Http1,
    since: u64,
}

#[derive(Debug)]
struct Http1 {
    sender: http1::SendRequest<UploadBody>,
    task: AbortHandle,
    wire: Rc<Wire>,
    reused: bool,
}

#[derive(Debug)]
struct Http2 {
    sender: http2::SendRequest<UploadBody>,
    streams: Rc<Cell<usize>>,
    idle_since: u64,
}

/// One of an HTTP/2 connection's streams, counted.
#[derive(Debug)]
struct Stream(Rc<Cell<usize>>);

enum Opened {
    Http1(Http1),
    Http2(http2::SendRequest<UploadBody>, Stream),
}

impl Connections {
    /// No connections yet.
    #[must_use]
    pub fn new(clock: Clock, metrics: Arc<WorkerMetrics>) -> Self {
        Self { pools: RefCell::default(), clock, metrics }
    }

    /// Sends a request to `backend` over a kept or a new connection, and waits for the response's head. The wait for the
    /// head has no end of its own: that is the caller's to set. `client` is who gets interim responses.
    ///
    /// # Errors
    /// When there is no connection to be had, or it fails before the response's head is complete.
    pub async fn send(
        &self,
        backend: &Backend,
        request: Request<UploadBody>,
        limits: &Limits,
        client: Option<&Rc<Watch>>,
    ) -> Result<Sent, SendError> {
        let pool = self.pool(backend);
        let mut request = request;
        loop {
            let opened = self.checkout(&pool, backend, limits).await?;
            let outcome = match opened {
                Opened::Http1(connection) => self.send_http1(connection, &pool, request, client).await,
                Opened::Http2(sender, stream) => send_http2(sender, stream, for_http2(request, backend)).await,
            };
            match outcome {
                // It died between being kept and being used: that says nothing about the backend. The next one.
                Err((Some(back), _)) => request = back,
                Err((None, error)) => return Err(error),
                Ok(sent) => return Ok(sent),
            }
        }
    }

    /// Asks `backend` to switch protocols, on a connection of its own.
    ///
    /// # Errors
    /// As [`Connections::send`].
    pub async fn upgrade(
        &self,
        backend: &Backend,
        request: Request<UploadBody>,
        limits: &Limits,
    ) -> Result<Upgraded, SendError> {
        let pool = self.pool(backend);
        let (stream, http2) = connect(backend).await?;
        self.metrics.upstream_connected();
        if http2 {
            return Err(SendError::new(Reason::BadResponse, Retryable::Never, "upgrades need an HTTP/1.1 backend"));
        }
        let wire = Rc::new(Wire::default());
        let io = TokioIo::new(WiredStream { stream, wire: Rc::clone(&wire) });
        let (mut sender, connection) = http1_builder(limits).handshake(io).await.map_err(SendError::closed)?;
        let task = tokio::task::spawn_local(connection.without_shutdown());
        wire.request_begins(None);
        let abort = task.abort_handle();
        let response = sender.try_send_request(request).await;
        let response = response.map_err(|mut error| {
            error.take_message();
            SendError::classify(error.into_error(), false, wire.heard())
        })?;
        wire.response_begins();
        if response.status() != http::StatusCode::SWITCHING_PROTOCOLS {
            let connection = Http1 { sender, task: abort, wire, reused: false };
            let clock = self.clock.clone();
            let lease = Lease(Held::Http1 { connection: Some(connection), pool, clock });
            return Ok(Upgraded::Refused(Box::new(Sent { response, lease })));
        }
        let parts = match task.await {
            Ok(Ok(parts)) => parts,
            Ok(Err(error)) => return Err(SendError::closed(error)),
            Err(error) => return Err(SendError::new(Reason::Internal, Retryable::Never, error)),
        };
        let stream = parts.io.into_inner().stream;
        Ok(Upgraded::Switched(response.map(drop), stream, parts.read_buf))
    }

    /// Closes what has been idle for too long, and forgets backends that are not in `keep` any more.
    pub fn sweep(&self, keep: impl Fn(usize) -> bool) {
        let now = self.clock.millis();
        let old = |since: u64, timeout: Duration| u128::from(now.saturating_sub(since)) >= timeout.as_millis();
        self.pools.borrow_mut().retain(|id, pool| {
            pool.idle
                .borrow_mut()
                .retain(|idle| !idle.connection.sender.is_closed() && !old(idle.since, pool.idle_timeout));
            for connection in pool.http2.borrow_mut().iter_mut().filter(|connection| connection.streams.get() > 0) {
                connection.idle_since = now;
            }
            pool.http2
                .borrow_mut()
                .retain(|connection| !connection.sender.is_closed() && !old(connection.idle_since, pool.idle_timeout));
            keep(*id)
        });
    }

    fn pool(&self, backend: &Backend) -> Rc<Pool> {
        let mut pools = self.pools.borrow_mut();
        let pool = pools.entry(backend.id).or_insert_with(|| Rc::new(Pool::new(backend)));
        Rc::clone(pool)
    }

    async fn checkout(&self, pool: &Rc<Pool>, backend: &Backend, limits: &Limits) -> Result<Opened, ConnectError> {
        if pool.speaks_http2.get() != Some(true) {
            while let Some(mut connection) = pool.take_idle() {
                // The connection's task may not have noticed yet that the last response is over.
                if connection.sender.is_ready() || connection.sender.ready().await.is_ok() {
                    return Ok(Opened::Http1(connection));
                }
            }
            if pool.speaks_http2.get() == Some(false) {
                return Box::pin(self.open(pool, backend, limits)).await;
            }
        }
        if let Some(stream) = pool.take_stream() {
            return Ok(stream);
        }
        let _one_at_a_time = Box::pin(pool.opening.acquire()).await;
        match pool.take_stream() {
            Some(stream) => Ok(stream),
            None => Box::pin(self.open(pool, backend, limits)).await,
        }
    }

    async fn open(&self, pool: &Pool, backend: &Backend, limits: &Limits) -> Result<Opened, ConnectError> {
        let (stream, http2) = connect(backend).await?;
        self.metrics.upstream_connected();
        pool.speaks_http2.set(Some(http2));
        if http2 {
            let io = TokioIo::new(stream);
            let handshake = http2_builder(limits).handshake(io).await;
            let (sender, connection) = handshake.map_err(|error| ConnectError::http(backend, error))?;
            tokio::task::spawn_local(connection);
            let streams = Rc::new(Cell::new(0));
            let stream = Stream::count(&streams);
            let idle_since = self.clock.millis();
            pool.http2.borrow_mut().push(Http2 { sender: sender.clone(), streams, idle_since });
            return Ok(Opened::Http2(sender, stream));
        }
        let wire = Rc::new(Wire::default());
        let io = TokioIo::new(WiredStream { stream, wire: Rc::clone(&wire) });
        let handshake = http1_builder(limits).handshake(io).await;
        let (sender, connection) = handshake.map_err(|error| ConnectError::http(backend, error))?;
        let task = tokio::task::spawn_local(connection).abort_handle();
        Ok(Opened::Http1(Http1 { sender, task, wire, reused: false }))
    }

    async fn send_http1(
        &self,
        mut connection: Http1,
        pool: &Rc<Pool>,
        request: Request<UploadBody>,
        client: Option<&Rc<Watch>>,
    ) -> Result<Sent, (Option<Request<UploadBody>>, SendError)> {
        connection.wire.request_begins(client);
        // Until the response is there, dropping this future must end the request: the lease does.
        let sent = connection.sender.try_send_request(request);
        let (wire, reused) = (Rc::clone(&connection.wire), connection.reused);
        let mut lease =
            Lease(Held::Http1 { connection: Some(connection), pool: Rc::clone(pool), clock: self.clock.clone() });
        match sent.await {
            Ok(response) => {
                wire.response_begins();
                Ok(Sent { response, lease })
            }
            Err(mut error) => {
                lease.abort();
                let unsent = error.take_message();
                let mut error = SendError::classify(error.into_error(), reused, wire.heard());
                if unsent.is_some() {
                    error.retry = Retryable::Always;
                }
                Err((unsent.filter(|_| reused), error))
            }
        }
    }
}

impl Lease {
    /// The response has been read to its end. The connection serves the next request, unless this one's body is still on
    /// its way: the backend may never read the rest of it, and nobody would notice.
    pub fn done(mut self, upload: Option<&Upload>) {
        if upload.is_some_and(|upload| !upload.ended()) {
            return;
        }
        if let Held::Http1 { connection, pool, clock } = &mut self.0
            && let Some(connection) = connection.take()
        {
            pool.put_back(connection, clock.millis());
        }
    }

    fn abort(&mut self) {
        if let Held::Http1 { connection, .. } = &mut self.0
            && let Some(connection) = connection.take()
        {
            connection.task.abort();
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.abort();
    }
}

impl Pool {
    fn new(backend: &Backend) -> Self {
        let speaks_http2 = match (backend.protocol, &backend.tls) {
            (Protocol::Http1, _) | (Protocol::Auto, None) => Some(false),
            (Protocol::Http2, _) => Some(true),
            (Protocol::Auto, Some(_)) => None,
        };
        Self {
            idle_limit: backend.pool.idle,
            idle_timeout: backend.pool.idle_timeout,
            idle: RefCell::default(),
            http2: RefCell::default(),
            speaks_http2: Cell::new(speaks_http2),
            opening: Semaphore::new(1),
        }
    }

    /// The connection that was used last, which is the likeliest to be alive.
    fn take_idle(&self) -> Option<Http1> {
        let mut idle = self.idle.borrow_mut();
        while let Some(Idle { connection, .. }) = idle.pop() {
            if !connection.sender.is_closed() {
                return Some(connection);
            }
        }
        None
    }

    fn put_back(&self, mut connection: Http1, now: u64) {
        let mut idle = self.idle.borrow_mut();
        if connection.sender.is_closed() || idle.len() >= self.idle_limit {
            return;
        }
        connection.reused = true;
        idle.push(Idle { connection, since: now });
    }

    fn take_stream(&self) -> Option<Opened> {
        let mut connections = self.http2.borrow_mut();
        connections.retain(|connection| !connection.sender.is_closed());
        let connection = connections.iter().find(|connection| connection.streams.get() < STREAMS)?;
        Some(Opened::Http2(connection.sender.clone(), Stream::count(&connection.streams)))
    }
}

impl Stream {
    fn count(streams: &Rc<Cell<usize>>) -> Self {
        streams.set(streams.get() + 1);
        Self(Rc::clone(streams))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// RFC 9113 §8.3.1: the authority instead of Host, and the whole target.
fn for_http2(mut request: Request<UploadBody>, backend: &Backend) -> Request<UploadBody> {
    *request.version_mut() = Version::HTTP_2;
    let host = request.headers_mut().remove(header::HOST).unwrap_or_else(|| backend.authority.clone());
    let scheme = if backend.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
    let target = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let absolute = Uri::builder().scheme(scheme).authority(host.as_bytes()).path_and_query(target).build();
    if let Ok(absolute) = absolute {
        *request.uri_mut() = absolute;
    }
    request
}

async fn send_http2(
    mut sender: http2::SendRequest<UploadBody>,
    stream: Stream,
    request: Request<UploadBody>,
) -> Result<Sent, (Option<Request<UploadBody>>, SendError)> {
    match sender.try_send_request(request).await {
        Ok(response) => Ok(Sent { response, lease: Lease(Held::Http2(stream)) }),
        Err(mut error) => {
            let never_sent = error.take_message().is_some();
            let mut error = SendError::classify(error.into_error(), true, false);
            if never_sent {
                error.retry = Retryable::Always;
            }
            Err((None, error))
        }
    }
}

fn http1_builder(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(BUFFER);
    // Setting the default makes the library allocate for each response what it otherwise keeps on its stack.
    if limits.header_count != HYPER_HEADERS {
        builder.max_headers(limits.header_count);
    }
    builder
}

fn http2_builder(limits: &Limits) -> http2::Builder<LocalExecutor> {
    let mut builder = http2::Builder::new(LocalExecutor);
    builder
        .timer(hyper_util::rt::TokioTimer::new())
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(16 * WINDOW)
        .max_send_buf_size(BUFFER)
        .max_header_list_size(u32::try_from(limits.header_size).unwrap_or(u32::MAX))
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    builder
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
/// Streams on one HTTP/2 connection to a backend; the library makes them wait if the backend allows fewer.
const STREAMS: usize = 100;
/// How often a quiet HTTP/2 connection is asked whether it lives, and how long it may think about it.
const PING: Duration = Duration::from_secs(15);
/// Fields that the HTTP library takes by default.
const HYPER_HEADERS: usize = 100;
