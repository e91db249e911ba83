//! JavaScript and TypeScript.

use std::process::Command;

use crate::scene::{Scene, has, texts};

const ALL: &str = "self-test,export-state,on-request,on-request-complete,on-request-body,pick-backend,on-response,\
                   on-response-body,on-response-finish,on-attempt-failed,on-tick,on-connect";

#[test]
fn new_plugins_in_javascript_and_typescript_build_test_and_start() {
    if !has("npm", "JavaScript") {
        return;
    }
    let scene = Scene::new();
    for (name, language) in [("teapot", "js"), ("typed", "ts")] {
        scene.new_plugin(name, language, "");
        let err = scene.build_fails(name);
        assert!(
            err.contains(&format!(
                "needs `esbuild` in {name}/node_modules, which is not there: (cd {name} && npm install)"
            )),
            "{err}"
        );
        npm(&scene, name, &["install", "--no-audit", "--no-fund"]);
        npm(&scene, name, &["test"]);
        let built = scene.build(name);
        assert_eq!(texts(&built["hooks"]), ["configure", "on-request"]);
        assert_eq!(texts(&built["imports"]), ["log", "request", "response"], "only what it uses");
        assert!(built["size"].as_u64().unwrap() < 1_700_000, "{}", built["size"]);
        scene.check(name, &["2s"]);
    }
    what_goes_wrong_is_said(&scene);
    what_is_wrong_is_said(&scene);

    scene.new_plugin("every-hook", "ts", ALL);
    let throws = "interface Deep {\n  a: { b: string };\n}\n\nexport function onRequest(): Verdict | void {\n  \
                  console.debug(\"typed\");\n  if (request.path() === \"/throw\") return answer(200, ({} as Deep).a.b);\n";
    scene.edit("every-hook/plugin.ts", "export function onRequest(): Verdict | void {\n", throws);
    scene.edit("every-hook/plugin.ts", "import { ", "import { answer, ");
    npm(&scene, "every-hook", &["install", "--no-audit", "--no-fund", "--prefer-offline"]);
    npm(&scene, "every-hook", &["test"]);
    let built = scene.build("every-hook");
    assert!(ALL.split(',').all(|hook| texts(&built["hooks"]).contains(&hook)), "{built}");
    scene.check("every-hook", &["2s"]);
    let scenarios = scene.read("every-hook/every-hook.scenario.toml").replacen(
        "config = ",
        "limits = { cpu = \"2s\" }\nconfig = ",
        1,
    );
    let more = "\n[[scenario]]\nrequest = { target = \"/throw\" }\n";
    scene.write("every-hook/every-hook.scenario.toml", &(scenarios + more));
    let said = scene.lockgate(&["plugin", "test", "every-hook"]);
    let text = scene.read("every-hook/plugin.ts");
    let place = 1 + text.lines().position(|line| line.contains("as Deep")).unwrap();
    assert!(said.out.contains(&format!("at onRequest (plugin.ts:{place})")), "{said:?}");
}

/// What is wrong when it runs, with one component, since that takes a while to compile.
fn what_goes_wrong_is_said(scene: &Scene) {
    let whole = scene.read("teapot/plugin.js");
    let wrongs = [
        ("/throw", "nowhere.ask()", "error: onRequest threw ReferenceError: nowhere is not defined"),
        ("/wrong", "return 403", "TypeError: it returned 403, and not answer(..), hold(..) or nothing"),
        ("/promise", "return Promise.resolve()", "it returned a promise (hooks are plain functions: take `async` away"),
        (
            "/status",
            "return answer(\"403\")",
            "TypeError: answer(..): the status must be a whole number from 0 on, and is \"403\"",
        ),
        ("/body", "return answer(403, { no: 1 })", "TypeError: answer(..): the body must be a text or a Uint8Array"),
        ("/name", "response.headers.set(\"a b\", 1)", "HostError: response.headers.set(\"a b\"): invalid-name"),
        ("/kind", "request.headers.get(5)", "TypeError: request.headers: the name must be a text, and is 5"),
        (
            "/note",
            "exchange.setNote(\"a\")",
            "TypeError: exchange.setNote(..): the value must be a text, and is undefined",
        ),
        ("/frozen", "response.headers.etag = 5", "TypeError: object is not extensible"),
        ("/seen", "{ console.error(\"seen\", { a: 1 }); nowhere() }", "error: seen {\"a\":1}\n"),
        ("/helper", "deep()", "Error: an idea that was none\n               at deep (lib/deep.js:3)"),
    ];
    let lines: String =
        wrongs.iter().map(|(path, code, _)| format!("  if (request.path() === \"{path}\") {code};\n")).collect();
    scene.edit("teapot/plugin.js", "function onRequest() {\n", &format!("function onRequest() {{\n{lines}"));
    scene.edit("teapot/plugin.js", "import { ", "import { deep } from \"./lib/deep.js\";\nimport { answer, exchange, ");
    scene.write("teapot/lib/deep.js", "\nexport function deep() {\n  throw new Error(\"an idea that was none\");\n}\n");
    let line = |code: &str| 1 + scene.read("teapot/plugin.js").lines().position(|line| line.contains(code)).unwrap();
    scene.build("teapot");
    let scenarios = scene.read("teapot/teapot.scenario.toml");
    let of = |(path, _, _): &(&str, &str, &str)| format!("\n[[scenario]]\nrequest = {{ target = \"{path}\" }}\n");
    let more: String = wrongs.iter().map(of).collect();
    let limits = scenarios.replacen("config = ", "limits = { cpu = \"2s\" }\nconfig = ", 1);
    scene.write("teapot/teapot.scenario.toml", &(limits + &more));
    let said = scene.lockgate(&["plugin", "test", "teapot"]);
    assert_eq!(said.code, 1, "{said:?}");
    for (path, _, wanted) in wrongs {
        assert!(said.out.contains(wanted), "{path}: {}", said.out);
    }
    assert!(said.out.contains(", 11 failed"), "{}", said.out);
    for code in ["nowhere.ask()", "request.headers.get(5)", "deep()"] {
        let place = format!("at onRequest (plugin.js:{})", line(code));
        assert!(said.out.contains(&place), "{place}: {}", said.out);
    }
    assert!(!said.out.contains("sdk/js"), "what is the SDK's is in nobody's way: {}", said.out);
    scene.write("teapot/teapot.scenario.toml", &scenarios);
    scene.write("teapot/plugin.js", &whole);
}

fn what_is_wrong_is_said(scene: &Scene) {
    scene.newer_contract_is_told("teapot");
    scene.newer_contract_is_told("typed");
    scene.edit("teapot/plugin.js", "function onRequest()", "function onReqest()");
    let err = scene.build_fails("teapot");
    assert!(err.ends_with("plugin.js: onReqest is no hook: did you mean onRequest?\n"), "{err}");
    scene.edit("teapot/plugin.js", "export function onReqest()", "function onRequest()");
    let err = scene.build_fails("teapot");
    assert!(err.ends_with("plugin.js: exports no hook, such as onRequest: there is nothing to call it for\n"), "{err}");
    scene.edit("teapot/plugin.js", "function onRequest()", "export function onRequest(");
    let err = scene.build_fails("teapot");
    assert!(
        err.contains("[ERROR]") && err.contains("plugin.js:1") && err.ends_with("lockgate: esbuild failed\n"),
        "{err}"
    );

    for (code, wanted) in [
        ("request.path();\nexport function onRequest() {}", "plugin.js: it asks for request.path while it is loaded"),
        ("export const onRequest = request;", "onRequest is no function"),
        (
            "import \"fs\";\nexport function onRequest() {}",
            "esbuild failed: there is nothing of Node's own in a plugin",
        ),
    ] {
        scene.write("teapot/plugin.js", &format!("import {{ request }} from \"lockgate\";\n{code}\n"));
        let err = scene.build_fails("teapot");
        assert!(err.contains(wanted), "{err}");
    }

    scene.edit("typed/plugin.ts", "function onRequest()", "function onReqest()");
    let err = scene.build_fails("typed");
    assert!(err.ends_with("plugin.ts: onReqest is no hook: did you mean onRequest?\n"), "{err}");
    scene.edit("typed/plugin.ts", "function onReqest()", "function onRequest()");
    scene.edit(
        "typed/plugin.ts",
        "onRequest(): Verdict | void {",
        "onRequest(): Verdict | void {\n  if (message) return 403;",
    );
    let err = scene.build_fails("typed");
    assert!(err.contains("plugin.ts(12,") && err.contains("Type 'number' is not assignable to type"), "{err}");
}

pub(crate) fn npm(scene: &Scene, name: &str, arguments: &[&str]) {
    let output = Command::new("npm").args(arguments).current_dir(scene.path(name)).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "npm {arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
}
