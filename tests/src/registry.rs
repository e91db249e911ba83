//! An OCI registry that keeps everything in memory, and does wrong what it is told to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use crate::backend::{Backend, backend};
use crate::body::{Body, full, upload};
use crate::tls::Issued;

/// A running registry. Dropping it stops it; what it holds stays with its clones of [`Shelf`].
#[derive(Debug)]
pub struct Registry {
    /// The server.
    pub server: Backend,
    /// What it holds.
    pub shelf: Shelf,
}

/// What a registry holds, and how it behaves.
#[derive(Debug, Clone, Default)]
pub struct Shelf(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// By what stands behind `/v2/`.
    kept: HashMap<String, Vec<u8>>,
    /// `user:password` in Base64, and whether it is a token that must be shown.
    wants: Option<(String, bool)>,
    /// Where blobs are said to be.
    elsewhere: Option<String>,
    /// Where tokens are said to be had, if not here.
    realm: Option<String>,
    /// What is given for a token.
    token: Option<Vec<u8>>,
    /// Part of a path, and what all such are answered with, and without end.
    pours: Option<(String, StatusCode)>,
}

/// A registry that is empty and open to all.
pub async fn registry() -> Registry {
    registry_with(Shelf::default(), None).await
}

/// A registry with that shelf, over TLS if there is a certificate.
pub async fn registry_with(shelf: Shelf, issued: Option<&Issued>) -> Registry {
    let own = shelf.clone();
    let mut builder = backend().answers(move |request| answer(own.clone(), request));
    if let Some(issued) = issued {
        builder = builder.tls(issued, &["http/1.1"]);
    }
    Registry { server: builder.await, shelf }
}

impl Registry {
    /// Where it is, as in `oci://HOST:PORT/..`.
    #[must_use]
    pub fn place(&self) -> String {
        self.server.address.to_string()
    }
}

impl Shelf {
    /// Lets in only those who say that they are `user:password`, in Base64: themselves, or with a token that they got for it.
    pub fn wants(&self, credentials: &str, token: bool) {
        self.state().wants = Some((credentials.to_owned(), token));
    }

    /// Sends those who want a blob elsewhere: to this URL with the blob's path behind it.
    pub fn sends_to(&self, url: &str) {
        self.state().elsewhere = Some(url.to_owned());
    }

    /// Says that tokens are had at this URL.
    pub fn names_realm(&self, url: &str) {
        self.state().realm = Some(url.to_owned());
    }

    /// Gives this to those who may have a token.
    pub fn gives_token(&self, bytes: impl Into<Vec<u8>>) {
        self.state().token = Some(bytes.into());
    }

    /// Answers those who want a path with that in it with a body that does not end.
    pub fn pours(&self, part: &str, status: StatusCode) {
        self.state().pours = Some((part.to_owned(), status));
    }

    /// What is kept under a name that has this in it, to be changed.
    pub fn change(&self, part: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        let (_, bytes) = state.kept.iter_mut().find(|(name, _)| name.contains(part)).expect("it is kept");
        change(bytes);
    }

    /// Keeps something under `/v2/NAME`.
    pub fn keep(&self, name: &str, bytes: impl Into<Vec<u8>>) {
        self.state().kept.insert(name.to_owned(), bytes.into());
    }

    /// Keeps a manifest, or an index of such, and says its digest: `sha256:..`
    #[must_use]
    pub fn keep_manifest(&self, repository: &str, text: &str) -> String {
        let digest = format!("sha256:{}", sha256(text.as_bytes()));
        self.keep(&format!("{repository}/manifests/{digest}"), text);
        digest
    }

    /// The names of all that is kept.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.state().kept.keys().cloned().collect();
        names.sort();
        names
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

/// Who has no password shows this.
pub const IDENTITY: &str = "identity";

async fn answer(shelf: Shelf, request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes().to_vec()).unwrap_or_default();
    let shown = head.headers.get("authorization").and_then(|it| it.to_str().ok()).unwrap_or_default().to_owned();
    let host = head.headers.get("host").and_then(|it| it.to_str().ok()).unwrap_or_default().to_owned();
    let (path, query) = (head.uri.path(), head.uri.query().unwrap_or_default());
    let pours = shelf.state().pours.clone();
    if let Some((_, status)) = pours.filter(|(part, _)| path.contains(part)) {
        return Response::builder().status(status).body(endless()).unwrap();
    }
    let wants = shelf.state().wants.clone();
    if let Some((credentials, token)) = wants {
        let right = if token { "Bearer a-token".to_owned() } else { format!("Basic {credentials}") };
        if path == "/token" {
            // Those with a password ask with it, the others for it.
            let posted = String::from_utf8_lossy(&body);
            let (known, asked) = match head.method {
                Method::POST => (posted.contains(&format!("refresh_token={IDENTITY}")), &*posted),
                _ => (shown == format!("Basic {credentials}"), query),
            };
            let known = known && asked.contains("scope=repository%3Aa%3Apull");
            let token = shelf.state().token.clone().unwrap_or_else(|| br#"{"token":"a-token"}"#.to_vec());
            return if known { json(token) } else { plain(StatusCode::UNAUTHORIZED) };
        }
        if shown != right {
            let realm = shelf.state().realm.clone().unwrap_or_else(|| format!("http://{host}/token"));
            let challenge = match token {
                true => format!("Bearer realm=\"{realm}\",service=\"stub\",scope=\"repository:a:pull\""),
                false => "Basic realm=\"stub\"".to_owned(),
            };
            let refused = Response::builder().status(401).header("www-authenticate", challenge);
            return refused.body(full("")).unwrap();
        }
    }
    let Some(name) = path.strip_prefix("/v2/") else { return plain(StatusCode::NOT_FOUND) };
    match head.method {
        Method::POST => moved(StatusCode::ACCEPTED, &format!("/v2/{name}session?state=1")),
        Method::PUT => {
            let digest = query.split('&').find_map(|pair| pair.strip_prefix("digest="));
            let name = match digest {
                Some(digest) => name.replace("uploads/session", digest),
                None => name.to_owned(),
            };
            if let Some((repository, _)) = name.split_once("/manifests/") {
                let digest = format!("{repository}/manifests/sha256:{}", sha256(&body));
                shelf.keep(&digest, body.clone());
            }
            shelf.keep(&name, body);
            plain(StatusCode::CREATED)
        }
        _ => {
            let state = shelf.state();
            match (&state.elsewhere, state.kept.get(name)) {
                (Some(url), Some(_)) if name.contains("/blobs/") => {
                    moved(StatusCode::TEMPORARY_REDIRECT, &format!("{url}{path}"))
                }
                (_, Some(bytes)) => Response::new(full(bytes.clone())),
                (_, None) => plain(StatusCode::NOT_FOUND),
            }
        }
    }
}

fn moved(status: StatusCode, location: &str) -> Response<Body> {
    Response::builder().status(status).header("location", location).body(full("")).unwrap()
}

fn plain(status: StatusCode) -> Response<Body> {
    Response::builder().status(status).body(full("")).unwrap()
}

fn json(text: Vec<u8>) -> Response<Body> {
    Response::builder().header("content-type", "application/json").body(full(text)).unwrap()
}

/// Spaces, until nobody reads them any more.
fn endless() -> Body {
    let (hand, body) = upload();
    tokio::spawn(async move { while hand.send(vec![b' '; 64 << 10]).await {} });
    body
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest as _, Sha256};
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
