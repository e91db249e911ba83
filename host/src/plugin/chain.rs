//! The plugins of a route, in order, and one exchange's walk through them.

use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};

use http::{HeaderMap, StatusCode};
use smallvec::SmallVec;

use super::hand::Hand;
use super::imports::request::edit_headers;
use super::instance::{OnRequest, OnResponseFinish, PickBackend};
use super::stats::Hook;
use super::wit::{WitAnswer, WitVerdict};
use super::{Answer, Failure, PluginUse, Pools};
use crate::exchange::{Exchange, HeaderEdit, Summary};
use crate::message::{editable_name, editable_value};

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
    hand: Hand,
    chain: Arc<Chain>,
    /// For each plugin of the chain whether its `on-request` has ended well.
    ran: SmallVec<[bool; 8]>,
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

impl Chain {
    /// Whether a plugin can look at the response when the exchange is over, so that its head must be kept.
    #[must_use]
    pub fn reads_response(&self) -> bool {
        self.uses.iter().any(|plugin| plugin.core.compiled.reads_response)
    }
}

impl Run {
    /// `workers_pools` holds this worker's instances.
    #[must_use]
    pub fn new(exchange: Box<Exchange>, chain: Arc<Chain>, workers_pools: &Rc<Pools>) -> Self {
        Self { hand: Hand::new(exchange, workers_pools.clone()), chain, ran: SmallVec::new() }
    }

    /// The exchange.
    #[must_use]
    pub fn exchange(&self) -> &Exchange {
        self.hand.exchange()
    }

    /// The exchange, to be changed.
    pub fn exchange_mut(&mut self) -> &mut Exchange {
        self.hand.exchange_mut()
    }

    /// Calls `on-request` of each plugin in order, until one answers or fails.
    pub async fn on_request(&mut self) -> Verdict {
        self.ran.clear();
        self.ran.resize(self.chain.uses.len(), false);
        for (place, plugin) in self.chain.uses.iter().enumerate() {
            if !plugin.has(Hook::OnRequest) {
                continue;
            }
            // An instance that cannot be needed again is not kept for as long as a response may take.
            let keep = plugin.has(Hook::OnResponseFinish) || plugin.has(Hook::PickBackend);
            let called = match self.hand.call_now(plugin, OnRequest, keep, checked_verdict) {
                Some(called) => called,
                None => Box::pin(self.hand.call(plugin, OnRequest, keep, checked_verdict)).await,
            };
            match called {
                Ok(answer) => {
                    self.ran[place] = true;
                    if let Some(answer) = answer {
                        return Verdict::Answer(answer);
                    }
                }
                Err(Some(failure)) => return Verdict::Failed(failure),
                Err(None) => {}
            }
        }
        Verdict::Proceed
    }

    /// Asks `picker` for one of `exchange.candidates`: a place in `candidates.live`, or none if it leaves it to the native
    /// policy (or failed and is to be skipped).
    ///
    /// # Errors
    /// When it failed and its `on_failure` is `deny`.
    pub async fn pick_backend(&mut self, picker: &Arc<PluginUse>) -> Result<Option<usize>, Failure> {
        let shown = self.exchange().candidates.as_ref().map_or(0, |candidates| candidates.live.len());
        let check = move |(choice,): (Option<u32>,)| match choice.map(usize::try_from) {
            None => Ok(None),
            Some(Ok(choice)) if choice < shown => Ok(Some(choice)),
            Some(_) => Err(format!("it picked backend {} of {shown}", choice.unwrap_or_default())),
        };
        let called = match self.hand.call_now(picker, PickBackend, true, check) {
            Some(called) => called,
            None => Box::pin(self.hand.call(picker, PickBackend, true, check)).await,
        };
        match called {
            Ok(choice) => Ok(choice),
            Err(Some(failure)) => Err(failure),
            Err(None) => Ok(None),
        }
    }

    /// No further attempt will be made: gives back the instances that have been kept for another `pick-backend`, rather
    /// than to hold them for as long as the response takes.
    pub fn settle(&mut self) {
        let chain = &self.chain;
        let needed = |plugin: &PluginUse| plugin.has(Hook::OnResponseFinish);
        self.hand.give_back(|core| chain.uses.iter().any(|plugin| Arc::ptr_eq(&plugin.core, core) && needed(plugin)));
    }

    /// Calls `on-response-finish` in reverse order, for every plugin whose `on-request` ran or that has no such hook, then
    /// `done`, and puts the instances back. Runs at once if no plugin has to wait; otherwise in a task of its own.
    pub fn finish(mut self, summary: Summary, done: impl FnOnce(&Exchange) + 'static) {
        for place in (0..self.chain.uses.len()).rev() {
            if self.is_owed_finish(place) && !self.finish_now(place, summary) {
                return self.finish_in_time(place, summary, done);
            }
        }
        done(self.exchange());
    }

    fn is_owed_finish(&self, place: usize) -> bool {
        let plugin = &self.chain.uses[place];
        let ran = self.ran.get(place).copied().unwrap_or(false);
        plugin.has(Hook::OnResponseFinish) && (ran || !plugin.has(Hook::OnRequest))
    }

    fn finish_now(&mut self, place: usize, summary: Summary) -> bool {
        self.hand.call_now(&self.chain.uses[place], OnResponseFinish(summary), true, Ok).is_some()
    }

    fn finish_in_time(mut self, from: usize, summary: Summary, done: impl FnOnce(&Exchange) + 'static) {
        let mut rest = Box::pin(async move {
            for place in (0..=from).rev() {
                if self.is_owed_finish(place) && !self.finish_now(place, summary) {
                    // A failure has been logged and counted, and nobody is left to be told.
                    let _ = self.hand.call(&self.chain.uses[place], OnResponseFinish(summary), true, Ok).await;
                }
            }
            done(self.exchange());
        });
        // Most calls end at the first go, and need no task.
        if rest.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            tokio::task::spawn_local(rest);
        }
    }
}

/// What a plugin answered, if it can be sent.
fn checked_verdict((verdict,): (WitVerdict,)) -> Result<Option<Answer>, String> {
    match verdict {
        WitVerdict::Proceed => Ok(None),
        WitVerdict::Answer(answer) => checked_answer(answer).map(Some),
    }
}

fn checked_answer(answer: WitAnswer) -> Result<Answer, String> {
    let status = match StatusCode::from_u16(answer.status) {
        Ok(status) if (200..=599).contains(&answer.status) => status,
        _ => return Err(format!("it answered with the status {}", answer.status)),
    };
    let mut headers = HeaderMap::with_capacity(answer.headers.len().min(32));
    for (name, value) in &answer.headers {
        let field = editable_name(name).and_then(|name| Ok((name, editable_value(value)?)));
        let added = field.and_then(|(name, value)| edit_headers(&mut headers, HeaderEdit::Append(name, value)));
        // Debug, so that control characters are escaped.
        let shown = || name.chars().take(64).collect::<String>();
        added.map_err(|error| format!("it answered with a field {:?} that is refused: {error:?}", shown()))?;
    }
    Ok(Answer { status, headers, body: answer.body.into() })
}
