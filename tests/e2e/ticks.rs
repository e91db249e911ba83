//! Plugins that work in the background: at their interval, one tick at a time, within their limits, and in nobody's way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Response;
use lockgate_tests::{ProxyBuilder, backend, client, command, eventually, full, get, proxy};
use tokio::sync::Semaphore;
use xtask::guests::component;

/// A configuration with one use of the guest that ticks, on a route that answers by itself.
fn toml(config: &str, tick: &str) -> String {
    format!(
        "[server]\nworkers = 1\ngrace = \"20s\"\n\
         [plugin.guest]\npath = \"$guest\"\nconfig = {config}\ntick = {tick}\n\
         grants = {{ http = [\"$app\"] }}\nlimits = {{ http_timeout = \"1m\" }}\n\
         [[route]]\nplugins = [\"guest\"]\nrespond = {{ body = \"fine\" }}\n"
    )
}

fn ticking(config: &str, tick: &str) -> ProxyBuilder {
    proxy(&toml(config, tick)).set("guest", component("ticks").display()).set("app", "http://127.0.0.1:9")
}

const FAILURES: &str = "lockgate_hook_failures_total{plugin=\"guest\",hook=\"on-tick\"";

#[tokio::test]
async fn ticks_come_by_themselves_and_from_one_instance() {
    let proxy = ticking("{ name = \"a\" }", "\"100ms\"").await;
    for number in 1..=5 {
        proxy.log.line(&format!("a tick {number} {number}")).await;
    }
    assert!(proxy.metric("lockgate_hook_calls_total{plugin=\"guest\",hook=\"on-tick\"}").await >= 5.0);
    assert_eq!(proxy.metric("lockgate_instances_made_total{plugin=\"guest\"}").await, 1.0, "one for the whole process");
    // What a tick counted, an exchange sees.
    let told = get(proxy.address(), "/").await.header("x-ticks").unwrap().parse::<u64>().unwrap();
    assert!(told >= 5, "{told}");
    assert_eq!(proxy.threads_named("plugin-ticks"), 1);
}

#[tokio::test]
async fn where_no_plugin_ticks_there_is_no_thread_for_it() {
    let proxy =
        proxy("[[route]]\nrespond = { body = \"fine\" }\nplugins = [\"echo\"]\n[plugin.echo]\npath = \"$guest\"")
            .set("guest", component("echo-hooks").display())
            .await;
    assert_eq!(get(proxy.address(), "/").await.text(), "fine");
    assert_eq!(proxy.threads_named("plugin-ticks"), 0);
}

/// A backend that answers when it is let, and how many requests it had at once at most.
async fn slow(permits: &Arc<Semaphore>) -> (lockgate_tests::Backend, Arc<AtomicUsize>) {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (permits, seen) = (permits.clone(), most.clone());
    let app = backend()
        .answers(move |_| {
            let (permits, now, most) = (permits.clone(), now.clone(), seen.clone());
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                permits.acquire().await.unwrap().forget();
                now.fetch_sub(1, Ordering::SeqCst);
                Response::new(full("slow"))
            }
        })
        .await;
    (app, most)
}

fn asking(app: &str, tick: &str) -> ProxyBuilder {
    let config = format!("{{ name = \"a\", do = \"ask\", url = \"{app}\" }}");
    proxy(&toml(&config, tick)).set("guest", component("ticks").display()).set("app", app)
}

#[tokio::test]
async fn a_tick_that_waits_delays_the_next_and_no_exchange() {
    let permits = Arc::new(Semaphore::new(0));
    let (app, most) = slow(&permits).await;
    let proxy = asking(&app.url(), "{ every = \"100ms\", wall = \"1m\" }").await;
    eventually("the first tick asks", || app.ledger.count() == 1).await;
    let mut client = client(proxy.address()).await;
    let began = std::time::Instant::now();
    while began.elapsed() < Duration::from_millis(500) {
        assert_eq!(client.get("/").await.text(), "fine");
    }
    assert_eq!(
        (app.ledger.count(), proxy.log.count("a tick")),
        (1, 1),
        "five intervals have passed, with no other tick"
    );
    permits.add_permits(100);
    eventually("others follow", || app.ledger.count() >= 3).await;
    assert_eq!(most.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_tick_has_limits_of_its_own() {
    let permits = Arc::new(Semaphore::new(0));
    let (app, _) = slow(&permits).await;
    let proxy = asking(&app.url(), "{ every = \"100ms\", wall = \"200ms\" }").await;
    let line = proxy.log.line("longer than tick.wall (200ms)").await;
    assert!(line.contains("on-tick") && line.contains("wall"), "{line}");
    assert!(proxy.metric(&format!("{FAILURES},cause=\"wall\"")).await >= 1.0);

    let proxy = ticking("{ do = \"spin\" }", "{ every = \"100ms\", cpu = \"20ms\" }").await;
    let line = proxy.log.line("longer than tick.cpu (20ms)").await;
    assert!(line.contains("on-tick"), "{line}");
    assert!(proxy.metric(&format!("{FAILURES},cause=\"cpu\"")).await >= 1.0);
    assert_eq!(get(proxy.address(), "/").await.text(), "fine");
}

#[tokio::test]
async fn a_tick_is_of_no_exchange() {
    let proxy = ticking("{ do = \"ask-for-exchange\" }", "\"100ms\"").await;
    proxy.log.line("request.method is not available in on-tick").await;
}

#[tokio::test]
async fn ticks_that_keep_failing_are_set_aside_and_nothing_else_is() {
    let proxy = ticking("{ do = \"trap\" }", "\"100ms\"").and("[plugin.guest.quarantine]\nback_off = \"10m\"").await;
    let line = proxy.log.line("the plugin's ticks keep failing and are set aside").await;
    assert!(line.contains("600s"), "{line}");
    assert_eq!(proxy.metric("lockgate_ticks_quarantined{plugin=\"guest\"}").await, 1.0);
    assert_eq!(proxy.metric("lockgate_tick_quarantines_total{plugin=\"guest\"}").await, 1.0);
    assert_eq!(proxy.metric(&format!("{FAILURES},cause=\"trap\"")).await, 3.0);
    assert_eq!(proxy.metric("lockgate_quarantined{plugin=\"guest\"}").await, 0.0);
    let status = proxy.admin("/status").await.json();
    assert_eq!(status["plugins"][0]["ticks_quarantined_seconds"], 600.0, "{status}");
    assert_eq!(get(proxy.address(), "/").await.header("x-ticks"), Some("3"));
}

#[tokio::test]
async fn ticks_come_back_by_themselves() {
    let proxy = ticking("{ name = \"a\", do = \"trap-first\" }", "\"100ms\"")
        .and("[plugin.guest.quarantine]\nback_off = \"100ms\"")
        .await;
    proxy.log.line("the plugin's ticks are well again").await;
    // A failed tick's instance is not used again.
    proxy.log.line("a tick 2 6").await;
    assert_eq!(proxy.metric("lockgate_ticks_quarantined{plugin=\"guest\"}").await, 0.0);
    assert_eq!(proxy.metric("lockgate_tick_quarantines_total{plugin=\"guest\"}").await, 2.0);
}

#[tokio::test]
async fn what_takes_a_plugins_place_ticks_in_its_stead() {
    let proxy = ticking("{ name = \"old\" }", "\"100ms\"").await;
    proxy.log.line("old tick 2").await;
    proxy.reload(&toml("{ name = \"new\" }", "\"100ms\"")).await;
    proxy.log.line("new tick 1 ").await;
    let old = proxy.log.count("old tick");
    proxy.log.line("new tick 4 ").await;
    assert_eq!(proxy.log.count("old tick"), old);
    // What it counted goes over.
    proxy.log.line(&format!("new tick 1 {}", old + 1)).await;
    proxy.reload("[server]\nworkers = 1\n[[route]]\nrespond = { body = \"none\" }").await;
    // The reload has been taken up, and with it the end of the ticks, but one may have been under way.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let new = proxy.log.count("new tick");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(proxy.log.count("new tick"), new);
}

#[tokio::test]
async fn a_tick_under_way_ends_before_another_version_ticks() {
    let permits = Arc::new(Semaphore::new(0));
    let (app, most) = slow(&permits).await;
    let proxy = asking(&app.url(), "{ every = \"100ms\", wall = \"1m\" }").await;
    eventually("the old one asks", || app.ledger.count() == 1).await;
    let config = format!("{{ name = \"new\", do = \"ask\", url = \"{}/new\" }}", app.url());
    proxy.reload(&toml(&config, "{ every = \"100ms\", wall = \"1m\" }")).await;
    assert_eq!(get(proxy.address(), "/").await.text(), "fine");
    assert_eq!(app.ledger.count(), 1);
    permits.add_permits(100);
    proxy.log.line("new tick 2 ").await;
    assert_eq!((most.load(Ordering::SeqCst), proxy.log.count("a asked Ok(200)")), (1, 1));
}

#[tokio::test]
async fn there_are_no_ticks_while_the_server_drains() {
    let permits = Arc::new(Semaphore::new(0));
    let (app, _) = slow(&permits).await;
    let more = "[upstream.app]\nbackends = [\"$app\"]\n[[route]]\npath = \"/slow\"\nupstream = \"app\"";
    let builder = proxy(&toml("{ name = \"b\" }", "\"100ms\"")).and(more).set("app", app.url());
    let mut proxy = builder.set("guest", component("ticks").display()).await;
    proxy.log.line("b tick 1").await;
    let mut client = client(proxy.address()).await;
    let answer = tokio::spawn(async move { client.get("/slow").await });
    eventually("the backend is asked", || app.ledger.count() == 1).await;
    proxy.signal("TERM").await;
    proxy.log.line("draining").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let ticks = proxy.log.count("b tick");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(proxy.log.count("b tick"), ticks);
    permits.add_permits(1);
    assert_eq!(answer.await.unwrap().text(), "slow");
    assert!(proxy.ended().await.success());
}

#[tokio::test]
async fn an_interval_for_a_plugin_that_does_not_tick_is_a_mistake() {
    let proxy = proxy("[plugin.echo]\npath = \"$echo\"\ntick = \"1s\"\n[[route]]\nplugins = [\"echo\"]\nrespond = {}")
        .set("echo", component("echo-hooks").display());
    let said = command::lockgate(["check", proxy.written().to_str().unwrap()]).await;
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.err.contains("plugin \"echo\" has no hook `on-tick`"), "{}", said.err);
    let said = command::lockgate(["plugin", "inspect", component("ticks").to_str().unwrap()]).await;
    assert!(said.out.contains("on-tick"), "{said:?}");
}
