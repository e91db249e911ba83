//! `lockgate:plugin/http-client`

mod wit;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{HeaderMap, Method};

pub(in super::super) use self::wit::WitRequest;
use self::wit::{WitError, WitResponse};
use super::super::core::Core;
use super::super::direct::Text;
use super::super::host::{Host, Misuse};
use super::super::record;
use super::request::{edit_headers, editable_field};
use super::{Cx, LinkerInstance, text};
use crate::exchange::HeaderEdit;
use crate::outbound::{Body, CallError, Client, Response};
use crate::recording::Call;

type Answer<T> = wasmtime::Result<(Result<T, WitError>,)>;

pub(super) fn link(http: &mut LinkerInstance<'_, Host>) -> wasmtime::Result<()> {
    http.func_wrap_async("send", |cx: Cx<'_>, (request,): (WitRequest,)| Box::new(send(cx, request)))?;
    http.func_wrap("header", |cx: Cx<'_>, (response, name): (u32, Text)| {
        let name = name.to_str(&cx)?;
        let value = cx.data().calls.head(response)?.get(&*name).map(|value| text(value.as_bytes()));
        Ok((value,))
    })?;
    http.func_wrap("headers", |cx: Cx<'_>, (response,): (u32,)| {
        let fields = cx.data().calls.head(response)?.iter();
        let fields = fields.map(|(name, value)| (name.as_str().to_owned(), text(value.as_bytes())));
        Ok((fields.collect::<Vec<_>>(),))
    })?;
    http.func_wrap_async("read", |mut cx: Cx<'_>, (response, most): (u32, u32)| {
        Box::new(async move {
            let _outing = cx.data().waits();
            let body = cx.data_mut().calls.open(response)?;
            let part = body.read((most as usize).clamp(1, LARGEST_PART)).await;
            ended(&mut cx, part.map(|part| part.to_vec()), Vec::is_empty)
        })
    })?;
    http.func_wrap_async("read-all", |mut cx: Cx<'_>, (response, most): (u32, u32)| {
        Box::new(async move {
            let _outing = cx.data().waits();
            let body = cx.data_mut().calls.open(response)?;
            let all = body.read_all(most as usize).await;
            ended(&mut cx, all, |_| true)
        })
    })?;
    http.func_wrap("close", |mut cx: Cx<'_>, (response,): (u32,)| {
        cx.data_mut().calls.close(response);
        Ok(())
    })
}

async fn send(mut cx: Cx<'_>, mut request: WitRequest) -> Answer<WitResponse> {
    let _outing = cx.data().waits();
    let host = cx.data_mut();
    let Some(reach) = host.reach.clone() else {
        return Err(Misuse::Moment { what: "http-client.send", hook: host.moment }.into());
    };
    let Some(client) = &reach.http else {
        return Err(wasmtime::Error::msg("the plugin was linked without its grant"));
    };
    let recorded =
        record::part(&mut host.exchange, &mut host.recording).map(|_| format!("{} {}", request.method, request.url));
    let answer = match admit(host) {
        Ok(permit) => {
            let sent = perform(client, &mut request, &host.core).await;
            note_call(host, recorded, &sent);
            sent.map(|response| host.calls.keep(response, permit))
        }
        Err(error) => Err(error),
    };
    match answer {
        Ok(response) => {
            host.core.outside.traffic.http_outcomes.count("answered");
            Ok((Ok(response),))
        }
        Err(error) => Ok((Err(told(host, "http-client.send", &shown(&request.url), error)),)),
    }
}

/// Records a call, if the exchange is recorded.
fn note_call(host: &mut Host, request: Option<String>, sent: &Result<Response, CallError>) {
    let Some((request, part)) = request.zip(record::part(&mut host.exchange, &mut host.recording)) else { return };
    let answer = match sent {
        Ok(response) => {
            host.calls.recorded.push((u32::try_from(host.calls.responses.len()).unwrap_or(u32::MAX), part.http.len()));
            Ok((response.status, response.headers.clone()))
        }
        Err(CallError::TimedOut) => Err("timed-out"),
        Err(CallError::Connect(_)) => Err("connect"),
        Err(CallError::PrivateAddress) => Err("private-address"),
        Err(CallError::Busy | CallError::Quota) => Err("busy"),
        Err(CallError::Failed(_) | CallError::TooLarge) => Err("failed"),
        // These come about again by themselves.
        Err(CallError::Invalid(_) | CallError::NotGranted | CallError::TooMany) => return,
    };
    part.http.push(Call { request, answer, body: Vec::new() });
}

/// Records what was read of a body, if the exchange is recorded.
fn note_body(host: &mut Host, response: u32, read: &[u8]) {
    let Some(part) = record::part(&mut host.exchange, &mut host.recording) else { return };
    let place = host.calls.recorded.iter().find(|(known, _)| *known == response).map(|(_, place)| *place);
    if let Some(call) = place.and_then(|place| part.http.get_mut(place)) {
        call.body.extend_from_slice(read);
    }
}

async fn perform(client: &Client, request: &mut WitRequest, core: &Core) -> Result<Response, CallError> {
    let method = Method::from_bytes(request.method.as_bytes());
    let method = method.map_err(|_| CallError::Invalid("the method is no token".into()))?;
    let mut headers = HeaderMap::with_capacity(request.headers.len().min(32));
    for (name, value) in &request.headers {
        let field = editable_field(name, value);
        let added = field.and_then(|(name, value)| edit_headers(&mut headers, HeaderEdit::Append(name, value)));
        let shown = || name.chars().take(64).collect::<String>();
        added.map_err(|error| CallError::Invalid(format!("the field {:?} is refused: {error:?}", shown()).into()))?;
    }
    let limits = &core.limits;
    let wanted = request.timeout_millis.map(|millis| Duration::from_millis(u64::from(millis).max(1)));
    let within = wanted.map_or(limits.http_timeout, |wanted| wanted.min(limits.http_timeout));
    let body = std::mem::take(&mut request.body).into();
    client.send(method, &request.url, headers, body, (within, limits.http_response)).await
}

/// A call more, if the exchange and the plugin may have one.
fn admit(host: &mut Host) -> Result<Permit, CallError> {
    let exchange = host.exchange.as_deref().map_or(0, |exchange| exchange.id);
    if host.calls.count_for(exchange) >= host.core.limits.http_requests {
        return Err(CallError::TooMany);
    }
    let permit = Permit(host.core.clone());
    if host.core.outside.traffic.under_way.fetch_add(1, Ordering::Relaxed) >= host.core.limits.http_concurrent {
        return Err(CallError::Busy);
    }
    if host.core.tenant.as_ref().is_some_and(|tenant| !tenant.may_call()) {
        return Err(CallError::Quota);
    }
    host.calls.made += 1;
    Ok(permit)
}

/// After a body was read: one that is over, or broken, is closed.
fn ended<T: AsRef<[u8]>>(cx: &mut Cx<'_>, read: Result<T, CallError>, over: impl FnOnce(&T) -> bool) -> Answer<T> {
    let host = cx.data_mut();
    let reading = host.calls.reading;
    match read {
        Ok(part) => {
            note_body(host, reading, part.as_ref());
            if over(&part) {
                host.calls.close(reading);
            }
            Ok((Ok(part),))
        }
        Err(error) => {
            host.calls.close(reading);
            Ok((Err(told(host, "http-client.read", "", error)),))
        }
    }
}

fn told(host: &Host, what: &'static str, url: &str, error: CallError) -> WitError {
    host.core.outside.traffic.http_outcomes.count(error.name());
    host.complain(what, error.name(), &error, url);
    error.into()
}

/// A URL for the log: its query may hold secrets.
fn shown(url: &str) -> String {
    let end = url.find(['?', '#']).unwrap_or(url.len()).min(256);
    String::from_utf8_lossy(&url.as_bytes()[..end]).escape_debug().collect()
}

/// One of the calls that may be under way.
#[derive(Debug)]
struct Permit(Arc<Core>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.outside.traffic.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The HTTP calls of one instance.
#[derive(Debug, Default)]
pub(in super::super) struct Calls {
    /// Whose calls are counted, and how many there were.
    exchange: u64,
    made: u32,
    /// Responses to the hook that runs, by number.
    responses: Vec<Received>,
    /// The one whose body is read.
    reading: u32,
    /// Of those that are recorded, where.
    recorded: Vec<(u32, usize)>,
}

/// A response that a hook may ask for more of.
#[derive(Debug)]
struct Received {
    headers: HeaderMap,
    /// Until it was read to its end, or closed.
    body: Option<(Body, Permit)>,
}

impl Calls {
    /// The hook has returned: responses end with it, and where there is no exchange so does the count.
    #[inline]
    pub(in super::super) fn end(&mut self) {
        if self.made > 0 {
            self.settle();
        }
    }

    #[cold]
    fn settle(&mut self) {
        self.responses.clear();
        self.recorded.clear();
        if self.exchange == 0 {
            self.made = 0;
        }
    }

    /// How many calls were made for that exchange.
    fn count_for(&mut self, exchange: u64) -> u32 {
        if self.exchange != exchange {
            self.exchange = exchange;
            self.made = 0;
        }
        self.made
    }

    fn keep(&mut self, response: Response, permit: Permit) -> WitResponse {
        // No number is given twice in one hook, so that a guest which mixes them up is told.
        let id = u32::try_from(self.responses.len()).unwrap_or(u32::MAX);
        self.responses.push(Received { headers: response.headers, body: Some((response.body, permit)) });
        WitResponse { status: response.status.as_u16(), id }
    }

    fn head(&self, response: u32) -> Result<&HeaderMap, Misuse> {
        let received = self.responses.get(response as usize).map(|received| &received.headers);
        received.ok_or_else(|| Misuse::Bound(format!("this hook has received no response {response}")))
    }

    fn open(&mut self, response: u32) -> Result<&mut Body, Misuse> {
        self.reading = response;
        let open = self.responses.get_mut(response as usize).and_then(|received| received.body.as_mut());
        let closed = || Misuse::Bound(format!("no body of a response {response} is open in this hook"));
        open.map(|(body, _)| body).ok_or_else(closed)
    }

    fn close(&mut self, response: u32) {
        if let Some(received) = self.responses.get_mut(response as usize) {
            received.body = None;
        }
    }
}

/// Bytes that are read at once.
const LARGEST_PART: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<'a, F: Future>(_: impl Fn(Cx<'a>, WitRequest) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_call_that_waits_is_small_enough_to_be_moved() {
        let size = size_of_future(send);
        assert!(size <= 2048, "{size} bytes");
    }
}
