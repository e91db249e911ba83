//! The story of the article that Lockgate takes the place of: two servers behind one door, a JSON body, a server that
//! dies, a profiler, and HTTPS for everybody.

use http::Request;
use lockgate_tests::{Backend, Certificates, Proxy, Step, backend, client, curl, empty, get, proxy, script};

const STORY: &str = r#"
    [[listener]]
    address = "127.0.0.1:0"

    [[listener]]
    address = "127.0.0.1:0"
    [[listener.certificate]]
    certificate = "$certificate"
    key = "$key"

    [upstream.app]
    backends = ["$one", "$two"]
    balance = { plugin = "rr" }

    [upstream.dying]
    backends = ["$dying"]

    [plugin.rr]
    bundled = "round-robin"

    [plugin.profiler]
    bundled = "profiler"

    [plugin.https]
    bundled = "https-enforcer"
    config = { hosts = ["localhost"] }

    [[route]]
    plugins = ["profiler"]
    upstream = "app"

    [[route]]
    path = "/dying"
    plugins = ["profiler"]
    upstream = "dying"

    [[route]]
    path = "/secure"
    plugins = ["profiler", "https"]
    upstream = "app"
"#;

struct Story {
    proxy: Proxy,
    one: Backend,
    two: Backend,
    certificates: Certificates,
    _dying: lockgate_tests::script::Script,
}

async fn story() -> Story {
    let certificates = Certificates::new();
    let issued = certificates.issue("localhost");
    let one = backend().says("Hello from server 1!").await;
    let two = backend().says("Hello from server 2!").await;
    let dying = script([Step::ReadHead, Step::Read(4), Step::Reset]).await;
    let proxy = proxy(STORY)
        .set("certificate", issued.certificate.display())
        .set("key", issued.key.display())
        .set("one", one.url())
        .set("two", two.url())
        .set("dying", dying.url())
        .await;
    Story { proxy, one, two, certificates, _dying: dying }
}

#[tokio::test]
async fn requests_go_to_one_server_and_the_other_in_turn() {
    let story = story().await;
    let mut said = Vec::new();
    for _ in 0..6 {
        said.push(get(story.proxy.address(), "/test3").await.text());
    }
    let (one, two) = ("Hello from server 1!", "Hello from server 2!");
    assert!(said == [one, two, one, two, one, two] || said == [two, one, two, one, two, one], "{said:?}");
    assert_eq!((story.one.ledger.count(), story.two.ledger.count()), (3, 3));
    assert_eq!(story.one.ledger.last().target, "/test3");
}

#[tokio::test]
async fn a_post_brings_its_json_there_and_back() {
    let app = backend().await;
    let proxy = lockgate_tests::proxy_to(app.url()).await;
    let body = r#"{"name":"Lockgate","lives":9}"#;
    let request = Request::post("/things").header("content-type", "application/json");
    let answer = client(proxy.address()).await.send(request.body(lockgate_tests::full(body)).unwrap()).await.json();
    assert_eq!((answer["body"].as_str(), answer["method"].as_str()), (Some(body), Some("POST")));
    assert_eq!(answer["headers"]["content-type"], "application/json");
    assert_eq!(answer["headers"]["content-length"], body.len().to_string());

    let said = curl(["-d", body, "-H", "content-type: application/json", &proxy.url("/things")]).await;
    assert!(said.out.contains("lives"), "{said:?}");
}

#[tokio::test]
async fn a_server_that_dies_in_the_middle_of_a_request_is_one_502_and_lockgate_lives() {
    let mut story = story().await;
    for _ in 0..3 {
        let answer = client(story.proxy.address()).await.post("/dying", "body").await;
        assert_eq!(answer.status, 502);
        assert!(answer.text().contains("upstream_closed"), "{}", answer.text());
    }
    assert!(story.proxy.is_alive());
    assert_eq!(get(story.proxy.address(), "/").await.status, 200);
    story.proxy.stop().await;
}

#[tokio::test]
async fn the_profiler_writes_a_line_when_the_last_byte_is_handed_over() {
    let story = story().await;
    get(story.proxy.address(), "/test3").await;
    let line = story.proxy.log.line("Completed GET /test3 200 ").await;
    let (_, time) = line.split_once(" 200 ").unwrap();
    let (number, unit) = time.split_once(' ').unwrap();
    assert!(number.parse::<f64>().is_ok_and(|number| number > 0.0) && unit.starts_with("ms"), "{line}");
    let metrics = story.proxy.admin("/metrics").await.text();
    let histogram = "lockgate_plugin_request_duration_seconds_count{";
    assert!(metrics.lines().any(|line| line.starts_with(histogram) && line.contains("2xx")), "{metrics}");
}

#[tokio::test]
async fn curl_follows_to_https_and_is_served() {
    let story = story().await;
    let said = curl([
        "--location",
        "--cacert",
        story.certificates.authority().to_str().unwrap(),
        "--connect-to",
        &format!("localhost:80:{}", story.proxy.listener(0)),
        "--connect-to",
        &format!("localhost:443:{}", story.proxy.tls_address()),
        "--write-out",
        " %{http_code} %{num_redirects} %{scheme} %{http_version}",
        "http://localhost/secure",
    ])
    .await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.starts_with("Hello from server ") && said.out.contains(" 200 1 "), "{said:?}");
    assert!(said.out.to_lowercase().contains("https 2"), "curl speaks HTTP/2: {said:?}");
}

#[tokio::test]
async fn everything_plain_is_sent_to_https() {
    let story = story().await;
    let mut plain = client(story.proxy.address()).await;
    let answer = plain.get("/secure/page?a=b").await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (301, Some("https://localhost/secure/page?a=b")));
    let head = Request::head("/secure").body(empty()).unwrap();
    assert_eq!(plain.send(head).await.status, 301);
    story.proxy.log.line("Completed HEAD /secure 301").await;
    let answer = client(story.proxy.address()).await.post("/secure", "password").await;
    assert_eq!(answer.status, 403, "what was sent in the clear is lost already");
    let request = Request::get("/secure").header("host", "evil.example").body(empty()).unwrap();
    let answer = client(story.proxy.address()).await.send(request).await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (421, None), "no open redirect");
    assert_eq!(story.one.ledger.count() + story.two.ledger.count(), 0);
}
