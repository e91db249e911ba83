//! Requests to backends over one worker's connections: kept, reused, shared (HTTP/2), and thrown away when they are no good
//! any more.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use http::{StatusCode, Version, response};
use hyper::client::conn::http2::SendRequest;
use tokio::sync::Notify;

use super::body::BackendBody;
use super::connect::{BackendStream, ConnectError, Ends, connect};
use super::failure::{Retryable, SendError};
use super::http1::{Answer, Http1};
use super::outgoing::Outgoing;
use super::pool::{Pool, Stream};
use super::{Backend, http2};
use crate::clock::Clock;
use crate::config::Limits;
use crate::http1::ResponseHead;
use crate::message::{UploadBody, check_response};
use crate::metrics::WorkerMetrics;
use crate::reason::Reason;
use crate::socket::Watch;

/// One worker's connections to all backends.
#[derive(Debug)]
pub struct Connections {
    /// Few, and in the order of their backends' ids.
    pools: RefCell<Vec<(usize, Rc<Pool>)>>,
    /// Told when the system refuses another one.
    starved: Notify,
    clock: Clock,
    metrics: Arc<WorkerMetrics>,
}

/// A response's head, and its body to be read.
#[derive(Debug)]
pub struct Sent {
    /// The head.
    pub head: response::Parts,
    /// The body, which holds the connection.
    pub body: BackendBody,
}

/// What a backend answered to a request for an upgrade.
#[derive(Debug)]
pub enum Upgraded {
    /// 101, and the connection with what was read beyond the head.
    Switched(response::Parts, BackendStream, bytes::Bytes),
    /// Any other response.
    Refused(Box<Sent>),
}

enum Opened {
    Http1(Http1),
    Http2(SendRequest<UploadBody>, Stream),
}

impl Connections {
    /// No connections yet.
    #[must_use]
    pub fn new(clock: Clock, metrics: Arc<WorkerMetrics>) -> Self {
        Self { pools: RefCell::default(), starved: Notify::new(), clock, metrics }
    }

    /// Sends a request to `backend` over a kept or a new connection, and waits for the response's head. The wait for the
    /// head has no end of its own: that is the caller's to set. `client` is who gets interim responses.
    ///
    /// # Errors
    /// When there is no connection to be had, or it fails before the response's head is complete.
    pub async fn send(
        &self,
        backend: &Backend,
        request: &Outgoing<'_>,
        mut body: UploadBody,
        limits: &Limits,
        client: Option<&Watch>,
    ) -> Result<Sent, SendError> {
        let pool = self.pool(backend);
        loop {
            let connection = match self.checkout(&pool, (backend, request.client), limits).await? {
                Opened::Http1(connection) => connection,
                Opened::Http2(sender, stream) => {
                    return Box::pin(http2::send(sender, stream, request.http2(backend, body), limits)).await;
                }
            };
            let reused = connection.reused;
            match connection.send(request, body, limits, client).await {
                Ok(answer) if answer.head.status == StatusCode::SWITCHING_PROTOCOLS => {
                    let cause = "a switch of protocols that nobody asked for";
                    return Err(SendError::new(Reason::BadResponse, Retryable::Never, cause));
                }
                Ok(answer) => return self.sent(answer, &pool, limits),
                Err(fault) => match fault.unsent.filter(|_| reused).and_then(UploadBody::again) {
                    // It died between being kept and being used: that says nothing about the backend. The next one.
                    Some(again) => body = again,
                    None => return Err(fault.error),
                },
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
        request: &Outgoing<'_>,
        limits: &Limits,
    ) -> Result<Upgraded, SendError> {
        let pool = self.pool(backend);
        let (stream, http2) = self.connect(backend, request.client).await?;
        if http2 {
            return Err(SendError::new(Reason::BadResponse, Retryable::Never, "upgrades need an HTTP/1.1 backend"));
        }
        let sent = Http1::new(stream, request.client).send(request, UploadBody::default(), limits, None).await;
        let answer = sent.map_err(|fault| fault.error)?;
        if answer.head.status != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Upgraded::Refused(Box::new(self.sent(answer, &pool, limits)?)));
        }
        match answer.connection.into_stream() {
            Some((stream, early)) => Ok(Upgraded::Switched(parts(answer.head).0, stream, early)),
            None => Err(SendError::new(Reason::Internal, Retryable::Never, "the connection is still in use")),
        }
    }

    /// Waits until the system refuses another connection: whoever holds one without need should let go of it.
    pub async fn starved(&self) {
        self.starved.notified().await;
    }

    /// Closes what has been idle for too long, and forgets backends that are not in `keep` any more.
    pub fn sweep(&self, keep: impl Fn(usize) -> bool) {
        let now = self.clock.millis();
        self.pools.borrow_mut().retain(|(id, pool)| {
            pool.sweep(now);
            keep(*id)
        });
    }

    /// Holds the response against the gate before its connection can serve another one.
    fn sent(&self, answer: Answer, pool: &Rc<Pool>, limits: &Limits) -> Result<Sent, SendError> {
        let Answer { head, connection, uploading } = answer;
        let (keep_alive, facts) = (head.keep_alive, head.facts);
        let (head, decoder) = parts(head);
        check_response(&head, &facts, limits).map_err(SendError::broken)?;
        Ok(Sent { head, body: BackendBody::http1(decoder, keep_alive, connection, uploading, pool, &self.clock) })
    }

    fn pool(&self, backend: &Backend) -> Rc<Pool> {
        let mut pools = self.pools.borrow_mut();
        let place = match pools.binary_search_by_key(&backend.id, |(id, _)| *id) {
            Ok(place) => place,
            Err(place) => {
                pools.insert(place, (backend.id, Rc::new(Pool::new(backend))));
                place
            }
        };
        Rc::clone(&pools[place].1)
    }

    async fn checkout(
        &self,
        pool: &Rc<Pool>,
        (backend, client): (&Backend, Option<Ends>),
        limits: &Limits,
    ) -> Result<Opened, ConnectError> {
        if pool.speaks_http2.get() != Some(true) {
            if let Some(connection) = pool.take_idle(client) {
                return Ok(Opened::Http1(connection));
            }
            if pool.speaks_http2.get() == Some(false) {
                return Box::pin(self.open(pool, (backend, client), limits)).await;
            }
        }
        if let Some((sender, stream)) = pool.take_stream() {
            return Ok(Opened::Http2(sender, stream));
        }
        let _one_at_a_time = Box::pin(pool.opening.acquire()).await;
        match pool.take_stream() {
            Some((sender, stream)) => Ok(Opened::Http2(sender, stream)),
            None => Box::pin(self.open(pool, (backend, client), limits)).await,
        }
    }

    async fn open(
        &self,
        pool: &Pool,
        (backend, client): (&Backend, Option<Ends>),
        limits: &Limits,
    ) -> Result<Opened, ConnectError> {
        let (stream, http2) = self.connect(backend, client).await?;
        pool.speaks_http2.set(Some(http2));
        if !http2 {
            return Ok(Opened::Http1(Http1::new(stream, client)));
        }
        let sender = http2::handshake(stream, limits).await.map_err(|error| ConnectError::http(backend, error))?;
        let stream = pool.share(&sender, self.clock.millis());
        Ok(Opened::Http2(sender, stream))
    }

    /// A new connection. If the system has none left, one that is kept for later is given up for it.
    async fn connect(&self, backend: &Backend, client: Option<Ends>) -> Result<(BackendStream, bool), ConnectError> {
        let mut connected = connect(backend, client).await;
        if matches!(&connected, Err(error) if error.reason == Reason::SystemLimit) {
            self.starved.notify_one();
            if self.give_up_oldest() {
                connected = connect(backend, client).await;
            }
        }
        let connected = connected?;
        self.metrics.upstream_connected();
        Ok(connected)
    }

    /// Closes of each backend's idle connections the one that has waited longest; says whether there was any.
    fn give_up_oldest(&self) -> bool {
        self.pools.borrow().iter().filter(|(_, pool)| pool.give_up_oldest()).count() > 0
    }
}

/// A head as the library has it, and how its body is framed.
fn parts(head: ResponseHead) -> (response::Parts, crate::http1::Decoder) {
    let mut parts = http::Response::new(()).into_parts().0;
    parts.status = head.status;
    parts.version = if head.version == Version::HTTP_10 { Version::HTTP_10 } else { Version::HTTP_11 };
    parts.headers = head.headers;
    (parts, head.body)
}
