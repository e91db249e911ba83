//! What a developer of this repository does now and then: `cargo xtask`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

use anyhow::Result;

const USAGE: &str = "\
cargo xtask dist                     build the bundled plugins and put them into plugins/dist
cargo xtask fixtures                 build all guests, and say where their components are
cargo xtask component MODULE FILE    make a component of the core module that cargo built of a plugin";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let made = match *arguments {
        ["dist"] => xtask::dist::update(),
        ["fixtures"] => xtask::guests::build(&[]).map(|components| components.into_values().collect()),
        ["component", module, file] => component(Path::new(module), Path::new(file)),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match made.and_then(|paths| show(&paths)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn component(module: &Path, file: &Path) -> Result<Vec<PathBuf>> {
    fs::write(file, xtask::guests::encode(module)?)?;
    Ok(vec![file.to_owned()])
}

/// One line for each file: its size and its path.
fn show(paths: &[PathBuf]) -> Result<()> {
    for path in paths {
        println!("{:>7} {}", fs::metadata(path)?.len(), path.display());
    }
    Ok(())
}
