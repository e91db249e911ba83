//! `limits.wall`: how long a call may take, with all that it waits for.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;

use super::super::host::Meter;
use crate::tenant::Turn;
use crate::timer::Timer;

/// Bounds the calls of one instance.
pub(super) struct Wall {
    meter: Arc<Meter>,
    timer: Timer,
}

/// The call took longer than `limits.wall`.
#[derive(Debug, thiserror::Error)]
#[error("the call took longer than limits.wall ({0:?})")]
pub(super) struct OutOfTime(Duration);

impl Wall {
    pub(super) fn new(meter: Arc<Meter>) -> Self {
        Self { meter, timer: Timer::default() }
    }

    /// What the call gives, unless it takes longer. While it waits, the guest's meter stands still and others have the turn.
    pub(super) async fn bound<T>(
        &mut self,
        limit: Duration,
        turn: Option<&Turn>,
        call: impl Future<Output = wasmtime::Result<T>>,
    ) -> wasmtime::Result<T> {
        let mut call = pin!(call);
        let mut under_way = false;
        let until = Instant::now() + limit;
        poll_fn(|cx| {
            if under_way {
                self.meter.resume();
            }
            if let Poll::Ready(answer) = call.as_mut().poll(cx) {
                return Poll::Ready(answer);
            }
            self.meter.pause();
            if let Some(turn) = turn {
                turn.waits();
            }
            under_way = true;
            self.timer.poll(until, cx).map(|()| Err(OutOfTime(limit).into()))
        })
        .await
    }
}
