//! Plugins that hear of attempts at backends that failed: what they are told, what they may decide, and what they may not.

use http::{Request, StatusCode};
use lockgate_tests::{Answer, Proxy, ProxyBuilder, Step, backend, client, command, full, get, nowhere, proxy, script};
use xtask::guests::component;

/// A proxy with one worker whose round robin begins at the first of these backends, and a plugin in the chain that does so
/// after each attempt that failed.
fn attempts(deed: &str, backends: &[&str], upstream: &str, plugin: &str) -> ProxyBuilder {
    proxy(&format!(
        "[server]\nworkers = 1\n[upstream.app]\nbackends = {backends:?}\n{upstream}\n\
         [plugin.guest]\npath = \"$guest\"\nconfig = {{ do = \"{deed}\" }}\n{plugin}\n\
         [[route]]\nplugins = [\"guest\"]\nupstream = \"app\"\n"
    ))
    .set("guest", component("attempts").display())
}

async fn calls(proxy: &Proxy) -> f64 {
    proxy.metric("lockgate_hook_calls_total{plugin=\"guest\",hook=\"on-attempt-failed\"}").await
}

async fn post(proxy: &Proxy) -> Answer {
    let request = Request::post("/").body(full("body".to_owned())).unwrap();
    client(proxy.address()).await.send(request).await
}

#[tokio::test]
async fn nothing_is_called_where_nothing_failed() {
    let app = backend().says("fine").await;
    let proxy = attempts("trap", &[&app.url()], "", "").await;
    for _ in 0..10 {
        assert_eq!(get(proxy.address(), "/").await.text(), "fine");
    }
    assert_eq!(calls(&proxy).await, 0.0);
}

#[tokio::test]
async fn a_plugin_hears_what_failed_and_leaves_it_to_the_host() {
    let (gone, app) = (nowhere().await, backend().says("fine").await);
    let proxy = attempts("look", &[&gone, &app.url()], "", "").await;
    let answer = get(proxy.address(), "/").await;
    assert_eq!((answer.text().as_str(), answer.header("x-failed")), ("fine", Some("connect_failed")));
    let line = proxy.log.line("heard number=1").await;
    let told = format!("backend={gone} same=true reason=connect_failed status=0 may_retry=true others={}", app.url());
    assert!(line.contains(&told), "{line}");
    assert_eq!(calls(&proxy).await, 1.0);
}

#[tokio::test]
async fn a_plugin_sends_the_next_attempt_where_it_likes() {
    let (gone, near, far) = (nowhere().await, backend().says("near").await, backend().says("far").await);
    let proxy = attempts("pick-last", &[&gone, &near.url(), &far.url()], "", "").await;
    assert_eq!(get(proxy.address(), "/").await.text(), "far");
    assert_eq!((near.ledger.count(), far.ledger.count()), (0, 1));
    assert!(proxy.log.line("heard number=1").await.contains(&format!("others={},{}", near.url(), far.url())));
}

#[tokio::test]
async fn a_plugin_gives_up() {
    let (gone, app) = (nowhere().await, backend().await);
    let proxy = attempts("give-up", &[&gone, &app.url()], "", "").await;
    let answer = get(proxy.address(), "/").await;
    assert_eq!((answer.status, app.ledger.count()), (StatusCode::BAD_GATEWAY, 0));
    assert!(answer.text().contains("connect_failed"), "{}", answer.text());
    assert_eq!(answer.header("x-failed"), Some("connect_failed"));
}

#[tokio::test]
async fn a_failing_plugin_ends_its_exchange_or_is_skipped() {
    for (deed, cause) in [("pick-too-high", "bad_answer"), ("trap", "trap")] {
        let (gone, app) = (nowhere().await, backend().says("fine").await);
        let proxy = attempts(deed, &[&gone, &app.url()], "", "").await;
        let answer = get(proxy.address(), "/").await;
        assert_eq!((answer.status, app.ledger.count()), (StatusCode::SERVICE_UNAVAILABLE, 0), "{deed}");
        assert!(answer.text().contains("plugin_failed"), "{}", answer.text());
        let line = proxy.log.line("plugin failed").await;
        assert!(line.contains("on-attempt-failed") && line.contains(cause), "{line}");
        let proxy = attempts(deed, &[&gone, &app.url()], "", "on_failure = \"skip\"").await;
        assert_eq!(get(proxy.address(), "/").await.text(), "fine", "{deed}");
        let failures =
            format!("lockgate_hook_failures_total{{plugin=\"guest\",hook=\"on-attempt-failed\",cause=\"{cause}\"}}");
        assert_eq!(proxy.metric(&failures).await, 1.0, "{deed}");
    }
}

#[tokio::test]
async fn no_plugin_has_a_post_sent_twice() {
    let dying = script([Step::ReadHead, Step::Read(4), Step::Reset]).await;
    let app = backend().await;
    let proxy = attempts("pick-last", &[&dying.url(), &app.url()], "", "").await;
    assert_eq!(post(&proxy).await.status, 502);
    let line = proxy.log.line("heard number=1").await;
    assert!(line.contains("reason=upstream_closed") && line.contains("may_retry=false"), "{line}");
    assert_eq!((dying.received().matches("POST").count(), app.ledger.count()), (1, 0));
}

#[tokio::test]
async fn no_plugin_has_more_attempts_than_the_upstream_allows() {
    let (gone, app) = (nowhere().await, backend().await);
    let proxy = attempts("pick-last", &[&gone, &app.url()], "retry = { attempts = 0 }", "").await;
    assert_eq!(get(proxy.address(), "/").await.status, 502);
    assert!(proxy.log.line("heard number=1").await.contains("may_retry=false"));
    assert_eq!(app.ledger.count(), 0);

    // Each exchange would like one more: 10 a second, and a fifth of the requests, are allowed.
    let busy = script([Step::ReadHead, Step::say("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n"), Step::Again]).await;
    let more = "eject = { failures = 0 }\nretry = { status = [503] }";
    let again = busy.url().replace("127.0.0.1", "localhost");
    let proxy = attempts("pick-last", &[&busy.url(), &again], more, "").await;
    let (began, requests) = (std::time::Instant::now(), 300);
    let mut client = client(proxy.address()).await;
    for _ in 0..requests {
        assert_eq!(client.get("/").await.status, 503);
    }
    let attempts = busy.received().matches("GET / ").count();
    let allowed = f64::from(requests) * 1.2 + 10.0 * (10.0 + began.elapsed().as_secs_f64());
    assert!(attempts > 300 && attempts as f64 <= allowed, "{attempts} attempts for {requests} requests");
}

#[tokio::test]
async fn what_a_plugin_gives_up_is_not_taken_from_the_budget() {
    let busy =
        script([Step::ReadHead, Step::say("HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nbusy"), Step::Again]).await;
    let more = "eject = { failures = 0 }\nretry = { status = [503] }";
    let again = busy.url().replace("127.0.0.1", "localhost");
    let proxy = attempts("give-up", &[&busy.url(), &again], more, "").await;
    let mut client = client(proxy.address()).await;
    for _ in 0..300 {
        let answer = client.get("/").await;
        assert_eq!(
            (answer.status.as_u16(), answer.text().as_str()),
            (503, "busy"),
            "the response is the best there is"
        );
    }
    assert!(proxy.log.line("heard number=1").await.contains("reason=bad_response status=503 may_retry=true"));
    assert_eq!(busy.received().matches("GET / ").count(), 300);
    assert_eq!(proxy.log.count("may_retry=false"), 0);
}

#[tokio::test]
async fn the_plugin_that_picks_backends_hears_too_and_is_not_asked_twice() {
    let (gone, app) = (nowhere().await, backend().says("fine").await);
    for (deed, picks) in [("look", 2), ("pick-last", 1)] {
        let proxy = proxy(&format!(
            "[upstream.app]\nbackends = [\"$gone\", \"$app\"]\nbalance = {{ plugin = \"guest\" }}\n\
             [plugin.guest]\npath = \"$guest\"\nconfig = {{ do = \"{deed}\", name = \"picker\" }}\n\
             [[route]]\nupstream = \"app\"\n"
        ))
        .set("guest", component("attempts").display())
        .set("gone", &gone)
        .set("app", app.url())
        .await;
        assert_eq!(get(proxy.address(), "/").await.text(), "fine", "{deed}");
        proxy.log.line("picker heard number=1").await;
        assert_eq!(proxy.log.count("picker picks the first"), picks, "{deed}");
    }
}

#[tokio::test]
async fn the_first_that_decides_is_the_last_that_is_asked() {
    let (gone, app) = (nowhere().await, backend().says("fine").await);
    let proxy = proxy(
        "[server]\nworkers = 1\n[upstream.app]\nbackends = [\"$gone\", \"$app\"]\n[plugin.guest]\npath = \"$guest\"\n\
         [[route]]\nupstream = \"app\"\nplugins = [\
         { name = \"guest\", config = { name = \"one\", do = \"look\" } },\
         { name = \"guest\", config = { name = \"two\", do = \"pick-last\" } },\
         { name = \"guest\", config = { name = \"three\", do = \"give-up\" } }]\n",
    )
    .set("guest", component("attempts").display())
    .set("gone", gone)
    .set("app", app.url())
    .await;
    assert_eq!(get(proxy.address(), "/").await.text(), "fine");
    proxy.log.line("two heard").await;
    assert_eq!([proxy.log.count("one heard"), proxy.log.count("three heard")], [1, 0]);
}

#[tokio::test]
async fn the_hook_is_shown_without_running_the_plugin() {
    let said = command::lockgate(["plugin", "inspect", component("attempts").to_str().unwrap()]).await;
    assert!(said.out.contains("on-attempt-failed"), "{said:?}");
}
