//! The hook `on-response`: a response's head seen and changed, and responses put in its place.

use http::{Method, Request};
use lockgate_tests::{Answer, Proxy, ProxyBuilder, Step, backend, client, empty, get, proxy, raw, script};
use xtask::guests::component;

/// A proxy with these uses of the guest that changes responses, behind one use of the guest that tells of its hooks.
fn responses(uses: &[&str]) -> ProxyBuilder {
    let uses: String = uses.iter().map(|config| format!(", {{ name = \"res\", config = {{ {config} }} }}")).collect();
    proxy(&format!(
        "[upstream.app]\nbackends = [\"$app\"]\n[plugin.hooks]\npath = \"$hooks\"\n\
         [plugin.res]\npath = \"$res\"\nconfig = {{ do = \"tell\" }}\nlimits = {{ cpu = \"20ms\" }}\n\
         [[route]]\nplugins = [{{ name = \"hooks\", config = {{ name = \"h\" }} }}{uses}]\nupstream = \"app\"\n\
         [[route]]\npath = \"/own\"\nplugins = [\"res\"]\nrespond = {{ body = \"own\" }}\n"
    ))
    .set("hooks", component("echo-hooks").display())
    .set("res", component("responses").display())
}

async fn ask(proxy: &Proxy, fields: &[(&str, &str)]) -> Answer {
    let mut request = Request::get("/x");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    client(proxy.address()).await.send(request.body(empty()).unwrap()).await
}

fn seen(answer: &Answer) -> Vec<&str> {
    answer.headers.get_all("x-seen").iter().map(|value| value.to_str().unwrap()).collect()
}

#[tokio::test]
async fn on_response_runs_in_reverse_order_and_sees_the_edits_that_waited() {
    let app = backend().await;
    let proxy = responses(&["do = \"tell\", name = \"a\"", "do = \"tell\", name = \"b\""]).set("app", app.url()).await;
    let answer = get(proxy.address(), "/x").await;
    let both = ["b 200 Origin::Backend", "a 200 Origin::Backend"]
        .map(|who| format!("{who} fields=true hooks=1 application/json"));
    assert_eq!(seen(&answer), both);
    // What waited is there once.
    assert_eq!(answer.header("x-hooks"), Some("h"));
}

#[tokio::test]
async fn on_response_sees_whoever_answers() {
    let app = backend().await;
    let proxy = responses(&["do = \"tell\", name = \"a\""]).set("app", app.url()).await;
    assert_eq!(
        seen(&get(proxy.address(), "/own").await),
        ["200 Origin::Route fields=true hooks=0 text/plain; charset=utf-8"]
    );
    // The plugin before it answered, so the request has not come past it.
    assert!(seen(&ask(&proxy, &[("x-answer", "403")]).await).is_empty());
    app.die();
    let answer = get(proxy.address(), "/x").await;
    assert_eq!((answer.status.as_u16(), seen(&answer).len()), (502, 1), "{answer:?}");
    assert!(seen(&answer)[0].starts_with("a 502 Origin::Host"), "{answer:?}");
}

#[tokio::test]
async fn a_response_is_replaced_and_plugins_before_see_the_other_one() {
    let app = backend().await;
    let uses = ["do = \"tell\", name = \"a\"", "do = \"answer\", name = \"b\"", "do = \"tell\", name = \"c\""];
    let proxy = responses(&uses).set("app", app.url()).await;
    for _ in 0..2 {
        let answer = get(proxy.address(), "/x").await;
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (418, "answered by b\n"));
        assert_eq!(seen(&answer), ["a 418 Origin::Plugin fields=true hooks=1"]);
        assert_eq!((answer.header("x-answered-by"), answer.header("x-hooks")), (Some("b"), Some("h")));
    }
    let line = proxy.log.line("h finished status=").await;
    assert!(line.contains("status=418") && line.contains("attempts=1"), "{line}");
}

#[tokio::test]
async fn a_status_is_changed_and_the_body_goes_where_there_can_be_none() {
    let app = backend().says("body").await;
    let proxy = responses(&["do = \"status\""]).set("app", app.url()).await;
    let answer = get(proxy.address(), "/x").await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (202, "body"));

    let proxy = responses(&["do = \"no-content\""]).set("app", app.url()).await;
    let mut client = client(proxy.address()).await;
    for method in [Method::GET, Method::HEAD, Method::GET] {
        let request = Request::builder().method(method).uri("/").body(empty()).unwrap();
        let answer = client.send(request).await;
        assert_eq!((answer.status.as_u16(), answer.body.len(), answer.header("content-length")), (204, 0, None));
    }

    let app = script([Step::ReadHead, Step::say("HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n")]).await;
    let proxy = responses(&["do = \"ok\""]).set("app", app.url()).await;
    let answer = get(proxy.address(), "/x").await;
    assert_eq!((answer.status.as_u16(), answer.body.len(), answer.broken.is_none()), (200, 0, true));
}

#[tokio::test]
async fn edits_in_on_response_pass_the_gate() {
    let app = backend().says("fine").await;
    let proxy = responses(&["do = \"forbidden\""]).set("app", app.url()).await;
    let answer = get(proxy.address(), "/x").await;
    assert_eq!((answer.text().as_str(), answer.header("x-refused")), ("fine", Some("4")));
    assert_eq!(answer.header("x-split"), None);
}

#[tokio::test]
async fn a_guest_that_fails_in_on_response_ends_its_own_exchange_only() {
    let app = backend().says("fine").await;
    for deed in ["trap", "spin", "status-999", "edit-request"] {
        let failing = format!("do = \"{deed}\", if_header = \"x-now\"");
        let proxy = responses(&["do = \"tell\", name = \"a\"", &failing]).set("app", app.url()).await;
        let answer = ask(&proxy, &[("x-now", "1")]).await;
        assert_eq!(answer.status, 503, "{deed}: {answer:?}");
        assert!(answer.text().contains("plugin_failed"), "{deed}: {answer:?}");
        assert!(seen(&answer)[0].starts_with("a 503 Origin::Host"), "{deed}: {answer:?}");
        assert!(proxy.log.line("on-response").await.contains("res"), "{deed}");
        assert_eq!(get(proxy.address(), "/x").await.text(), "fine", "{deed}");
    }
}

#[tokio::test]
async fn a_guest_that_fails_in_on_response_may_be_skipped() {
    let app = backend().says("fine").await;
    let proxy = proxy(
        "[upstream.app]\nbackends = [\"$app\"]\n[plugin.res]\npath = \"$res\"\nconfig = { do = \"trap\" }\non_failure = \"skip\"\n\
         [[route]]\nplugins = [\"res\"]\nupstream = \"app\"",
    )
    .set("res", component("responses").display())
    .set("app", app.url())
    .await;
    for _ in 0..3 {
        assert_eq!(get(proxy.address(), "/").await.text(), "fine");
    }
}

#[tokio::test]
async fn a_websocket_opens_past_a_plugin_that_would_answer() {
    let agree = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                 sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    let app = script([Step::ReadHead, Step::say(agree), Step::Stall]).await;
    let proxy = responses(&["do = \"answer\""]).set("app", app.url()).await;
    let mut client = raw(proxy.address()).await;
    client
        .send(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .await;
    assert!(client.head().await.starts_with("HTTP/1.1 101"));
}
