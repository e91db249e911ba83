//! Manifests of components, as the wasm OCI artifact guidance has them: one layer, which is the component; and indexes, of
//! which one manifest is a component's.

use serde_json::{Value, json};

use super::hex;

/// Where documents lead.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Lead {
    /// To another one, by its SHA-256 in hex.
    Document(String),
    /// To a component.
    Component(Layer),
}

/// Where a component is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Layer {
    /// SHA-256, in hex.
    pub(super) digest: String,
    /// Bytes.
    pub(super) size: usize,
}

impl Lead {
    /// Where these documents lead, of which the first has that digest: a manifest, or an index and the manifest that it names.
    /// Nobody is trusted in that they have their digests.
    ///
    /// # Errors
    /// Why they do not lead to a component.
    pub(super) fn from(digest: &str, documents: &[Vec<u8>]) -> Result<Self, String> {
        let mut digest = digest.to_owned();
        for (place, document) in documents.iter().enumerate() {
            if hex(document) != digest {
                return Err(format!("the registry delivers a manifest of another digest, sha256:{}", hex(document)));
            }
            match Self::of(document)? {
                Self::Document(_) if place > 0 => return Err("its index names another index".to_owned()),
                Self::Document(next) => digest = next,
                component @ Self::Component(_) => return Ok(component),
            }
        }
        Ok(Self::Document(digest))
    }

    fn of(document: &[u8]) -> Result<Self, String> {
        let document: Value =
            serde_json::from_slice(document).map_err(|error| format!("its manifest is not JSON: {error}"))?;
        match (document["layers"].as_array(), document["manifests"].as_array()) {
            (Some(layers), None) => layer(layers).map(Self::Component),
            (None, Some(manifests)) => manifest(manifests).map(Self::Document),
            // What it is must not depend on who reads it.
            (Some(_), Some(_)) => Err("its manifest is an index, too".to_owned()),
            (None, None) => Err("its manifest has neither layers nor manifests".to_owned()),
        }
    }
}

/// The layer that is a component.
fn layer(layers: &[Value]) -> Result<Layer, String> {
    let Some(layer) = layers.iter().find(|layer| WASM.contains(&kind(layer))) else {
        let kinds: Vec<_> = layers.iter().map(kind).collect();
        return Err(format!("none of its layers is wasm: they are {}", kinds.join(", ")));
    };
    let digest = digest(layer).ok_or("its layer has no SHA-256 digest")?;
    let size = layer["size"].as_u64().and_then(|size| usize::try_from(size).ok()).ok_or("its layer has no size")?;
    Ok(Layer { digest, size })
}

/// The digest of the manifest that is a component's: the one that says so, or the only one, if it says nothing.
fn manifest(manifests: &[Value]) -> Result<String, String> {
    let mut found: Vec<_> = manifests.iter().filter(|manifest| is_wasm(manifest)).collect();
    found.dedup_by_key(|manifest| digest(manifest));
    match (found.as_slice(), manifests) {
        ([one], _) => digest(one),
        ([], [only]) if only["platform"].is_null() && only["artifactType"].is_null() => digest(only),
        ([], []) => return Err("its index names no manifests".to_owned()),
        ([], all) => {
            let all: Vec<_> = all.iter().take(MOST_TOLD).map(shown).collect();
            return Err(format!("its index names no component: they are {}", all.join(", ")));
        }
        (several, _) => {
            let each = |one: &&Value| format!("{} (sha256:{})", shown(one), digest(one).unwrap_or_default());
            let several: Vec<_> = several.iter().take(MOST_TOLD).map(each).collect();
            let several = several.join(", ");
            return Err(format!(
                "its index names several components: name one of them instead of the index, {several}"
            ));
        }
    }
    .ok_or_else(|| "the manifest that its index names has no SHA-256 digest".to_owned())
}

fn is_wasm(manifest: &Value) -> bool {
    let artifact = manifest["artifactType"].as_str().unwrap_or_default();
    manifest["platform"]["architecture"] == "wasm" || artifact == CONFIG_TYPE || WASM.contains(&artifact)
}

/// `linux/amd64`
fn shown(manifest: &Value) -> String {
    let of = |key: &str| manifest["platform"][key].as_str().unwrap_or("unknown");
    let plain = |text: String| text.chars().filter(|c| !c.is_control()).take(80).collect();
    plain(format!("{}/{}", of("os"), of("architecture")))
}

fn kind(descriptor: &Value) -> &str {
    descriptor["mediaType"].as_str().unwrap_or("unknown")
}

fn digest(descriptor: &Value) -> Option<String> {
    let digest = descriptor["digest"].as_str()?.strip_prefix("sha256:")?;
    let is_digest = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_digest.then(|| digest.to_ascii_lowercase())
}

/// The manifest of a component, as bytes.
pub(super) fn of(config: &[u8], component: &[u8]) -> Vec<u8> {
    let descriptor = |kind: &str, bytes: &[u8]| json!({ "mediaType": kind, "digest": format!("sha256:{}", hex(bytes)), "size": bytes.len() });
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MEDIA_TYPE,
        "config": descriptor(CONFIG_TYPE, config),
        "layers": [descriptor(WASM[0], component)],
    });
    manifest.to_string().into_bytes()
}

/// What the manifest says of the component besides. Nothing of when or where it was pushed, so that the same component has the
/// same digest everywhere.
pub(super) fn config(component: &[u8]) -> Vec<u8> {
    let config = json!({
        "created": "1970-01-01T00:00:00Z",
        "architecture": "wasm",
        "os": "wasip2",
        "layerDigests": [format!("sha256:{}", hex(component))],
    });
    config.to_string().into_bytes()
}

pub(super) const MEDIA_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// What documents may be.
pub(super) const ACCEPTED: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json";

const CONFIG_TYPE: &str = "application/vnd.wasm.config.v0+json";

/// What layers are called that are components. The first is today's name.
const WASM: [&str; 3] = [
    "application/wasm",
    "application/vnd.wasm.content.layer.v1+wasm",
    "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm",
];

/// Of many, so many are told.
const MOST_TOLD: usize = 8;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn lead(documents: &[&[u8]]) -> Result<Lead, String> {
        let documents: Vec<_> = documents.iter().map(|document| document.to_vec()).collect();
        Lead::from(&hex(&documents[0]), &documents)
    }

    #[test]
    fn what_is_made_is_understood_and_what_is_no_component_is_told() {
        let made = of(&config(b"wasm"), b"wasm");
        assert_eq!(lead(&[&made]), Ok(Lead::Component(Layer { digest: hex(b"wasm"), size: 4 })));
        for (manifest, told) in [
            ("{", "not JSON"),
            ("{}", "neither layers nor manifests"),
            ("{\"layers\":[],\"manifests\":[]}", "an index, too"),
            ("{\"manifests\":[]}", "names no manifests"),
            ("{\"layers\":[{\"mediaType\":\"a/tar\"}]}", "none of its layers is wasm: they are a/tar"),
            ("{\"layers\":[{\"mediaType\":\"application/wasm\",\"digest\":\"sha256:1\"}]}", "no SHA-256 digest"),
        ] {
            let error = lead(&[manifest.as_bytes()]).err().unwrap();
            assert!(error.contains(told), "{error}");
        }
    }

    #[test]
    fn an_index_leads_to_the_one_component_that_it_names() {
        let component = of(&config(b"wasm"), b"wasm");
        let entry = |os: &str, architecture: &str, digest: &str| json!({ "mediaType": MEDIA_TYPE, "digest": format!("sha256:{digest}"), "platform": { "os": os, "architecture": architecture } });
        let index = |entries: &[Value]| json!({ "schemaVersion": 2, "manifests": entries }).to_string().into_bytes();
        let (own, other) = (hex(&component), "0".repeat(64));
        let bare = json!({ "digest": format!("sha256:{own}") });
        let typed = json!({ "digest": format!("sha256:{own}"), "artifactType": "application/vnd.wasm.config.v0+json" });
        let linux = entry("linux", "amd64", &other);
        for entries in [
            vec![entry("wasip2", "wasm", &own)],
            vec![linux.clone(), entry("wasip2", "wasm", &own)],
            vec![entry("wasip1", "wasm", &own), entry("wasip2", "wasm", &own)],
            vec![linux.clone(), typed],
            vec![bare.clone()],
        ] {
            let index = index(&entries);
            assert_eq!(lead(&[&index]), Ok(Lead::Document(own.clone())), "{entries:?}");
            let found = Lead::Component(Layer { digest: hex(b"wasm"), size: 4 });
            assert_eq!(lead(&[&index, &component]), Ok(found), "{entries:?}");
        }
        for (entries, told) in [
            (
                vec![entry("wasip1", "wasm", &own), entry("wasip2", "wasm", &other)],
                "several components: name one of them",
            ),
            (vec![linux.clone(), bare], "names no component: they are linux/amd64, unknown/unknown"),
            (vec![linux], "names no component: they are linux/amd64"),
            (vec![entry("wasip2", "wasm", "12")], "no SHA-256 digest"),
        ] {
            let error = lead(&[&index(&entries)]).err().unwrap();
            assert!(error.contains(told), "{error}");
        }
        let inner = index(&[entry("wasip2", "wasm", &own)]);
        let outer = index(&[entry("wasip2", "wasm", &hex(&inner))]);
        assert!(lead(&[&outer, &inner]).err().unwrap().contains("another index"));
        assert!(lead(&[&outer, &component]).err().unwrap().contains("another digest"));
    }
}
