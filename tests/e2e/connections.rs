//! Plugins that look at connections: who gets in, what they know, and what it costs where there are none.

use lockgate_tests::{Certificates, Proxy, ProxyBuilder, client, command, get, proxy, raw};
use xtask::guests::component;

/// A listener with the plugin that looks at connections.
fn guarded(config: &str, plugin: &str) -> ProxyBuilder {
    proxy(&format!(
        "[server]\nworkers = 1\n[[listener]]\naddress = \"127.0.0.1:0\"\nplugins = [\"guard\"]\n\
         [plugin.guard]\npath = \"$guest\"\nconfig = {config}\n{plugin}\n[[route]]\nrespond = {{ body = \"hello\" }}\n"
    ))
    .set("guest", component("connections").display())
}

/// The same with TLS for `one.test`, where clients may show a certificate. The plugin refuses nobody by address.
pub(crate) fn guarded_with_certificates(server: &Certificates, clients: &Certificates, plugin: &str) -> ProxyBuilder {
    let issued = server.issue("one.test");
    proxy(&format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\nplugins = [\"guard\"]\n\
         client_auth = {{ ca = \"$ca\", mode = \"optional\" }}\n\
         [[listener.certificate]]\ncertificate = \"$crt\"\nkey = \"$key\"\n\
         [plugin.guard]\npath = \"$guest\"\nconfig = {{ refuse = \"nobody\" }}\n{plugin}\n\
         [[route]]\nrespond = {{ body = \"hello\" }}\n"
    ))
    .set("guest", component("connections").display())
    .set("ca", clients.authority().display())
    .set("crt", issued.certificate.display())
    .set("key", issued.key.display())
}

async fn refused(proxy: &Proxy, why: &str) -> f64 {
    proxy.metric(&format!("lockgate_connections_refused_total{{why=\"{why}\"}}")).await
}

async fn is_closed_unanswered(proxy: &Proxy) {
    let mut client = raw(proxy.address()).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn a_plugin_sees_each_connection_once_and_lets_it_be() {
    let proxy = guarded("{}", "").await;
    let mut client = raw(proxy.address()).await;
    for _ in 0..3 {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(client.answer().await.status, 200);
    }
    let line = proxy.log.line("arriving").await;
    let told = format!(
        "127.0.0.1:{} at {} tls=false name=- alpn=- http2=false shown=nobody",
        client.stream.local_addr().unwrap().port(),
        proxy.address()
    );
    assert!(line.contains(&told), "{told}: {line}");
    assert_eq!(proxy.log.count("arriving"), 1);
    assert_eq!(proxy.metric("lockgate_hook_calls_total{plugin=\"guard\",hook=\"on-connect\"}").await, 1.0);
}

#[tokio::test]
async fn a_connection_that_is_refused_is_closed_and_counted_and_logged() {
    let proxy = guarded("{ refuse = \"127.0.0.1\" }", "").await;
    is_closed_unanswered(&proxy).await;
    is_closed_unanswered(&proxy).await;
    assert_eq!(refused(&proxy, "plugin").await, 2.0);
    let line = proxy.log.line("the plugin refused a connection").await;
    assert!(line.contains("guard") && line.contains("127.0.0.1"), "{line}");
}

#[tokio::test]
async fn a_failing_plugin_refuses_unless_it_is_to_be_skipped() {
    for (deed, plugin) in [("trap", ""), ("spin", "limits = { cpu = \"20ms\" }")] {
        let config = format!("{{ do = \"{deed}\" }}");
        let proxy = guarded(&config, plugin).await;
        is_closed_unanswered(&proxy).await;
        assert_eq!(refused(&proxy, "plugin_failed").await, 1.0, "{deed}");
        assert!(proxy.log.line("plugin failed").await.contains("on-connect"));
        let proxy = guarded(&config, &format!("{plugin}\non_failure = \"skip\"")).await;
        assert_eq!(get(proxy.address(), "/").await.text(), "hello", "{deed}");
    }
}

#[tokio::test]
async fn a_plugin_that_keeps_failing_is_set_aside_and_called_no_more() {
    let plugin = "on_failure = \"skip\"\nquarantine = { failures = 3, back_off = \"10m\" }";
    let proxy = guarded("{ do = \"trap\" }", plugin).await;
    for _ in 0..10 {
        assert_eq!(get(proxy.address(), "/").await.text(), "hello");
    }
    assert_eq!(proxy.metric("lockgate_quarantined{plugin=\"guard\"}").await, 1.0);
    assert_eq!(proxy.metric("lockgate_hook_calls_total{plugin=\"guard\",hook=\"on-connect\"}").await, 3.0);
}

#[tokio::test]
async fn tls_is_known_when_a_plugin_is_asked() {
    let (server, clients) = (Certificates::new(), Certificates::new());
    let proxy = guarded_with_certificates(&server, &clients, "").await;
    let alice = clients.issue("alice.test");
    let mut known = client(proxy.address()).name("one.test").tls(server.client_with(&alice, &["h2"])).http2().await;
    assert_eq!(known.get("/").await.text(), "hello");
    let line = proxy.log.line("arriving").await;
    assert!(line.contains("tls=true name=one.test alpn=h2 http2=true shown=CN=alice.test"), "{line}");
    let unknown = client(proxy.address()).name("one.test").tls(server.client(&[])).try_connect().await;
    if let Ok(mut unknown) = unknown {
        let request = http::Request::get("/").body(lockgate_tests::empty()).unwrap();
        assert!(unknown.try_send(request).await.is_err());
    }
    assert_eq!(refused(&proxy, "plugin").await, 1.0);
}

#[tokio::test]
async fn a_reload_brings_and_takes_plugins_of_listeners() {
    let open = "[[listener]]\naddress = \"$address\"\n[[route]]\nrespond = { body = \"hello\" }";
    let shut = format!("{open}\n[plugin.guard]\npath = \"$guest\"\nconfig = {{ refuse = \"127.0.0.1\" }}")
        .replace("$address\"", "$address\"\nplugins = [\"guard\"]");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy = proxy(open).set("address", free).set("guest", component("connections").display()).await;
    assert_eq!(get(proxy.address(), "/").await.text(), "hello");
    proxy.reload(&shut).await;
    is_closed_unanswered(&proxy).await;
    proxy.reload(open).await;
    assert_eq!(get(proxy.address(), "/").await.text(), "hello");
}

#[tokio::test]
async fn what_a_plugin_counts_of_connections_all_workers_know() {
    let proxy = proxy(
        "[server]\nworkers = 2\n[[listener]]\naddress = \"127.0.0.1:0\"\nplugins = [\"few\"]\n\
         [plugin.few]\npath = \"$guest\"\nconfig = { most = 5 }\n[[route]]\nrespond = { body = \"hello\" }\n",
    )
    .set("guest", component("guard").display())
    .await;
    for _ in 0..5 {
        assert_eq!(get(proxy.address(), "/").await.text(), "hello");
    }
    for _ in 0..3 {
        is_closed_unanswered(&proxy).await;
    }
    assert_eq!(refused(&proxy, "plugin").await, 3.0);
}

#[tokio::test]
async fn a_plugin_that_looks_at_connections_only_is_not_for_routes() {
    let file =
        proxy("[plugin.few]\npath = \"$guest\"\nconfig = { most = 5 }\n[[route]]\nplugins = [\"few\"]\nrespond = {}")
            .set("guest", component("guard").display());
    let said = command::lockgate(["check", file.written().to_str().unwrap()]).await;
    assert!(said.code == 2 && said.err.contains("route[0].plugins[0]"), "{said:?}");
    assert!(said.err.contains("looks at connections only") && said.err.contains("[[listener]]"), "{said:?}");
}

#[tokio::test]
async fn a_plugin_without_the_hook_cannot_guard_a_listener() {
    let file = proxy("[[listener]]\naddress = \"127.0.0.1:0\"\nplugins = [\"echo\"]\n[plugin.echo]\npath = \"$echo\"\n[[route]]\nrespond = {}")
        .set("echo", component("echo-hooks").display());
    let said = command::lockgate(["check", file.written().to_str().unwrap()]).await;
    assert!(said.code == 2 && said.err.contains("has no hook on-connect"), "{said:?}");
    let file = proxy(
        "[[listener]]\naddress = \"127.0.0.1:0\"\nplugins = [\"gard\"]\n[plugin.guard]\nbundled = \"profiler\"\n[[route]]\nrespond = {}",
    );
    let said = command::lockgate(["check", file.written().to_str().unwrap()]).await;
    assert!(said.code == 2 && said.err.contains("no plugin named \"gard\"") && said.err.contains("guard"), "{said:?}");
    let said = command::lockgate(["plugin", "inspect", component("connections").to_str().unwrap()]).await;
    assert!(said.out.contains("on-connect"), "{said:?}");
}
