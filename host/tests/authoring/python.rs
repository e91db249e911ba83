//! Python.

use std::process::Command;

use crate::scene::{Scene, has, texts, with_tools};

const ALL: &str = "self-test,export-state,on-request,on-request-complete,on-request-body,pick-backend,on-response,\
                   on-response-body,on-response-finish,on-attempt-failed,on-tick,on-connect";

#[test]
fn a_new_plugin_in_python_builds_tests_and_starts() {
    if !has("componentize-py", "Python") {
        return;
    }
    let scene = Scene::new();
    scene.new_plugin("teapot", "python", "");
    test(&scene, "teapot");
    scene.sdk_is_shown("teapot", "For plugins of Lockgate, written in Python.");
    what_is_wrong_is_said(&scene);
    scene.newer_contract_is_told("teapot");

    // One for all, since making a component and compiling it take long.
    scene.new_plugin("every-hook", "python", ALL);
    test(&scene, "every-hook");
    let more = "    def on_request(self):\n        if request.path() == \"/raise\":\n            \
                raise RuntimeError(\"an idea that was none\")\n        if request.path() == \"/wrong\":\n            \
                return 403\n        if request.path() == \"/kind\":\n            \
                request.headers.get(5)\n        if request.path() == \"/exit\":\n            \
                exit(3)\n        if request.path() == \"/open\":\n            open(\"/etc/passwd\")\n        \
                if request.path() == \"/late\":\n            import sqlite3\n        \
                if request.path() == \"/list\":\n            import os; os.listdir(\"/\")\n        \
                if request.path() == \"/deep\":\n            def deep(): deep()\n            deep()\n        \
                if request.path() == \"/print\":\n            print(\"said\", 5)\n";
    scene.edit("every-hook/plugin.py", "    def on_request(self):\n", more);
    let told = "    def on_response_finish(self, summary):\n        \
                assert type(summary).__module__ == \"lockgate._types\" and summary.method == request.method()\n        \
                assert (summary.status, summary.end) == (200, \"complete\"), summary\n";
    scene.edit("every-hook/plugin.py", "    def on_response_finish(self, summary):\n", told);
    let built = scene.build("every-hook");
    assert!(ALL.split(',').all(|hook| texts(&built["hooks"]).contains(&hook)), "{built}");
    let imports = texts(&built["imports"]);
    assert_eq!(imports, ["backends", "counters", "log", "request", "response"], "only what it uses");
    assert_eq!(texts(&built["wasi"]), [""; 0]);
    assert!(built["size"].as_u64().unwrap() < 20_000_000, "{}", built["size"]);
    scene.check("every-hook", &["20s"]);

    let scenario = |path: &str| format!("\n[[scenario]]\nrequest = {{ target = \"{path}\" }}\n");
    let text = scene.read("every-hook/every-hook.scenario.toml") + &scenario("/raise") + &scenario("/wrong");
    let text = text + &scenario("/kind") + &scenario("/exit") + &scenario("/open") + &scenario("/late");
    let text = text
        + &scenario("/list")
        + &scenario("/deep")
        + &scenario("/print")
        + "expect = { log = [\"info: said 5\"] }\n";
    scene.write(
        "every-hook/every-hook.scenario.toml",
        &text.replacen("config = ", "limits = { cpu = \"20s\" }\nconfig = ", 1),
    );
    let said = scene.lockgate(&["plugin", "test", "every-hook"]);
    assert_eq!(said.code, 1, "{said:?}");
    for wanted in [
        "error: on_request raised RuntimeError: an idea that was none",
        "plugin.py:34, in on_request",
        "error: on_request returned 403, and not answer(..), hold(..) or None",
        "error: on_request raised TypeError: the name of a field must be a text, and is 5\n             plugin.py:38, in on_request\n",
        "error: on_request raised SystemExit: 3",
        "error: on_request raised OSError: open is not there in a plugin: ",
        "error: on_request raised ImportError: sqlite3 is not there in a plugin, if it was not imported at the top of",
        "error: on_request raised OSError: os.listdir is not there in a plugin: ",
        "error: on_request raised RecursionError: ",
        "in deep (9",
        ", 8 failed",
    ] {
        assert!(said.out.contains(wanted), "{wanted}: {}", said.out);
    }
    assert!(!said.out.contains("Traceback"), "each is said once: {}", said.out);
}

/// All of it before a component is made, which takes long.
fn what_is_wrong_is_said(scene: &Scene) {
    let whole = scene.read("teapot/plugin.py");
    for (from, to, wanted) in [
        (
            "def on_request(",
            "def on_reqest(",
            "lockgate: plugin.py:20: on_reqest is no hook: did you mean on_request?\n",
        ),
        ("def on_request(", "def other(", "plugin.py: the class has no hook, such as on_request"),
        (
            "on_request(self)",
            "on_request(self, body)",
            "on_request(self, body) must take self and no parameter besides",
        ),
        ("def on_request(", "async def on_request(", "hooks are plain functions: take `async` away from on_request, "),
        ("class Teapot", "path = request.path()\n\n\nclass Teapot", "plugin.py\", line 8, in <module>"),
        (
            "class Teapot",
            "path = request.path()\n\n\nclass Teapot",
            "RuntimeError: request.path asks the host, which is not",
        ),
        ("(Plugin):", ":", "plugin.py must have one class derived from lockgate.Plugin, and has none"),
        ("def on_request(self):", "def on_request(self)", "SyntaxError: expected ':'"),
        ("request, response", "request, respons", "cannot import name 'respons' from 'lockgate'"),
    ] {
        scene.edit("teapot/plugin.py", from, to);
        let err = scene.build_fails("teapot");
        assert!(err.contains(wanted), "{to}: {err}");
        scene.write("teapot/plugin.py", &whole);
    }
}

fn test(scene: &Scene, name: &str) {
    let mut test = Command::new("python3");
    let output = with_tools(test.args(["-m", "unittest"]).current_dir(scene.path(name))).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
