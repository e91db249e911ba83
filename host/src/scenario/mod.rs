//! Scenarios: what a plugin is shown, and what it is expected to do. They are written by hand, as a plugin's tests, or
//! recorded from live traffic; either way they are played in the engine that serves, with the same imports, in a world in
//! which time, chance and everybody who is called are arranged.

mod attempts;
mod compare;
mod file;
mod fields;
mod outcome;
mod play;
mod report;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use compare::Difference;
pub use file::{Expectation, Instead, Scenario, Script};
pub use outcome::Outcome;
pub use report::{junit, text};

use self::play::Stage;
use crate::config::Problems;
use crate::plugin::{LoadError, UseError};

/// What became of one scenario.
#[derive(Debug)]
pub struct Verdict {
    /// The file that it stands in, with its line and column.
    pub place: String,
    /// Its name.
    pub name: String,
    /// What was otherwise than expected; nothing if it passed.
    pub differences: Vec<Difference>,
    /// How long it took.
    pub took: Duration,
}

/// Why scenarios cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file is wrong.
    #[error(transparent)]
    File(#[from] Problems),
    /// There are none.
    #[error("there are no scenarios in {}: they are files whose names end with .scenario.toml", .0.display())]
    None(PathBuf),
    /// A folder cannot be read.
    #[error("cannot read {}", .0.display())]
    Read(PathBuf, #[source] std::io::Error),
    /// Wasm cannot be run here.
    #[error(transparent)]
    Engine(#[from] LoadError),
    /// The plugin cannot be used.
    #[error("{place}")]
    Plugin {
        /// The scenario's file.
        place: String,
        /// Why not.
        #[source]
        error: Arc<UseError>,
    },
    /// The system has no runtime for it.
    #[error("cannot start a runtime")]
    Runtime(#[from] std::io::Error),
}

impl Verdict {
    /// Whether everything was as expected.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.differences.is_empty()
    }
}

/// The scenario files at `path`: that file, or all in that folder and those within, by name.
///
/// # Errors
/// When there are none, or the folder cannot be read.
pub fn find(path: &Path) -> Result<Vec<PathBuf>, Error> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        let unreadable = |error| Error::Read(folder.clone(), error);
        for entry in std::fs::read_dir(&folder).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if !name.starts_with('.') && !LEFT_OUT.contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if name.ends_with(SUFFIX) {
                files.push(path);
            }
        }
    }
    files.sort();
    if files.is_empty() { Err(Error::None(path.to_owned())) } else { Ok(files) }
}

/// Plays all scenarios of these files, one after the other, with what `instead` says rather than what they say. Nothing is
/// played if one of the files is wrong.
///
/// # Errors
/// All that is wrong with the files, or why a plugin cannot be used.
pub fn play(files: &[PathBuf], instead: &Instead) -> Result<Vec<Verdict>, Error> {
    let scripts = load(files, instead)?;
    let stage = Stage::new()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let mut verdicts = Vec::new();
        for script in &scripts {
            let mut scene = None;
            for scenario in &script.scenarios {
                let started = Instant::now();
                let place = script.source.place(&scenario.at);
                let played = stage.play(script, scenario, &mut scene).await;
                let outcome = played.map_err(|error| Error::Plugin { place: place.clone(), error: Arc::new(error) })?;
                let differences = compare::compare(&scenario.expect, &outcome);
                verdicts.push(Verdict { place, name: scenario.name.clone(), differences, took: started.elapsed() });
            }
        }
        Ok(verdicts)
    })
}

fn load(files: &[PathBuf], instead: &Instead) -> Result<Vec<Script>, Problems> {
    let mut wrong: Option<Problems> = None;
    let mut scripts = Vec::new();
    for file in files {
        match Script::load(file, instead) {
            Ok(script) => scripts.push(script),
            Err(problems) => match &mut wrong {
                Some(all) => all.add_file(problems),
                None => wrong = Some(problems),
            },
        }
    }
    wrong.map_or(Ok(scripts), Err)
}

/// What the names of scenario files end with.
pub const SUFFIX: &str = ".scenario.toml";

/// Folders in which nobody keeps scenarios.
const LEFT_OUT: [&str; 3] = ["target", "node_modules", "__pycache__"];
