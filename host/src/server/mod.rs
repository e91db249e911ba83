//! Starts everything, keeps watch over it, and stops it. All of this happens on the main thread, which serves nobody.

mod reloads;
mod sockets;
mod state;
mod workers;

pub use sockets::BindError;
pub use workers::LostWorker;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::access_log::{AccessLog, OpenError};
use crate::admin;
use crate::admin::Action;
use crate::config::{self, Config, Problems};
use crate::log::{self, Loudness};
use crate::metrics::Metrics;
use crate::plugin::{LoadError, Plugins, Ticks};
use crate::reload::{self, Watch};
use crate::snapshot::{self, Snapshot};
use crate::upstream::Prober;
use sockets::Addresses;
use state::State;
use workers::Workers;

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is wrong.
    #[error("the configuration is wrong")]
    Config(#[from] Problems),
    /// The plugins' engine does not start on this machine.
    #[error(transparent)]
    Plugins(#[from] LoadError),
    /// An address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] BindError),
    /// The admin server cannot start.
    #[error(transparent)]
    Admin(#[from] admin::Error),
    /// The access log cannot be opened.
    #[error(transparent)]
    AccessLog(#[from] OpenError),
    /// Workers have ended, and cannot be replaced.
    #[error(transparent)]
    Workers(#[from] LostWorker),
    /// The system refused a thread, a runtime or a signal handler.
    #[error("cannot start")]
    System(#[from] io::Error),
}

/// Serves what that configuration file says until SIGTERM or SIGINT. SIGHUP, and a change to the file or to one that it names,
/// makes the server take up what it says now.
///
/// # Errors
/// Why it could not start.
pub fn run(path: &Path) -> Result<(), Error> {
    run_config(config::load(path)?)
}

/// Serves what that configuration says, as [`run`] does.
///
/// # Errors
/// Why it could not start.
pub fn run_config(config: Config) -> Result<(), Error> {
    let (_log, loudness) = log::init_tracing(config.log.level, config.log.format)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let served = runtime.block_on(async {
        // Before anything else: a signal that comes while we start is acted upon as soon as we have.
        let (stop, hang_up) = (Stop::new()?, signal(SignalKind::hangup())?);
        let server = Server::start(config, loudness)?;
        server.announce();
        server.serve(stop, hang_up).await
    });
    // A plugin that is being compiled for a reload is not waited for.
    runtime.shutdown_background();
    served
}

/// Everything that runs.
struct Server {
    state: Arc<State>,
    addresses: Addresses,
    workers: Workers,
    access_log: AccessLog,
    prober: Prober,
    admin: Option<(SocketAddr, admin::Handle)>,
    ticks: Ticks,
    watch: Watch,
    actions: mpsc::Receiver<Action>,
    loudness: Loudness,
}

impl Server {
    /// Starts everything, in the order in which one thing needs another.
    fn start(config: Config, loudness: Loudness) -> Result<Self, Error> {
        // As many connections as the system lets us have; that it does not is no reason not to serve.
        let _ = rlimit::increase_nofile_limit(u64::MAX);
        let watch = Watch::new(reload::files(&config));
        let plugins = Arc::new(Plugins::new()?);
        let mut snapshot = snapshot::build(config, None, &plugins)?;
        let (addresses, sockets) = Addresses::default().bind(&mut snapshot, Workers::wanted)?;
        let metrics = Arc::new(Metrics::new());
        let folder = snapshot.config.source.folder();
        let access_log = AccessLog::open(&snapshot.config.log, folder, Arc::clone(&metrics.access_log))?;
        let snapshot = Arc::new(snapshot);
        let (act, actions) = mpsc::channel(ACTIONS);
        let state = Arc::new(State::new(Arc::clone(&snapshot), metrics, plugins, act));
        let admin = start_admin(&snapshot, &state)?;
        let workers = Workers::spawn(&snapshot, sockets, state.metrics(), &access_log)?;
        let (prober, ticks) = (Prober::default(), Ticks::default());
        let mut server = Self { state, addresses, workers, access_log, prober, admin, ticks, watch, actions, loudness };
        server.look_after(&snapshot);
        Ok(server)
    }

    /// Says where it listens and what it serves: the last words before the access log.
    fn announce(&self) {
        let snapshot = self.state.snapshot();
        for listener in &snapshot.listeners {
            let scheme = if listener.tls.is_some() { "https" } else { "http" };
            tracing::info!("listening on {scheme}://{}", listener.address);
        }
        if let Some((_, admin)) = &self.admin {
            tracing::info!("admin on http://{}", admin.address());
        }
        for plugin in &snapshot.plugins {
            tracing::info!("plugin {} sha256:{:.12}", plugin.name, plugin.digest());
        }
        let routes = count(snapshot.config.routes.len(), "route");
        let workers = count(self.workers.len(), "worker");
        let tenants = match snapshot.tenants.len() {
            0 => String::new(),
            tenants => format!(" and {}", count(tenants, "tenant")),
        };
        tracing::info!("{routes}{tenants} on {workers}");
        reloads::tell_refused(&snapshot);
    }

    /// Serves until it is told to stop, and then until all exchanges have ended or the grace is over.
    async fn serve(mut self, mut stop: Stop, mut hang_up: Signal) -> Result<(), Error> {
        loop {
            let task = tokio::select! {
                () = stop.asked() => break,
                _ = hang_up.recv() => Task::Reload("SIGHUP"),
                () = self.watch.changed() => Task::Reload("a file changed"),
                Some(action) = self.actions.recv() => Task::Act(action),
                () = self.workers.lost() => Task::ReplaceWorkers,
            };
            tokio::select! {
                // A plugin that takes long to compile is no reason not to stop.
                () = stop.asked() => break,
                done = self.work_on(task) => if let Err(lost) = done {
                    tracing::error!("{lost}: stopping, so that whoever looks after this process starts another");
                    self.drain(stop).await;
                    return Err(lost.into());
                }
            }
        }
        self.drain(stop).await;
        Ok(())
    }

    async fn drain(mut self, mut stop: Stop) {
        let grace = self.state.snapshot().config.server.grace;
        tracing::info!("draining: exchanges have {} to finish", humantime::format_duration(grace));
        self.state.drain();
        self.ticks.stop();
        self.workers.drain();
        tokio::select! {
            () = self.workers.finished() => {}
            () = stop.asked() => tracing::warn!("stopping at once"),
            () = tokio::time::sleep(grace) => tracing::warn!("the grace is over: what is under way is cut off"),
        }
        self.workers.stop();
        if tokio::time::timeout(STOP, self.workers.finished()).await.is_err() {
            tracing::error!("a worker does not stop");
        }
        if !self.access_log.close(FLUSH) {
            tracing::warn!("the end of the access log could not be written");
        }
        tracing::info!("stopped");
    }

    /// Judges and probes the backends of this snapshot, and lets its plugins tick, from now on.
    fn look_after(&mut self, snapshot: &Snapshot) {
        snapshot.tenants.values().for_each(|tenancy| tenancy.tenant.adopt(&tenancy.terms.quotas));
        snapshot.all_upstreams().for_each(|(_, _, upstream)| upstream.adopt());
        self.prober.follow(snapshot.all_upstreams().map(|(_, _, upstream)| upstream));
        if let Err(error) = self.ticks.follow(snapshot.all_plugins().map(|(_, plugin)| plugin)) {
            tracing::error!("plugins do not tick, because there is no thread for it: {error}");
        }
    }
}

fn start_admin(snapshot: &Snapshot, state: &Arc<State>) -> Result<Option<(SocketAddr, admin::Handle)>, admin::Error> {
    let Some(settings) = &snapshot.config.admin else { return Ok(None) };
    let source: Arc<dyn admin::Source> = Arc::clone(state) as _;
    Ok(Some((settings.address, admin::serve(settings.address, source)?)))
}

/// What there is to do besides serving.
enum Task {
    ReplaceWorkers,
    Reload(&'static str),
    Act(Action),
}

/// The signals that end the process in good order. (SIGPIPE is ignored: Rust's own start-up sees to that.)
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

fn count(number: usize, thing: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{ending}")
}

/// Actions that wait for their turn.
const ACTIONS: usize = 8;
/// For workers that were told to stop at once.
const STOP: Duration = Duration::from_secs(2);
/// For the end of the access log.
const FLUSH: Duration = Duration::from_secs(1);
