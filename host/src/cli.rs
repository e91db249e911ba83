//! The command line: what can be asked for, and who does it.

mod certificate;
mod check;
mod plugin;
mod rebuild;

use std::error::Error as _;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand};

use crate::config::Problems;
use crate::{demo, scenario, server};

/// What was asked for.
#[derive(Debug, Parser)]
#[command(name = "lockgate", version, about, after_help = EXAMPLES, max_term_width = 100, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve what a configuration file says, until SIGTERM or SIGINT; SIGHUP reads the file again
    Run {
        /// The configuration file
        #[arg(default_value = "lockgate.toml")]
        config: PathBuf,
        /// Make plugins anew whenever one of the files in their `source` is saved, and swap them in
        #[arg(long)]
        watch: bool,
    },
    /// Say all that is wrong with a configuration file, without serving
    ///
    /// Ends with 0 if it would run, after a summary with the routes in the order in which they are tried; with 2 otherwise,
    /// after every problem with its file, line and column.
    Check {
        /// The configuration file
        #[arg(default_value = "lockgate.toml")]
        config: PathBuf,
    },
    /// Try Lockgate without a configuration: two backends, HTTP and HTTPS, and the bundled plugins
    Demo {
        /// The port for HTTP on 127.0.0.1
        #[arg(long, value_name = "PORT", default_value_t = 8080)]
        http: u16,
        /// The port for HTTPS on 127.0.0.1
        #[arg(long, value_name = "PORT", default_value_t = 8443)]
        https: u16,
        /// Print the configuration, to start from, and do nothing else
        #[arg(long)]
        print_config: bool,
    },
    /// Begin, build, test, measure and ship plugins
    #[command(subcommand)]
    Plugin(plugin::Command),
    /// Make a self-signed certificate for development
    Certificate(certificate::Options),
    /// Print a script that completes this command's words in a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// Does what was asked for.
///
/// # Errors
/// Why it could not be done.
pub fn run(cli: Cli) -> Result<(), Error> {
    match cli.command {
        Command::Run { config, watch } => {
            let _builder = watch.then(|| rebuild::start(&config)).transpose()?;
            server::run(&config)?;
        }
        Command::Check { config } => print(&check::run(&config)?)?,
        Command::Demo { http, https, print_config } => {
            let ports = demo::Ports { http, https };
            if print_config {
                print(&demo::sample(&ports))?;
            } else {
                demo::run(&ports)?;
            }
        }
        Command::Plugin(command) => plugin::run(&command, print)?,
        Command::Certificate(options) => print(&certificate::run(&options)?)?,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "lockgate", &mut script);
            print(&String::from_utf8_lossy(&script))?;
        }
    }
    Ok(())
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] Problems),
    /// `run` failed.
    #[error(transparent)]
    Server(#[from] server::Error),
    /// `demo` failed.
    #[error(transparent)]
    Demo(#[from] demo::Error),
    /// Plugins cannot be run on this machine.
    #[error(transparent)]
    Plugins(#[from] crate::plugin::LoadError),
    /// `certificate` failed.
    #[error(transparent)]
    Certificate(#[from] certificate::Error),
    /// `plugin` failed.
    #[error(transparent)]
    Plugin(#[from] plugin::Error),
    /// Standard output failed.
    #[error("cannot write to standard output")]
    Output(#[from] io::Error),
}

impl Error {
    /// 2 for a wrong configuration (as for a wrong command line), 1 for everything else.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        if self.problems().is_some() { 2 } else { 1 }
    }

    /// What to print: problems as they are, since each names its file; everything else with its causes.
    #[must_use]
    pub fn report(&self) -> String {
        if let Some(problems) = self.problems() {
            return problems.to_string();
        }
        let mut report = format!("lockgate: {self}");
        let mut cause = self.source();
        while let Some(error) = cause {
            report.push_str(&format!(": {error}"));
            cause = error.source();
        }
        report
    }

    /// The problems of the configuration, if they are the reason.
    fn problems(&self) -> Option<&Problems> {
        if let Self::Config(problems) = self {
            return Some(problems);
        }
        let mut cause = match self {
            Self::Server(error) => Some(error as &dyn std::error::Error),
            Self::Demo(error) => Some(error as &dyn std::error::Error),
            Self::Plugin(plugin::Error::Config(problems)) => return Some(problems),
            Self::Plugin(plugin::Error::Scenario(scenario::Error::File(problems))) => return Some(problems),
            Self::Config(_) | Self::Plugins(_) | Self::Certificate(_) | Self::Plugin(_) | Self::Output(_) => None,
        };
        while let Some(error) = cause {
            if let Some(problems) = error.downcast_ref() {
                return Some(problems);
            }
            cause = error.source();
        }
        None
    }
}

/// Writes to standard output. That nobody reads on (`| head`) is no failure.
fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

const EXAMPLES: &str = "\
Examples:
  lockgate demo                              see it work, on ports 8080 and 8443
  lockgate check lockgate.toml               what is wrong with this file?
  lockgate run lockgate.toml                 serve
  lockgate run --watch                       serve, and make plugins anew when they are saved
  lockgate plugin new my-plugin --lang go    a plugin to go on with, in rust, js, ts, go, python or c
  lockgate plugin build my-plugin            make its component
  lockgate plugin test my-plugin             play its scenarios
  lockgate plugin bench my-plugin            what its calls cost
  lockgate plugin inspect my-plugin.wasm     its hooks, its imports, and what it must be granted
  lockgate plugin push my-plugin.wasm oci://ghcr.io/acme/my-plugin   put it into a registry
  lockgate certificate --host localhost      certs/localhost.crt and certs/localhost.key
  lockgate completions bash > /etc/bash_completion.d/lockgate

Exit codes: 0 well done, 2 a wrong configuration or command line, 1 anything else.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
