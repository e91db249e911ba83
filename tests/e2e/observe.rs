//! What an operator can see.

use http::Request;
use lockgate_tests::{backend, client, full, get, proxy, proxy_to};
use serde_json::Value;

#[tokio::test]
async fn each_exchange_is_one_line_for_people() {
    let app = backend().says("hello").await;
    let proxy = proxy_to(app.url()).route("name = \"shop\"").await;
    let request = Request::post("/cart?id=7").header("host", "shop.example.com").body(full("four")).unwrap();
    client(proxy.address()).await.send(request).await;
    let line = proxy.out.line("/cart").await;
    for word in [
        "127.0.0.1",
        "\"POST /cart?id=7 HTTP/1.1\" 200 5",
        "host=shop.example.com",
        "in=4",
        "route=shop",
        &format!("backend={}", app.url()),
        "attempts=1",
        "reason=-",
    ] {
        assert!(line.contains(word), "{word}: {line}");
    }
    assert_eq!(proxy.out.count("/cart"), 1);
}

#[tokio::test]
async fn or_one_json_object() {
    let app = backend().says("hello").await;
    let proxy = proxy_to(app.url()).and("[log]\nformat = \"json\"").await;
    let mut client = lockgate_tests::raw(proxy.address()).await;
    client.send("GET /x HTTP/1.1\r\nHost: a\r\nUser-Agent: \"x\\\r\nReferer: \u{e9}\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 200);
    get(proxy.address(), "/second").await;
    let line = proxy.out.line("/second").await;
    let json: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((json["method"].as_str(), json["status"].as_u64()), (Some("GET"), Some(200)));
    assert_eq!((json["response_bytes"].as_u64(), json["backend"].as_str()), (Some(5), Some(app.url().as_str())));
    assert_eq!(json["reason"], Value::Null);
    assert!(json["total_ms"].as_f64().unwrap() >= json["first_byte_ms"].as_f64().unwrap());
    let id = app.ledger.last().header("x-request-id").unwrap().to_owned();
    assert_eq!(json["request_id"].as_str(), Some(id.as_str()));
    for line in proxy.out.lines().iter().chain(&proxy.log.lines()) {
        assert!(serde_json::from_str::<Value>(line).is_ok(), "{line}");
    }
}

#[tokio::test]
async fn lines_go_to_a_file_which_a_reload_opens_anew() {
    let app = backend().says("hello").await;
    let log = "[log]\naccess = \"$dir/access.log\"\n";
    let builder = proxy_to(app.url()).and(log);
    let file = builder.folder().join("access.log");
    let proxy = builder.await;
    let read = |file: &std::path::Path| std::fs::read_to_string(file).unwrap_or_default();
    get(proxy.address(), "/first").await;
    lockgate_tests::eventually("the line is written", || read(&file).contains("/first")).await;
    let old = file.with_extension("old");
    std::fs::rename(&file, &old).unwrap();
    proxy.reload(&format!("{log}[upstream.app]\nbackends = [\"$app\"]\n[[route]]\nupstream = \"app\"\n")).await;
    get(proxy.address(), "/second").await;
    lockgate_tests::eventually("the line is written", || read(&file).contains("/second")).await;
    assert!(!read(&old).contains("/second") && !read(&file).contains("/first"));
    assert!(proxy.out.lines().iter().all(|line| !line.contains("/first")));
}

#[tokio::test]
async fn the_log_can_be_off() {
    let app = backend().says("hello").await;
    let proxy = proxy_to(app.url()).and("[log]\naccess = \"off\"").await;
    get(proxy.address(), "/secret").await;
    let (out, log) = (proxy.out.clone(), proxy.log.clone());
    proxy.stop().await;
    assert_eq!(out.count("/secret") + log.count("/secret"), 0);
}

#[tokio::test]
async fn start_up_says_what_listens_and_nothing_more_follows() {
    let app = backend().says("hello").await;
    let proxy = proxy_to(app.url()).await;
    // The last of them.
    proxy.log.line("1 route on 2 workers").await;
    let before = proxy.log.lines().len();
    for _ in 0..20 {
        get(proxy.address(), "/").await;
    }
    proxy.out.nth_line("\"GET / HTTP/1.1\"", 20).await;
    assert_eq!(proxy.log.lines().len(), before, "{:?}", proxy.log.lines());
    let listening = proxy.log.count("listening") + proxy.out.count("listening");
    assert!(listening >= 1 && before < 12, "{:?}", proxy.log.lines());
}

#[tokio::test]
async fn metrics_count_what_happened() {
    let app = backend().says("hello").await;
    let proxy = proxy_to(app.url()).and("[[route]]\npath = \"/nothing\"\nrespond = { status = 404 }").await;
    let mut client = client(proxy.address()).await;
    for _ in 0..3 {
        client.post("/", "four").await;
    }
    client.get("/nothing").await;
    proxy.out.line("/nothing").await;
    for (series, value) in [
        ("lockgate_exchanges_total{class=\"2xx\"}", 3.0),
        ("lockgate_exchanges_total{class=\"4xx\"}", 1.0),
        ("lockgate_request_body_bytes_total", 12.0),
        ("lockgate_response_body_bytes_total", 15.0),
        ("lockgate_connections_total", 1.0),
        ("lockgate_connections_open", 1.0),
        ("lockgate_exchanges_in_flight", 0.0),
        ("lockgate_config_generation", 1.0),
    ] {
        assert!((proxy.metric(series).await - value).abs() < 0.5, "{series}: {}", proxy.admin("/metrics").await.text());
    }
}

#[tokio::test]
async fn status_tells_of_listeners_backends_and_plugins() {
    let (one, two) = (backend().await, backend().await);
    let proxy = proxy(
        "[upstream.app]\nbackends = [\"$one\", \"$two\"]\n[plugin.profiler]\nbundled = \"profiler\"\n\
         [[route]]\nname = \"shop\"\nplugins = [\"profiler\"]\nupstream = \"app\"",
    )
    .set("one", one.url())
    .set("two", two.url())
    .await;
    get(proxy.address(), "/").await;
    proxy.log.line("Completed GET / 200").await;
    let status = proxy.admin("/status").await.json();
    assert_eq!(status["generation"], 1);
    let text = status.to_string();
    for word in
        [&proxy.address().to_string(), &one.url(), &two.url(), "\"profiler\"", "\"shop\"", "healthy", "digest", "calls"]
    {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert_eq!(proxy.admin("/healthz").await.status, 200);
    assert_eq!(proxy.admin("/readyz").await.status, 200);
    assert_eq!(proxy.admin("/elsewhere").await.status, 404);
}

#[tokio::test]
async fn probes_take_a_dead_backend_out_and_bring_it_back() {
    // At an address from which nobody connects, or its port might be another's before it returns.
    let one = backend().says("one").at(([127, 0, 0, 3], 0).into()).await;
    let two = backend().says("two").await;
    let proxy = proxy(
        "[upstream.app]\nbackends = [\"$one\", \"$two\"]\n\
         health = { path = \"/health\", interval = \"50ms\", timeout = \"20s\", fall = 2, rise = 2 }\n[[route]]\nupstream = \"app\"",
    )
    .set("one", one.url())
    .set("two", two.url())
    .await;
    lockgate_tests::eventually("probes come", || one.ledger.lines().contains(&"GET /health".to_owned())).await;
    let address = one.address;
    drop(one);
    let healthy = format!("lockgate_backend_healthy{{upstream=\"app\",backend=\"http://{address}\"}}");
    wait_for(&proxy, &healthy, 0.0).await;
    for _ in 0..4 {
        assert_eq!(get(proxy.address(), "/").await.text(), "two");
    }
    let _again = backend().says("one").at(address).await;
    wait_for(&proxy, &healthy, 1.0).await;
    let said = [get(proxy.address(), "/").await.text(), get(proxy.address(), "/").await.text()];
    assert!(said.contains(&"one".to_owned()) && said.contains(&"two".to_owned()), "{said:?}");
}

async fn wait_for(proxy: &lockgate_tests::Proxy, series: &str, value: f64) {
    let change = async {
        while (proxy.metric(series).await - value).abs() > 0.1 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    lockgate_tests::within("a change of health", change).await;
}
