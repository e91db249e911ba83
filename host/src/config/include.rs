//! Patterns of files: `*` stands for any part of a name, `?` for one letter, each within one folder.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

/// The files that a pattern names, in order.
#[must_use]
pub(super) fn expand(pattern: &Path) -> BTreeSet<PathBuf> {
    named(pattern).into_iter().filter(|path| path.is_file()).collect()
}

/// What a pattern names, be it files or something else. A folder that cannot be read has nothing in it.
#[must_use]
pub fn named(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let name = match part {
            Component::Normal(name) => name.to_string_lossy(),
            // Where it begins, or a folder up.
            other => {
                found.iter_mut().for_each(|path| path.push(other));
                continue;
            }
        };
        if name.contains(['*', '?']) {
            found = found.iter().flat_map(|folder| entries(folder, &name)).collect();
        } else {
            found.iter_mut().for_each(|path| path.push(&*name));
        }
    }
    found
}

/// What in a folder has a name like that. Hidden files are left alone, unless the pattern begins with a dot: an editor's
/// file is nobody's configuration.
fn entries(folder: &Path, pattern: &str) -> Vec<PathBuf> {
    let here = if folder == Path::new("") { Path::new(".") } else { folder };
    let Ok(entries) = here.read_dir() else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let fits = |name: &String| name.starts_with('.') == pattern.starts_with('.') && fits(name, pattern);
    names.filter(fits).map(|name| folder.join(name)).collect()
}

/// Whether a name is like that. Costs no more than the product of the lengths.
fn fits(name: &str, pattern: &str) -> bool {
    let (name, pattern): (Vec<char>, Vec<char>) = (name.chars().collect(), pattern.chars().collect());
    let (mut at, mut in_pattern) = (0, 0);
    // Where the last star stands, and how far it reaches.
    let mut star: Option<(usize, usize)> = None;
    while at < name.len() {
        match pattern.get(in_pattern) {
            Some('*') => {
                star = Some((in_pattern, at));
                in_pattern += 1;
            }
            Some(letter) if *letter == '?' || *letter == name[at] => {
                at += 1;
                in_pattern += 1;
            }
            _ => {
                let Some((place, reach)) = star else { return false };
                star = Some((place, reach + 1));
                (at, in_pattern) = (reach + 1, place + 1);
            }
        }
    }
    pattern[in_pattern..].iter().all(|letter| *letter == '*')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn stars_and_question_marks_stand_for_letters() {
        for (name, pattern) in [("a.toml", "*.toml"), ("a.toml", "?.toml"), ("shop-1.toml", "shop*1*"), ("", "*")] {
            assert!(fits(name, pattern), "{name} {pattern}");
        }
        for (name, pattern) in [("a.toml.bak", "*.toml"), ("ab.toml", "?.toml"), ("a", ""), ("aab", "*a")] {
            assert!(!fits(name, pattern), "{name} {pattern}");
        }
        assert!(!fits(&"a".repeat(5000), &format!("{}b", "a*".repeat(200))));
    }

    #[test]
    fn files_are_found_in_the_folders_that_are_named() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a/tenant.toml", "b/tenant.toml", "b/other.toml", "c.toml", ".hidden.toml"] {
            let file = folder.path().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, "").unwrap();
        }
        let found = |pattern: &str| -> Vec<String> {
            let found = expand(&folder.path().join(pattern));
            let relative = found.iter().map(|file| file.strip_prefix(folder.path()).unwrap().display().to_string());
            relative.collect()
        };
        assert_eq!(found("*.toml"), ["c.toml"]);
        assert_eq!(found("*/tenant.toml"), ["a/tenant.toml", "b/tenant.toml"]);
        assert_eq!(found("b/*"), ["b/other.toml", "b/tenant.toml"]);
        assert_eq!(found("c.toml"), ["c.toml"]);
        assert_eq!(found("none/*.toml").len() + found("*").len(), 1, "folders are no files");
    }
}
