//! A new version of a plugin takes the place of the old one while exchanges run.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{Method, Request};
use lockgate_tests::{Answer, Proxy, ProxyBuilder, backend, client, empty, get, proxy};
use tokio::task::JoinSet;
use xtask::guests::component;

/// The guest that says its version, as that version.
fn version(letter: u8) -> Vec<u8> {
    let mut bytes = std::fs::read(component("versions")).unwrap();
    let words = b"this is version ";
    let places: Vec<_> = (0..bytes.len() - words.len()).filter(|at| bytes[*at..].starts_with(words)).collect();
    let [place] = places[..] else { panic!("the version stands at {places:?}") };
    bytes[place + words.len()] = letter;
    bytes
}

/// Puts a file in its place at once, as careful programs do.
fn install(folder: &Path, bytes: &[u8]) {
    std::fs::write(folder.join("next.wasm"), bytes).unwrap();
    std::fs::rename(folder.join("next.wasm"), folder.join("plugin.wasm")).unwrap();
}

/// A proxy with that plugin, as version `a`.
fn scene(more: &str) -> ProxyBuilder {
    let builder = proxy(&format!(
        "[upstream.app]\nbackends = [\"$app\"]\n[plugin.guest]\npath = \"$dir/plugin.wasm\"\n{more}\n\
         [[route]]\nplugins = [\"guest\"]\nupstream = \"app\"\n"
    ));
    install(builder.folder(), &version(b'a'));
    builder
}

async fn ask_for_reload(proxy: &Proxy, plugin: &str) -> Answer {
    let request = Request::builder().method(Method::POST).uri(format!("/plugins/{plugin}/reload"));
    client(proxy.admin_address()).await.send(request.body(empty()).unwrap()).await
}

async fn served(proxy: &Proxy) -> String {
    let answer = get(proxy.address(), "/").await;
    answer.header("x-begun").unwrap_or_default().to_owned()
}

async fn plugin_status(proxy: &Proxy) -> serde_json::Value {
    proxy.admin("/status").await.json()["plugins"][0].clone()
}

/// Waits until the plugin's status is so.
async fn until(proxy: &Proxy, what: &str, is_so: impl Fn(&serde_json::Value) -> bool) {
    let so = async {
        while !is_so(&plugin_status(proxy).await) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    lockgate_tests::within(what, so).await;
}

/// Clients that ask all the time, and say what was not as it should be: every exchange must end well, and on the version that
/// it began with.
struct Watchers {
    clients: JoinSet<(u64, BTreeSet<String>)>,
    over: Arc<AtomicBool>,
}

impl Watchers {
    fn of(proxy: &Proxy) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for _ in 0..4 {
            let (address, over) = (proxy.address(), Arc::clone(&over));
            clients.spawn(async move {
                let mut client = client(address).await;
                let (mut count, mut versions) = (0, BTreeSet::new());
                while !over.load(Ordering::SeqCst) {
                    let answer = client.get("/").await;
                    assert_eq!(answer.status, 200, "{answer:?}");
                    let (begun, ended) = (answer.header("x-begun"), answer.header("x-ended"));
                    assert_eq!(begun, ended, "one exchange, two versions");
                    versions.insert(begun.unwrap().to_owned());
                    count += 1;
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                (count, versions)
            });
        }
        Self { clients, over }
    }

    /// How many exchanges there were, and of which versions.
    async fn stop(self) -> (u64, BTreeSet<String>) {
        self.over.store(true, Ordering::SeqCst);
        let all = lockgate_tests::within("the clients' end", self.clients.join_all()).await;
        all.into_iter().fold((0, BTreeSet::new()), |(count, mut versions), (more, met)| {
            versions.extend(met);
            (count + more, versions)
        })
    }
}

#[tokio::test]
async fn a_changed_file_is_a_new_version_and_what_was_counted_stays() {
    let app = backend().says("fine").await;
    let proxy = scene("").set("app", app.url()).await;
    assert_eq!(served(&proxy).await, "a");
    install(proxy.folder(), &version(b'b'));
    until(&proxy, "the new version", |status| status["swaps"] == 1).await;
    let answer = get(proxy.address(), "/").await;
    assert_eq!(answer.header("x-begun"), Some("b"));
    assert_eq!(answer.header("x-count"), Some("2"), "the first version counted to one");
    assert_eq!(proxy.metric("lockgate_hook_calls_total{plugin=\"guest\",hook=\"on-request\"}").await, 2.0);
    assert_eq!(proxy.metric("lockgate_swaps_total{plugin=\"guest\",result=\"taken\"}").await, 1.0);
}

/// `LOCKGATE_SWAPS=10000` for the full number.
#[tokio::test]
async fn many_swaps_under_load_lose_nothing_and_leave_memory_flat() {
    let swaps: u64 = std::env::var("LOCKGATE_SWAPS").ok().and_then(|text| text.parse().ok()).unwrap_or(200);
    let app = backend().says("fine").await;
    // In so many exchanges the clients' connections would otherwise be closed in good order.
    let settings = "[log]\naccess = \"off\"\n[limits]\nexchanges_per_connection = 0\n";
    let proxy = scene("").and(settings).set("app", app.url()).await;
    let watchers = Watchers::of(&proxy);
    let versions = [version(b'a'), version(b'b')];
    let mut before = 0;
    for swap in 1..=swaps {
        install(proxy.folder(), &versions[usize::from(swap % 2 == 1)]);
        let answer = ask_for_reload(&proxy, "guest").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        // It may be that the watch was faster.
        assert_eq!(served(&proxy).await, if swap % 2 == 1 { "b" } else { "a" }, "swap {swap}");
        if swap == swaps / 4 {
            before = proxy.memory("VmRSS");
        }
        if swap % (swaps / 20).max(1) == 0 {
            eprintln!("{swap} swaps: {} KiB resident", proxy.memory("VmRSS"));
        }
    }
    let grown = proxy.memory("VmRSS").saturating_sub(before);
    let (count, met) = watchers.stop().await;
    assert!(count > 100, "{count} exchanges beside {swaps} swaps");
    assert_eq!(met, BTreeSet::from(["a".to_owned(), "b".to_owned()]));
    assert!(grown < 8192, "{grown} KiB more after {swaps} swaps than after a quarter of them");
    let status = plugin_status(&proxy).await;
    assert!(status["swaps"].as_u64().unwrap() >= swaps, "{status}");
    assert_eq!(status["swap_refused"], serde_json::Value::Null);
    assert_eq!(proxy.metric("lockgate_hook_failures_total").await, 0.0);
    proxy.stop().await;
}

/// A custom section with a schema that wants something that is not configured.
fn with_schema(mut component: Vec<u8>) -> Vec<u8> {
    let schema = br#"{"required":["rate"]}"#;
    let name = b"lockgate:config-schema";
    let length = 1 + name.len() + schema.len();
    component.extend([0, length as u8, name.len() as u8]);
    component.extend(name);
    component.extend(schema);
    component
}

#[tokio::test]
async fn a_bad_version_leaves_the_old_one_running_and_says_why() {
    let app = backend().says("fine").await;
    let proxy = scene("limits = { cpu = \"20ms\" }").set("app", app.url()).await;
    let watchers = Watchers::of(&proxy);
    let bad = [
        (b"not wasm at all".to_vec(), "is not wasm"),
        (b"\0asm\x01\0\0\0".to_vec(), "is a core wasm module"),
        (version(b'a')[..5000].to_vec(), "is not a valid component"),
        (std::fs::read(component("other-version")).unwrap(), "needs hooks 0.2.0"),
        (version(b'r'), "refuses every configuration"),
        (version(b's'), "limits.cpu"),
        (version(b't'), "unreachable"),
        (version(b'f'), "fails its own test"),
        (with_schema(version(b'b')), "`rate` is missing"),
    ];
    for (number, (bytes, words)) in bad.into_iter().enumerate() {
        install(proxy.folder(), &bytes);
        let answer = ask_for_reload(&proxy, "guest").await;
        assert_eq!(answer.status, 422, "{words}: {}", answer.text());
        assert!(answer.text().contains(words), "{words}: {}", answer.text());
        proxy.log.line(words).await;
        let status = proxy.admin("/status").await.json();
        assert!(status["plugins"][0]["swap_refused"].as_str().unwrap().contains(words), "{status}");
        assert_eq!(status["last_reload"]["ok"], false);
        assert_eq!(served(&proxy).await, "a", "{words}");
        let refused = proxy.metric("lockgate_swaps_total{plugin=\"guest\",result=\"refused\"}").await;
        assert!(refused > number as f64, "{words}: {refused}");
    }
    install(proxy.folder(), &version(b'c'));
    assert_eq!(ask_for_reload(&proxy, "guest").await.status, 200);
    assert_eq!(plugin_status(&proxy).await["swap_refused"], serde_json::Value::Null);
    let (count, met) = watchers.stop().await;
    assert!(count > 0 && met.iter().all(|version| ["a", "c"].contains(&version.as_str())), "{met:?}");
}

async fn remembered(proxy: &Proxy) -> u64 {
    get(proxy.address(), "/").await.header("x-remembered").unwrap().parse().unwrap()
}

#[tokio::test]
async fn what_a_plugin_remembers_goes_over_to_its_successor() {
    let app = backend().says("fine").await;
    // On the worker's own stack, and on one of its own.
    for cpu in ["1ms", "50ms"] {
        let limits = format!("limits = {{ cpu = \"{cpu}\" }}\n[server]\nworkers = 1\n");
        let proxy = scene(&limits).set("app", app.url()).await;
        for number in 1..=3 {
            assert_eq!(remembered(&proxy).await, number);
        }
        for (letter, number) in [(b'b', 4), (b'c', 5)] {
            install(proxy.folder(), &version(letter));
            assert_eq!(ask_for_reload(&proxy, "guest").await.status, 200);
            assert_eq!(remembered(&proxy).await, number, "{cpu}");
        }
        let metric = "lockgate_hook_calls_total{plugin=\"guest\",hook=\"import-state\"}";
        assert!(proxy.metric(metric).await >= 2.0);
        assert_eq!(proxy.metric("lockgate_hook_failures_total").await, 0.0);
    }
}

#[tokio::test]
async fn state_that_cannot_be_carried_over_holds_up_nobody() {
    let app = backend().says("fine").await;
    // Those that do not want to know, and those that cannot tell: traps, too much, never.
    for (from, to, hook) in [
        (b'a', b'i', "import-state"),
        (b'a', b'j', "import-state"),
        (b'k', b'b', "export-state"),
        (b'l', b'b', "export-state"),
        (b'm', b'b', "export-state"),
    ] {
        for cpu in ["1ms", "50ms"] {
            let builder = scene(&format!("limits = {{ cpu = \"{cpu}\" }}\n[server]\nworkers = 1\n"));
            install(builder.folder(), &version(from));
            let proxy = builder.set("app", app.url()).await;
            assert_eq!(remembered(&proxy).await, 1);
            install(proxy.folder(), &version(to));
            assert_eq!(ask_for_reload(&proxy, "guest").await.status, 200);
            let answer = get(proxy.address(), "/").await;
            let (begun, remembered) = (answer.header("x-begun"), answer.header("x-remembered"));
            let case = format!("{} to {}, {cpu}", char::from(from), char::from(to));
            assert_eq!((begun.map(str::as_bytes), remembered), (Some(&[to][..]), Some("1")), "{case}");
            let line = proxy.log.line("state is lost").await;
            assert!(line.contains(hook), "{case}: {line}");
            assert_eq!(get(proxy.address(), "/").await.header("x-remembered"), Some("2"), "{case}");
        }
    }
}

#[tokio::test]
async fn a_reload_of_one_plugin_takes_up_nothing_else() {
    let app = backend().says("fine").await;
    let proxy = scene("[plugin.other]\npath = \"$dir/other.wasm\"\n");
    std::fs::write(proxy.folder().join("other.wasm"), version(b'a')).unwrap();
    let proxy = proxy.and("[[route]]\npath = \"/other\"\nplugins = [\"other\"]\nupstream = \"app\"\n");
    let proxy = proxy.set("app", app.url()).await;
    proxy.rewrite("this is not TOML");
    std::fs::write(proxy.folder().join("other.wasm"), "broken").unwrap();
    install(proxy.folder(), &version(b'b'));
    assert_eq!(ask_for_reload(&proxy, "guest").await.status, 200);
    assert_eq!(served(&proxy).await, "b");
    assert_eq!(get(proxy.address(), "/other").await.header("x-begun"), Some("a"));
    assert_eq!(ask_for_reload(&proxy, "nobody").await.status, 404);
}

#[tokio::test]
async fn only_those_who_may_have_plugins_reloaded() {
    let app = backend().says("fine").await;
    let builder = scene("");
    std::fs::write(builder.folder().join("token"), "a token that is long enough\n").unwrap();
    let builder = builder.and("[admin]\naddress = \"127.0.0.1:0\"\ntoken_file = \"$dir/token\"\n");
    let proxy = builder.set("app", app.url()).await;
    for (authorization, status) in
        [(None, 401), (Some("Bearer wrong"), 401), (Some("Bearer a token that is long enough"), 200)]
    {
        let mut request = Request::builder().method(Method::POST).uri("/plugins/guest/reload");
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        let answer = client(proxy.admin_address()).await.send(request.body(empty()).unwrap()).await;
        assert_eq!(answer.status, status, "{authorization:?}: {}", answer.text());
    }
}

#[tokio::test]
async fn uses_of_one_plugin_share_nothing_but_its_code() {
    let app = backend().says("fine").await;
    let proxy = scene("")
        .and(
            "[[route]]\npath = \"/configured\"\nplugins = [{ name = \"guest\", config = { label = \"x\" } }]\nupstream = \"app\"\n\
             [[route]]\npath = \"/limited\"\nplugins = [{ name = \"guest\", limits = { host_calls = 1 }, on_failure = \"skip\" }]\n\
             upstream = \"app\"\n",
        )
        .set("app", app.url())
        .await;
    for count in ["1", "2"] {
        let plain = get(proxy.address(), "/").await;
        assert_eq!([plain.header("x-label"), plain.header("x-count")], [Some(""), Some(count)]);
        let configured = get(proxy.address(), "/configured").await;
        assert_eq!([configured.header("x-label"), configured.header("x-count")], [Some("x"), Some(count)]);
        let limited = get(proxy.address(), "/limited").await;
        assert_eq!((limited.status.as_u16(), limited.header("x-begun")), (200, None), "it fails, and is skipped");
    }
    let plugins = proxy.admin("/status").await.json()["plugins"].clone();
    let plugins = plugins.as_array().unwrap();
    assert_eq!(plugins.len(), 3, "{plugins:?}");
    let failing = plugins.iter().filter(|plugin| plugin["failures"].as_array().is_some_and(|list| !list.is_empty()));
    let failing: Vec<_> = failing.collect();
    assert_eq!(failing.len(), 1, "{failing:?}");
    assert_eq!(failing[0]["failures"][0]["cause"], "host_calls");
    assert!(plugins.iter().all(|plugin| plugin["digest"] == plugins[0]["digest"]));
}
