//! Tenants: files of their own, hosts of their own, and nothing in common.

use lockgate_tests::{Answer, Proxy, ProxyBuilder, backend, client, get, proxy};

/// A proxy with these tenants' files; each tenant `NAME` has the host `NAME.test`.
fn tenants(operators: &str, files: &[(&str, &str)]) -> ProxyBuilder {
    let include = "include = \"tenants/*.toml\"\n[tenants]\nhosts = [\"{tenant}.test\"]\n";
    let builder = proxy(&format!("{include}{operators}"));
    std::fs::create_dir(builder.folder().join("tenants")).unwrap();
    for (name, text) in files {
        std::fs::write(builder.folder().join(format!("tenants/{name}.toml")), text).unwrap();
    }
    builder
}

/// What a tenant's file says that has one backend.
fn with_backend(url: &str) -> String {
    format!("[upstream.app]\nbackends = [\"{url}\"]\n[[route]]\nupstream = \"app\"\n")
}

async fn ask(proxy: &Proxy, host: &str, path: &str) -> Answer {
    client(proxy.address()).name(host).await.get(path).await
}

const HELLO: &str = "[[route]]\nrespond = { body = \"hello\" }\n";

#[tokio::test]
async fn names_are_a_tenants_own_and_hosts_too() {
    let (one, two) = (backend().says("one").await, backend().says("two").await);
    let proxy = tenants(
        "[[route]]\nrespond = { body = \"operator\" }\n",
        &[("one", &with_backend(&one.url())), ("two", &with_backend(&two.url()))],
    )
    .await;
    assert_eq!(ask(&proxy, "one.test", "/").await.text(), "one");
    assert_eq!(ask(&proxy, "two.test", "/x").await.text(), "two");
    assert_eq!(ask(&proxy, "three.test", "/").await.text(), "operator");
    assert_eq!(get(proxy.address(), "/").await.text(), "operator");
}

#[tokio::test]
async fn a_broken_file_is_refused_alone() {
    let one = backend().says("one").await;
    let (good, broken) = (with_backend(&one.url()), "[[route]]\nupstrem = \"app\"\n");
    let proxy = tenants(HELLO, &[("good", &good), ("broken", broken)]).await;
    assert_eq!(ask(&proxy, "good.test", "/").await.text(), "one");
    let refused = ask(&proxy, "broken.test", "/").await;
    assert_eq!(refused.status, 503);
    assert!(refused.text().contains("tenant_unavailable"), "{}", refused.text());
    assert_eq!(refused.headers["retry-after"], "1");
    let line = proxy.log.line("upstrem").await;
    assert!(line.contains("tenants/broken.toml:2:1"), "{line}");
}

#[tokio::test]
async fn files_come_change_break_and_go_without_anybody_else_noticing() {
    let one = backend().says("one").await;
    let proxy = tenants(HELLO, &[("stays", &with_backend(&one.url()))]).await;
    let file = |name: &str| proxy.folder().join(format!("tenants/{name}.toml"));
    let says = |text: &str| format!("[[route]]\nrespond = {{ body = \"{text}\" }}\n");
    let mut stays = client(proxy.address()).name("stays.test").await;

    assert_eq!(ask(&proxy, "new.test", "/").await.text(), "hello", "a host without a tenant is the operator's");
    for text in ["first", "second"] {
        let before = proxy.generation().await;
        std::fs::write(file("new"), says(text)).unwrap();
        proxy.generation_after(before).await;
        assert_eq!(ask(&proxy, "new.test", "/").await.text(), text);
        assert_eq!(stays.get("/").await.text(), "one");
    }

    let before = proxy.generation().await;
    std::fs::write(file("new"), "[[route]]\nrespond = { bdy = \"third\" }\n").unwrap();
    proxy.generation_after(before).await;
    assert_eq!(ask(&proxy, "new.test", "/").await.text(), "second", "what was right stays");
    assert!(proxy.log.line("bdy").await.contains("tenants/new.toml:2:13"));
    let tenant = &proxy.admin("/status").await.json()["tenants"]["new"];
    assert_eq!((tenant["refused"].as_bool(), tenant["serving"].as_bool()), (Some(true), Some(true)));

    let before = proxy.generation().await;
    std::fs::remove_file(file("new")).unwrap();
    proxy.generation_after(before).await;
    assert_eq!(ask(&proxy, "new.test", "/").await.text(), "hello");
    assert_eq!(stays.get("/").await.text(), "one");
    assert_eq!(one.ledger.connections(), 1, "its connection to the backend outlived all of it");
}

#[tokio::test]
async fn what_the_operator_takes_back_is_served_no_more() {
    let wide = "[tenant.a]\nhosts = [\"a.test\", \"b.test\"]\n[[route]]\nrespond = { body = \"operator\" }\n";
    let narrow = wide.replace(", \"b.test\"", "");
    let routes = "[[route]]\nhosts = [\"a.test\", \"b.test\"]\nrespond = { body = \"tenant\" }\n";
    let proxy = tenants(wide, &[("a", routes)]).await;
    assert_eq!(ask(&proxy, "b.test", "/").await.text(), "tenant");
    let include = "include = \"tenants/*.toml\"\n[tenants]\nhosts = [\"{tenant}.test\"]\n";
    proxy.reload(&format!("{include}{narrow}")).await;
    assert_eq!(ask(&proxy, "b.test", "/").await.text(), "operator");
    assert_eq!(ask(&proxy, "a.test", "/").await.status, 503, "its last good file does not fit any more either");
    assert!(proxy.log.line("was not given the host").await.contains("tenants/a.toml:2:20"));
}
