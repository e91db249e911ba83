//! Waits, every one of which ends.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

/// How long anything may take that takes no time when all is well. Generous, because the machine may be busy.
pub const LONG: Duration = Duration::from_secs(20);

/// Waits for the future, and panics with `what` when it takes too long.
#[track_caller]
pub fn within<F: Future>(what: &str, future: F) -> impl Future<Output = F::Output> {
    let place = std::panic::Location::caller();
    async move {
        match timeout(LONG, future).await {
            Ok(value) => value,
            Err(_) => panic!("{place}: {what} took more than {LONG:?}"),
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
