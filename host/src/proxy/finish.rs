//! The last phase of an exchange, which runs always and once: plugins, access log, metrics.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Response, StatusCode, Uri, Version, request, response};

use super::body::{ResponseBody, Source};
use super::stream::Lifeline;
use super::{Connection, exchange_of};
use crate::access_log::Entry;
use crate::exchange::{End, Exchange, Origin, ResponseHead, Summary};
use crate::message::Upload;
use crate::plugin::Run;
use crate::reason::Reason;
use crate::snapshot::Route;
use crate::tenant::Admitted;
use crate::upstream::InFlight;

/// An exchange from its first moment to its last. Dropping it is what ends the exchange.
#[derive(Debug)]
pub(super) struct Finish {
    connection: Rc<Connection>,
    /// None only while it is dropped.
    run: Option<Run>,
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
    first_byte: Duration,
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

    pub(super) fn run_mut(&mut self) -> &mut Run {
        self.run.as_mut().expect("there until it is dropped")
    }

    pub(super) fn exchange(&self) -> &Exchange {
        self.run.as_ref().expect("there until it is dropped").exchange()
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
        self.first_byte = self.started.elapsed();
        self.status = head.status.as_u16();
        head.version = Version::HTTP_11;
        let edits = std::mem::take(&mut self.exchange_mut().response_edits);
        for edit in edits {
            edit.apply(&mut head.headers);
        }
        // A body that nobody has read to its end stands between this exchange and the next.
        let unread = self.unread || self.upload.as_ref().is_some_and(|upload| !upload.ended());
        if unread && self.version < Version::HTTP_2 {
            head.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        let source = self.bodiless(&mut head, source);
        if self.reads_response {
            let headers = head.headers.clone();
            self.exchange_mut().response = Some(ResponseHead { status: head.status, headers, origin: self.origin });
        }
        Response::from_parts(head, ResponseBody::new(source, self, lifeline))
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
        let Some(mut run) = self.run.take() else { return };
        if self.end.is_none() {
            run.exchange_mut().response = None;
            // The client left before there was a response.
            self.status = 0;
            self.reason = Some(Reason::ClientGone);
        }
        let summary = self.summary();
        let metrics = &self.connection.local.metrics;
        let total = Duration::from_nanos(summary.total_nanos);
        metrics.exchange_finished(summary.status, total, summary.request_bytes, summary.response_bytes);
        if let Some(reason) = self.reason {
            metrics.failure(reason);
        }
        if let Some(tenant) = &run.exchange().tenant {
            tenant.finished(summary.status, summary.request_bytes, summary.response_bytes);
        }
        self.connection.watch.exchange_ends();
        let target = self.target.take();
        let access_log = self.connection.local.access_log.clone();
        let (version, reason) = (self.version, self.reason);
        run.finish(summary, move |exchange| {
            if let Some(target) = target {
                access_log.write(&entry(exchange, &target, version, &summary, reason));
            }
        });
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
        request_id: exchange.request_id.to_str().unwrap_or("-"),
        reason,
        notes: &exchange.notes,
    }
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
        reason: Some(reason),
        notes: &[],
    });
}
