//! Exchanges that nobody asked for: what a bench or a scenario shows to a plugin, made like those that `proxy` makes.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{HeaderMap, Method, Request, StatusCode, request};

use crate::config::{self, Problems, Source};
use crate::exchange::{Candidates, Exchange, Origin, Peer, ResponseHead};
use crate::message::{Forwarding, RequestIds};
use crate::route_name::RouteName;
use crate::upstream::Upstream;

/// What exchanges are made of.
#[derive(Debug, Clone)]
pub struct Synthetic {
    /// The request's head, as the client sends it.
    pub request: request::Parts,
    /// Whether that is what the first plugin sees, to which nothing is to be added.
    pub as_seen: bool,
    /// The request's body.
    pub body: Bytes,
    /// The connection that it comes on.
    pub peer: Arc<Peer>,
    /// The client's address, if it is not the peer's.
    pub client: Option<IpAddr>,
    /// The route's name.
    pub route: RouteName,
    /// Whether the route is for this host rather than for every host.
    pub host_is_named: bool,
    /// What the backend answers.
    pub status: StatusCode,
    /// The fields of its answer.
    pub headers: HeaderMap,
    /// The body of its answer.
    pub response_body: Bytes,
    /// Who answers.
    pub origin: Origin,
    /// The backends to pick from.
    pub upstream: Arc<Upstream>,
}

impl Synthetic {
    /// `GET http://shop.example.com/products/7?colour=red` from 192.0.2.7, answered with 200 by one of two backends.
    #[must_use]
    pub fn new() -> Self {
        let mut request = Request::new(()).into_parts().0;
        request.method = Method::GET;
        request.uri = http::Uri::from_static("/products/7?colour=red");
        for (name, value) in [
            (header::HOST, "shop.example.com"),
            (header::USER_AGENT, "curl/8.5.0"),
            (header::ACCEPT, "*/*"),
            (header::ACCEPT_LANGUAGE, "en"),
        ] {
            request.headers.insert(name, HeaderValue::from_static(value));
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("12"));
        let two = ["http://192.0.2.11:3000", "http://192.0.2.12:3000"].map(str::to_owned);
        Self {
            request,
            as_seen: false,
            body: Bytes::new(),
            peer: Arc::new(Peer {
                address: SocketAddr::from(([192, 0, 2, 7], 40_000)),
                local: SocketAddr::from(([192, 0, 2, 1], 80)),
                trusted: false,
                tls: None,
            }),
            client: None,
            route: "shop".into(),
            host_is_named: false,
            status: StatusCode::OK,
            headers,
            response_body: Bytes::from_static(b"hello world\n"),
            origin: Origin::Backend,
            upstream: upstream(&two).expect("these addresses are right"),
        }
    }

    /// An exchange with that id, as it is when the first plugin sees it.
    #[must_use]
    pub fn exchange(&self, id: u64, ids: &RequestIds) -> Box<Exchange> {
        let peer = &self.peer;
        let forwarding = Forwarding::new(peer.address, peer.local, peer.tls.is_some(), peer.trusted, "lockgate", false);
        let mut request = self.request.clone();
        let client = forwarding.client(&request.headers, &[]);
        if !self.as_seen {
            let _ = forwarding.settle(&mut request.headers);
        }
        let request_id = ids.request_id(&mut request.headers, id);
        let client = self.client.unwrap_or(client);
        let mut exchange = Box::new(Exchange {
            host_is_named: self.host_is_named,
            ..Exchange::new(id, Arc::clone(peer), client, self.route.clone(), request, request_id)
        });
        if !self.as_seen {
            exchange.say(&forwarding);
        }
        exchange
    }

    /// All its backends, to pick from.
    #[must_use]
    pub fn candidates(&self) -> Candidates {
        Candidates { upstream: Arc::clone(&self.upstream), live: self.upstream.live(&[]) }
    }

    /// The head of the answer.
    #[must_use]
    pub fn response(&self) -> ResponseHead {
        ResponseHead { status: self.status, headers: self.headers.clone(), origin: self.origin }
    }
}

impl Default for Synthetic {
    fn default() -> Self {
        Self::new()
    }
}

/// An upstream of these backends, which nobody will ask.
///
/// # Errors
/// What is wrong with an address.
pub fn upstream(backends: &[String]) -> Result<Arc<Upstream>, Problems> {
    let text = format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\n[upstream.app]\nbackends = {backends:?}\n\
         [[route]]\nupstream = \"app\"\n"
    );
    let config = config::parse(Source { path: "synthetic.toml".into(), text })?;
    let mut problems = Problems::new(&config.source);
    let built = Upstream::build("app", &config.upstreams["app"], None, &config.source, &mut problems);
    built.ok_or(problems)
}
