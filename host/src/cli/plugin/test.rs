//! `lockgate plugin test` and `lockgate plugin replay`.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::Error;
use crate::config::{self, At, Component, Located};
use crate::scenario::{Instead, Verdict, find, junit, play, text};

/// What was asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// A scenario file, or a folder: then all files in it and below whose names end with .scenario.toml
    #[arg(default_value = ".")]
    path: PathBuf,
    /// The component, instead of the one that the files name
    #[arg(long, value_name = "FILE")]
    plugin: Option<PathBuf>,
    /// Its configuration, instead of the files': a TOML file with what `config` holds, or a JSON file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Writes the results to a file, as JUnit has them
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Tests again whenever a scenario or a component changes, until it is stopped
    #[arg(long)]
    watch: bool,
}

/// What was asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Replay {
    /// The folder that was recorded into, or one file of it
    path: PathBuf,
    /// The new version of the component
    #[arg(long, value_name = "FILE")]
    plugin: PathBuf,
    /// Its configuration, where that was not recorded: a TOML file with what `config` holds, or a JSON file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Writes the results to a file, as JUnit has them
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

pub(super) fn run(options: &Options, print: impl Fn(&str) -> io::Result<()>) -> Result<(), Error> {
    if options.watch {
        return watch(options, print);
    }
    let verdicts = once(&options.path, &options.instead()?, options.junit.as_deref())?;
    print(&text(&verdicts))?;
    match verdicts.iter().filter(|verdict| !verdict.passed()).count() {
        0 => Ok(()),
        failed => Err(Error::Scenarios(failed)),
    }
}

pub(super) fn replay(options: &Replay, print: impl Fn(&str) -> io::Result<()>) -> Result<(), Error> {
    let instead = instead(Some(&options.plugin), options.config.as_deref())?;
    let verdicts = once(&options.path, &instead, options.junit.as_deref())?;
    let changed: Vec<_> = verdicts.iter().filter(|verdict| !verdict.passed()).collect();
    let mut said = String::new();
    for verdict in &changed {
        said += &format!("CHANGED {} ({})\n", verdict.name, verdict.place);
        for line in
            verdict.differences.iter().flat_map(|it| it.to_string().lines().map(str::to_owned).collect::<Vec<_>>())
        {
            said += &format!("          {line}\n");
        }
    }
    print(&format!("{said}{} exchanges replayed, {} decided otherwise\n", verdicts.len(), changed.len()))?;
    if changed.is_empty() { Ok(()) } else { Err(Error::Decisions(changed.len())) }
}

fn once(path: &Path, instead: &Instead, report: Option<&Path>) -> Result<Vec<Verdict>, Error> {
    let verdicts = play(&find(path)?, instead)?;
    if let Some(file) = report {
        std::fs::write(file, junit(&verdicts)).map_err(|error| Error::Write(file.to_owned(), error))?;
    }
    Ok(verdicts)
}

impl Options {
    fn instead(&self) -> Result<Instead, Error> {
        instead(self.plugin.as_deref(), self.config.as_deref())
    }
}

fn instead(plugin: Option<&Path>, config: Option<&Path>) -> Result<Instead, Error> {
    let component = plugin.map(component).transpose()?;
    let config = config.map(config::configuration).transpose()?;
    Ok(Instead { component, config: config.map(|(config, _)| config) })
}

/// On the command line, paths are relative to where one stands; in a scenario, to its file.
fn component(path: &Path) -> Result<Component, Error> {
    let path = std::path::absolute(path).map_err(|error| Error::Read(path.to_owned(), error))?;
    Ok(Component::Path(Located { value: path, at: At::default() }))
}

fn watch(options: &Options, print: impl Fn(&str) -> io::Result<()>) -> Result<(), Error> {
    loop {
        let before = stamps(options);
        let played = options.instead().and_then(|instead| once(&options.path, &instead, options.junit.as_deref()));
        match played {
            Ok(verdicts) => print(&text(&verdicts))?,
            // The next save may mend it.
            Err(error) => print(&format!("{}\n", crate::cli::Error::Plugin(error).report()))?,
        }
        print("waiting for changes\n")?;
        while stamps(options) == before {
            wait();
        }
    }
}

fn wait() {
    std::thread::sleep(Duration::from_millis(200));
}

/// When the files that matter were changed: scenarios, and components beside them.
fn stamps(options: &Options) -> Vec<(PathBuf, Option<SystemTime>, u64)> {
    let mut files = find(&options.path).unwrap_or_default();
    files.extend(options.plugin.iter().chain(&options.config).cloned());
    let folders: Vec<_> = files.iter().filter_map(|file| file.parent().map(Path::to_owned)).collect();
    for folder in folders {
        let entries = std::fs::read_dir(if folder.as_os_str().is_empty() { Path::new(".") } else { &folder });
        let paths = entries.into_iter().flatten().flatten().map(|entry| entry.path());
        files.extend(paths.filter(|path| path.extension().is_some_and(|extension| extension == "wasm")));
    }
    files.sort();
    files.dedup();
    let stamp = |file: PathBuf| {
        let metadata = file.metadata().ok();
        let changed = metadata.as_ref().and_then(|metadata| metadata.modified().ok());
        (file, changed, metadata.map_or(0, |metadata| metadata.len()))
    };
    files.into_iter().map(stamp).collect()
}

pub(super) const EXAMPLES: &str = "\
Examples:
  lockgate plugin test                              all scenarios in this folder and below
  lockgate plugin test tests --plugin new.wasm      of another component than the files name
  lockgate plugin test --watch                      again at every save
  lockgate plugin test --junit results.xml          for a build server

A scenario, in a file such as login.scenario.toml:
  path = \"my-plugin.wasm\"
  config = { realm = \"staff\" }

  [[scenario]]
  name = \"nobody gets in without a token\"
  request = { target = \"/admin\", headers = { host = \"shop.example.com\" } }
  expect = { verdict = \"answer\", response = { status = 401, headers = { www-authenticate = true } } }

docs/testing-plugins.md says what else there is.

Exit codes: 0 all passed, 1 some failed, 2 a file is wrong.";
