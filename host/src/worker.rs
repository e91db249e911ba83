//! One thread that serves: its runtime, its listening sockets, its connections, its plugin instances.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::access_log::AccessLog;
use crate::metrics::WorkerMetrics;
use crate::snapshot::Snapshot;

/// What a worker starts with.
#[derive(Debug)]
pub struct Setup {
    /// 0 for the first.
    pub index: usize,
    /// The first configuration.
    pub snapshot: Arc<Snapshot>,
    /// This worker's own sockets, by the address that the configuration names; non-blocking.
    pub sockets: Vec<(SocketAddr, TcpListener)>,
    /// Where it counts.
    pub metrics: Arc<WorkerMetrics>,
    /// Where its access lines go.
    pub access_log: AccessLog,
    /// What all workers share to keep to limits that hold for the whole process.
    pub shared: Arc<crate::listener::Admission>,
}

/// The way to a running worker.
#[derive(Debug)]
pub struct Handle {}

/// Starts a worker's thread.
///
/// # Errors
/// When the system refuses the thread or its runtime.
pub fn spawn(setup: Setup) -> io::Result<Handle> {
    let _ = setup;
    Ok(Handle {})
}

impl Handle {
    /// Makes the worker use `snapshot` for every exchange from now on. `sockets` are those of addresses that are new;
    /// addresses that are gone are closed and their connections drained. The receiver hears when it is done.
    #[must_use]
    pub fn swap(&self, snapshot: Arc<Snapshot>, sockets: Vec<(SocketAddr, TcpListener)>) -> oneshot::Receiver<()> {
        let _ = (snapshot, sockets);
        oneshot::channel().1
    }

    /// Stops accepting and lets exchanges finish; the thread then ends.
    pub fn drain(&self) {}

    /// Ends at once, whatever is under way.
    pub fn stop(&self) {}

    /// Whether the thread has ended.
    #[must_use]
    pub fn finished(&self) -> bool {
        true
    }
}
