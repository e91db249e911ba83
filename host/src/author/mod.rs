//! What a plugin's author works with: projects in six languages (`new`), and components made of them (`build`).
//!
//! A project is a folder with a `plugin.toml`. Its code is compiled by its language's own tools; what they leave is made into
//! a component here and held against the contract.

mod new;
mod build;
mod rust;
mod c;
mod javascript;
mod go;
mod python;
mod core_module;
mod sections;
mod scan;
mod source_map;
mod sources;
mod tool;
mod files;
mod contract;
mod manifest;
mod kit;

pub use build::{Built, build};
pub use manifest::{Language, Manifest};
pub use new::new;

use std::io;
use std::path::{Path, PathBuf};

/// Why there is no project, or no component.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something cannot be read or written.
    #[error("cannot {what} {}", .path.display())]
    File {
        /// What was tried: `read`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        error: io::Error,
    },
    /// What `plugin.toml` says, or the lack of one: a sentence with the file's name and, where there is one, the place.
    #[error("{0}")]
    Project(String),
    /// A program that the language needs is not there.
    #[error("{tool}: {install}")]
    Missing {
        /// What is missing, and what for.
        tool: String,
        /// How to install it.
        install: String,
    },
    /// A tool found something wrong, and has said what on standard error.
    #[error("{0}")]
    Tool(String),
    /// The component does not fit the contract.
    #[error("{0}")]
    Unfit(String),
}

impl Error {
    fn file(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::File { what, path, error }
    }
}
