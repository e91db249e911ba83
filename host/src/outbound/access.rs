//! To whom a plugin may send requests.

use std::borrow::Cow;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use http::Uri;
use http::uri::{Authority, Scheme};

use super::CallError;
use super::stand_in::StandIn;
use crate::config;
use crate::message::{canonicalize, check_path};
use crate::tls::UpstreamTls;

/// What the grants of a plugin allow, made ready.
#[derive(Debug)]
pub struct Access {
    prefixes: Vec<Prefix>,
    /// Those of the prefixes, each once.
    pub(super) origins: Vec<Origin>,
    /// Whether names may lead to private addresses.
    pub(super) private: bool,
    pub(super) tls: UpstreamTls,
    /// Who answers instead of those who are called, if this is a scenario.
    pub(super) stand_in: Option<Arc<StandIn>>,
}

/// A URL in its one form that is granted.
#[derive(Debug, Clone)]
pub struct Target {
    /// What is sent is what was looked at.
    pub uri: Uri,
    /// `Host`: without the port that goes without saying.
    pub(super) host: String,
    /// Its place among those of the grants.
    pub(super) origin: usize,
}

/// A scheme, a host and a port.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) tls: bool,
    pub(super) host: Host,
    pub(super) port: u16,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Host {
    Address(IpAddr),
    /// In lower case.
    Name(String),
}

/// An origin's place among all, and what paths there begin with: no slash at its end.
#[derive(Debug)]
struct Prefix {
    origin: usize,
    path: String,
}

impl Access {
    /// What `grants` allow. Reads the authorities to trust; `folder` is what relative paths are relative to.
    ///
    /// # Errors
    /// A sentence.
    pub fn new(grants: &config::Grants, folder: &Path) -> Result<Self, String> {
        let ca = grants.ca.as_ref().map(|ca| folder.join(&ca.value));
        let tls = UpstreamTls::trusting(ca.as_deref())?;
        let (mut prefixes, mut origins) = (Vec::new(), Vec::new());
        for granted in &grants.http {
            let mut uri = granted.value.clone();
            canonicalize(&mut uri);
            let origin = Origin::of(&uri).ok_or_else(|| format!("{:?} cannot be granted", uri.to_string()))?;
            let known = origins.iter().position(|known| *known == origin);
            let origin = known.unwrap_or_else(|| {
                origins.push(origin);
                origins.len() - 1
            });
            prefixes.push(Prefix { origin, path: uri.path().trim_end_matches('/').to_owned() });
        }
        Ok(Self { prefixes, origins, private: grants.private, tls, stand_in: None })
    }

    /// The same, but nobody is really called.
    #[must_use]
    pub fn answered_by(self, stand_in: Option<Arc<StandIn>>) -> Self {
        Self { stand_in, ..self }
    }

    /// What tells it from others: one that allows the same has the same.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        format!("{:?} {:?} {} {:?}", self.prefixes, self.origins, self.private, self.tls.identity())
    }

    /// Makes sense of a URL, and holds it against what is granted.
    ///
    /// # Errors
    /// [`CallError::Invalid`], [`CallError::NotGranted`]
    pub fn target(&self, url: &str) -> Result<Target, CallError> {
        let invalid = |sentence: &'static str| CallError::Invalid(sentence.into());
        if url.len() > LONGEST_URL {
            return Err(invalid("the URL is longer than 8 KiB"));
        }
        if !url.bytes().all(|byte| byte.is_ascii_graphic()) || url.contains('#') {
            return Err(invalid("the URL has a fragment, or characters that must be percent-encoded"));
        }
        let mut uri: Uri = url.parse().map_err(|_| invalid("the URL is not one"))?;
        if check_path(uri.path()).is_err() {
            return Err(invalid("the URL's path has dot segments, encoded slashes or the like"));
        }
        canonicalize(&mut uri);
        let origin =
            Origin::of(&uri).ok_or_else(|| invalid("the URL is not an http:// or https:// URL with a host"))?;
        let place = self.origins.iter().position(|known| *known == origin).ok_or(CallError::NotGranted)?;
        if !self.prefixes.iter().any(|prefix| prefix.origin == place && prefix.covers(uri.path())) {
            return Err(CallError::NotGranted);
        }
        let host = uri.authority().map_or("", |authority| match origin.has_usual_port() {
            true => authority.host(),
            false => authority.as_str(),
        });
        Ok(Target { host: host.to_owned(), uri, origin: place })
    }
}

impl Origin {
    /// None if it is not one that can be asked.
    pub(super) fn of(uri: &Uri) -> Option<Self> {
        let tls = match uri.scheme()? {
            scheme if *scheme == Scheme::HTTPS => true,
            scheme if *scheme == Scheme::HTTP => false,
            _ => return None,
        };
        let authority = uri.authority()?;
        if authority.as_str().contains('@') {
            return None;
        }
        let port = match (authority.port_u16(), authority.as_str() == authority.host()) {
            (Some(port @ 1..), _) => port,
            (None, true) => usual_port(tls),
            _ => return None,
        };
        Some(Self { tls, host: Host::of(authority)?, port })
    }

    fn has_usual_port(&self) -> bool {
        self.port == usual_port(self.tls)
    }
}

const fn usual_port(tls: bool) -> u16 {
    if tls { 443 } else { 80 }
}

impl Host {
    /// As certificates name it.
    pub(super) fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Address(address) => address.to_string().into(),
            Self::Name(name) => name.into(),
        }
    }

    fn of(authority: &Authority) -> Option<Self> {
        let host = authority.host();
        if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            return address.parse().ok().map(Self::Address);
        }
        if let Ok(address) = host.parse() {
            return Some(Self::Address(address));
        }
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        (!host.is_empty() && host.bytes().all(fits)).then(|| Self::Name(host.to_ascii_lowercase()))
    }
}

impl Prefix {
    fn covers(&self, path: &str) -> bool {
        path.strip_prefix(&*self.path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// Bytes of a URL.
const LONGEST_URL: usize = 8 << 10;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::config::{At, Grants, Located};

    fn access(prefixes: &[&str]) -> Access {
        let located = |prefix: &&str| Located { value: prefix.parse().unwrap(), at: At::default() };
        let grants = Grants { http: prefixes.iter().map(located).collect(), ..Grants::default() };
        Access::new(&grants, Path::new("/")).unwrap()
    }

    #[test]
    fn what_is_under_a_prefix_is_granted() {
        let access = access(&["https://auth.internal/check", "http://[::1]:8080", "http://a.test:80/"]);
        for url in [
            "https://auth.internal/check",
            "https://auth.internal/check?user=a",
            "https://auth.internal:443/check/",
            "https://AUTH.internal/check/deeper",
            "https://auth.internal/%63heck/x",
            "https://auth.internal//check",
            "http://[::1]:8080/anything",
            "http://[0:0::1]:8080",
            "http://a.test",
            "http://a.test/x",
        ] {
            assert!(access.target(url).is_ok(), "{url}: {:?}", access.target(url));
        }
        assert_eq!(access.target("https://auth.internal/%63heck").unwrap().uri, "https://auth.internal/check");
    }

    #[test]
    fn what_only_looks_like_it_is_not() {
        let access = access(&["https://auth.internal/check", "http://a.test"]);
        for url in [
            "https://auth.internal/checks",
            "https://auth.internal/",
            "https://auth.internal",
            "https://auth.internal/Check",
            "http://auth.internal/check",
            "https://auth.internal:8443/check",
            "https://auth.internal.evil.test/check",
            "https://evil.test/https://auth.internal/check",
            "https://sub.auth.internal/check",
            "https://auth.internal./check",
            "http://a.test:8080/",
            "http://a.test.",
        ] {
            assert_eq!(access.target(url).err(), Some(CallError::NotGranted), "{url}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let access = access(&["https://auth.internal/check", "http://a.test"]);
        for url in [
            "https://auth.internal/check/../admin",
            "https://auth.internal/check/%2e%2e/admin",
            "https://auth.internal/check/..%2fadmin",
            "https://auth.internal/check/..;/admin",
            "https://auth.internal/check\\..\\admin",
            "https://auth.internal/check#@evil.test",
            "https://auth.internal@evil.test/check",
            "https://user:word@auth.internal/check",
            "https://auth.internal:0/check",
            "https://auth.internal:/check",
            "https://auth.internal:99999/check",
            "https:///check",
            "/check",
            "auth.internal/check",
            "auth.internal:443",
            "file:///etc/passwd",
            "ftp://a.test/",
            "http://a.test/\r\nHost: b",
            "http://a.test/a b",
            "http://a%2etest/",
            "http://a.test,b.test/",
            "http://\u{e4}.test/",
            "",
        ] {
            assert!(matches!(access.target(url), Err(CallError::Invalid(_))), "{url}: {:?}", access.target(url));
        }
    }
}
