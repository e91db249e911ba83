//! Every file in `examples/` is sound, and `full.toml` is what it says: all keys, each with its default.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lockgate::config::{self, Config, Source};

#[test]
fn every_example_is_sound() {
    let folder = tempfile::tempdir().unwrap();
    let examples = folder.path().join("examples");
    fs::create_dir(&examples).unwrap();
    let certificate = lockgate(folder.path(), &["certificate"]);
    assert!(certificate.contains("curl --cacert certs/localhost.crt https://localhost:8443/"), "{certificate}");
    let mut count = 0;
    for entry in fs::read_dir(repository().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|it| it == "toml") {
            let name = path.file_name().unwrap().to_str().unwrap();
            fs::copy(&path, examples.join(name)).unwrap();
            let summary = lockgate(folder.path(), &["check", &format!("examples/{name}")]);
            assert!(summary.contains("is sound"), "{summary}");
            count += 1;
        }
    }
    assert!(count >= 3, "only {count} examples");
}

#[test]
fn full_toml_prints_the_real_defaults() {
    let full = config::load(&repository().join("examples/full.toml")).unwrap_or_else(|problems| panic!("{problems}"));
    let bare = parse(
        r#"
        [[listener]]
        address = "127.0.0.1:8080"
        [upstream.app]
        backends = ["http://127.0.0.1:3000", "http://127.0.0.1:3001"]
        health = { path = "/healthz" }
        [plugin.profiler]
        bundled = "profiler"
        config = {}
        [[route]]
        name = "app"
        upstream = "app"
        [[route]]
        respond = {}
        path = "/other"
        [[route]]
        respond = { location = "https://{host}/new{query}" }
        path = "/old"
        "#,
    );
    same("server", &full.server, &bare.server);
    same("log", &full.log, &bare.log);
    same("limits", &full.limits, &bare.limits);
    same("timeouts", &full.timeouts, &bare.timeouts);
    same("tenants", &full.tenants.terms, &bare.tenants.terms);
    same("listener", &full.listeners[0], &bare.listeners[0]);
    same("upstream", &full.upstreams["app"], &bare.upstreams["app"]);
    let mut profiler = full.plugins["profiler"].clone();
    profiler.places = bare.plugins["profiler"].places.clone();
    same("plugin", &profiler, &bare.plugins["profiler"]);
    same("kv", &full.kv, &bare.kv);
    same("registries", &full.registries, &bare.registries);
    same("plugin", &full.plugins["profiler"], &bare.plugins["profiler"]);
    let body_limit = bare.limits.body;
    let mut route = bare.routes[0].clone();
    route.body_limit = Some(body_limit);
    same("route", &full.routes[0], &route);
    same("respond", &full.routes[2].action, &bare.routes[1].action);
    same("redirect", &full.routes[3].action, &bare.routes[2].action);
}

/// Asks for a key that no section has: the answer lists those that it has.
#[test]
fn full_toml_and_the_manual_name_every_key() {
    let full = fs::read_to_string(repository().join("examples/full.toml")).unwrap();
    let manual = fs::read_to_string(repository().join("docs/configuration.md")).unwrap();
    let mut count = 0;
    for section in [
        "qqqqqqqq = 0",
        "server.qqqqqqqq = 0",
        "log.qqqqqqqq = 0",
        "limits.qqqqqqqq = 0",
        "timeouts.qqqqqqqq = 0",
        "listener = [{ qqqqqqqq = 0, certificate = [{ qqqqqqqq = 0 }] }]",
        "listener = [{ client_auth.qqqqqqqq = 0 }]",
        "listener = [{ proxy_protocol.qqqqqqqq = 0 }]",
        "upstream.a.qqqqqqqq = 0",
        "upstream.a.backends = [{ qqqqqqqq = 0 }]",
        "upstream.a.balance.qqqqqqqq = 0",
        "upstream.a.tls.qqqqqqqq = 0",
        "upstream.a.pool.qqqqqqqq = 0",
        "upstream.a.retry.qqqqqqqq = 0",
        "upstream.a.health.qqqqqqqq = 0",
        "upstream.a.eject.qqqqqqqq = 0",
        "registries.qqqqqqqq = 0",
        "plugin.a.qqqqqqqq = 0",
        "plugin.a.limits.qqqqqqqq = 0",
        "plugin.a.grants.qqqqqqqq = 0",
        "plugin.a.tick.qqqqqqqq = 0",
        "kv.qqqqqqqq = 0",
        "route = [{ qqqqqqqq = 0 }]",
        "route = [{ path.qqqqqqqq = 0, respond.qqqqqqqq = 0, plugins = [{ qqqqqqqq = 0 }] }]",
        "tenants.qqqqqqqq = 0",
        "tenants.quotas.qqqqqqqq = 0",
        "tenant.a.qqqqqqqq = 0",
        "admin.qqqqqqqq = 0",
    ] {
        let source = Source { path: "test.toml".into(), text: section.to_owned() };
        let problems = config::parse(source).unwrap_err();
        for problem in problems.iter().filter(|problem| problem.sentence.contains("qqqqqqqq")) {
            let keys: Vec<_> = problem.hint.as_deref().unwrap().split('`').skip(1).step_by(2).collect();
            assert!(!keys.is_empty(), "{section}: {problem:?}");
            for key in keys {
                let written = [format!("{key} = "), format!("[{key}"), format!(".{key}]")];
                assert!(written.iter().any(|it| full.contains(it)), "full.toml has no {key:?} ({section})");
                let named = [format!("`{key}`"), format!("[{key}"), format!("{{ {key} = ")];
                assert!(named.iter().any(|it| manual.contains(it)), "configuration.md has no {key:?} ({section})");
                count += 1;
            }
        }
    }
    assert!(count > 80, "only {count} keys were looked for");
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn parse(text: &str) -> Config {
    let source = Source { path: "test.toml".into(), text: text.to_owned() };
    config::parse(source).unwrap_or_else(|problems| panic!("{problems}"))
}

/// Equal but for their places in the file.
fn same(what: &str, one: &impl std::fmt::Debug, other: &impl std::fmt::Debug) {
    let [one, other] = [format!("{one:#?}"), format!("{other:#?}")].map(|text| {
        let place = |line: &&str| ["path: \"", "span: "].iter().any(|it| line.trim_start().starts_with(it));
        text.lines().filter(|line| !place(line)).collect::<Vec<_>>().join("\n")
    });
    assert_eq!(one, other, "{what}");
}

/// What `lockgate` prints; it must end well.
fn lockgate(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_lockgate")).args(arguments).current_dir(folder).output().unwrap();
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert!(output.status.success(), "{arguments:?}: {out}{err}");
    out
}
