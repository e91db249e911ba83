//! The connections of one worker, so that all of them can be asked to end.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use slab::Slab;
use tokio::sync::Notify;

use super::Admission;
use super::handshakes::Handshakes;
use crate::socket::Watch;

/// The connections of one worker.
#[derive(Debug)]
pub(crate) struct Sessions {
    /// Shared with the other workers.
    pub(crate) admission: Arc<Admission>,
    /// Those of its connections that are about to speak TLS.
    pub(super) handshakes: Handshakes,
    open: RefCell<Slab<(SocketAddr, Weak<Watch>)>>,
    /// Told when the last connection has gone.
    empty: Notify,
}

/// A connection's entry among the sessions, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Session {
    pub(super) sessions: Rc<Sessions>,
    key: usize,
}

impl Sessions {
    pub(crate) fn new(admission: Arc<Admission>) -> Self {
        let handshakes = Handshakes::new(Arc::clone(&admission));
        Self { admission, handshakes, open: RefCell::default(), empty: Notify::new() }
    }

    /// Notes a connection that came in at `address`.
    pub(crate) fn enter(self: &Rc<Self>, address: SocketAddr, watch: &Rc<Watch>) -> Session {
        let key = self.open.borrow_mut().insert((address, Rc::downgrade(watch)));
        Session { sessions: Rc::clone(self), key }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.open.borrow().is_empty()
    }

    /// Waits until the last connection has gone.
    pub(crate) async fn emptied(&self) {
        self.empty.notified().await;
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.open.borrow().len()
    }

    /// Asks connections on which nothing goes on to end in good order, so that `most` of them are about to. Those that never
    /// had a request come first.
    pub(crate) fn close_idle(&self, most: usize) {
        let mut idle: Vec<Rc<Watch>> = {
            let open = self.open.borrow();
            open.iter().filter_map(|(_, (_, watch))| watch.upgrade()).filter(|watch| watch.is_unused()).collect()
        };
        let count = idle.len();
        idle.retain(|watch| !watch.closing());
        let closing = count - idle.len();
        idle.sort_by_key(|watch| watch.served() > 0);
        for watch in idle.iter().take(most.saturating_sub(closing)) {
            watch.close();
        }
    }

    /// Asks some connections on which nothing goes on to end: the system has no descriptors left for those that do something.
    pub(crate) fn close_some(&self) {
        self.close_idle(FREED);
    }

    /// Ends connections whose clients are slow to take their responses, those that hold most first, until so many bytes are
    /// about to be free; says how many connections. How slow they are is what they did since this was last called.
    pub(crate) fn shed(&self, bytes: u64) -> u64 {
        let mut slow: Vec<(u32, Rc<Watch>)> = {
            let open = self.open.borrow();
            let watches = open.iter().filter_map(|(_, (_, watch))| watch.upgrade());
            let held = watches.map(|watch| (watch.pace(), watch));
            held.filter(|((laden, took), _)| *took < u64::from(*laden) * SLOW)
                .map(|((laden, _), watch)| (laden, watch))
                .collect()
        };
        slow.sort_by_key(|(laden, _)| std::cmp::Reverse(*laden));
        let (mut left, mut ended) = (bytes, 0);
        for (laden, watch) in slow {
            if left == 0 {
                break;
            }
            watch.shed();
            left = left.saturating_sub(u64::from(laden) * HELD);
            ended += 1;
        }
        ended
    }

    /// Asks the connections of some addresses to end in good order.
    pub(crate) fn close(&self, which: impl Fn(SocketAddr) -> bool) {
        let chosen: Vec<Rc<Watch>> = {
            let open = self.open.borrow();
            open.iter()
                .filter(|(_, (address, _))| which(*address))
                .filter_map(|(_, (_, watch))| watch.upgrade())
                .collect()
        };
        for watch in chosen {
            watch.close();
        }
    }
}

/// Idle connections that are closed at once for others.
const FREED: usize = 16;

/// Bytes that a response holds which its client does not take, at least.
const HELD: u64 = 64 * 1024;
/// A client that has taken fewer bytes of each response since the last look would need many looks for what is held for it.
const SLOW: u64 = 16 * 1024;

impl Drop for Session {
    fn drop(&mut self) {
        self.sessions.open.borrow_mut().remove(self.key);
        if self.sessions.is_empty() {
            self.sessions.empty.notify_one();
        }
    }
}
