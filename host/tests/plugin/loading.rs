//! What is refused at load, with one sentence each, and what is shared.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lockgate::config::{Kv, Plugin, Registries};
use lockgate::plugin::{Place, Plugins};
use serde_json::{Value, json};

use crate::scene::{bundled, file, guest, load, located, misbehave};

#[test]
fn the_bundled_plugins_load() {
    let plugin = load("rr", &bundled("round-robin"), Value::Null).unwrap();
    assert!(plugin.picks_backends());
    assert_eq!(plugin.digest().len(), 64);
}

#[test]
fn what_is_one_core_module_is_called_directly_whatever_it_imports_and_may_compute() {
    let direct = |name: &str, settings: fn(&mut Plugin)| {
        let mut plugin = guest(name);
        settings(&mut plugin);
        load(&format!("direct-{name}"), &plugin, Value::Null).unwrap().is_called_directly()
    };
    assert!(direct("echo-hooks", |_| {}));
    assert!(direct("passer", |plugin| plugin.limits.cpu = Duration::from_millis(10)), "on a stack of its own");
    let granted = |plugin: &mut Plugin| {
        plugin.grants.http = vec![located("http://a.test".parse().unwrap())];
        plugin.grants.kv = true;
    };
    assert!(direct("outbound", granted), "its imports wait");
    assert!(!direct("wasi-guest", |_| {}), "the runtime has WASI");
}

#[test]
fn a_misspelt_bundled_plugin_is_named_with_its_nearest() {
    let error = load("rr", &bundled("round-robbin"), Value::Null).unwrap_err().to_string();
    assert!(error.starts_with("plugin \"rr\" is not bundled as \"round-robbin\""), "{error}");
    assert!(error.ends_with("did you mean \"round-robin\"?"), "{error}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = load("gone", &file("/nowhere/gone.wasm".as_ref()), Value::Null).unwrap_err().to_string();
    assert!(error.starts_with("plugin \"gone\" cannot be read from `/nowhere/gone.wasm`: "), "{error}");
}

#[test]
fn what_is_not_a_component_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        load("x", &file(&path), Value::Null).unwrap_err().to_string()
    };
    assert_eq!(refused("empty", b""), "plugin \"x\" is not wasm");
    assert_eq!(refused("text", b"(component)"), "plugin \"x\" is not wasm");
    let core = refused("core", b"\0asm\x01\0\0\0");
    assert!(core.starts_with("plugin \"x\" is a core wasm module, not a component"), "{core}");
    let garbage = refused("garbage", b"\0asm\x0d\0\x01\0\xff\xff\xff\xff");
    assert!(garbage.starts_with("plugin \"x\" is not a valid component: "), "{garbage}");
    let nothing = refused("nothing", b"\0asm\x0d\0\x01\0");
    assert!(nothing.starts_with("plugin \"x\" exports no hook"), "{nothing}");
    let mut cut = fs::read(xtask::guests::component("bare")).unwrap();
    cut.truncate(cut.len() / 2);
    let cut = refused("cut", &cut);
    assert!(cut.starts_with("plugin \"x\" is not a valid component: ") && !cut.contains('\n'), "{cut}");
}

#[test]
fn a_huge_file_is_refused_without_reading_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("huge.wasm");
    fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    let error = load("huge", &file(&path), Value::Null).unwrap_err().to_string();
    assert!(error.starts_with("plugin \"huge\" is larger than 64 MiB"), "{error}");
}

#[test]
fn hooks_of_another_version_are_refused() {
    let error = load("new", &guest("other-version"), Value::Null).unwrap_err().to_string();
    assert!(error.starts_with("plugin \"new\" needs hooks 0.2.0, this host offers 0.1"), "{error}");
}

#[test]
fn a_pinned_digest_must_be_the_files() {
    let mut plugin = guest("bare");
    plugin.sha256 = Some(located("00".repeat(32)));
    let error = load("bare", &plugin, Value::Null).unwrap_err().to_string();
    assert!(error.starts_with("plugin \"bare\" has the digest sha256 "), "{error}");
    plugin.sha256 = Some(located(load("bare", &guest("bare"), Value::Null).unwrap().digest().to_uppercase()));
    load("bare", &plugin, Value::Null).unwrap();
}

#[test]
fn a_plugin_that_does_not_start_is_refused() {
    let error = |deed: &str| {
        let name = format!("not-starting-{deed}");
        let mut plugin = guest("misbehave");
        // So little that it is used up before the time is.
        plugin.limits.memory = 2 << 20;
        load(&name, &plugin, json!({ "do": deed })).unwrap_err().to_string()
    };
    assert!(error("refuse-configuration").ends_with("does not start: configure says: refused, as it was told"));
    assert!(error("spin-in-configure").contains("limits.cpu"), "{}", error("spin-in-configure"));
    assert!(error("trap-in-configure").contains("unreachable"), "{}", error("trap-in-configure"));
    assert!(error("grow-in-configure").contains("limits.memory"), "{}", error("grow-in-configure"));
    let moment = error("exchange-in-configure");
    assert!(moment.ends_with("does not start: request.path is not available in configure"), "{moment}");
    let unknown = error("something-unheard-of");
    assert!(unknown.contains("configure says"), "{unknown}");
}

#[test]
fn the_same_use_is_the_same_for_as_long_as_somebody_holds_it() {
    let plugin = guest("misbehave");
    let config = json!({ "do": "nothing" });
    let first = load("same", &plugin, config.clone()).unwrap();
    assert!(Arc::ptr_eq(&first, &load("same", &plugin, config.clone()).unwrap()));
    assert!(!Arc::ptr_eq(&first, &load("other", &plugin, config.clone()).unwrap()));
    assert!(!Arc::ptr_eq(&first, &load("same", &plugin, json!({ "do": "trap" })).unwrap()));
    let mut stricter = plugin;
    stricter.limits.memory = 8 << 20;
    assert!(!Arc::ptr_eq(&first, &load("same", &stricter, config).unwrap()));
}

#[test]
fn several_threads_may_load_at_once() {
    let uses: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| misbehave("at-once", "nothing"))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(uses.iter().all(|plugin| Arc::ptr_eq(plugin, &uses[0])));
}

#[test]
fn what_is_compiled_is_kept_for_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let start = || {
        let plugins = Plugins::with_cache(Some(&cache)).unwrap();
        let place = Place { folder: Path::new("/"), registries: &Registries::default(), kv: &Kv::default() };
        let plugin = plugins.use_of("kept", &bundled("round-robin"), place, None).unwrap();
        assert!(plugin.picks_backends());
        fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
    };
    let files = start();
    assert_eq!(files.len(), 1);
    assert_eq!(start(), files);
    fs::write(&files[0], "damaged").unwrap();
    assert_eq!(start(), files);
    assert!(files[0].metadata().unwrap().len() > 1000, "it was made again");
}
