//! Exchanges that are recorded for a plugin, and played again to another version of it.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use http::{Request, Response};
use lockgate_tests::{
    Certificates, Client, Proxy, ProxyBuilder, backend, client, command, empty, eventually, full, get, nowhere, proxy,
};
use xtask::guests::component;

use crate::connections::guarded_with_certificates;

/// A proxy whose plugin is recorded, every exchange of it.
fn recorded(guest: &str, more: &str, record: &str) -> ProxyBuilder {
    proxy(&format!(
        "[upstream.app]\nbackends = [\"$app\"]\n\
         [plugin.guest]\npath = \"$guest\"\n{more}\nrecord = {{ dir = \"recorded\", {record} }}\n\
         [[route]]\nplugins = [\"guest\"]\nupstream = \"app\"\n"
    ))
    .set("guest", component(guest).display())
}

async fn client_of(proxy: &Proxy) -> Client {
    client(proxy.address()).await
}

fn recordings(folder: &std::path::Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder.join("recorded")).into_iter().flatten().flatten().map(|file| file.path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|it| it == "toml")).collect();
    files.sort();
    files
}

#[tokio::test]
async fn what_was_recorded_is_decided_as_before_by_the_same_plugin_and_not_by_another() {
    let app = backend().says("fine").await;
    let proxy = recorded("echo-hooks", "config = { name = \"a\" }", "share = 1").set("app", app.url()).await;
    let mut client = client(proxy.address()).await;
    let secret = "Bearer do-not-tell-anybody";
    for path in ["/one?user=me&key=open-sesame", "/two"] {
        let request = Request::get(path).header("authorization", secret).header("cookie", "id=very-private");
        client.send(request.body(empty()).unwrap()).await;
    }
    let answered = Request::get("/three").header("x-answer", "403").body(empty()).unwrap();
    assert_eq!(client.send(answered).await.status, 403);
    eventually("three files", || recordings(proxy.folder()).len() == 3).await;

    let files = recordings(proxy.folder());
    for file in &files {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let text = std::fs::read_to_string(file).unwrap();
        for hidden in ["do-not-tell", "open-sesame", "very-private"] {
            assert!(!text.contains(hidden), "{hidden} in {text}");
        }
    }
    let first = std::fs::read_to_string(&files[0]).unwrap();
    assert!(first.contains("config_left_out = true\n") && !first.contains("[config]"), "{first}");
    assert!(first.contains("/one?user=redacted-") && first.contains("authorization = \"redacted-"), "{first}");
    let folder = proxy.folder().join("recorded").display().to_string();
    let same = component("echo-hooks").display().to_string();
    let said = command::lockgate(["plugin", "replay", &folder, "--plugin", &same]).await;
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.err.contains("configuration was not recorded, because it may hold secrets"), "{said:?}");
    let config = proxy.folder().join("config.toml");
    std::fs::write(&config, "name = \"a\"\n").unwrap();
    let config = config.display().to_string();
    let said = command::lockgate(["plugin", "replay", &folder, "--plugin", &same, "--config", &config]).await;
    assert_eq!((said.code, said.out.as_str()), (0, "3 exchanges replayed, 0 decided otherwise\n"), "{said:?}\n{first}");
    let said = command::lockgate(["plugin", "test", &folder, "--config", &config]).await;
    assert_eq!(said.code, 0, "a recording is a scenario: {said:?}");

    let other = component("bare").display().to_string();
    let said = command::lockgate(["plugin", "replay", &folder, "--plugin", &other, "--config", &config]).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("verdict\n            - \"proceed\"\n            + \"answer\""), "{said:?}");
    assert!(said.out.ends_with("3 exchanges replayed, 3 decided otherwise\n"), "{said:?}");
    let written = "lockgate_recorded_total{plugin=\"guest\",outcome=\"written\"}";
    assert!((proxy.metric(written).await - 3.0).abs() < 0.1);
    proxy.stop().await;
}

#[tokio::test]
async fn what_a_plugin_found_outside_is_recorded_with_it() {
    let auth = backend().says("somebody").await;
    let app = backend().says("fine").await;
    let more = "grants = { kv = true, http = [\"$auth\"] }\nlimits = { http_timeout = \"10s\", wall = \"20s\" }";
    let proxy = recorded("outbound", more, "share = 1").set("auth", auth.url()).set("app", app.url()).await;
    let mut client = client(proxy.address()).await;
    let mut ask = async |name: &str, value: String| {
        let request = Request::get("/").header(name, value).body(empty()).unwrap();
        client.send(request).await.text()
    };
    assert_eq!(ask("x-kv", "increment hits 5".to_owned()).await, "Ok(5)");
    assert_eq!(ask("x-kv", "increment hits 2;get hits".to_owned()).await, "Ok(7)\nOk(Some(\"7\"))");
    assert!(ask("x-http", format!("GET {}/who", auth.url())).await.contains("somebody"));
    eventually("three files", || recordings(proxy.folder()).len() == 3).await;
    let folder = proxy.folder().join("recorded").display().to_string();
    // Nobody is asked again.
    auth.die();
    let same = component("outbound").display().to_string();
    let said = command::lockgate(["plugin", "replay", &folder, "--plugin", &same]).await;
    assert_eq!((said.code, said.out.as_str()), (0, "3 exchanges replayed, 0 decided otherwise\n"), "{said:?}");
    proxy.stop().await;
}

#[tokio::test]
async fn what_was_picked_is_recorded() {
    let app = backend().says("fine").await;
    let proxy = proxy(
        "[upstream.app]\nbackends = [\"$app\"]\nbalance = { plugin = \"rr\" }\n\
         [plugin.rr]\nbundled = \"round-robin\"\nrecord = { dir = \"recorded\", share = 1.0 }\n\
         [[route]]\nupstream = \"app\"\n",
    )
    .set("app", app.url())
    .await;
    client(proxy.address()).await.get("/").await;
    eventually("a file", || recordings(proxy.folder()).len() == 1).await;
    let text = std::fs::read_to_string(&recordings(proxy.folder())[0]).unwrap();
    assert!(
        text.contains("bundled = \"round-robin\"") && text.contains(&format!("backend = \"{}\"", app.url())),
        "{text}"
    );
    proxy.stop().await;
}

#[tokio::test]
async fn no_more_is_written_than_there_is_room_for_and_nothing_without_a_share() {
    let app = backend().says("fine").await;
    let proxy = recorded("echo-hooks", "", "share = 1, most = \"4 KiB\"").set("app", app.url()).await;
    let mut client = client(proxy.address()).await;
    let full = "lockgate_recorded_total{plugin=\"guest\",outcome=\"full\"}";
    let mut exchanges = 0;
    while proxy.metric(full).await < 1.0 {
        client.get("/").await;
        exchanges += 1;
        assert!(exchanges < 200, "the room does not end");
    }
    let bytes: u64 = recordings(proxy.folder()).iter().map(|file| file.metadata().unwrap().len()).sum();
    assert!((1..=4096).contains(&bytes), "{bytes}");
    proxy.stop().await;

    let none = recorded("echo-hooks", "", "share = 0").set("app", app.url()).await;
    client_of(&none).await.get("/").await;
    assert_eq!(recordings(none.folder()), Vec::<PathBuf>::new());
    assert!(none.threads_named("plugin-recorder") == 0, "nothing is to be written");
    none.stop().await;
}

/// What is recorded there, shown to that guest with that configuration: the exit code, and what is said.
async fn replayed(proxy: &Proxy, guest: &str, config: &str) -> (i32, String) {
    let file = proxy.folder().join("config.toml");
    std::fs::write(&file, config).unwrap();
    let (folder, guest) = (proxy.folder().join("recorded"), component(guest));
    let words = ["plugin", "replay"].map(std::ffi::OsString::from).into_iter();
    let words = words.chain([folder.into(), "--plugin".into(), guest.into(), "--config".into(), file.into()]);
    let said = command::lockgate(words).await;
    assert_eq!(said.err.is_empty(), said.code == 0, "{said:?}");
    (said.code, said.out)
}

#[tokio::test]
async fn attempts_that_failed_are_recorded_with_what_the_plugin_wanted_then() {
    let (gone, near, far) = (nowhere().await, backend().says("near").await, backend().says("far").await);
    for (deed, backends, other, changed) in [
        (
            "pick-last",
            vec![&*gone, &near.url(), &far.url()],
            "give-up",
            format!("- {:?}\n            + \"give-up\"", far.url()),
        ),
        // There is one only, so it is tried again, and fails again.
        ("look", vec![&gone], "give-up", "- \"proceed\", \"proceed\"\n            + \"give-up\"".to_owned()),
        ("trap", vec![&gone, &near.url()], "look", "failures\n".to_owned()),
    ] {
        let proxy = proxy(&format!(
            "[server]\nworkers = 1\n[upstream.app]\nbackends = {backends:?}\neject = {{ failures = 0 }}\n\
             [plugin.guest]\npath = \"$guest\"\nconfig = {{ do = \"{deed}\" }}\nlimits = {{ wall = \"30s\" }}\nrecord = {{ dir = \"recorded\", share = 1 }}\n\
             [[route]]\nplugins = [\"guest\"]\nupstream = \"app\"\n"
        ))
        .set("guest", component("attempts").display())
        .await;
        get(proxy.address(), "/").await;
        eventually("a file", || recordings(proxy.folder()).len() == 1).await;
        let text = std::fs::read_to_string(&recordings(proxy.folder())[0]).unwrap();
        let (code, out) = replayed(&proxy, "attempts", &format!("do = \"{deed}\"")).await;
        assert_eq!((code, out.as_str()), (0, "1 exchanges replayed, 0 decided otherwise\n"), "{deed}: {text}");
        let (code, out) = replayed(&proxy, "attempts", &format!("do = \"{other}\"")).await;
        assert!(code == 1 && out.contains(&changed), "{deed}: {out}{text}");
        proxy.stop().await;
    }
}

#[tokio::test]
async fn a_response_that_was_to_be_retried_is_recorded_as_such_and_so_is_each_pick() {
    let (busy, app) = (
        backend().answers(async |_| Response::builder().status(503).body(full("busy")).unwrap()).await,
        backend().says("fine").await,
    );
    let proxy = proxy(&format!(
        "[server]\nworkers = 1\n[upstream.app]\nbackends = [{:?}, {:?}]\nbalance = {{ plugin = \"guest\" }}\n\
         eject = {{ failures = 0 }}\nretry = {{ status = [503] }}\n\
         [plugin.guest]\npath = \"$guest\"\nconfig = {{ do = \"look\" }}\nrecord = {{ dir = \"recorded\", share = 1 }}\n\
         [[route]]\nupstream = \"app\"\n",
        busy.url(),
        app.url()
    ))
    .set("guest", component("attempts").display())
    .await;
    assert_eq!(get(proxy.address(), "/").await.text(), "fine");
    eventually("a file", || recordings(proxy.folder()).len() == 1).await;
    let text = std::fs::read_to_string(&recordings(proxy.folder())[0]).unwrap();
    assert!(text.contains("status = 503") && !text.contains("picker"), "{text}");
    assert!(text.contains("picks = [") && text.matches(&app.url()).count() >= 2, "{text}");
    let (code, out) = replayed(&proxy, "attempts", "do = \"look\"").await;
    assert_eq!((code, out.as_str()), (0, "1 exchanges replayed, 0 decided otherwise\n"), "{text}");
    let (code, out) = replayed(&proxy, "attempts", "do = \"pick-last\"").await;
    assert!(code == 1 && out.contains("picks\n") && out.contains("next\n"), "{out}{text}");
    proxy.stop().await;
}

#[tokio::test]
async fn connections_are_recorded_with_whether_they_were_let_in() {
    let (server, clients) = (Certificates::new(), Certificates::new());
    let recorded = "limits = { cpu = \"3s\" }\nrecord = { dir = \"recorded\", share = 1 }";
    let proxy = guarded_with_certificates(&server, &clients, recorded).await;
    let alice = clients.issue("alice.test");
    let mut known = client(proxy.address()).name("one.test").tls(server.client_with(&alice, &["http/1.1"])).await;
    assert_eq!(known.get("/").await.text(), "hello");
    if let Ok(mut unknown) = client(proxy.address()).name("one.test").tls(server.client(&[])).try_connect().await {
        assert!(unknown.try_send(Request::get("/").body(empty()).unwrap()).await.is_err());
    }
    eventually("two files", || recordings(proxy.folder()).len() == 2).await;
    let texts = recordings(proxy.folder()).iter().map(|it| std::fs::read_to_string(it).unwrap()).collect::<Vec<_>>();
    for (text, told) in texts.iter().zip(["verdict = \"proceed\"", "verdict = \"refuse\""]) {
        assert!(text.contains(told) && text.contains("only = true") && text.contains("cpu = \"3s\""), "{text}");
    }
    assert!(texts[0].contains("subject = \"CN=alice.test") && texts[0].contains("alpn = \"http/1.1\""), "{}", texts[0]);
    let (code, out) = replayed(&proxy, "connections", "refuse = \"nobody\"").await;
    assert_eq!((code, out.as_str()), (0, "2 exchanges replayed, 0 decided otherwise\n"), "{texts:?}");
    let (code, out) = replayed(&proxy, "connections", "refuse = \"127.0.0.1\"").await;
    assert!(code == 1 && out.contains("- \"proceed\"\n            + \"refuse\""), "{out}");
    assert!(out.ends_with("2 exchanges replayed, 1 decided otherwise\n"), "{out}");
    proxy.stop().await;
}
