//! All workers together.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::sockets::Sockets;
use crate::access_log::AccessLog;
use crate::listener::Admission;
use crate::metrics::Metrics;
use crate::snapshot::Snapshot;
use crate::worker::{self, Handle, Setup};

/// The ways to all workers, and what it takes to start one.
#[derive(Debug)]
pub(super) struct Workers {
    handles: Vec<Handle>,
    metrics: Arc<Metrics>,
    access_log: AccessLog,
    shared: Arc<Admission>,
    ended: Arc<Notify>,
    /// Of the next one that is started: no number comes twice, because requests are told apart by it.
    next: usize,
    /// When workers were replaced, of late.
    replaced: VecDeque<Instant>,
}

/// A worker that cannot be replaced.
#[derive(Debug, thiserror::Error)]
pub enum LostWorker {
    /// Those that take their places end as well.
    #[error("{MOST_LOST} workers have ended by a fault of Lockgate's own within a minute")]
    TooMany,
    /// The system refuses a thread, a runtime or a socket.
    #[error("a worker that has ended cannot be replaced: {0}")]
    System(#[from] io::Error),
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
        metrics: &Arc<Metrics>,
        access_log: &AccessLog,
    ) -> io::Result<Self> {
        let mut workers = Self {
            handles: Vec::with_capacity(sockets.len()),
            metrics: Arc::clone(metrics),
            access_log: access_log.clone(),
            shared: Arc::default(),
            ended: Arc::default(),
            next: 0,
            replaced: VecDeque::new(),
        };
        for sockets in sockets {
            let worker = workers.start(snapshot, sockets)?;
            workers.handles.push(worker);
        }
        Ok(workers)
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

    /// Waits until one ends that nobody told to.
    pub(super) async fn lost(&self) {
        while !self.handles.iter().any(Handle::finished) {
            self.ended.notified().await;
        }
    }

    /// Starts others in the place of those that have ended, which is a fault of ours. Their connections are lost, but nobody
    /// else's are, as they would be if the process ended. Where that happens again and again, the process must end: whoever
    /// looks after it then hears of it.
    pub(super) fn replace_lost(
        &mut self,
        snapshot: &Arc<Snapshot>,
        sockets: impl Fn() -> io::Result<Sockets>,
    ) -> Result<(), LostWorker> {
        while let Some(place) = self.handles.iter().position(Handle::finished) {
            self.metrics.worker_lost();
            let now = Instant::now();
            self.replaced.retain(|time| now.duration_since(*time) < MINUTE);
            self.replaced.push_back(now);
            if self.replaced.len() >= MOST_LOST {
                return Err(LostWorker::TooMany);
            }
            self.handles[place] = self.start(snapshot, sockets()?)?;
            tracing::error!("a worker has ended by a fault of Lockgate's own; another has taken its place");
        }
        Ok(())
    }

    fn start(&mut self, snapshot: &Arc<Snapshot>, sockets: Sockets) -> io::Result<Handle> {
        let index = self.next;
        self.next += 1;
        worker::spawn(Setup {
            index,
            snapshot: Arc::clone(snapshot),
            sockets,
            metrics: self.metrics.worker(),
            access_log: self.access_log.clone(),
            shared: Arc::clone(&self.shared),
            ended: Arc::clone(&self.ended),
        })
    }
}

/// A worker looks at its commands between two polls of connections, so in milliseconds.
const CONFIRMATION: Duration = Duration::from_secs(5);

/// With so many within a minute, starting others does not help.
const MOST_LOST: usize = 5;
const MINUTE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};

    use super::*;
    use crate::config::{Source, parse};
    use crate::plugin::Plugins;
    use crate::server::sockets::Addresses;
    use crate::snapshot::build;

    struct Scene {
        workers: Workers,
        addresses: Addresses,
        snapshot: Arc<Snapshot>,
        metrics: Arc<Metrics>,
    }

    impl Scene {
        /// One worker that answers every request.
        fn new() -> Self {
            let text = "[log]\naccess = \"off\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n\
                        [[route]]\nrespond = { body = \"here\" }\n";
            let config = parse(Source { path: "lockgate.toml".into(), text: text.into() }).unwrap();
            let mut snapshot = build(config, None, &Plugins::new().unwrap()).unwrap();
            let (addresses, sockets) = Addresses::default().bind(&mut snapshot, |_| 1).unwrap();
            let metrics = Arc::new(Metrics::new());
            let log = AccessLog::open(&snapshot.config.log, ".".as_ref(), Arc::clone(&metrics.access_log)).unwrap();
            let snapshot = Arc::new(snapshot);
            let workers = Workers::spawn(&snapshot, sockets, &metrics, &log).unwrap();
            Self { workers, addresses, snapshot, metrics }
        }

        async fn crash(&mut self) -> Result<(), LostWorker> {
            self.workers.handles[0].crash();
            tokio::time::timeout(Duration::from_secs(20), self.workers.lost()).await.unwrap();
            self.workers.replace_lost(&self.snapshot, || self.addresses.bind_again())
        }

        fn address(&self) -> SocketAddr {
            self.snapshot.listeners[0].address
        }
    }

    fn ask(address: SocketAddr) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[tokio::test]
    async fn another_worker_takes_the_place_of_one_that_panicked() {
        let mut scene = Scene::new();
        for _ in 0..3 {
            assert!(ask(scene.address()).ends_with("here"));
            scene.crash().await.unwrap();
        }
        assert!(ask(scene.address()).ends_with("here"));
        let mut text = String::new();
        scene.metrics.render(&mut text);
        assert!(text.contains("\nlockgate_workers_lost_total 3\n"), "{text}");
        assert!(text.contains("\nlockgate_workers 1\n"), "{text}");
        scene.workers.stop();
    }

    #[tokio::test]
    async fn where_they_die_again_and_again_the_process_gives_up() {
        let mut scene = Scene::new();
        for _ in 1..MOST_LOST {
            scene.crash().await.unwrap();
        }
        assert!(matches!(scene.crash().await, Err(LostWorker::TooMany)));
    }
}
