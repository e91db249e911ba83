//! Scenario files: what they say, read with the care that configurations are read with.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri, header};

use super::attempts::Failing;
use super::fields::{self, Wanted};
use crate::config::reader::{Mistake, Table, Value};
use crate::config::{self, At, Component, Located, Places, Plugin, Problems, Source, read, read_settings, read_with};
use crate::exchange::{End, Origin, Peer};
use crate::outbound::{Answer, Arranged, CallError};
use crate::synthetic::{self, Synthetic};
use crate::tls::{ClientCertificate, TlsInfo};

/// A file of scenarios.
#[derive(Debug)]
pub struct Script {
    /// Where it came from.
    pub source: Source,
    /// In its order.
    pub scenarios: Vec<Scenario>,
}

/// What a plugin is shown, and what it is expected to do.
#[derive(Debug)]
pub struct Scenario {
    /// Where it stands in its file.
    pub at: At,
    /// What is said of it.
    pub name: String,
    /// The plugin with its settings.
    pub plugin: Plugin,
    /// Whether it goes on where the one before it ended: the same instance, keys, counters and series.
    pub goes_on: bool,
    /// How often it is played; what is expected is expected of the last time.
    pub times: u32,
    /// The request, and what the backend answers.
    pub synthetic: Synthetic,
    /// Bytes of bodies that the plugin is shown at a time.
    pub chunk: usize,
    /// How long the exchange takes.
    pub took: Duration,
    /// How it ends.
    pub end: End,
    /// Nanoseconds since 1970.
    pub time: u64,
    /// Where chance begins.
    pub seed: u64,
    /// Answers to the plugin's own calls.
    pub http: Vec<Answer>,
    /// What is in its key space.
    pub kv: Vec<(String, Bytes)>,
    /// Its counters.
    pub counters: Vec<(String, u64)>,
    /// Notes that plugins before it have left.
    pub notes: Vec<(String, String)>,
    /// Ticks that come before the exchange.
    pub ticks: u32,
    /// More of the connection on which the exchange comes.
    pub connection: Connection,
    /// Whether the plugin's `pick-backend` is asked.
    pub picker: bool,
    /// Attempts that fail, before the one that does not.
    pub failed: Vec<Failing>,
    /// What it is expected to do.
    pub expect: Expectation,
}

/// What only `on-connect` is told of a connection.
#[derive(Debug, Clone, Copy, Default)]
pub struct Connection {
    /// Whether no exchange comes on it.
    pub only: bool,
    /// Where it comes in, if that is not where the exchange says.
    pub listener: Option<SocketAddr>,
    /// What was agreed on by ALPN.
    pub alpn: Option<&'static str>,
    /// Whether HTTP/2 is spoken.
    pub http2: bool,
}

/// What counts more than what a file says.
#[derive(Debug, Default)]
pub struct Instead {
    /// What is played to.
    pub component: Option<Component>,
    /// Its configuration, unless a scenario has one of its own.
    pub config: Option<serde_json::Value>,
}

/// What a plugin is expected to do. What is not said is not looked at.
#[derive(Debug, Default)]
pub struct Expectation {
    /// `proceed`, `answer`, `fail` or `refuse`.
    pub verdict: Option<&'static str>,
    /// The method as the backend sees it.
    pub method: Option<String>,
    /// The target as the backend sees it.
    pub target: Option<String>,
    /// Fields of the request as the backend sees it.
    pub request_headers: Vec<(String, Wanted)>,
    /// The request's body as the backend sees it.
    pub request_body: Option<Bytes>,
    /// The status that the client sees.
    pub status: Option<u16>,
    /// Fields of the response that the client sees.
    pub response_headers: Vec<(String, Wanted)>,
    /// The body that the client sees.
    pub response_body: Option<Bytes>,
    /// The backend that it picks; an inner none: it picks none.
    pub backend: Option<Option<String>>,
    /// All its picks, one for each attempt that it is asked about.
    pub picks: Option<Vec<Option<String>>>,
    /// What it wants after each attempt that fails.
    pub next: Option<Vec<String>>,
    /// Lines that it logs, in this order, maybe with others in between: `info: some of its words`.
    pub log: Option<Vec<String>>,
    /// Its notes.
    pub notes: Vec<(String, Option<String>)>,
    /// What is in its key space then; none: nothing.
    pub kv: Vec<(String, Option<Bytes>)>,
    /// Its counters.
    pub counters: Vec<(String, u64)>,
    /// Its series: `requests` or `requests{status="200"}`.
    pub metrics: Vec<(String, f64)>,
    /// The calls that it makes: `GET https://..`.
    pub http: Option<Vec<String>>,
    /// How it fails, `on-request: trap`. Without that it must not.
    pub failures: Vec<String>,
}

impl Script {
    /// Reads a file, and has its scenarios be played with what `instead` says rather than what the file says.
    ///
    /// # Errors
    /// All that is wrong with it, or why it cannot be read.
    pub fn load(path: &Path, instead: &Instead) -> Result<Self, Problems> {
        let source = read(path)?;
        let (scenarios, problems) = read_with(&source, |root| read_script(root, instead));
        problems.into_result()?;
        Ok(Self { source, scenarios: scenarios.unwrap_or_default() })
    }
}

fn read_script(mut root: Table<'_, '_>, instead: &Instead) -> Vec<Scenario> {
    let (bundled, path) = (
        root.optional("bundled", Value::string),
        root.optional("path", |value| Some((value.at.clone(), Component::at(value)?))),
    );
    let named = match (bundled, path) {
        (Some(name), None) => Some(Component::Bundled(name)),
        (None, Some((_, component))) => Some(component),
        (Some(_), Some((at, _))) => {
            root.problems().borrow_mut().push(&at, "a plugin is either bundled or a file");
            None
        }
        (None, None) => None,
    };
    let component = instead.component.clone().or(named).unwrap_or_else(|| {
        root.wrong("it is not said which plugin this is about");
        root.problems().borrow_mut().hint("write path = \"FILE.wasm\", or give the component on the command line");
        Component::Path(Located { value: PathBuf::new(), at: At::default() })
    });
    let mut plugin = Plugin::new(At::default(), component);
    read_settings(&mut root, &mut plugin);
    let mut left_out = false;
    root.set("config_left_out", &mut left_out, Value::boolean);
    if let Some(config) = &instead.config {
        // Nothing in this file is where it stands.
        (plugin.config, plugin.places) = (config.clone(), Places::default());
    } else if left_out {
        root.wrong("the plugin's configuration was not recorded, because it may hold secrets");
        root.problems().borrow_mut().hint("give it on the command line: --config FILE");
    }
    if !root.has("scenario") {
        root.wrong("there is no [[scenario]], and at least one is needed");
    }
    let mut number = 0;
    let scenarios = root.list("scenario", |value| {
        number += 1;
        read_scenario(value, number, &plugin)
    });
    if let Some(first) = scenarios.first().filter(|first: &&Scenario| first.goes_on) {
        let mut problems = root.problems().borrow_mut();
        problems.push(&first.at, "the first scenario has none before it to go on from");
    }
    root.finish();
    scenarios
}

fn read_scenario(value: Value<'_, '_>, number: usize, plugin: &Plugin) -> Option<Scenario> {
    let mut table = value.table()?;
    let at = table.at.clone();
    let name = table.optional("name", Value::string).map(|name| name.value);
    let mut plugin = plugin.clone();
    if let Some((config, places)) = table.optional("config", config::config_of_plugin) {
        (plugin.config, plugin.places) = (config, places);
    }
    let mut scenario = Scenario {
        at,
        name: name.unwrap_or_else(|| format!("scenario {number}")),
        plugin,
        goes_on: false,
        times: 1,
        synthetic: Synthetic::new(),
        chunk: 64 << 10,
        took: Duration::from_millis(2),
        end: End::Complete,
        time: SOME_DAY,
        seed: 0,
        http: Vec::new(),
        kv: table.optional("kv", |value| fields::entries(value, fields::bytes)).unwrap_or_default(),
        counters: counters(&mut table),
        notes: table.optional("notes", |value| fields::entries(value, fields::text)).unwrap_or_default(),
        ticks: 0,
        connection: Connection::default(),
        picker: true,
        failed: table.list("failed", Failing::read),
        expect: Expectation::default(),
    };
    table.set("continues", &mut scenario.goes_on, Value::boolean);
    table.set("times", &mut scenario.times, |value| value.integer(1..=100_000));
    table.set("picker", &mut scenario.picker, Value::boolean);
    table.set("ticks", &mut scenario.ticks, |value| value.integer(0..=1000));
    table.set("chunk", &mut scenario.chunk, |value| value.bytes(1..=64 << 10));
    table.set("took", &mut scenario.took, |value| value.duration(Duration::ZERO..=Duration::from_secs(86_400)));
    let ends = [
        ("complete", End::Complete),
        ("client-gone", End::ClientGone),
        ("upstream-truncated", End::UpstreamTruncated),
        ("timed-out", End::TimedOut),
        ("aborted", End::Aborted),
    ];
    table.set("end", &mut scenario.end, |value| value.word(&ends));
    table.set("time", &mut scenario.time, |value| value.parsed(time));
    table.set("seed", &mut scenario.seed, |value| value.integer(0..=i64::MAX as u64));
    if let Some(request) = table.optional("request", Value::table) {
        read_request(request, &mut scenario.synthetic);
    }
    if let Some(connection) = table.optional("connection", Value::table) {
        read_connection(connection, &mut scenario);
    }
    if let Some(response) = table.optional("response", Value::table) {
        read_response(response, &mut scenario.synthetic);
    }
    if let Some(upstream) = table.optional("backends", backends) {
        scenario.synthetic.upstream = upstream;
    }
    scenario.http = table.list("http", read_answer);
    if let Some(expect) = table.optional("expect", Value::table) {
        read_expectation(expect, &mut scenario.expect);
    }
    table.finish();
    Some(scenario)
}

fn counters(table: &mut Table<'_, '_>) -> Vec<(String, u64)> {
    let read = |value| fields::entries(value, |value| value.integer(0..=i64::MAX as u64));
    table.optional("counters", read).unwrap_or_default()
}

fn read_request(mut table: Table<'_, '_>, synthetic: &mut Synthetic) {
    let request = &mut synthetic.request;
    table.set("method", &mut request.method, |value| value.parsed(method));
    table.set("target", &mut request.uri, |value| value.parsed(target));
    if let Some(fields) = table.optional("headers", fields::headers) {
        request.headers = fields;
    }
    if let Some(host) = table.optional("host", |value| value.parsed(fields::value)) {
        request.headers.insert(header::HOST, host);
    }
    table.set("body", &mut synthetic.body, fields::bytes);
    synthetic.client = table.optional("client", |value| value.parsed(address));
    let mut tls = false;
    table.set("tls", &mut tls, Value::boolean);
    let server_name = table.optional("server_name", fields::text);
    let client = table.optional("certificate", certificate).map(Arc::new);
    let mut trusted = false;
    table.set("from_trusted_proxy", &mut trusted, Value::boolean);
    synthetic.peer = Arc::new(Peer {
        address: (synthetic.client.filter(|_| !trusted).unwrap_or(synthetic.peer.address.ip()), 40_000).into(),
        local: (synthetic.peer.local.ip(), if tls { 443 } else { 80 }).into(),
        trusted,
        tls: (tls || server_name.is_some() || client.is_some()).then(|| TlsInfo {
            server_name,
            client,
            ..TlsInfo::default()
        }),
    });
    if let Some(route) = table.optional("route", fields::text) {
        synthetic.route = route.as_str().into();
    }
    table.set("as_seen", &mut synthetic.as_seen, Value::boolean);
    table.set("host_is_named", &mut synthetic.host_is_named, Value::boolean);
    table.finish();
}

/// What a client has shown. Whatever is not said is empty, or in the far future.
fn certificate(value: Value<'_, '_>) -> Option<ClientCertificate> {
    let mut table = value.table()?;
    let mut shown = ClientCertificate {
        subject: String::new(),
        names: Vec::new(),
        fingerprint: String::new(),
        serial: String::new(),
        not_after: 253_402_300_799,
    };
    table.set("subject", &mut shown.subject, fields::text);
    table.set("names", &mut shown.names, fields::texts);
    table.set("fingerprint", &mut shown.fingerprint, fields::text);
    table.set("serial", &mut shown.serial, fields::text);
    table.set("not_after", &mut shown.not_after, |value| value.integer(0..=i64::MAX as u64));
    table.finish();
    Some(shown)
}

/// What only `on-connect` is told.
fn read_connection(mut table: Table<'_, '_>, scenario: &mut Scenario) {
    let connection = &mut scenario.connection;
    table.set("only", &mut connection.only, Value::boolean);
    connection.listener = table.optional("listener", |value| value.parsed(listener));
    connection.alpn = table.optional("alpn", |value| value.word(&[("h2", "h2"), ("http/1.1", "http/1.1")]));
    table.set("http2", &mut connection.http2, Value::boolean);
    if let Some(port) = table.optional("port", |value| value.integer(0..=u16::MAX)) {
        Arc::make_mut(&mut scenario.synthetic.peer).address.set_port(port);
    }
    table.finish();
}

fn read_response(mut table: Table<'_, '_>, synthetic: &mut Synthetic) {
    table.set("status", &mut synthetic.status, fields::status);
    let body = table.optional("body", fields::bytes);
    if let Some(body) = body {
        synthetic.headers.insert(header::CONTENT_LENGTH, body.len().into());
        synthetic.response_body = body;
    }
    if let Some(fields) = table.optional("headers", fields::headers) {
        synthetic.headers = fields;
    }
    let origins =
        [("backend", Origin::Backend), ("plugin", Origin::Plugin), ("route", Origin::Route), ("host", Origin::Host)];
    table.set("made_by", &mut synthetic.origin, |value| value.word(&origins));
    table.finish();
}

fn backends(value: Value<'_, '_>) -> Option<Arc<crate::upstream::Upstream>> {
    let (at, problems) = (value.at.clone(), value.problems());
    let addresses = value.filled_array("there must be a backend to pick")?.into_iter().filter_map(fields::text);
    match synthetic::upstream(&addresses.collect::<Vec<_>>()) {
        Ok(upstream) => Some(upstream),
        Err(wrong) => {
            for problem in wrong.iter() {
                problems.borrow_mut().push(&at, problem.sentence.clone());
            }
            None
        }
    }
}

fn read_answer(value: Value<'_, '_>) -> Option<Answer> {
    let mut table = value.table()?;
    let call = table.required("request", |value| value.parsed(call));
    let mut arranged = Arranged { status: StatusCode::OK, headers: HeaderMap::new(), body: Bytes::new() };
    table.set("status", &mut arranged.status, fields::status);
    table.set("headers", &mut arranged.headers, fields::headers);
    table.set("body", &mut arranged.body, fields::bytes);
    let errors = [
        ("timed-out", CallError::TimedOut),
        ("connect", CallError::Connect("nobody is there".to_owned())),
        ("failed", CallError::Failed("the connection broke".to_owned())),
        ("private-address", CallError::PrivateAddress),
        ("busy", CallError::Busy),
    ];
    let error = table.optional("error", |value| value.word(&errors));
    table.finish();
    let (method, url) = call?;
    Some(Answer { method, url, outcome: error.map_or(Ok(arranged), Err) })
}

fn read_expectation(mut table: Table<'_, '_>, expect: &mut Expectation) {
    let verdicts = [("proceed", "proceed"), ("answer", "answer"), ("fail", "fail"), ("refuse", "refuse")];
    expect.verdict = table.optional("verdict", |value| value.word(&verdicts));
    if let Some(mut request) = table.optional("request", Value::table) {
        expect.method = request.optional("method", fields::text);
        expect.target = request.optional("target", fields::text);
        expect.request_headers = request.optional("headers", fields::wanted).unwrap_or_default();
        expect.request_body = request.optional("body", fields::bytes);
        request.finish();
    }
    if let Some(mut response) = table.optional("response", Value::table) {
        expect.status = response.optional("status", fields::status).map(|status| status.as_u16());
        expect.response_headers = response.optional("headers", fields::wanted).unwrap_or_default();
        expect.response_body = response.optional("body", fields::bytes);
        response.finish();
    }
    expect.backend = table.optional("backend", |value| fields::or_false(value, fields::text));
    let pick = |value| fields::or_false(value, fields::text);
    expect.picks = table.optional("picks", |value| Some(value.array()?.into_iter().filter_map(pick).collect()));
    expect.next = table.optional("next", fields::texts);
    expect.log = table.optional("log", fields::texts);
    let or_none = |value| fields::entries(value, |value| fields::or_false(value, fields::text));
    expect.notes = table.optional("notes", or_none).unwrap_or_default();
    let or_none = |value| fields::entries(value, |value| fields::or_false(value, fields::bytes));
    expect.kv = table.optional("kv", or_none).unwrap_or_default();
    expect.counters = counters(&mut table);
    expect.metrics = table.optional("metrics", |value| fields::entries(value, fields::number)).unwrap_or_default();
    expect.http = table.optional("http", fields::texts);
    expect.failures = table.optional("failures", fields::texts).unwrap_or_default();
    table.finish();
}

fn method(text: &str) -> Result<Method, Mistake> {
    Method::from_bytes(text.as_bytes()).map_err(|_| Mistake::new(format!("{text:?} is not a method")))
}

fn listener(text: &str) -> Result<SocketAddr, Mistake> {
    text.parse()
        .map_err(|_| Mistake::new(format!("{text:?} is no listener's address")).hint("write it as in \"0.0.0.0:8443\""))
}

fn target(text: &str) -> Result<Uri, Mistake> {
    let wrong = || Mistake::new(format!("{text:?} is not what a request asks for")).hint("write it as in \"/a/b?c=d\"");
    if text.starts_with('/') { text.parse().map_err(|_| wrong()) } else { Err(wrong()) }
}

fn address(text: &str) -> Result<std::net::IpAddr, Mistake> {
    text.parse().map_err(|_| Mistake::new(format!("{text:?} is not an address")).hint("write it as in \"192.0.2.7\""))
}

/// `GET https://..`, or the URL alone for every method.
fn call(text: &str) -> Result<(Option<Method>, String), Mistake> {
    let (asked, url) = text.split_once(' ').map_or((None, text), |(asked, url)| (Some(asked), url));
    if !url.contains("://") {
        return Err(
            Mistake::new(format!("{text:?} names no URL")).hint("write it as in \"GET https://auth.internal/\"")
        );
    }
    Ok((asked.map(method).transpose()?, url.to_owned()))
}

fn time(text: &str) -> Result<u64, Mistake> {
    let wrong = || Mistake::new(format!("{text:?} is not a time")).hint("write it as in \"2026-01-31T12:00:00Z\"");
    let since = humantime::parse_rfc3339_weak(text).ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let nanos = since.as_ref().map(Duration::as_nanos);
    nanos.and_then(|nanos| u64::try_from(nanos).ok()).ok_or_else(wrong)
}

/// 2026-01-01T00:00:00Z
const SOME_DAY: u64 = 1_767_225_600_000_000_000;
