//! Components in OCI registries: `oci://registry/name@sha256:..`. What is fetched is the digest's, whoever delivers it, and is
//! kept, so that a registry that is down stops nobody who has been there before.

mod cache;
mod client;
mod credentials;
mod helper;
mod manifest;

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use self::cache::Cache;
use self::client::Registry;
use self::manifest::Lead;
use crate::config::{Reference, Registries, SCHEME, fits};

/// How registries are asked.
#[derive(Debug, Clone, Copy)]
pub struct Way<'a> {
    /// `[registries]`
    pub registries: &'a Registries,
    /// What its paths are relative to.
    pub folder: &'a Path,
}

/// Where to push to: `oci://registry/name:tag`; the tag is `latest` if there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Host, and port if there is one.
    pub registry: String,
    name: String,
    tag: String,
}

impl Target {
    /// Makes sense of `oci://registry/name:tag`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not where a plugin can be pushed to: {SCHEME}REGISTRY/NAME:TAG");
        let (registry, rest) = text.strip_prefix(SCHEME).and_then(|rest| rest.split_once('/')).ok_or_else(wrong)?;
        let (name, tag) = rest.split_once(':').unwrap_or((rest, "latest"));
        let is_tag = !tag.is_empty()
            && tag.len() <= 128
            && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
            && !tag.starts_with(['-', '.']);
        if !is_tag || !fits(registry, name) {
            return Err(wrong());
        }
        Ok(Self { registry: registry.to_owned(), name: name.to_owned(), tag: tag.to_owned() })
    }
}

/// The component's bytes, from the folder where such are kept, or else from its registry. Blocking and slow; several that want
/// the same at once wait for one of them.
///
/// # Errors
/// Why it cannot be had, to be put after its name.
pub fn fetch(reference: &Reference, way: Way<'_>, folder: Option<&Path>) -> Result<Vec<u8>, String> {
    let cache = folder.map(Cache::new);
    let find = || cache.as_ref()?.find(&reference.digest);
    if let Some(component) = find() {
        return Ok(component);
    }
    let key = reference.to_string();
    let turn = lock(&UNDER_WAY).entry(key.clone()).or_default().clone();
    let mut failed = lock(&turn);
    if let Some(error) = &*failed {
        return Err(error.clone());
    }
    if let Some(component) = find() {
        return Ok(component);
    }
    let fetched = download(reference, way);
    if let (Ok((documents, component)), Some(cache)) = (&fetched, &cache)
        && let Err(error) = cache.keep(&reference.digest, documents, component)
    {
        tracing::warn!(target: "lockgate::plugin", "a component cannot be kept, so each start fetches it again: {error}");
    }
    // Those who wait meanwhile are told the same; whoever comes later tries again.
    *failed = fetched.as_ref().err().cloned();
    lock(&UNDER_WAY).remove(&key);
    fetched.map(|(_, component)| component)
}

/// What leads to the component, and the component, all with the digests that they must have.
fn download(reference: &Reference, way: Way<'_>) -> Result<(Vec<Vec<u8>>, Vec<u8>), String> {
    let fetched = apart(way.registries.timeout, async {
        let registry = Registry::new(&reference.registry, way);
        let mut documents = Vec::new();
        let layer = loop {
            match Lead::from(&reference.digest, &documents)? {
                Lead::Component(layer) => break layer,
                Lead::Document(digest) => {
                    let path = format!("/v2/{}/manifests/sha256:{digest}", reference.name);
                    documents.push(registry.get(&path, manifest::ACCEPTED, LARGEST_MANIFEST).await?);
                }
            }
        };
        if layer.size > LARGEST_COMPONENT {
            return Err(format!("its component is larger than {} MiB", LARGEST_COMPONENT >> 20));
        }
        let path = format!("/v2/{}/blobs/sha256:{}", reference.name, layer.digest);
        let component = registry.get(&path, "*/*", layer.size).await?;
        if hex(&component) != layer.digest {
            return Err(format!("the registry delivers a component of another digest, sha256:{}", hex(&component)));
        }
        Ok((documents, component))
    });
    let (documents, component) = fetched.map_err(|error| format!("cannot be had as {reference}: {error}"))?;
    tracing::info!(target: "lockgate::plugin", "fetched {reference}: {} bytes", component.len());
    Ok((documents, component))
}

/// Puts a component into a registry, and says what it is called there. Blocking and slow.
///
/// # Errors
/// Why it cannot.
pub fn push(component: &[u8], target: &Target, way: Way<'_>) -> Result<Reference, String> {
    let digest = apart(LONGEST_PUSH, async {
        let registry = Registry::new(&target.registry, way);
        let config = manifest::config(component);
        let manifest = manifest::of(&config, component);
        registry.upload(&target.name, &config).await?;
        registry.upload(&target.name, component).await?;
        let path = format!("/v2/{}/manifests/{}", target.name, target.tag);
        registry.put(&path, manifest::MEDIA_TYPE, &manifest).await?;
        Ok(hex(&manifest))
    })
    .map_err(|error| format!("cannot push to {}: {error}", target.registry))?;
    Ok(Reference { registry: target.registry.clone(), name: target.name.clone(), digest })
}

/// On a thread with a runtime of its own: the caller's may be one in which nobody must wait.
fn apart<T: Send>(longest: Duration, work: impl Future<Output = Result<T, String>> + Send) -> Result<T, String> {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("no runtime to ask on: {error}"))?;
        let within = async { tokio::time::timeout(longest, work).await };
        let done = runtime.block_on(within).map_err(|_| format!("it took longer than {longest:?}"))?;
        // A name that is still being looked up is nothing to wait for.
        runtime.shutdown_background();
        done
    };
    thread::scope(|scope| match scope.spawn(run).join() {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// SHA-256, in hex.
fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is being fetched, and why that has failed.
static UNDER_WAY: Mutex<BTreeMap<String, Turn>> = Mutex::new(BTreeMap::new());

type Turn = Arc<Mutex<Option<String>>>;

/// Uplinks can be slow, and somebody watches.
const LONGEST_PUSH: Duration = Duration::from_secs(600);

const LARGEST_MANIFEST: usize = 1 << 20;

/// As of those in files.
const LARGEST_COMPONENT: usize = 64 << 20;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_target_has_a_tag() {
        assert_eq!(Target::parse("oci://a.test/b/c").unwrap().tag, "latest");
        assert_eq!(Target::parse("oci://a.test:5000/b/c:1.0").unwrap().tag, "1.0");
        for wrong in [
            "a.test/b",
            "oci://a.test/B",
            "oci://a.test",
            "oci://a.test/b:",
            "oci://a.test/b:a/b",
            "oci://a.test/b@sha256:1",
        ] {
            assert!(Target::parse(wrong).is_err(), "{wrong}");
        }
    }
}
