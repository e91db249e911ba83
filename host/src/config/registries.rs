//! `[registries]`, and what is in them: `path = "oci://registry/name@sha256:.."`.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::listeners::file;
use super::reader::{Mistake, Table, Value};
use super::{Component, Located};

/// `[registries]`: how components are fetched that registries have.
#[derive(Debug, Clone)]
pub struct Registries {
    /// Registries, `host` or `host:port`, that are asked without TLS; default those of this machine.
    pub plain_http: Vec<String>,
    /// `ca = "FILE"`: the authorities to trust instead of the public ones.
    pub ca: Option<Located<PathBuf>>,
    /// All of one fetch; default a minute.
    pub timeout: Duration,
}

/// A component in a registry: whatever the registry delivers, it is this or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Host, and port if there is one.
    pub registry: String,
    /// The repository.
    pub name: String,
    /// SHA-256 of the manifest, in hex.
    pub digest: String,
}

impl Default for Registries {
    fn default() -> Self {
        let plain_http = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned).into();
        Self { plain_http, ca: None, timeout: Duration::from_secs(60) }
    }
}

impl Registries {
    /// Whether that registry, `host` or `host:port`, is asked without TLS.
    #[must_use]
    pub fn is_plain(&self, registry: &str) -> bool {
        let host = match registry.find(']') {
            Some(end) => &registry[..=end],
            None => registry.split(':').next().unwrap_or(registry),
        };
        self.plain_http.iter().any(|plain| *plain == registry || *plain == host)
    }
}

impl Reference {
    /// Makes sense of `oci://registry/name@sha256:..`.
    ///
    /// # Errors
    /// What is wrong with it, and what to write.
    pub(crate) fn parse(text: &str) -> Result<Self, Mistake> {
        let wrong = |sentence: &str| Err(Mistake::new(format!("{text:?} {sentence}")).hint(FORM));
        let Some((place, digest)) = text.strip_prefix(SCHEME).and_then(|rest| rest.rsplit_once('@')) else {
            return wrong("does not say which version, by its digest");
        };
        let is_digest = |hex: &&str| hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        let Some(digest) = digest.strip_prefix("sha256:").filter(is_digest) else {
            return wrong("has no SHA-256 digest of 64 hexadecimal digits");
        };
        let Some((registry, name)) = place.split_once('/').filter(|(registry, name)| fits(registry, name)) else {
            return wrong("does not name a registry and, in lower case, what is in it");
        };
        Ok(Self { registry: registry.to_owned(), name: name.to_owned(), digest: digest.to_ascii_lowercase() })
    }

    /// Whether it is below that prefix: `ghcr.io`, or `ghcr.io/acme`.
    #[must_use]
    pub fn is_below(&self, prefix: &str) -> bool {
        let place = format!("{}/{}", self.registry, self.name);
        place.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{SCHEME}{}/{}@sha256:{}", self.registry, self.name, self.digest)
    }
}

impl Component {
    /// `path = ".."`: a file, or what a registry has.
    pub(crate) fn at(value: Value<'_, '_>) -> Option<Self> {
        if !value.begins_with(SCHEME) {
            return file(value).map(Self::Path);
        }
        value.located(Reference::parse).map(Self::Registry)
    }
}

pub(super) fn read_registries(mut table: Table<'_, '_>) -> Registries {
    let mut registries = Registries::default();
    if let Some(plain) = table.optional("plain_http", Value::array) {
        registries.plain_http = plain.into_iter().filter_map(|value| value.parsed(registry)).collect();
    }
    registries.ca = table.optional("ca", file);
    let times = Duration::from_secs(1)..=Duration::from_secs(3600);
    table.set("timeout", &mut registries.timeout, |value| value.duration(times));
    table.finish();
    registries
}

/// A registry's host, and port if there is one.
fn registry(text: &str) -> Result<String, Mistake> {
    if is_registry(text) {
        return Ok(text.to_owned());
    }
    Err(Mistake::new(format!("{text:?} is not a registry")).hint("write it as in \"registry.internal:5000\""))
}

/// A registry, or what its components begin with: `ghcr.io/acme`.
pub(super) fn prefix(text: &str) -> Result<String, Mistake> {
    let (registry, name) = text.split_once('/').unwrap_or((text, "any"));
    if fits(registry, name) {
        return Ok(text.to_owned());
    }
    Err(Mistake::new(format!("{text:?} is not in any registry")).hint("write it as in \"ghcr.io/acme\""))
}

/// Whether there can be something of that name in that registry, as the distribution specification has it.
#[must_use]
pub fn fits(registry: &str, name: &str) -> bool {
    let part = |part: &str| {
        part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte))
            && part.starts_with(|first: char| first.is_ascii_alphanumeric())
    };
    is_registry(registry) && name.len() <= 255 && name.split('/').all(part)
}

fn is_registry(text: &str) -> bool {
    let authority: Result<http::uri::Authority, _> = text.parse();
    authority.is_ok_and(|it| !it.host().is_empty() && (it.port_u16().is_some() || it.as_str() == it.host()))
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.:[]".contains(&byte))
}

/// What a path begins with that is in a registry.
pub const SCHEME: &str = "oci://";

const FORM: &str = "write it as in \"oci://ghcr.io/acme/plugin@sha256:..\"; `lockgate plugin push` prints it";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn references_name_a_digest() {
        let digest = "ab".repeat(32);
        for (text, right) in [
            (format!("oci://ghcr.io/acme/plugin@sha256:{digest}"), true),
            (format!("oci://127.0.0.1:5000/a@sha256:{digest}"), true),
            (format!("oci://[::1]:5000/a@sha256:{digest}"), true),
            (format!("oci://ghcr.io/acme/plugin:1@sha256:{digest}"), false),
            ("oci://ghcr.io/acme/plugin:latest".to_owned(), false),
            ("oci://ghcr.io/acme/plugin@sha256:ab".to_owned(), false),
            (format!("oci://ghcr.io/acme/plugin@sha512:{digest}"), false),
            (format!("oci://ghcr.io/../plugin@sha256:{digest}"), false),
            (format!("oci://ghcr.io/Acme/plugin@sha256:{digest}"), false),
            (format!("oci://a b/plugin@sha256:{digest}"), false),
            (format!("oci://user@ghcr.io/plugin@sha256:{digest}"), false),
            (format!("oci://ghcr.io:99999/plugin@sha256:{digest}"), false),
            (format!("oci://plugin@sha256:{digest}"), false),
            (format!("oci:///plugin@sha256:{digest}"), false),
        ] {
            let parsed = Reference::parse(&text);
            assert_eq!(parsed.is_ok(), right, "{text}");
            if let Ok(reference) = parsed {
                assert_eq!(reference.to_string(), text);
            }
        }
    }

    #[test]
    fn a_prefix_ends_where_a_name_does() {
        let reference = Reference::parse(&format!("oci://ghcr.io/acme/plugin@sha256:{}", "0".repeat(64))).unwrap();
        for (prefix, right) in [
            ("ghcr.io", true),
            ("ghcr.io/acme", true),
            ("ghcr.io/acme/plugin", true),
            ("ghcr.io/ac", false),
            ("ghcr.i", false),
            ("ghcr.io/acme/plugin/more", false),
        ] {
            assert_eq!(reference.is_below(prefix), right, "{prefix}");
        }
    }

    #[test]
    fn only_this_machine_is_asked_without_tls_unless_others_are_named() {
        let mut registries = Registries::default();
        for (registry, right) in [
            ("127.0.0.1:5000", true),
            ("localhost", true),
            ("[::1]:5000", true),
            ("localhost.example.com", false),
            ("192.0.2.1:5000", false),
            ("registry.internal:5000", false),
        ] {
            assert_eq!(registries.is_plain(registry), right, "{registry}");
        }
        registries.plain_http = vec!["registry.internal:5000".to_owned()];
        assert!(registries.is_plain("registry.internal:5000"));
        assert!(!registries.is_plain("registry.internal") && !registries.is_plain("127.0.0.1:5000"));
    }
}
