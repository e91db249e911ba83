//! Where the run of an exchange is while several want it: the request's body on its way up, the response's on its way
//! down, and the exchange itself. Whoever has it makes a call, and brings it back.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::plugin::Run;

/// Where a run is to be found.
#[derive(Debug, Default)]
pub(super) struct Lodge {
    run: RefCell<Option<Run>>,
    waiting: RefCell<Vec<Waker>>,
    /// The exchange itself waits for it, and goes before the bodies.
    wanted: Cell<bool>,
    closed: Cell<bool>,
}

/// A run that is brought back when this is dropped.
#[derive(Debug)]
pub(super) struct Lent {
    run: Option<Run>,
    lodge: Rc<Lodge>,
}

impl Lodge {
    /// Brings the run.
    pub(super) fn put(&self, run: Run) {
        *self.run.borrow_mut() = Some(run);
        self.wake();
    }

    /// Takes the run for good, if it is there.
    pub(super) fn take(&self) -> Option<Run> {
        self.run.borrow_mut().take()
    }

    /// Takes the run for good, before any body that wants it.
    pub(super) async fn fetch(&self) -> Option<Run> {
        poll_fn(|cx| {
            let run = self.take();
            self.wanted.set(run.is_none());
            if run.is_none() && !self.closed.get() { self.wait(cx) } else { Poll::Ready(run) }
        })
        .await
    }

    /// The run does not come back: the exchange is over.
    pub(super) fn close(&self) {
        self.closed.set(true);
        self.wake();
    }

    /// Takes the run for a while, if it is there.
    pub(super) fn lend_now(self: &Rc<Self>) -> Option<Lent> {
        if self.wanted.get() {
            return None;
        }
        Some(Lent { run: Some(self.take()?), lodge: Rc::clone(self) })
    }

    /// Waits for the run and takes it for a while. None: it will not come any more.
    pub(super) async fn lend(self: Rc<Self>) -> Option<Lent> {
        poll_fn(|cx| match self.lend_now() {
            None if !self.closed.get() => self.wait(cx),
            lent => Poll::Ready(lent),
        })
        .await
    }

    fn wait<T>(&self, cx: &Context<'_>) -> Poll<T> {
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|waiter| waiter.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    fn wake(&self) {
        // Not while it is borrowed: a waker may run what it wakes.
        let waiting = self.waiting.take();
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl Lent {
    pub(super) fn run(&mut self) -> &mut Run {
        self.run.as_mut().expect("only dropping takes it")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(run) = self.run.take() {
            self.lodge.put(run);
        }
    }
}
