//! The plugins of a route, in order, and one exchange's walk through them.

use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};

use http::{HeaderMap, StatusCode};
use smallvec::SmallVec;

use super::hand::Hand;
use super::hold::Hold;
use super::hooks::{OnRequest, OnResponse, OnResponseFinish, PickBackend};
use super::imports::request::edit_headers;
use super::stats::{Hook, HookSet};
use super::wit::{WitAnswer, WitVerdict};
use super::{Answer, Failure, PluginUse, Pools, Side, record};
use crate::exchange::{Exchange, HeaderEdit, Summary};
use crate::message::{editable_name, editable_value};

/// The plugins of a route, in order. Part of the snapshot.
#[derive(Debug, Default)]
pub struct Chain {
    /// In the order of the configuration.
    pub uses: Vec<Arc<PluginUse>>,
    /// The hooks that any of them has.
    hooks: HookSet,
    reads_response: bool,
}

/// One exchange and the instances that it has been lent. It owns the exchange, which moves into an instance for the time
/// of a call and back; should a call be cancelled, the exchange is taken back from the instance, which is then dropped.
#[derive(Debug)]
pub struct Run {
    hand: Hand,
    chain: Arc<Chain>,
    /// What has become of each plugin of the chain.
    parts: SmallVec<[Part; 8]>,
    /// Plugins that the request has come past: those before the one that answered or failed.
    passed: usize,
    /// What is counted of the bodies that are held for plugins, for as long as the exchange lasts.
    holds: Vec<Hold>,
}

/// What has become of a plugin in an exchange.
#[derive(Debug, Clone, Copy, Default)]
struct Part {
    /// Its `on-request` has ended well.
    taken: bool,
    /// It has failed since, or then, and is called for the finish only.
    left: bool,
}

/// What a chain's hooks decided.
#[derive(Debug)]
pub enum Verdict {
    /// Go on to a backend.
    Proceed,
    /// A plugin answered.
    Answer(Answer),
    /// A plugin wants to see the whole body of the request first, which may have so many bytes: [`Run::hold`].
    Hold(u64),
    /// A plugin failed, and its `on_failure` is `deny`.
    Failed(Failure),
}

impl Chain {
    /// These plugins, in this order.
    #[must_use]
    pub fn new(uses: Vec<Arc<PluginUse>>) -> Self {
        let hooks = uses.iter().fold(HookSet::default(), |hooks, plugin| hooks.union(plugin.hooks()));
        let reads_response = uses.iter().any(|plugin| plugin.core.compiled.reads_response);
        Self { uses, hooks, reads_response }
    }

    /// Whether any of the plugins has that hook.
    #[must_use]
    #[inline]
    pub fn has(&self, hook: Hook) -> bool {
        self.hooks.has(hook)
    }

    /// Whether a plugin can look at the response after its head is on its way, so that the head must be kept.
    #[must_use]
    #[inline]
    pub fn reads_response(&self) -> bool {
        self.reads_response
    }
}

impl Run {
    /// `workers_pools` holds this worker's instances.
    #[must_use]
    pub fn new(exchange: Box<Exchange>, chain: Arc<Chain>, workers_pools: &Rc<Pools>) -> Self {
        Self {
            hand: Hand::new(exchange, workers_pools.clone()),
            chain,
            parts: SmallVec::new(),
            passed: 0,
            holds: Vec::new(),
        }
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
        self.parts.clear();
        self.parts.resize(self.chain.uses.len(), Part::default());
        self.walk(0).await
    }

    /// Goes on with the plugin at that place.
    pub(super) async fn walk(&mut self, from: usize) -> Verdict {
        for (place, plugin) in self.chain.uses.iter().enumerate().skip(from) {
            self.passed = place;
            if !plugin.has(Hook::OnRequest) {
                continue;
            }
            // An instance that cannot be needed again is not kept for as long as a response may take.
            let keep = plugin.hooks().has_after(Hook::OnRequest);
            let can_hold = plugin.has(Hook::OnRequestComplete);
            let check = move |verdict| checked_verdict(verdict, can_hold);
            let recorded = record::begins(plugin, self.hand.exchange_mut());
            let called = match self.hand.call_now(plugin, OnRequest, keep, check) {
                Some(called) => called,
                None => Box::pin(self.hand.call(plugin, OnRequest, keep, check)).await,
            };
            if recorded {
                record::requested(self.hand.exchange_mut(), &called, None);
            }
            match called {
                Ok(said) => {
                    self.parts[place].taken = true;
                    match said {
                        Said::Proceed => {}
                        Said::Answer(answer) => return Verdict::Answer(answer),
                        Said::Hold(most) => return Verdict::Hold(most),
                    }
                }
                Err(Some(failure)) => return Verdict::Failed(failure),
                Err(None) => self.parts[place].left = true,
            }
        }
        self.passed = self.chain.uses.len();
        Verdict::Proceed
    }

    /// Whether a plugin is to see the response's head.
    #[must_use]
    #[inline]
    pub fn wants_response(&self) -> bool {
        self.chain.has(Hook::OnResponse) && self.passed > 0
    }

    /// Plugins that the request has come past.
    #[must_use]
    pub fn passed(&self) -> usize {
        self.passed
    }

    /// Calls `on-response` of the first `before` plugins in reverse order, until one answers or fails: that one's place,
    /// and what became of it. The response is in the exchange.
    pub async fn on_response(&mut self, before: usize) -> (usize, Verdict) {
        for place in (0..before).rev() {
            let plugin = &self.chain.uses[place];
            if !plugin.has(Hook::OnResponse) || !self.takes_part(place) {
                continue;
            }
            let keep = plugin.hooks().has_after(Hook::OnResponse);
            let check = |verdict| checked_verdict(verdict, false);
            let recorded = record::begins(plugin, self.hand.exchange_mut());
            if recorded {
                record::responds(self.hand.exchange_mut());
            }
            let called = match self.hand.call_now(plugin, OnResponse, keep, check) {
                Some(called) => called,
                None => self.hand.call(plugin, OnResponse, keep, check).await,
            };
            if recorded {
                record::responded(self.hand.exchange_mut(), &called);
            }
            match called {
                Ok(Said::Answer(answer)) => return (place, Verdict::Answer(answer)),
                Ok(Said::Proceed | Said::Hold(_)) => {}
                Err(failure) => {
                    self.parts[place].left = true;
                    if let Some(failure) = failure {
                        return (place, Verdict::Failed(failure));
                    }
                }
            }
        }
        (0, Verdict::Proceed)
    }

    /// Whether a plugin is to see the body of that side, as far as the request has come.
    #[must_use]
    #[inline]
    pub fn wants_body(&self, side: Side) -> bool {
        self.chain.has(side.hook()) && self.passed > 0
    }

    pub(super) fn chain(&self) -> &Arc<Chain> {
        &self.chain
    }

    pub(super) fn plugin(&self, place: usize) -> &Arc<PluginUse> {
        &self.chain.uses[place]
    }

    pub(super) fn hand_mut(&mut self) -> &mut Hand {
        &mut self.hand
    }

    /// Notes that so many bytes are held for the plugin that the request has come to.
    pub(super) fn keep_hold(&mut self, hold: Hold) {
        self.holds.push(hold);
    }

    pub(super) fn note_failure(&mut self, place: usize, failed: bool) {
        self.parts[place].left |= failed;
    }

    /// Whether a plugin that the request has come past has a part in the exchange: its `on-request` ended well, if it has
    /// one, and it has not failed since.
    pub(super) fn takes_part(&self, place: usize) -> bool {
        let part = self.parts[place];
        !part.left && (part.taken || !self.chain.uses[place].has(Hook::OnRequest))
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
        let hook = PickBackend(u32::try_from(shown).unwrap_or(u32::MAX));
        // One that does nothing else serves the next exchange at once: a few instances that stay in the processor's caches,
        // rather than one for each exchange that waits for its backend.
        let keep = !picker.hooks().is_just(Hook::PickBackend);
        let recorded = record::begins(picker, self.hand.exchange_mut());
        let called = match self.hand.call_now(picker, hook, keep, check) {
            Some(called) => called,
            None => Box::pin(self.hand.call(picker, hook, keep, check)).await,
        };
        if recorded {
            record::picked(self.hand.exchange_mut(), &called);
        }
        match called {
            Ok(choice) => Ok(choice),
            Err(Some(failure)) => Err(failure),
            Err(None) => Ok(None),
        }
    }

    /// The response's head is on its way: gives back the instances that have been kept for hooks before it, rather than to
    /// hold them for as long as the response takes. `uploading` says whether the request's body is still on its way.
    pub fn settle(&mut self, uploading: bool) {
        let chain = &self.chain;
        let needed = |plugin: &PluginUse| {
            plugin.hooks().has_after(Hook::OnResponse) || (uploading && plugin.has(Hook::OnRequestBody))
        };
        self.hand.give_back(|core| chain.uses.iter().any(|plugin| Arc::ptr_eq(&plugin.core, core) && needed(plugin)));
    }

    /// Calls `on-response-finish` in reverse order, for every plugin whose `on-request` ran or that has no such hook, then
    /// `done`, and puts the instances back. Runs at once if no plugin has to wait; otherwise in a task of its own.
    pub fn finish(mut self, summary: Summary, done: impl FnOnce(&Exchange) + 'static) {
        if self.exchange().recording.is_some() {
            record::ends(self.exchange_mut());
        }
        for place in (0..self.chain.uses.len()).rev() {
            if self.is_owed_finish(place) && !self.finish_now(place, summary) {
                return self.finish_in_time(place, summary, done);
            }
        }
        done(self.exchange());
    }

    fn is_owed_finish(&self, place: usize) -> bool {
        let plugin = &self.chain.uses[place];
        let taken = self.parts.get(place).is_some_and(|part| part.taken);
        plugin.has(Hook::OnResponseFinish) && (taken || !plugin.has(Hook::OnRequest))
    }

    fn finish_now(&mut self, place: usize, summary: Summary) -> bool {
        let hook = self.finish_hook(summary);
        self.hand.call_now(&self.chain.uses[place], hook, true, Ok).is_some()
    }

    fn finish_hook(&self, summary: Summary) -> OnResponseFinish {
        let exchange = self.exchange();
        OnResponseFinish { summary, method: (&exchange.request.method).into(), route: exchange.route.number() }
    }

    fn finish_in_time(mut self, from: usize, summary: Summary, done: impl FnOnce(&Exchange) + 'static) {
        let pools = self.hand.pools();
        let mut rest = Box::pin(async move {
            for place in (0..=from).rev() {
                if self.is_owed_finish(place) && !self.finish_now(place, summary) {
                    // A failure has been logged and counted, and nobody is left to be told.
                    let hook = self.finish_hook(summary);
                    let _ = self.hand.call(&self.chain.uses[place], hook, true, Ok).await;
                }
            }
            done(self.exchange());
        });
        // Most calls end at the first go, and need no task.
        if rest.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            pools.see_out(rest);
        }
    }
}

/// A verdict that makes sense.
pub(super) enum Said {
    Proceed,
    Answer(Answer),
    Hold(u64),
}

/// What a plugin decided, if it can be done.
pub(super) fn checked_verdict((verdict,): (WitVerdict,), can_hold: bool) -> Result<Said, String> {
    match verdict {
        WitVerdict::Proceed => Ok(Said::Proceed),
        WitVerdict::Answer(answer) => checked_answer(answer).map(Said::Answer),
        WitVerdict::Hold(most) if can_hold => Ok(Said::Hold(most.into())),
        WitVerdict::Hold(_) => Err("it wants the body to be held where it cannot be shown to it".into()),
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
