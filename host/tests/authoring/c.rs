//! C.

use crate::scene::{Scene, has, texts};

const ALL: &str = "self-test,export-state,on-request,on-request-complete,on-request-body,pick-backend,on-response,\
                   on-response-body,on-response-finish,on-attempt-failed,on-tick,on-connect";

#[test]
fn a_new_plugin_in_c_builds_and_starts() {
    if !has("clang", "C") || !has("wasm-ld", "C") {
        return;
    }
    let scene = Scene::new();
    scene.new_plugin("teapot", "c", "");
    let built = scene.build("teapot");
    assert_eq!(texts(&built["hooks"]), ["configure", "on-request"]);
    assert_eq!(texts(&built["imports"]), ["request", "response"]);
    assert!(built["size"].as_u64().unwrap() < 10_000, "{}", built["size"]);
    scene.check("teapot", &["1ms", "50ms"]);
    let said = scene.lockgate(&["plugin", "bench", "teapot", "--timed", "100", "--exchanges", "100"]);
    assert!(said.code == 0 && said.out.contains("on-request"), "{said:?}");

    scene.new_plugin("every-hook", "c", ALL);
    let built = scene.build("every-hook");
    assert!(ALL.split(',').all(|hook| texts(&built["hooks"]).contains(&hook)), "{built}");
    scene.check("every-hook", &["1ms", "50ms"]);
}

#[test]
fn what_is_wrong_with_a_plugin_in_c_is_said_so_that_it_can_be_mended() {
    if !has("clang", "C") || !has("wasm-ld", "C") {
        return;
    }
    let scene = Scene::new();
    scene.new_plugin("teapot", "c", "");
    scene.newer_contract_is_told("teapot");
    scene.edit("teapot/plugin.c", "void on_request(", "void on_reqest(");
    let err = scene.build_fails("teapot");
    assert_eq!(err, "lockgate: teapot/plugin.c:12: on_reqest is no hook: did you mean on_request?\n");

    scene.edit("teapot/plugin.c", "void on_reqest(", "void something_else(");
    let err = scene.build_fails("teapot");
    assert!(
        err.contains("plugin.toml names the hook \"on-request\", and the code does not define on_request"),
        "{err}"
    );

    scene.edit("teapot/plugin.c", "void something_else(types_verdict_t *", "void on_request(types_body_action_t *");
    let err = scene.build_fails("teapot");
    assert!(err.contains("teapot/plugin.c:12:6: error: conflicting types for 'on_request'"), "{err}");

    scene.edit("teapot/plugin.c", "void on_request(types_body_action_t *", "void on_response(types_verdict_t *");
    let err = scene.build_fails("teapot");
    assert!(err.contains("add \"on-response\" to `hooks` in plugin.toml"), "{err}");

    scene.edit("teapot/plugin.c", "void on_response(", "void on_request(");
    scene.edit("teapot/plugin.c", "(void)verdict;", "__builtin_trap();");
    scene.build("teapot");
    let said = scene.lockgate(&["plugin", "test", "teapot"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("on-request: trap (plugin failed: wasm trap: wasm `unreachable`"), "{}", said.out);
}

/// In a new project, whatever its language.
#[test]
fn a_grant_that_a_new_plugin_lacks_is_named_wherever_it_is_missed() {
    if !has("clang", "C") || !has("wasm-ld", "C") {
        return;
    }
    let scene = Scene::new();
    scene.new_plugin("teapot", "c", "");
    let asks = "lockgate_option_list_u8_t got;\n  kv_error_t why;\n  kv_get(&name, &got, &why);";
    scene.edit("teapot/plugin.c", "(void)verdict;", asks);
    let said = scene.lockgate(&["plugin", "build", "teapot"]);
    assert!(said.out.contains("    grants = { kv = true }\n"), "{said:?}");
    let said = scene.lockgate(&["check", "teapot/lockgate.toml"]);
    assert!(said.code == 2 && said.err.contains("add grants = { kv = true } if you trust it"), "{said:?}");
    let said = scene.lockgate(&["plugin", "test", "teapot"]);
    assert!(said.code != 0 && said.err.matches("add grants = { kv = true } if you trust it").count() == 1, "{said:?}");
}
