//! `lockgate plugin`: what is to be known of a plugin before it is trusted, and what makes one.

mod bench;
mod inspect;
mod make;
mod push;
mod registry;
mod test;

use std::io;
use std::path::PathBuf;

use clap::builder::PossibleValuesParser;

use crate::author::{self, Language};
use crate::config::Problems;

/// What was asked for.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Begin a plugin: a folder with code that builds, a test, the contract and the SDK
    New {
        /// The plugin's name, and its folder's
        name: String,
        /// The language to write it in
        #[arg(long, value_name = "LANGUAGE", value_parser = PossibleValuesParser::new(Language::ALL.map(|(word, _)| word)))]
        lang: String,
        /// The hooks to begin with: on-request, pick-backend, ..; further ones can be added later
        #[arg(long, value_name = "HOOK", value_delimiter = ',')]
        hooks: Vec<String>,
    },
    /// Make a component of a plugin's folder, with the tools of its language, and hold it against the contract
    Build {
        /// The folder with the plugin's `plugin.toml`
        #[arg(default_value = ".")]
        folder: PathBuf,
    },
    /// Play scenarios: what a plugin is shown, and what it is expected to do
    ///
    /// Scenarios run in the engine that serves, in a world in which time, chance and everybody who is called are arranged.
    #[command(after_help = test::EXAMPLES)]
    Test(test::Options),
    /// Show recorded exchanges to a new version of a plugin, and say what it decides otherwise
    ///
    /// Ends with 1 if there is anything.
    Replay(test::Replay),
    /// Measure what a plugin costs, in the engine that serves, with exchanges that are made up
    ///
    /// Ends with 1 if a figure is over the budget, after naming each that is.
    #[command(after_help = bench::EXAMPLES)]
    Bench(bench::Options),
    /// Say what a component is: hooks, imports, grants that it needs, digest, what made it. It is not run
    ///
    /// Ends with 1 if it is no plugin that this version runs.
    #[command(after_help = inspect::EXAMPLES)]
    Inspect(inspect::Options),
    /// Put a component into an OCI registry, and say what to write as its `path`
    ///
    /// Who you are there is what `docker login` has noted, or the text of such a file in $DOCKER_AUTH_CONFIG.
    #[command(after_help = push::EXAMPLES)]
    Push(push::Options),
}

/// Why a plugin cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("cannot read {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// It is not a component, or one that this version does not run.
    #[error("{} {}", .0.display(), .1)]
    Unfit(PathBuf, String),
    /// A file beside it is wrong.
    #[error(transparent)]
    Config(#[from] Problems),
    /// It cannot be measured.
    #[error(transparent)]
    Bench(#[from] crate::bench::Error),
    /// It costs too much.
    #[error("{} costs more than {} allows:\n  {}", .plugin, .budget.display(), .exceeded.join("\n  "))]
    OverBudget {
        /// The plugin.
        plugin: String,
        /// The budget's file.
        budget: PathBuf,
        /// What is over it.
        exceeded: Vec<String>,
    },
    /// Scenarios cannot be played.
    #[error(transparent)]
    Scenario(#[from] crate::scenario::Error),
    /// Some went otherwise than expected.
    #[error("{0} of the scenarios failed")]
    Scenarios(usize),
    /// A new version decides otherwise.
    #[error("{0} of the exchanges were decided otherwise")]
    Decisions(usize),
    /// A registry does not give it, or does not take it.
    #[error("{0}")]
    Registry(String),
    /// A report cannot be written.
    #[error("cannot write {}", .0.display())]
    Write(PathBuf, #[source] io::Error),
    /// Something was asked for that makes no sense.
    #[error("{0}")]
    Request(String),
    /// There is no project, or no component of it.
    #[error(transparent)]
    Author(#[from] author::Error),
    /// Standard output failed.
    #[error("cannot write to standard output")]
    Output(#[from] io::Error),
}

pub(super) fn run(command: &Command, print: impl Fn(&str) -> io::Result<()>) -> Result<(), Error> {
    match command {
        Command::New { name, lang, hooks } => Ok(print(&make::new(name, lang, hooks)?)?),
        Command::Build { folder } => Ok(print(&make::build(folder)?)?),
        Command::Inspect(options) => inspect::run(options, print),
        Command::Push(options) => push::run(options, print),
        Command::Bench(options) => bench::run(options, print),
        Command::Test(options) => test::run(options, print),
        Command::Replay(options) => test::replay(options, print),
    }
}
