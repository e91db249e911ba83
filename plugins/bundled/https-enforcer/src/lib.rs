//! Sends plain requests to HTTPS, and has browsers remember it.

use lockgate_plugin::{Answer, OnRequest, Plugin, Verdict, exchange, request, response};
use serde::Deserialize;

/// README.md says what the keys mean; `config.schema.json`, which the host holds them against, what they may be.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    hosts: Vec<String>,
    status: Option<u16>,
    port: Option<u16>,
    trust: Vec<String>,
    trust_forwarded_proto: bool,
    exempt: Vec<String>,
    hsts: Option<Hsts>,
}

/// HTTP Strict Transport Security (RFC 6797).
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Hsts {
    max_age: u64,
    include_subdomains: bool,
    preload: bool,
}

struct HttpsEnforcer {
    config: Config,
    status: u16,
    /// The value of `strict-transport-security`.
    hsts: Option<String>,
    /// What follows the host in the redirect: `:8443`, or nothing.
    port: String,
}

impl Plugin for HttpsEnforcer {
    type Config = Config;

    fn new(mut config: Config) -> Result<Self, String> {
        config.hosts.iter_mut().for_each(|host| host.make_ascii_lowercase());
        if config.trust_forwarded_proto {
            config.trust.push("x-forwarded-proto".to_owned());
        }
        let hsts = config.hsts.as_ref().map(|hsts| {
            let subdomains = if hsts.include_subdomains { "; includeSubDomains" } else { "" };
            let preload = if hsts.preload { "; preload" } else { "" };
            format!("max-age={}{subdomains}{preload}", hsts.max_age)
        });
        let port = config.port.filter(|port| *port != 443).map_or_else(String::new, |port| format!(":{port}"));
        Ok(Self { status: config.status.unwrap_or(301), port, hsts, config })
    }
}

impl OnRequest for HttpsEnforcer {
    fn on_request(&mut self) -> Verdict {
        if self.is_secure() {
            if let Some(hsts) = &self.hsts {
                // Refused only when the response has no room left for it, which is no reason to refuse the request.
                _ = response::set_header("strict-transport-security", hsts);
            }
            return Verdict::Proceed;
        }
        let path = request::path();
        if self.is_exempt(&path) {
            return Verdict::Proceed;
        }
        // With 301 and 302, clients turn a POST into a GET (RFC 9110 §15.4); and what it sent is lost already.
        let keeps_method = matches!(self.status, 307 | 308);
        if !keeps_method && !matches!(request::method().as_str(), "GET" | "HEAD") {
            return answer(403, vec![], "use https\n");
        }
        let Some(host) = self.host() else { return answer(421, vec![], "this host is not served here\n") };
        let query = request::query().map_or_else(String::new, |query| "?".to_owned() + &query);
        let location = ["https://", &host, &self.port, &path, &query].concat();
        answer(self.status, vec![("location".to_owned(), location)], "use https\n")
    }
}

impl HttpsEnforcer {
    /// Whether the client's own connection is encrypted. What a trusted proxy says of it counts more than ours to the proxy.
    fn is_secure(&self) -> bool {
        if self.trusted("x-arr-ssl").is_some() {
            return true;
        }
        match self.trusted("x-forwarded-proto") {
            // The first is what the client used; further ones are hops between proxies.
            Some(protocols) => protocols.split(',').next().is_some_and(|it| it.trim().eq_ignore_ascii_case("https")),
            None => request::scheme() == "https",
        }
    }

    /// A field of a trusted proxy, if it is one to believe.
    fn trusted(&self, field: &str) -> Option<String> {
        let trusted = self.config.trust.iter().any(|trusted| trusted == field) && exchange::from_trusted_proxy();
        if trusted { request::header(field) } else { None }
    }

    /// Whether the path is one of those that may stay plain, or below. What a backend might take for another path than it
    /// looks like (`..`, `\`, `%`) never is.
    fn is_exempt(&self, path: &str) -> bool {
        let below = |exempt: &String| {
            path.strip_prefix(exempt.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.config.exempt.iter().any(below) && !path.contains("..") && !path.contains(['\\', '%'])
    }

    /// Where to redirect to: the host that was asked for, without its port, if it is one of those in the configuration, or,
    /// where that has none, if the route names it. What a client makes up is never redirected to.
    fn host(&self) -> Option<String> {
        let mut host = self.trusted("x-forwarded-host").unwrap_or_else(request::host);
        // Not the colons of an IPv6 address.
        if let Some(colon) = host.rfind(':').filter(|colon| !host[*colon..].contains(']')) {
            host.truncate(colon);
        }
        host.make_ascii_lowercase();
        let hosts = &self.config.hosts;
        let known = if hosts.is_empty() { exchange::host_is_named() } else { hosts.iter().any(|it| covers(it, &host)) };
        known.then_some(host)
    }
}

/// Whether `host` is the one in the configuration, or one of those below it. Of what the client puts in place of the star,
/// nothing but a name can be made.
fn covers(listed: &str, host: &str) -> bool {
    let Some(domain) = listed.strip_prefix('*') else { return host == listed };
    let label = host.strip_suffix(domain).unwrap_or_default();
    !label.is_empty()
        && !label.starts_with('.')
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

fn answer(status: u16, mut headers: Vec<(String, String)>, body: &str) -> Verdict {
    headers.push(("content-type".to_owned(), "text/plain; charset=utf-8".to_owned()));
    Verdict::Answer(Answer { status, headers, body: body.into() })
}

lockgate_plugin::config_schema!("../config.schema.json");
lockgate_plugin::export!(HttpsEnforcer: OnRequest);

#[cfg(test)]
mod tests;
