//! Waits, every one of which ends.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};

/// How long anything may take that takes no time when all is well. Generous, because the machine may be busy.
pub const LONG: Duration = Duration::from_secs(60);

/// Where others wait until the scene lets them go on: what must happen in order need not be timed.
#[derive(Debug, Clone)]
pub struct Gate(Arc<Semaphore>);

impl Default for Gate {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }
}

impl Gate {
    /// Lets one more pass.
    pub fn open(&self) {
        self.0.add_permits(1);
    }

    /// Waits to be let through.
    pub async fn pass(&self) {
        self.0.acquire().await.expect("it is never closed").forget();
    }
}

/// Waits for the future, and panics with `what` when it takes too long.
#[track_caller]
pub fn within<F: Future>(what: &str, future: F) -> impl Future<Output = F::Output> {
    within_time(LONG, what, future)
}

/// The same for what takes its time even when all is well.
#[track_caller]
pub fn within_time<F: Future>(limit: Duration, what: &str, future: F) -> impl Future<Output = F::Output> {
    let place = std::panic::Location::caller();
    async move {
        match timeout(limit, future).await {
            Ok(value) => value,
            Err(_) => panic!("{place}: {what} took more than {limit:?}"),
        }
    }
}

/// Waits until the condition holds, and panics with `what` when it does not come true.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let place = std::panic::Location::caller();
    async move {
        let end = Instant::now() + LONG;
        while !condition() {
            assert!(Instant::now() < end, "{place}: not in {LONG:?}: {what}");
            sleep(Duration::from_millis(5)).await;
        }
    }
}
