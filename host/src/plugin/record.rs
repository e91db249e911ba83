//! What a recorder is told of an exchange: before a hook what the plugin is shown, after it what it decided. Nothing here
//! runs for a plugin that is not recorded.

use std::time::SystemTime;

use bytes::Bytes;
use http::HeaderMap;

use super::PluginUse;
use super::chain::Said;
use super::hand::Called;
use crate::exchange::Exchange;
use crate::recording::{Part, Recording, Shown};

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
    let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let peer = &exchange.peer;
    Shown {
        id: exchange.id,
        time: u64::try_from(time.as_nanos()).unwrap_or(u64::MAX),
        request: exchange.request.clone(),
        client: exchange.client,
        tls: peer.tls.as_ref().map(|tls| tls.server_name.clone()),
        trusted: peer.trusted,
        route: (&*exchange.route).into(),
        host_is_named: exchange.host_is_named,
        notes: exchange.notes.clone(),
        counters: plugin.counters().into_iter().collect(),
    }
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
    let Some(candidates) = &exchange.candidates else { return };
    let backends = &candidates.upstream.backends;
    let shown =
        candidates.live.iter().map(|place| backends[usize::from(*place)].address.to_string()).collect::<Vec<_>>();
    if let Some(part) = exchange.recording.as_deref_mut().and_then(current) {
        let picked = called.as_ref().ok().copied().flatten().and_then(|place| shown.get(place).cloned());
        part.failed |= called.is_err();
        // The first attempt is the one that a scenario can repeat.
        part.picked.get_or_insert((shown, picked));
    }
    pause(exchange);
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
pub(super) fn part(exchange: &mut Option<Box<Exchange>>) -> Option<&mut Part> {
    exchange.as_deref_mut()?.recording.as_deref_mut()?.current()
}

/// Bytes of a body that is recorded.
const LARGEST_BODY: usize = 64 << 10;
