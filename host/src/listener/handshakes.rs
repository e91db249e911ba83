//! TLS handshakes under way on one worker. When there are as many as there may be, on all workers, those that take their time
//! give way to new ones: whoever opens connections and says nothing on them must not keep others out.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Admission;
use crate::clock::{Clock, Deadline, Elapsed, millis};
use crate::config::{Limits, Timeouts};

/// The handshakes under way on one worker.
#[derive(Debug)]
pub(crate) struct Handshakes {
    admission: Arc<Admission>,
    /// In the order in which they began.
    open: RefCell<BTreeMap<u64, Rc<Pending>>>,
    begun: Cell<u64>,
}

/// A handshake under way, for as long as this lives.
#[derive(Debug)]
pub(super) struct Handshake<'a> {
    of: &'a Handshakes,
    number: u64,
    pending: Rc<Pending>,
}

#[derive(Debug)]
struct Pending {
    deadline: Deadline,
    began: u64,
    gives_way: Cell<bool>,
}

impl Handshakes {
    pub(super) fn new(admission: Arc<Admission>) -> Self {
        Self { admission, open: RefCell::default(), begun: Cell::new(0) }
    }

    /// Begins one, if need be in place of the one that has taken longest. The error is what is counted.
    pub(super) fn begin(
        &self,
        clock: &Clock,
        limits: &Limits,
        timeouts: &Timeouts,
    ) -> Result<Handshake<'_>, &'static str> {
        let now = clock.millis();
        let others = self.admission.handshakes.fetch_add(1, Ordering::Relaxed);
        if others >= limits.handshakes && !self.one_gives_way(now) {
            self.admission.handshakes.fetch_sub(1, Ordering::Relaxed);
            return Err("handshakes");
        }
        let deadline = clock.deadline();
        deadline.set(timeouts.tls_handshake);
        let pending = Rc::new(Pending { deadline, began: now, gives_way: Cell::new(false) });
        let number = self.begun.replace(self.begun.get() + 1);
        self.open.borrow_mut().insert(number, Rc::clone(&pending));
        Ok(Handshake { of: self, number, pending })
    }

    /// Ends the handshake that has taken longest, unless that is not long. Its place is counted until its task hears of it.
    fn one_gives_way(&self, now: u64) -> bool {
        let oldest = self.open.borrow().values().find(|pending| !pending.gives_way.get()).cloned();
        let Some(slow) = oldest.filter(|pending| now.saturating_sub(pending.began) >= millis(SLOW)) else {
            return false;
        };
        slow.gives_way.set(true);
        slow.deadline.expire();
        true
    }
}

impl Handshake<'_> {
    /// The future's output, if it is there in time. The error is what is counted.
    pub(super) async fn limit<F: Future>(&self, handshake: F) -> Result<F::Output, &'static str> {
        let output = self.pending.deadline.limit(handshake).await;
        output.map_err(|Elapsed| if self.pending.gives_way.get() { "handshakes" } else { "handshake_timeout" })
    }
}

impl Drop for Handshake<'_> {
    fn drop(&mut self) {
        self.of.open.borrow_mut().remove(&self.number);
        self.of.admission.handshakes.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A handshake that takes as long gives way: it is two round trips and some milliseconds, for whoever means it.
const SLOW: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::future::pending;

    use super::*;

    fn of_one_worker(admission: &Arc<Admission>) -> Handshakes {
        Handshakes::new(Arc::clone(admission))
    }

    #[tokio::test]
    async fn the_slowest_gives_way_and_nobody_who_has_only_begun() {
        let admission = Arc::new(Admission::new());
        let (clock, limits) = (Clock::new(), Limits { handshakes: 2, ..Limits::default() });
        let one = of_one_worker(&admission);
        let begin = || one.begin(&clock, &limits, &Timeouts::default());
        let (first, second) = (begin().unwrap(), begin().unwrap());
        assert_eq!(begin().unwrap_err(), "handshakes");
        assert!(one.one_gives_way(first.pending.began + 1000), "as if it were later");
        assert_eq!(first.limit(pending::<()>()).await.unwrap_err(), "handshakes");
        assert_eq!(second.limit(async { "done" }).await, Ok("done"));
        drop(first);
        let third = begin().unwrap();
        assert_eq!(begin().unwrap_err(), "handshakes");
        // Those of another worker are counted as well, but not ended from here.
        assert!(!of_one_worker(&admission).one_gives_way(u64::MAX));
        drop((second, third));
        assert_eq!((admission.handshakes.load(Ordering::Relaxed), one.open.borrow().len()), (0, 0));
    }
}
