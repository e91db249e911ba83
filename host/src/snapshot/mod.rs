//! Everything that an exchange needs, built from one configuration, immutable. An exchange sees exactly one snapshot.

mod build;
mod token;

pub use build::{build, check, rebuild};
pub use token::Token;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::config::{Config, HostHeader};
use crate::plugin::{Chain, PluginUse};
use crate::tls::ServerTls;
use crate::upstream::Upstream;

/// Everything that an exchange needs.
#[derive(Debug)]
pub struct Snapshot {
    /// Counts the configurations of this process, from 1.
    pub generation: u64,
    /// What it was built from.
    pub config: Config,
    /// In the order of the configuration.
    pub listeners: Vec<Listener>,
    /// Which route is this?
    pub routes: crate::route::Routes<Arc<Route>>,
    /// By name.
    pub upstreams: BTreeMap<String, Arc<Upstream>>,
    /// Every use of a plugin, each once.
    pub plugins: Vec<Arc<PluginUse>>,
    /// What callers must know who tell the admin server to act, if there is something.
    pub admin_token: Option<Token>,
}

/// A listening address.
#[derive(Debug, Clone)]
pub struct Listener {
    /// As configured, but once it is listened on with the port that the system chose for port 0.
    pub address: SocketAddr,
    /// TLS, if there is a certificate.
    pub tls: Option<ServerTls>,
    /// Whether HTTP/2 is spoken.
    pub http2: bool,
}

/// What to do with a request.
#[derive(Debug)]
pub struct Route {
    /// As configured, or `route[N]`.
    pub name: Arc<str>,
    /// Its plugins.
    pub chain: Arc<Chain>,
    /// Where the request goes.
    pub action: Action,
    /// All attempts together, to the response's head.
    pub timeout: Duration,
    /// Bytes of a request's body.
    pub body_limit: u64,
    /// What backends see as Host.
    pub host: HostHeader,
}

/// Where a request goes.
#[derive(Debug)]
pub enum Action {
    /// To one of the backends of an upstream.
    Upstream {
        /// Whose backends.
        upstream: Arc<Upstream>,
        /// The plugin that picks one, if the upstream has one.
        picker: Option<Arc<PluginUse>>,
    },
    /// To nobody: the host answers.
    Respond(Respond),
}

/// An answer of the host's own.
#[derive(Debug)]
pub struct Respond {
    /// The status.
    pub status: http::StatusCode,
    /// The body.
    pub body: Bytes,
    /// `content-type`, where there is a body.
    pub content_type: http::HeaderValue,
    /// `location`, as a template: `{host}`, `{path}` and `{query}` stand for the request's.
    pub location: Option<String>,
}
