//! HTTP/2 on either side.

use http::{HeaderMap, Request, Version};
use lockgate_tests::{Answer, Certificates, backend, client, empty, full, proxy, proxy_to, upload};

const OVER_TLS: &str = r#"
    [[listener]]
    address = "127.0.0.1:0"
    [[listener.certificate]]
    certificate = "$certificate"
    key = "$key"
    [upstream.app]
    backends = ["$app"]
    [[route]]
    upstream = "app"
"#;

#[tokio::test]
async fn alpn_decides_between_http_2_and_http_1_1() {
    let certificates = Certificates::new();
    let issued = certificates.issue("localhost");
    let app = backend().await;
    let proxy = proxy(OVER_TLS)
        .set("certificate", issued.certificate.display())
        .set("key", issued.key.display())
        .set("app", app.url())
        .await;
    for (offer, agreed, version) in [
        (&["h2", "http/1.1"][..], Some("h2"), Version::HTTP_2),
        (&["http/1.1"][..], Some("http/1.1"), Version::HTTP_11),
        (&[][..], None, Version::HTTP_11),
    ] {
        let mut client = client(proxy.address()).tls(certificates.client(offer)).await;
        assert_eq!(client.alpn.as_deref(), agreed);
        let answer = client.get("/").await;
        assert_eq!((answer.status.as_u16(), answer.version), (200, version));
        assert_eq!(answer.json()["headers"]["x-forwarded-proto"], "https");
    }
}

#[tokio::test]
async fn a_listener_without_http2_offers_only_http_1_1() {
    let certificates = Certificates::new();
    let issued = certificates.issue("localhost");
    let app = backend().await;
    let proxy = proxy(&OVER_TLS.replacen("address", "http2 = false\naddress", 1))
        .set("certificate", issued.certificate.display())
        .set("key", issued.key.display())
        .set("app", app.url())
        .await;
    let client = client(proxy.address()).tls(certificates.client(&["h2", "http/1.1"])).await;
    assert_eq!(client.alpn.as_deref(), Some("http/1.1"));
}

#[tokio::test]
async fn prior_knowledge_needs_no_tls_and_streams_run_side_by_side() {
    let app = backend().await;
    let proxy = proxy_to(app.url()).await;
    let mut client = client(proxy.address()).http2().await;
    // The first stays open while the second is answered.
    let (hand, body) = upload();
    let first = tokio::spawn(client.start(Request::post("/first").body(body).unwrap()));
    assert!(hand.send("half").await);
    assert_eq!(client.get("/second").await.json()["target"], "/second");
    assert!(hand.send(" whole").await);
    drop(hand);
    let answer = Answer::read(first.await.unwrap().unwrap()).await;
    assert_eq!(answer.version, Version::HTTP_2);
    let json = answer.json();
    assert_eq!((json["version"].as_str(), json["body"].as_str()), (Some("HTTP/1.1"), Some("half whole")));
}

#[tokio::test]
async fn a_backend_is_spoken_to_in_http_2_if_the_configuration_says_so() {
    let app = backend().await;
    let proxy = proxy_to(app.url()).upstream("protocol = \"http2\"").await;
    for http2 in [false, true] {
        let client = client(proxy.address());
        let mut client = if http2 { client.http2().await } else { client.await };
        for _ in 0..3 {
            let json = client.post("/x", "hello").await.json();
            assert_eq!((json["version"].as_str(), json["body"].as_str()), (Some("HTTP/2.0"), Some("hello")));
            assert_eq!(json["authority"], "localhost");
        }
    }
}

#[tokio::test]
async fn a_backend_with_tls_is_verified_and_alpn_decides() {
    let certificates = Certificates::new();
    let speaks_h2 = backend().tls(&certificates.issue("localhost"), &["h2", "http/1.1"]).await;
    let speaks_h1 = backend().tls(&certificates.issue("localhost"), &["http/1.1"]).await;
    let stranger = backend().tls(&Certificates::new().issue("localhost"), &[]).await;
    let misnamed = backend().tls(&certificates.issue("example.com"), &[]).await;
    let mut toml = String::new();
    for name in ["h2", "h1", "stranger", "misnamed"] {
        toml.push_str(&format!(
            "[upstream.{name}]\nbackends = [\"${name}\"]\ntls = {{ ca = \"$ca\", server_name = \"localhost\" }}\n\
             [[route]]\npath = \"/{name}\"\nupstream = \"{name}\"\n"
        ));
    }
    let proxy = proxy(&toml)
        .set("ca", certificates.authority().display())
        .set("h2", speaks_h2.url())
        .set("h1", speaks_h1.url())
        .set("stranger", stranger.url())
        .set("misnamed", misnamed.url())
        .await;
    let mut client = client(proxy.address()).await;
    assert_eq!(client.get("/h2").await.json()["version"], "HTTP/2.0");
    assert_eq!(client.get("/h1").await.json()["version"], "HTTP/1.1");
    for path in ["/stranger", "/misnamed"] {
        let answer = client.get(path).await;
        assert_eq!(answer.status, 502);
        assert!(answer.text().contains("upstream_tls"), "{}", answer.text());
    }
    assert_eq!(stranger.ledger.count() + misnamed.ledger.count(), 0);
}

#[tokio::test]
async fn trailers_cross_from_http_2_to_http_2() {
    let app = backend().await;
    let proxy = proxy_to(app.url()).upstream("protocol = \"http2\"").await;
    let mut client = client(proxy.address()).http2().await;
    let (hand, body) = upload();
    let request = Request::post("/").header("te", "trailers").body(body).unwrap();
    let response = tokio::spawn(client.start(request));
    assert!(hand.send("hello").await);
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "5".parse().unwrap());
    hand.trailers(trailers).await;
    let json = Answer::read(response.await.unwrap().unwrap()).await.json();
    assert_eq!((json["body"].as_str(), json["trailers"]["x-sum"].as_str()), (Some("hello"), Some("5")));
}

#[tokio::test]
async fn cookies_in_crumbs_reach_an_http_1_backend_as_one() {
    let app = backend().await;
    let proxy = proxy_to(app.url()).await;
    let mut client = client(proxy.address()).http2().await;
    let request = Request::get("/").header("cookie", "a=1").header("cookie", "b=2").body(empty()).unwrap();
    client.send(request).await;
    // RFC 9113 §8.2.3: joined by a semicolon before they leave HTTP/2.
    assert_eq!(app.ledger.last().header("cookie"), Some("a=1; b=2"));
}

#[tokio::test]
async fn an_authority_that_the_host_field_contradicts_is_refused() {
    let app = backend().await;
    let proxy = proxy_to(app.url()).await;
    let mut client = client(proxy.address()).http2().await;
    for (uri, host) in [("http://a/", "evil"), ("http://user@a/", "a")] {
        let request = Request::get(uri).header("host", host).body(empty()).unwrap();
        assert_eq!(client.send(request).await.status, 400, "{uri} {host}");
    }
    let request = Request::get("http://a/").header("host", "a").body(empty()).unwrap();
    assert_eq!(client.send(request).await.status, 200);
    assert_eq!(app.ledger.count(), 1);
}

#[tokio::test]
async fn connect_is_refused_on_a_stream_and_the_connection_goes_on() {
    let app = backend().await;
    let proxy = proxy_to(app.url()).await;
    let mut client = client(proxy.address()).http2().await;
    let mut request = Request::connect("example.com:443").body(full("")).unwrap();
    *request.version_mut() = Version::HTTP_2;
    match client.try_send(request).await {
        Ok(answer) => assert_eq!(answer.status, 405),
        Err(error) => panic!("the stream was broken off: {error}"),
    }
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(app.ledger.lines(), ["GET /"]);
}
