//! What one worker, and one of its connections, have for their exchanges.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use ipnet::IpNet;

use super::tunnel::Tunnel;
use crate::access_log::AccessLog;
use crate::clock::Clock;
use crate::exchange::Peer;
use crate::http1::Date;
use crate::message::{Forwarding, RequestIds};
use crate::metrics::WorkerMetrics;
use crate::plugin::{Chain, Pools};
use crate::route_name::RouteName;
use crate::snapshot::Snapshot;
use crate::socket::Watch;
use crate::upstream::Connections;

/// What one worker has. Nothing of it is shared with another.
#[derive(Debug)]
pub struct Local {
    /// What holds for exchanges that begin now.
    snapshot: RefCell<Arc<Snapshot>>,
    /// Its time.
    pub clock: Clock,
    /// What it dates responses with.
    pub date: Date,
    /// Where it counts.
    pub metrics: Arc<WorkerMetrics>,
    /// Where its access lines go.
    pub access_log: AccessLog,
    /// Its plugin instances.
    pub pools: Rc<Pools>,
    /// Its connections to backends.
    pub connections: Connections,
    /// Numbers for its exchanges.
    pub ids: RequestIds,
    /// The route's name where there is none.
    pub no_route: RouteName,
    /// The chain where there is none.
    pub no_chain: Arc<Chain>,
    /// Whether it drains.
    pub draining: Cell<bool>,
    /// Whether the process has as much memory as it may.
    pub tight: Cell<bool>,
}

/// One client connection.
#[derive(Debug)]
pub struct Connection {
    /// Its worker's.
    pub local: Rc<Local>,
    /// Both ends of it.
    pub peer: Arc<Peer>,
    /// Where it came in, as the snapshot names it.
    pub listener: SocketAddr,
    /// What backends are told of it.
    pub forwarding: Arc<Forwarding>,
    /// Whom to believe about clients behind the peer.
    pub trusted_proxies: Vec<IpNet>,
    /// Its state.
    pub watch: Rc<Watch>,
    /// What it is to become once HTTP is done with it.
    pub tunnel: RefCell<Option<Tunnel>>,
    /// Whether HTTP/2 is spoken.
    pub http2: bool,
}

impl Local {
    /// For the worker of that index.
    #[must_use]
    pub fn new(index: usize, snapshot: Arc<Snapshot>, metrics: Arc<WorkerMetrics>, access_log: AccessLog) -> Self {
        let clock = Clock::new();
        Self {
            snapshot: RefCell::new(snapshot),
            connections: Connections::new(clock.clone(), Arc::clone(&metrics)),
            clock,
            date: Date::default(),
            metrics,
            access_log,
            pools: Rc::default(),
            // Each worker counts in a range of its own, so ids are unique in the process; 0 is never one.
            ids: RequestIds::new(((index as u64) << 48) + 1),
            no_route: "-".into(),
            no_chain: Arc::default(),
            draining: Cell::new(false),
            tight: Cell::new(false),
        }
    }

    /// Whether an exchange that begins now is too much. One at a time is not: memory that has been freed is not always given
    /// back to the system, and is used again only by serving.
    #[must_use]
    pub fn is_overloaded(&self) -> bool {
        self.tight.get() && self.metrics.totals().exchanges_in_flight > 0
    }

    /// What holds for an exchange that begins now. The exchange keeps it to its end.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.borrow())
    }

    /// Exchanges that begin from now on see `snapshot`.
    pub fn swap(&self, snapshot: Arc<Snapshot>) {
        self.pools.retain(snapshot.all_plugins().map(|(_, plugin)| plugin));
        *self.snapshot.borrow_mut() = snapshot;
    }
}
