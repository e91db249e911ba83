//! What has gone wrong with plugins in other proxies, one scene for each story (their issues are named): it does not go wrong
//! here.

use http::Request;
use lockgate_tests::{Proxy, ProxyBuilder, backend, client, command, empty, get, load, proxy, websocket};
use xtask::guests::component;

/// One worker, a plugin of that guest on `/guest`, and a route `/other` that has none.
fn scene(name: &str, config: &str) -> ProxyBuilder {
    proxy(&format!(
        "[server]\nworkers = 1\n[upstream.app]\nbackends = [\"$app\"]\n\
         [plugin.guest]\npath = \"$guest\"\nconfig = {config}\n\
         [[route]]\npath = \"/guest\"\nplugins = [\"guest\"]\nupstream = \"app\"\n\
         [[route]]\npath = \"/other\"\nupstream = \"app\"\n"
    ))
    .set("guest", component(name).display())
}

async fn now(proxy: &Proxy) -> u16 {
    let request = Request::get("/guest").header("x-now", "1").body(empty()).unwrap();
    client(proxy.address()).await.send(request).await.status.as_u16()
}

/// Envoy 16726, 33600, 39395: one trap, and every later request fails until a restart. (http-wasm puts the failed guest back.)
#[tokio::test]
async fn one_trap_is_one_failed_request() {
    let app = backend().says("fine").await;
    let proxy = scene("misbehave", "{ do = \"trap\", if_header = \"x-now\" }").set("app", app.url()).await;
    for _ in 0..5 {
        assert_eq!(now(&proxy).await, 503);
        for _ in 0..10 {
            assert_eq!(get(proxy.address(), "/guest").await.text(), "fine");
        }
    }
    assert_eq!(proxy.metric("lockgate_hook_failures_total{plugin=\"guest\"").await, 5.0);
}

/// Envoy 14126, open since 2020: no limit on what a plugin may compute.
#[tokio::test]
async fn a_plugin_that_never_returns_is_ended_without_any_setting() {
    let app = backend().says("fine").await;
    let proxy = scene("misbehave", "{ do = \"spin\", if_header = \"x-now\" }").set("app", app.url()).await;
    assert_eq!(now(&proxy).await, 503);
    assert_eq!(get(proxy.address(), "/guest").await.text(), "fine");
    let line = proxy.log.line("plugin failed").await;
    assert!(line.contains("cpu") || line.contains("wall"), "{line}");
}

/// Higress 1714; Traefik 11119, 13235: a new runtime for each reload, and memory that only grows.
#[tokio::test]
async fn reloads_leave_no_runtime_behind() {
    let app = backend().says("fine").await;
    let proxy = scene("echo-hooks", "{ name = \"0\" }").set("app", app.url()).await;
    let toml = |number: usize| {
        format!(
            "[server]\nworkers = 1\n[upstream.app]\nbackends = [\"$app\"]\n\
             [plugin.guest]\npath = \"$guest\"\nconfig = {{ name = \"{number}\" }}\n\
             [[route]]\npath = \"/guest\"\nplugins = [\"guest\"]\nupstream = \"app\"\n"
        )
    };
    let (mut memory, mut threads) = (0, 0);
    for number in 0..60 {
        proxy.reload(&toml(number)).await;
        assert_eq!(get(proxy.address(), "/guest").await.status, 200);
        if number == 20 {
            (memory, threads) = (proxy.memory("VmRSS"), proxy.threads());
        }
    }
    let grown = proxy.memory("VmRSS").saturating_sub(memory);
    assert!(grown < 4096, "{grown} KiB more after 40 reloads");
    assert!(proxy.threads() <= threads + 2, "{} threads, before {threads}", proxy.threads());
    let plugins = proxy.admin("/status").await.json()["plugins"].clone();
    assert_eq!(plugins.as_array().unwrap().len(), 1, "{plugins}");
    assert_eq!(plugins[0]["instances"], 1, "those of earlier configurations are gone");
}

/// Higress 1714 again: what the plugin itself never gives back.
#[tokio::test]
async fn a_plugin_that_leaks_is_replaced_before_it_is_refused_memory() {
    let app = backend().says("fine").await;
    let proxy = scene("misbehave", "{ do = \"leak\" }\nlimits = { memory = \"4 MiB\" }").set("app", app.url()).await;
    let mut client = client(proxy.address()).await;
    // More than forty times what it may have, in all.
    for _ in 0..700 {
        assert_eq!(client.get("/guest").await.text(), "fine");
    }
    assert!(proxy.metric("lockgate_instances_made_total{plugin=\"guest\"}").await >= 70.0);
    assert_eq!(proxy.metric("lockgate_instances{plugin=\"guest\"}").await, 1.0, "the others are gone");
    assert_eq!(proxy.metric("lockgate_hook_failures_total").await, 0.0);
}

/// Traefik 10900: code is fetched and compiled on the way of requests: failures while it loads, and no routes at all where it
/// cannot be had.
#[tokio::test]
async fn compiling_is_no_business_of_requests() {
    let app = backend().says("fine").await;
    let proxy = scene("echo-hooks", "{}").set("app", app.url()).await;
    // The same component with something else at its end is another one, which must be compiled.
    let bytes = std::fs::read(component("echo-hooks")).unwrap();
    let mut toml = String::from("[server]\nworkers = 1\n[upstream.app]\nbackends = [\"$app\"]\n");
    for number in 0..12_u8 {
        let other = [&bytes[..], &[0, 4, 2, b'x', number, 0]].concat();
        std::fs::write(proxy.folder().join(format!("{number}.wasm")), other).unwrap();
        toml += &format!("[plugin.p{number}]\npath = \"$dir/{number}.wasm\"\n");
    }
    let chain: Vec<_> = (0..12).map(|number| format!("\"p{number}\"")).collect();
    toml += &format!("[[route]]\nplugins = [{}]\nupstream = \"app\"\n", chain.join(", "));
    let work = load(proxy.address(), "/guest", 4, false);
    proxy.reload(&toml).await;
    work.progress(20).await;
    // The store is down, so to speak: what runs goes on, and what is read again is refused as a whole.
    for number in 0..12 {
        std::fs::remove_file(proxy.folder().join(format!("{number}.wasm"))).unwrap();
    }
    proxy.signal("HUP").await;
    proxy.log.line("cannot be read").await;
    work.progress(20).await;
    let tally = work.stop().await;
    assert!(tally.bad.is_empty() && tally.unanswered == 0 && tally.refused == 0, "{tally:?}");
}

/// The same, at start-up: a plugin that is not there is told before anything is served, not by 404 to everybody.
#[tokio::test]
async fn a_plugin_that_cannot_be_had_is_told_at_the_start() {
    let builder = proxy("[plugin.gone]\npath = \"$dir/gone.wasm\"\n[[route]]\nplugins = [\"gone\"]\nrespond = {}\n");
    let file = builder.written();
    let said = command::lockgate(["run", file.to_str().unwrap()]).await;
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.err.contains("gone.wasm"), "{said:?}");
}

/// proxy-wasm-cpp-host 143: the head was on its way before the plugin had seen what it wanted to see.
#[tokio::test]
async fn a_plugin_can_still_change_the_head_of_a_response_when_it_has_seen_it() {
    let app = backend().says("fine").await;
    let proxy = scene("versions", "{}").set("app", app.url()).await;
    let answer = get(proxy.address(), "/guest").await;
    assert_eq!((answer.header("x-ended"), answer.text()), (Some("a"), "fine".to_owned()));
}

/// proxy-wasm-rust-sdk 43: callbacks that panic when one comes while another runs. Here, a plugin has hooks and no callbacks;
/// one that stands twice in a chain, and picks the backend as well, is called one after another.
#[tokio::test]
async fn a_plugin_in_three_places_of_one_exchange_is_no_trouble() {
    let app = backend().says("fine").await;
    let proxy = proxy(
        "[upstream.app]\nbackends = [\"$app\"]\nbalance = { plugin = \"guest\" }\n\
         [plugin.guest]\npath = \"$guest\"\nconfig = { name = \"a\" }\n\
         [[route]]\nplugins = [\"guest\", { name = \"guest\", config = { name = \"b\" } }]\nupstream = \"app\"\n",
    )
    .set("guest", component("echo-hooks").display())
    .set("app", app.url())
    .await;
    for _ in 0..20 {
        let answer = get(proxy.address(), "/").await;
        assert_eq!((answer.status.as_u16(), answer.text()), (200, "fine".to_owned()));
    }
    assert_eq!(proxy.metric("lockgate_hook_failures_total").await, 0.0);
}

/// coraza-http-wasm-traefik 16: WebSockets that a plugin breaks.
#[tokio::test]
async fn web_sockets_pass_through_plugins() {
    let app = websocket::parrot().await;
    let proxy = proxy(
        "[upstream.app]\nbackends = [\"$app\"]\n[plugin.guest]\npath = \"$guest\"\n\
         [plugin.profiler]\nbundled = \"profiler\"\n\
         [[route]]\nplugins = [\"guest\", \"profiler\"]\nupstream = \"app\"\n",
    )
    .set("guest", component("versions").display())
    .set("app", app.url())
    .await;
    let (mut socket, _) = websocket::open(proxy.address()).await.unwrap();
    for word in ["one", "two"] {
        assert_eq!(websocket::ask(&mut socket, word).await.unwrap(), word);
    }
}

/// Envoy 26440: one configuration for each plugin, whatever the route.
#[tokio::test]
async fn each_route_configures_a_plugin_as_it_likes() {
    let app = backend().says("fine").await;
    let routes = ["red", "blue"].map(|label| {
        format!(
            "[[route]]\npath = \"/{label}\"\nplugins = [{{ name = \"guest\", config = {{ label = \"{label}\" }} }}]\n\
             upstream = \"app\"\n"
        )
    });
    let toml = format!("[upstream.app]\nbackends = [\"$app\"]\n[plugin.guest]\npath = \"$guest\"\n{}", routes.concat());
    let proxy = proxy(&toml).set("guest", component("versions").display()).set("app", app.url()).await;
    for label in ["red", "blue", "red"] {
        assert_eq!(get(proxy.address(), &format!("/{label}")).await.header("x-label"), Some(label));
    }
}

/// wasmtime 11814: a ticker for each request, which cost two orders of throughput.
#[tokio::test]
async fn there_is_one_clock_for_all_plugins() {
    let app = backend().says("fine").await;
    let proxy = scene("echo-hooks", "{}").set("app", app.url()).await;
    let work = load(proxy.address(), "/guest", 16, false);
    work.progress(100).await;
    assert_eq!(proxy.threads_named("plugin-clock"), 1);
    let tally = work.stop().await;
    assert!(tally.bad.is_empty(), "{tally:?}");
}

/// Envoy 39384: no way to see what a plugin costs.
#[tokio::test]
async fn what_a_plugin_costs_can_be_seen() {
    let app = backend().says("fine").await;
    let proxy = scene("echo-hooks", "{}").set("app", app.url()).await;
    for _ in 0..40 {
        assert_eq!(get(proxy.address(), "/guest").await.status, 200);
    }
    assert!(proxy.metric("lockgate_hook_cpu_seconds_total{plugin=\"guest\"}").await > 0.0);
    assert_eq!(proxy.metric("lockgate_hook_calls_total{plugin=\"guest\",hook=\"on-request\"}").await, 40.0);
    let plugin = proxy.admin("/status").await.json()["plugins"][0].clone();
    assert!(plugin["cpu_seconds"].as_f64().unwrap() > 0.0, "{plugin}");
}
