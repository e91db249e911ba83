//! Plugins: hooks in their order, finish exactly once, and a guest that misbehaves ends its own exchange only.

use std::time::Duration;

use http::{Request, Response};
use lockgate_tests::{Answer, Proxy, ProxyBuilder, backend, client, command, empty, get, proxy, upload};
use tokio::time::Instant;
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

/// Three uses of the guest that tells of its hooks, in one chain.
const CHAIN: &str = r#"
    [upstream.app]
    backends = ["$app"]
    [plugin.tell]
    path = "$tell"
    [[route]]
    plugins = [
        { name = "tell", config = { name = "a" } },
        { name = "tell", config = { name = "b" } },
        { name = "tell", config = { name = "c" } },
    ]
    upstream = "app"
"#;

fn chain(app: &str) -> ProxyBuilder {
    proxy(CHAIN).set("tell", component("echo-hooks").display()).set("app", app)
}

/// The names at the beginnings of the lines that tell of a finish, in order.
async fn finished(proxy: &Proxy, count: usize) -> Vec<String> {
    proxy.log.nth_line(" finished status=", count).await;
    let lines = proxy.log.lines();
    let lines = lines.iter().filter_map(|line| line.split_once(" finished status="));
    lines.map(|(before, _)| before.rsplit([' ', '"', '=']).next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn hooks_run_in_order_and_finish_runs_in_reverse() {
    let app = backend().await;
    let proxy = chain(&app.url()).await;
    let answer = get(proxy.address(), "/x").await;
    let told: Vec<_> = answer.headers.get_all("x-hooks").iter().collect();
    assert_eq!(told, ["a", "b", "c"]);
    assert_eq!(answer.json()["headers"]["x-hooks"], "a, b, c");
    assert_eq!(finished(&proxy, 3).await, ["c", "b", "a"]);
    let line = proxy.log.line("c finished status=").await;
    for word in ["status=200", "attempts=1", "end=End::Complete", "times_in_order=true", "path=/x", "seen_status=200"] {
        assert!(line.contains(word), "{word}: {line}");
    }
    assert!(line.contains(&format!("response_bytes={}", answer.body.len())), "{line}");
    assert!(line.contains(&format!("backend={}", app.url())), "{line}");
    assert!(line.contains("a:on-request b:on-request c:on-request"), "{line}");
}

#[tokio::test]
async fn the_first_answer_wins_and_later_plugins_do_not_see_the_exchange() {
    let app = backend().await;
    let proxy = chain(&app.url()).await;
    let request = Request::get("/x").header("x-answer", "403").header("x-answer-by", "b").body(empty()).unwrap();
    let answer = client(proxy.address()).await.send(request).await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (403, "answered by b\n"));
    assert_eq!(finished(&proxy, 2).await, ["b", "a"]);
    assert!(proxy.log.line("a finished").await.contains("attempts=0"));
    assert_eq!(app.ledger.count(), 0);
}

#[tokio::test]
async fn finish_comes_after_the_last_byte_and_not_before() {
    let (hands, mut written) = tokio::sync::mpsc::unbounded_channel();
    let app = backend()
        .answers(move |_| {
            let (hand, body) = upload();
            hands.send(hand).unwrap();
            async move { Response::new(body) }
        })
        .await;
    let proxy = chain(&app.url()).await;
    let response = client(proxy.address()).await.open(Request::get("/").body(empty()).unwrap()).await.unwrap();
    let hand = written.recv().await.unwrap();
    assert!(hand.send("half").await);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(proxy.log.count(" finished status="), 0);
    assert!(hand.send("whole").await);
    drop(hand);
    assert_eq!(Answer::read(response).await.text(), "halfwhole");
    assert!(proxy.log.line("c finished").await.contains("response_bytes=9"));
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
    "response-status",
    "count-backends",
];

#[tokio::test]
async fn a_guest_that_misbehaves_ends_its_own_exchange_only() {
    let app = backend().says("fine").await;
    for deed in TRAPS {
        let proxy = misbehaving(deed, "limits = { cpu = \"50ms\", memory = \"4 MiB\" }").set("app", app.url()).await;
        let before = app.ledger.count();
        let began = Instant::now();
        let answer = now(&proxy).await;
        assert_eq!(answer.status, 503, "{deed}: {answer:?}");
        assert!(answer.text().contains("plugin_failed"), "{deed}: {}", answer.text());
        assert!(began.elapsed() < Duration::from_secs(2), "{deed}: {:?}", began.elapsed());
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
    let proxy = misbehaving("flood-log", "limits = { cpu = \"1s\" }").set("app", app.url()).await;
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
        let began = Instant::now();
        let said = command::lockgate(["check", file.to_str().unwrap()]).await;
        assert_eq!(said.code, 2, "{what}: {said:?}");
        let all = said.out + &said.err;
        assert!(all.contains("bad") && !all.contains("panicked at"), "{what}: {all}");
        assert!(began.elapsed() < Duration::from_secs(10), "{what}: {:?}", began.elapsed());
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

#[tokio::test]
async fn a_plugin_written_without_the_sdk_has_only_the_hook_that_it_has() {
    let app = backend().await;
    let proxy = guest("bare", "{}", "").set("app", app.url()).await;
    assert_eq!(get(proxy.address(), "/guest").await.text(), "bare\n");
    assert_eq!(app.ledger.count(), 0);
}

#[tokio::test]
async fn an_exchange_keeps_its_instance_and_isolation_makes_a_fresh_one() {
    let app = backend().says("fine").await;
    for (isolation, third) in [("use", "3"), ("exchange", "1")] {
        let proxy = guest("canary", "{}", &format!("isolation = \"{isolation}\""))
            .and("[server]\nworkers = 1")
            .set("app", app.url())
            .await;
        let mut client = client(proxy.address()).await;
        let mut told = String::new();
        for _ in 0..3 {
            told = client.get("/guest").await.header("x-canary").unwrap().to_owned();
        }
        assert_eq!(told, third, "{isolation}");
    }
}

#[tokio::test]
async fn a_plugin_chooses_the_backend() {
    let (one, two) = (backend().says("one").await, backend().says("two").await);
    let proxy = proxy(
        "[upstream.app]\nbackends = [\"$one\", \"$two\"]\nbalance = { plugin = \"tell\" }\n[plugin.tell]\npath = \"$tell\"\n\
         [[route]]\nupstream = \"app\"",
    )
    .set("tell", component("echo-hooks").display())
    .set("one", one.url())
    .set("two", two.url())
    .await;
    let mut client = client(proxy.address()).await;
    for (backend, said) in [(&one, "one"), (&two, "two"), (&two, "two"), (&one, "one"), (&one, "one")] {
        let request = Request::get("/").header("x-backend", backend.address.port().to_string()).body(empty()).unwrap();
        assert_eq!(client.send(request).await.text(), said);
    }
}

#[tokio::test]
async fn reloads_keep_the_instances_of_plugins_that_did_not_change() {
    let app = backend().says("fine").await;
    let toml = "[server]\nworkers = 1\ngrace = \"5s\"\n[upstream.app]\nbackends = [\"$app\"]\n[plugin.canary]\npath = \"$canary\"\n\
         [[route]]\nplugins = [\"canary\"]\nupstream = \"app\"";
    let proxy = proxy(toml).set("canary", component("canary").display()).set("app", app.url()).await;
    let mut client = client(proxy.address()).await;
    assert_eq!(client.get("/").await.header("x-canary"), Some("1"));
    proxy.reload(&format!("{toml}\n# changed")).await;
    assert_eq!(client.get("/").await.header("x-canary"), Some("2"));
}
