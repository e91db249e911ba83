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
}
