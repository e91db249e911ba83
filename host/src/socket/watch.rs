//! What is known of a client's connection from moment to moment, and when it must end.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;

use crate::clock::{Clock, Deadline, millis};
use crate::config::Timeouts;

/// What a client's connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Nothing: it waits for a request.
    Idle,
    /// A request's head has begun.
    Head,
    /// An exchange is under way, and a backend or the exchange's own limits are to be waited for.
    Exchange,
    /// A body is on its way to the client.
    Body,
}

/// The state of one client connection, shared by its socket, its exchanges and the task that drives it.
#[derive(Debug)]
pub struct Watch {
    phase: Cell<Phase>,
    /// When to look what goes on: never after the exchange's own deadline, if it has one here.
    deadline: Deadline,
    clock: Clock,
    /// When the exchange under way has waited long enough, by the clock; or `NEVER`. For HTTP/1.
    exchange_due: Cell<u64>,
    /// When the body on its way moved last.
    moved: Cell<u64>,
    timeouts: Timeouts,
    /// Milliseconds of the first part of its idleness, after which it gives back memory.
    first_rest: u64,
    /// Exchanges under way: at most one with HTTP/1.
    active: Cell<u32>,
    /// Exchanges so far.
    served: Cell<u64>,
    closing: Cell<bool>,
    /// Whether it has given back memory since its last exchange.
    rested: Cell<bool>,
    timed_out: Cell<bool>,
    flooded: Cell<bool>,
    /// Bodies on their way that wait for the client to take what there is of them.
    laden: Cell<u32>,
    /// Bytes that the client has taken.
    taken: Cell<u64>,
    /// The same when somebody last looked.
    seen: Cell<u64>,
    shed: Cell<bool>,
    interim: RefCell<VecDeque<Bytes>>,
    interim_waits: Cell<bool>,
}

impl Watch {
    /// A connection that has just been accepted: its first head is due.
    #[must_use]
    pub fn new(clock: &Clock, timeouts: &Timeouts) -> Self {
        let deadline = clock.deadline();
        deadline.set(timeouts.header);
        Self {
            phase: Cell::new(Phase::Head),
            deadline,
            clock: clock.clone(),
            exchange_due: Cell::new(NEVER),
            moved: Cell::new(0),
            timeouts: timeouts.clone(),
            first_rest: millis(timeouts.keepalive.min(REST)),
            active: Cell::new(0),
            served: Cell::new(0),
            closing: Cell::new(false),
            rested: Cell::new(false),
            timed_out: Cell::new(false),
            flooded: Cell::new(false),
            laden: Cell::new(0),
            taken: Cell::new(0),
            seen: Cell::new(0),
            shed: Cell::new(false),
            interim: RefCell::default(),
            interim_waits: Cell::new(false),
        }
    }

    /// What it is doing.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Ready when it has to do something about time: the phase took too long, or [`Watch::close`] was called.
    pub fn poll_due(&self, cx: &Context<'_>) -> Poll<()> {
        self.deadline.poll(cx)
    }

    /// An exchange begins; its own deadlines hold from here on.
    pub fn exchange_begins(&self) {
        self.active.set(self.active.get() + 1);
        self.served.set(self.served.get() + 1);
        self.phase.set(Phase::Exchange);
        if !self.closing.get() {
            self.look_again();
        }
    }

    /// While an exchange waits for a backend, it is time now and then to see whether its client is still there.
    pub fn look_again(&self) {
        let due = self.exchange_due.get();
        let left = if due == NEVER { LOOK } else { LOOK.min(due.saturating_sub(self.clock.shown())) };
        self.deadline.set_millis(left);
    }

    /// The exchange under way waits no longer than that. It runs in the connection's own task, which is woken for it.
    pub fn exchange_waits(&self, after: Duration) {
        // Which makes sure that the clock goes.
        let after = millis(after) | 1;
        self.deadline.set_millis(LOOK.min(after));
        self.exchange_due.set(self.clock.shown().saturating_add(after));
    }

    /// The exchange has what it waited for.
    pub fn exchange_goes_on(&self) {
        self.exchange_due.set(NEVER);
    }

    /// Whether the exchange has waited long enough.
    #[must_use]
    pub fn exchange_is_due(&self) -> bool {
        self.exchange_due.get() <= self.clock.shown()
    }

    /// The exchanges under way have deadlines of their own, and the client need not be looked after.
    pub fn trust(&self) {
        self.deadline.clear();
    }

    /// A response's body begins or moves on: the next move is due within `body_idle`. For HTTP/1.
    pub fn body_moves(&self) {
        self.phase.set(Phase::Body);
        self.moved.set(self.clock.millis());
    }

    /// Whether the body has not moved for `body_idle`.
    #[must_use]
    pub fn body_stands(&self) -> bool {
        let still = self.clock.millis().saturating_sub(self.moved.get());
        self.phase.get() == Phase::Body && u128::from(still) >= self.timeouts.body_idle.as_millis()
    }

    /// An exchange has ended.
    pub fn exchange_ends(&self) {
        let active = self.active.get() - 1;
        self.active.set(active);
        if active == 0 {
            self.phase.set(Phase::Idle);
            self.rested.set(false);
            if self.closing.get() {
                self.deadline.set(CLOSE);
            } else {
                self.deadline.set_millis(self.first_rest);
            }
        }
    }

    /// Whether it has been idle for no longer than it takes to give back the memory that the next exchange may have wanted.
    /// Its real time begins then.
    pub fn rests(&self) -> bool {
        let left = self.timeouts.keepalive.saturating_sub(REST);
        if self.phase.get() != Phase::Idle || self.closing.get() || left.is_zero() || self.rested.replace(true) {
            return false;
        }
        self.deadline.set(left);
        true
    }

    /// Exchanges under way.
    #[must_use]
    pub fn active(&self) -> u32 {
        self.active.get()
    }

    /// Exchanges so far.
    #[must_use]
    pub fn served(&self) -> u64 {
        self.served.get()
    }

    /// Whether nothing goes on: it waits for a request, be it the first or another.
    #[must_use]
    pub fn is_unused(&self) -> bool {
        match self.phase.get() {
            Phase::Idle => true,
            Phase::Head => self.served.get() == 0,
            Phase::Exchange | Phase::Body => false,
        }
    }

    /// Asks the connection to end in good order, soon.
    pub fn close(&self) {
        self.closing.set(true);
        self.deadline.expire();
    }

    /// Whether [`Watch::close`] was called.
    #[must_use]
    pub fn closing(&self) -> bool {
        self.closing.get()
    }

    /// The driver has heard of [`Watch::close`]: what is under way gets its time back.
    pub fn closing_begun(&self) {
        match self.phase.get() {
            Phase::Idle | Phase::Head => self.deadline.set(CLOSE),
            Phase::Exchange | Phase::Body => self.look_again(),
        }
    }

    /// The body that was on its way has not moved for too long, and the connection ends.
    pub fn times_out(&self) {
        self.timed_out.set(true);
    }

    /// Whether [`Watch::times_out`] was called.
    #[must_use]
    pub fn timed_out(&self) -> bool {
        self.timed_out.get()
    }

    /// The client sends more than anybody does in good faith, and the connection ends.
    pub fn floods(&self) {
        self.flooded.set(true);
    }

    /// Whether [`Watch::floods`] was called.
    #[must_use]
    pub fn flooded(&self) -> bool {
        self.flooded.get()
    }

    /// A body begins, or no longer has, to wait for the client to take what there is of it.
    pub fn body_waits(&self, waits: bool) {
        let laden = self.laden.get();
        self.laden.set(if waits { laden + 1 } else { laden - 1 });
    }

    /// The client has taken so many bytes.
    pub fn takes(&self, bytes: usize) {
        self.taken.set(self.taken.get().wrapping_add(bytes as u64));
    }

    /// How many bodies wait for the client, and how many bytes it has taken since this was last asked.
    #[must_use]
    pub fn pace(&self) -> (u32, u64) {
        let taken = self.taken.get();
        (self.laden.get(), taken.wrapping_sub(self.seen.replace(taken)))
    }

    /// Ends the connection and what is under way on it: others need the memory.
    pub fn shed(&self) {
        self.shed.set(true);
        self.deadline.expire();
    }

    /// Whether [`Watch::shed`] was called.
    #[must_use]
    pub fn is_shed(&self) -> bool {
        self.shed.get()
    }

    /// The worker's clock, in milliseconds.
    #[must_use]
    pub fn millis(&self) -> u64 {
        self.clock.millis()
    }

    /// How long a body or a tunnel may stand still.
    #[must_use]
    pub fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    /// Part of a head has come: the rest of it is due.
    pub fn bytes_came(&self) {
        if self.phase.get() == Phase::Idle {
            self.phase.set(Phase::Head);
            if !self.closing.get() {
                self.deadline.set(self.timeouts.header);
            }
        }
    }

    /// Sends an interim response (RFC 9110 §15.2), unless the final one is on its way.
    pub fn send_interim(&self, head: Bytes) {
        if self.phase.get() == Phase::Exchange {
            self.interim.borrow_mut().push_back(head);
            self.interim_waits.set(true);
        }
    }

    /// The next interim response to be sent.
    pub fn take_interim(&self) -> Option<Bytes> {
        if !self.interim_waits.get() {
            return None;
        }
        let next = self.interim.borrow_mut().pop_front();
        self.interim_waits.set(next.is_some());
        next
    }
}

/// How often a client is looked after that waits for a backend, and a body that is on its way; in milliseconds.
const LOOK: u64 = 80;

const NEVER: u64 = u64::MAX;

/// How long a connection on which nothing runs has to take its leave.
const CLOSE: Duration = Duration::from_secs(1);

/// How long an idle connection keeps what it needs for an exchange: the next request of a busy client comes sooner.
const REST: Duration = Duration::from_secs(1);
