//! From a request to a backend's response: pick a backend, send, and try again where that is safe.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::header::{self, HeaderValue};
use http::uri::PathAndQuery;
use http::{Version, request};
use smallvec::SmallVec;

use super::again::{Failing, Next};
use super::body::Source;
use super::finish::Finish;
use super::{Failure, Handling, Outcome};
use crate::config::HostHeader;
use crate::exchange::Candidates;
use crate::message::{Added, Upload, UploadBody, clean_response, host_value};
use crate::plugin::{PluginUse, Side};
use crate::reason::Reason;
use crate::snapshot::Route;
use crate::upstream::{Backend, InFlight, Live, Outgoing, SendError, Sent, Upstream};

/// Backends that were tried, as places in the upstream.
pub(super) type Tried = SmallVec<[u16; 4]>;

impl Handling<'_> {
    /// Sends the request to a backend of `upstream`, and to another one if the first fails in a way that allows it.
    pub(super) async fn forward(
        &self,
        upstream: &Arc<Upstream>,
        picker: Option<&Arc<PluginUse>>,
        finish: &mut Finish,
    ) -> Result<Outcome, Failure> {
        upstream.exchange_started();
        if let Some(upload) = &self.upload
            && finish.run_mut().wants_body(Side::Request)
        {
            self.transform_upload(upload, finish);
        }
        let mut tried = Tried::new();
        let mut next = Next::Pick;
        loop {
            let (backend, in_flight) = match next {
                Next::At(place) => take(upstream, place, &mut tried),
                Next::Pick | Next::End => self.pick(upstream, picker, &mut tried, finish).await?,
            };
            finish.attempts += 1;
            finish.in_flight = Some(in_flight);
            finish.exchange_mut().backend = Some(Arc::clone(&backend));
            let asked = finish.elapsed();
            let lent = finish.lend_run();
            let sent = self.attempt(upstream, &backend, finish, lent.as_deref(), asked).await;
            if lent.is_some() {
                Box::pin(finish.fetch_run()).await;
            }
            let sent = match sent {
                Ok(sent) if !upstream.settings.retry.status.contains(&sent.head.status.as_u16()) => {
                    return Ok(self.accept(sent, &backend, finish, asked));
                }
                failed => failed,
            };
            let failing = sent.as_ref().map_or_else(Failing::from, |sent| Failing::status(sent.head.status));
            next = Box::pin(self.next(upstream, picker, &tried, failing, finish)).await?;
            match (&next, sent) {
                // If there can be no other, this response is the best that there is.
                (Next::End, Ok(sent)) => return Ok(self.accept(sent, &backend, finish, asked)),
                (Next::End, Err(error)) => return Err(self.failed(&backend, finish, error)),
                (Next::Pick | Next::At(_), Ok(sent)) => {
                    tracing::debug!(backend = &*backend.address, status = sent.head.status.as_u16(), "retrying");
                }
                (Next::Pick | Next::At(_), Err(error)) => {
                    tracing::debug!(backend = &*backend.address, cause = %error.cause, "retrying");
                }
            }
            backend.failed();
            finish.in_flight = None;
            self.connection.local.metrics.retried();
        }
    }

    /// The end of all attempts: whose fault it was, and what the client is told.
    fn failed(&self, backend: &Backend, finish: &mut Finish, error: SendError) -> Failure {
        finish.in_flight = None;
        if let Some(reason) = self.upload.as_ref().and_then(Upload::failed) {
            return reason.into();
        }
        if error.blames_the_backend() {
            backend.failed();
        }
        Failure { reason: error.reason, cause: Some(error.cause) }
    }

    /// Has plugins change the request's body on its way.
    fn transform_upload(&self, upload: &Upload, finish: &mut Finish) {
        if let Some(transform) = finish.transform(Side::Request) {
            upload.changed_by(Box::new(transform));
            finish.exchange_mut().request.headers.remove(header::CONTENT_LENGTH);
        }
    }

    /// A backend for the next attempt, and a place at it. Waits for one if all are busy.
    pub(super) async fn pick(
        &self,
        upstream: &Arc<Upstream>,
        picker: Option<&Arc<PluginUse>>,
        tried: &mut Tried,
        finish: &mut Finish,
    ) -> Result<(Arc<Backend>, InFlight), Failure> {
        let mut live = self.room(upstream, tried).await?;
        if live.is_empty() && !tried.is_empty() {
            // No other backend is there: the same one may do better now, after a moment.
            tried.clear();
            Box::pin(tokio::time::sleep(back_off(finish))).await;
            live = self.room(upstream, tried).await?;
        }
        if live.is_empty() {
            return Err(Reason::NoBackend.into());
        }
        let place = match picker {
            Some(picker) => {
                let candidates = Candidates { upstream: Arc::clone(upstream), live: live.clone() };
                finish.exchange_mut().candidates = Some(candidates);
                let picked = finish.run_mut().pick_backend(picker).await;
                finish.exchange_mut().candidates = None;
                picked.map_err(|failure| failure.reason)?
            }
            None => None,
        };
        let chosen = live[place.unwrap_or_else(|| upstream.next(&live))];
        Ok(take(upstream, chosen, tried))
    }

    /// The backends that may be asked now, after a wait if all of them are busy; none if none is healthy.
    async fn room(&self, upstream: &Upstream, tried: &[u16]) -> Result<Live, Reason> {
        let live = upstream.live(tried);
        if !live.is_empty() {
            return Ok(live);
        }
        let waiting = tokio::time::timeout(upstream.settings.queue_timeout, upstream.live_or_wait(tried));
        Box::pin(waiting).await.map_err(|_| Reason::Overloaded)?.map_err(|_| Reason::Overloaded)
    }

    /// One request to one backend, up to the response's head, within the time that there is. `head` is the request's, if it
    /// is not to be had from the exchange now.
    async fn attempt(
        &self,
        upstream: &Upstream,
        backend: &Backend,
        finish: &Finish,
        head: Option<&request::Parts>,
        asked: Duration,
    ) -> Result<Sent, SendError> {
        let local = &self.connection.local;
        let body = self.upload.as_ref().map_or_else(UploadBody::default, Upload::body);
        let request = match head {
            Some(head) => self.outgoing(backend, head, None, finish.attempts),
            None => self.outgoing(backend, &finish.exchange().request, finish.exchange().added(), finish.attempts),
        };
        let limits = &self.snapshot.config.limits;
        // RFC 9110 §15.2: no interim responses for HTTP/1.0.
        let client = (finish.version() == Version::HTTP_11).then_some(&*self.connection.watch);
        let mut sending = pin!(local.connections.send(backend, &request, body, limits, client));
        self.wait(upstream, asked, Duration::ZERO);
        let outcome = poll_fn(|cx| {
            loop {
                let outcome = sending.as_mut().poll(cx);
                if outcome.is_ready() || !self.lifeline.is_due(cx) {
                    return outcome;
                }
                let now = finish.elapsed();
                let mut still = now.saturating_sub(asked);
                if let Some(upload) = &self.upload {
                    still = still.min(upload.moved().elapsed());
                }
                if let Some(late) = self.late(upstream, now, still) {
                    return Poll::Ready(Err(late));
                }
                self.wait(upstream, now, still);
            }
        })
        .await;
        self.lifeline.goes_on();
        outcome
    }

    /// Waits for a backend from now on, as long as there is patience and time.
    fn wait(&self, upstream: &Upstream, now: Duration, still: Duration) {
        let left = self.route.timeout.saturating_sub(now);
        self.lifeline.waits(self.patience(upstream, still).min(left));
    }

    /// How long to wait before looking who keeps whom waiting, `still` after the request's body has last moved.
    fn patience(&self, upstream: &Upstream, still: Duration) -> Duration {
        let response = upstream.settings.response_timeout;
        let idle = self.snapshot.config.timeouts.body_idle;
        match &self.upload {
            Some(upload) if upload.starving() => idle.saturating_sub(still).min(response),
            // It may be the client that is waited for, as soon as the body has begun.
            Some(upload) if !upload.ended() => response.saturating_sub(still).min(idle),
            _ => response.saturating_sub(still),
        }
    }

    /// Whether time is up, `now` into the exchange and `still` since the request's body last moved.
    fn late(&self, upstream: &Upstream, now: Duration, still: Duration) -> Option<SendError> {
        let starving = self.upload.as_ref().is_some_and(Upload::starving);
        // The clock is coarse: a tick early is on time.
        let over = |limit: Duration, time: Duration| time + TICK >= limit;
        if starving && over(self.snapshot.config.timeouts.body_idle, still) {
            return Some(SendError::late(Reason::RequestTimeout, "the request's body stands still"));
        }
        if over(self.route.timeout, now) || (!starving && over(upstream.settings.response_timeout, still)) {
            return Some(SendError::late(Reason::UpstreamTimeout, "no response's head in time"));
        }
        None
    }

    /// Makes a backend's response the client's.
    pub(super) fn accept(&self, sent: Sent, backend: &Backend, finish: &mut Finish, asked: Duration) -> Outcome {
        let Sent { mut head, body } = sent;
        finish.first_byte = finish.elapsed();
        clean_response(&mut head.headers);
        if matches!(head.status.as_u16(), 502..=504) {
            backend.failed();
        } else {
            backend.succeeded(finish.first_byte.saturating_sub(asked));
        }
        (head, Source::Backend(body))
    }

    /// The request as this backend is to see it.
    pub(super) fn outgoing<'a>(
        &self,
        backend: &Backend,
        head: &'a request::Parts,
        added: Option<Added<'a>>,
        attempt: u32,
    ) -> Outgoing<'a> {
        Outgoing {
            added,
            method: &head.method,
            target: head.uri.path_and_query().map_or("/", PathAndQuery::as_str),
            headers: &head.headers,
            host: host_for(self.route, head, backend),
            trailers: self.hop.trailers,
            websocket: false,
            client: backend.proxy_protocol.then(|| (self.connection.peer.address, self.connection.peer.local)),
            attempt,
        }
    }
}

/// What `clock::Clock` may be off by.
const TICK: Duration = Duration::from_millis(20);

/// A place at that backend.
fn take(upstream: &Upstream, chosen: u16, tried: &mut Tried) -> (Arc<Backend>, InFlight) {
    tried.push(chosen);
    let backend = Arc::clone(&upstream.backends[usize::from(chosen)]);
    let in_flight = backend.begin();
    (backend, in_flight)
}

fn host_for(route: &Route, head: &request::Parts, backend: &Backend) -> HeaderValue {
    match &route.host {
        HostHeader::Preserve => host_value(head),
        HostHeader::Backend => Some(backend.authority.clone()),
        HostHeader::Name(name) => HeaderValue::from_str(name).ok(),
    }
    .unwrap_or_else(|| backend.authority.clone())
}

/// 25 to 250 ms with full jitter, from the one random thing that is at hand for free.
fn back_off(finish: &Finish) -> Duration {
    let spread = finish.exchange().id.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    Duration::from_millis(25 + spread % 226)
}
