//! What a recorder is told of an exchange or a connection: before a hook what the plugin is shown, after it what it decided.
//! Nothing here runs for a plugin that is not recorded.

use std::time::SystemTime;

use bytes::Bytes;
use http::HeaderMap;

use super::attempt::{FailedAttempt, NextAttempt};
use super::chain::Said;
use super::connect::Arriving;
use super::hand::Called;
use super::{Failure, PluginUse};
use crate::exchange::{Candidates, Exchange};
use crate::recording::{Arrived, Asked, Attempt, Part, Recording, Shown, What};

/// A hook of that plugin is about to be called. Says whether that is recorded.
#[inline]
pub(super) fn begins(plugin: &PluginUse, exchange: &mut Exchange) -> bool {
    plugin.recorder.is_some() && begins_to_be(plugin, exchange)
}

#[cold]
fn begins_to_be(plugin: &PluginUse, exchange: &mut Exchange) -> bool {
    let Some(recorder) = plugin.recorder.as_ref().filter(|recorder| recorder.wants(exchange.id)) else { return false };
    exchange.tell();
    let mut recording = exchange.recording.take().unwrap_or_default();
    recording.part(recorder, || shown(plugin, exchange));
    exchange.recording = Some(recording);
    true
}

fn shown(plugin: &PluginUse, exchange: &Exchange) -> Shown {
    let peer = &exchange.peer;
    let asked = Asked {
        request: exchange.request.clone(),
        trusted: peer.trusted,
        route: (&*exchange.route).into(),
        host_is_named: exchange.host_is_named,
        notes: exchange.notes.clone(),
    };
    Shown {
        id: exchange.id,
        time: now(),
        client: exchange.client,
        tls: peer.tls.clone(),
        counters: plugin.counters().into_iter().collect(),
        what: What::Exchange(asked.into()),
    }
}

fn now() -> u64 {
    let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// `on-connect` of that plugin is about to be called. What is recorded of it stays with the instance for the call.
#[inline]
pub(super) fn connects(plugin: &PluginUse, arriving: Arriving<'_>) -> Option<Box<Recording>> {
    let recorder = plugin.recorder.as_ref()?;
    let id = recorder.connection()?;
    let Arriving { peer, listener, alpn, http2 } = arriving;
    let mut recording = Box::<Recording>::default();
    recording.part(recorder, || Shown {
        id,
        time: now(),
        client: peer.address.ip(),
        tls: peer.tls.clone(),
        counters: plugin.counters().into_iter().collect(),
        what: What::Connection(Arrived { port: peer.address.port(), listener, alpn, http2 }),
    });
    Some(recording)
}

/// What `on-connect` decided.
#[cold]
pub(super) fn connected(mut recording: Recording, admitted: &Result<bool, Option<Failure>>) {
    if let Some(part) = recording.current() {
        part.failed = admitted.is_err();
        part.verdict = Some(match admitted {
            Ok(true) | Err(None) => "proceed",
            Ok(false) => "refuse",
            Err(Some(_)) => "fail",
        });
    }
    recording.send();
}

/// What `on-request` decided, or `on-request-complete`, which was shown that body.
#[cold]
pub(super) fn requested(exchange: &mut Exchange, called: &Called<Said>, body: Option<&[u8]>) {
    let (request, edits) = (exchange.request.clone(), exchange.response_edits.clone());
    let Some(part) = exchange.recording.as_deref_mut().and_then(current) else { return };
    match called {
        Ok(Said::Proceed) => part.verdict = Some("proceed"),
        Ok(Said::Answer(answer)) => {
            part.verdict = Some("answer");
            part.answer = Some((answer.status, answer.headers.clone(), answer.body.clone()));
        }
        // What it decides comes later.
        Ok(Said::Hold(_)) => {}
        Err(failure) => {
            part.failed = true;
            part.verdict = Some(if failure.is_some() { "fail" } else { "proceed" });
        }
    }
    part.request = Some(request);
    if let Some(body) = body.filter(|body| body.len() <= LARGEST_BODY) {
        part.body = Some(Bytes::copy_from_slice(body));
    }
    let mut headers = HeaderMap::new();
    edits.into_iter().for_each(|edit| edit.apply(&mut headers));
    part.edits = headers;
    pause(exchange);
}

/// `on-response` is about to be called: the response as it is.
#[cold]
pub(super) fn responds(exchange: &mut Exchange) {
    let Some(response) = &exchange.response else { return };
    let before = (response.status, response.headers.clone());
    if let Some(part) = exchange.recording.as_deref_mut().and_then(current) {
        part.response = Some([before.clone(), before]);
    }
}

/// What `on-response` made of it.
#[cold]
pub(super) fn responded(exchange: &mut Exchange, called: &Called<Said>) {
    let after = exchange.response.as_ref().map(|response| (response.status, response.headers.clone()));
    if let Some(part) = exchange.recording.as_deref_mut().and_then(current) {
        if let (Some([_, known]), Some(after)) = (&mut part.response, after) {
            *known = after;
        }
        match called {
            Ok(Said::Answer(answer)) => {
                part.answer = Some((answer.status, answer.headers.clone(), answer.body.clone()));
            }
            Ok(Said::Proceed | Said::Hold(_)) => {}
            Err(_) => part.failed = true,
        }
    }
    pause(exchange);
}

/// What it picked of what it was shown.
#[cold]
pub(super) fn picked(exchange: &mut Exchange, called: &Called<Option<usize>>) {
    let Some(shown) = exchange.candidates.as_ref().map(addresses) else { return };
    if let Some(part) = exchange.recording.as_deref_mut().and_then(current) {
        let picked = called.as_ref().ok().copied().flatten().and_then(|place| shown.get(place).cloned());
        part.failed |= called.is_err();
        part.picks.push((shown, picked));
    }
    pause(exchange);
}

/// What it wanted after an attempt that failed.
#[cold]
pub(super) fn attempted(exchange: &mut Exchange, failed: &FailedAttempt<'_>, called: &Called<NextAttempt>) {
    let others = exchange.candidates.as_ref().map(addresses).unwrap_or_default();
    if let Some(part) = exchange.recording.as_deref_mut().and_then(current) {
        let next = match called {
            Ok(NextAttempt::Proceed) | Err(None) => Some("proceed".to_owned()),
            Ok(NextAttempt::GiveUp) => Some("give-up".to_owned()),
            Ok(NextAttempt::Pick(place)) => others.get(*place).cloned(),
            Err(Some(_)) => None,
        };
        part.failed |= called.is_err();
        if let Err(Some(_)) = called {
            part.verdict = Some("fail");
        }
        let FailedAttempt { backend, reason, status, may_retry, .. } = *failed;
        part.attempts.push(Attempt { backend: backend.to_owned(), others, reason, status, may_retry, next });
    }
    pause(exchange);
}

fn addresses(candidates: &Candidates) -> Vec<String> {
    let backends = &candidates.upstream.backends;
    candidates.live.iter().map(|place| backends[usize::from(*place)].address.to_string()).collect()
}

/// The exchange is over.
#[cold]
pub(super) fn ends(exchange: &mut Exchange) {
    if let Some(recording) = exchange.recording.take() {
        recording.send();
    }
}

fn pause(exchange: &mut Exchange) {
    if let Some(recording) = &mut exchange.recording {
        recording.pause();
    }
}

fn current(recording: &mut Recording) -> Option<&mut Part> {
    recording.current()
}

/// The part of the plugin whose hook runs, if that is recorded.
#[inline]
pub(super) fn part<'a>(
    exchange: &'a mut Option<Box<Exchange>>,
    apart: &'a mut Option<Box<Recording>>,
) -> Option<&'a mut Part> {
    let recording = exchange.as_deref_mut().map_or(apart, |exchange| &mut exchange.recording);
    recording.as_deref_mut()?.current()
}

/// Bytes of a body that is recorded.
const LARGEST_BODY: usize = 64 << 10;
