//! Guests that are built for WASI, and what `lockgate plugin inspect` says of guests.

use std::time::Duration;

use http::Request;
use lockgate_tests::{Answer, Proxy, client, command, empty, get, proxy};
use tokio::time::Instant;
use xtask::guests::component;

async fn guest(limits: &str) -> Proxy {
    proxy(&format!(
        "[server]\nworkers = 1\n[plugin.guest]\npath = \"$guest\"\nlimits = {limits}\n\
         [[route]]\npath = \"/guest\"\nplugins = [\"guest\"]\nrespond = {{}}\n\
         [[route]]\npath = \"/other\"\nrespond = {{ body = \"other\" }}\n"
    ))
    .set("guest", component("wasi-guest").display())
    .variable("SECRET", "not for guests")
    .await
}

async fn ask(proxy: &Proxy, field: &str, value: &str) -> Answer {
    let request = Request::get("/guest").header(field, value).body(empty()).unwrap();
    client(proxy.address()).await.send(request).await
}

#[tokio::test]
async fn everything_but_clocks_random_numbers_and_output_is_denied() {
    let proxy = guest("{ cpu = \"1s\", wall = \"50s\" }").await;
    let answer = get(proxy.address(), "/guest").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let told = answer.text();
    assert!(!told.contains("WORKED"), "{told}");
    for line in ["read", "list", "write", "write here", "connect", "listen", "udp", "resolve", "spawn", "thread"] {
        assert!(told.contains(&format!("{line} denied\n")), "{line}: {told}");
    }
    for line in ["env 0", "args 0", "clock true", "time goes on true"] {
        assert!(told.contains(&format!("{line}\n")), "{line}: {told}");
    }
    let random = |told: &str| told.lines().last().unwrap().to_owned();
    let fresh = guest("{ cpu = \"1s\", wall = \"50s\" }").await;
    assert_ne!(random(&told), random(&get(fresh.address(), "/guest").await.text()));
    let line = proxy.log.line("said to standard output").await;
    assert!(line.contains("INFO") && line.contains("guest") && line.contains("request_id="), "{line}");
    assert!(proxy.log.line("said to").await.contains("lockgate::plugin"));
    assert!(proxy.log.line("standard error").await.contains("guest"));
    proxy.log.line("configured").await;
}

#[tokio::test]
async fn output_keeps_to_the_limits_of_the_log() {
    let proxy = guest("{ cpu = \"20s\", wall = \"50s\", host_calls = 1000000 }").await;
    assert_eq!(ask(&proxy, "x-flood", "5000").await.status, 200);
    assert_eq!(get(proxy.address(), "/other").await.text(), "other");
    proxy.out.line("/other").await;
    let lines = proxy.log.count("of a flood");
    assert!((1..=64).contains(&lines), "{lines} lines");
    assert!(proxy.metric("lockgate_hook_log_lines_dropped_total").await >= 4900.0);
}

#[tokio::test]
async fn a_guest_that_sleeps_holds_up_nobody_and_one_that_exits_ends_its_own_exchange_only() {
    let proxy = guest("{ cpu = \"1s\", wall = \"50s\" }").await;
    let began = Instant::now();
    let sleeping = async { (ask(&proxy, "x-sleep", "3000").await, Instant::now()) };
    let others = async {
        for _ in 0..5 {
            assert_eq!(get(proxy.address(), "/other").await.text(), "other");
        }
        Instant::now()
    };
    let ((answer, woke), served) = tokio::join!(sleeping, others);
    assert!(answer.status == 200 && woke - began >= Duration::from_secs(3), "{:?}", woke - began);
    assert!(served < woke, "the others were served {:?} after it", served - woke);
    assert_eq!(ask(&proxy, "x-exit", "1").await.status, 503);
    assert_eq!(get(proxy.address(), "/guest").await.status, 200);

    let proxy = guest("{ cpu = \"1s\", wall = \"100ms\" }").await;
    assert_eq!(ask(&proxy, "x-sleep", "60000").await.status, 503);
    assert!(proxy.log.line("limits.wall").await.contains("cause=wall"));
}

#[tokio::test]
async fn what_it_asks_of_wasi_are_calls_of_the_host() {
    let proxy = guest("{ cpu = \"20s\", wall = \"50s\", host_calls = 1000 }").await;
    assert_eq!(ask(&proxy, "x-flood", "10").await.status, 200);
    // Enough to be met by a tick.
    assert_eq!(ask(&proxy, "x-flood", "1000000").await.status, 503);
    let failures = "lockgate_hook_failures_total{plugin=\"guest\",hook=\"on-request\",cause=\"host_calls\"}";
    assert_eq!(proxy.metric(failures).await, 1.0);
    assert_eq!(get(proxy.address(), "/guest").await.status, 200);
}

async fn inspect(path: &str, more: &[&str]) -> command::Said {
    command::lockgate([&["plugin", "inspect", path][..], more].concat()).await
}

#[tokio::test]
async fn a_component_is_inspected_without_running_it() {
    let path = component("outbound");
    let path = path.to_str().unwrap();
    let said = inspect(path, &[]).await;
    assert_eq!(said.code, 0, "{said:?}");
    let digest = command::run("sha256sum", [path]).await.out.split(' ').next().unwrap().to_owned();
    for line in [
        format!("sha256    {digest}"),
        "contract  lockgate:plugin@0.1.0".to_owned(),
        "hooks     configure, on-request, on-response-finish".to_owned(),
        "grants    http, kv".to_owned(),
        "wasi      none".to_owned(),
        "language  Rust".to_owned(),
    ] {
        assert!(said.out.contains(&line), "{line}: {}", said.out);
    }
    let said = inspect(path, &["--json"]).await;
    let json: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((&json["sha256"], &json["grants"]), (&digest.into(), &serde_json::json!(["http", "kv"])));
    assert_eq!(json["size"], std::fs::metadata(path).unwrap().len());
    assert!(json["imports"].as_array().unwrap().iter().any(|name| name == "http-client"), "{json}");
    assert!(
        json["made_by"].as_array().unwrap().iter().any(|tool| tool.as_str().unwrap().starts_with("wit-bindgen-rust")),
        "{json}"
    );
    let said = inspect(component("wasi-guest").to_str().unwrap(), &[]).await;
    assert!(said.code == 0 && said.out.contains("wasi:cli/stdout@0.2."), "{said:?}");
}

#[tokio::test]
async fn what_is_no_plugin_of_this_version_is_said_to_be_none() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let other = component("other-version");
    for (path, sentence) in [
        (file("text.wasm", b"hello"), "text.wasm is not wasm"),
        (file("core.wasm", b"\0asm\x01\0\0\0"), "core.wasm is a core wasm module, not a component"),
        (file("cut.wasm", &std::fs::read(&other).unwrap()[..300]), "cut.wasm is not a valid component"),
        (other.to_str().unwrap().to_owned(), "this host offers 0.1"),
        (folder.path().join("none.wasm").to_str().unwrap().to_owned(), "cannot read"),
    ] {
        let said = inspect(&path, &[]).await;
        assert!(said.code == 1 && said.err.contains(sentence), "{sentence}: {said:?}");
    }
}
