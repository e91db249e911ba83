//! The connections that one worker keeps to one backend.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use hyper::client::conn::http2;
use tokio::sync::Semaphore;

use super::Backend;
use super::connect::Ends;
use super::http1::Http1;
use crate::config::Protocol;
use crate::message::UploadBody;

/// The connections that one worker keeps to one backend.
#[derive(Debug)]
pub(super) struct Pool {
    idle_limit: usize,
    idle_timeout: Duration,
    idle: RefCell<Vec<Idle>>,
    http2: RefCell<Vec<Http2>>,
    /// What ALPN agreed on, once known.
    pub(super) speaks_http2: Cell<Option<bool>>,
    /// One HTTP/2 connection is opened at a time: all who wait will share it.
    pub(super) opening: Semaphore,
}

/// A connection that waits for its next request.
#[derive(Debug)]
struct Idle {
    connection: Http1,
    since: u64,
}

#[derive(Debug)]
struct Http2 {
    sender: http2::SendRequest<UploadBody>,
    streams: Rc<Cell<usize>>,
    idle_since: u64,
}

/// One of an HTTP/2 connection's streams, counted for as long as this lives.
#[derive(Debug)]
pub(super) struct Stream(Rc<Cell<usize>>);

impl Pool {
    pub(super) fn new(backend: &Backend) -> Self {
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

    /// The connection that was used last, which is the likeliest to be alive; of that client, where each has its own.
    pub(super) fn take_idle(&self, client: Option<Ends>) -> Option<Http1> {
        let mut idle = self.idle.borrow_mut();
        if client.is_some() {
            let own = idle.iter().rposition(|idle| idle.connection.client == client)?;
            return Some(idle.remove(own).connection).filter(Http1::is_quiet);
        }
        while let Some(Idle { connection, .. }) = idle.pop() {
            if connection.is_quiet() {
                return Some(connection);
            }
        }
        None
    }

    /// A request is over, and its connection can carry another one.
    pub(super) fn put_back(&self, mut connection: Http1, now: u64) {
        let mut idle = self.idle.borrow_mut();
        if connection.client.is_some() && idle.len() >= self.idle_limit && !idle.is_empty() {
            // Its client may come again; whose came longest ago is likely to have gone.
            idle.remove(0);
        }
        if connection.input.is_empty() && idle.len() < self.idle_limit {
            connection.rest();
            idle.push(Idle { connection, since: now });
        }
    }

    /// Closes the idle connection that has waited longest; says whether there was one.
    pub(super) fn give_up_oldest(&self) -> bool {
        let mut idle = self.idle.borrow_mut();
        let some = !idle.is_empty();
        idle.drain(..usize::from(some));
        some
    }

    /// A stream of a connection that has room for one.
    pub(super) fn take_stream(&self) -> Option<(http2::SendRequest<UploadBody>, Stream)> {
        let mut connections = self.http2.borrow_mut();
        connections.retain(|connection| !connection.sender.is_closed());
        let connection = connections.iter().find(|connection| connection.streams.get() < STREAMS)?;
        Some((connection.sender.clone(), Stream::count(&connection.streams)))
    }

    /// Shares a new HTTP/2 connection from now on; its first stream is the caller's.
    pub(super) fn share(&self, sender: &http2::SendRequest<UploadBody>, now: u64) -> Stream {
        let streams = Rc::new(Cell::new(0));
        let stream = Stream::count(&streams);
        self.http2.borrow_mut().push(Http2 { sender: sender.clone(), streams, idle_since: now });
        stream
    }

    /// Closes what has been idle for too long, or was closed by the backend.
    pub(super) fn sweep(&self, now: u64) {
        let old = |since: u64| u128::from(now.saturating_sub(since)) >= self.idle_timeout.as_millis();
        self.idle.borrow_mut().retain(|idle| !old(idle.since) && idle.connection.is_quiet());
        let mut http2 = self.http2.borrow_mut();
        for connection in http2.iter_mut().filter(|connection| connection.streams.get() > 0) {
            connection.idle_since = now;
        }
        http2.retain(|connection| !connection.sender.is_closed() && !old(connection.idle_since));
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

/// Streams on one HTTP/2 connection to a backend; the library makes them wait if the backend allows fewer.
const STREAMS: usize = 100;
