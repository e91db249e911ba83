//! The plan of the house, held: which module uses which, who knows what, and how long a file may be.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};

/// `lib.rs` lists the modules in the order in which a request walks through them.
#[test]
fn a_module_uses_only_those_below_it() {
    let order = modules();
    assert!(order.len() > 15, "lib.rs was not understood: {order:?}");
    let mut wrong = Vec::new();
    for file in files() {
        let Some(place) = order.iter().position(|module| *module == file.module) else { continue };
        for (line, used) in file.uses() {
            let used_place = order.iter().position(|module| *module == used);
            if used_place.is_some_and(|used_place| used_place < place) {
                wrong.push(format!("{}:{line}: {} is above {}", file.name, used, file.module));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_its_own_module_knows_a_large_dependency() {
    let mut wrong = Vec::new();
    for (dependency, homes) in [
        ("wasmtime", &["plugin"][..]),
        ("rustls", &["tls"]),
        ("tokio_rustls", &["tls"]),
        ("x509_parser", &["tls", "certificate"]),
        ("rcgen", &["tls", "certificate"]),
        ("clap", &["cli", "main"]),
    ] {
        for file in files().iter().filter(|file| !homes.contains(&file.module.as_str())) {
            let found = file.code_lines().find(|(_, line)| names_crate(line, dependency));
            wrong.extend(found.map(|(line, _)| format!("{}:{line}: {dependency}", file.name)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_are_short() {
    let mut lengths: Vec<_> = files().iter().map(|file| (file.code_lines().count(), file.name.clone())).collect();
    lengths.sort();
    let (longest, name) = lengths.last().unwrap();
    assert!(*longest <= 400, "{name} has {longest} lines of code");
    let mean = lengths.iter().map(|(length, _)| length).sum::<usize>() / lengths.len();
    assert!(mean < 200, "a file has {mean} lines of code in the mean");
}

/// A source file of the host.
struct File {
    /// Its path within `src`.
    name: String,
    /// The module of `lib.rs` that it belongs to.
    module: String,
    text: String,
}

impl File {
    /// Numbered lines of code: no comments, nothing blank, no tests (which stand at the end).
    fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate().map(|(index, line)| (index + 1, line));
        let code = lines.take_while(|(_, line)| *line != "#[cfg(test)]");
        code.filter(|(_, line)| !line.trim().is_empty() && !line.trim_start().starts_with("//"))
    }

    /// The modules of this crate that it names, with the line.
    fn uses(&self) -> Vec<(usize, String)> {
        let mut used = Vec::new();
        let mut group = None;
        for (number, line) in self.code_lines() {
            for rest in line.split("crate::").skip(1) {
                used.push((number, identifier(rest)));
                // `use crate::{a::B, c};` may go on over several lines.
                group = rest.strip_prefix('{').map(|_| 0);
            }
            if let Some(depth) = group.as_mut() {
                let inside = line.split_once("crate::{").map_or(line, |(_, inside)| inside);
                for part in inside.split_inclusive([',', '{', '}']) {
                    if *depth == 0 {
                        used.push((number, identifier(part.trim_start())));
                    }
                    *depth += i32::from(part.ends_with('{')) - i32::from(part.ends_with('}'));
                }
                if *depth < 0 {
                    group = None;
                }
            }
        }
        used.retain(|(_, module)| !module.is_empty());
        used
    }
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// Whether a line has that crate's name as the beginning of a path, or in a `use`.
fn names_crate(line: &str, name: &str) -> bool {
    let used = ["use ", "pub use "]
        .iter()
        .any(|it| line.trim_start().strip_prefix(it).map(identifier).as_deref() == Some(name));
    let path = format!("{name}::");
    let named = line.match_indices(&path).any(|(at, _)| {
        !line[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_' || before == ':')
    });
    used || named
}

fn modules() -> Vec<String> {
    let text = fs::read_to_string(source().join("lib.rs")).unwrap();
    text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).map(str::to_owned).collect()
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn files() -> Vec<File> {
    let mut files = Vec::new();
    let mut folders = vec![source()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") && !is_test(&path) {
                let name = path.strip_prefix(source()).unwrap().to_str().unwrap().to_owned();
                let module = identifier(&name);
                files.push(File { name, module, text: fs::read_to_string(&path).unwrap() });
            }
        }
    }
    files
}

/// Tests may stand in a file or a folder of their own, named so.
fn is_test(path: &Path) -> bool {
    path.strip_prefix(source())
        .unwrap()
        .components()
        .any(|part| part.as_os_str().to_str().unwrap().starts_with("tests"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_are_found_however_they_are_written() {
        let text = "use crate::a::{X, Y};\nuse crate::{b::{P, Q}, c};\nuse crate::{\n    d,\n    e::E,\n};\n// crate::f\nlet x = crate::g::h();\n";
        let file = File { name: String::new(), module: String::new(), text: text.to_owned() };
        let used: Vec<_> = file.uses().into_iter().map(|(line, module)| format!("{line}{module}")).collect();
        assert_eq!(used, ["1a", "2b", "2c", "4d", "5e", "8g"]);
    }

    #[test]
    fn a_crate_is_found_where_it_is_named() {
        for line in ["use rustls::X;", "    pub use rustls;", "fn f(x: rustls::X)", "let x = <rustls::X>::y();"] {
            assert!(names_crate(line, "rustls"), "{line}");
        }
        for line in ["use tokio_rustls::X;", "let rustls = 1;", "super::rustls::x()", "use rustls_pki_types::X;"] {
            assert!(!names_crate(line, "rustls"), "{line}");
        }
    }
}
