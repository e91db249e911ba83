//! The command line from outside: exit codes, and what is printed where.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

#[test]
fn a_wrong_configuration_or_command_line_ends_with_2() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("lockgate.toml"), "[server]\nwokers = 1\n").unwrap();
    for command in ["run", "check"] {
        let (code, out, err) = lockgate(folder.path(), &[command]);
        assert_eq!((code, out.as_str()), (2, ""));
        assert!(err.contains("lockgate.toml:2:1: server.wokers: unknown key \"wokers\""), "{err}");
        assert!(err.ends_with("3 problems\n"), "{err}");
        let (code, _, err) = lockgate(folder.path(), &[command, "missing.toml"]);
        assert_eq!(code, 2);
        assert!(err.starts_with("missing.toml: cannot be read"), "{err}");
    }
    for arguments in [&["frobnicate"][..], &[], &["demo", "--http", "99999"], &["certificate", "--days", "0"]] {
        let (code, out, err) = lockgate(folder.path(), arguments);
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}");
        assert!(err.contains("Usage:") || err.contains("error:"), "{err}");
    }
}

#[test]
fn a_certificates_key_is_its_owners_alone_and_nothing_is_replaced_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["certificate", "--host", "app.test", "--out", "made/here"];
    let (code, out, err) = lockgate(folder.path(), &arguments);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("certificate = \"made/here/app.test.crt\""), "{out}");
    let key = folder.path().join("made/here/app.test.key");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let first = fs::read(&key).unwrap();

    let (code, _, err) = lockgate(folder.path(), &arguments);
    assert_eq!(code, 1);
    assert_eq!(err, "lockgate: made/here/app.test.crt is there already; --force replaces it\n");
    assert_eq!(fs::read(&key).unwrap(), first);

    let (code, ..) = lockgate(folder.path(), &[&arguments[..], &["--force"]].concat());
    assert_eq!(code, 0);
    assert_ne!(fs::read(&key).unwrap(), first);
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn help_has_examples_and_shells_have_completions() {
    let folder = tempfile::tempdir().unwrap();
    let (code, help, _) = lockgate(folder.path(), &["--help"]);
    assert_eq!(code, 0);
    for words in ["Examples:", "lockgate demo", "lockgate check lockgate.toml", "Exit codes:"] {
        assert!(help.contains(words), "{help}");
    }
    let (_, version, _) = lockgate(folder.path(), &["--version"]);
    assert_eq!(version, format!("lockgate {}\n", env!("CARGO_PKG_VERSION")));
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let (code, script, _) = lockgate(folder.path(), &["completions", shell]);
        assert!(code == 0 && script.contains("certificate"), "{shell}");
    }
}

#[test]
fn a_bench_says_what_each_hook_costs_and_what_is_over_the_budget() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let few = ["--timed", "500", "--exchanges", "3000"];
    let echo = xtask::guests::component("echo-hooks");
    write("config.json", r#"{"name":"a"}"#);
    let bench = ["plugin", "bench", echo.to_str().unwrap(), "--config", "config.json"];
    let (code, out, err) = lockgate(folder.path(), &[&bench[..], &few, &["--json"]].concat());
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let figures: serde_json::Value = serde_json::from_str(&out).unwrap();
    let hooks: Vec<_> =
        figures["hooks"].as_array().unwrap().iter().map(|hook| hook["hook"].as_str().unwrap()).collect();
    assert_eq!(hooks, ["on-request", "pick-backend", "on-response-finish"], "{out}");
    for hook in figures["hooks"].as_array().unwrap() {
        for manner in ["own_stack", "workers_stack"] {
            let call = &hook[manner];
            assert!(call["nanos"].as_f64().unwrap() > 50.0 && call["worst_nanos"].as_u64().unwrap() > 0, "{out}");
        }
    }
    assert!(figures["fresh_nanos"].as_f64().unwrap() > 1000.0, "{out}");
    assert!(figures["compile_nanos"].as_u64().unwrap() > 10_000, "{out}");
    assert!(figures["exchange_nanos"].as_f64().unwrap() > 100.0, "{out}");
    let memory = &figures["memory"];
    assert_eq!((memory["exchanges"].as_u64(), memory["instances"].as_u64()), (Some(3000), Some(1)), "{out}");
    assert_eq!(memory["bytes"], memory["first_bytes"], "{out}");
    assert!(memory["bytes"].as_u64().unwrap() >= 64 << 10, "{out}");

    write("budget.toml", "size = \"1 MiB\"\nfresh = \"1ns\"\n[hook.on-request]\ncall = \"1s\"\nworst = \"1ns\"\n");
    let (code, out, err) = lockgate(folder.path(), &[&bench[..], &few, &["--budget", "budget.toml"]].concat());
    assert_eq!(code, 1, "{err}");
    assert!(out.contains("on-response-finish") && out.contains("whole exchange"), "{out}");
    assert!(err.contains("costs more than budget.toml allows:\n  fresh is "), "{err}");
    assert!(
        err.contains("\n  hook.on-request.worst is ") && !err.contains("call is") && !err.contains("size"),
        "{err}"
    );
}

#[test]
fn a_bench_of_what_cannot_be_measured_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("trap.json", r#"{"do":"trap"}"#);
    write("wrong.toml", "name = \n");
    write("budget.toml", "sise = 1\n");
    let misbehave = xtask::guests::component("misbehave");
    let bench = |rest: &[&str]| lockgate(folder.path(), &[&["plugin", "bench"], rest].concat());
    let guest = misbehave.to_str().unwrap();
    let (code, _, err) = bench(&[guest, "--config", "trap.json"]);
    assert_eq!(code, 1);
    assert!(err.contains("the plugin fails in on-request, so there is nothing to measure: plugin failed: "), "{err}");
    for (arguments, exit, told) in [
        (&["none.wasm"][..], 1, "cannot read none.wasm"),
        (&["trap.json"], 1, "trap.json is not wasm"),
        (&["--bundled", "profile"], 1, "did you mean \"profiler\"?"),
        (&[guest, "--config", "wrong.toml"], 2, "wrong.toml:1:8: "),
        (&[guest, "--budget", "budget.toml"], 2, "budget.toml:1:1: sise: unknown key \"sise\""),
        (&["--bundled", "profiler", "--request", "GET"], 1, "\"GET\" is not what a request begins with"),
        (&["--bundled", "profiler", "-H", "a b: c"], 1, "\"a b: c\" is not a field"),
    ] {
        let (code, out, err) = bench(arguments);
        assert_eq!((code, out.as_str()), (exit, ""), "{arguments:?} {err}");
        assert!(err.contains(told), "{arguments:?}: {err}");
    }
}

#[test]
fn a_bench_in_a_plugins_folder_measures_what_was_built_there() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let bench = || lockgate(folder.path(), &["plugin", "bench", "--timed", "100", "--exchanges", "100"]);
    assert!(bench().2.contains("there is no plugin.toml in ., so it is no plugin's folder"));
    write("plugin.toml", "name = \"echo\"\nlanguage = \"rust\"\n");
    let makes_it = "`lockgate plugin build .` makes it";
    assert!(bench().2.contains(&format!("./echo.wasm is not there: {makes_it}")));
    let rest = "[[listener]]\naddress = \"127.0.0.1:0\"\n[[route]]\nplugins = [\"echo\"]\nrespond = {}\n";
    let section = "[plugin.echo]\npath = \"echo.wasm\"\n";
    write("lockgate.toml", &format!("{section}{rest}"));
    let (_, _, err) = lockgate(folder.path(), &["check"]);
    assert!(err.contains("No such file or directory") && err.contains(&format!("; {makes_it}")), "{err}");

    fs::copy(xtask::guests::component("guard"), folder.path().join("echo.wasm")).unwrap();
    let (code, _, err) = bench();
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("--config FILE says how it is configured, which nothing does as yet"), "{err}");
    write("lockgate.toml", &format!("{section}config = {{ most = 9 }}\n{rest}"));
    let (code, out, err) = bench();
    assert!(code == 0 && out.starts_with("./echo.wasm\n") && out.contains("on-connect"), "{out}{err}");
    write("config.json", "{}");
    let (code, _, err) = lockgate(folder.path(), &["plugin", "bench", ".", "--config", "config.json"]);
    assert!(code == 1 && !err.contains("--config"), "what is named counts, and nothing else: {err}");
}

fn lockgate(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_lockgate")).args(arguments).current_dir(folder).output().unwrap();
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    (output.status.code().unwrap(), out, err)
}
