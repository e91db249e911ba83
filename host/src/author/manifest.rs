//! `plugin.toml`: what a project is, in a few lines.

use std::fmt::{self, Display};
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Error, contract};
use crate::config::nearest;

/// A project, as its `plugin.toml` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The folder that it is in.
    pub folder: PathBuf,
    /// The plugin's name: the component's file is called after it.
    pub name: String,
    /// The language that it is written in.
    pub language: Language,
    /// The hooks that it has, where the language's tools must be told: `on-request`.
    pub hooks: Vec<String>,
    /// Whether it is compiled for WASI 0.2 instead of for no system at all. Only in Rust.
    pub wasi: bool,
    /// The JSON Schema of its configuration.
    pub schema: Option<PathBuf>,
    /// The folder that holds the contract and the SDKs.
    pub kit: PathBuf,
}

/// A language that plugins are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Rust.
    Rust,
    /// JavaScript.
    Js,
    /// TypeScript.
    Ts,
    /// C.
    C,
    /// Go.
    Go,
    /// Python.
    Python,
}

/// What the file may say.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    name: String,
    language: Language,
    hooks: Option<Vec<String>>,
    target: Option<Target>,
    schema: Option<PathBuf>,
    lockgate: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
enum Target {
    #[serde(rename = "wasm32-unknown-unknown")]
    Plain,
    #[serde(rename = "wasm32-wasip2")]
    Wasi,
}

impl Manifest {
    /// Reads the `plugin.toml` in a folder.
    ///
    /// # Errors
    /// What is wrong with it, with file, line and column.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let shown = folder.display();
                return Err(Error::Project(format!(
                    "there is no {FILE} in {shown}, so it is no plugin's folder: `lockgate plugin new NAME --lang LANGUAGE` \
                     makes one"
                )));
            }
            Err(error) => return Err(Error::file("read", &path)(error)),
        };
        Self::parse(folder, &path, &text)
    }

    fn parse(folder: &Path, path: &Path, text: &str) -> Result<Self, Error> {
        let said: Text = toml::from_str(text).map_err(|error| {
            let (line, column) = place(text, error.span().map_or(0, |span| span.start));
            let message = error.message().trim_end().replace('\n', " ");
            Error::Project(format!("{}:{line}:{column}: {message}", path.display()))
        })?;
        let wrong = |key: &str, why: String| {
            let (line, _) = place(text, key_at(text, key));
            Err(Error::Project(format!("{}:{line}: {key}: {why}", path.display())))
        };
        if let Err(why) = check_name(&said.name) {
            return wrong("name", why);
        }
        if said.target.is_some() && said.language != Language::Rust {
            return wrong("target", format!("only Rust has a choice, this is {}", said.language));
        }
        let hooks = said.hooks.unwrap_or_default();
        if said.language.takes_hooks() {
            if hooks.is_empty() {
                return wrong("hooks", format!("must name the hooks that the plugin has: {}", sample_hooks()));
            }
        } else if !hooks.is_empty() {
            return wrong("hooks", format!("the code says that itself in {}", said.language));
        }
        if let Err(why) = check_hooks(&hooks) {
            return wrong("hooks", why);
        }
        let kit = folder.join(said.lockgate.unwrap_or_else(|| KIT.into()));
        Ok(Self {
            folder: folder.to_owned(),
            name: said.name,
            language: said.language,
            hooks,
            wasi: said.target == Some(Target::Wasi),
            schema: said.schema.map(|path| folder.join(path)),
            kit,
        })
    }

    /// The component that is made of it: `NAME.wasm` in its folder.
    #[must_use]
    pub fn component(&self) -> PathBuf {
        self.folder.join(format!("{}.wasm", self.name))
    }

    /// Where what is only made on the way goes.
    pub(super) fn scratch(&self) -> PathBuf {
        self.folder.join("target/lockgate")
    }
}

impl Language {
    /// All of them, by the words that `plugin.toml` and `--lang` know.
    pub const ALL: [(&'static str, Self); 6] = [
        ("rust", Self::Rust),
        ("js", Self::Js),
        ("ts", Self::Ts),
        ("go", Self::Go),
        ("python", Self::Python),
        ("c", Self::C),
    ];

    /// The language of that word.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(name, _)| *name == word).map(|(_, language)| language)
    }

    /// Whether `plugin.toml` must name the hooks, because the code cannot be asked before it is compiled.
    #[must_use]
    pub fn takes_hooks(self) -> bool {
        match self {
            Self::Rust | Self::Js | Self::Ts | Self::Go | Self::Python => false,
            Self::C => true,
        }
    }
}

impl Display for Language {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Rust => "Rust",
            Self::Js => "JavaScript",
            Self::Ts => "TypeScript",
            Self::C => "C",
            Self::Go => "Go",
            Self::Python => "Python",
        })
    }
}

/// A name that is a word in every language, a crate's, a package's and a file's name.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    let sound = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.len() <= 64
        && !name.ends_with('-')
        && !name.contains("--")
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if sound {
        Ok(())
    } else {
        Err(format!("{name:?} is not a name such as \"rate-limiter\": a-z, 0-9 and -, a letter first"))
    }
}

/// Whether each of these is a hook, once.
pub(super) fn check_hooks(hooks: &[String]) -> Result<(), String> {
    let known = contract::hooks();
    for (place, hook) in hooks.iter().enumerate() {
        if !known.contains(hook) {
            let hint = match nearest(hook, known.iter().map(String::as_str)) {
                Some(nearest) => format!("did you mean \"{nearest}\"?"),
                None => format!("there are {}", known.join(", ")),
            };
            return Err(format!("there is no hook \"{hook}\": {hint}"));
        }
        if hooks[..place].contains(hook) {
            return Err(format!("\"{hook}\" is there twice"));
        }
    }
    Ok(())
}

fn sample_hooks() -> String {
    contract::hooks().join(", ")
}

/// Line and column of a place in a text, from 1.
fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    (line, before.chars().rev().take_while(|letter| *letter != '\n').count() + 1)
}

/// Where the line of a key begins; the beginning if it is not there.
fn key_at(text: &str, key: &str) -> usize {
    let line = text.split_inclusive('\n').scan(0, |start, line| {
        let at = *start;
        *start += line.len();
        Some((at, line))
    });
    let is_key =
        |line: &str| line.trim_start().strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('='));
    line.into_iter().find(|(_, line)| is_key(line)).map_or(0, |(at, _)| at)
}

/// The file's name.
pub(super) const FILE: &str = "plugin.toml";

/// Where a project that was made by `new` has the contract and its SDK.
pub(super) const KIT: &str = "lockgate";
