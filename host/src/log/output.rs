//! Where a log goes: a file, a standard stream, or nowhere.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Where a log goes. Nothing is held back in between.
#[derive(Debug)]
pub struct Output(Option<File>);

impl Output {
    /// Nowhere.
    #[must_use]
    pub fn nowhere() -> Self {
        Self(None)
    }

    /// To the end of that file, which is made if need be.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn append(path: &Path) -> io::Result<Self> {
        // Who asked for what is not for everybody to read.
        OpenOptions::new().append(true).create(true).mode(0o640).open(path).map(|file| Self(Some(file)))
    }

    /// To standard output.
    ///
    /// # Errors
    /// When the system has no file descriptor left.
    pub fn stdout() -> io::Result<Self> {
        io::stdout().as_fd().try_clone_to_owned().map(Self::of)
    }

    /// To standard error.
    ///
    /// # Errors
    /// When the system has no file descriptor left.
    pub fn stderr() -> io::Result<Self> {
        io::stderr().as_fd().try_clone_to_owned().map(Self::of)
    }

    /// To whatever that is.
    pub fn of(descriptor: impl Into<OwnedFd>) -> Self {
        Self(Some(File::from(descriptor.into())))
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.as_mut().map_or(Ok(bytes.len()), |file| file.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
