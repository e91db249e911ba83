//! The end of what takes too long: of the wait for a backend, and then of a response that does not move. With HTTP/1 the
//! connection's own watch sees to it; an HTTP/2 stream is a task of its own, which nothing wakes while its window is closed:
//! so the task is given a deadline, and dropped when it passes, which resets the stream.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::Connection;
use crate::clock::Deadline;
use crate::socket::Watch;

/// What ends an exchange's waits.
#[derive(Debug)]
pub(super) enum Lifeline {
    /// The connection's watch.
    Http1(Rc<Watch>),
    /// The stream's own deadline.
    Http2(Rc<StreamDeadline>, Duration),
}

/// The deadline of one HTTP/2 stream.
#[derive(Debug)]
pub(super) struct StreamDeadline {
    deadline: Deadline,
    passed: Cell<bool>,
}

impl Lifeline {
    /// For the exchange that begins on `connection` in the task that runs now.
    pub(super) fn of(connection: &Connection) -> Self {
        if !connection.http2 {
            return Self::Http1(Rc::clone(&connection.watch));
        }
        let stream = Rc::new(StreamDeadline { deadline: connection.local.clock.deadline(), passed: Cell::new(false) });
        CURRENT.with_borrow(|current| {
            if let Some(slot) = current {
                *slot.borrow_mut() = Some(Rc::clone(&stream));
            }
        });
        Self::Http2(stream, connection.watch.timeouts().body_idle)
    }

    /// The exchange waits for a backend, for so long at most.
    pub(super) fn waits(&self, after: Duration) {
        match self {
            Self::Http1(watch) => watch.exchange_waits(after),
            Self::Http2(stream, _) => stream.deadline.set(after),
        }
    }

    /// It has what it waited for.
    pub(super) fn goes_on(&self) {
        match self {
            Self::Http1(watch) => watch.exchange_goes_on(),
            Self::Http2(stream, _) => stream.deadline.clear(),
        }
    }

    /// Whether it has waited long enough. Its task is polled again when it has: with HTTP/1 that is the connection's.
    pub(super) fn is_due(&self, cx: &Context<'_>) -> bool {
        match self {
            Self::Http1(watch) => watch.exchange_is_due(),
            Self::Http2(stream, _) => stream.deadline.poll(cx).is_ready(),
        }
    }

    /// The body moves: its next move is due.
    pub(super) fn moves(&self) {
        match self {
            Self::Http1(watch) => watch.body_moves(),
            Self::Http2(stream, idle) => stream.deadline.set(*idle),
        }
    }

    /// Whether it was this that ended the response.
    pub(super) fn passed(&self) -> bool {
        match self {
            Self::Http1(watch) => watch.timed_out(),
            Self::Http2(stream, _) => stream.passed.get(),
        }
    }
}

/// Runs HTTP/2 streams on the worker's own thread.
#[derive(Debug, Clone, Copy)]
pub struct StreamExecutor;

impl<F> hyper::rt::Executor<F> for StreamExecutor
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(Limited { future: Some(Box::pin(future)), slot: Rc::default() });
    }
}

/// Where a stream's exchange leaves its deadline for the stream's task.
type Slot = Rc<RefCell<Option<Rc<StreamDeadline>>>>;

struct Limited<F> {
    future: Option<Pin<Box<F>>>,
    slot: Slot,
}

impl<F: Future> Future for Limited<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let outer = CURRENT.replace(Some(Rc::clone(&self.slot)));
        let done = self.future.as_mut().is_none_or(|future| future.as_mut().poll(cx).is_ready());
        CURRENT.set(outer);
        let late = self.slot.borrow().as_ref().is_some_and(|stream| {
            let late = stream.deadline.poll(cx).is_ready();
            stream.passed.set(late);
            late
        });
        if done || late {
            self.future = None;
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

thread_local! {
    /// The slot of the stream whose task runs now.
    static CURRENT: RefCell<Option<Slot>> = const { RefCell::new(None) };
}
