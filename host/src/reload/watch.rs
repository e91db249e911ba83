//! Notices when files change. It looks at them twice a second rather than asking the system to tell: that works for every
//! file system, for files that are replaced and for files that are not there yet, and costs next to nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::config;

/// What is to be watched.
#[derive(Debug, Default)]
pub struct Watched {
    /// These files, whether they are there or not.
    pub files: Vec<PathBuf>,
    /// And all that are like one of these.
    pub patterns: Vec<PathBuf>,
}

/// Some files, and what they were when last taken note of.
#[derive(Debug)]
pub struct Watch {
    patterns: Vec<PathBuf>,
    /// By their paths as they are written: of a thousand files, comparing paths part by part takes longer than looking at them.
    files: BTreeMap<OsString, Seen>,
    /// Files that are different, as of the last look. Only what stays the same from one look to the next is acted upon:
    /// somebody may be in the middle of writing.
    unsettled: BTreeMap<OsString, Option<Stamp>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    /// None if there is no such file.
    stamp: Option<Stamp>,
    /// None if it cannot be read.
    digest: Option<[u8; 32]>,
}

/// What changes with every change of a file, without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    place: (u64, u64),
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Watch {
    /// Takes note of these files.
    #[must_use]
    pub fn new(watched: Watched) -> Self {
        let Watched { files, patterns } = watched;
        let files = files.into_iter().map(|file| (file.clone().into(), Seen::of(&file))).collect();
        Self { patterns, files, unsettled: BTreeMap::new() }
    }

    /// Waits until the contents of one are other than noted.
    pub async fn changed(&mut self) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            if self.look().await {
                return;
            }
        }
    }

    /// Takes note of what the files are now.
    pub async fn note(&mut self) {
        let different = self.different();
        let seen = see(different.into_keys().collect()).await;
        self.files.extend(seen);
        self.unsettled.clear();
    }

    /// Watches these files from now on. What was noted of those that were watched already stays.
    pub async fn follow(&mut self, watched: Watched) {
        let Watched { files, patterns } = watched;
        self.patterns = patterns;
        let files: BTreeSet<OsString> = files.into_iter().map(OsString::from).collect();
        self.files.retain(|file, _| files.contains(file));
        let new = files.into_iter().filter(|file| !self.files.contains_key(file)).collect();
        let seen = see(new).await;
        self.files.extend(seen);
    }

    /// One look: whether a file has other contents than noted, and seems to stay that way.
    async fn look(&mut self) -> bool {
        // What is new there was not there when note was taken.
        for file in self.patterns.iter().flat_map(|pattern| config::named(pattern)) {
            if !self.files.contains_key(file.as_os_str()) && file.is_file() {
                self.files.insert(file.into(), Seen { stamp: None, digest: None });
            }
        }
        let different = self.different();
        let settled = !different.is_empty() && different == self.unsettled;
        self.unsettled = different;
        if !settled {
            return false;
        }
        let seen = see(self.unsettled.keys().cloned().collect()).await;
        let changed = seen.iter().any(|(file, seen)| self.files[file].digest != seen.digest);
        if !changed {
            // Touched, or written again as it was.
            self.files.extend(seen);
            self.unsettled.clear();
        }
        changed
    }

    fn different(&self) -> BTreeMap<OsString, Option<Stamp>> {
        let now = self.files.iter().map(|(file, seen)| (file, seen, Stamp::of(file.as_ref())));
        now.filter(|(_, seen, stamp)| seen.stamp != *stamp).map(|(file, _, stamp)| (file.clone(), stamp)).collect()
    }
}

/// Reads files away from this thread.
async fn see(files: Vec<OsString>) -> BTreeMap<OsString, Seen> {
    if files.is_empty() {
        return BTreeMap::new();
    }
    let read = move || files.into_iter().map(|file| (file.clone(), Seen::of(file.as_ref()))).collect();
    tokio::task::spawn_blocking(read).await.unwrap_or_default()
}

impl Seen {
    fn of(file: &Path) -> Self {
        let metadata = file.metadata().ok();
        // Reading a pipe would take away what somebody else is to read.
        let regular = metadata.as_ref().is_some_and(Metadata::is_file);
        let contents = if regular { std::fs::read(file).ok() } else { None };
        Self { stamp: metadata.as_ref().map(Stamp::from), digest: contents.map(|bytes| Sha256::digest(bytes).into()) }
    }
}

impl Stamp {
    fn of(file: &Path) -> Option<Self> {
        file.metadata().ok().as_ref().map(Self::from)
    }
}

impl From<&Metadata> for Stamp {
    fn from(metadata: &Metadata) -> Self {
        Self {
            place: (metadata.dev(), metadata.ino()),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Between two looks. A change is acted upon after one to two of them.
const INTERVAL: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    struct Scene {
        folder: tempfile::TempDir,
        watch: Watch,
    }

    impl Scene {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("a"), "one").unwrap();
            let files = vec![folder.path().join("a"), folder.path().join("none")];
            let watch = Watch::new(Watched { files, patterns: vec![folder.path().join("*.toml")] });
            Self { folder, watch }
        }

        fn file(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        /// Writes as careful programs do: beside it, then in its place.
        fn replace(&self, name: &str, text: &str) {
            std::fs::write(self.file("new"), text).unwrap();
            std::fs::rename(self.file("new"), self.file(name)).unwrap();
        }

        async fn looks(&mut self) -> [bool; 2] {
            [self.watch.look().await, self.watch.look().await]
        }
    }

    #[tokio::test]
    async fn a_change_is_told_once_it_has_settled_and_until_it_is_noted() {
        let mut scene = Scene::new();
        assert_eq!(scene.looks().await, [false, false]);
        scene.replace("a", "two");
        assert_eq!(scene.looks().await, [false, true]);
        scene.watch.note().await;
        assert_eq!(scene.looks().await, [false, false]);
    }

    #[tokio::test]
    async fn a_file_that_is_still_being_written_is_left_alone() {
        let mut scene = Scene::new();
        for text in ["t", "tw", "two"] {
            scene.replace("a", text);
            assert!(!scene.watch.look().await);
        }
        assert!(scene.watch.look().await);
    }

    #[tokio::test]
    async fn the_same_contents_are_no_change() {
        let mut scene = Scene::new();
        scene.replace("a", "one");
        assert_eq!(scene.looks().await, [false, false]);
        scene.replace("a", "two");
        assert_eq!(scene.looks().await, [false, true]);
    }

    #[tokio::test]
    async fn files_come_and_go() {
        let mut scene = Scene::new();
        std::fs::write(scene.file("none"), "now there is one").unwrap();
        assert_eq!(scene.looks().await, [false, true]);
        scene.watch.note().await;
        std::fs::remove_file(scene.file("a")).unwrap();
        assert_eq!(scene.looks().await, [false, true]);
        scene.watch.note().await;

        std::fs::write(scene.file("b"), "b").unwrap();
        let files = vec![scene.file("none"), scene.file("b")];
        scene.watch.follow(Watched { files, patterns: Vec::new() }).await;
        scene.replace("a", "nobody looks");
        assert_eq!(scene.looks().await, [false, false]);
        scene.replace("b", "bb");
        assert_eq!(scene.looks().await, [false, true]);
    }

    #[tokio::test]
    async fn files_that_are_like_a_pattern_come_and_go() {
        let mut scene = Scene::new();
        assert_eq!(scene.looks().await, [false, false]);
        std::fs::write(scene.file("one.toml"), "one").unwrap();
        assert_eq!(scene.looks().await, [false, true]);
        scene.watch.note().await;
        assert_eq!(scene.looks().await, [false, false]);
        std::fs::remove_file(scene.file("one.toml")).unwrap();
        assert_eq!(scene.looks().await, [false, true]);
    }
}
