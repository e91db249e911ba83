//! Whether a worker has more to do than it can: whether its thread wanted a processor nearly all the time, be it that it
//! had one or that it waited for one because the machine was full. Looked at only when a tenant is over its share.

use std::cell::Cell;
use std::time::{Duration, Instant};

use cpu_time::ThreadTime;

/// Whether the worker on whose thread this is called has been busy of late.
pub(super) fn worker_is_busy(now: Instant) -> bool {
    WORKER.with(|worker| {
        let Some(seen) = worker.get() else {
            worker.set(Some(Seen { at: now, wanted: wanted(), busy: false }));
            return false;
        };
        let past = now.saturating_duration_since(seen.at);
        if past < WINDOW {
            return seen.busy;
        }
        let wanted = wanted();
        let busy = past < TOO_LONG_AGO && wanted.saturating_sub(seen.wanted) >= past.mul_f64(BUSY);
        worker.set(Some(Seen { at: now, wanted, busy }));
        busy
    })
}

#[derive(Clone, Copy)]
struct Seen {
    at: Instant,
    wanted: Duration,
    busy: bool,
}

/// Time that this thread has run, or would have if a processor had been free.
fn wanted() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let mut numbers = stat.split_whitespace().map_while(|number| number.parse().ok());
    match (numbers.next(), numbers.next()) {
        (Some(ran), Some(waited)) => Duration::from_nanos(ran) + Duration::from_nanos(waited),
        // A kernel that does not tell how long a thread has waited.
        _ => ThreadTime::try_now().map(|ran| ran.as_duration()).unwrap_or_default(),
    }
}

thread_local! {
    static WORKER: Cell<Option<Seen>> = const { Cell::new(None) };
}

/// Between two looks.
const WINDOW: Duration = Duration::from_millis(50);
/// A look that is older says nothing of now.
const TOO_LONG_AGO: Duration = Duration::from_secs(1);
/// The part of the time.
const BUSY: f64 = 0.8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_computes_is_busy_and_one_that_sleeps_is_not() {
        let begin = Instant::now();
        assert!(!worker_is_busy(begin), "nothing is known yet");
        // A machine that is stopped for a while gives nobody any time.
        let computes = |window: Instant| {
            while window.elapsed() < WINDOW * 2 {
                std::hint::black_box(());
            }
            worker_is_busy(Instant::now())
        };
        assert!((0..100).any(|_| computes(Instant::now())));
        std::thread::park_timeout(WINDOW * 3);
        assert!(!worker_is_busy(Instant::now()));
        assert!(!worker_is_busy(Instant::now() + TOO_LONG_AGO));
    }
}
