//! What `lockgate check` says about the files in `config/`, held against `NAME.expected` beside each: the exit code, standard
//! output and standard error. `UPDATE_GOLDEN=1 cargo test --test config` writes what is said now; read the difference.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn check_says_what_is_expected() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config");
    let cases = cases(&folder);
    assert!(cases.len() >= 25, "only {} cases in {}", cases.len(), folder.display());
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut different = Vec::new();
    for case in cases {
        let found = check(&folder, &case);
        let expected = folder.join(&case).with_extension("expected");
        if update {
            fs::write(&expected, &found).unwrap();
        }
        let wanted = fs::read_to_string(&expected).unwrap_or_default();
        if found != wanted {
            different.push(format!("{}\n--- expected\n{wanted}--- found\n{found}", case.display()));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

fn cases(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).unwrap().map(|entry| PathBuf::from(entry.unwrap().file_name()));
    let mut cases: Vec<_> = files.filter(|file| file.extension().is_some_and(|it| it == "toml")).collect();
    cases.sort();
    cases
}

/// Files that are wrong must end with 2 and say so on standard error alone; those named `sound-*` with 0.
fn check(folder: &Path, case: &Path) -> String {
    let output =
        Command::new(env!("CARGO_BIN_EXE_lockgate")).arg("check").arg(case).current_dir(folder).output().unwrap();
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8(bytes.clone()).unwrap());
    let sound = case.to_string_lossy().starts_with("sound-");
    assert_eq!(output.status.code(), Some(if sound { 0 } else { 2 }), "{}: {out}{err}", case.display());
    assert_eq!([out.is_empty(), err.is_empty()], [!sound, sound], "{}: {out}{err}", case.display());
    without_digests(&format!("{out}{err}"))
}

/// The bundled plugins may change without any change in what is said about them.
fn without_digests(text: &str) -> String {
    let words = text.split_inclusive([' ', '\n', ',']).map(|word| {
        let digits = word.trim_end_matches([' ', '\n', ',']);
        let digest = digits.len() == 64 && digits.chars().all(|c| c.is_ascii_hexdigit());
        if digest { word.replace(digits, "DIGEST") } else { word.to_owned() }
    });
    words.collect()
}
