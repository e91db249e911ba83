//! Turns: of all guests of one tenant that compute for long on a worker, one does so at a time. So a tenant can delay the
//! others by one slice in each round, however many of its exchanges compute.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Tenant;

/// One instance's turns. It has one from when it took it until it gives it back.
#[derive(Debug)]
pub struct Turn {
    tenant: Arc<Tenant>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    has: Option<OwnedSemaphorePermit>,
    /// The guest has been put aside, and does not wait for anything of its own.
    queues: bool,
}

impl Turn {
    /// For an instance of that tenant.
    #[must_use]
    pub fn new(tenant: Arc<Tenant>) -> Self {
        Self { tenant, state: Mutex::default() }
    }

    /// Gives the turn back, if it has one, and waits for the next; for as long as the tenant is to stand back, it waits
    /// on. The caller's limit in time ends it.
    pub async fn take(&self) {
        self.lock().queues = true;
        self.give();
        while self.tenant.stands_back(Instant::now()) {
            tokio::time::sleep(PAUSE).await;
        }
        // Closed by nobody.
        let turn = self.line().acquire_owned().await.ok();
        let mut state = self.lock();
        state.has = turn;
        state.queues = false;
    }

    /// Gives the turn back.
    pub fn give(&self) {
        self.lock().has = None;
    }

    /// The guest waits: for something of its own, so that it needs no turn, unless it is for its turn.
    pub fn waits(&self) {
        let mut state = self.lock();
        if !state.queues {
            state.has = None;
        }
    }

    /// Those who wait for a turn of this tenant on this worker.
    fn line(&self) -> Arc<Semaphore> {
        LINES.with_borrow_mut(|lines| {
            if let Some(line) = lines.get(&self.tenant.id).and_then(Weak::upgrade) {
                return line;
            }
            lines.retain(|_, line| line.strong_count() > 0);
            let line = Arc::new(Semaphore::new(1));
            lines.insert(self.tenant.id, Arc::downgrade(&line));
            line
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

thread_local! {
    /// By tenant.
    static LINES: RefCell<HashMap<u64, Weak<Semaphore>>> = RefCell::default();
}

/// How long a guest stands back before it looks again.
const PAUSE: Duration = Duration::from_millis(5);
