//! What can be configured, and what of it makes sense.

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// The hosts that a redirect may lead to, in lower case: `shop.example.com`, or `*.example.com` for all below. Without
    /// any, those that the route names.
    #[serde(default)]
    hosts: Vec<String>,
    #[serde(default = "moved_permanently")]
    pub(crate) status: u16,
    pub(crate) port: Option<u16>,
    #[serde(default)]
    pub(crate) trust: Vec<Trust>,
    /// The same as `x-forwarded-proto` in `trust`.
    #[serde(default)]
    trust_forwarded_proto: bool,
    /// Paths without a slash at the end.
    #[serde(default)]
    pub(crate) exempt: Vec<String>,
    pub(crate) hsts: Option<Hsts>,
}

/// A field that is believed if a trusted proxy sent it.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(clippy::enum_variant_names, reason = "they are the names of the fields")]
pub(crate) enum Trust {
    XForwardedProto,
    XForwardedHost,
    XArrSsl,
}

/// HTTP Strict Transport Security (RFC 6797).
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hsts {
    /// In seconds.
    max_age: u64,
    #[serde(default)]
    include_subdomains: bool,
    #[serde(default)]
    preload: bool,
}

fn moved_permanently() -> u16 {
    301
}

impl Config {
    /// The configuration in the form that the hook wants, or what is wrong with it.
    pub(crate) fn checked(mut self) -> Result<Self, String> {
        if self.trust_forwarded_proto && !self.trust.contains(&Trust::XForwardedProto) {
            self.trust.push(Trust::XForwardedProto);
        }
        if self.hosts.is_empty() && self.trust.contains(&Trust::XForwardedHost) {
            return Err("hosts: what x-forwarded-host may say must be named, such as \"shop.example.com\"".to_owned());
        }
        for host in &mut self.hosts {
            host.make_ascii_lowercase();
            let name = host.strip_prefix("*.").unwrap_or(host);
            let address = name.starts_with('[') && name.ends_with(']');
            if !address && !is_name(name) {
                return Err(format!("hosts: \"{host}\" is not a host, which has neither scheme nor port nor path"));
            }
        }
        if ![301, 302, 307, 308].contains(&self.status) {
            return Err(format!("status: {} is not one of 301, 302, 307 and 308", self.status));
        }
        if self.port == Some(0) {
            return Err("port: 0 is not a port".to_owned());
        }
        for path in &self.exempt {
            if !path.starts_with('/') || path.ends_with('/') || path.contains(['?', '#', '%']) {
                return Err(format!("exempt: \"{path}\" is not a path such as \"/.well-known/acme-challenge\""));
            }
        }
        self.hsts.as_ref().map_or(Ok(()), Hsts::check)?;
        Ok(self)
    }

    /// Whether it is left to the route which hosts may be redirected to.
    pub(crate) fn leaves_hosts_to_route(&self) -> bool {
        self.hosts.is_empty()
    }

    /// Whether `host`, in lower case and without a port, is one to redirect to.
    pub(crate) fn redirects_to(&self, host: &str) -> bool {
        self.hosts.iter().any(|listed| match listed.strip_prefix('*') {
            // At least one label stands in place of the star.
            Some(domain) => host.len() > domain.len() && host.ends_with(domain) && is_name(host),
            None => host == listed,
        })
    }

    /// Whether clients repeat the request as it was, whatever its method (RFC 9110 §15.4).
    pub(crate) fn keeps_method(&self) -> bool {
        matches!(self.status, 307 | 308)
    }
}

/// Whether nothing but a name can be made of it: what stands for a star comes from the client.
fn is_name(host: &str) -> bool {
    !host.is_empty()
        && !host.starts_with('.')
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

impl Hsts {
    /// Browsers preload a domain only on these terms (hstspreload.org).
    fn check(&self) -> Result<(), String> {
        if self.preload && !self.include_subdomains {
            return Err("hsts: preload needs include_subdomains = true".to_owned());
        }
        if self.preload && self.max_age < YEAR {
            return Err(format!("hsts: preload needs a max_age of at least {YEAR} seconds, a year"));
        }
        Ok(())
    }

    /// The value of `strict-transport-security`.
    pub(crate) fn value(&self) -> String {
        let mut value = format!("max-age={}", self.max_age);
        if self.include_subdomains {
            value += "; includeSubDomains";
        }
        if self.preload {
            value += "; preload";
        }
        value
    }
}

const YEAR: u64 = 31_536_000;
