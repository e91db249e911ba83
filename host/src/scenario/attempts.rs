//! Attempts at backends that fail, before the one that answers: what a scenario says of them, and what the plugin makes of it.

use std::sync::Arc;

use http::StatusCode;

use super::fields;
use super::file::Scenario;
use super::outcome::Outcome;
use crate::config::reader::Value;
use crate::exchange::Candidates;
use crate::plugin::{FailedAttempt, Failure, Hook, NextAttempt, PluginUse, Run};
use crate::reason::Reason;
use crate::upstream::Live;

/// An attempt that fails.
#[derive(Debug, Clone)]
pub struct Failing {
    /// At which backend, if the plugin does not say.
    backend: Option<String>,
    /// Why.
    reason: Reason,
    /// The response's status, if it is that.
    status: Option<StatusCode>,
    /// Whether there may be another.
    may_retry: bool,
}

impl Failing {
    /// Reads one.
    pub(super) fn read(value: Value<'_, '_>) -> Option<Self> {
        let mut table = value.table()?;
        let mut failing = Self { backend: None, reason: Reason::ConnectFailed, status: None, may_retry: true };
        failing.backend = table.optional("backend", fields::text);
        let reasons = REASONS.map(|reason| (reason.code(), reason));
        table.set("reason", &mut failing.reason, |value| value.word(&reasons));
        failing.status = table.optional("status", fields::status);
        if failing.status.is_some() {
            failing.reason = Reason::BadResponse;
        }
        table.set("may_retry", &mut failing.may_retry, Value::boolean);
        table.finish();
        Some(failing)
    }
}

/// How attempts end if none follows that does not fail.
pub(super) enum Ended {
    /// The client is told this by the host.
    Refused(u16),
    /// The client is told what the backend says, for want of anything better.
    Answered(StatusCode),
}

/// Has a backend picked, and fails as often as the scenario says.
///
/// # Errors
/// When the plugin failed and its `on_failure` is `deny`.
pub(super) async fn attempts(
    run: &mut Run,
    plugin: &Arc<PluginUse>,
    scenario: &Scenario,
    outcome: &mut Outcome,
) -> Result<Option<Ended>, Failure> {
    let upstream = &scenario.synthetic.upstream;
    let shown = |live: &Live| Some(Candidates { upstream: upstream.clone(), live: live.clone() });
    let (mut tried, mut asked_for) = (Vec::new(), None);
    let mut failing = scenario.failed.iter();
    loop {
        let mut live = upstream.live(&tried);
        if live.is_empty() {
            // No other backend is there: the same one may do better now.
            tried.clear();
            live = upstream.live(&tried);
        }
        let Some(first) = live.first().copied().map(usize::from) else {
            return Ok(Some(Ended::Refused(Reason::NoBackend.status())));
        };
        let failed = failing.next();
        let mut place = asked_for.take();
        if place.is_none() && scenario.picker && plugin.has(Hook::PickBackend) {
            run.exchange_mut().candidates = shown(&live);
            let picked = run.pick_backend(plugin).await;
            run.exchange_mut().candidates = None;
            // It is one of those that it was shown.
            place = picked?.map(|index| usize::from(live[index]));
            outcome.picks.push(place.map(|place| upstream.backends[place].address.to_string()));
        }
        // Who picks none leaves it to the upstream, which takes the first here, unless it is said which.
        let said = failed.and_then(|failed| failed.backend.as_deref());
        let said =
            live.iter().copied().map(usize::from).find(|place| Some(&*upstream.backends[*place].address) == said);
        let place = place.or(said).unwrap_or(first);
        run.exchange_mut().backend = Some(upstream.backends[place].clone());
        outcome.attempts += 1;
        let Some(failed) = failed else { return Ok(None) };
        tried.extend(u16::try_from(place));
        let others = upstream.live(&tried);
        let Failing { reason, status, may_retry, .. } = *failed;
        let backend = &upstream.backends[place].address;
        run.exchange_mut().candidates = shown(&others);
        let failed = FailedAttempt { number: outcome.attempts, backend, reason, status, may_retry };
        let next = run.on_attempt_failed(None, failed).await;
        run.exchange_mut().candidates = None;
        let next = next?;
        outcome.next.push(match next {
            NextAttempt::Proceed => "proceed".to_owned(),
            NextAttempt::GiveUp => "give-up".to_owned(),
            NextAttempt::Pick(index) => {
                let place = usize::from(others[index]);
                asked_for = Some(place);
                upstream.backends[place].address.to_string()
            }
        });
        if !may_retry || next == NextAttempt::GiveUp {
            return Ok(Some(status.map_or(Ended::Refused(reason.status()), Ended::Answered)));
        }
    }
}

/// Why an attempt fails.
const REASONS: [Reason; 6] = [
    Reason::ConnectFailed,
    Reason::UpstreamTls,
    Reason::UpstreamClosed,
    Reason::UpstreamTimeout,
    Reason::BadResponse,
    Reason::Internal,
];
