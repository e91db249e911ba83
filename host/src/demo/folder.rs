//! A folder for what the demo makes, which nobody else can look into, and which goes with it.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;

use super::Error;

/// Removed with everything in it when it is dropped.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    pub(super) fn new() -> io::Result<Self> {
        let number = getrandom::u64().map_err(|error| io::Error::other(error.to_string()))?;
        let path = std::env::temp_dir().join(format!("lockgate-demo-{number:016x}"));
        // Fails if it is there already, so it is ours and holds nothing of others.
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self { path })
    }

    /// Writes a file and returns its path.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<PathBuf, Error> {
        let path = self.path.join(name);
        // For nobody else, like the folder: one of the files is a private key.
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        match file.and_then(|mut file| file.write_all(text.as_bytes())) {
            Ok(()) => Ok(path),
            Err(cause) => Err(Error::Write { path, cause }),
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left behind is small, and in a folder that is cleaned now and then.
        let _ = fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn it_is_private_and_goes() {
        let folder = Folder::new().unwrap();
        let file = folder.write("x", "y").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "y");
        assert_eq!(fs::metadata(&folder.path).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        drop(folder);
        assert!(!file.exists());
    }
}
