//! What operators tell a running Lockgate to do: `POST /plugins/NAME/reload`, and `POST /plugins/TENANT/NAME/reload`.
//!
//! Who may: with `admin.token_file`, whoever knows the token. Without one, only programs on this machine, and none of them on
//! behalf of a page in a browser.

use std::net::IpAddr;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;
use tokio::sync::oneshot;

use super::{Source, TEXT, json, response};
use crate::snapshot::Token;

/// Something to do, and where to say how it went.
#[derive(Debug)]
pub enum Action {
    /// Takes up what the component of a plugin is now.
    ReloadPlugin {
        /// Whose it is; none for the operator.
        tenant: Option<String>,
        /// As configured.
        name: String,
        /// Hears how it went.
        done: oneshot::Sender<Result<Swapped, ActionError>>,
    },
}

/// A plugin that was loaded anew.
#[derive(Debug, Serialize)]
pub struct Swapped {
    /// Whose it is; none for the operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// As configured.
    pub plugin: String,
    /// The configuration that has it.
    pub generation: u64,
    /// Whether it is another one than before.
    pub swapped: bool,
    /// SHA-256 of the component, in hex.
    pub digest: Option<String>,
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum ActionError {
    /// Nothing of that name is in use.
    #[error("no plugin of that name is in use")]
    NoSuchPlugin,
    /// What is there now cannot be used; the old version stays.
    #[error("{0}")]
    Refused(String),
}

/// The plugin that `/plugins/NAME/reload` or `/plugins/TENANT/NAME/reload` names, after its tenant.
pub(super) fn plugin_to_reload(path: &str) -> Option<(Option<&str>, &str)> {
    let named = path.strip_prefix("/plugins/")?.strip_suffix("/reload")?;
    let (tenant, name) = match named.split_once('/') {
        Some((tenant, name)) => (Some(tenant), name),
        None => (None, named),
    };
    let sound = !name.is_empty() && !name.contains('/') && tenant != Some("");
    sound.then_some((tenant, name))
}

/// Has it reloaded, if the caller may ask for that.
pub(super) async fn reload_plugin<B>(
    (tenant, name): (Option<&str>, &str),
    request: &Request<B>,
    caller: IpAddr,
    source: &dyn Source,
) -> Response<Full<Bytes>> {
    if *request.method() != Method::POST {
        let mut response = response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "this is done with POST\n");
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        return response;
    }
    if let Err((status, why)) = may_act(request.headers(), caller, source.token()) {
        tracing::warn!(%caller, tenant, plugin = name, "an action was refused: {why}");
        let mut response = failed(status, why);
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        return response;
    }
    let (done, heard) = oneshot::channel();
    let action = Action::ReloadPlugin { tenant: tenant.map(str::to_owned), name: name.to_owned(), done };
    if !source.act(action) {
        return failed(StatusCode::SERVICE_UNAVAILABLE, "too much is asked for at once, or the end is near");
    }
    match heard.await {
        Ok(Ok(swapped)) => json(StatusCode::OK, &swapped),
        Ok(Err(error @ ActionError::NoSuchPlugin)) => failed(StatusCode::NOT_FOUND, &error.to_string()),
        Ok(Err(error @ ActionError::Refused(_))) => failed(StatusCode::UNPROCESSABLE_ENTITY, &error.to_string()),
        Err(_) => failed(StatusCode::SERVICE_UNAVAILABLE, "the end is near"),
    }
}

fn failed(status: StatusCode, why: &str) -> Response<Full<Bytes>> {
    json(status, &serde_json::json!({ "error": why }))
}

fn may_act(headers: &HeaderMap, caller: IpAddr, token: Option<Token>) -> Result<(), (StatusCode, &'static str)> {
    if let Some(token) = token {
        let told = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        return match told.and_then(|value| value.strip_prefix("Bearer ")) {
            Some(secret) if token.is(secret.trim()) => Ok(()),
            _ => Err((StatusCode::UNAUTHORIZED, "send the token of admin.token_file: authorization: Bearer TOKEN")),
        };
    }
    if !caller.to_canonical().is_loopback() {
        return Err((StatusCode::FORBIDDEN, "without admin.token_file, only callers on this machine may do this"));
    }
    // A page may make the browser of somebody on this machine ask; browsers then say so.
    if headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site") {
        return Err((StatusCode::FORBIDDEN, "pages in a browser may not do this"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn only_one_path_names_a_plugin() {
        assert_eq!(plugin_to_reload("/plugins/a.b-c/reload"), Some((None, "a.b-c")));
        assert_eq!(plugin_to_reload("/plugins/shop/a/reload"), Some((Some("shop"), "a")));
        for path in [
            "/plugins//reload",
            "/plugins/reload",
            "/plugins//a/reload",
            "/plugins/a//reload",
            "/plugins/a/b/c/reload",
            "/plugins/a",
            "/plugins/a/reload/",
        ] {
            assert_eq!(plugin_to_reload(path), None, "{path}");
        }
    }

    #[test]
    fn without_a_token_only_programs_on_this_machine_may_act() {
        let judge = |list: &[_], caller: &str| {
            may_act(&headers(list), caller.parse().unwrap(), None).map_err(|(status, _)| status.as_u16())
        };
        for caller in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(judge(&[], caller), Ok(()), "{caller}");
        }
        assert_eq!(judge(&[], "192.0.2.1"), Err(403));
        assert_eq!(judge(&[("origin", "http://127.0.0.1:9901")], "127.0.0.1"), Err(403));
        assert_eq!(judge(&[("sec-fetch-site", "cross-site")], "127.0.0.1"), Err(403));
    }

    #[test]
    fn with_a_token_whoever_knows_it_may_act() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "correct horse battery\n").unwrap();
        let token = Token::read(&folder.path().join("token")).unwrap();
        let judge = |list: &[_], caller: &str| {
            may_act(&headers(list), caller.parse().unwrap(), Some(token)).map_err(|(status, _)| status.as_u16())
        };
        assert_eq!(judge(&[("authorization", "Bearer correct horse battery")], "192.0.2.1"), Ok(()));
        for wrong in ["Bearer correct horse", "Basic correct horse battery", "correct horse battery", "Bearer "] {
            assert_eq!(judge(&[("authorization", wrong)], "127.0.0.1"), Err(401), "{wrong}");
        }
        assert_eq!(judge(&[], "127.0.0.1"), Err(401));
    }
}
