//! Rust.

use std::fs;
use std::path::Path;
use std::process::Command;

use wasmparser::{Parser, Payload};

use crate::scene::{NEWER_CONTRACT, Scene, authors_cargo, texts};

const ALL: &str = "self-test,export-state,on-request,on-request-complete,on-request-body,pick-backend,on-response,\
                   on-response-body,on-response-finish,on-attempt-failed,on-tick,on-connect";

#[test]
fn a_new_plugin_in_rust_builds_tests_and_starts() {
    let scene = Scene::new();
    scene.new_plugin("teapot", "rust", "");
    let built = scene.build("teapot");
    assert_eq!(texts(&built["hooks"]), ["configure", "on-request"]);
    assert_eq!(texts(&built["wasi"]), [""; 0]);
    assert!(built["size"].as_u64().unwrap() < 45_000, "{}", built["size"]);
    // Three pages: not the linker's 1 MiB of stack.
    assert_eq!(first_memory(&scene.path("teapot/teapot.wasm")), 3);
    scene.check("teapot", &["1ms", "50ms"]);

    let mut test = Command::new("cargo");
    let tested = authors_cargo(test.args(["test", "--quiet"]).current_dir(scene.path("teapot"))).output().unwrap();
    assert!(tested.status.success(), "{}", String::from_utf8_lossy(&tested.stderr));

    scene.newer_contract_is_told("teapot");
    // An SDK of another version than the contract is beyond cargo.
    scene.contract_becomes("teapot", "0.1.0", "0.2.0");
    scene.edit("teapot/lockgate/sdk/rust/wit/hooks.wit", "@0.2.0", "@0.1.0");
    let err = scene.build_fails("teapot");
    assert!(err.ends_with(&format!("lockgate: cargo failed; {NEWER_CONTRACT}")), "{err}");
    scene.edit("teapot/lockgate/sdk/rust/wit/hooks.wit", "@0.1.0", "@0.2.0");
    scene.contract_becomes("teapot", "0.2.0", "0.1.0");

    what_is_not_named_is_said(&scene);

    // A mistake in the code is cargo's to explain.
    scene.edit(
        "teapot/src/lib.rs",
        "impl OnRequest for Teapot {\n    fn on_request(",
        "impl OnRequest for Teapot {\n    fn on_reqest(",
    );
    let err = scene.build_fails("teapot");
    assert!(err.contains("method `on_reqest` is not a member of trait `OnRequest`"), "{err}");
    assert!(err.contains("`on_request`"), "{err}");
    scene.edit("teapot/src/lib.rs", "fn on_reqest(&mut self) -> Verdict", "fn on_request(&mut self) -> bool");
    let err = scene.build_fails("teapot");
    assert!(err.contains("expected `Verdict`, found `bool`"), "{err}");
    assert!(err.ends_with("lockgate: cargo failed\n"), "{err}");

    // What panics says where.
    scene.edit(
        "teapot/src/lib.rs",
        "fn on_request(&mut self) -> bool {",
        "fn on_request(&mut self) -> Verdict {\n        panic!(\"an idea that was none\");",
    );
    scene.build("teapot");
    let said = scene.lockgate(&["plugin", "test", "teapot"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("error: panicked at src/lib.rs:30:9:\n"), "{}", said.out);
    assert!(said.out.contains("an idea that was none"), "{}", said.out);
}

#[test]
fn a_new_plugin_in_rust_may_have_every_hook_and_want_wasi() {
    let scene = Scene::new();
    scene.new_plugin("every-hook", "rust", ALL);
    scene.edit("every-hook/plugin.toml", "target = \"wasm32-unknown-unknown\"", "target = \"wasm32-wasip2\"");
    let built = scene.build("every-hook");
    let hooks = texts(&built["hooks"]);
    assert!(ALL.split(',').all(|hook| hooks.contains(&hook)), "{hooks:?}");
    assert!(!texts(&built["wasi"]).is_empty());
    scene.check("every-hook", &["1ms", "50ms"]);
}

/// A hook that `export!` does not name as it is called would never be called.
fn what_is_not_named_is_said(scene: &Scene) {
    let whole = scene.read("teapot/src/lib.rs");
    let ticks = "impl lockgate_plugin::OnTick for Teapot {\n    fn on_tick(&mut self) {}\n}\n";
    for (from, to, wanted) in [
        (": OnRequest)", ": OnReqest)", &["cannot find trait `OnReqest`", "similar name exists", "OnRequest"][..]),
        (": OnRequest)", ")", &["must be named: lockgate_plugin::export!(Teapot: OnRequest)"]),
        (": OnRequest)", ": OnRequest, OnTick)", &["the trait bound `Teapot: OnTick` is not satisfied"]),
        (
            "lockgate_plugin::export!",
            &format!("{ticks}lockgate_plugin::export!"),
            &["the plugin implements OnTick, and nobody would call it: name it in `export!`, too", "src/lib.rs:"],
        ),
    ] {
        scene.edit("teapot/src/lib.rs", from, to);
        let err = scene.build_fails("teapot");
        assert!(wanted.iter().all(|words| err.contains(words)), "{err}");
        scene.write("teapot/src/lib.rs", &whole);
    }
}

/// The pages of memory that an instance has from the start.
fn first_memory(component: &Path) -> u64 {
    let component = fs::read(component).unwrap();
    let memories = Parser::new(0).parse_all(&component).filter_map(|payload| match payload.unwrap() {
        Payload::MemorySection(memories) => {
            Some(memories.into_iter().map(|memory| memory.unwrap().initial).sum::<u64>())
        }
        _ => None,
    });
    memories.sum()
}
