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

fn lockgate(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_lockgate")).args(arguments).current_dir(folder).output().unwrap();
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    (output.status.code().unwrap(), out, err)
}
