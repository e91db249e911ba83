//! One request and its response, with all that is known about them. Plugins see and change exactly this.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use smallvec::SmallVec;

use crate::message::{Added, Forwarding, RequestId, Untold, host_value};
use crate::recording::Recording;
use crate::route_name::RouteName;
use crate::tenant::Tenant;
use crate::tls::TlsInfo;
use crate::upstream::{Backend, Live, Upstream};

/// One request and its response. It is plain data, boxed once, and travels: proxy to plugin and back.
#[derive(Debug)]
pub struct Exchange {
    /// Never 0, never the same twice in a process.
    pub id: u64,
    /// What is known of the connection that the request came on.
    pub peer: Arc<Peer>,
    /// The client's address: the peer's, or what a trusted proxy says.
    pub client: IpAddr,
    /// The route's name.
    pub route: RouteName,
    /// Whether the route is for this host rather than for every host.
    pub host_is_named: bool,
    /// Whose route it is; none for the operator's.
    pub tenant: Option<Arc<Tenant>>,
    /// The request's head as backends will see it: hop-by-hop fields are gone, forwarded fields are set but for the `untold`.
    pub request: http::request::Parts,
    /// The fields that tell backends of the client are not in `request` but are to be written behind it, because no plugin
    /// has looked for them.
    pub untold: Option<Untold>,
    /// `x-request-id`.
    pub request_id: RequestId,
    /// The response's head: on its way through `on-response`, and then as the client is sent it, if a plugin may ask.
    pub response: Option<ResponseHead>,
    /// Edits that wait for the response.
    pub response_edits: SmallVec<[HeaderEdit; 2]>,
    /// The trailers of a body, while a plugin has its last chunk.
    pub trailers: Option<Box<HeaderMap>>,
    /// A body that takes the place of the request's.
    pub new_body: Option<bytes::Bytes>,
    /// Notes of plugins, for later plugins and the access log.
    pub notes: Vec<(String, String)>,
    /// Backends to pick from, while one is being picked.
    pub candidates: Option<Candidates>,
    /// The backend that is being asked, or was asked last.
    pub backend: Option<Arc<Backend>>,
    /// Bytes and lines that plugins have logged for this exchange.
    pub logged: Logged,
    /// What is recorded of it, if anything is.
    pub recording: Option<Box<Recording>>,
}

impl Exchange {
    /// An exchange that has just begun, on a route of the operator's for every host, with a request as backends will see it.
    #[must_use]
    #[inline]
    pub fn new(
        id: u64,
        peer: Arc<Peer>,
        client: IpAddr,
        route: RouteName,
        request: http::request::Parts,
        request_id: RequestId,
    ) -> Self {
        Self {
            id,
            peer,
            client,
            route,
            host_is_named: false,
            tenant: None,
            request,
            untold: None,
            request_id,
            response: None,
            response_edits: SmallVec::new(),
            trailers: None,
            new_body: None,
            notes: Vec::new(),
            candidates: None,
            backend: None,
            logged: Logged::default(),
            recording: None,
        }
    }

    /// The fields that are to be written behind the request, if they are not in it.
    #[must_use]
    pub fn added(&self) -> Option<Added<'_>> {
        let Untold { forwarding, claims } = self.untold.as_ref()?;
        Some(Added { forwarding, claims: *claims, host: self.request.headers.get(header::HOST), id: &self.request_id })
    }

    /// Sets them in the request, for whoever wants to see or change it whole.
    pub fn tell(&mut self) {
        if let Some(untold) = self.untold.take() {
            self.say(&untold.forwarding);
        }
    }

    /// Sets the fields that tell backends of the client.
    #[inline(never)]
    pub fn say(&mut self, forwarding: &Forwarding) {
        let host = host_value(&self.request);
        let headers = &mut self.request.headers;
        headers.reserve(EXTRA_FIELDS);
        forwarding.apply(headers, host);
        self.request_id.apply(headers);
    }
}

/// Fields that are added to a request.
const EXTRA_FIELDS: usize = 7;

/// What is known of a client's connection.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The other end.
    pub address: SocketAddr,
    /// Our end.
    pub local: SocketAddr,
    /// Whether the peer is one of `server.trusted_proxies`.
    pub trusted: bool,
    /// TLS, if it is.
    pub tls: Option<TlsInfo>,
}

/// The head of a response.
#[derive(Debug)]
pub struct ResponseHead {
    /// The status.
    pub status: StatusCode,
    /// The fields.
    pub headers: HeaderMap,
    /// Who made it.
    pub origin: Origin,
}

/// Who made a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A backend.
    Backend,
    /// A plugin.
    Plugin,
    /// The route, which answers by itself.
    Route,
    /// The host, because something failed.
    Host,
}

/// A change to a header section, made by a plugin and already found to be allowed.
#[derive(Debug, Clone)]
pub enum HeaderEdit {
    /// Replace all of that name by one.
    Set(HeaderName, HeaderValue),
    /// Add one.
    Append(HeaderName, HeaderValue),
    /// Remove all of that name.
    Remove(HeaderName),
}

/// The backends that a plugin may pick from.
#[derive(Debug)]
pub struct Candidates {
    /// Whose backends they are.
    pub upstream: Arc<Upstream>,
    /// Places in `upstream.backends`: live, and not yet tried.
    pub live: Live,
}

/// How much plugins have logged for one exchange.
#[derive(Debug, Default, Clone, Copy)]
pub struct Logged {
    /// Lines.
    pub lines: u32,
    /// Bytes.
    pub bytes: u32,
}

/// How an exchange went: what `on-response-finish` is told.
#[derive(Debug, Clone, Copy)]
pub struct Summary {
    /// The status that the client was sent; 0 when it went away before there was one.
    pub status: u16,
    /// Bytes of the request's body that were read from the client.
    pub request_bytes: u64,
    /// Bytes of the response's body that were handed to the client's connection.
    pub response_bytes: u64,
    /// From the end of the request's head to the start of the response's, in nanoseconds.
    pub first_byte_nanos: u64,
    /// From the end of the request's head to the end of the exchange, in nanoseconds.
    pub total_nanos: u64,
    /// Backends that were asked.
    pub attempts: u32,
    /// Why it ended.
    pub end: End,
}

/// A method that has a number in the contract with plugins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are called what they are")]
pub enum KnownMethod {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
    Trace,
    /// Any other.
    Other,
}

impl From<&Method> for KnownMethod {
    fn from(method: &Method) -> Self {
        match *method {
            Method::GET => Self::Get,
            Method::HEAD => Self::Head,
            Method::POST => Self::Post,
            Method::PUT => Self::Put,
            Method::PATCH => Self::Patch,
            Method::DELETE => Self::Delete,
            Method::OPTIONS => Self::Options,
            Method::TRACE => Self::Trace,
            _ => Self::Other,
        }
    }
}

/// Why an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The whole response was handed to the client's connection.
    Complete,
    /// The client went away first.
    ClientGone,
    /// The backend broke off in the middle.
    UpstreamTruncated,
    /// A time limit ran out in the middle of the response.
    TimedOut,
    /// The host ended it.
    Aborted,
}

impl HeaderEdit {
    /// Makes the change.
    pub fn apply(self, headers: &mut HeaderMap) {
        match self {
            Self::Set(name, value) => {
                headers.insert(name, value);
            }
            Self::Append(name, value) => {
                headers.append(name, value);
            }
            Self::Remove(name) => {
                headers.remove(name);
            }
        }
    }
}
