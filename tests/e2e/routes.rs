//! Which route is taken, and what a route can do by itself.

use http::Request;
use lockgate_tests::{client, empty, proxy};

/// A proxy whose routes answer with their own names.
async fn named(routes: &[(&str, &str)]) -> lockgate_tests::Proxy {
    let mut toml = String::new();
    for (name, matching) in routes {
        toml.push_str(&format!("[[route]]\nname = \"{name}\"\n{matching}\nrespond = {{ body = \"{name}\" }}\n"));
    }
    proxy(&toml).await
}

async fn ask(
    proxy: &lockgate_tests::Proxy,
    method: &str,
    host: &str,
    target: &str,
    field: Option<(&str, &str)>,
) -> String {
    let mut request = Request::builder().method(method).uri(target).header("host", host);
    if let Some((name, value)) = field {
        request = request.header(name, value);
    }
    let answer = client(proxy.address()).await.send(request.body(empty()).unwrap()).await;
    if answer.status == 404 { "404".to_owned() } else { answer.text() }
}

#[tokio::test]
async fn the_most_specific_host_wins() {
    let proxy = named(&[
        ("default", ""),
        ("wildcard", "hosts = [\"*.example.com\"]"),
        ("deeper", "hosts = [\"*.api.example.com\"]"),
        ("exact", "hosts = [\"www.example.com\", \"example.com\"]"),
    ])
    .await;
    for (host, route) in [
        ("www.example.com", "exact"),
        ("WWW.Example.COM", "exact"),
        ("www.example.com:8080", "exact"),
        ("www.example.com.", "exact"),
        ("example.com", "exact"),
        ("other.example.com", "wildcard"),
        ("v1.api.example.com", "deeper"),
        ("api.example.com", "wildcard"),
        ("example.org", "default"),
        ("127.0.0.1", "default"),
    ] {
        assert_eq!(ask(&proxy, "GET", host, "/", None).await, route, "{host}");
    }
}

#[tokio::test]
async fn the_most_specific_path_wins() {
    let proxy = named(&[
        ("all", ""),
        ("api", "path = \"/api\""),
        ("v1", "path = \"/api/v1\""),
        ("exact", "path = { exact = \"/api/v1/health\" }"),
        ("user", "path = { pattern = \"/users/{id}\" }"),
        ("files", "path = { pattern = \"/files/{*rest}\" }"),
    ])
    .await;
    for (path, route) in [
        ("/", "all"),
        ("/apis", "all"),
        ("/API", "all"),
        ("/api", "api"),
        ("/api/", "api"),
        ("/api?x=/api/v1", "api"),
        ("/api/v2", "api"),
        ("/api/v1/x", "v1"),
        ("/api/v1/health", "exact"),
        ("/api/v1/health/more", "v1"),
        ("/users/7", "user"),
        ("/users", "all"),
        ("/users/7/more", "all"),
        ("/files/a/b/c", "files"),
    ] {
        assert_eq!(ask(&proxy, "GET", "a", path, None).await, route, "{path}");
    }
}

#[tokio::test]
async fn methods_and_fields_choose_among_routes_of_one_path() {
    let proxy = named(&[
        ("read", "path = \"/x\""),
        ("write", "path = \"/x\"\nmethods = [\"POST\", \"PUT\"]"),
        ("beta", "path = \"/x\"\nheaders = { x-version = \"beta\" }"),
        ("any", "path = \"/y\"\nheaders = { x-version = \"*\" }"),
    ])
    .await;
    assert_eq!(ask(&proxy, "GET", "a", "/x", None).await, "read");
    assert_eq!(ask(&proxy, "PUT", "a", "/x", None).await, "write");
    assert_eq!(ask(&proxy, "GET", "a", "/x", Some(("x-version", "beta"))).await, "beta");
    assert_eq!(ask(&proxy, "GET", "a", "/x", Some(("x-version", "alpha"))).await, "read");
    assert_eq!(ask(&proxy, "GET", "a", "/y", Some(("x-version", "alpha"))).await, "any");
    assert_eq!(ask(&proxy, "GET", "a", "/y", None).await, "404");
}

#[tokio::test]
async fn a_request_that_no_route_wants_is_not_found() {
    let proxy = named(&[("shop", "hosts = [\"shop.example.com\"]\npath = \"/cart\"")]).await;
    assert_eq!(ask(&proxy, "GET", "shop.example.com", "/cart", None).await, "shop");
    assert_eq!(ask(&proxy, "GET", "shop.example.com", "/", None).await, "404");
    assert_eq!(ask(&proxy, "GET", "example.com", "/cart", None).await, "404");
}

#[tokio::test]
async fn a_route_answers_by_itself() {
    let proxy = proxy(
        "[[route]]\npath = \"/teapot\"\nrespond = { status = 418, body = \"{}\", content_type = \"application/json\" }\n\
         [[route]]\npath = \"/old\"\nrespond = { location = \"https://{host}/new{path}{query}\" }\n\
         [[route]]\npath = \"/found\"\nrespond = { status = 302, location = \"/elsewhere\" }\n",
    )
    .await;
    let mut client = client(proxy.address()).name("example.com").await;
    let answer = client.get("/teapot").await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (418, Some("application/json")));
    assert_eq!(answer.text(), "{}");
    let answer = client.get("/old/x?a=b").await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (308, Some("https://example.com/new/old/x?a=b")));
    let answer = client.get("/found").await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (302, Some("/elsewhere")));
}

#[tokio::test]
async fn an_answer_of_the_routes_own_reads_the_body_before_the_next_request() {
    let proxy = named(&[("all", "")]).await;
    let mut client = lockgate_tests::raw(proxy.address()).await;
    // CL.0: the body of the first must never be taken for a request.
    let body = "GET /y HTTP/1.1\r\nHost: a\r\n\r\n";
    client.send(format!("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len())).await;
    let first = client.answer().await;
    assert_eq!(first.status, 200);
    if first.header("connection") == Some("close") {
        client.closed().await;
    } else {
        client.send("GET /z HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        assert_eq!(client.answer().await.status, 200);
        client.closed().await;
    }
}

#[tokio::test]
async fn ten_thousand_routes_start_and_are_found() {
    let mut toml = String::new();
    for number in 0..10_000 {
        toml.push_str(&format!("[[route]]\npath = \"/tenant-{number}\"\nrespond = {{ body = \"{number}\" }}\n"));
    }
    let proxy = proxy(&toml).await;
    let mut client = client(proxy.address()).await;
    for number in [0, 5_000, 9_999] {
        assert_eq!(client.get(&format!("/tenant-{number}/x")).await.text(), number.to_string());
    }
    assert_eq!(client.get("/tenant-10000").await.status, 404);
}
