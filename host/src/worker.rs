//! One thread that serves: its runtime, its listening sockets, its connections, its plugin instances.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::{JoinHandle, LocalSet};

use crate::access_log::AccessLog;
use crate::listener::{Admission, Sessions, accept, accept_waiting};
use crate::memory;
use crate::metrics::WorkerMetrics;
use crate::proxy::Local;
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
    pub shared: Arc<Admission>,
    /// Is told when the thread ends, however it does.
    pub ended: Arc<Notify>,
}

/// The way to a running worker.
#[derive(Debug)]
pub struct Handle {
    commands: mpsc::UnboundedSender<Command>,
    finished: Arc<AtomicBool>,
}

#[derive(Debug)]
enum Command {
    Swap(Arc<Snapshot>, Vec<(SocketAddr, TcpListener)>, oneshot::Sender<()>),
    Drain,
    Stop,
    #[cfg(test)]
    Crash,
}

/// Starts a worker's thread.
///
/// # Errors
/// When the system refuses the thread or its runtime.
pub fn spawn(setup: Setup) -> io::Result<Handle> {
    let (commands, inbox) = mpsc::unbounded_channel();
    let finished = Arc::new(AtomicBool::new(false));
    let done = Finished(Arc::clone(&finished), Arc::clone(&setup.ended));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name(format!("worker-{}", setup.index)).spawn(move || {
        let _done = done;
        let tasks = LocalSet::new();
        tasks.block_on(&runtime, run(setup, inbox));
        // What is left is cut off here: tasks first, because they live on the runtime.
        drop(tasks);
        runtime.shutdown_timeout(Duration::from_millis(100));
    })?;
    Ok(Handle { commands, finished })
}

impl Handle {
    /// Makes the worker use `snapshot` for every exchange from now on. `sockets` are those of addresses that are new;
    /// addresses that are gone are closed and their connections drained. The receiver hears when it is done.
    #[must_use]
    pub fn swap(&self, snapshot: Arc<Snapshot>, sockets: Vec<(SocketAddr, TcpListener)>) -> oneshot::Receiver<()> {
        let (done, heard) = oneshot::channel();
        // A worker that has ended hears nothing, and the receiver tells so.
        let _ = self.commands.send(Command::Swap(snapshot, sockets, done));
        heard
    }

    /// Stops accepting and lets exchanges finish; the thread then ends.
    pub fn drain(&self) {
        let _ = self.commands.send(Command::Drain);
    }

    /// Ends at once, whatever is under way.
    pub fn stop(&self) {
        let _ = self.commands.send(Command::Stop);
    }

    /// Makes the thread panic.
    #[cfg(test)]
    pub(crate) fn crash(&self) {
        let _ = self.commands.send(Command::Crash);
    }

    /// Whether the thread has ended.
    #[must_use]
    pub fn finished(&self) -> bool {
        self.finished.load(Ordering::Acquire)
    }
}

/// Says that the thread has ended, also if it panicked.
struct Finished(Arc<AtomicBool>, Arc<Notify>);

impl Drop for Finished {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
        self.1.notify_one();
    }
}

/// A worker's life, from its first socket to its last connection.
async fn run(setup: Setup, mut inbox: mpsc::UnboundedReceiver<Command>) {
    let local = Rc::new(Local::new(setup.index, setup.snapshot, setup.metrics, setup.access_log));
    let sessions = Rc::new(Sessions::new(setup.shared));
    let mut listening = Listening { local: Rc::clone(&local), sessions: Rc::clone(&sessions), tasks: HashMap::new() };
    tokio::task::spawn_local(local.clock.clone().run());
    tokio::task::spawn_local(sweep(Rc::clone(&local)));
    tokio::task::spawn_local(watch_memory(Rc::clone(&local), Rc::clone(&sessions)));
    listening.open(setup.sockets);
    loop {
        tokio::select! {
            command = inbox.recv() => match command {
                Some(Command::Swap(snapshot, sockets, done)) => {
                    listening.swap(snapshot, sockets).await;
                    let _ = done.send(());
                }
                Some(Command::Drain) => {
                    listening.close(|_| true).await;
                    local.draining.set(true);
                    sessions.close(|_| true);
                }
                // Without a handle nobody is left to stop this worker later.
                Some(Command::Stop) | None => return,
                #[cfg(test)]
                #[expect(clippy::panic, reason = "this is what it is for")]
                Some(Command::Crash) => panic!("crashed, as it was told"),
            },
            () = local.connections.starved() => sessions.close_some(),
            () = sessions.emptied() => {}
            () = local.pools.at_rest() => {}
        }
        // What plugins still have to do for exchanges that are over is waited for as well.
        if local.draining.get() && sessions.is_empty() && local.pools.is_at_rest() {
            return;
        }
    }
}

/// Closes connections to backends that have been idle for too long, and those of backends that are gone.
async fn sweep(local: Rc<Local>) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let snapshot = local.snapshot();
        let backends = snapshot.all_upstreams().flat_map(|(_, _, upstream)| &upstream.backends);
        let ids: std::collections::HashSet<usize> = backends.map(|backend| backend.id).collect();
        local.connections.sweep(|id| ids.contains(&id));
    }
}

/// Looks how much memory the process has, and has the worker do less when it is too much.
async fn watch_memory(local: Rc<Local>, sessions: Rc<Sessions>) {
    let allowed = memory::allowed();
    if memory::resident().is_none() {
        return;
    }
    let mut tight_for = Duration::ZERO;
    loop {
        tokio::time::sleep(LOOK).await;
        let limit = local.snapshot().config.limits.memory.unwrap_or(allowed);
        // There may be no descriptor for it now.
        let Some(resident) = memory::resident() else { continue };
        let tight = resident >= limit;
        if tight {
            sessions.close_idle(usize::MAX);
        }
        tight_for = if tight { tight_for + LOOK } else { Duration::ZERO };
        if tight_for >= PATIENCE {
            tight_for = Duration::ZERO;
            shed(&local, &sessions, resident - limit);
        }
        if local.tight.replace(tight) != tight {
            let (resident, limit) = (resident >> 20, limit >> 20);
            match tight {
                true => tracing::warn!("memory is tight ({resident} of {limit} MiB): new work is refused"),
                false => tracing::info!("memory is no longer tight ({resident} of {limit} MiB)"),
            }
        }
    }
}

/// That new work is refused has not helped: what goes out too slowly is given up, this worker's share of it.
fn shed(local: &Local, sessions: &Sessions, excess: u64) {
    let workers = local.snapshot().config.server.workers as u64;
    let ended = sessions.shed(excess / workers + 1);
    (0..ended).for_each(|_| local.metrics.connection_refused("memory"));
    if ended > 0 {
        tracing::warn!("memory stays tight: {ended} connections are closed whose clients are slow to take responses");
    }
}

/// A worker's listening sockets.
struct Listening {
    local: Rc<Local>,
    sessions: Rc<Sessions>,
    tasks: HashMap<SocketAddr, (Rc<tokio::net::TcpListener>, JoinHandle<()>)>,
}

impl Listening {
    fn open(&mut self, sockets: Vec<(SocketAddr, TcpListener)>) {
        for (address, socket) in sockets {
            match tokio::net::TcpListener::from_std(socket) {
                Ok(socket) => {
                    let socket = Rc::new(socket);
                    let (local, sessions) = (Rc::clone(&self.local), Rc::clone(&self.sessions));
                    let accepting = tokio::task::spawn_local(accept(Rc::clone(&socket), address, local, sessions));
                    self.tasks.insert(address, (socket, accepting));
                }
                Err(error) => tracing::error!(%address, %error, "cannot listen"),
            }
        }
    }

    async fn swap(&mut self, snapshot: Arc<Snapshot>, sockets: Vec<(SocketAddr, TcpListener)>) {
        let gone = |address: &SocketAddr| !snapshot.listeners.iter().any(|listener| listener.address == *address);
        self.close(gone).await;
        self.sessions.close(|address| gone(&address));
        self.local.swap(snapshot);
        self.open(sockets);
    }

    /// Stops listening at some addresses.
    async fn close(&mut self, which: impl Fn(&SocketAddr) -> bool) {
        let closing: Vec<_> = self.tasks.extract_if(|address, _| which(address)).collect();
        for (address, (socket, accepting)) in closing {
            accepting.abort();
            // The task holds the socket as well, and may take its time to be dropped: what comes in meanwhile would wait in
            // vain.
            let _ = accepting.await;
            accept_waiting(&socket, address, &self.local, &self.sessions);
        }
    }
}

/// How often it is looked at memory: it can grow by some hundred MiB meanwhile.
const LOOK: Duration = Duration::from_millis(200);
/// How long memory may stay tight before more is done about it than to refuse new work.
const PATIENCE: Duration = Duration::from_secs(1);
