//! After an attempt that has failed: whether there is another one, and at which backend.

use std::sync::Arc;

use http::{Method, StatusCode};

use super::finish::Finish;
use super::forward::Tried;
use super::{Failure, Handling};
use crate::exchange::Candidates;
use crate::message::Upload;
use crate::plugin::{FailedAttempt, NextAttempt, PluginUse};
use crate::reason::Reason;
use crate::upstream::{Retryable, SendError, Upstream};

/// What comes after an attempt that has failed.
pub(super) enum Next {
    /// Nothing.
    End,
    /// Another one, at a backend that is picked as for the first.
    Pick,
    /// Another one, at the backend in that place of the upstream.
    At(u16),
}

/// Why an attempt failed, as far as it matters for what comes next.
pub(super) struct Failing {
    reason: Reason,
    retry: Retryable,
    status: Option<StatusCode>,
    blames_the_backend: bool,
}

impl Failing {
    /// A response with a status that the upstream retries.
    pub(super) fn status(status: StatusCode) -> Self {
        // P6: it is the operator who says that it is safe, for methods that are.
        let retry = Retryable::IfIdempotent;
        Self { reason: Reason::BadResponse, retry, status: Some(status), blames_the_backend: true }
    }
}

impl From<&SendError> for Failing {
    fn from(error: &SendError) -> Self {
        let blames_the_backend = error.blames_the_backend();
        Self { reason: error.reason, retry: error.retry, status: None, blames_the_backend }
    }
}

impl Handling<'_> {
    /// What comes next. Where there is another attempt, the upstream's budget has paid for it.
    pub(super) async fn next(
        &self,
        upstream: &Arc<Upstream>,
        picker: Option<&Arc<PluginUse>>,
        tried: &Tried,
        failing: Failing,
        finish: &mut Finish,
    ) -> Result<Next, Failure> {
        let may_retry = self.may_retry(upstream, failing.retry, finish);
        if !finish.run_mut().hears_of_failures(picker) || self.is_no_backends_fault(&failing) {
            return Ok(if may_retry { Next::Pick } else { Next::End });
        }
        let live = upstream.live(tried);
        let candidates = Candidates { upstream: Arc::clone(upstream), live: live.clone() };
        let exchange = finish.exchange_mut();
        exchange.candidates = Some(candidates);
        let backend = exchange.backend.clone();
        let Failing { reason, status, .. } = failing;
        let backend = backend.as_ref().map_or("", |backend| &*backend.address);
        let told = FailedAttempt { number: finish.attempts, backend, reason, status, may_retry };
        let said = finish.run_mut().on_attempt_failed(picker, told).await;
        finish.exchange_mut().candidates = None;
        if may_retry && matches!(said, Err(_) | Ok(NextAttempt::GiveUp)) {
            upstream.return_retry();
        }
        match said.map_err(|failure| failure.reason)? {
            NextAttempt::GiveUp => Ok(Next::End),
            _ if !may_retry => Ok(Next::End),
            // The plugin may have taken its time.
            NextAttempt::Pick(place) if upstream.live(tried).contains(&live[place]) => Ok(Next::At(live[place])),
            NextAttempt::Pick(_) | NextAttempt::Proceed => Ok(Next::Pick),
        }
    }

    /// Whether no backend is at fault.
    fn is_no_backends_fault(&self, failing: &Failing) -> bool {
        !failing.blames_the_backend || self.upload.as_ref().is_some_and(|upload| upload.failed().is_some())
    }

    /// P4 to P7: whether another attempt is safe, and within the route's time and the upstream's budget, which it then
    /// has spent.
    fn may_retry(&self, upstream: &Upstream, retry: Retryable, finish: &Finish) -> bool {
        let safe = match retry {
            Retryable::Always => true,
            Retryable::IfIdempotent => self.idempotent(upstream, finish),
            Retryable::Never => false,
        };
        safe && finish.attempts <= upstream.settings.retry.attempts
            && self.upload.as_ref().is_none_or(Upload::replayable)
            && finish.elapsed() < self.route.timeout
            && upstream.spend_retry()
    }

    /// RFC 9110 §9.2.2.
    fn idempotent(&self, upstream: &Upstream, finish: &Finish) -> bool {
        const IDEMPOTENT: [Method; 6] =
            [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE, Method::PUT, Method::DELETE];
        upstream.settings.retry.non_idempotent || IDEMPOTENT.contains(&finish.exchange().request.method)
    }
}
