//! Plugins that behave: hooks in their order, finish exactly once, instances that are kept and shared as promised.

use std::time::Duration;

use http::{Request, Response};
use lockgate_tests::{
    Answer, Proxy, ProxyBuilder, Step, backend, client, empty, eventually, get, proxy, raw, script, upload, within,
};
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
async fn finish_runs_exactly_once_however_an_exchange_ends() {
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf";
    let app = script([Step::ReadHead, Step::say(cut), Step::Pause(Duration::from_millis(50)), Step::Close]).await;
    let proxy = chain(&app.url()).await;
    assert!(get(proxy.address(), "/cut").await.broken.is_some());
    assert!(proxy.log.line("c finished").await.contains("end=End::UpstreamTruncated"));

    let (hand, body) = upload();
    let mut bodies = Some((hand, body));
    let (hand, body) = bodies.take().unwrap();
    let body = std::sync::Mutex::new(Some(body));
    let slow = backend()
        .answers(move |_| {
            let body = body.lock().unwrap().take().unwrap();
            async move { Response::new(body) }
        })
        .await;
    let proxy = chain(&slow.url()).await;
    let mut leaving = raw(proxy.address()).await;
    leaving.send("GET /gone HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(leaving.head().await.starts_with("HTTP/1.1 200"));
    leaving.reset();
    let line = proxy.log.line("c finished").await;
    assert!(line.contains("end=End::ClientGone") && line.contains("status=200"), "{line}");
    drop(hand);

    let silent = script([Step::ReadHead, Step::ReadToEnd]).await;
    let proxy = chain(&silent.url()).await;
    let mut leaving = raw(proxy.address()).await;
    leaving.send("GET /gone HTTP/1.1\r\nHost: a\r\n\r\n").await;
    eventually("the backend is asked", || silent.received().contains("/gone")).await;
    leaving.reset();
    let line = proxy.log.line("c finished").await;
    assert!(line.contains("end=End::ClientGone") && line.contains("finished status=0"), "{line}");
    // The same use counts: each exchange once.
    assert_eq!(get_then_count(&proxy).await, 1);
}

/// How many finishes plugin `a` has counted.
async fn get_then_count(proxy: &Proxy) -> usize {
    proxy.log.line("a finished status=").await;
    proxy.log.count("a finished status=")
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
    let hand = within("the request", written.recv()).await.unwrap();
    assert!(hand.send("half").await);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(proxy.log.count(" finished status="), 0);
    assert!(hand.send("whole").await);
    drop(hand);
    assert_eq!(Answer::read(response).await.text(), "halfwhole");
    assert!(proxy.log.line("c finished").await.contains("response_bytes=9"));
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
