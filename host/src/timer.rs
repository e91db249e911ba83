//! A timer for one wait after another, where a deadline of `clock` will not do: it belongs to one thread, and what is handed
//! to the engine of plugins must be free to go to another.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep};

/// To arm and disarm a timer of the runtime takes some 700 instructions. This one stays armed between waits, for the end of
/// one that is long over, and is moved only when that has come: most waits cost it a comparison.
#[derive(Debug, Default)]
pub struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// Ready once that moment has come. The task may be woken before, too.
    pub fn poll(&mut self, until: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if until < sleep.deadline() {
            sleep.as_mut().reset(until);
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if until <= sleep.deadline() {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(until);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Future, pending, poll_fn};
    use std::pin::pin;
    use std::time::Duration;

    use super::*;

    /// What the future gives; nothing if that moment comes first.
    async fn limit<F: Future>(timer: &mut Timer, until: Instant, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        poll_fn(|cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            timer.poll(until, cx).map(|()| None)
        })
        .await
    }

    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn each_wait_ends_at_its_own_moment_and_not_before() {
        let mut timer = Timer::default();
        // Later than the one before, sooner, and again later, with waits between that did not last.
        for after in [30, 10, 30, 60].map(Duration::from_millis) {
            let until = Instant::now() + after;
            assert_eq!(limit(&mut timer, until + LONG, async { 1 }).await, Some(1));
            assert_eq!(limit(&mut timer, until, pending::<()>()).await, None);
            assert!(Instant::now() >= until, "{after:?}");
        }
    }

    #[tokio::test]
    async fn a_wait_does_not_end_when_the_one_before_would_have() {
        let mut timer = Timer::default();
        let until = Instant::now() + Duration::from_millis(10);
        assert_eq!(limit(&mut timer, until, async { 1 }).await, Some(1));
        let work = tokio::time::sleep(Duration::from_millis(40));
        assert_eq!(limit(&mut timer, until + LONG, work).await, Some(()));
    }
}
