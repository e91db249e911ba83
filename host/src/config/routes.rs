//! `[[route]]`: what a request must be like, and what is done with it.

use std::collections::BTreeMap;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, StatusCode};

use super::limits::{DAY, MOMENT};
use super::plugins::read_plugin_use;
use super::reader::{Mistake, Table, Value};
use super::{Action, At, HostHeader, Located, PathMatch, Plugin, Respond, Route};
use crate::path::canonical;

impl Route {
    /// One that matches everything, with every default.
    #[must_use]
    pub fn new(at: At, action: Action) -> Self {
        Self {
            name: at.path.clone(),
            hosts: Vec::new(),
            path: Located { value: PathMatch::Prefix("/".to_owned()), at: at.clone() },
            at,
            methods: Vec::new(),
            headers: Vec::new(),
            plugins: Vec::new(),
            action,
            timeout: Duration::from_secs(120),
            body_limit: None,
            host: HostHeader::Preserve,
        }
    }
}

impl Default for Respond {
    fn default() -> Self {
        Self { status: 200, body: String::new(), content_type: "text/plain; charset=utf-8".to_owned(), location: None }
    }
}

/// `plugins` are those that the chain can name.
pub(super) fn read_route(value: Value<'_, '_>, plugins: &BTreeMap<String, Box<Plugin>>) -> Option<Route> {
    let mut table = value.table()?;
    // A route without a sound action is reported, and read on with one that does nothing.
    let action = read_action(&mut table).unwrap_or_else(|| Action::Respond(Respond::default()));
    let mut route = Route::new(table.at.clone(), action);
    table.set("name", &mut route.name, |value| value.parsed(name));
    route.hosts = table.list("hosts", |value| value.located(host_pattern));
    table.set("path", &mut route.path, read_path);
    route.methods = table.list("methods", |value| value.located(method));
    route.headers = table.optional("headers", Value::table).map(read_headers).unwrap_or_default();
    route.plugins = table.list("plugins", |value| read_plugin_use(value, plugins));
    table.set("timeout", &mut route.timeout, |value| value.duration(MOMENT..=DAY));
    route.body_limit = table.optional("body_limit", Value::size_or_unlimited);
    table.set("host", &mut route.host, |value| value.parsed(host_header));
    table.finish();
    Some(route)
}

fn read_action(table: &mut Table<'_, '_>) -> Option<Action> {
    let upstream = table.take("upstream");
    let respond = table.take("respond");
    match (upstream, respond) {
        (Some(upstream), None) => upstream.string().map(Action::Upstream),
        (None, Some(respond)) => respond.table().and_then(read_respond).map(Action::Respond),
        (None, None) => {
            let mut problems = table.problems().borrow_mut();
            problems.push(&table.at, "the route does nothing").hint("give it an `upstream` or a `respond`");
            None
        }
        (Some(upstream), Some(respond)) => {
            let place = respond.problems().borrow().place(&upstream.at);
            let hint = format!("`upstream` stands at {place}");
            respond.wrong_with("a route has either an `upstream` or a `respond`", hint)
        }
    }
}

fn read_respond(mut table: Table<'_, '_>) -> Option<Respond> {
    let mut respond = Respond::default();
    let redirects = table.has("location");
    if redirects {
        respond.status = StatusCode::PERMANENT_REDIRECT.as_u16();
    }
    respond.location = table.optional("location", |value| value.parsed(location));
    table.set("status", &mut respond.status, |value| value.integer(200..=599));
    table.set("body", &mut respond.body, |value| value.string().map(|text| text.value));
    table.set("content_type", &mut respond.content_type, |value| value.parsed(field_value));
    let status = respond.status;
    if matches!(status, 301 | 302 | 303 | 307 | 308) && !redirects {
        table.wrong(format!("status {status} needs a `location`"));
    }
    if redirects && !matches!(status, 201 | 300..=399) {
        table.wrong(format!("status {status} makes no use of a `location`"));
    }
    if matches!(status, 204 | 205 | 304) && !respond.body.is_empty() {
        table.wrong(format!("status {status} has no body"));
    }
    table.finish();
    Some(respond)
}

/// `"/prefix"`, `{ exact = ".." }` or `{ pattern = ".." }`.
fn read_path(value: Value<'_, '_>) -> Option<Located<PathMatch>> {
    if value.is_string() {
        return value.located(|text| compared_path(text).map(PathMatch::Prefix));
    }
    let at = value.at.clone();
    let mut table = value.table_or("a path or a table such as { exact = \"/path\" }")?;
    let given = ["prefix", "exact", "pattern"].into_iter().filter(|key| table.has(key)).count();
    let prefix = table.optional("prefix", |value| value.located(|text| compared_path(text).map(PathMatch::Prefix)));
    let exact = table.optional("exact", |value| value.located(|text| compared_path(text).map(PathMatch::Exact)));
    let pattern = table.optional("pattern", |value| value.located(|text| pattern(text).map(PathMatch::Pattern)));
    let problems = table.problems();
    table.finish();
    if given != 1 {
        problems.borrow_mut().push(&at, "a path is given as one of `prefix`, `exact` and `pattern`");
        return None;
    }
    prefix.or(exact).or(pattern)
}

fn read_headers(table: Table<'_, '_>) -> Vec<(Located<String>, String)> {
    let problems = table.problems();
    let mut headers = Vec::new();
    for (mut name, value) in table.into_entries() {
        if HeaderName::try_from(&name.value).is_err() {
            problems.borrow_mut().push(&name.at, format!("{:?} is not a field's name", name.value));
            continue;
        }
        name.value.make_ascii_lowercase();
        if let Some(value) = value.parsed(field_value) {
            headers.push((name, value));
        }
    }
    headers
}

/// The name of a route, an upstream or a plugin: it stands in logs and metrics.
pub(super) fn name(text: &str) -> Result<String, Mistake> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if !text.is_empty() && text.len() <= 64 && text.chars().all(fits) {
        return Ok(text.to_owned());
    }
    let mistake = Mistake::new(format!("{text:?} is not a name"));
    Err(mistake.hint("use up to 64 letters, digits, \"-\", \"_\" and \".\""))
}

/// `shop.example.com` or `*.example.com`, in lower case.
pub(super) fn host_pattern(text: &str) -> Result<String, Mistake> {
    match text.strip_prefix("*.") {
        Some(rest) => bare_host(rest).map(|rest| format!("*.{rest}")),
        None if text == "*" => Err(Mistake::new("\"*\" is not a host").hint("leave `hosts` out to match every host")),
        None => bare_host(text),
    }
}

/// A host's name or address without a port, in lower case.
pub(super) fn bare_host(text: &str) -> Result<String, Mistake> {
    let mistake = Mistake::new(format!("{text:?} is not a host"));
    let inside = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    if inside.is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok()) {
        return Ok(text.to_ascii_lowercase());
    }
    if text.parse::<std::net::Ipv6Addr>().is_ok() {
        return Err(mistake.hint(format!("write \"[{text}]\"")));
    }
    if text.contains("://") || text.contains('/') {
        return Err(mistake.hint("write the name alone, without a scheme or a path"));
    }
    if text.contains(':') {
        return Err(mistake.hint("write the name alone, without a port"));
    }
    if !text.is_ascii() {
        return Err(mistake.hint("write names with other letters in their ASCII form (\"xn--..\")"));
    }
    if text.contains('*') {
        return Err(mistake.hint("a wildcard stands for whole labels at the front, as in \"*.example.com\""));
    }
    let label = |label: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        !label.is_empty() && label.len() <= 63 && label.chars().all(fits)
    };
    if text.len() <= 253 && text.split('.').all(label) { Ok(text.to_ascii_lowercase()) } else { Err(mistake) }
}

/// An absolute path as it stands in a canonical request: no query, no dot segments, no empty ones but the last.
pub(super) fn plain_path(text: &str) -> Result<String, Mistake> {
    let mistake = Mistake::new(format!("{text:?} is not a path"));
    let Some(segments) = text.strip_prefix('/') else {
        return Err(mistake.hint("it begins with \"/\""));
    };
    if text.contains(['?', '#']) {
        return Err(mistake.hint("queries and fragments are not compared"));
    }
    if text.contains("//") || segments.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err(mistake.hint("requests with \"//\", \"/./\" or \"/../\" never get as far as a route"));
    }
    if text.contains(['*', '{', '}']) {
        return Err(mistake.hint(format!("for wildcards write {{ pattern = {text:?} }}, with {{name}} or {{*name}}")));
    }
    match text.chars().find(|c| !c.is_ascii_graphic() || "\"<>\\^`|".contains(*c)) {
        Some(odd) => Err(mistake.hint(format!("write {odd:?} percent-encoded"))),
        None => encoded_well(text)
            .then(|| text.to_owned())
            .ok_or_else(|| mistake.hint("\"%\" begins two hexadecimal digits")),
    }
}

fn encoded_well(text: &str) -> bool {
    let hex = |digits: &str| digits.len() >= 2 && digits.bytes().take(2).all(|digit| digit.is_ascii_hexdigit());
    text.split('%').skip(1).all(hex)
}

/// A path of which some segments are `{name}`, and the last may be `{*name}`.
fn pattern(text: &str) -> Result<String, Mistake> {
    let mistake = |sentence: &str| Mistake::new(format!("{text:?} {sentence}"));
    let mut names = Vec::new();
    let mut plain = String::new();
    let mut segments = text.strip_prefix('/').unwrap_or(text).split('/').peekable();
    while let Some(segment) = segments.next() {
        plain.push('/');
        let Some(name) = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
            if segment.contains(['{', '}', '*']) {
                return Err(mistake("has a wildcard within a segment").hint("{name} stands for a whole segment"));
            }
            plain.push_str(segment);
            continue;
        };
        let rest = name.starts_with('*');
        let name = name.trim_start_matches('*');
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(mistake("has a wildcard without a proper name").hint("names are letters, digits and \"_\""));
        }
        if names.contains(&name) {
            return Err(mistake(&format!("has two wildcards named {name:?}")));
        }
        if rest && segments.peek().is_some() {
            return Err(mistake(&format!("goes on after {{*{name}}}")).hint("only the last can stand for the rest"));
        }
        names.push(name);
        plain.push('x');
    }
    if names.is_empty() {
        return Err(mistake("has no wildcard").hint("write { exact = \"..\" }, or a wildcard such as {name}"));
    }
    if !text.starts_with('/') {
        return Err(mistake("is not a path").hint("it begins with \"/\""));
    }
    plain_path(&plain)?;
    in_one_form(text)
}

/// A path that requests are compared with.
fn compared_path(text: &str) -> Result<String, Mistake> {
    plain_path(text).and_then(|path| in_one_form(&path))
}

/// Requests' paths are written in one form before they are compared; a route's in another would never match.
fn in_one_form(text: &str) -> Result<String, Mistake> {
    let encoded = text.split('%').skip(1).filter_map(|rest| u8::from_str_radix(rest.get(..2)?, 16).ok());
    if let Some(byte) = encoded.into_iter().find(|byte| matches!(byte, b'/' | b'\\' | 0x7f) || *byte < b' ') {
        let mistake = Mistake::new(format!("{text:?} matches no request"));
        return Err(mistake.hint(format!("requests with \"%{byte:02X}\" never get as far as a route")));
    }
    match canonical(text) {
        Some(form) if form != text => {
            let mistake = Mistake::new(format!("{text:?} is not in the form in which paths are compared"));
            Err(mistake.hint(format!("write {form:?}")))
        }
        _ => Ok(text.to_owned()),
    }
}

/// A method's name. Case counts (RFC 9110 §9.1).
fn method(text: &str) -> Result<String, Mistake> {
    let mistake = Mistake::new(format!("{text:?} is not a method that can be matched"));
    if Method::from_bytes(text.as_bytes()).is_err() {
        return Err(mistake);
    }
    if text == "CONNECT" {
        return Err(mistake.hint("CONNECT is always refused"));
    }
    match super::nearest(text, COMMON_METHODS.iter().copied()) {
        // No method in use is one letter away from one of these.
        Some(near) if near != text && strsim::osa_distance(near, &text.to_uppercase()) <= 1 => {
            Err(mistake.hint(format!("did you mean {near:?}?")))
        }
        _ => Ok(text.to_owned()),
    }
}

/// `"preserve"`, `"backend"`, or a name with or without a port.
fn host_header(text: &str) -> Result<HostHeader, Mistake> {
    match text {
        "preserve" => return Ok(HostHeader::Preserve),
        "backend" => return Ok(HostHeader::Backend),
        _ => {}
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let port_fits = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    match bare_host(host) {
        Ok(_) if port_fits => Ok(HostHeader::Name(text.to_owned())),
        _ => Err(Mistake::new(format!("{text:?} is not \"preserve\", \"backend\" or a host's name"))),
    }
}

/// What can be a field's value.
fn field_value(text: &str) -> Result<String, Mistake> {
    // Visible ASCII and spaces inside: what every peer takes in the same way.
    let fits = text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    if fits && !text.is_empty() && text.trim() == text && HeaderValue::from_str(text).is_ok() {
        Ok(text.to_owned())
    } else {
        Err(Mistake::new(format!("{text:?} is not a field's value")))
    }
}

/// Where a redirect leads: a URL or a path, in which `{host}`, `{path}` and `{query}` stand for the request's.
fn location(text: &str) -> Result<String, Mistake> {
    field_value(text)?;
    let mut rest = text;
    while let Some(open) = rest.find(['{', '}']) {
        let Some(placeholder) = ["{host}", "{path}", "{query}"].into_iter().find(|it| rest[open..].starts_with(it))
        else {
            let mistake = Mistake::new(format!("{text:?} has a placeholder that is not known"));
            return Err(mistake.hint("the placeholders are {host}, {path} and {query}"));
        };
        rest = &rest[open + placeholder.len()..];
    }
    if text.contains(' ') {
        return Err(Mistake::new(format!("{text:?} is not a URL")));
    }
    Ok(text.to_owned())
}

const COMMON_METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"];
