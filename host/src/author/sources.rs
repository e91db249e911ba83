//! The source files of a project.

use std::fs;
use std::path::{Path, PathBuf};

use super::Error;

/// The files of that kind in these folders of the project, those of tests left out.
///
/// # Errors
/// When there is none, or a folder cannot be read.
pub(super) fn of(project: &Path, folders: &[&str], kind: &str, test: &str) -> Result<Vec<PathBuf>, Error> {
    let mut sources = Vec::new();
    for folder in folders.iter().map(|name| if name.is_empty() { project.to_owned() } else { project.join(name) }) {
        if !folder.is_dir() {
            continue;
        }
        for entry in fs::read_dir(&folder).map_err(Error::file("read", &folder))? {
            let path = entry.map_err(Error::file("read", &folder))?.path();
            let is_test = !test.is_empty() && path.to_string_lossy().ends_with(test);
            if !is_test && path.extension().is_some_and(|it| it == kind) {
                sources.push(path);
            }
        }
    }
    sources.sort();
    if sources.is_empty() {
        let within = if folders.len() > 1 { " nor in its src" } else { "" };
        return Err(Error::Project(format!("there is no .{kind} file in {}{within}", project.display())));
    }
    Ok(sources)
}
