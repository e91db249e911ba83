//! Components that were fetched, by the digests of their manifests. What is found is held against the digest each time, so
//! nothing that was changed there is used.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::hex;
use super::manifest::Lead;

/// A folder of components.
pub(super) struct Cache {
    folder: PathBuf,
}

impl Cache {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.join("oci") }
    }

    /// The component that the document of that digest leads to, if it is there and is what that says.
    pub(super) fn find(&self, digest: &str) -> Option<Vec<u8>> {
        let mut documents = Vec::new();
        let layer = loop {
            match Lead::from(digest, &documents).ok()? {
                Lead::Component(layer) => break layer,
                Lead::Document(_) => {
                    let kind = DOCUMENTS.get(documents.len())?;
                    documents.push(fs::read(self.path(digest, kind)).ok()?);
                }
            }
        };
        let path = self.path(digest, COMPONENT);
        let component = fs::read(&path).ok().filter(|component| hex(component) == layer.digest)?;
        // Whatever was of no use for longest goes first. If that cannot be noted, it is an older time that counts.
        let _ = File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        Some(component)
    }

    /// Keeps a component. The document that has the digest comes last: without it, nothing is found.
    pub(super) fn keep(&self, digest: &str, documents: &[Vec<u8>], component: &[u8]) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let documents = DOCUMENTS.into_iter().zip(documents.iter().map(Vec::as_slice));
        for (kind, bytes) in documents.chain([(COMPONENT, component)]).collect::<Vec<_>>().into_iter().rev() {
            let beside = self.path(digest, &format!("{kind}.{}", std::process::id()));
            fs::write(&beside, bytes)?;
            fs::rename(beside, self.path(digest, kind))?;
        }
        self.tidy()
    }

    /// Drops those that were of no use for longest, if there are too many.
    fn tidy(&self) -> io::Result<()> {
        let mut kept = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|kind| kind == COMPONENT) {
                // Another process may have dropped it meanwhile.
                kept.extend(path.metadata().and_then(|it| it.modified()).map(|used| (used, path)));
            }
        }
        kept.sort();
        let surplus = kept.len().saturating_sub(MOST);
        for (_, path) in kept.drain(..surplus) {
            for kind in DOCUMENTS {
                match fs::remove_file(path.with_extension(kind)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            fs::remove_file(path)?;
        }
        Ok(())
    }

    fn path(&self, digest: &str, kind: &str) -> PathBuf {
        self.folder.join(format!("{digest}.{kind}"))
    }
}

/// The manifest, or an index and the manifest that it names.
const DOCUMENTS: [&str; 2] = ["json", "named.json"];

const COMPONENT: &str = "wasm";

/// Components that are kept.
const MOST: usize = 64;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::super::manifest;
    use super::*;

    /// A component's documents: its manifest, or an index and that.
    fn documents(component: &[u8], indexed: bool) -> Vec<Vec<u8>> {
        let manifest = manifest::of(&manifest::config(component), component);
        let index = format!("{{\"manifests\":[{{\"digest\":\"sha256:{}\"}}]}}", hex(&manifest)).into_bytes();
        if indexed { vec![index, manifest] } else { vec![manifest] }
    }

    #[test]
    fn what_was_changed_is_not_found_and_the_folder_does_not_grow_for_ever() {
        for indexed in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let cache = Cache::new(folder.path());
            let kept: Vec<_> = (0..MOST + 5)
                .map(|number| {
                    let component = format!("component {number}").into_bytes();
                    let documents = documents(&component, indexed);
                    let digest = hex(&documents[0]);
                    cache.keep(&digest, &documents, &component).unwrap();
                    (digest, component)
                })
                .collect();
            let files = if indexed { 3 } else { 2 };
            assert_eq!(fs::read_dir(folder.path().join("oci")).unwrap().count(), files * MOST);
            let (digest, component) = kept.last().unwrap();
            assert_eq!(cache.find(digest).as_ref(), Some(component));
            for kind in [COMPONENT].iter().chain(&DOCUMENTS[..files - 1]) {
                let path = cache.path(digest, kind);
                let right = fs::read(&path).unwrap();
                fs::write(&path, [&right[..], b" "].concat()).unwrap();
                assert_eq!(cache.find(digest), None, "{kind}");
                fs::write(&path, right).unwrap();
            }
            assert!(cache.find(digest).is_some());
        }
    }
}
