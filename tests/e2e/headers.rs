//! What of the header section reaches the other side.

use http::Request;
use lockgate_tests::{Answer, Step, backend, client, empty, proxy, proxy_to, raw, script};
use serde_json::Value;
use xtask::guests::component;

async fn through(proxy: &lockgate_tests::Proxy, fields: &[(&str, &str)]) -> Answer {
    let mut request = Request::get("/x").header("host", "shop.example.com:8080");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    client(proxy.address()).await.send(request.body(empty()).unwrap()).await
}

#[tokio::test]
async fn a_backend_learns_who_asked_and_how() {
    let app = backend().await;
    let proxy = proxy_to(app.url()).await;
    let headers = through(&proxy, &[]).await.json()["headers"].clone();
    assert_eq!(headers["x-forwarded-for"], "127.0.0.1");
    assert_eq!(headers["x-forwarded-proto"], "http");
    assert_eq!(headers["x-forwarded-host"], "shop.example.com:8080");
    assert_eq!(headers["x-forwarded-port"], proxy.address().port().to_string());
    assert_eq!(headers["host"], "shop.example.com:8080");
    assert_eq!(headers["via"], "1.1 lockgate");
    assert_eq!(headers["forwarded"], Value::Null, "only if the configuration says so");
    assert!(headers["x-request-id"].as_str().unwrap().len() >= 16, "{headers}");
}

#[tokio::test]
async fn forwarded_is_sent_if_the_configuration_says_so() {
    let app = backend().await;
    let proxy = proxy_to(app.url()).and("[server]\nforwarded = true\nvia = \"edge-1\"").await;
    let headers = through(&proxy, &[("via", "1.0 fred")]).await.json()["headers"].clone();
    let forwarded = headers["forwarded"].as_str().unwrap().to_lowercase();
    assert!(forwarded.contains("for=127.0.0.1") && forwarded.contains("proto=http"), "{forwarded}");
    assert!(forwarded.contains("host=\"shop.example.com:8080\""), "{forwarded}");
    assert_eq!(headers["via"], "1.0 fred, 1.1 edge-1");
}

const LIES: &[(&str, &str)] = &[
    ("x-forwarded-for", "6.6.6.6"),
    ("x-forwarded-host", "evil"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-port", "666"),
    ("x-forwarded-prefix", "/evil"),
    ("x-forwarded-server", "evil"),
    ("x-real-ip", "6.6.6.6"),
    ("forwarded", "for=6.6.6.6"),
];

#[tokio::test]
async fn what_a_stranger_says_about_forwarding_is_not_passed_on() {
    let app = backend().await;
    let proxy = proxy_to(app.url()).await;
    let answer = through(&proxy, LIES).await;
    let text = answer.text();
    for lie in ["6.6.6.6", "evil", "666\"", "\"https\""] {
        assert!(!text.contains(lie), "{lie} in {text}");
    }
    assert_eq!(answer.json()["headers"]["x-forwarded-for"], "127.0.0.1");
}

#[tokio::test]
async fn what_a_trusted_proxy_says_is_kept() {
    let app = backend().await;
    let proxy = proxy_to(app.url()).and("[server]\ntrusted_proxies = [\"127.0.0.0/8\"]").await;
    let said = &[("x-forwarded-for", "6.6.6.6"), ("x-forwarded-host", "said"), ("x-forwarded-proto", "https")];
    let headers = through(&proxy, said).await.json()["headers"].clone();
    assert_eq!(headers["x-forwarded-for"], "6.6.6.6, 127.0.0.1");
    assert_eq!(
        (headers["x-forwarded-host"].as_str(), headers["x-forwarded-proto"].as_str()),
        (Some("said"), Some("https"))
    );
}

#[tokio::test]
async fn fields_for_one_connection_stay_on_it() {
    let app = backend().await;
    let proxy = proxy_to(app.url()).await;
    let mut client = raw(proxy.address()).await;
    client
        .send(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: close, X-Private\r\nX-Private: 1\r\nKeep-Alive: timeout=5\r\n\
             Proxy-Connection: keep-alive\r\nProxy-Authorization: Basic x\r\nTE: gzip\r\nUpgrade: foo\r\nX-Public: 1\r\n\r\n",
        )
        .await;
    assert_eq!(client.answer().await.status, 200);
    let seen = app.ledger.last();
    for name in ["connection", "x-private", "keep-alive", "proxy-connection", "te", "upgrade"] {
        assert_eq!(seen.header(name), None, "{seen:?}");
    }
    assert_eq!(seen.header("x-public"), Some("1"));
}

#[tokio::test]
async fn a_client_cannot_have_fields_removed_that_others_rely_on() {
    let app = backend().await;
    let proxy = proxy_to(app.url()).await;
    let mut client = raw(proxy.address()).await;
    client
        .send(
            "POST / HTTP/1.1\r\nHost: a\r\nAuthorization: x\r\nCookie: y\r\nContent-Length: 5\r\n\
             Connection: close, X-Forwarded-For, X-Forwarded-Proto, Host, Authorization, Cookie, Content-Length, X-Request-Id, Via\r\n\r\nhello",
        )
        .await;
    let answer = client.answer().await;
    if answer.status == 400 {
        return;
    }
    let json: Value = serde_json::from_str(&answer.body).unwrap();
    for name in ["x-forwarded-for", "x-forwarded-proto", "host", "authorization", "cookie", "x-request-id", "via"] {
        assert_ne!(json["headers"][name], Value::Null, "{name} of {json}");
    }
    assert_eq!(json["body"], "hello");
}

#[tokio::test]
async fn a_backends_fields_for_one_connection_stay_on_it_too() {
    let response = "HTTP/1.1 200 OK\r\nconnection: x-private, keep-alive\r\nx-private: 1\r\nkeep-alive: timeout=5\r\n\
        proxy-authenticate: x\r\nupgrade: h2c\r\nx-public: 1\r\ncontent-length: 2\r\n\r\nhi";
    let app = script([Step::ReadHead, Step::say(response), Step::Again]).await;
    let proxy = proxy_to(app.url()).await;
    for http2 in [false, true] {
        let client = client(proxy.address());
        let mut client = if http2 { client.http2().await } else { client.await };
        let answer = client.get("/").await;
        for name in ["x-private", "keep-alive", "upgrade"] {
            assert_eq!(answer.header(name), None, "{:?}", answer.headers);
        }
        assert_eq!((answer.header("x-public"), answer.text().as_str()), (Some("1"), "hi"));
    }
}

#[tokio::test]
async fn a_request_id_is_made_or_kept() {
    let app = backend().await;
    let proxy = proxy_to(app.url()).await;
    let id = |answer: &Answer| answer.json()["headers"]["x-request-id"].as_str().unwrap().to_owned();
    let (one, two) = (id(&through(&proxy, &[]).await), id(&through(&proxy, &[]).await));
    assert_ne!(one, two);
    let trusted = proxy_to(app.url()).and("[server]\ntrusted_proxies = [\"127.0.0.1/32\"]").await;
    assert_eq!(id(&through(&trusted, &[("x-request-id", "0123456789abcdef-mine")]).await), "0123456789abcdef-mine");
}

#[tokio::test]
async fn the_host_that_a_backend_sees_is_the_routes_choice() {
    let app = backend().await;
    for (choice, host) in [
        ("preserve", "shop.example.com:8080".to_owned()),
        ("backend", app.address.to_string()),
        ("internal.example.com", "internal.example.com".to_owned()),
    ] {
        for protocol in ["http1", "http2"] {
            let proxy = proxy_to(app.url())
                .route(&format!("host = \"{choice}\""))
                .upstream(&format!("protocol = \"{protocol}\""))
                .await;
            let json = through(&proxy, &[]).await.json();
            let seen = if protocol == "http1" { &json["headers"]["host"] } else { &json["authority"] };
            assert_eq!(*seen, host, "{json}");
            assert_eq!(json["headers"]["x-forwarded-host"], "shop.example.com:8080");
        }
    }
}

#[tokio::test]
async fn fields_of_several_values_keep_their_order_and_number() {
    let cookies = "HTTP/1.1 200 OK\r\nset-cookie: a=1\r\nset-cookie: b=2\r\ncontent-length: 0\r\n\r\n";
    let app = script([Step::ReadHead, Step::say(cookies), Step::Again]).await;
    let proxy = proxy_to(app.url()).await;
    let answer = through(&proxy, &[("x-many", "1"), ("x-many", "2"), ("x-empty", "")]).await;
    let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
    let received = app.received().to_lowercase();
    assert!(received.contains("x-many: 1\r\nx-many: 2\r\n"), "{received}");
    assert!(received.contains("x-empty:"), "{received}");
}

#[tokio::test]
async fn an_absolute_target_decides_about_the_host() {
    let app = backend().await;
    let proxy = proxy_to(app.url()).await;
    let mut client = raw(proxy.address()).await;
    client.send("GET http://target.example.com/x?y HTTP/1.1\r\nHost: target.example.com\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 200);
    let seen = app.ledger.last();
    assert_eq!((seen.target.as_str(), seen.header("host")), ("/x?y", Some("target.example.com")));
}

/// A proxy whose one plugin does that with the fields of each request.
async fn with_plugin(app: &lockgate_tests::Backend, config: &str) -> lockgate_tests::Proxy {
    proxy(&format!(
        "[upstream.app]\nbackends = [\"$app\"]\n[plugin.fields]\npath = \"$guest\"\nconfig = {{ {config} }}\n\
         [[route]]\nplugins = [\"fields\"]\nupstream = \"app\"\n"
    ))
    .set("guest", component("fields").display())
    .set("app", app.url())
    .await
}

/// What every backend is told, once.
const TOLD: [&str; 6] =
    ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "via", "x-request-id"];

#[tokio::test]
async fn a_plugin_sees_what_the_backend_is_told_whichever_way_it_looks() {
    let app = backend().await;
    for look in ["read", "read_all"] {
        let proxy = with_plugin(&app, &format!("{look} = {TOLD:?}")).await;
        let answer = through(&proxy, &[("via", "1.0 fred"), ("x-forwarded-for", "6.6.6.6")]).await;
        let seen = app.ledger.last();
        for name in TOLD {
            let told: Vec<_> = seen.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect();
            let (prefix, told) = if look == "read" { ("saw", told[0].to_owned()) } else { ("all", told.join(" | ")) };
            assert_eq!(answer.header(&format!("{prefix}-{name}")), Some(&*told), "{seen:?}");
        }
        let via = answer.header(if look == "read" { "saw-via" } else { "all-via" });
        assert!(via.unwrap().contains("fred"), "{via:?}");
    }
    let proxy = with_plugin(&app, "list = true").await;
    let answer = through(&proxy, &[]).await;
    let names: Vec<_> = answer.header("saw-names").unwrap().split(' ').collect();
    for name in TOLD {
        assert_eq!(names.iter().filter(|known| **known == name).count(), 1, "{names:?}");
        assert!(app.ledger.last().header(name).is_some());
    }
}

#[tokio::test]
async fn a_backend_is_told_once_whatever_plugins_look_at_or_change() {
    let app = backend().await;
    let cases = [
        "",
        "read = [\"user-agent\", \"x-missing\"]",
        "read = [\"X-Forwarded-Proto\"]",
        "list = true",
        "set = [\"x-tag\", \"a\"]",
        "append = [\"x-tag\", \"a\"]",
        "remove = \"user-agent\"",
        "read = [\"via\"], set = [\"x-tag\", \"a\"]",
    ];
    for config in cases {
        let proxy = with_plugin(&app, config).await;
        assert_eq!(through(&proxy, &[]).await.status, 200);
        let seen = app.ledger.last();
        for name in TOLD {
            assert!(seen.header(name).is_some_and(|value| !value.is_empty()), "{name} with {config}: {seen:?}");
        }
        assert_eq!(seen.header("x-forwarded-host"), Some("shop.example.com:8080"), "{config}");
        assert_eq!(seen.header("x-tag").is_some(), config.contains("x-tag"), "{config}");
    }
}

#[tokio::test]
async fn what_a_plugin_makes_of_what_the_backend_is_told_is_what_it_is_told() {
    let app = backend().await;
    let proxy = with_plugin(&app, "set = [\"X-Forwarded-Proto\", \"https\"]").await;
    through(&proxy, &[]).await;
    assert_eq!(app.ledger.last().header("x-forwarded-proto"), Some("https"));
    let proxy = with_plugin(&app, "append = [\"via\", \"1.1 plugin\"]").await;
    through(&proxy, &[]).await;
    let seen = app.ledger.last();
    assert_eq!(seen.headers.get_all("via").iter().collect::<Vec<_>>(), ["1.1 lockgate", "1.1 plugin"]);
    let proxy = with_plugin(&app, "remove = \"x-forwarded-for\"").await;
    through(&proxy, &[]).await;
    let seen = app.ledger.last();
    assert_eq!((seen.header("x-forwarded-for"), seen.header("x-forwarded-proto")), (None, Some("http")));
}
