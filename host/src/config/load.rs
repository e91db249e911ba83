//! From a file to a [`Config`].

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

use toml::de::DeTable;

use super::grants::read_kv;
use super::listeners::{read_certificate, read_listener};
use super::plugins::read_plugin;
use super::reader::{Mistake, Table, Value};
use super::registries::read_registries;
use super::routes::{name, read_route};
use super::tenants::read_tenants;
use super::upstreams::read_upstream;
use super::{
    At, Config, Kv, Limits, Log, Problems, Registries, Server, Source, Tenants, Timeouts, limits, names, server,
};

/// Reads a configuration file.
///
/// # Errors
/// All that is wrong with it, or why it cannot be read.
pub fn load(path: &Path) -> Result<Config, Problems> {
    parse(read(path)?)
}

/// Reads a configuration file's text.
///
/// # Errors
/// Why it cannot be read.
pub fn read(path: &Path) -> Result<Source, Problems> {
    let mut source = Source { path: path.to_owned(), text: String::new() };
    let problem = match std::fs::read(path) {
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => {
                source.text = text;
                return Ok(source);
            }
            Err(error) => format!("byte {} is not UTF-8", error.utf8_error().valid_up_to()),
        },
        Err(error) => format!("cannot be read: {error}"),
    };
    let mut problems = Problems::new(&source);
    problems.push(&At::default(), problem);
    Err(problems)
}

/// Makes sense of a configuration file's text.
///
/// # Errors
/// All that is wrong with it.
pub fn parse(source: Source) -> Result<Config, Problems> {
    match examine(source) {
        (Some(config), problems) if problems.is_empty() => Ok(config),
        (_, problems) => Err(problems),
    }
}

/// Makes as much sense of a configuration file's text as can be made: all that is wrong with it, and what is left without
/// that, so that it can be searched for problems of other kinds. Nothing is left after errors of syntax.
#[must_use]
pub fn examine(source: Source) -> (Option<Config>, Problems) {
    examine_as(source, read_config)
}

/// The same for a tenant's file; what is not its own to say is taken from the operator's.
pub(super) fn examine_tenant(source: Source, operators: &Config) -> (Option<Config>, Problems) {
    examine_as(source, |root| read_tenant(root, operators))
}

fn examine_as(source: Source, read: impl for<'a, 'i> FnOnce(Table<'a, 'i>) -> Config) -> (Option<Config>, Problems) {
    let (config, mut problems) = read_with(&source, read);
    let Some(mut config) = config else { return (None, problems) };
    names::check(&config, &mut problems);
    config.source = source;
    config.plugins.retain(|_, plugin| !problems.are_within(&plugin.at));
    config.upstreams.retain(|_, upstream| !problems.are_within(&upstream.at));
    (Some(config), problems)
}

/// What `read` makes of a file's root, and all that is wrong with it. Nothing is made of it after errors of syntax.
pub(crate) fn read_with<T>(
    source: &Source,
    read: impl for<'a, 'i> FnOnce(Table<'a, 'i>) -> T,
) -> (Option<T>, Problems) {
    let (document, errors) = DeTable::parse_recoverable(&source.text);
    let problems = RefCell::new(Problems::new(source));
    let mut readable = true;
    for error in errors {
        report_syntax(source, &error, &mut problems.borrow_mut());
        // A key that is there twice leaves the rest as it is; after any other error nothing is what it seems.
        readable &= error.message() == DUPLICATE_KEY;
        if is_about_an_array(&error) {
            break;
        }
    }
    if !readable {
        return (None, problems.into_inner());
    }
    let made = read(Table::root(document.into_inner(), &problems));
    (Some(made), problems.into_inner())
}

fn read_config(mut root: Table<'_, '_>) -> Config {
    let server = root.optional("server", Value::table).map_or_else(Server::default, server::read_server);
    let log = root.optional("log", Value::table).map_or_else(Log::default, server::read_log);
    let limits = root.optional("limits", Value::table).map_or_else(Limits::default, limits::read_limits);
    let timeouts = root.optional("timeouts", Value::table).map_or_else(Timeouts::default, limits::read_timeouts);
    let plugins = read_named(&mut root, "plugin", read_plugin);
    let listeners =
        at_least_one(&mut root, "listener", |value| read_listener(value, &server.trusted_proxies, &plugins));
    let upstreams = read_named(&mut root, "upstream", read_upstream);
    let registries = root.optional("registries", Value::table).map_or_else(Registries::default, read_registries);
    let kv = root.optional("kv", Value::table).map_or_else(Kv::default, read_kv);
    // A file that includes others may leave the routes to them.
    let routes = match root.has("include") {
        true => root.list("route", |value| read_route(value, &plugins)),
        false => at_least_one(&mut root, "route", |value| read_route(value, &plugins)),
    };
    let admin = root.optional("admin", |value| value.table().and_then(server::read_admin));
    let tenants = read_tenants(&mut root);
    root.finish();
    let (source, certificates) = (Source::default(), Vec::new());
    Config {
        source,
        server,
        log,
        limits,
        timeouts,
        listeners,
        upstreams,
        plugins,
        registries,
        kv,
        routes,
        admin,
        tenants,
        certificates,
    }
}

fn read_tenant(mut root: Table<'_, '_>, operators: &Config) -> Config {
    let upstreams = read_named(&mut root, "upstream", read_upstream);
    let plugins = read_named(&mut root, "plugin", read_plugin);
    let routes = at_least_one(&mut root, "route", |value| read_route(value, &plugins));
    let certificates = root.list("certificate", read_certificate);
    for plugin in plugins.values() {
        // It would be the host that writes, or runs something, on the tenant's behalf.
        let mut problems = root.problems().borrow_mut();
        if let Some(record) = &plugin.record {
            problems.push(&record.dir.at, "only the operator can have exchanges recorded");
        }
        if let Some(source) = &plugin.source {
            problems.push(&source.dir.at, "only the operator can have plugins made");
        }
    }
    root.finish();
    Config {
        source: Source::default(),
        server: operators.server.clone(),
        log: operators.log.clone(),
        limits: operators.limits.clone(),
        timeouts: operators.timeouts.clone(),
        listeners: Vec::new(),
        upstreams,
        plugins,
        registries: operators.registries.clone(),
        kv: operators.kv.clone(),
        routes,
        admin: None,
        tenants: Tenants::default(),
        certificates,
    }
}

fn at_least_one<'a, 'i, T>(
    root: &mut Table<'a, 'i>,
    key: &'static str,
    read: impl FnMut(Value<'a, 'i>) -> Option<T>,
) -> Vec<T> {
    if !root.has(key) {
        root.wrong(format!("there is no [[{key}]], and at least one is needed"));
    }
    root.list(key, read)
}

fn read_named<'a, 'i, T>(
    root: &mut Table<'a, 'i>,
    key: &'static str,
    read: impl Fn(Value<'a, 'i>) -> Option<T>,
) -> BTreeMap<String, Box<T>> {
    let problems = root.problems();
    let mut all = BTreeMap::new();
    let entries = root.optional(key, Value::named).map(Table::into_entries);
    for (key, value) in entries.into_iter().flatten() {
        if let Err(mistake) = name(&key.value) {
            Mistake::report(mistake, &key.at, &mut problems.borrow_mut());
        }
        if let Some(value) = read(value) {
            all.insert(key.value, Box::new(value));
        }
    }
    all
}

fn report_syntax(source: &Source, error: &toml::de::Error, problems: &mut Problems) {
    let span = error.span().unwrap_or(source.text.len()..source.text.len());
    let at = At { path: String::new(), span };
    if error.message() != DUPLICATE_KEY {
        problems.push(&at, error.message().trim());
        if is_about_an_array(error) {
            problems.hint("an array here or above is not closed; what follows was not looked at");
        }
        return;
    }
    let key = source.text.get(at.span.clone()).unwrap_or_default();
    problems.push(&at, format!("`{key}` is given twice"));
    if let Some(first) = first_place(source, &at) {
        let place = problems.place(&first);
        problems.hint(format!("the first is at {place}"));
    }
}

/// Whether everything after the error is taken for a part of an array, so that every further line would be an error too.
fn is_about_an_array(error: &toml::de::Error) -> bool {
    ["array elements", "in array", "unclosed array,"].iter().any(|words| error.message().contains(words))
}

/// Where the key that stands at `second` was given before: in a section's header like that one's, or in the lines above.
fn first_place(source: &Source, second: &At) -> Option<At> {
    let key = source.text.get(second.span.clone())?;
    let line_start = |byte: usize| source.text[..byte].rfind('\n').map_or(0, |newline| newline + 1);
    let start = line_start(second.span.start);
    let before = &source.text[start..second.span.start];
    if before.trim_start().starts_with('[') {
        let header = source.text[start..].lines().next()?.split('#').next()?.trim();
        let mut offset = 0;
        for line in source.text[..start].split_inclusive('\n') {
            if line.split('#').next().is_some_and(|line| line.trim() == header) {
                let span = offset + before.len()..offset + before.len() + key.len();
                return Some(At { path: String::new(), span });
            }
            offset += line.len();
        }
        return None;
    }
    let assigned = |found: &usize| {
        let rest = source.text[found + key.len()..].trim_start_matches([' ', '\t']);
        let before = source.text[line_start(*found)..*found].trim_start();
        rest.starts_with(['=', '.']) && (before.is_empty() || before.ends_with([' ', ',', '{', '.']))
    };
    let found = source.text[..second.span.start].rmatch_indices(key).map(|(found, _)| found).find(assigned)?;
    Some(At { path: String::new(), span: found..found + key.len() })
}

/// What the TOML parser calls it.
const DUPLICATE_KEY: &str = "duplicate key";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::super::{Action, Balance, HostHeader, PathMatch};
    use super::*;

    const MINIMAL: &str = r#"
        [[listener]]
        address = "127.0.0.1:0"
        [upstream.app]
        backends = ["http://127.0.0.1:3000"]
        [[route]]
        upstream = "app"
    "#;

    fn parsed(text: &str) -> Result<Config, String> {
        let source = Source { path: "test.toml".into(), text: text.to_owned() };
        parse(source).map_err(|problems| problems.to_string())
    }

    #[test]
    fn a_minimal_file_gets_every_default() {
        let config = parsed(MINIMAL).unwrap();
        assert_eq!(config.limits.header_size, 32 * 1024);
        assert_eq!(config.routes[0].name, "route[0]");
        assert_eq!(config.routes[0].path.value, PathMatch::Prefix("/".into()));
        assert!(matches!(config.upstreams["app"].balance, Balance::RoundRobin));
        assert!(config.source.text.contains("[[listener]]"));
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let config = parsed(
            r#"
            server = { workers = 3, grace = "1m", trusted_proxies = ["10.0.0.0/8", "::1"] }
            limits = { body = "unlimited", header_size = "64 KiB" }
            [[listener]]
            address = "[::1]:8443"
            [[listener.certificate]]
            certificate = "a.crt"
            key = "a.key"
            [upstream.app]
            backends = ["https://a.internal", { address = "https://b.internal:8443", weight = 3 }]
            balance = { plugin = "rr" }
            health = { path = "/up?full=1", expect = 200 }
            [plugin.rr]
            bundled = "round-robin"
            config = { odd = [1, 2.5, true], when = 2020-01-01 }
            [[route]]
            name = "shop"
            hosts = ["Shop.Example.com", "*.example.org"]
            path = { pattern = "/users/{id}/{*rest}" }
            methods = ["GET"]
            headers = { X-Kind = "*" }
            plugins = [{ name = "rr", config = { a = 1 } }, "rr"]
            upstream = "app"
            body_limit = 10
            host = "backend.internal:8080"
            [[route]]
            respond = { location = "https://{host}{path}{query}" }
            "#,
        )
        .unwrap();
        assert_eq!(config.server.workers, 3);
        assert_eq!(config.server.trusted_proxies.len(), 2);
        assert_eq!((config.limits.body, config.limits.header_size), (u64::MAX, 65_536));
        assert_eq!(config.listeners[0].certificates[0].key.at.path, "listener[0].certificate[0].key");
        let app = &config.upstreams["app"];
        assert_eq!(app.backends.iter().map(|backend| backend.weight).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(app.health.as_ref().unwrap().expect, 200..=200);
        let plugin = &config.plugins["rr"];
        assert_eq!(plugin.config.to_string(), r#"{"odd":[1,2.5,true],"when":"2020-01-01"}"#);
        assert_eq!(plugin.limits.cpu, std::time::Duration::from_millis(1));
        let [shop, redirect] = &config.routes[..] else { unreachable!("two routes were written") };
        assert_eq!(
            shop.hosts.iter().map(|host| host.value.as_str()).collect::<Vec<_>>(),
            ["shop.example.com", "*.example.org"]
        );
        assert_eq!(shop.headers[0].0.value, "x-kind");
        assert_eq!(shop.plugins[0].config, Some(serde_json::json!({ "a": 1 })));
        assert_eq!((shop.body_limit, &shop.host), (Some(10), &HostHeader::Name("backend.internal:8080".into())));
        let Action::Respond(respond) = &redirect.action else { unreachable!("it responds") };
        assert_eq!(respond.status, 308);
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let report =
            parsed("server = { worker = 0 }\n[[listener]]\naddress = 1\n[[route]]\nupstream = \"a\"\nupstream = 2\n");
        assert_eq!(
            report.unwrap_err(),
            "test.toml:1:12: server.worker: unknown key \"worker\"\n  help: did you mean `workers`?\n\
             test.toml:3:11: listener[0].address: expected a text, found a whole number\n\
             test.toml:5:12: route[0].upstream: no upstream named \"a\"\n\
             test.toml:6:1: `upstream` is given twice\n  help: the first is at test.toml:5:1\n\
             4 problems"
        );
    }

    #[test]
    fn relative_paths_are_relative_to_the_files_folder() {
        let source = |path: &str| Source { path: path.into(), text: String::new() };
        assert_eq!(source("etc/lockgate.toml").resolve(Path::new("a.crt")), Path::new("etc/a.crt"));
        assert_eq!(source("lockgate.toml").resolve(Path::new("a.crt")), Path::new("a.crt"));
        assert_eq!(source("lockgate.toml").resolve(Path::new("/etc/a.crt")), Path::new("/etc/a.crt"));
    }
}
