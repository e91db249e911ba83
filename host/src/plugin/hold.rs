//! A request that waits until a plugin has seen its whole body.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::chain::{Run, Said, Verdict, checked_verdict};
use super::core::Core;
use super::hooks::OnRequestComplete;
use super::stats::Hook;
use super::{Failure, record};

/// Bytes of a body that are held for a plugin. They count until this is dropped.
#[derive(Debug)]
pub(super) struct Hold {
    core: Arc<Core>,
    bytes: u64,
}

impl Hold {
    /// Counts so many bytes, if the plugin may have them.
    fn take(core: &Arc<Core>, bytes: u64) -> Option<Self> {
        let most = core.limits.body_held as u64;
        let more = |held: u64| held.checked_add(bytes).filter(|held| *held <= most);
        // A tenant's comes out of what the instances of its plugins may have.
        if core.tenant.as_ref().is_some_and(|tenant| !tenant.take_memory(bytes)) {
            return None;
        }
        if core.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_err() {
            give_back(core, bytes);
            return None;
        }
        Some(Self { core: core.clone(), bytes })
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.core.held.fetch_sub(self.bytes, Ordering::Relaxed);
        give_back(&self.core, self.bytes);
    }
}

fn give_back(core: &Core, bytes: u64) {
    if let Some(tenant) = &core.tenant {
        tenant.give_memory(bytes);
    }
}

impl Run {
    /// After [`Verdict::Hold`]: makes room for so many bytes, before they are read. None: there is none, and the plugin is to
    /// be skipped; go on with [`Run::pass_over`].
    ///
    /// # Errors
    /// When there is none.
    pub fn hold(&mut self, bytes: u64) -> Result<Option<()>, Failure> {
        let core = self.plugin(self.passed()).core.clone();
        if let Some(hold) = Hold::take(&core, bytes) {
            self.keep_hold(hold);
            return Ok(Some(()));
        }
        match self.hand_mut().too_much_held(&core) {
            Some(failure) => Err(failure),
            None => Ok(None),
        }
    }

    /// Shows the whole body to the plugin that wanted it, and then goes on with the next one.
    pub async fn on_request_complete(&mut self, body: &[u8]) -> Verdict {
        let place = self.passed();
        let plugin = self.plugin(place).clone();
        let keep = plugin.hooks().has_after(Hook::OnRequestComplete);
        let check = |verdict| checked_verdict(verdict, false);
        let hand = self.hand_mut();
        let recorded = record::begins(&plugin, hand.exchange_mut());
        let called = match hand.call_now(&plugin, OnRequestComplete(body), keep, check) {
            Some(called) => called,
            None => hand.call(&plugin, OnRequestComplete(body), keep, check).await,
        };
        if recorded {
            record::requested(hand.exchange_mut(), &called, Some(body));
        }
        match called {
            Ok(Said::Answer(answer)) => return Verdict::Answer(answer),
            Ok(Said::Proceed | Said::Hold(_)) => {}
            Err(Some(failure)) => return Verdict::Failed(failure),
            Err(None) => self.note_failure(place, true),
        }
        self.walk(place + 1).await
    }

    /// Goes on without the plugin that wanted the body.
    pub async fn pass_over(&mut self) -> Verdict {
        let place = self.passed();
        self.note_failure(place, true);
        self.walk(place + 1).await
    }
}
