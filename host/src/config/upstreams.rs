//! `[upstream.NAME]`: backends, how they are chosen, and how they are kept well.

use std::ops::RangeInclusive;
use std::time::Duration;

use http::Uri;

use super::limits::{DAY, HOUR, MOMENT};
use super::listeners::file;
use super::reader::{Mistake, Table, Value};
use super::routes::{bare_host, plain_path};
use super::{At, Backend, Balance, Eject, HealthProbe, PoolSettings, Protocol, Retry, Upstream, UpstreamTls};

impl Upstream {
    /// One with these backends and every default.
    #[must_use]
    pub fn new(at: At, backends: Vec<Backend>) -> Self {
        Self {
            at,
            backends,
            balance: Balance::RoundRobin,
            protocol: Protocol::Auto,
            proxy_protocol: false,
            tls: UpstreamTls::default(),
            pool: PoolSettings::default(),
            connect_timeout: Duration::from_secs(5),
            response_timeout: Duration::from_secs(60),
            retry: Retry::default(),
            health: None,
            eject: Eject::default(),
            panic_threshold: 50,
            max_requests: 1024,
            queue: 1024,
            queue_timeout: Duration::from_millis(100),
            reach: None,
        }
    }
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self { idle: 64, idle_timeout: Duration::from_secs(60) }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 1, non_idempotent: false, status: Vec::new() }
    }
}

impl Default for Eject {
    fn default() -> Self {
        Self { failures: 5, time: Duration::from_secs(30), max_percent: 50 }
    }
}

impl HealthProbe {
    /// One that asks for `path`, with every default.
    #[must_use]
    pub fn new(path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            fall: 3,
            rise: 2,
            expect: 200..=399,
        }
    }
}

pub(super) fn read_upstream(value: Value<'_, '_>) -> Option<Upstream> {
    let mut table = value.table()?;
    let backends = table.required("backends", read_backends);
    let mut upstream = Upstream::new(table.at.clone(), backends.unwrap_or_default());
    table.set("balance", &mut upstream.balance, read_balance);
    let protocols = [("auto", Protocol::Auto), ("http1", Protocol::Http1), ("http2", Protocol::Http2)];
    table.set("protocol", &mut upstream.protocol, |value| value.word(&protocols));
    let shared = upstream.protocol == Protocol::Http2;
    table.set("proxy_protocol", &mut upstream.proxy_protocol, |value| read_proxy_protocol(value, shared));
    if upstream.proxy_protocol {
        upstream.protocol = Protocol::Http1;
    }
    table.set("tls", &mut upstream.tls, |value| value.table().map(read_tls));
    table.set("pool", &mut upstream.pool, |value| value.table().map(read_pool));
    table.set("connect_timeout", &mut upstream.connect_timeout, |value| value.duration(MOMENT..=HOUR));
    table.set("response_timeout", &mut upstream.response_timeout, |value| value.duration(MOMENT..=DAY));
    table.set("retry", &mut upstream.retry, |value| value.table().map(read_retry));
    upstream.health = table.optional("health", |value| value.table().and_then(read_health));
    table.set("eject", &mut upstream.eject, |value| value.table().map(read_eject));
    table.set("panic_threshold", &mut upstream.panic_threshold, |value| value.integer(PERCENT));
    table.set("max_requests", &mut upstream.max_requests, |value| value.integer(1..=1_000_000));
    table.set("queue", &mut upstream.queue, |value| value.integer(0..=1_000_000));
    table.set("queue_timeout", &mut upstream.queue_timeout, |value| value.duration(MOMENT..=HOUR));
    table.finish();
    Some(upstream)
}

fn read_proxy_protocol(value: Value<'_, '_>, shared: bool) -> Option<bool> {
    let (at, problems) = (value.at.clone(), value.problems());
    let told = value.word(&[("v2", true)])?;
    if shared {
        let mut problems = problems.borrow_mut();
        problems.push(&at, "a PROXY header tells of one client, and an HTTP/2 connection is shared by many");
        problems.hint("use `protocol = \"http1\"`");
    }
    Some(told)
}

fn read_backends(value: Value<'_, '_>) -> Option<Vec<Backend>> {
    let backends = value.filled_array("an upstream needs at least one backend")?;
    Some(backends.into_iter().filter_map(read_backend).collect())
}

fn read_backend(value: Value<'_, '_>) -> Option<Backend> {
    let at = value.at.clone();
    if value.is_string() {
        return value.parsed(backend_address).map(|address| Backend { at, address, weight: 1 });
    }
    let mut table = value.table_or("a URL or a table such as { address = \"http://127.0.0.1:3000\", weight = 2 }")?;
    let address = table.required("address", |value| value.parsed(backend_address));
    let weight = table.optional("weight", |value| value.integer(1..=1000)).unwrap_or(1);
    table.finish();
    address.map(|address| Backend { at, address, weight })
}

fn backend_address(text: &str) -> Result<Uri, Mistake> {
    let mistake = |sentence: &str| Mistake::new(format!("{text:?} {sentence}"));
    if !text.contains("://") {
        let hint = format!("write \"http://{text}\" or \"https://{text}\"");
        return Err(mistake("does not say how to speak to the backend").hint(hint));
    }
    let Ok(uri) = text.parse::<Uri>() else {
        return Err(mistake("is not a URL").hint("write it as in \"http://127.0.0.1:3000\""));
    };
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(mistake("is neither http:// nor https://"));
    }
    // A path would be dropped without a word, so it is refused.
    if uri.path() != "/" || uri.query().is_some() || text.contains('#') {
        return Err(mistake("has more than a host and a port").hint("the request's own path is what backends get"));
    }
    let Some(authority) = uri.authority() else { return Err(mistake("names no host")) };
    if authority.as_str().contains('@') {
        return Err(mistake("has a user name, which is not sent to backends"));
    }
    if authority.host().is_empty() {
        return Err(mistake("names no host"));
    }
    if uri.port_u16() == Some(0) || (uri.port_u16().is_none() && authority.as_str() != authority.host()) {
        return Err(mistake("has no usable port").hint("ports are 1 to 65535"));
    }
    Ok(uri)
}

fn read_balance(value: Value<'_, '_>) -> Option<Balance> {
    if value.is_string() {
        return value.word(&[("round-robin", Balance::RoundRobin)]);
    }
    let mut table = value.table_or("\"round-robin\" or a table such as { plugin = \"NAME\" }")?;
    let plugin = table.required("plugin", Value::string);
    table.finish();
    plugin.map(Balance::Plugin)
}

fn read_tls(mut table: Table<'_, '_>) -> UpstreamTls {
    let ca = table.optional("ca", file);
    let server_name = table.optional("server_name", |value| value.located(bare_host));
    table.finish();
    UpstreamTls { ca, server_name }
}

fn read_pool(mut table: Table<'_, '_>) -> PoolSettings {
    let mut pool = PoolSettings::default();
    table.set("idle", &mut pool.idle, |value| value.integer(0..=100_000));
    table.set("idle_timeout", &mut pool.idle_timeout, |value| value.duration(MOMENT..=DAY));
    table.finish();
    pool
}

fn read_retry(mut table: Table<'_, '_>) -> Retry {
    let mut retry = Retry::default();
    table.set("attempts", &mut retry.attempts, |value| value.integer(0..=10));
    table.set("non_idempotent", &mut retry.non_idempotent, Value::boolean);
    retry.status = table.list("status", |value| value.integer(400..=599));
    table.finish();
    retry
}

fn read_health(mut table: Table<'_, '_>) -> Option<HealthProbe> {
    let path = table.required("path", |value| value.parsed(probe_path));
    let mut probe = HealthProbe::new(path.clone().unwrap_or_default());
    table.set("interval", &mut probe.interval, |value| value.duration(Duration::from_millis(10)..=DAY));
    table.set("timeout", &mut probe.timeout, |value| value.duration(MOMENT..=HOUR));
    table.set("fall", &mut probe.fall, |value| value.integer(1..=1000));
    table.set("rise", &mut probe.rise, |value| value.integer(1..=1000));
    table.set("expect", &mut probe.expect, read_expected);
    table.finish();
    path.map(|_| probe)
}

fn probe_path(text: &str) -> Result<String, Mistake> {
    let path = text.split_once('?').map_or(text, |(path, _)| path);
    plain_path(path)?;
    match text.parse::<http::uri::PathAndQuery>() {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(Mistake::new(format!("{text:?} is not a path"))),
    }
}

/// `200` or `[200, 399]`.
fn read_expected(value: Value<'_, '_>) -> Option<RangeInclusive<u16>> {
    if value.is_integer() {
        return value.integer(STATUS).map(|status| status..=status);
    }
    let at = value.at.clone();
    let problems = value.problems();
    let bounds: Vec<_> = value.array()?.into_iter().map(|value| value.integer(STATUS)).collect();
    match bounds[..] {
        [Some(low), Some(high)] if low <= high => Some(low..=high),
        // Already reported.
        _ if bounds.contains(&None) => None,
        _ => {
            let mut problems = problems.borrow_mut();
            problems.push(&at, "expected the lowest and the highest status").hint("write it as in [200, 399]");
            None
        }
    }
}

fn read_eject(mut table: Table<'_, '_>) -> Eject {
    let mut eject = Eject::default();
    table.set("failures", &mut eject.failures, |value| value.integer(0..=1000));
    table.set("time", &mut eject.time, |value| value.duration(MOMENT..=DAY));
    table.set("max_percent", &mut eject.max_percent, |value| value.integer(PERCENT));
    table.finish();
    eject
}

const PERCENT: RangeInclusive<u32> = 0..=100;
const STATUS: RangeInclusive<u16> = 100..=599;
