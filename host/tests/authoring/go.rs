//! Go.

use std::process::Command;

use crate::scene::{Scene, has, texts, with_tools};

const ALL: &str = "self-test,export-state,on-request,on-request-complete,on-request-body,pick-backend,on-response,\
                   on-response-body,on-response-finish,on-attempt-failed,on-tick,on-connect";

#[test]
fn a_new_plugin_in_go_builds_tests_and_starts() {
    if !has("go", "Go") {
        return;
    }
    let scene = Scene::new();
    scene.new_plugin("teapot", "go", "");
    test(&scene, "teapot");
    scene.sdk_is_shown("teapot", "Package lockgate is for plugins of Lockgate that are written in Go.");
    let built = scene.build("teapot");
    assert_eq!(texts(&built["hooks"]), ["configure", "on-request"]);
    assert_eq!(texts(&built["imports"]), ["log", "request", "response"], "only what it uses");
    assert_eq!(texts(&built["wasi"]), [""; 0]);
    assert!(built["size"].as_u64().unwrap() < 3_000_000, "{}", built["size"]);
    scene.check("teapot", &["2s"]);
    what_is_wrong_is_said(&scene);

    scene.new_plugin("every-hook", "go", ALL);
    test(&scene, "every-hook");
    let built = scene.build("every-hook");
    assert!(ALL.split(',').all(|hook| texts(&built["hooks"]).contains(&hook)), "{built}");
    scene.check("every-hook", &["2s"]);
}

fn what_is_wrong_is_said(scene: &Scene) {
    scene.newer_contract_is_told("teapot");
    scene.contract_becomes("teapot", "0.1.0", "0.1.1");
    scene.build("teapot");
    scene.contract_becomes("teapot", "0.1.1", "0.1.0");

    let whole = scene.read("teapot/plugin.go");
    scene.edit("teapot/plugin.go", "OnRequest(", "OnReqest(");
    let err = scene.build_fails("teapot");
    assert_eq!(err, "lockgate: teapot/plugin.go:30: OnReqest is no hook: did you mean OnRequest?\n");

    scene.edit("teapot/plugin.go", "OnReqest(", "Other(");
    let err = scene.build_fails("teapot");
    assert!(err.contains("the package has no hook, such as func (p *Plugin) OnRequest(..)"), "{err}");

    scene.write("teapot/plugin.go", &whole);
    scene.edit("teapot/plugin.go", "OnRequest(ctx context.Context)", "OnRequest(c *context.Context)");
    let err = scene.build_fails("teapot");
    assert!(err.contains("wrong type for method OnRequest"), "{err}");
    assert!(err.contains("want OnRequest(context.Context) lockgate.Verdict"), "{err}");
    assert!(err.ends_with("lockgate: go failed\n"), "{err}");

    scene.write("teapot/plugin.go", &whole);
    what_ends_a_hook_is_said(scene);
    scene.write("teapot/plugin.go", &whole);
}

/// What ends a hook, with one component, since that takes a while to compile. Where it is not the hook's own panic, Go's runtime
/// gives up, and what it writes is logged.
fn what_ends_a_hook_is_said(scene: &Scene) {
    let wrongs = [
        ("/own", "panic(\"an idea that was none\")", "error: OnRequest panicked: an idea that was none"),
        (
            "/another",
            "go func() { panic(\"an idea of another\") }()\n\t\t<-make(chan bool)",
            "error: panic: an idea of another\n           \n           goroutine ",
        ),
        (
            "/index",
            "go func() { println([]int{1}[len(lockgate.Request.Path())]) }()\n\t\t<-make(chan bool)",
            "error: panic: runtime error: index out of range [6] with length 1",
        ),
        ("/waits", "<-make(chan bool)", "error: fatal error: all goroutines are asleep - deadlock!"),
        ("/sleeps", "time.Sleep(time.Second)", "error: time.Sleep(0x3b9aca00)"),
        ("/prints", "println(\"panic: nowhere\")", ""),
    ];
    let cases: String = wrongs.iter().map(|(path, code, _)| format!("\tcase \"{path}\":\n\t\t{code}\n")).collect();
    let code = format!("\tswitch lockgate.Request.Path() {{\n{cases}\t}}\n\treturn lockgate.Proceed");
    scene.edit("teapot/plugin.go", "\treturn lockgate.Proceed", &code);
    scene.edit("teapot/plugin.go", "import (\n", "import (\n\t\"time\"\n");
    scene.build("teapot");
    let path = "teapot/teapot.scenario.toml";
    let before = scene.read(path);
    let more: String =
        wrongs.iter().map(|(path, ..)| format!("\n[[scenario]]\nrequest = {{ target = \"{path}\" }}\n")).collect();
    scene.write(path, &(before.replacen("config = ", "limits = { cpu = \"2s\" }\nconfig = ", 1) + &more));
    let said = scene.lockgate(&["plugin", "test", "teapot"]);
    assert_eq!(said.code, 1);
    for (path, _, wanted) in wrongs {
        assert!(said.out.contains(wanted), "{path}: {}{}", said.out, said.err);
    }
    assert!(said.out.contains("\n3 passed, 5 failed"), "what is only printed is no failure: {}", said.out);
    assert_eq!(said.out.matches("an idea that was none").count(), 1, "once: {}", said.out);
    let text = scene.read("teapot/plugin.go");
    let place = 1 + text.lines().position(|line| line.contains("an idea of another")).unwrap();
    assert!(said.out.contains(&format!("plugin.go:{place} ")), "with its place: {}", said.out);
    scene.write(path, &before);
}

fn test(scene: &Scene, name: &str) {
    let output = with_tools(Command::new("go").args(["test", "./..."]).current_dir(scene.path(name))).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}
