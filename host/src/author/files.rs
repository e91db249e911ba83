//! Files that are generated or copied.

use std::fs;
use std::path::Path;

use super::Error;

/// Writes a file if it is not that already, so that what depends on it is not compiled again.
pub(super) fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<(), Error> {
    if fs::read(path).is_ok_and(|old| old == content.as_ref()) {
        return Ok(());
    }
    let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(path, content));
    written.map_err(Error::file("write", path))
}

/// Copies the files of that kind from one folder to another.
pub(super) fn copy(from: &Path, to: &Path, kind: &str) -> Result<(), Error> {
    for entry in fs::read_dir(from).map_err(Error::file("read", from))? {
        let path = entry.map_err(Error::file("read", from))?.path();
        let Some(name) = path.file_name().filter(|_| path.extension().is_some_and(|it| it == kind)) else { continue };
        write(&to.join(name), fs::read(&path).map_err(Error::file("read", &path))?)?;
    }
    Ok(())
}
