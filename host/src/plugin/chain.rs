//! The plugins of a route, in order, and one exchange's walk through them.

use std::rc::Rc;
use std::sync::Arc;

use super::{Answer, Failure, PluginUse};
use crate::exchange::{Exchange, Summary};

/// The plugins of a route, in order. Part of the snapshot.
#[derive(Debug, Default)]
pub struct Chain {
    /// In the order of the configuration.
    pub uses: Vec<Arc<PluginUse>>,
}

/// One exchange and the instances that it has been lent. It owns the exchange, which moves into an instance for the time
/// of a call and back; should a call be cancelled, the exchange is taken back from the instance, which is then dropped.
#[derive(Debug)]
pub struct Run {
    exchange: Box<Exchange>,
    chain: Arc<Chain>,
}

/// What a chain's `on-request` hooks decided.
#[derive(Debug)]
pub enum Verdict {
    /// Go on to a backend.
    Proceed,
    /// A plugin answered.
    Answer(Answer),
    /// A plugin failed, and its `on_failure` is `deny`.
    Failed(Failure),
}

impl Run {
    /// `workers_pools` holds this worker's instances.
    #[must_use]
    pub fn new(exchange: Box<Exchange>, chain: Arc<Chain>, workers_pools: &Rc<Pools>) -> Self {
        let _ = workers_pools;
        Self { exchange, chain }
    }

    /// The exchange.
    #[must_use]
    pub fn exchange(&self) -> &Exchange {
        &self.exchange
    }

    /// The exchange, to be changed.
    pub fn exchange_mut(&mut self) -> &mut Exchange {
        &mut self.exchange
    }

    /// Calls `on-request` of each plugin in order, until one answers or fails.
    pub async fn on_request(&mut self) -> Verdict {
        Verdict::Proceed
    }

    /// Asks `picker` for one of `exchange.candidates`: a place in `candidates.live`, or none if it leaves it to the native
    /// policy (or failed and is to be skipped).
    ///
    /// # Errors
    /// When it failed and its `on_failure` is `deny`.
    pub async fn pick_backend(&mut self, picker: &Arc<PluginUse>) -> Result<Option<usize>, Failure> {
        let _ = picker;
        Ok(None)
    }

    /// Calls `on-response-finish` in reverse order, for every plugin whose `on-request` ran or that has no such hook, then
    /// `done`, and puts the instances back. Runs at once if no plugin has to wait; otherwise in a task of its own.
    pub fn finish(self, summary: Summary, done: impl FnOnce(&Exchange) + 'static) {
        let _ = (&summary, &self.chain);
        done(&self.exchange);
    }
}

/// One worker's instances of all plugin uses.
#[derive(Debug, Default)]
pub struct Pools {}
impl Pools {
    /// x
    pub fn retain(&self, uses: &[Arc<PluginUse>]) {
        let _ = uses;
    }
}
