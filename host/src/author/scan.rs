//! A look at sources for functions that are nearly called like a hook: no compiler minds them, and nobody would ever call them.

use std::fs;
use std::path::PathBuf;

use super::{Error, contract};
use crate::config::nearest;

/// How a language writes the name of a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Case {
    /// `on_request`
    Snake,
    /// `onRequest`
    Camel,
    /// `OnRequest`
    Pascal,
}

impl Case {
    /// A hook's name as it is written in this language.
    pub(super) fn of(self, hook: &str) -> String {
        let mut words = hook.split('-');
        let upper = |word: &str| word[..1].to_uppercase() + &word[1..];
        match self {
            Self::Snake => hook.replace('-', "_"),
            Self::Camel => words.next().unwrap_or_default().to_owned() + &words.map(upper).collect::<String>(),
            Self::Pascal => words.map(upper).collect(),
        }
    }

    /// Whether a name is one that only a hook would have: `on_` or `On` and more.
    fn is_meant(self, name: &str) -> bool {
        let after = match self {
            Self::Snake => return name.starts_with("on_"),
            Self::Camel => name.strip_prefix("on"),
            Self::Pascal => name.strip_prefix("On"),
        };
        after.is_some_and(|after| after.starts_with(|first: char| first.is_ascii_uppercase()))
    }
}

/// Refuses sources that define something called nearly like a hook, or like one that `plugin.toml` does not name.
pub(super) fn misspelt_functions(sources: &[PathBuf], named: &[String], case: Case) -> Result<(), Error> {
    for path in sources {
        let text = fs::read_to_string(path).map_err(Error::file("read", path))?;
        for (line, defined) in definitions(&text) {
            if let Err(why) = check(&defined, named, case) {
                return Err(Error::Project(format!("{}:{line}: {why}", path.display())));
            }
        }
    }
    Ok(())
}

/// Whether a function of that name is what somebody meant it to be.
pub(super) fn check(defined: &str, named: &[String], case: Case) -> Result<(), String> {
    let known = contract::hooks();
    let written: Vec<_> = known.iter().map(|hook| case.of(hook)).collect();
    if let Some(place) = written.iter().position(|name| name == defined) {
        let hook = &known[place];
        return match named.contains(hook) {
            true => Ok(()),
            false => {
                Err(format!("{defined} is there, and nobody would call it: add \"{hook}\" to `hooks` in plugin.toml"))
            }
        };
    }
    if !case.is_meant(defined) {
        return Ok(());
    }
    match nearest(defined, written.iter().map(String::as_str)) {
        Some(nearest) => Err(format!("{defined} is no hook: did you mean {nearest}?")),
        None => Ok(()),
    }
}

/// The functions that a text in C defines, with their lines: what begins at the margin and goes on with `{`.
fn definitions(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let outermost = !line.starts_with([' ', '\t', '#', '/', '}', '*']) && line.trim_end().ends_with('{');
        let Some((head, _)) = line.split_once('(').filter(|_| outermost) else { continue };
        let name = head.trim().rsplit([' ', '*']).next().unwrap_or_default();
        if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            found.push((index + 1, name.to_owned()));
        }
    }
    found
}
