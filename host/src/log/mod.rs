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

use crate::config::LogFormat;
use crate::metrics::LOG;
use line::Lines;

/// Writes what is still queued when it is dropped; hold it until the process ends.
#[derive(Debug)]
#[must_use = "what is queued is written when this is dropped"]
pub struct Guard(Arc<Spool>);

/// Sends what this process says with `tracing` to stderr, from `level` on; of other crates warnings and errors only.
///
/// # Errors
/// When it was done before, or the system refuses a thread.
pub fn init_tracing(level: Level, format: LogFormat) -> io::Result<Guard> {
    let settings =
        Settings { name: "log", delay: Duration::ZERO, counts: Counts::Process(&LOG), report: |_| { /* Whereto? */ } };
    let spool = Arc::new(Spool::start(Output::stderr()?, settings)?);
    let others = level.min(Level::WARN);
    let filter = Targets::new().with_default(others).with_target("lockgate", level);
    let subscriber = tracing_subscriber::registry().with(filter).with(Lines::new(spool.clone(), format));
    tracing::subscriber::set_global_default(subscriber).map_err(io::Error::other)?;
    Ok(Guard(spool))
}

impl Drop for Guard {
    fn drop(&mut self) {
        // A terminal that takes nothing shall not keep the process from ending.
        self.0.close(Duration::from_secs(1));
    }
}
