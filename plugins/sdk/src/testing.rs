//! A host for unit tests. Compiled for the machine itself, a plugin's imports ask the [`Host`] of the test's own thread.
//!
//! ```
//! use lockgate_plugin::{request, testing};
//!
//! testing::host(|host| {
//!     host.path = "/coffee".to_owned();
//!     host.request_headers.push(("accept".to_owned(), "text/plain".to_owned()));
//! });
//! assert_eq!(request::header("Accept").as_deref(), Some("text/plain"));
//! ```
//!
//! It keeps what it is told and shows it; of the real host's limits and gates it has only the checks of names and values.

pub(crate) mod imports;
pub(crate) mod outbound;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};

use crate::bindings::lockgate::plugin::backends::Backend;
use crate::bindings::lockgate::plugin::log::Level;
use crate::bindings::lockgate::plugin::types::{Certificate, Origin};
use crate::bindings::lockgate::plugin::{http_client, kv};

/// What the imports answer and what they were told. See `wit/` for what each thing means.
#[derive(Debug)]
#[expect(missing_docs, reason = "each is named for the import that answers with it")]
pub struct Host {
    pub method: String,
    pub scheme: String,
    pub host: String,
    pub path: String,
    pub query: Option<String>,
    /// Names in lower case.
    pub request_headers: Vec<(String, String)>,
    /// What was put in the place of the request's body.
    pub request_body: Option<Vec<u8>>,
    pub response_status: u16,
    pub response_origin: Origin,
    /// Names in lower case. What a hook edits is here too.
    pub response_headers: Vec<(String, String)>,
    /// Names in lower case.
    pub trailers: Vec<(String, String)>,
    pub exchange_id: u64,
    pub request_id: String,
    pub route: String,
    pub tenant: Option<String>,
    pub host_is_named: bool,
    pub client_address: String,
    pub peer_address: String,
    pub peer_port: u16,
    pub from_trusted_proxy: bool,
    pub server_name: Option<String>,
    pub client_certificate: Option<Certificate>,
    /// The address of the backend that answered.
    pub backend: Option<String>,
    pub notes: BTreeMap<String, String>,
    pub backends: Vec<Backend>,
    /// The lines that were logged.
    pub log: Vec<(Level, String)>,
    /// Whether `log.enabled` says so, of any level.
    pub log_enabled: bool,
    pub config: String,
    pub now: u64,
    pub monotonic: u64,
    /// The next random number; each is one more than the one before.
    pub random: u64,
    pub counters: BTreeMap<String, u64>,
    /// The series that were opened. A series' number is its place here.
    pub series: Vec<Series>,
    /// The key space. What has expired by `monotonic` is not found.
    pub kv: BTreeMap<String, Kept>,
    /// What every operation on the key space fails with.
    pub kv_error: Option<kv::Error>,
    /// What requests are answered with, in order; further ones are not granted.
    pub http_answers: VecDeque<Result<Answered, http_client::Error>>,
    /// The requests that were made.
    pub http_requests: Vec<Asked>,
    /// What is left of the responses' bodies; none where one was read to its end or closed.
    pub http_bodies: Vec<Option<Vec<u8>>>,
    /// The fields of the responses.
    pub http_heads: Vec<Vec<(String, String)>>,
}

/// A value of the key space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The value.
    pub value: Vec<u8>,
    /// When it expires, by `Host::monotonic`.
    pub expires: Option<u64>,
}

/// A request that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "as in `http_client::Request`")]
pub struct Asked {
    pub method: String,
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "as in `http_client::Response`")]
pub struct Answered {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// A series of a metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// The metric's name.
    pub name: String,
    /// Names and values.
    pub labels: Vec<(String, String)>,
    /// What was added, set or observed, in order.
    pub values: Vec<f64>,
}

thread_local! {
    static HOST: RefCell<Host> = RefCell::default();
}

/// Sets up or asks the host of this thread: each test has a fresh one.
///
/// # Panics
/// When `of` calls an import or this function: the host is in use then.
pub fn host<T>(of: impl FnOnce(&mut Host) -> T) -> T {
    HOST.with_borrow_mut(of)
}

/// A backend of that address, healthy and idle.
#[must_use]
pub fn backend(address: &str) -> Backend {
    Backend { address: address.to_owned(), weight: 1, in_flight: 0, latency_nanos: 0, healthy: true }
}

impl Default for Host {
    fn default() -> Self {
        Self {
            method: "GET".to_owned(),
            scheme: "http".to_owned(),
            host: "localhost".to_owned(),
            path: "/".to_owned(),
            query: None,
            request_headers: Vec::new(),
            request_body: None,
            response_status: 0,
            response_origin: Origin::Backend,
            response_headers: Vec::new(),
            trailers: Vec::new(),
            exchange_id: 1,
            request_id: "test".to_owned(),
            route: "default".to_owned(),
            tenant: None,
            host_is_named: false,
            client_address: "127.0.0.1".to_owned(),
            peer_address: "127.0.0.1".to_owned(),
            peer_port: 50_000,
            from_trusted_proxy: false,
            server_name: None,
            client_certificate: None,
            backend: None,
            notes: BTreeMap::new(),
            backends: Vec::new(),
            log: Vec::new(),
            log_enabled: true,
            config: "{}".to_owned(),
            now: 0,
            monotonic: 0,
            random: 0,
            counters: BTreeMap::new(),
            series: Vec::new(),
            kv: BTreeMap::new(),
            kv_error: None,
            http_answers: VecDeque::new(),
            http_requests: Vec::new(),
            http_bodies: Vec::new(),
            http_heads: Vec::new(),
        }
    }
}

impl Host {
    /// Sets up the answer to the next request that has none yet.
    pub fn answers(&mut self, status: u16, body: &str) {
        self.http_answers.push_back(Ok(Answered { status, headers: Vec::new(), body: body.as_bytes().to_vec() }));
    }

    /// Sets up a field of the request.
    pub fn request_header(&mut self, name: &str, value: &str) {
        self.request_headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }

    /// The first field of that name in the response.
    #[must_use]
    pub fn response_header(&self, name: &str) -> Option<&str> {
        imports::first(&self.response_headers, name)
    }
}
