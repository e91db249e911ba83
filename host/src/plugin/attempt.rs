//! An attempt at a backend that has failed, as the plugins hear of it.

use std::sync::Arc;

use http::StatusCode;

use super::chain::Run;
use super::hand::Called;
use super::hooks::OnAttemptFailed;
use super::stats::Hook;
use super::wit::{WitAttempt, WitNextAttempt};
use super::{Failure, PluginUse, record};
use crate::reason::Reason;

/// An attempt that has failed.
#[derive(Debug, Clone, Copy)]
pub struct FailedAttempt<'a> {
    /// Which one, from 1.
    pub number: u32,
    /// The backend's address.
    pub backend: &'a str,
    /// Why.
    pub reason: Reason,
    /// The status that is to be retried, if it is that.
    pub status: Option<StatusCode>,
    /// Whether there may be another attempt.
    pub may_retry: bool,
}

/// What plugins want after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextAttempt {
    /// What would come without them.
    Proceed,
    /// The backend at this place of what they were shown.
    Pick(usize),
    /// No other attempt.
    GiveUp,
}

impl Run {
    /// Whether a plugin of the chain, or the one that picks backends, wants to hear of attempts that failed.
    #[must_use]
    pub fn hears_of_failures(&self, picker: Option<&Arc<PluginUse>>) -> bool {
        let picker_hears = picker.is_some_and(|picker| picker.has(Hook::OnAttemptFailed));
        picker_hears || (self.chain().has(Hook::OnAttemptFailed) && self.passed() > 0)
    }

    /// Calls `on-attempt-failed` of the plugins that the request came past, then of `picker`, until one decides. They are
    /// shown `exchange.candidates`.
    ///
    /// # Errors
    /// When one failed and its `on_failure` is `deny`.
    pub async fn on_attempt_failed(
        &mut self,
        picker: Option<&Arc<PluginUse>>,
        failed: FailedAttempt<'_>,
    ) -> Result<NextAttempt, Failure> {
        for place in 0..self.passed() {
            let plugin = self.plugin(place).clone();
            if !plugin.has(Hook::OnAttemptFailed) || !self.takes_part(place) {
                continue;
            }
            let called = self.tell(&plugin, failed).await;
            self.note_failure(place, called.is_err());
            match called {
                Ok(NextAttempt::Proceed) | Err(None) => {}
                Ok(next) => return Ok(next),
                Err(Some(failure)) => return Err(failure),
            }
        }
        let in_chain =
            |picker: &PluginUse| self.chain().uses.iter().any(|plugin| Arc::ptr_eq(&plugin.core, &picker.core));
        match picker.filter(|picker| picker.has(Hook::OnAttemptFailed) && !in_chain(picker)) {
            None => Ok(NextAttempt::Proceed),
            Some(picker) => match self.tell(picker, failed).await {
                Ok(next) => Ok(next),
                Err(None) => Ok(NextAttempt::Proceed),
                Err(Some(failure)) => Err(failure),
            },
        }
    }

    async fn tell(&mut self, plugin: &PluginUse, failed: FailedAttempt<'_>) -> Called<NextAttempt> {
        let shown = self.exchange().candidates.as_ref().map_or(0, |candidates| candidates.live.len());
        let check = move |(next,): (WitNextAttempt,)| match next {
            WitNextAttempt::Proceed => Ok(NextAttempt::Proceed),
            WitNextAttempt::GiveUp => Ok(NextAttempt::GiveUp),
            WitNextAttempt::Pick(index) => match usize::try_from(index) {
                Ok(index) if index < shown => Ok(NextAttempt::Pick(index)),
                _ => Err(format!("it picked backend {index} of {shown}")),
            },
        };
        // Not on the way of an exchange that goes well, so whether it could be had without waiting does not matter.
        let recorded = record::begins(plugin, self.exchange_mut());
        let called = self.hand_mut().call(plugin, OnAttemptFailed(WitAttempt::from(&failed)), true, check).await;
        if recorded {
            record::attempted(self.exchange_mut(), &failed, &called);
        }
        called
    }
}
