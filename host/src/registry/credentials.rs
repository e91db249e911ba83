//! Who we are at a registry: as `$DOCKER_AUTH_CONFIG` says, or as `docker login` has noted it, or as the program says that
//! keeps credentials for docker.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::helper;

/// Who we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Credentials {
    /// `user:password` in Base64.
    Password(String),
    /// What is exchanged for a token of the registry's.
    Identity(String),
}

/// Who we are at that registry, if that is known. A program that keeps credentials may take that long to say so.
///
/// # Errors
/// What is wrong with docker's configuration, or with the program that it names.
pub(super) async fn of(registry: &str, longest: Duration) -> Result<Option<Credentials>, String> {
    let told = env::var("DOCKER_AUTH_CONFIG").ok().filter(|text| !text.trim().is_empty());
    if let Some(text) = told
        && let Some(found) = in_config(&text, "$DOCKER_AUTH_CONFIG", registry, longest).await?
    {
        return Ok(Some(found));
    }
    let folder = env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let Some(folder) = folder.or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker"))) else {
        return Ok(None);
    };
    let file = folder.join("config.json");
    match std::fs::read_to_string(&file) {
        Ok(text) => in_config(&text, &file.display().to_string(), registry, longest).await,
        // Who has none has nobody to be.
        Err(_) => Ok(None),
    }
}

/// As docker has it: the program for this registry, or else that for all, or else what is written there.
async fn in_config(text: &str, named: &str, registry: &str, longest: Duration) -> Result<Option<Credentials>, String> {
    let config: Value = serde_json::from_str(text).map_err(|error| format!("{named} is not JSON: {error}"))?;
    if let Some(program) = program(&config, registry)
        && let Some(found) = helper::ask(program, server(registry), longest).await?
    {
        return Ok(Some(found));
    }
    Ok(written(&config, registry))
}

/// `NAME` of the `docker-credential-NAME` that keeps the registry's credentials.
fn program<'c>(config: &'c Value, registry: &str) -> Option<&'c str> {
    let own = names(registry).iter().find_map(|name| config["credHelpers"][name].as_str());
    own.or_else(|| config["credsStore"].as_str()).filter(|name| !name.is_empty())
}

fn written(config: &Value, registry: &str) -> Option<Credentials> {
    let auths = config["auths"].as_object()?;
    let entry = names(registry).iter().find_map(|name| auths.get(name))?;
    let text = |key: &str| entry[key].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    if let Some(token) = text("identitytoken") {
        return Some(Credentials::Identity(token));
    }
    let pair = || Some(STANDARD.encode(format!("{}:{}", text("username")?, text("password")?)));
    text("auth").or_else(pair).map(Credentials::Password)
}

/// What docker calls that registry.
fn names(registry: &str) -> Vec<String> {
    let urls = ["", "https://"].into_iter().flat_map(|before| ["", "/", "/v1/", "/v2/"].map(|after| (before, after)));
    let mut names: Vec<_> = urls.map(|(before, after)| format!("{before}{registry}{after}")).collect();
    names.push(server(registry).to_owned());
    names
}

/// What docker says to a program that keeps credentials.
fn server(registry: &str) -> &str {
    if HUB.contains(&registry) { "https://index.docker.io/v1/" } else { registry }
}

/// One registry, which docker knows by another name still.
const HUB: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn credentials_are_those_of_the_registry() {
        let config = serde_json::json!({ "auths": {
            "https://a.test/v1/": { "auth": "YTpi" },
            "b.test": { "username": "a", "password": "b" },
            "d.test": {},
            "e.test": { "auth": "YTo=", "identitytoken": "long" },
            "https://index.docker.io/v1/": { "auth": "YTpi" },
        } });
        let right = Some(Credentials::Password("YTpi".to_owned()));
        for (registry, found) in [
            ("a.test", right.clone()),
            ("b.test", right.clone()),
            ("c.test", None),
            ("d.test", None),
            ("e.test", Some(Credentials::Identity("long".to_owned()))),
            ("registry-1.docker.io", right),
        ] {
            assert_eq!(written(&config, registry), found, "{registry}");
        }
    }

    #[test]
    fn a_registry_has_its_own_program_or_that_of_all() {
        let config =
            serde_json::json!({ "credHelpers": { "https://a.test": "one", "docker.io": "hub" }, "credsStore": "all" });
        assert_eq!(program(&config, "a.test"), Some("one"));
        assert_eq!(program(&config, "docker.io"), Some("hub"));
        assert_eq!(program(&config, "b.test"), Some("all"));
        assert_eq!(program(&serde_json::json!({ "credsStore": "" }), "b.test"), None);
    }

    #[tokio::test]
    async fn a_configuration_that_is_none_is_named() {
        let error = in_config("not JSON", "the file", "a.test", Duration::ZERO).await.unwrap_err();
        assert!(error.starts_with("the file is not JSON: "), "{error}");
    }
}
