//! The life of one exchange: gate, route, plugins, backend, response, finish.
//!
//! [`serve`] answers whatever happens; what is inside of it returns a `Result`, and its errors become responses in one
//! place. `finish::Finish` is there from the first line on, and says how it went when it is dropped.

mod again;
mod answer;
mod body;
mod clients;
mod finish;
mod forward;
mod hold;
mod local;
mod lodge;
mod response;
mod stream;
mod transform;
mod tunnel;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use http::{Request, Response, Version, request};

pub use answer::refusal;
pub use body::ResponseBody;
pub use finish::log_refusal;
pub use local::{Connection, Local};
pub use stream::StreamExecutor;
pub use tunnel::{Tunnel, run_tunnel};

use self::finish::Finish;
use self::stream::Lifeline;
use crate::exchange::{Exchange, Origin};
use crate::http1::RequestFacts;
use crate::message::{
    Framing, Hop, Incoming, Spelling, Untold, Upload, canonicalize, check_request, clean_request, host_of, join_cookies,
};
use crate::plugin::{Side, Verdict};
use crate::reason::Reason;
use crate::route::host_without_port;
use crate::snapshot::{Action, Route, Snapshot};

/// Why an exchange gets an answer of the host's own.
#[derive(Debug)]
pub struct Failure {
    /// What the client, the log and the metrics are told.
    pub reason: Reason,
    /// What only the log is told.
    pub cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Serves one request of `connection`. `facts` are those of its fields, if they were gathered as it was read.
pub async fn serve(
    connection: Rc<Connection>,
    request: Request<Incoming>,
    facts: Option<RequestFacts>,
) -> Response<ResponseBody> {
    let started = Instant::now();
    let lifeline = Lifeline::of(&connection);
    connection.watch.exchange_begins();
    let local = &connection.local;
    let snapshot = local.snapshot();
    if connection.watch.served() == snapshot.config.limits.exchanges_per_connection {
        connection.watch.close();
    }
    let (mut head, mut incoming) = request.into_parts();
    let found = find_route(&connection, &mut head, facts.as_ref(), &snapshot);
    if let Err(Reason::HeadersTooLarge) = found {
        // What is refused for its size must not be kept until the refusal has been read.
        head.headers = http::HeaderMap::new();
    }
    let hop = clean_request(&mut head.headers);
    if connection.http2 {
        join_cookies(&mut head.headers);
    }
    let route = found.as_ref().ok().map(|(route, _)| route);
    let mut finish = Box::new(Finish::begin(&connection, head, route, started));
    if snapshot.asks_clients {
        clients::tell_backends(&connection, &mut finish.exchange_mut().request.headers);
    }
    let outcome = match found {
        Ok((route, framing)) => {
            let upload = take_upload(incoming, &route);
            finish.upload.clone_from(&upload);
            let lifeline = &lifeline;
            Handling { connection: &connection, snapshot: &snapshot, route: &route, lifeline, hop, upload }
                .handle(framing, &mut finish)
                .await
        }
        Err(reason) => {
            // A body that goes unread: the connection cannot be used again.
            finish.unread = !incoming.discard(UNREAD);
            Err(Failure::from(reason))
        }
    };
    let mut outcome = match outcome {
        Ok(outcome) => outcome,
        Err(failure) => answer::failure(&failure, &mut finish),
    };
    if finish.run_mut().wants_response() {
        outcome = Box::pin(response::on_response(&mut finish, outcome)).await;
    }
    let uploading = finish.upload.as_ref().is_some_and(|upload| !upload.ended());
    finish.run_mut().settle(uploading);
    let (response, body) = outcome;
    finish.attach(response, body, lifeline)
}

/// One exchange on its way through its route.
struct Handling<'a> {
    connection: &'a Rc<Connection>,
    snapshot: &'a Arc<Snapshot>,
    route: &'a Arc<Route>,
    lifeline: &'a Lifeline,
    hop: Hop,
    upload: Option<Upload>,
}

/// A response's head, and where its body comes from.
type Outcome = (http::response::Parts, body::Source);

impl Handling<'_> {
    async fn handle(mut self, framing: Framing, finish: &mut Finish) -> Result<Outcome, Failure> {
        if let Framing::Length(length) = framing
            && length > self.route.body_limit
        {
            return Err(Reason::BodyTooLarge.into());
        }
        if let Some(tenant) = &self.route.tenant {
            finish.admitted = Some(tenant.admit(finish.started(), !self.route.chain.uses.is_empty())?);
        }
        if !self.route.chain.uses.is_empty() {
            let mut verdict = finish.run_mut().on_request().await;
            while let Verdict::Hold(most) = verdict {
                verdict = Box::pin(self.hold(most, finish)).await?;
            }
            match verdict {
                Verdict::Proceed | Verdict::Hold(_) => {}
                Verdict::Answer(answer) => {
                    finish.origin = Origin::Plugin;
                    return Ok(answer::of_plugin(answer));
                }
                Verdict::Failed(failure) => return Err(failure.reason.into()),
            }
        }
        if finish.run_mut().wants_body(Side::Response) {
            transform::ask_for_the_whole(&mut finish.exchange_mut().request.headers);
        }
        match &self.route.action {
            Action::Respond(respond) => {
                finish.origin = Origin::Route;
                Ok(answer::of_route(respond, finish.exchange()))
            }
            Action::Refuse(reason) => Err((*reason).into()),
            Action::Upstream { upstream, picker } => {
                let switching = self.hop.websocket && tunnel::is_websocket(&finish.exchange().request, framing);
                if switching {
                    // Boxed, as is all that is rare: what an exchange may have to keep is allocated and moved for each.
                    Box::pin(self.switch(upstream, picker.as_ref(), finish)).await
                } else {
                    self.forward(upstream, picker.as_ref(), finish).await
                }
            }
        }
    }
}

impl From<Reason> for Failure {
    fn from(reason: Reason) -> Self {
        Self { reason, cause: None }
    }
}

/// The gate, the path in its one form, and then the most specific route.
fn find_route(
    connection: &Connection,
    head: &mut request::Parts,
    facts: Option<&RequestFacts>,
    snapshot: &Snapshot,
) -> Result<(Arc<Route>, Framing), Reason> {
    let passed = check_request(head, facts, &snapshot.config.limits)?;
    if connection.local.is_overloaded() {
        return Err(Reason::Overloaded);
    }
    if passed.spelling == Spelling::Other {
        canonicalize(&mut head.uri);
    }
    let host = host_without_port(host_of(head));
    let route = snapshot.routes.find(&host, head.uri.path(), &head.method, &head.headers);
    let route = route.ok_or(Reason::NoRoute)?;
    // RFC 9110 §15.5.20: what was agreed on with one tenant's certificate is not for another's requests.
    if let Some(tenant) = connection.peer.tls.as_ref().and_then(|tls| tls.tenant.as_ref())
        && route.tenant.as_ref().is_none_or(|owner| owner.name != *tenant)
    {
        return Err(Reason::Misdirected);
    }
    if snapshot.asks_clients && !clients::admitted(connection, &host, snapshot) {
        return Err(Reason::Misdirected);
    }
    Ok((Arc::clone(route), passed.framing))
}

/// The request's body, if it has one.
fn take_upload(incoming: Incoming, route: &Route) -> Option<Upload> {
    if incoming.is_end_stream() {
        return None;
    }
    let keep = match &route.action {
        Action::Upstream { upstream, .. } => upstream.settings.retry.attempts > 0,
        Action::Respond(_) | Action::Refuse(_) => false,
    };
    Some(Upload::new(incoming, route.body_limit, keep))
}

/// The exchange that a request begins, with what backends are told of the client.
fn exchange_of(connection: &Connection, mut head: request::Parts, route: Option<&Arc<Route>>) -> Box<Exchange> {
    let local = &connection.local;
    let id = local.ids.next();
    let forwarding = &connection.forwarding;
    let client = forwarding.client(&head.headers, &connection.trusted_proxies);
    let claims = forwarding.settle(&mut head.headers);
    let request_id = local.ids.request_id(&mut head.headers, id);
    // An authority in the target would first have to be made into a field's value.
    let claims = claims.filter(|_| head.uri.authority().is_none());
    let untold = claims.map(|claims| Untold { forwarding: Arc::clone(forwarding), claims });
    if head.version == Version::HTTP_10 {
        head.version = Version::HTTP_11;
    }
    let name = route.map_or(&local.no_route, |route| &route.name).clone();
    let mut exchange = Box::new(Exchange {
        host_is_named: route.is_some_and(|route| route.names_host),
        tenant: route.and_then(|route| route.tenant.clone()),
        untold,
        ..Exchange::new(id, Arc::clone(&connection.peer), client, name, head, request_id)
    });
    if exchange.untold.is_none() {
        exchange.say(forwarding);
    }
    exchange
}

/// Bytes of a request's body that are thrown away to save the connection: a new one costs more than these.
const UNREAD: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<A, B, C, F: Future>(_: impl Fn(A, B, C) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn an_exchange_is_small_enough_to_be_made_for_each_request() {
        let size = size_of_future(serve);
        assert!(size <= 3072, "{size} bytes");
    }
}
