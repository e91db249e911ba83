//! Connections that wait for the next request to the same origin.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http2::SendRequest;
use tokio::time::Instant;

use super::http1::Http1;

/// One worker's idle connections, by the index of their origin. The lock is for what the runtime demands of what is held over
/// a wait; nobody ever waits for it.
#[derive(Debug)]
pub(super) struct Pool {
    origins: Vec<Mutex<Kept>>,
    tidied: Mutex<bool>,
}

/// Those of one origin.
#[derive(Debug, Default)]
struct Kept {
    idle: Vec<(Http1, Instant)>,
    http2: Option<(Http2, Instant)>,
}

/// One connection for many requests.
pub(super) type Http2 = SendRequest<Full<Bytes>>;

impl Pool {
    pub(super) fn new(origins: usize) -> Arc<Self> {
        Arc::new(Self { origins: (0..origins).map(|_| Mutex::default()).collect(), tidied: Mutex::new(false) })
    }

    /// The connection that was used last, if it is still good.
    pub(super) fn take(&self, origin: usize) -> Option<Http1> {
        let mut kept = lock(&self.origins[origin]);
        std::iter::from_fn(|| kept.idle.pop()).map(|(connection, _)| connection).find_map(|mut connection| {
            let quiet = connection.is_quiet();
            quiet.then_some(connection)
        })
    }

    /// It has brought all of a response, and can carry the next request.
    pub(super) fn put_back(self: &Arc<Self>, origin: usize, mut connection: Http1) {
        connection.rest();
        let mut kept = lock(&self.origins[origin]);
        if kept.idle.len() < MOST_IDLE {
            kept.idle.push((connection, Instant::now()));
        }
        drop(kept);
        self.keep_tidy();
    }

    /// A connection that serves many requests at once.
    pub(super) fn shared(&self, origin: usize) -> Option<Http2> {
        let mut kept = lock(&self.origins[origin]);
        let (sender, used) = kept.http2.as_mut().filter(|(sender, _)| !sender.is_closed())?;
        *used = Instant::now();
        Some(sender.clone())
    }

    /// From now on it serves those who come.
    pub(super) fn share(self: &Arc<Self>, origin: usize, sender: Http2) {
        lock(&self.origins[origin]).http2 = Some((sender, Instant::now()));
        self.keep_tidy();
    }

    /// Closes what nobody uses, for as long as there is anything.
    fn keep_tidy(self: &Arc<Self>) {
        let mut tidied = lock(&self.tidied);
        if !*tidied {
            *tidied = true;
            tokio::spawn(tidy(Arc::downgrade(self)));
        }
    }

    /// Says whether nothing is left.
    pub(super) fn sweep(&self, now: Instant) -> bool {
        let fresh = |since: &Instant| now.saturating_duration_since(*since) < IDLE;
        let mut empty = true;
        for origin in &self.origins {
            let mut kept = lock(origin);
            kept.idle.retain_mut(|(connection, since)| fresh(since) && connection.is_quiet());
            // What is under way goes on: it has the connection as well.
            kept.http2.take_if(|(sender, since)| sender.is_closed() || !fresh(since));
            empty &= kept.idle.is_empty() && kept.http2.is_none();
        }
        empty
    }
}

async fn tidy(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(IDLE / 6).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut tidied = lock(&pool.tidied);
        if pool.sweep(Instant::now()) {
            *tidied = false;
            return;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long a connection is kept that nobody uses.
pub(super) const IDLE: Duration = Duration::from_secs(30);

/// Connections that are kept for one origin.
const MOST_IDLE: usize = 16;
