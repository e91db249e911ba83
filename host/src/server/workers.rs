//! All workers together.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::sockets::Sockets;
use crate::access_log::AccessLog;
use crate::listener::Admission;
use crate::metrics::Metrics;
use crate::snapshot::Snapshot;
use crate::worker::{self, Handle, Setup};

/// The ways to all workers.
#[derive(Debug)]
pub(super) struct Workers {
    handles: Vec<Handle>,
    /// How many are known to have ended although nobody told them to.
    lost: Cell<usize>,
}

impl Workers {
    /// How many a configuration asks for.
    pub(super) fn wanted(snapshot: &Snapshot) -> usize {
        snapshot.config.server.workers
    }

    /// Starts one for each of `sockets`.
    pub(super) fn spawn(
        snapshot: &Arc<Snapshot>,
        sockets: Vec<Sockets>,
        metrics: &Metrics,
        access_log: &AccessLog,
    ) -> io::Result<Self> {
        let shared = Arc::new(Admission::default());
        let spawn = |(index, sockets)| {
            worker::spawn(Setup {
                index,
                snapshot: Arc::clone(snapshot),
                sockets,
                metrics: metrics.worker(),
                access_log: access_log.clone(),
                shared: Arc::clone(&shared),
            })
        };
        let handles = sockets.into_iter().enumerate().map(spawn).collect::<io::Result<_>>()?;
        Ok(Self { handles, lost: Cell::new(0) })
    }

    pub(super) fn len(&self) -> usize {
        self.handles.len()
    }

    /// Makes all workers use `snapshot`, each with its part of `sockets`. Says whether all do; those that have not confirmed
    /// it in time will still do so.
    pub(super) async fn swap(&self, snapshot: &Arc<Snapshot>, sockets: Vec<Sockets>) -> bool {
        let workers = self.handles.iter().zip(sockets);
        let heard: Vec<_> = workers.map(|(worker, sockets)| worker.swap(Arc::clone(snapshot), sockets)).collect();
        let all = async {
            for done in heard {
                // A worker that has ended does not answer, and need not.
                let _ = done.await;
            }
        };
        tokio::time::timeout(CONFIRMATION, all).await.is_ok()
    }

    pub(super) fn drain(&self) {
        self.handles.iter().for_each(Handle::drain);
    }

    pub(super) fn stop(&self) {
        self.handles.iter().for_each(Handle::stop);
    }

    /// Waits until all have ended.
    pub(super) async fn finished(&self) {
        while !self.handles.iter().all(Handle::finished) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until one ends that nobody told to, which is a fault of ours, and says so. Its connections are lost; new ones
    /// go to the others.
    pub(super) async fn lost(&self) {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let lost = self.handles.iter().filter(|worker| worker.finished()).count();
            if lost > self.lost.replace(lost) {
                tracing::error!("{lost} of {} workers have ended by a fault of Lockgate's own", self.len());
                return;
            }
        }
    }
}

/// A worker looks at its commands between two polls of connections, so in milliseconds.
const CONFIRMATION: Duration = Duration::from_secs(5);
