//! Compiled components on disk, so that a second start does not compile them again.
//!
//! What is compiled is machine code: whoever can write it can do what this process can. So the folder must belong to this
//! process's user, nobody else may even look into it, and the same goes for each file. Nothing is ever taken from anywhere
//! else: a compiled component cannot be configured, only made.
//!
//! A crate of its own, because loading machine code is `unsafe`, which the host forbids.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

/// A folder of compiled components.
#[derive(Debug)]
pub struct ComponentCache {
    folder: PathBuf,
    /// Who this process is, to the file system.
    user: u32,
}

/// A folder that cannot be used.
#[derive(Debug)]
pub enum OpenError {
    /// Somebody else could put machine code into it.
    Unsafe {
        /// Which.
        folder: PathBuf,
        /// What is wrong with it, to be put after its name.
        why: String,
    },
    /// It cannot be made or written to.
    Io(io::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsafe { folder, why } => write!(out, "`{}` {why}", folder.display()),
            Self::Io(error) => error.fmt(out),
        }
    }
}

impl std::error::Error for OpenError {}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl ComponentCache {
    /// Opens the folder, and makes it if it is not there.
    ///
    /// # Errors
    /// When it cannot be made or written to, or when somebody else could write to it or put another in its place.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let metadata = fs::symlink_metadata(folder)?;
        // The owner of a file that we make is who we are.
        let (probe, path) = new_file(folder, "probe")?;
        let user = probe.metadata().map(|metadata| metadata.uid());
        fs::remove_file(path)?;
        let user = user?;
        let wrong = |why| OpenError::Unsafe { folder: folder.to_owned(), why };
        if !metadata.is_dir() {
            return Err(wrong("is not a folder".to_owned()));
        }
        if metadata.uid() != user {
            return Err(wrong(format!("belongs to user {}, not to user {user}, who runs this", metadata.uid())));
        }
        if metadata.mode() & 0o077 != 0 {
            let mode = metadata.mode() & 0o7777;
            return Err(wrong(format!("can be entered by others (mode {mode:04o}): it must be 0700")));
        }
        check_above(folder, user)?;
        Ok(Self { folder: folder.to_owned(), user })
    }

    /// The component whose bytes have that SHA-256, if it has been compiled for an engine like this one. What cannot be
    /// trusted or read is as good as not there.
    #[must_use]
    pub fn load(&self, engine: &Engine, digest: &[u8; 32]) -> Option<Component> {
        let path = self.path(engine, digest);
        let compiled = self.read(&path).ok()?;
        let component = deserialize(engine, &compiled).ok()?;
        // So that what is used is the last to be removed.
        let _ = File::open(path).and_then(|file| file.set_modified(SystemTime::now()));
        Some(component)
    }

    /// Keeps a compiled component for the next start.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn store(&self, engine: &Engine, digest: &[u8; 32], component: &Component) -> io::Result<()> {
        let compiled = component.serialize().map_err(io::Error::other)?;
        let path = self.path(engine, digest);
        let (mut file, beside) = new_file(&self.folder, &name(engine, digest))?;
        let written = file.write_all(&Sha256::digest(&compiled)).and_then(|()| file.write_all(&compiled));
        // A rename is all or nothing: nobody ever reads a half.
        if let Err(error) = written.and_then(|()| fs::rename(&beside, path)) {
            let _ = fs::remove_file(beside);
            return Err(error);
        }
        self.prune()
    }

    fn path(&self, engine: &Engine, digest: &[u8; 32]) -> PathBuf {
        self.folder.join(name(engine, digest))
    }

    /// What the file holds, if nobody else can have written it and it is whole.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() || metadata.uid() != self.user || metadata.mode() & 0o077 != 0 {
            return Err(io::Error::other("somebody else may have written it"));
        }
        let mut checksum = [0; 32];
        file.read_exact(&mut checksum)?;
        let mut compiled = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
        file.read_to_end(&mut compiled)?;
        if Sha256::digest(&compiled)[..] != checksum {
            return Err(io::Error::other("it is damaged"));
        }
        Ok(compiled)
    }

    /// Removes what has not been used for longest, so that the folder does not grow for ever.
    fn prune(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            files.push((entry.metadata().and_then(|metadata| metadata.modified()).ok(), entry.path()));
        }
        files.sort();
        let too_many = files.len().saturating_sub(MOST_FILES);
        for (_, path) in &files[..too_many] {
            // Another process may have been faster.
            let _ = fs::remove_file(path);
        }
        Ok(())
    }
}

/// Whoever can write to a folder above can put another folder in the place of ours.
fn check_above(folder: &Path, user: u32) -> Result<(), OpenError> {
    for above in folder.canonicalize()?.ancestors().skip(1) {
        let metadata = fs::metadata(above)?;
        let sticky = metadata.mode() & 0o1000 != 0;
        let foreign = metadata.uid() != user && metadata.uid() != 0;
        if foreign || metadata.mode() & 0o022 != 0 && !sticky {
            let why = format!("lies in `{}`, where others can put another in its place", above.display());
            return Err(OpenError::Unsafe { folder: folder.to_owned(), why });
        }
    }
    Ok(())
}

/// Makes machine code into a component.
#[expect(unsafe_code, reason = "there is no other way, and this crate is where it is contained")]
fn deserialize(engine: &Engine, compiled: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the bytes must be what `Component::serialize` made. They come from a file of ours in a folder of ours that
    // nobody else can enter, which `open` and `read` have checked, and they are whole, as their checksum shows. Whether they
    // were made for this version, this configuration and this processor is checked by wasmtime itself.
    unsafe { Component::deserialize(engine, compiled) }
}

/// The bytes of the component, and what would have made other machine code of them.
fn name(engine: &Engine, digest: &[u8; 32]) -> String {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{digest}-{:016x}", hasher.finish())
}

/// A new file that only we can open.
fn new_file(folder: &Path, name: &str) -> io::Result<(File, PathBuf)> {
    let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
    let thread = std::thread::current().id();
    let path = folder.join(format!("{name}.{}-{thread:?}-{nanos}.new", std::process::id()));
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    Ok((file, path))
}

/// Components that are kept.
const MOST_FILES: usize = 128;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    struct Scene {
        folder: tempfile::TempDir,
        engine: Engine,
        bytes: Vec<u8>,
        digest: [u8; 32],
    }

    impl Scene {
        fn new() -> Self {
            let bytes = fs::read(xtask::guests::component("bare")).unwrap();
            let digest = Sha256::digest(&bytes).into();
            Self { folder: tempfile::tempdir().unwrap(), engine: Engine::default(), bytes, digest }
        }

        fn cache(&self) -> ComponentCache {
            ComponentCache::open(&self.folder.path().join("a/b")).unwrap()
        }

        fn stored(&self) -> (ComponentCache, PathBuf) {
            let cache = self.cache();
            let component = Component::from_binary(&self.engine, &self.bytes).unwrap();
            cache.store(&self.engine, &self.digest, &component).unwrap();
            let path = cache.path(&self.engine, &self.digest);
            (cache, path)
        }

        fn is_found(&self, cache: &ComponentCache) -> bool {
            cache.load(&self.engine, &self.digest).is_some()
        }
    }

    #[test]
    fn what_is_stored_is_found_again() {
        let scene = Scene::new();
        assert!(!scene.is_found(&scene.cache()));
        let (cache, _) = scene.stored();
        assert!(scene.is_found(&cache));
        assert!(scene.is_found(&scene.cache()), "by another process, too");
        assert!(cache.load(&scene.engine, &[7; 32]).is_none());
        let mut config = wasmtime::Config::new();
        config.epoch_interruption(true);
        assert!(cache.load(&Engine::new(&config).unwrap(), &scene.digest).is_none(), "another engine");
        assert_eq!(fs::read_dir(&cache.folder).unwrap().count(), 1, "nothing is left lying about");
    }

    #[test]
    fn a_damaged_file_is_as_good_as_none_and_is_replaced() {
        let scene = Scene::new();
        let (cache, path) = scene.stored();
        let whole = fs::read(&path).unwrap();
        for damage in [0, 31, 32, 500, whole.len() - 1] {
            let mut damaged = whole.clone();
            damaged[damage] ^= 1;
            fs::write(&path, damaged).unwrap();
            assert!(!scene.is_found(&cache), "byte {damage}");
        }
        for length in [0, 10, 32, whole.len() / 2] {
            fs::write(&path, &whole[..length]).unwrap();
            assert!(!scene.is_found(&cache), "{length} bytes");
        }
        assert!(scene.is_found(&scene.stored().0));
    }

    #[test]
    fn what_others_could_have_written_is_not_taken() {
        let scene = Scene::new();
        let (cache, path) = scene.stored();
        fs::set_permissions(&path, Permissions::from_mode(0o620)).unwrap();
        assert!(!scene.is_found(&cache));
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert!(scene.is_found(&cache));
        let refused = |folder: &Path| ComponentCache::open(folder).unwrap_err().to_string();
        for mode in [0o770, 0o707, 0o755] {
            fs::set_permissions(&cache.folder, Permissions::from_mode(mode)).unwrap();
            let why = refused(&cache.folder);
            assert!(why.ends_with(&format!("can be entered by others (mode 0{mode:o}): it must be 0700")), "{why}");
        }
        fs::set_permissions(&cache.folder, Permissions::from_mode(0o700)).unwrap();
        let elsewhere = scene.folder.path().join("link");
        std::os::unix::fs::symlink(&cache.folder, &elsewhere).unwrap();
        assert!(refused(&elsewhere).ends_with("is not a folder"));
        let above = cache.folder.parent().unwrap();
        for mode in [0o777, 0o720] {
            fs::set_permissions(above, Permissions::from_mode(mode)).unwrap();
            assert!(refused(&cache.folder).ends_with("where others can put another in its place"));
        }
        fs::set_permissions(above, Permissions::from_mode(0o1777)).unwrap();
        assert!(ComponentCache::open(&cache.folder).is_ok(), "nobody can rename what is not theirs in such a folder");
    }

    /// Only root can give files away, so nobody else can pass or fail this.
    #[test]
    fn what_belongs_to_others_is_not_taken() {
        let scene = Scene::new();
        let (cache, path) = scene.stored();
        if std::os::unix::fs::chown(&path, Some(12_345), None).is_err() {
            return;
        }
        assert!(!scene.is_found(&cache));
        std::os::unix::fs::chown(&cache.folder, Some(12_345), None).unwrap();
        let why = ComponentCache::open(&cache.folder).unwrap_err().to_string();
        assert!(why.contains("belongs to user 12345, not to user 0"), "{why}");
    }

    #[test]
    fn the_folder_does_not_grow_for_ever() {
        let scene = Scene::new();
        let cache = scene.cache();
        for number in 0..300 {
            fs::write(cache.folder.join(number.to_string()), "old").unwrap();
        }
        let (cache, _) = scene.stored();
        assert_eq!(fs::read_dir(&cache.folder).unwrap().count(), MOST_FILES);
        assert!(scene.is_found(&cache), "the newest is kept");
    }
}
