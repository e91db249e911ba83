//! The thread that writes what was recorded, within the room that there is.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;

use super::{Counts, Part, What, script};

/// Writes the recordings of one use.
pub(super) struct Writer {
    folder: PathBuf,
    most: u64,
    plugin: Arc<str>,
    counts: Arc<Counts>,
}

impl Writer {
    pub(super) fn new(folder: &Path, most: u64, plugin: Arc<str>, counts: Arc<Counts>) -> Self {
        Self { folder: folder.to_owned(), most, plugin, counts }
    }

    /// Writes what comes until nothing can come any more.
    pub(super) fn run(&self, parts: &Receiver<Box<Part>>) {
        let mut used = used(&self.folder);
        let mut complained = false;
        for part in parts {
            let text = script::script(&part);
            let count = if used + text.len() as u64 > self.most {
                if !complained {
                    let (plugin, folder) = (&*self.plugin, self.folder.display());
                    tracing::warn!(target: "lockgate::plugin", plugin, "nothing more is recorded: {folder} holds all of record.most");
                }
                complained = true;
                &self.counts.full
            } else {
                match self.write(&part, &text) {
                    Ok(()) => {
                        used += text.len() as u64;
                        &self.counts.written
                    }
                    Err(error) => {
                        if !complained {
                            let (plugin, folder) = (&*self.plugin, self.folder.display());
                            tracing::warn!(target: "lockgate::plugin", plugin, "cannot record into {folder}: {error}");
                        }
                        complained = true;
                        &self.counts.failed
                    }
                }
            };
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// At once, so that nobody reads half of it; for the owner only, whatever was left in it.
    fn write(&self, part: &Part, text: &str) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let kind = match part.shown.what {
            What::Exchange(_) => "",
            What::Connection(_) => "connection-",
        };
        let name = format!("{}-{}-{kind}{}", self.plugin, part.shown.time, part.shown.id);
        let beside = self.folder.join(format!(".{name}.tmp"));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(text.as_bytes())?;
        fs::rename(beside, self.folder.join(format!("{name}.scenario.toml")))
    }
}

/// Bytes of the recordings that are there.
fn used(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum()
}
