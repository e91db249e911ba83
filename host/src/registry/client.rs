//! The few requests of the OCI distribution specification that it takes, with its two ways of saying who one is.
//!
//! By the client that plugins have (`outbound`), because it bounds what it reads, and goes nowhere without being told: whoever
//! speaks as a registry gets neither this machine's memory nor its credentials.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Uri};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::sync::OnceCell;

use super::credentials::{self, Credentials};
use super::{Way, hex, lock};
use crate::config::{At, Grants, Located};
use crate::outbound::{Access, Client, Response};

/// One registry.
pub(super) struct Registry<'a> {
    name: &'a str,
    base: String,
    way: Way<'a>,
    /// `Basic ..` or `Bearer ..`, once it was asked for.
    authorization: Mutex<Option<String>>,
    /// Who we are there, once it was asked for.
    known: OnceCell<Option<Credentials>>,
}

/// A request.
struct Request<'a> {
    method: Method,
    url: String,
    headers: &'a [(HeaderName, &'a str)],
    body: &'a [u8],
    /// Bytes that may be answered.
    room: usize,
}

impl<'a> Registry<'a> {
    pub(super) fn new(name: &'a str, way: Way<'a>) -> Self {
        let scheme = if way.registries.is_plain(name) { "http" } else { "https" };
        Self { name, base: format!("{scheme}://{name}"), way, authorization: Mutex::default(), known: OnceCell::new() }
    }

    /// What is at that path.
    pub(super) async fn get(&self, path: &str, accept: &str, room: usize) -> Result<Vec<u8>, String> {
        let headers = [(header::ACCEPT, accept)];
        let mut response = self.ask(self.request(Method::GET, path, &headers, b"", room)).await?;
        if response.status != StatusCode::OK {
            return Err(self.refusal(response.status, path).await);
        }
        response.body.read_all(room).await.map_err(|error| format!("{path}: {error}"))
    }

    /// Puts something at that path.
    pub(super) async fn put(&self, path: &str, kind: &str, body: &[u8]) -> Result<(), String> {
        let headers = [(header::CONTENT_TYPE, kind)];
        let response = self.ask(self.request(Method::PUT, path, &headers, body, ANSWER)).await?;
        if response.status.is_success() { Ok(()) } else { Err(self.refusal(response.status, path).await) }
    }

    /// Has the registry keep a blob, in the two steps that it takes, unless it has it.
    pub(super) async fn upload(&self, repository: &str, blob: &[u8]) -> Result<(), String> {
        let digest = hex(blob);
        let path = format!("/v2/{repository}/blobs/sha256:{digest}");
        if self.ask(self.request(Method::HEAD, &path, &[], b"", ANSWER)).await?.status == StatusCode::OK {
            return Ok(());
        }
        let path = format!("/v2/{repository}/blobs/uploads/");
        let begun = self.ask(self.request(Method::POST, &path, &[], b"", ANSWER)).await?;
        if begun.status != StatusCode::ACCEPTED {
            return Err(self.refusal(begun.status, &path).await);
        }
        let location = location(&begun).ok_or("the registry does not say where to upload to")?;
        let sign = if location.contains('?') { '&' } else { '?' };
        let url = format!("{}{sign}digest=sha256:{digest}", absolute(&self.base, &location));
        self.put(&url, "application/octet-stream", blob).await
    }

    /// `place` is a path, or a URL.
    fn request<'r>(
        &self,
        method: Method,
        place: &str,
        headers: &'r [(HeaderName, &'r str)],
        body: &'r [u8],
        room: usize,
    ) -> Request<'r> {
        Request { method, url: absolute(&self.base, place), headers, body, room }
    }

    /// Asks, says who we are if that is wanted, and goes where one is sent.
    async fn ask(&self, request: Request<'_>) -> Result<Response, String> {
        let mut url = request.url.clone();
        let (mut told, mut hops) = (false, 0);
        loop {
            let response = self.send(&request, &url).await?;
            if response.status == StatusCode::UNAUTHORIZED && !told && self.is_own(&url) {
                told = true;
                self.authorize(&response).await?;
                continue;
            }
            let moved = response.status.is_redirection() && request.body.is_empty();
            let Some(next) = location(&response).filter(|_| moved) else { return Ok(response) };
            hops += 1;
            if hops > MOST_HOPS {
                return Err("the registry sends us from one place to another without end".to_owned());
            }
            let next = absolute(&url, &next);
            if url.starts_with("https://") && !next.starts_with("https://") {
                return Err(format!("the registry sends us to {}, and that without TLS", host(&next)));
            }
            url = next;
        }
    }

    async fn send(&self, request: &Request<'_>, url: &str) -> Result<Response, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in request.headers {
            headers.insert(name.clone(), field(value)?);
        }
        let authorization = lock(&self.authorization).clone();
        // Whom we are sent to is not to know who we are.
        if let Some(authorization) = authorization.filter(|_| self.is_own(url)) {
            headers.insert(header::AUTHORIZATION, field(&authorization)?);
        }
        let body = Bytes::copy_from_slice(request.body);
        self.exchange(request.method.clone(), url, headers, body, request.room).await
    }

    async fn exchange(
        &self,
        method: Method,
        url: &str,
        mut headers: HeaderMap,
        body: Bytes,
        room: usize,
    ) -> Result<Response, String> {
        headers.insert(header::USER_AGENT, HeaderValue::from_static(US));
        // The whole has a limit, which is shorter unless something is pushed.
        let sent = self.client(url)?.send(method, url, headers, body, (LONGEST, room)).await;
        sent.map_err(|error| format!("{} cannot be asked: {error}", host(url)))
    }

    /// Whether that is at the registry itself.
    fn is_own(&self, url: &str) -> bool {
        url.strip_prefix(&self.base).is_some_and(|rest| rest.starts_with('/'))
    }

    /// RFC 6750, or RFC 7617 where that is what the registry wants.
    async fn authorize(&self, refused: &Response) -> Result<(), String> {
        let known = self.known().await?;
        let challenge = refused.headers.get(header::WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
        let challenge = challenge.unwrap_or_default().to_owned();
        let authorization = match challenge.split_once(' ') {
            Some((scheme, parameters)) if scheme.eq_ignore_ascii_case("bearer") => {
                format!("Bearer {}", self.token(parameters, known).await?)
            }
            _ => match known {
                Some(Credentials::Password(known)) => format!("Basic {known}"),
                Some(Credentials::Identity(_)) => {
                    return Err(format!("an identity token is known for {}, which wants a password", self.name));
                }
                None => return Ok(()),
            },
        };
        *lock(&self.authorization) = Some(authorization);
        Ok(())
    }

    async fn known(&self) -> Result<Option<&Credentials>, String> {
        let longest = LONGEST_HELP.min(self.way.registries.timeout / 2);
        let known = self.known.get_or_try_init(|| credentials::of(self.name, longest)).await?;
        Ok(known.as_ref())
    }

    /// A token of the service that a challenge names.
    async fn token(&self, parameters: &str, known: Option<&Credentials>) -> Result<String, String> {
        let realm = parameter(parameters, "realm").ok_or("the registry does not say where tokens are had")?;
        if self.base.starts_with("https://") && !realm.starts_with("https://") {
            return Err(format!("the registry sends us to {} for a token, and that without TLS", host(&realm)));
        }
        let asked: Vec<_> = ["service", "scope"]
            .into_iter()
            .filter_map(|name| Some(format!("{name}={}", escaped(&parameter(parameters, name)?))))
            .collect();
        let mut headers = HeaderMap::new();
        let (method, url, body) = match known {
            // As OAuth 2 has it, RFC 6749 §6.
            Some(Credentials::Identity(token)) => {
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
                let grant = format!("grant_type=refresh_token&client_id=lockgate&refresh_token={}", escaped(token));
                (Method::POST, realm, [vec![grant], asked].concat().join("&"))
            }
            other => {
                if let Some(Credentials::Password(known)) = other {
                    headers.insert(header::AUTHORIZATION, field(&format!("Basic {known}"))?);
                }
                let sign = if realm.contains('?') { '&' } else { '?' };
                let url = if asked.is_empty() { realm } else { format!("{realm}{sign}{}", asked.join("&")) };
                (Method::GET, url, String::new())
            }
        };
        let mut response = self.exchange(method, &url, headers, body.into(), ANSWER).await?;
        if response.status != StatusCode::OK {
            return Err(format!("{} gives no token ({}); {}", host(&url), response.status, self.login().await));
        }
        let body = response.body.read_all(ANSWER).await.map_err(|error| format!("the token: {error}"))?;
        let body: serde_json::Value =
            serde_json::from_slice(&body).map_err(|error| format!("the token is not JSON: {error}"))?;
        let token = body["token"].as_str().or_else(|| body["access_token"].as_str());
        token.map(str::to_owned).ok_or_else(|| format!("{} gives no token", host(&url)))
    }

    async fn refusal(&self, status: StatusCode, path: &str) -> String {
        let name = self.name;
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                format!("{name} does not let us ({status}); {}", self.login().await)
            }
            StatusCode::NOT_FOUND => format!("{name} has nothing at {path} ({status})"),
            status => format!("{name} answers {status} for {path}"),
        }
    }

    async fn login(&self) -> String {
        match self.known().await {
            Ok(Some(_)) => "the credentials that are known for it are not the right ones".to_owned(),
            Ok(None) => format!(
                "no credentials are known for it: `docker login {}` notes them in $DOCKER_CONFIG or ~/.docker, or $DOCKER_AUTH_CONFIG holds such a file's text",
                self.name
            ),
            Err(error) => error,
        }
    }

    /// For whoever is at that URL, over TLS unless it may be otherwise.
    fn client(&self, url: &str) -> Result<Client, String> {
        let wrong = || format!("{url:?} is not a URL");
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let (scheme, authority) = uri.scheme_str().zip(uri.authority()).ok_or_else(wrong)?;
        if scheme != "https" && !self.way.registries.is_plain(authority.as_str()) {
            return Err(format!("{authority} would have to be asked without TLS, which `plain_http` does not allow"));
        }
        let origin = format!("{scheme}://{authority}/").parse().map_err(|_| wrong())?;
        let grants = Grants {
            http: vec![Located { value: origin, at: At::default() }],
            // The operator has named the registry.
            private: true,
            ca: self.way.registries.ca.clone(),
            ..Grants::default()
        };
        Ok(Client::new(Arc::new(Access::new(&grants, self.way.folder)?)))
    }
}

/// `name="value"` in a challenge.
fn parameter(parameters: &str, name: &str) -> Option<String> {
    let start = parameters.find(&format!("{name}=\""))? + name.len() + 2;
    let rest = &parameters[start..];
    Some(rest[..rest.find('"')?].to_owned())
}

fn escaped(text: &str) -> impl std::fmt::Display + '_ {
    utf8_percent_encode(text, NON_ALPHANUMERIC)
}

fn field(text: &str) -> Result<HeaderValue, String> {
    // Of what is sent, only a token or credentials are somebody else's words.
    HeaderValue::from_str(text)
        .map_err(|_| "the token, or the password, cannot be sent: no field may have it".to_owned())
}

fn host(url: &str) -> String {
    url.parse::<Uri>().ok().and_then(|uri| uri.authority().map(ToString::to_string)).unwrap_or_else(|| url.to_owned())
}

fn location(response: &Response) -> Option<String> {
    response.headers.get(header::LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// Where a location leads that was given at `base`.
fn absolute(base: &str, location: &str) -> String {
    if location.contains("://") {
        return location.to_owned();
    }
    let end = base.find("://").map_or(0, |at| at + 3);
    let origin = base[end..].find('/').map_or(base, |slash| &base[..end + slash]);
    let slash = if location.starts_with('/') { "" } else { "/" };
    format!("{origin}{slash}{location}")
}

/// One request, to the last byte of its response.
const LONGEST: Duration = Duration::from_secs(3600);

/// What a program that keeps credentials may take, unless the whole may take less than double that.
const LONGEST_HELP: Duration = Duration::from_secs(10);

/// Bytes of an answer that says little.
const ANSWER: usize = 1 << 20;

const MOST_HOPS: u32 = 5;

const US: &str = concat!("lockgate/", env!("CARGO_PKG_VERSION"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_put_together() {
        assert_eq!(absolute("http://a:1/v2/x", "/v2/y?z"), "http://a:1/v2/y?z");
        assert_eq!(absolute("http://a:1", "/v2/y"), "http://a:1/v2/y");
        assert_eq!(absolute("http://a:1", "v2/y"), "http://a:1/v2/y");
        assert_eq!(absolute("http://a:1/v2/x", "https://b/y"), "https://b/y");
        assert_eq!(parameter("realm=\"https://a/t\",service=\"s\"", "service").as_deref(), Some("s"));
        assert_eq!(parameter("realm=\"https://a/t", "realm"), None);
    }
}
