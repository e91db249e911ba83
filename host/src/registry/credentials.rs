//! Who we are at a registry: as `$DOCKER_AUTH_CONFIG` says, or as `docker login` has noted it.

use std::env;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// `user:password` in Base64, for that registry, if it is known.
pub(super) fn of(registry: &str) -> Option<String> {
    let told = env::var("DOCKER_AUTH_CONFIG").ok().and_then(|text| in_config(&text, registry));
    told.or_else(|| {
        let folder = env::var_os("DOCKER_CONFIG").map(PathBuf::from);
        let folder = folder.or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker")))?;
        in_config(&std::fs::read_to_string(folder.join("config.json")).ok()?, registry)
    })
}

fn in_config(text: &str, registry: &str) -> Option<String> {
    let config: Value = serde_json::from_str(text).ok()?;
    let auths = config["auths"].as_object()?;
    let names = [
        registry.to_owned(),
        format!("https://{registry}"),
        format!("https://{registry}/v1/"),
        format!("https://{registry}/v2/"),
    ];
    let entry = names.iter().find_map(|name| auths.get(name))?;
    if let Some(auth) = entry["auth"].as_str().filter(|auth| !auth.is_empty()) {
        return Some(auth.to_owned());
    }
    let (user, password) = (entry["username"].as_str()?, entry["password"].as_str()?);
    Some(STANDARD.encode(format!("{user}:{password}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_those_of_the_registry() {
        let config = r#"{ "auths": { "https://a.test/v1/": { "auth": "YTpi" }, "b.test": { "username": "a", "password": "b" } } }"#;
        assert_eq!(in_config(config, "a.test").as_deref(), Some("YTpi"));
        assert_eq!(in_config(config, "b.test").as_deref(), Some("YTpi"));
        assert_eq!(in_config(config, "c.test"), None);
        assert_eq!(in_config("not JSON", "a.test"), None);
    }
}
