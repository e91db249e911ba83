//! Mistakes that are the same in every language.

use std::path::Path;
use std::process::Command;

use crate::scene::Scene;

#[test]
fn a_misspelt_word_is_answered_with_the_right_one() {
    let scene = Scene::new();
    for (arguments, wanted) in [
        (
            &["teapot", "--lang", "c", "--hooks", "on-reqest"][..],
            "there is no hook \"on-reqest\": did you mean \"on-request\"?",
        ),
        (&["Tea Pot", "--lang", "c"], "\"Tea Pot\" is not a name such as \"rate-limiter\""),
    ] {
        let said = scene.lockgate(&[&["plugin", "new"], arguments].concat());
        assert_eq!(said.code, 1);
        assert!(said.err.contains(wanted), "{said:?}");
    }
    let said = scene.lockgate(&["plugin", "new", "teapot", "--lang", "cobol"]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("possible values: rust, "), "{said:?}");

    scene.new_plugin("teapot", "c", "");
    let said = scene.lockgate(&["plugin", "new", "teapot", "--lang", "c"]);
    assert_eq!(said.err, "lockgate: teapot is there already\n");
    for (from, to, wanted) in [
        (
            "\"on-request\"",
            "\"on-requst\"",
            "teapot/plugin.toml:3: hooks: there is no hook \"on-requst\": did you mean \"on-request\"?",
        ),
        ("hooks = ", "hocks = ", "teapot/plugin.toml:3:1: unknown field `hocks`, expected one of"),
        ("hooks = [\"on-request\"]", "", "hooks: must name the hooks that the plugin has: "),
        ("language = \"c\"", "language = \"cc\"", "teapot/plugin.toml:2:12: unknown variant `cc`, expected"),
        ("name = \"teapot\"", "name = \"Teapot\"", "teapot/plugin.toml:1: name: \"Teapot\" is not a name"),
    ] {
        let before = scene.read("teapot/plugin.toml");
        scene.edit("teapot/plugin.toml", from, to);
        let err = scene.build_fails("teapot");
        assert!(err.contains(wanted), "{err}");
        scene.write("teapot/plugin.toml", &before);
    }
    let err = scene.build_fails(".");
    assert!(
        err.contains("there is no plugin.toml in ., so it is no plugin's folder: `lockgate plugin new NAME"),
        "{err}"
    );
}

#[test]
fn a_tool_that_is_missing_is_named_with_what_installs_it() {
    let scene = Scene::new();
    scene.new_plugin("in-c", "c", "");
    scene.new_plugin("in-rust", "rust", "");
    scene.new_plugin("in-js", "js", "");
    scene.new_plugin("in-go", "go", "");
    scene.new_plugin("in-python", "python", "");
    for (name, wanted) in [
        ("in-js", "needs `node`, which is not there: install Node.js 20 or newer"),
        ("in-go", "needs `go`, which is not there: install Go 1.25 or newer"),
        ("in-python", "needs `python3`, which is not there: install Python 3.10 or newer"),
        ("in-c", "needs `clang`, which is not there: install clang and lld"),
        ("in-rust", "needs `cargo`, which is not there"),
    ] {
        let mut build = Command::new(env!("CARGO_BIN_EXE_lockgate"));
        build
            .args(["plugin", "build"])
            .arg(scene.path(name))
            .env("PATH", "/nowhere")
            .env_remove("CARGO")
            .env_remove("RUSTC");
        let output = build.output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && err.contains(wanted), "{err}");
    }
}

#[test]
fn a_new_plugins_tools_come_before_what_needs_them() {
    let scene = Scene::new();
    for (language, wanted) in [
        ("c", ["lockgate plugin build it", "lockgate run it/lockgate.toml"].as_slice()),
        ("ts", &["(cd it && npm install)", "lockgate plugin build it", "lockgate run it/lockgate.toml"]),
        (
            "python",
            &[
                "(cd it && python3 -m venv .venv && .venv/bin/pip install -r requirements.txt)",
                "lockgate plugin build it",
                "lockgate run it/lockgate.toml",
            ],
        ),
    ] {
        let said = scene.lockgate(&["plugin", "new", "it", "--lang", language]);
        let steps: Vec<_> = said.out.lines().filter_map(|line| line.split_once("  # ")).collect();
        let commands: Vec<_> = steps.iter().map(|(command, _)| command.trim()).collect();
        assert_eq!(commands, wanted, "{said:?}");
        assert!(steps.iter().all(|(command, _)| command.len() == steps[0].0.len()), "in columns: {said:?}");
        std::fs::remove_dir_all(scene.path("it")).unwrap();
    }
}

/// Components made against a contract that is newer than this host's, by hand: no tool is needed for it.
#[test]
fn a_plugin_for_a_newer_contract_is_told_apart() {
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit");
    let all: String = ["types.wit", "imports.wit", "outbound.wit", "hooks.wit", "world.wit"]
        .iter()
        .map(|file| std::fs::read_to_string(wit.join(file)).unwrap() + "\n")
        .collect();
    let scene = Scene::new();
    let listener = "[[listener]]\naddress = \"127.0.0.1:0\"\n";
    let config = format!(
        "{listener}[plugin.p]\npath = \"p.wasm\"\n[[route]]\nplugins = [\"p\"]\nrespond = {{ status = 200 }}\n"
    );
    scene.write("lockgate.toml", &config);
    for (from, to, world, wanted) in [
        (
            "interface clock {",
            "interface clock {\n    sleep: func(millis: u64);",
            "import clock; export request-hook;",
            "sleep",
        ),
        ("@0.1.0;", "@0.2.0;", "export request-hook;", "needs hooks 0.2.0, this host offers 0.1"),
    ] {
        let text = all.replace(from, to) + &format!("\nworld made {{ {world} }}\n");
        let mut resolve = wit_parser::Resolve::default();
        let package = resolve.push_str("lockgate.wit", &text).unwrap();
        let world = resolve.select_world(&[package], Some("made")).unwrap();
        let abi = wit_parser::ManglingAndAbi::Standard32;
        let component = xtask::component::of_world(&resolve, world, abi).unwrap();
        std::fs::write(scene.path("p.wasm"), component).unwrap();
        let said = scene.lockgate(&["check"]);
        assert_eq!(said.code, 2);
        assert!(said.err.contains(wanted), "{}", said.err);
    }
}

#[test]
fn a_missing_grant_is_named_with_what_grants_it() {
    let scene = Scene::new();
    let component = xtask::guests::component("outbound");
    let text = format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\n[plugin.p]\npath = \"{}\"\n[[route]]\nplugins = [\"p\"]\nrespond = {{ status = 200 }}\n",
        component.display()
    );
    scene.write("lockgate.toml", &text);
    let said = scene.lockgate(&["check"]);
    assert_eq!(said.code, 2);
    assert!(
        said.err.contains("add grants = { http = [\"https://HOST/PATH\"], kv = true } if you trust it"),
        "{}",
        said.err
    );
}
