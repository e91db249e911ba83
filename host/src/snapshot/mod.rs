//! Everything that an exchange needs, built from one configuration, immutable. An exchange sees exactly one snapshot.

mod build;
mod tenants;
mod token;
mod uses;

pub use build::{Parts, build, check, rebuild};
pub use tenants::{Served, Tenancy};
pub use token::Token;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ipnet::IpNet;

use crate::config::{Claims, Config, HostHeader, Problems};
use crate::plugin::{Chain, PluginUse};
use crate::reason::Reason;
use crate::route_name::RouteName;
use crate::tenant::Tenant;
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
    /// Whether a listener asks clients for certificates, at least for some names.
    pub asks_clients: bool,
    /// Which route is this?
    pub routes: crate::route::Routes<Arc<Route>>,
    /// The operator's, by name.
    pub upstreams: BTreeMap<String, Arc<Upstream>>,
    /// Every use of a plugin of the operator's, each once.
    pub plugins: Vec<Arc<PluginUse>>,
    /// By name.
    pub tenants: BTreeMap<String, Tenancy>,
    /// Which host is whose.
    pub claims: Arc<Claims>,
    /// What is wrong with the tenants' files.
    pub refused: Problems,
    /// What callers must know who tell the admin server to act, if there is something.
    pub admin_token: Option<Token>,
}

impl Snapshot {
    /// Every upstream, with the tenant that it is of and its name.
    pub fn all_upstreams(&self) -> impl Iterator<Item = (Option<&str>, &str, &Arc<Upstream>)> + Clone {
        let own = self.upstreams.iter().map(|(name, upstream)| (None, name.as_str(), upstream));
        own.chain(self.served().flat_map(|(tenant, served)| {
            served.parts.upstreams.iter().map(move |(name, upstream)| (Some(tenant), name.as_str(), upstream))
        }))
    }

    /// Every use of a plugin, with the tenant that it is of.
    pub fn all_plugins(&self) -> impl Iterator<Item = (Option<&str>, &Arc<PluginUse>)> + Clone {
        let own = self.plugins.iter().map(|plugin| (None, plugin));
        let tenants = self.served();
        own.chain(tenants.flat_map(|(tenant, served)| served.parts.plugins.iter().map(move |it| (Some(tenant), it))))
    }

    /// Every use of a plugin of that tenant's, or of the operator's.
    #[must_use]
    pub fn plugins_of(&self, tenant: Option<&str>) -> &[Arc<PluginUse>] {
        match tenant {
            None => &self.plugins,
            Some(tenant) => {
                self.tenants.get(tenant).and_then(|it| it.served.as_ref()).map_or(&[], |it| &it.parts.plugins)
            }
        }
    }

    /// What tenants serve, those that have something to serve.
    pub fn served(&self) -> impl Iterator<Item = (&str, &Arc<Served>)> + Clone {
        self.tenants.iter().filter_map(|(name, tenancy)| Some((name.as_str(), tenancy.served.as_ref()?)))
    }
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
    /// Whose connections begin with a PROXY header, if any must.
    pub proxy_protocol: Option<Arc<[IpNet]>>,
    /// The plugins that see each connection, in order.
    pub plugins: Arc<[Arc<PluginUse>]>,
}

/// What to do with a request.
#[derive(Debug)]
pub struct Route {
    /// As configured, or `route[N]`.
    pub name: RouteName,
    /// Whether it is for certain hosts rather than for every host.
    pub names_host: bool,
    /// Whose it is; none for the operator.
    pub tenant: Option<Arc<Tenant>>,
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
    /// To nobody: it is refused.
    Refuse(Reason),
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
