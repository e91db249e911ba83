//! What a developer of this repository does now and then: `cargo xtask`.

use std::process::ExitCode;
use std::{env, fs};

use anyhow::Result;

const USAGE: &str = "\
cargo xtask dist      build the bundled plugins and put them into plugins/dist
cargo xtask fixtures  build all guests, and say where they are";

fn main() -> ExitCode {
    match run(env::args().nth(1).as_deref()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Option<&str>) -> Result<ExitCode> {
    let paths = match command {
        Some("dist") => xtask::dist::update()?,
        Some("fixtures") => xtask::guests::build(&[])?.into_values().collect(),
        _ => {
            eprintln!("{USAGE}");
            return Ok(ExitCode::from(2));
        }
    };
    for path in paths {
        println!("{:>7} {}", fs::metadata(&path)?.len(), path.display());
    }
    Ok(ExitCode::SUCCESS)
}
