//! Exchanges that are recorded for a plugin, and played again to another version of it.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use http::Request;
use lockgate_tests::{Client, Proxy, ProxyBuilder, backend, client, command, empty, eventually, proxy};
use xtask::guests::component;

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
