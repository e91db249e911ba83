//! Manifests of components, as the wasm OCI artifact guidance has them: one layer, which is the component.

use serde_json::{Value, json};

use super::hex;

/// What a manifest says of its component.
pub(super) struct Manifest {
    pub(super) layer: Layer,
}

/// Where the component is.
pub(super) struct Layer {
    /// SHA-256, in hex.
    pub(super) digest: String,
    /// Bytes.
    pub(super) size: usize,
}

impl Manifest {
    /// Makes sense of a manifest.
    ///
    /// # Errors
    /// Why it is not one of a component.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let manifest: Value =
            serde_json::from_slice(bytes).map_err(|error| format!("its manifest is not JSON: {error}"))?;
        let layers =
            manifest["layers"].as_array().ok_or("its manifest has no layers, so it may be an index of several")?;
        let kind = |layer: &Value| layer["mediaType"].as_str().unwrap_or("unknown").to_owned();
        let Some(layer) = layers.iter().find(|layer| WASM.contains(&kind(layer).as_str())) else {
            let kinds: Vec<_> = layers.iter().map(kind).collect();
            return Err(format!("none of its layers is wasm: they are {}", kinds.join(", ")));
        };
        let is_digest = |hex: &&str| hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        let digest = layer["digest"].as_str().and_then(|digest| digest.strip_prefix("sha256:"));
        let digest = digest.filter(is_digest).ok_or("its layer has no SHA-256 digest")?;
        let size = layer["size"].as_u64().and_then(|size| usize::try_from(size).ok()).ok_or("its layer has no size")?;
        Ok(Self { layer: Layer { digest: digest.to_ascii_lowercase(), size } })
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

const CONFIG_TYPE: &str = "application/vnd.wasm.config.v0+json";

/// What layers are called that are components. The first is today's name.
const WASM: [&str; 3] = [
    "application/wasm",
    "application/vnd.wasm.content.layer.v1+wasm",
    "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm",
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn what_is_made_is_understood_and_what_is_no_component_is_told() {
        let made = Manifest::parse(&Manifest::of(&config(b"wasm"), b"wasm")).unwrap().layer;
        assert_eq!((made.digest, made.size), (hex(b"wasm"), 4));
        for (manifest, told) in [
            ("{", "not JSON"),
            ("{\"manifests\":[]}", "no layers"),
            ("{\"layers\":[{\"mediaType\":\"a/tar\"}]}", "none of its layers is wasm: they are a/tar"),
            ("{\"layers\":[{\"mediaType\":\"application/wasm\",\"digest\":\"sha256:1\"}]}", "no SHA-256 digest"),
        ] {
            let error = Manifest::parse(manifest.as_bytes()).err().unwrap();
            assert!(error.contains(told), "{error}");
        }
    }
}
