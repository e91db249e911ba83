//! Sends plain requests to HTTPS, and has browsers remember it.

mod config;

use lockgate_plugin::{Answer, OnRequest, Plugin, Verdict, exchange, request, response};

use crate::config::{Config, Trust};

struct HttpsEnforcer {
    config: Config,
    /// The value of `strict-transport-security`.
    hsts: Option<String>,
    /// What follows the host in the redirect: `:8443`, or nothing.
    port: String,
}

impl Plugin for HttpsEnforcer {
    type Config = Config;

    fn new(config: Config) -> Result<Self, String> {
        let config = config.checked()?;
        let hsts = config.hsts.as_ref().map(config::Hsts::value);
        let port = config.port.filter(|port| *port != 443).map_or_else(String::new, |port| format!(":{port}"));
        Ok(Self { config, hsts, port })
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
        let method = request::method();
        let safe = method == "GET" || method == "HEAD";
        // With 301 and 302, clients turn a POST into a GET; and what was sent in the clear is lost already.
        if !safe && !self.config.keeps_method() {
            return answer(403, vec![], "use https\n");
        }
        match self.host() {
            Some(host) => {
                let query = request::query().map_or_else(String::new, |query| "?".to_owned() + &query);
                let location = ["https://", &host, &self.port, &path, &query].concat();
                answer(self.config.status, vec![("location".to_owned(), location)], "use https\n")
            }
            None => answer(421, vec![], "this host is not served here\n"),
        }
    }
}

impl HttpsEnforcer {
    /// Whether the client's own connection is encrypted. What a trusted proxy says of it counts more than ours to the proxy.
    fn is_secure(&self) -> bool {
        if self.trusts(Trust::XArrSsl) && request::header("x-arr-ssl").is_some() {
            return true;
        }
        if self.trusts(Trust::XForwardedProto)
            && let Some(protocols) = request::header("x-forwarded-proto")
        {
            // The first is what the client used; further ones are hops between proxies.
            let first = protocols.split(',').next().unwrap_or_default();
            return first.trim().eq_ignore_ascii_case("https");
        }
        request::scheme() == "https"
    }

    fn trusts(&self, what: Trust) -> bool {
        self.config.trust.contains(&what) && exchange::from_trusted_proxy()
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
        let forwarded = if self.trusts(Trust::XForwardedHost) { request::header("x-forwarded-host") } else { None };
        let mut host = forwarded.unwrap_or_else(request::host);
        let name = without_port(&host).len();
        host.truncate(name);
        host.make_ascii_lowercase();
        let known = match self.config.leaves_hosts_to_route() {
            true => exchange::host_is_named(),
            false => self.config.redirects_to(&host),
        };
        known.then_some(host)
    }
}

/// `shop.example.com:80` and `[::1]:80` without their ports.
fn without_port(host: &str) -> &str {
    match host.rfind(':') {
        Some(colon) if !host[colon..].contains(']') => &host[..colon],
        _ => host,
    }
}

fn answer(status: u16, mut headers: Vec<(String, String)>, body: &str) -> Verdict {
    headers.push(("content-type".to_owned(), "text/plain; charset=utf-8".to_owned()));
    Verdict::Answer(Answer { status, headers, body: body.into() })
}

lockgate_plugin::config_schema!("../config.schema.json");
lockgate_plugin::export!(HttpsEnforcer: OnRequest);

#[cfg(test)]
mod tests;
