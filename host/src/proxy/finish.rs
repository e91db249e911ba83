//! The last phase of an exchange, which runs always and once: plugins, access log, metrics.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Response, StatusCode, Uri, Version, request, response};

use super::body::{ResponseBody, Source};
use super::lodge::Lodge;
use super::stream::Lifeline;
use super::transform::{Transform, loosen};
use super::{Connection, UNREAD, exchange_of};
use crate::access_log::Entry;
use crate::exchange::{End, Exchange, Origin, ResponseHead, Summary};
use crate::message::Upload;
use crate::plugin::{Run, Side};
use crate::reason::Reason;
use crate::snapshot::Route;
use crate::socket::Watch;
use crate::tenant::Admitted;
use crate::tls::TlsInfo;
use crate::upstream::InFlight;

/// An exchange from its first moment to its last. Dropping it is what ends the exchange.
#[derive(Debug)]
pub(super) struct Finish {
    connection: Rc<Connection>,
    /// None while it is dropped, or in the lodge.
    run: Option<Run>,
    /// Where the run is while bodies are on their way that plugins change.
    lodge: Option<Rc<Lodge>>,
    started: Instant,
    /// What the client sent, for the log: plugins may change the exchange's own.
    target: Option<Uri>,
    version: Version,
    /// Some plugin may want to see the response when all is over.
    reads_response: bool,
    /// The request's body.
    pub(super) upload: Option<Upload>,
    /// The request's body is not read at all.
    pub(super) unread: bool,
    /// Holds the backend's place as long as the exchange lasts.
    pub(super) in_flight: Option<InFlight>,
    /// Holds the tenant's place, if there is a tenant.
    pub(super) admitted: Option<Admitted>,
    pub(super) response_bytes: u64,
    pub(super) attempts: u32,
    pub(super) end: Option<End>,
    pub(super) reason: Option<Reason>,
    /// Who made the response.
    pub(super) origin: Origin,
    status: u16,
    /// When the response's head was there.
    pub(super) first_byte: Duration,
}

impl Finish {
    pub(super) fn begin(
        connection: &Rc<Connection>,
        head: request::Parts,
        route: Option<&Arc<Route>>,
        started: Instant,
    ) -> Self {
        let local = &connection.local;
        local.metrics.exchange_started();
        let target = local.access_log.enabled().then(|| head.uri.clone());
        let version = head.version;
        let exchange = exchange_of(connection, head, route);
        let chain = route.map_or(&local.no_chain, |route| &route.chain);
        Self {
            connection: Rc::clone(connection),
            run: Some(Run::new(exchange, Arc::clone(chain), &local.pools)),
            lodge: None,
            started,
            target,
            version,
            reads_response: chain.reads_response(),
            upload: None,
            unread: false,
            in_flight: None,
            admitted: None,
            response_bytes: 0,
            attempts: 0,
            end: None,
            reason: None,
            origin: Origin::Backend,
            status: 0,
            first_byte: Duration::ZERO,
        }
    }

    /// The client's connection.
    #[inline]
    pub(super) fn watch(&self) -> &Watch {
        &self.connection.watch
    }

    /// Whether plugins change the request's body or the response's.
    #[inline]
    pub(super) fn changes_bodies(&self) -> bool {
        self.lodge.is_some()
    }

    pub(super) fn run_mut(&mut self) -> &mut Run {
        self.run.as_mut().expect("here unless a body is on its way")
    }

    pub(super) fn exchange(&self) -> &Exchange {
        self.run.as_ref().expect("here unless a body is on its way").exchange()
    }

    /// Has plugins change that body, if they want it. Nobody can know any more how long it will be.
    pub(super) fn transform(&mut self, side: Side) -> Option<Transform> {
        let run = self.run.as_ref().expect("here unless a body is on its way");
        let lodge = self.lodge.get_or_insert_with(Rc::default);
        Transform::new(side, run, lodge)
    }

    /// Leaves the run to the request's body for the time of an attempt, if plugins change that; then the request's head is
    /// no longer to be seen here, and copied.
    pub(super) fn lend_run(&mut self) -> Option<Box<request::Parts>> {
        let lodge = self.lodge.as_ref()?;
        let mut run = self.run.take()?;
        run.exchange_mut().tell();
        let head = Box::new(run.exchange().request.clone());
        lodge.put(run);
        Some(head)
    }

    /// Takes the run back, as soon as a call that is under way has ended.
    pub(super) async fn fetch_run(&mut self) {
        if let (None, Some(lodge)) = (&self.run, &self.lodge) {
            self.run = lodge.fetch().await;
        }
    }

    /// Of the request as the client sent it.
    pub(super) fn version(&self) -> Version {
        self.version
    }

    pub(super) fn exchange_mut(&mut self) -> &mut Exchange {
        self.run_mut().exchange_mut()
    }

    /// When the request's head was complete.
    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// Time since the request's head was complete.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The exchange ends, or ends early, for that reason.
    pub(super) fn fails(&mut self, end: End, reason: Reason) {
        self.end = Some(end);
        self.reason = Some(reason);
    }

    /// Gives the response its last fields and its body, which holds the exchange from here on.
    pub(super) fn attach(
        mut self: Box<Self>,
        mut head: response::Parts,
        source: Source,
        lifeline: Lifeline,
    ) -> Response<ResponseBody> {
        if self.first_byte.is_zero() {
            self.first_byte = self.started.elapsed();
        }
        self.status = head.status.as_u16();
        head.version = Version::HTTP_11;
        let edits = std::mem::take(&mut self.exchange_mut().response_edits);
        for edit in edits {
            edit.apply(&mut head.headers);
        }
        // A body that nobody has read to its end stands between this exchange and the next.
        let unread = self.unread || self.upload.as_ref().is_some_and(|upload| !self.is_done_with(upload));
        if unread && self.version < Version::HTTP_2 {
            head.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        let transform = if self.run_mut().wants_body(Side::Response) { self.transformed(&mut head) } else { None };
        let source = self.bodiless(&mut head, source);
        if self.reads_response {
            let headers = head.headers.clone();
            self.exchange_mut().response = Some(ResponseHead { status: head.status, headers, origin: self.origin });
        }
        if let Some(lodge) = &self.lodge
            && let Some(run) = self.run.take()
        {
            lodge.put(run);
        }
        Response::from_parts(head, ResponseBody::new(source, transform, self, lifeline))
    }

    /// Whether nothing of the request's body stands between this exchange and the next. If no backend answers, none reads on.
    fn is_done_with(&self, upload: &Upload) -> bool {
        upload.received() || (self.origin != Origin::Backend && upload.discard(UNREAD))
    }

    /// The way of the response's body through the plugins, if it has one and they want it.
    fn transformed(&mut self, head: &mut response::Parts) -> Option<Box<Transform>> {
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            return None;
        }
        let transform = self.transform(Side::Response)?;
        loosen(&mut head.headers);
        let bodiless = matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
            || self.exchange().request.method == Method::HEAD;
        (!bodiless).then(|| Box::new(transform))
    }

    /// The library drops the body of a response to HEAD unread, and would make of it a client who has left.
    fn bodiless(&self, head: &mut response::Parts, source: Source) -> Source {
        match source {
            Source::Whole(body) if self.exchange().request.method == Method::HEAD => {
                if head.status != StatusCode::NO_CONTENT && head.status != StatusCode::NOT_MODIFIED {
                    head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
                }
                Source::Whole(Bytes::new())
            }
            source => source,
        }
    }

    fn summary(&self) -> Summary {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Summary {
            status: self.status,
            request_bytes: self.upload.as_ref().map_or(0, Upload::read),
            response_bytes: self.response_bytes,
            first_byte_nanos: nanos(self.first_byte),
            total_nanos: nanos(self.started.elapsed()),
            attempts: self.attempts,
            end: self.end.unwrap_or(End::ClientGone),
        }
    }
}

impl Drop for Finish {
    fn drop(&mut self) {
        self.in_flight = None;
        let run = self.run.take().or_else(|| self.lodge.as_ref()?.take());
        if self.end.is_none() {
            // The client left before there was a response.
            self.status = 0;
            self.reason = Some(Reason::ClientGone);
        }
        let summary = self.summary();
        let metrics = &self.connection.local.metrics;
        let total = Duration::from_nanos(summary.total_nanos);
        metrics.exchange_finished(summary.status, total, summary.request_bytes, summary.response_bytes);
        self.connection.watch.exchange_ends();
        let log = self.target.take().map(|target| (target, self.connection.local.access_log.clone()));
        // What plugins make of the request's body may fail when the response is already on its way.
        let spoilt = || self.lodge.as_ref().and(self.upload.as_ref()).and_then(Upload::failed);
        let (version, reason) = (self.version, self.reason.or_else(spoilt));
        if let Some(reason) = reason {
            metrics.failure(reason);
        }
        let done = move |exchange: &Exchange| {
            if let Some((target, log)) = log {
                log.write(&entry(exchange, &target, version, &summary, reason));
            }
        };
        match (run, self.lodge.take()) {
            (Some(mut run), lodge) => {
                if let Some(lodge) = lodge {
                    lodge.close();
                }
                if summary.status == 0 {
                    run.exchange_mut().response = None;
                }
                if let Some(tenant) = &run.exchange().tenant {
                    tenant.finished(summary.status, summary.request_bytes, summary.response_bytes);
                }
                run.finish(summary, done);
            }
            (None, Some(lodge)) => {
                // The request's body has it, for the rest of a call.
                self.connection.local.pools.see_out(async move {
                    if let Some(run) = lodge.fetch().await {
                        lodge.close();
                        if let Some(tenant) = &run.exchange().tenant {
                            tenant.finished(summary.status, summary.request_bytes, summary.response_bytes);
                        }
                        run.finish(summary, done);
                    }
                });
            }
            (None, None) => {}
        }
    }
}

fn entry<'a>(
    exchange: &'a Exchange,
    target: &'a Uri,
    version: Version,
    summary: &Summary,
    reason: Option<Reason>,
) -> Entry<'a> {
    let headers = &exchange.request.headers;
    let host = match target.authority() {
        Some(authority) => authority.as_str(),
        None => headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("-"),
    };
    Entry {
        client: exchange.client,
        method: &exchange.request.method,
        host,
        target: target.path_and_query().map_or("-", |target| target.as_str()),
        version,
        status: summary.status,
        request_bytes: summary.request_bytes,
        response_bytes: summary.response_bytes,
        first_byte: Duration::from_nanos(summary.first_byte_nanos),
        total: Duration::from_nanos(summary.total_nanos),
        route: &exchange.route,
        tenant: exchange.tenant.as_ref().map(|tenant| &*tenant.name),
        backend: exchange.backend.as_ref().map(|backend| &*backend.address),
        attempts: summary.attempts,
        request_id: exchange.request_id.as_str(),
        certificate: subject(exchange.peer.tls.as_ref()),
        reason,
        notes: &exchange.notes,
    }
}

/// Whom the certificate is for that the client has shown.
fn subject(tls: Option<&TlsInfo>) -> Option<&str> {
    Some(tls?.client.as_deref()?.subject.as_str())
}

/// Counts and logs a request whose head could not even be read.
pub fn log_refusal(connection: &Connection, reason: Reason, request_id: &str) {
    let local = &connection.local;
    local.metrics.exchange_started();
    local.metrics.exchange_finished(reason.status(), Duration::ZERO, 0, 0);
    local.metrics.failure(reason);
    if !local.access_log.enabled() {
        return;
    }
    let method = Method::from_bytes(b"-").unwrap_or(Method::GET);
    local.access_log.write(&Entry {
        client: connection.peer.address.ip().to_canonical(),
        method: &method,
        host: "-",
        target: "-",
        version: Version::HTTP_11,
        status: reason.status(),
        request_bytes: 0,
        response_bytes: 0,
        first_byte: Duration::ZERO,
        total: Duration::ZERO,
        route: "-",
        tenant: None,
        backend: None,
        attempts: 0,
        request_id,
        certificate: subject(connection.peer.tls.as_ref()),
        reason: Some(reason),
        notes: &[],
    });
}
