//! `lockgate plugin new` and `build`: what is said of what `author` does.

use std::path::Path;

use crate::author::{self, Language};

/// Makes a project, and says what to do with it.
pub(super) fn new(name: &str, lang: &str, hooks: &[String]) -> Result<String, author::Error> {
    let language = Language::named(lang).unwrap_or(Language::Rust);
    let folder = author::new(Path::new(""), name, language, hooks)?;
    let folder = folder.display();
    let tools = match language {
        Language::Js | Language::Ts => Some("npm install"),
        Language::Python => Some("python3 -m venv .venv && .venv/bin/pip install -r requirements.txt"),
        // These are the machine's.
        Language::Rust | Language::Go | Language::C => None,
    };
    let tools = tools.map(|tools| (format!("(cd {folder} && {tools})"), "get its tools".to_owned()));
    let steps: Vec<_> = tools
        .into_iter()
        .chain([
            (format!("lockgate plugin build {folder}"), format!("make {folder}/{name}.wasm")),
            (format!("lockgate run {folder}/lockgate.toml"), "try it: curl -i http://127.0.0.1:8080/shop".to_owned()),
        ])
        .collect();
    let width = steps.iter().map(|(command, _)| command.len()).max().unwrap_or(0);
    let steps: String = steps.iter().map(|(command, does)| format!("    {command:width$}  # {does}\n")).collect();
    Ok(format!("{folder} is a plugin in {language}; {folder}/README.md says how it is tested.\n\n{steps}"))
}

/// Builds a project, and says what came of it.
pub(super) fn build(folder: &Path) -> Result<String, author::Error> {
    let began = std::time::Instant::now();
    let built = author::build(folder)?;
    let found = &built.inspection;
    let name = &built.manifest.name;
    let list = |items: Vec<&str>| if items.is_empty() { "none".to_owned() } else { items.join(", ") };
    let mut text = format!(
        "{}, from {} in {:.1} s\n  size      {} bytes\n  hooks     {}\n  imports   {}\n  grants    {}\n",
        built.component.display(),
        built.manifest.language,
        began.elapsed().as_secs_f32(),
        found.size,
        list(found.hooks.iter().map(String::as_str).collect()),
        list(found.imports.iter().map(String::as_str).collect()),
        list(found.grants.clone()),
    );
    if !found.wasi.is_empty() {
        text += &format!("  wasi      {} interfaces\n", found.wasi.len());
    }
    let grants = match found.grants.as_slice() {
        [] => String::new(),
        needed => {
            let grant = |name: &&str| match *name {
                "http" => "http = [\"https://..\"]".to_owned(),
                name => format!("{name} = true"),
            };
            format!("    grants = {{ {} }}\n", needed.iter().map(grant).collect::<Vec<_>>().join(", "))
        }
    };
    Ok(text + &format!("\n    [plugin.{name}]\n    path = \"{}\"\n{grants}", built.component.display()))
}
