//! Logs: lines that a thread of its own writes, so that nobody waits for a disk or a terminal. This module holds what both
//! logs share, and sets up the one on stderr, which takes what is said with `tracing`.

mod date;
pub mod escape;
mod line;
mod output;
mod overheard;
mod spool;

pub use date::Date;
pub use output::Output;
pub use overheard::{Line, Overheard};
pub use spool::{Counts, Settings, Spool, Trouble};

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Registry, reload};

use crate::config::LogFormat;
use crate::metrics::LOG;
use line::Lines;

/// Writes what is still queued when it is dropped; hold it until the process ends.
#[derive(Debug)]
#[must_use = "what is queued is written when this is dropped"]
pub struct Guard(Arc<Spool>);

/// From which level on something is said.
#[derive(Debug, Clone)]
pub struct Loudness(reload::Handle<Targets, Registry>);

/// Sends what this process says with `tracing` to stderr, from `level` on; of other crates warnings and errors only. The level
/// can be changed later.
///
/// # Errors
/// When it was done before, or the system refuses a thread.
pub fn init_tracing(level: Level, format: LogFormat) -> io::Result<(Guard, Loudness)> {
    let settings =
        Settings { name: "log", delay: Duration::ZERO, counts: Counts::Process(&LOG), report: |_| { /* Whereto? */ } };
    let spool = Arc::new(Spool::start(Output::stderr()?, settings)?);
    let (filter, handle) = reload::Layer::new(filter(level));
    let subscriber = tracing_subscriber::registry().with(filter).with(Lines::new(spool.clone(), format));
    tracing::subscriber::set_global_default(subscriber).map_err(io::Error::other)?;
    Ok((Guard(spool), Loudness(handle)))
}

fn filter(level: Level) -> Targets {
    let others = level.min(Level::WARN);
    Targets::new().with_default(others).with_target("lockgate", level)
}

impl Loudness {
    /// Something is said from this level on.
    pub fn set(&self, level: Level) {
        // It fails only where nothing listens any more.
        let _ = self.0.reload(filter(level));
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // A terminal that takes nothing shall not keep the process from ending.
        self.0.close(Duration::from_secs(1));
    }
}
