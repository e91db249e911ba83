//! `grants = { .. }` of a plugin, and `[kv]`: what plugins may reach outside their sandbox, and where it is.

use std::time::Duration;

use http::Uri;

use super::limits::{HOUR, MOMENT};
use super::listeners::file;
use super::reader::{Mistake, Table, Value};
use super::routes::plain_path;
use super::{Grants, Kv};

impl Default for Kv {
    fn default() -> Self {
        Self { redis: None, prefix: "lockgate".to_owned(), timeout: Duration::from_millis(100), queue: 1024 }
    }
}

pub(super) fn read_grants(mut table: Table<'_, '_>) -> Grants {
    let mut grants = Grants { http: table.list("http", |value| value.located(url_prefix)), ..Grants::default() };
    table.set("private", &mut grants.private, Value::boolean);
    grants.ca = table.optional("ca", file);
    table.set("kv", &mut grants.kv, Value::boolean);
    if grants.http.is_empty() && (grants.private || grants.ca.is_some()) {
        table.wrong("`private` and `ca` are about `http`, which is not granted");
    }
    table.finish();
    grants
}

pub(super) fn read_kv(mut table: Table<'_, '_>) -> Kv {
    let mut kv = Kv { redis: table.optional("redis", Value::string), ..Kv::default() };
    table.set("prefix", &mut kv.prefix, |value| value.parsed(prefix));
    table.set("timeout", &mut kv.timeout, |value| value.duration(MOMENT..=HOUR));
    table.set("queue", &mut kv.queue, |value| value.integer(1..=1_000_000));
    table.finish();
    kv
}

/// A scheme, a host, maybe a port and a path.
fn url_prefix(text: &str) -> Result<Uri, Mistake> {
    let mistake = |sentence: &str| Mistake::new(format!("{text:?} {sentence}"));
    if !text.contains("://") {
        return Err(mistake("is not a URL").hint(format!("write \"https://{text}\" or \"http://{text}\"")));
    }
    let Ok(uri) = text.parse::<Uri>() else {
        return Err(mistake("is not a URL").hint("write it as in \"https://auth.internal/check\""));
    };
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(mistake("is neither http:// nor https://"));
    }
    let Some(authority) = uri.authority().filter(|authority| !authority.host().is_empty()) else {
        return Err(mistake("names no host"));
    };
    if authority.as_str().contains('@') {
        return Err(mistake("has a user name").hint("what is sent is for the plugin to say"));
    }
    if authority.host().contains('*') {
        return Err(mistake("has a wildcard").hint("name each host"));
    }
    if uri.port_u16() == Some(0) || (uri.port_u16().is_none() && authority.as_str() != authority.host()) {
        return Err(mistake("has no usable port").hint("ports are 1 to 65535"));
    }
    if uri.query().is_some() || text.contains('#') {
        return Err(mistake("has a query or a fragment").hint("a prefix ends with its path"));
    }
    plain_path(uri.path())?;
    Ok(uri)
}

fn prefix(text: &str) -> Result<String, Mistake> {
    // Not `:`, which parts it from what follows.
    if !text.is_empty() && text.len() <= 64 && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
        return Ok(text.to_owned());
    }
    Err(Mistake::new(format!("{text:?} cannot begin keys"))
        .hint("use up to 64 letters, digits, \"-\", \"_\" and \".\""))
}
