//! `lockgate plugin new`: a project that builds.

use std::path::{Path, PathBuf};

use super::manifest::{KIT, check_hooks, check_name};
use super::{Error, Language, files, kit};

/// Makes a project of that name in the folder of that name within `parent`, with the hooks that are named, and says where it
/// is.
///
/// # Errors
/// When the name or a hook is none, the folder is there already, or something cannot be written.
pub fn new(parent: &Path, name: &str, language: Language, hooks: &[String]) -> Result<PathBuf, Error> {
    check_name(name).map_err(Error::Project)?;
    check_hooks(hooks).map_err(Error::Project)?;
    let folder = parent.join(name);
    if folder.exists() {
        return Err(Error::Project(format!("{} is there already", folder.display())));
    }
    let words = Words::new(name, hooks);
    for given in [kit::template(language), kit::SCENARIOS] {
        let snippets = given.iter().find(|(path, _)| *path == "hooks").map_or("", |(_, text)| text);
        for (path, text) in given.iter().filter(|(path, _)| *path != "hooks") {
            let path = match *path {
                // Under their own names they would count where they are kept.
                "gitignore" => ".gitignore".to_owned(),
                "cargo-config.toml" => ".cargo/config.toml".to_owned(),
                "scenario.toml" => format!("{name}.scenario.toml"),
                path => path.to_owned(),
            };
            files::write(&folder.join(path), words.fill(text, snippets))?;
        }
    }
    for (path, text) in kit::WIT {
        files::write(&folder.join(KIT).join("wit").join(path), text)?;
    }
    let (place, sdk) = kit::sdk(language);
    for (path, text) in sdk {
        files::write(&folder.join(KIT).join(place).join(path), text)?;
    }
    if language == Language::Rust {
        files::write(&folder.join("Cargo.lock"), kit::RUST_LOCK)?;
    }
    Ok(folder)
}

/// What stands between `{{` and `}}` in a template.
struct Words {
    name: String,
    /// `rate_limiter`
    snake: String,
    /// `RateLimiter`
    camel: String,
    hooks: Vec<String>,
}

impl Words {
    fn new(name: &str, hooks: &[String]) -> Self {
        let mut hooks = hooks.to_vec();
        if hooks.is_empty() {
            hooks.push("on-request".to_owned());
        }
        // Whoever implements one half of the pair must implement the other.
        for [one, other] in [PAIR, [PAIR[1], PAIR[0]]] {
            if hooks.iter().any(|hook| hook == one) && !hooks.iter().any(|hook| hook == other) {
                hooks.push(other.to_owned());
            }
        }
        Self { name: name.to_owned(), snake: name.replace('-', "_"), camel: camel(name), hooks }
    }

    /// A template's text with all that is left open in it. A line of its own such as `{{hooks}}` is replaced by the section of
    /// each hook: `=== on-request` in `snippets`; `{{tests}}` by its `=== on-request test`, and so on.
    fn fill(&self, text: &str, snippets: &str) -> String {
        let mut filled = String::with_capacity(text.len());
        for line in text.split_inclusive('\n') {
            match line.trim().strip_prefix("{{each ").and_then(|rest| rest.strip_suffix("}}")) {
                Some(kind) => filled += &self.sections(snippets, kind),
                None => filled += line,
            }
        }
        let quoted: Vec<_> = self.hooks.iter().map(|hook| format!("\"{hook}\"")).collect();
        let all = |kind| self.hooks.iter().filter_map(|hook| section(snippets, hook, kind)).collect::<Vec<_>>();
        let names = all("names").into_iter().flat_map(|names| names.split(',')).map(str::trim);
        let names = names.fold(Vec::new(), |mut names, name| {
            if !names.contains(&name) {
                names.push(name);
            }
            names
        });
        filled
            .replace("{{hooks}}", &quoted.join(", "))
            .replace("{{listed}}", &self.hooks.join(", "))
            .replace("{{names}}", &names.join(", "))
            .replace("{{imports}}", &imports(&all("uses")))
            .replace("{{name}}", &self.name)
            .replace("{{snake}}", &self.snake)
            .replace("{{Camel}}", &self.camel)
    }

    fn sections(&self, snippets: &str, kind: &str) -> String {
        let texts: Vec<_> = self.hooks.iter().filter_map(|hook| section(snippets, hook, kind)).collect();
        texts.concat()
    }
}

/// What the sections of the hooks use, each once.
fn imports(sections: &[&str]) -> String {
    let mut names: Vec<_> = sections.iter().flat_map(|text| text.split([',', '\n'])).map(str::trim).collect();
    names.retain(|name| !name.is_empty());
    names.sort_unstable();
    names.dedup();
    names.iter().map(|name| format!(", {name}")).collect()
}

/// The text between `=== HOOK KIND` and the next such line.
fn section<'a>(snippets: &'a str, hook: &str, kind: &str) -> Option<&'a str> {
    let title = format!("=== {hook} {kind}\n");
    let begin = snippets.find(&title)? + title.len();
    let rest = &snippets[begin..];
    // At the beginning of a line: it is an operator of JavaScript, too.
    Some(rest.find("\n=== ").map_or(rest, |end| &rest[..=end]))
}

/// `rate-limiter` as `RateLimiter`.
fn camel(name: &str) -> String {
    let word = |word: &str| word[..1].to_uppercase() + &word[1..];
    name.split('-').map(word).collect()
}

const PAIR: [&str; 2] = ["export-state", "import-state"];
