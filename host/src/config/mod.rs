//! What the configuration file says, and nothing that is derived from it: names are names, paths are as written.
//! Turning this into what an exchange needs is the job of `snapshot`.

mod alone;
mod caps;
mod conflicts;
mod grants;
mod include;
mod limits;
mod listeners;
mod load;
mod members;
mod names;
mod places;
mod reach;
mod plugins;
mod problems;
mod registries;
pub(crate) mod reader;
mod routes;
mod server;
mod tenants;
mod units;
mod upstreams;

pub use alone::{configuration, configure, set_up};
pub use include::named;
pub(crate) use load::read_with;
pub use load::{examine, load, parse, read};
pub use members::{Claims, Member, Members, included_files, members};
pub use places::Places;
pub(crate) use plugins::{config as config_of_plugin, read_settings};
pub use problems::{Problem, Problems, nearest};
pub use reach::Reach;
pub use registries::{Reference, Registries, SCHEME, fits};
pub use tenants::{Quotas, Tenants, Terms};

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

/// A whole configuration file.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it came from: the file and its text, for pointing at mistakes.
    pub source: Source,
    /// `[server]`
    pub server: Server,
    /// `[log]`
    pub log: Log,
    /// `[limits]`
    pub limits: Limits,
    /// `[timeouts]`
    pub timeouts: Timeouts,
    /// `[[listener]]`, at least one.
    pub listeners: Vec<Listener>,
    /// `[upstream.NAME]`. In boxes, as the plugins are: a map makes room for eleven at once, and most tenants have one.
    pub upstreams: BTreeMap<String, Box<Upstream>>,
    /// `[plugin.NAME]`
    pub plugins: BTreeMap<String, Box<Plugin>>,
    /// `[registries]`
    pub registries: Registries,
    /// `[kv]`
    pub kv: Kv,
    /// `[[route]]`, at least one.
    pub routes: Vec<Route>,
    /// `[admin]`
    pub admin: Option<Admin>,
    /// `include`, `[tenants]` and `[tenant.NAME]`
    pub tenants: Tenants,
    /// `[[certificate]]`, in a tenant's file: for its hosts, at every listener with TLS.
    pub certificates: Vec<Certificate>,
}

/// A value and where in the file it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Located<T> {
    /// What is said there.
    pub value: T,
    /// Where.
    pub at: At,
}

/// A place in the file: its path in the configuration (`route[2].plugins[0]`) and its byte range.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct At {
    /// Keys and indices from the root.
    pub path: String,
    /// Bytes of the file's text.
    pub span: std::ops::Range<usize>,
}

/// A configuration file's name and text.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// As the user gave it. Relative paths inside the file are relative to its folder.
    pub path: PathBuf,
    /// The text that was parsed.
    pub text: String,
}

impl Source {
    /// The file that is meant by a path in this one: relative paths are relative to its folder.
    #[must_use]
    pub fn resolve(&self, path: &Path) -> PathBuf {
        // Not `folder()`, whose dot would make every path longer than what was written.
        self.path.parent().map_or_else(|| path.to_owned(), |folder| folder.join(path))
    }

    /// The folder that the file is in.
    #[must_use]
    pub fn folder(&self) -> &Path {
        match self.path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        }
    }
}

/// `[server]`: the process.
#[derive(Debug, Clone)]
pub struct Server {
    /// Threads that serve; default one per core, 1 to 1024.
    pub workers: usize,
    /// How long a drain waits for exchanges to finish; default 30 s.
    pub grace: Duration,
    /// Peers whose `X-Forwarded-*` and `Forwarded` fields are believed and kept; default none.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether to send `Forwarded` (RFC 7239) to backends as well; default no.
    pub forwarded: bool,
    /// The pseudonym in `Via` (RFC 9110 §7.6.3); default `lockgate`.
    pub via: String,
}

impl Server {
    /// Whether that address is a trusted proxy's.
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|net| net.contains(&address))
    }
}

/// `[log]`: what is written, and where to.
#[derive(Debug, Clone)]
pub struct Log {
    /// Where access lines go: `"stdout"` (default), `"off"`, or a file's path (with a `/` or a `.` in it).
    pub access: AccessLog,
    /// `"text"` (default) for people, `"json"` for machines; applies to both logs.
    pub format: LogFormat,
    /// `error`, `warn`, `info` (default), `debug` or `trace`; for the log on stderr.
    pub level: tracing::Level,
}

/// Where access lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessLog {
    /// Nowhere.
    Off,
    /// Standard output.
    Stdout,
    /// Appended to a file, which is opened anew on a reload.
    File(PathBuf),
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[limits]`: what one client, and all of them together, may use. An empty section is safe.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Client connections in all; default 16384. Beyond it, new ones are closed at once.
    pub connections: usize,
    /// Client connections from one address; default 1024.
    pub connections_per_client: usize,
    /// Connections that one address may open within 10 s; default 20 000.
    pub new_connections_per_client: usize,
    /// TLS handshakes under way at once; default 1024.
    pub handshakes: usize,
    /// Fields in a request's or a response's header section; default 100.
    pub header_count: usize,
    /// Bytes of a request's or a response's header section; default 32 KiB.
    pub header_size: usize,
    /// Bytes of a request's target; default 8 KiB.
    pub uri_length: usize,
    /// Bytes of a request's body unless the route says otherwise; default 1 GiB; `"unlimited"` is `u64::MAX`.
    pub body: u64,
    /// HTTP/2 streams that one client connection may have open; default 100.
    pub streams: u32,
    /// Exchanges that one connection may carry before it is closed in good order; default 10000; 0 for no limit.
    pub exchanges_per_connection: u64,
    /// Bytes of memory beyond which new work is refused; `"unlimited"` is `u64::MAX`; none, the default, for nine tenths of
    /// what the system gives.
    pub memory: Option<u64>,
}

/// `[timeouts]`: how long each phase may take. Every one has an end.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// A TLS handshake with a client; default 10 s.
    pub tls_handshake: Duration,
    /// A request's head, from its first byte to its last; default 10 s.
    pub header: Duration,
    /// A body in which no byte moves, either way; default 30 s.
    pub body_idle: Duration,
    /// A client connection on which no exchange runs; default 60 s.
    pub keepalive: Duration,
    /// A tunnel (after an upgrade) in which no byte moves; default 10 min.
    pub tunnel_idle: Duration,
}

/// `[[listener]]`
#[derive(Debug, Clone)]
pub struct Listener {
    /// Where this one stands in the file.
    pub at: At,
    /// Address and port.
    pub address: SocketAddr,
    /// `[[listener.certificate]]`: TLS if there is one, chosen by SNI, the first being the default.
    pub certificates: Vec<Certificate>,
    /// Whether HTTP/2 is spoken (by ALPN with TLS, by prior knowledge without); default yes.
    pub http2: bool,
    /// `client_auth = { .. }`: what clients must show, unless a certificate says otherwise for its names; default nothing.
    pub client_auth: Option<ClientAuth>,
    /// `proxy_protocol = true` or `{ from = [..] }`: whose connections begin with a PROXY header; nobody else may connect then.
    pub proxy_protocol: Option<Vec<IpNet>>,
    /// `plugins = [..]`: those that see each connection, in order.
    pub plugins: Vec<PluginUse>,
}

/// `client_auth = { .. }`: whether clients must show a certificate, and who vouches for them.
#[derive(Debug, Clone)]
pub struct ClientAuth {
    /// Where it stands in the file.
    pub at: At,
    /// Whether they must; default required.
    pub mode: ClientAuthMode,
    /// PEM file of the authorities; there unless the mode is none.
    pub ca: Option<Located<PathBuf>>,
    /// PEM file of lists of revoked certificates.
    pub crl: Option<Located<PathBuf>>,
    /// Whether backends are told of the client's certificate, in `x-forwarded-client-cert`; default no.
    pub forward: bool,
}

/// `mode = "required" | "optional" | "none"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuthMode {
    /// No certificate, no connection.
    Required,
    /// A client may have none; one that it has must be good.
    Optional,
    /// None is asked for.
    None,
}

/// `[[listener.certificate]]`, or `[[certificate]]` in a tenant's file: PEM files.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The chain, leaf first.
    pub certificate: Located<PathBuf>,
    /// The private key.
    pub key: Located<PathBuf>,
    /// `client_auth = { .. }`: what clients must show that ask for a name of this certificate.
    pub client_auth: Option<ClientAuth>,
}

impl Certificate {
    /// Every file that it names.
    pub fn files(&self) -> impl Iterator<Item = &Located<PathBuf>> {
        [&self.certificate, &self.key].into_iter().chain(self.client_auth.iter().flat_map(ClientAuth::files))
    }

    /// The same, to be changed.
    pub fn files_mut(&mut self) -> impl Iterator<Item = &mut Located<PathBuf>> {
        let auth = self.client_auth.iter_mut().flat_map(|auth| auth.ca.iter_mut().chain(&mut auth.crl));
        [&mut self.certificate, &mut self.key].into_iter().chain(auth)
    }
}

impl ClientAuth {
    /// Every file that it names.
    pub fn files(&self) -> impl Iterator<Item = &Located<PathBuf>> {
        self.ca.iter().chain(&self.crl)
    }
}

/// `[upstream.NAME]`
#[derive(Debug, Clone)]
pub struct Upstream {
    /// Where this one stands in the file.
    pub at: At,
    /// At least one.
    pub backends: Vec<Backend>,
    /// How they are chosen; default round robin.
    pub balance: Balance,
    /// HTTP version to speak; default `"auto"`.
    pub protocol: Protocol,
    /// Whether each connection begins with a PROXY header of version 2, and is then its client's only; default no.
    pub proxy_protocol: bool,
    /// `tls = { .. }`, for `https://` backends.
    pub tls: UpstreamTls,
    /// `pool = { .. }`
    pub pool: PoolSettings,
    /// A TCP connection, and the TLS handshake on it; default 5 s.
    pub connect_timeout: Duration,
    /// From the request's last byte to the response's head; default 60 s.
    pub response_timeout: Duration,
    /// `retry = { .. }`
    pub retry: Retry,
    /// `health = { .. }`: active probes, if there is one.
    pub health: Option<HealthProbe>,
    /// `eject = { .. }`: passive health.
    pub eject: Eject,
    /// Percentage of healthy backends below which all are used; default 50; 0 turns this off.
    pub panic_threshold: u32,
    /// Requests that one backend is given at a time; default 1024.
    pub max_requests: usize,
    /// Exchanges that wait for a backend with room; default 1024.
    pub queue: usize,
    /// How long they wait; default 100 ms.
    pub queue_timeout: Duration,
    /// Where its backends may be, if it is a tenant's; the operator says so in the tenant's terms.
    pub reach: Option<Arc<Reach>>,
}

/// One element of `backends`: a URL, or `{ address = URL, weight = N }`.
#[derive(Debug, Clone)]
pub struct Backend {
    /// Where this one stands in the file.
    pub at: At,
    /// `http://host:port` or `https://host:port`; no path. The port may be left out: 80, or 443 with `https`.
    pub address: http::Uri,
    /// Default 1, up to 1000.
    pub weight: u32,
}

/// `balance = "round-robin"` or `balance = { plugin = "NAME" }`.
#[derive(Debug, Clone)]
pub enum Balance {
    /// Each backend in turn, by weight, exact across workers.
    RoundRobin,
    /// A plugin with the hook `pick-backend`; round robin where it does not decide.
    Plugin(Located<String>),
}

/// `protocol = "auto" | "http1" | "http2"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 in the clear; over TLS what ALPN agrees on.
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2: by prior knowledge in the clear, by ALPN over TLS.
    Http2,
}

/// `tls = { .. }` of an upstream.
#[derive(Debug, Clone, Default)]
pub struct UpstreamTls {
    /// PEM file of the authorities to trust instead of the public ones.
    pub ca: Option<Located<PathBuf>>,
    /// The name to ask for and to verify; default the backend's host.
    pub server_name: Option<Located<String>>,
}

/// `pool = { .. }` of an upstream: connections that one worker keeps to one backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolSettings {
    /// Idle connections kept; default 64.
    pub idle: usize,
    /// How long they are kept; default 60 s.
    pub idle_timeout: Duration,
}

/// `retry = { .. }` of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// Further attempts after the first; default 1; 0 turns retries off.
    pub attempts: u32,
    /// Retry POST, PATCH and unknown methods too; default no.
    pub non_idempotent: bool,
    /// Status codes that are retried like a lost connection; default none.
    pub status: Vec<u16>,
}

/// `health = { .. }` of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthProbe {
    /// The path that is asked for with GET; required.
    pub path: String,
    /// Time between probes; default 5 s.
    pub interval: Duration,
    /// For a whole probe; default 2 s.
    pub timeout: Duration,
    /// Failures in a row that make a backend unhealthy; default 3.
    pub fall: u32,
    /// Successes in a row that make it healthy again; default 2.
    pub rise: u32,
    /// `expect = 200` or `expect = [200, 399]`: lowest and highest status that counts as success; default 200 to 399.
    pub expect: std::ops::RangeInclusive<u16>,
}

/// `eject = { .. }` of an upstream: a backend that fails exchanges is left out for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Eject {
    /// Gateway failures in a row; default 5; 0 turns it off.
    pub failures: u32,
    /// For how long, times the number of ejections so far; default 30 s.
    pub time: Duration,
    /// Percentage of the backends that may be ejected at once; default 50.
    pub max_percent: u32,
}

/// `[plugin.NAME]`
#[derive(Debug, Clone)]
pub struct Plugin {
    /// Where this one stands in the file.
    pub at: At,
    /// Where the component comes from.
    pub component: Component,
    /// `sha256 = ".."`: the digest that the file must have, in hex.
    pub sha256: Option<Located<String>>,
    /// `config = { .. }` as JSON; a use in a route may give one that replaces it.
    pub config: serde_json::Value,
    /// Where the parts of `config` stand.
    pub places: Places,
    /// What an exchange gets when the plugin fails; default deny.
    pub on_failure: OnFailure,
    /// How far instances are shared; default use.
    pub isolation: Isolation,
    /// `grants = { .. }`
    pub grants: Grants,
    /// `limits = { .. }`
    pub limits: PluginLimits,
    /// `quarantine = { .. }`
    pub quarantine: Quarantine,
    /// `tick = ".."` or `tick = { .. }`, for a plugin with the hook `on-tick`; by default as [`Tick::default`] has it.
    pub tick: Option<Tick>,
    /// `source = ".."`: what the component is made of, for `lockgate run --watch`.
    pub source: Option<PluginSource>,
    /// `record = { .. }`; default none.
    pub record: Option<Record>,
}

/// `tick = ".."` or `tick = { .. }` of a plugin: its work in the background.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tick {
    /// From the beginning of one tick to that of the next; default 10 s.
    pub every: Duration,
    /// How long one may compute; default 100 ms.
    pub cpu: Duration,
    /// How long one may take with all its waiting; default 10 s.
    pub wall: Duration,
}

/// `grants = { .. }` of a plugin: what it may reach outside its sandbox. By default nothing.
#[derive(Debug, Clone, Default)]
pub struct Grants {
    /// URL prefixes that `http-client` may ask: a scheme, a host, maybe a port and a path.
    pub http: Vec<Located<http::Uri>>,
    /// Whether their hosts' names may lead to private, link-local and loopback addresses; default no. An address that a
    /// prefix spells out is granted with it.
    pub private: bool,
    /// PEM file of the authorities that `http-client` trusts instead of the public ones.
    pub ca: Option<Located<PathBuf>>,
    /// Whether the plugin has a key space; default no.
    pub kv: bool,
}

/// `[kv]`: where the plugins' key spaces are.
#[derive(Debug, Clone)]
pub struct Kv {
    /// `redis = "redis://.."`: the server; default none, and the key spaces are in memory.
    pub redis: Option<Located<String>>,
    /// What all keys there begin with; default `lockgate`.
    pub prefix: String,
    /// How long one operation may take there; default 100 ms.
    pub timeout: Duration,
    /// Operations that one worker may have under way there; default 1024.
    pub queue: usize,
}

/// `source = "DIR"` or `source = { dir = "DIR", command = ["make"] }` of a plugin: what its component is made of.
#[derive(Debug, Clone)]
pub struct PluginSource {
    /// The folder.
    pub dir: Located<PathBuf>,
    /// The program that makes the component there, and its arguments; default `lockgate plugin build`.
    pub command: Vec<String>,
}

/// `record = { .. }` of a plugin: exchanges that are written down as scenarios.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The folder that they go to.
    pub dir: Located<PathBuf>,
    /// How many of all exchanges, from 0 to 1; default 0.01.
    pub share: f64,
    /// Names of fields, and `query`, whose values are not written; default `authorization`, `cookie`, `set-cookie`,
    /// `proxy-authorization` and `query`.
    pub redact: Vec<String>,
    /// Bytes that the folder may hold; default 64 MiB.
    pub most: u64,
}

/// `bundled = "NAME"`, `path = "FILE"` or `path = "oci://.."`.
#[derive(Debug, Clone)]
pub enum Component {
    /// One that is built in.
    Bundled(Located<String>),
    /// A file.
    Path(Located<PathBuf>),
    /// What a registry has.
    Registry(Located<Reference>),
}

/// `on_failure = "deny" | "skip"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// The exchange is answered with 503.
    Deny,
    /// The exchange goes on without the plugin.
    Skip,
}

/// `isolation = "use" | "exchange"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// An instance serves one exchange after another of the same use.
    Use,
    /// Every exchange gets a fresh instance.
    Exchange,
}

/// `limits = { .. }` of a plugin. Each has a safe default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginLimits {
    /// Time that one call may compute; default 50 ms, and 1 ms for bundled plugins. A budget of 1 ms is cheaper to
    /// enforce, because the worker then need not be able to put the plugin aside.
    pub cpu: Duration,
    /// Time that one call may take with all its waiting; default 1 s.
    pub wall: Duration,
    /// Linear memory of one instance; default 16 MiB, at most 256 MiB.
    pub memory: usize,
    /// Instances of one use on one worker; default 256.
    pub instances: usize,
    /// Exchanges that one instance serves before it is replaced; default 100000.
    pub exchanges: u64,
    /// Elements of all tables of one instance; default 40000.
    pub table: usize,
    /// Times that one call may call the host; default 10000.
    pub host_calls: u32,
    /// Bytes that a plugin may log in one exchange; default 16 KiB. What is more is dropped and counted.
    pub log: u32,
    /// Bytes of requests' bodies that are held at once, on all workers, until the plugin has seen them whole and they have
    /// been sent; default 64 MiB.
    pub body_held: usize,
    /// Time that compiling it may take; default 60 s.
    pub compile: Duration,
    /// HTTP requests that one exchange may make; default 16.
    pub http_requests: u32,
    /// HTTP requests that may be under way at once, from all workers; default 64.
    pub http_concurrent: usize,
    /// Bytes of one response's body; default 1 MiB.
    pub http_response: usize,
    /// Time that one HTTP request may take, to the last byte of its response; default 500 ms. `wall` ends it as well.
    pub http_timeout: Duration,
    /// Bytes of the key space, if it is in memory; default 16 MiB.
    pub kv: usize,
}

/// `quarantine = { .. }` of a plugin: when a use that keeps failing is set aside, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantine {
    /// Failures within `window` that it takes at least; default 10; 0 turns it off.
    pub failures: u64,
    /// Percentage of the calls that must have failed; default 50.
    pub share: u32,
    /// Default 10 s.
    pub window: Duration,
    /// For how long the first time; default 1 s. Then twice as long each time that it is tried in vain.
    pub back_off: Duration,
    /// For how long at most; default 1 min. After so long in service the next time is a first time.
    pub longest_back_off: Duration,
}

/// `[[route]]`
#[derive(Debug, Clone)]
pub struct Route {
    /// Where this one stands in the file.
    pub at: At,
    /// `name = ".."`; default `route[N]`.
    pub name: String,
    /// `hosts = [..]`: exact, `*.wildcard`; empty for every host.
    pub hosts: Vec<Located<String>>,
    /// `path = "/prefix"` (or `path = { prefix = ".." }`), `path = { exact = ".." }` or `path = { pattern = "/users/{id}" }`; default the prefix `/`.
    pub path: Located<PathMatch>,
    /// `methods = [..]`; empty for every method.
    pub methods: Vec<Located<String>>,
    /// `headers = { name = "value" }`: fields that must be there with that value; `"*"` for any value.
    pub headers: Vec<(Located<String>, String)>,
    /// The chain: `"name"` or `{ name = "..", config = { .. }, limits = { .. }, on_failure = ".." }`.
    pub plugins: Vec<PluginUse>,
    /// Where requests go.
    pub action: Action,
    /// All attempts together, to the response's head; default 2 min.
    pub timeout: Duration,
    /// Bytes of a request's body; default `limits.body`.
    pub body_limit: Option<u64>,
    /// `host = "preserve" | "backend" | "NAME"`: what backends see as Host; default preserve.
    pub host: HostHeader,
}

/// How a route's path is compared.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PathMatch {
    /// The path begins with these segments.
    Prefix(String),
    /// The path is this.
    Exact(String),
    /// Segments, of which `{name}` stands for any one and a last `{*name}` for the rest.
    Pattern(String),
}

/// One element of a route's `plugins`.
#[derive(Debug, Clone)]
pub struct PluginUse {
    /// The plugin's name.
    pub name: Located<String>,
    /// The configuration for this use, instead of the plugin's own.
    pub config: Option<serde_json::Value>,
    /// Where the parts of `config` stand.
    pub places: Places,
    /// The limits of this use: the plugin's own, but for those that `limits = { .. }` names here. None if it names none.
    pub limits: Option<PluginLimits>,
    /// `on_failure` for this use, instead of the plugin's own.
    pub on_failure: Option<OnFailure>,
    /// `tick`, if this use has its own.
    pub tick: Option<Tick>,
}

/// What a route does with a request.
#[derive(Debug, Clone)]
pub enum Action {
    /// `upstream = "NAME"`
    Upstream(Located<String>),
    /// `respond = { status = 200, body = "..", content_type = "..", location = ".." }`
    Respond(Respond),
}

/// `respond = { .. }`: an answer of the host's own.
#[derive(Debug, Clone)]
pub struct Respond {
    /// Default 200; 308 if there is a `location`.
    pub status: u16,
    /// Default empty.
    pub body: String,
    /// Default `text/plain; charset=utf-8`.
    pub content_type: String,
    /// For redirects; `{host}`, `{path}` and `{query}` (with its `?`) stand for the request's.
    pub location: Option<String>,
}

/// What a backend sees as Host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostHeader {
    /// What the client sent.
    Preserve,
    /// The backend's own authority.
    Backend,
    /// This name.
    Name(String),
}

/// `[admin]`
#[derive(Debug, Clone)]
pub struct Admin {
    /// Where the address stands in the file.
    pub at: At,
    /// Where `/metrics`, `/healthz`, `/readyz` and `/status` are served. Keep it off public networks.
    pub address: SocketAddr,
    /// A file whose first line callers must know who tell it to act (`POST /plugins/NAME/reload`); default none: then only
    /// programs on this machine may.
    pub token_file: Option<Located<PathBuf>>,
    /// Whether `/readyz` says no while a plugin is set aside; default no.
    pub ready_fails_on_quarantine: bool,
}
