//! `lockgate run --watch`: plugins are made anew whenever their sources are saved. That they are swapped in then is nothing
//! special: it happens to every component whose file changes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use super::Error;
use crate::config::{self, Config};

/// What rebuilds; it stops when this is dropped, once a build that is under way has ended.
#[derive(Debug)]
pub(super) struct Builder {
    /// None while it is dropped.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Makes all plugins that have a `source`, and then each again whenever one of its files is saved.
///
/// # Errors
/// What is wrong with the configuration, or that there is nothing to watch.
pub(super) fn start(path: &Path) -> Result<Builder, Error> {
    let mut sources = sources(&config::load(path)?);
    if sources.is_empty() {
        say("no plugin has a `source`: only the configuration and the files that it names are watched");
    }
    for source in &mut sources {
        source.build();
    }
    let (stop, stopped) = channel();
    let path = path.to_owned();
    let thread = std::thread::Builder::new().name("plugin-builder".into());
    let thread = thread.spawn(move || watch(&path, sources, &stopped))?;
    Ok(Builder { stop: Some(stop), thread: Some(thread) })
}

impl Drop for Builder {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // That it panicked has been told by itself.
            let _ = thread.join();
        }
    }
}

/// The folder that a plugin is made of.
#[derive(Debug)]
struct Source {
    plugin: String,
    folder: PathBuf,
    /// None: `lockgate plugin build`.
    command: Vec<String>,
    /// Its files as they were when it was built last.
    built: Files,
    /// Other than that, and maybe still being written.
    unsettled: Option<Files>,
    /// How often in a row it was built because files had changed during a build.
    repeats: u32,
}

/// Each file, with its length and when it was changed.
type Files = BTreeMap<PathBuf, (u64, Option<SystemTime>)>;

fn watch(path: &Path, mut sources: Vec<Source>, stopped: &Receiver<()>) {
    let mut seen = stamp(path);
    while stopped.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
        let now = stamp(path);
        if now != seen {
            seen = now;
            // One that is wrong is told about by the server.
            if let Ok(config) = config::load(path) {
                take_over(&mut sources, self::sources(&config));
            }
        }
        for source in &mut sources {
            if source.has_changed() {
                source.build();
            }
        }
    }
}

/// Goes on with what is known of folders that are still to be watched.
fn take_over(sources: &mut Vec<Source>, wanted: Vec<Source>) {
    let known = std::mem::take(sources);
    for mut source in wanted {
        if let Some(same) = known.iter().find(|it| it.folder == source.folder && it.command == source.command) {
            source.built.clone_from(&same.built);
        }
        sources.push(source);
    }
}

fn sources(config: &Config) -> Vec<Source> {
    let sources = config.plugins.iter().filter_map(|(name, plugin)| {
        let source = plugin.source.as_ref()?;
        Some(Source {
            plugin: name.clone(),
            folder: config.source.resolve(&source.dir.value),
            command: source.command.clone(),
            built: Files::new(),
            unsettled: None,
            repeats: 0,
        })
    });
    sources.collect()
}

impl Source {
    /// Whether files are other than they were, and have stayed so from one look to the next.
    fn has_changed(&mut self) -> bool {
        let now = files(&self.folder);
        if now == self.built {
            self.unsettled = None;
            return false;
        }
        if self.unsettled.as_ref() == Some(&now) {
            return true;
        }
        self.unsettled = Some(now);
        false
    }

    fn build(&mut self) {
        let started = Instant::now();
        let before = files(&self.folder);
        let plugin = &self.plugin;
        say(&format!("making the plugin {plugin:?}"));
        let made = self.command().and_then(|mut command| command.status());
        match made {
            Ok(status) if status.success() => {
                say(&format!("the plugin {plugin:?} was made in {:.1} s", started.elapsed().as_secs_f32()));
            }
            Ok(status) => say(&format!("the plugin {plugin:?} cannot be made ({status}); what is there stays in use")),
            Err(error) => say(&format!("the plugin {plugin:?} cannot be made: {error}; what is there stays in use")),
        }
        self.unsettled = None;
        let now = files(&self.folder);
        if now != before && self.repeats < MOST_REPEATS {
            // Saved too late for this build, it may be. What the build itself writes, it should not write otherwise again.
            self.built = before;
            self.repeats += 1;
            return;
        }
        if now != before {
            let which = changed(&before, &now).map(|path| format!(", such as {}", path.display())).unwrap_or_default();
            say(&format!(
                "files of the plugin {plugin:?} change whenever it is made{which}: what was saved meanwhile is not in it"
            ));
        }
        self.built = now;
        self.repeats = 0;
    }

    fn command(&self) -> std::io::Result<Command> {
        let mut command = match self.command.split_first() {
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments);
                command
            }
            None => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["plugin", "build"]);
                command
            }
        };
        command.current_dir(&self.folder).stdin(std::process::Stdio::null());
        Ok(command)
    }
}

fn files(folder: &Path) -> Files {
    let mut files = Files::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            let Ok(metadata) = entry.metadata() else { continue };
            let is_made = MADE.contains(&name.as_str()) || NO_SOURCES.iter().any(|end| name.ends_with(end));
            if name.starts_with('.') || is_made {
                continue;
            }
            if metadata.is_dir() {
                folders.push(path);
            } else if files.len() < MOST_FILES {
                files.insert(path, (metadata.len(), metadata.modified().ok()));
            }
        }
    }
    files
}

/// The first file that is other than it was, is new, or is gone.
fn changed<'a>(before: &'a Files, now: &'a Files) -> Option<&'a Path> {
    let other = now.iter().find(|(path, stamp)| before.get(*path) != Some(*stamp)).map(|(path, _)| path);
    other.or_else(|| before.keys().find(|path| !now.contains_key(*path))).map(PathBuf::as_path)
}

fn stamp(path: &Path) -> Option<(u64, SystemTime)> {
    let metadata = path.metadata().ok()?;
    Some((metadata.len(), metadata.modified().ok()?))
}

/// For the person who has just saved a file.
fn say(text: &str) {
    eprintln!("lockgate: {text}");
}

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(250);

/// Folders that builds fill.
const MADE: [&str; 4] = ["target", "node_modules", "__pycache__", "build"];

/// Files that no component is made of. Of scenarios there are new ones all the time where exchanges are recorded.
const NO_SOURCES: [&str; 2] = [".wasm", ".scenario.toml"];

/// Builds that follow on one which files were changed during.
const MOST_REPEATS: u32 = 2;

/// Files of one plugin that are looked at.
const MOST_FILES: usize = 10_000;
