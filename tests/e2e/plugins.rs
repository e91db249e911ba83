//! Plugins that misbehave: each ends its own exchange only, and what cannot be a plugin is refused.

use std::time::Duration;

use http::Request;
use lockgate_tests::{Answer, Proxy, ProxyBuilder, backend, client, command, empty, get, proxy, raw, within};
use xtask::guests::component;

/// A proxy with one plugin of that guest on `/guest`, and a route `/other` that has none.
fn guest(name: &str, config: &str, more: &str) -> ProxyBuilder {
    proxy(&format!(
        "[upstream.app]\nbackends = [\"$app\"]\n\
         [plugin.guest]\npath = \"$guest\"\nconfig = {config}\n{more}\n\
         [[route]]\npath = \"/guest\"\nplugins = [\"guest\"]\nupstream = \"app\"\n\
         [[route]]\npath = \"/other\"\nupstream = \"app\"\n"
    ))
    .set("guest", component(name).display())
}

/// The same for what `misbehave` does, in exchanges that ask for it with `x-now`.
fn misbehaving(deed: &str, more: &str) -> ProxyBuilder {
    guest("misbehave", &format!("{{ do = \"{deed}\", if_header = \"x-now\" }}"), more)
}

async fn now(proxy: &Proxy) -> Answer {
    let request = Request::get("/guest").header("x-now", "1").body(empty()).unwrap();
    client(proxy.address()).await.send(request).await
}

const TRAPS: &[&str] = &[
    "trap",
    "panic",
    "spin",
    "grow",
    "recurse",
    "status-999",
    "header-crlf",
    "transfer-encoding",
    "flood-notes",
    "flood-counters",
    "flood-random",
    "flood-host",
    "hand-over",
    "response-status",
    "count-backends",
];

#[tokio::test]
async fn a_guest_that_misbehaves_ends_its_own_exchange_only() {
    let app = backend().says("fine").await;
    for deed in TRAPS {
        let proxy = misbehaving(deed, "limits = { cpu = \"50ms\", memory = \"4 MiB\" }").set("app", app.url()).await;
        let before = app.ledger.count();
        let answer = now(&proxy).await;
        assert_eq!(answer.status, 503, "{deed}: {answer:?}");
        assert!(answer.text().contains("plugin_failed"), "{deed}: {}", answer.text());
        assert_eq!(app.ledger.count(), before, "{deed}");
        assert_eq!(get(proxy.address(), "/guest").await.text(), "fine", "{deed}: the next exchange works");
        assert_eq!(get(proxy.address(), "/other").await.text(), "fine", "{deed}: other routes feel nothing");
        let line = proxy.log.line("on-request").await;
        assert!(line.contains("guest"), "{deed}: the log names plugin and hook: {line}");
    }
}

#[tokio::test]
async fn a_guest_may_be_skipped_instead() {
    let app = backend().says("fine").await;
    for deed in ["trap", "spin", "status-999"] {
        let proxy = misbehaving(deed, "on_failure = \"skip\"\nlimits = { cpu = \"20ms\" }").set("app", app.url()).await;
        for _ in 0..3 {
            assert_eq!(now(&proxy).await.text(), "fine", "{deed}");
        }
    }
}

#[tokio::test]
async fn a_guest_that_fails_at_finish_harms_no_answer() {
    let app = backend().says("fine").await;
    for deed in ["edit-at-finish", "trap-in-finish", "spin-in-finish"] {
        let proxy = misbehaving(deed, "limits = { cpu = \"20ms\" }").set("app", app.url()).await;
        for _ in 0..3 {
            assert_eq!(now(&proxy).await.text(), "fine", "{deed}");
        }
        let line = proxy.log.line("on-response-finish").await;
        assert!(line.contains("guest"), "{deed}: {line}");
        assert_eq!(get(proxy.address(), "/guest").await.text(), "fine", "{deed}");
    }
}

#[tokio::test]
async fn a_guest_that_picks_badly_ends_its_own_exchange_only() {
    let app = backend().says("fine").await;
    for deed in ["index-out-of-range", "backend-out-of-range", "trap-in-pick", "spin-in-pick"] {
        for (on_failure, status) in [("deny", 503), ("skip", 200)] {
            let proxy = proxy(&format!(
                "[upstream.app]\nbackends = [\"$app\"]\nbalance = {{ plugin = \"guest\" }}\n\
                 [plugin.guest]\npath = \"$guest\"\non_failure = \"{on_failure}\"\nlimits = {{ cpu = \"20ms\" }}\n\
                 config = {{ do = \"{deed}\", if_header = \"x-now\" }}\n\
                 [[route]]\nupstream = \"app\"\n"
            ))
            .set("guest", component("misbehave").display())
            .set("app", app.url())
            .await;
            assert_eq!(now(&proxy).await.status, status, "{deed}, {on_failure}");
            assert_eq!(get(proxy.address(), "/").await.text(), "fine", "{deed}, {on_failure}");
        }
    }
}

#[tokio::test]
async fn a_flood_of_lines_is_cut_and_the_exchange_goes_on() {
    let app = backend().says("fine").await;
    let proxy = misbehaving("flood-log", "limits = { cpu = \"5s\", wall = \"10s\", host_calls = 1000000 }")
        .set("app", app.url())
        .await;
    assert_eq!(now(&proxy).await.text(), "fine");
    assert_eq!(get(proxy.address(), "/other").await.text(), "fine");
    proxy.out.line("/other").await;
    let lines = proxy.log.count("of a flood");
    assert!((1..=64).contains(&lines), "{lines} lines");
}

#[tokio::test]
async fn edits_of_fields_that_are_the_hosts_are_refused_and_change_nothing() {
    let app = backend().await;
    let proxy = misbehaving("forbidden-edits", "").set("app", app.url()).await;
    let answer = now(&proxy).await;
    assert_eq!(answer.status, 200);
    for line in answer.text().lines() {
        assert!(line.contains("Err("), "{line}");
    }
    assert_eq!(answer.header("x-split"), None);
}

#[tokio::test]
async fn a_spinning_guest_does_not_stop_the_worker_that_it_runs_on() {
    let app = backend().says("fine").await;
    let proxy = misbehaving("spin", "limits = { cpu = \"3s\", wall = \"50s\" }")
        .and("[server]\nworkers = 1")
        .set("app", app.url())
        .await;
    assert_eq!(get(proxy.address(), "/other").await.text(), "fine");
    let mut spinning = raw(proxy.address()).await;
    spinning.send("GET /guest HTTP/1.1\r\nHost: a\r\nX-Now: 1\r\n\r\n").await;
    let spins = async { while proxy.metric("lockgate_hook_interruptions_total").await < 5.0 {} };
    within("the guest's spinning", spins).await;
    for _ in 0..20 {
        assert_eq!(get(proxy.address(), "/other").await.text(), "fine");
    }
    let still = spinning.stream.try_read(&mut [0]).unwrap_err();
    assert_eq!(still.kind(), std::io::ErrorKind::WouldBlock, "all of them were served while it was spinning");
    assert_eq!(spinning.answer().await.status, 503);
}

#[tokio::test]
async fn a_guest_computes_for_less_than_two_milliseconds_at_a_time() {
    let app = backend().says("fine").await;
    let more = "limits = { cpu = \"500ms\", wall = \"50s\" }\nquarantine = { failures = 0 }\n[server]\nworkers = 1";
    let proxy = misbehaving("spin", more).set("app", app.url()).await;
    let mut seen = Vec::new();
    // It is CPU time that is counted. The clock may still be late where others keep the processors, but not each time.
    while seen.last().is_none_or(|slices| *slices < 250.0) {
        assert!(seen.len() < 20, "in 500 ms it was interrupted so often: {seen:?}");
        let before = proxy.metric("lockgate_hook_interruptions_total").await;
        assert_eq!(now(&proxy).await.status, 503);
        seen.push(proxy.metric("lockgate_hook_interruptions_total").await - before);
    }
}

#[tokio::test]
async fn a_guest_that_keeps_failing_is_set_aside_and_comes_back() {
    let app = backend().says("fine").await;
    let proxy = misbehaving("trap", "").set("app", app.url()).await;
    let quarantined = async { while !now(&proxy).await.text().contains("plugin_quarantined") {} };
    lockgate_tests::within("the quarantine", quarantined).await;
    let status = proxy.admin("/status").await.text();
    assert!(status.contains("quarantine"), "visibly: {status}");
    assert_eq!(get(proxy.address(), "/other").await.text(), "fine");
    let back = async {
        while get(proxy.address(), "/guest").await.status != 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    lockgate_tests::within("its return", back).await;
}

#[tokio::test]
async fn the_operator_says_when_a_guest_is_set_aside_and_whether_we_are_ready_then() {
    let app = backend().says("fine").await;
    let scene = async |back_off: &str| {
        let quarantine = format!("[plugin.guest.quarantine]\nfailures = 3\nshare = 10\nback_off = \"{back_off}\"");
        let proxy = misbehaving("trap", &quarantine)
            .and("[admin]\naddress = \"127.0.0.1:0\"\nready_fails_on_quarantine = true\n")
            .set("app", app.url())
            .await;
        assert_eq!(proxy.admin("/readyz").await.status, 200);
        for _ in 0..3 {
            assert!(now(&proxy).await.text().contains("plugin_failed"));
        }
        assert_eq!(proxy.metric("lockgate_quarantines_total{plugin=\"guest\"}").await, 1.0);
        proxy.log.line("keeps failing and is set aside").await;
        proxy
    };
    let proxy = scene("50s").await;
    assert!(now(&proxy).await.text().contains("plugin_quarantined"));
    assert_eq!(proxy.metric("lockgate_quarantined{plugin=\"guest\"}").await, 1.0);
    let plugin = proxy.admin("/status").await.json()["plugins"][0].clone();
    assert_eq!(plugin["quarantined_seconds"], 50.0, "{plugin}");
    let ready = proxy.admin("/readyz").await;
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains("plugin guest is set aside"), "{}", ready.text());

    let proxy = scene("500ms").await;
    // It says that it is ready again although nobody has tried the plugin: who else should?
    let ready = async {
        while proxy.admin("/readyz").await.status != 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    lockgate_tests::within("readiness", ready).await;
    assert_eq!(get(proxy.address(), "/guest").await.text(), "fine");
    assert_eq!(proxy.metric("lockgate_quarantined{plugin=\"guest\"}").await, 0.0);
    proxy.log.line("is well again").await;
}

#[tokio::test]
async fn many_traps_leave_memory_flat() {
    let app = backend().says("fine").await;
    let proxy = misbehaving("trap", "on_failure = \"skip\"").set("app", app.url()).await;
    let mut client = client(proxy.address()).await;
    let mut before = 0;
    for number in 0..3000 {
        let request = Request::get("/guest").header("x-now", "1").body(empty()).unwrap();
        assert_eq!(client.send(request).await.status, 200);
        if number == 1000 {
            before = proxy.memory("VmRSS");
        }
    }
    let grown = proxy.memory("VmRSS").saturating_sub(before);
    assert!(grown < 4096, "grew by {grown} KiB");
}

#[tokio::test]
async fn what_cannot_be_a_plugin_is_refused_in_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let core = [&b"\0asm\x01\0\0\0"[..]].concat();
    for (what, path, config) in [
        ("not wasm", file("text.wasm", b"not wasm at all"), "{}"),
        ("a core module", file("core.wasm", &core), "{}"),
        ("50 MiB of nothing", file("long.wasm", &vec![0; 50 << 20]), "{}"),
        ("no file", folder.path().join("missing.wasm"), "{}"),
        ("another version", component("other-version"), "{}"),
        ("an unknown key", component("echo-hooks"), "{ nam = \"x\" }"),
        ("configure refuses", component("misbehave"), "{ do = \"refuse-configuration\" }"),
        ("configure spins", component("misbehave"), "{ do = \"spin-in-configure\" }"),
        ("configure traps", component("misbehave"), "{ do = \"trap-in-configure\" }"),
        ("configure grows", component("misbehave"), "{ do = \"grow-in-configure\" }"),
        ("configure asks for the exchange", component("misbehave"), "{ do = \"exchange-in-configure\" }"),
    ] {
        let builder = proxy(&format!(
            "[plugin.bad]\npath = \"{}\"\nconfig = {config}\n[[route]]\nplugins = [\"bad\"]\nrespond = {{}}\n",
            path.display()
        ));
        let file = builder.written();
        let said = command::lockgate(["check", file.to_str().unwrap()]).await;
        assert_eq!(said.code, 2, "{what}: {said:?}");
        let all = said.out + &said.err;
        assert!(all.contains("bad") && !all.contains("panicked at"), "{what}: {all}");
    }
}

#[tokio::test]
async fn a_digest_that_does_not_fit_is_refused() {
    let path = component("bare");
    let digest = command::run("sha256sum", [&path]).await.out.split(' ').next().unwrap().to_owned();
    for (digest, code) in [(digest.clone(), 0), (digest.chars().rev().collect(), 2)] {
        let builder = proxy(&format!(
            "[plugin.bare]\npath = \"{}\"\nsha256 = \"{digest}\"\n[[route]]\nplugins = [\"bare\"]\nrespond = {{}}\n",
            path.display()
        ));
        let file = builder.written();
        let said = command::lockgate(["check", file.to_str().unwrap()]).await;
        assert_eq!(said.code, code, "{said:?}");
    }
}
