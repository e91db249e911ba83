//! Files that are no configuration of a proxy, read in the same way and with the same care: a plugin's configuration, or
//! all that a `[plugin.NAME]` section can say, in a file of its own.

use std::path::Path;

use serde_json::Value as Json;

use super::load::{read, read_with};
use super::plugins::read_settings;
use super::{At, Places, Plugin, Problems, Source};

/// Has `plugin` be configured by a file that holds the table `config`: TOML, or JSON if its name ends so.
///
/// # Errors
/// All that is wrong with it, or why it cannot be read.
pub fn configure(plugin: &mut Plugin, path: &Path) -> Result<(), Problems> {
    (plugin.config, plugin.places) = configuration(path)?;
    Ok(())
}

/// The configuration in a file, and where in it what stands, if that is TOML.
///
/// # Errors
/// All that is wrong with it, or why it cannot be read.
pub fn configuration(path: &Path) -> Result<(Json, Places), Problems> {
    let source = read(path)?;
    if path.extension().is_some_and(|extension| extension == "json") {
        return Ok((json(&source)?, Places::default()));
    }
    let (made, problems) = read_with(&source, |root| root.into_json());
    problems.into_result()?;
    Ok(made.flatten().unwrap_or_default())
}

/// Has `plugin` be set up by a file that holds what a `[plugin.NAME]` section says: `config`, `limits`, `grants` and so on.
///
/// # Errors
/// All that is wrong with it, or why it cannot be read.
pub fn set_up(plugin: &mut Plugin, path: &Path) -> Result<(), Problems> {
    let source = read(path)?;
    let (_, problems) = read_with(&source, |mut root| {
        read_settings(&mut root, plugin);
        root.finish();
    });
    problems.into_result()
}

fn json(source: &Source) -> Result<Json, Problems> {
    let problem = |line: usize, column: usize, sentence: String| {
        let before = source.text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum::<usize>();
        let start = before + column.saturating_sub(1);
        let mut problems = Problems::new(source);
        problems.push(&At { path: String::new(), span: start..start + 1 }, sentence);
        problems
    };
    match serde_json::from_str(&source.text) {
        Ok(table @ Json::Object(_)) => Ok(table),
        Ok(_) => Err(problem(1, 1, "expected an object".to_owned())),
        Err(error) => {
            let all = error.to_string();
            let sentence = all.split(" at line ").next().unwrap_or_default().to_owned();
            Err(problem(error.line(), error.column(), sentence))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::fs;
    use std::time::Duration;

    use super::super::{Component, Located};
    use super::*;

    fn plugin() -> Plugin {
        Plugin::new(At::default(), Component::Path(Located { value: "a.wasm".into(), at: At::default() }))
    }

    #[test]
    fn a_plugins_configuration_is_read_from_toml_and_from_json() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("a.toml", "a = 1\n[b]\nc = [true]\n"), ("a.json", r#"{"a":1,"b":{"c":[true]}}"#)] {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            let mut plugin = plugin();
            configure(&mut plugin, &path).unwrap();
            assert_eq!(plugin.config.to_string(), r#"{"a":1,"b":{"c":[true]}}"#);
        }
        let path = folder.path().join("settings.toml");
        fs::write(&path, "config = { a = 1 }\ngrants = { kv = true }\nlimits = { cpu = \"1ms\" }\n").unwrap();
        let mut plugin = plugin();
        set_up(&mut plugin, &path).unwrap();
        assert!(plugin.grants.kv && plugin.limits.cpu == Duration::from_millis(1) && plugin.config["a"] == 1);
    }

    #[test]
    fn what_is_wrong_with_it_has_a_place() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text, told) in [
            ("a.json", "{\n  \"a\": nope\n}", "a.json:2:9: expected ident"),
            ("b.json", "[]", "b.json:1:1: expected an object"),
            ("a.toml", "a = 1\nb =\n", "a.toml:2:4: "),
        ] {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            let problems = configure(&mut plugin(), &path).unwrap_err().to_string();
            assert!(problems.contains(told), "{problems}");
        }
        let path = folder.path().join("settings.toml");
        fs::write(&path, "limit = { cpu = \"1ms\" }\n").unwrap();
        let problems = set_up(&mut plugin(), &path).unwrap_err().to_string();
        assert!(problems.contains("settings.toml:1:1: limit: unknown key \"limit\""), "{problems}");
    }
}
