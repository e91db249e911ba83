//! What Lockgate tells backends of the client: X-Forwarded-*, Forwarded (RFC 7239), Via (RFC 9110 §7.6.3), X-Request-Id.

use std::cell::Cell;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

/// What is said of every request that comes on one connection, made once for it.
#[derive(Debug)]
pub struct Forwarding {
    peer: IpAddr,
    /// Whether the peer is one of `trusted_proxies`, whose own words are kept.
    trusted: bool,
    address: HeaderValue,
    proto: HeaderValue,
    port: HeaderValue,
    via: HeaderValue,
    /// `for=..;proto=..`, if `Forwarded` is to be sent.
    element: Option<String>,
}

impl Forwarding {
    /// For a connection from `peer` to `local`. `via` is the pseudonym, `forwarded` whether to send `Forwarded`.
    #[must_use]
    pub fn new(peer: SocketAddr, local: SocketAddr, tls: bool, trusted: bool, via: &str, forwarded: bool) -> Self {
        let ip = peer.ip().to_canonical();
        let proto = if tls { "https" } else { "http" };
        let text = |text: String| HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("unknown"));
        let node = match ip {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("\"[{ip}]\""),
        };
        Self {
            peer: ip,
            trusted,
            address: text(ip.to_string()),
            proto: HeaderValue::from_static(proto),
            port: text(local.port().to_string()),
            via: text(format!("1.1 {via}")),
            element: forwarded.then(|| format!("for={node};proto={proto}")),
        }
    }

    /// The client's address: the peer's, or behind trusted proxies the nearest in X-Forwarded-For that is none of them.
    #[must_use]
    pub fn client(&self, headers: &HeaderMap, trusted_proxies: &[IpNet]) -> IpAddr {
        if !self.trusted {
            return self.peer;
        }
        let mut nearest = self.peer;
        let fields: Vec<&str> = headers.get_all(X_FORWARDED_FOR).iter().filter_map(|v| v.to_str().ok()).collect();
        for hop in fields.iter().rev().flat_map(|field| field.rsplit(',')) {
            let Ok(address) = hop.trim().parse::<IpAddr>() else { break };
            nearest = address.to_canonical();
            if !trusted_proxies.iter().any(|net| net.contains(&nearest)) {
                break;
            }
        }
        nearest
    }

    /// Sets the fields of a request. What a peer that is not trusted says of itself is thrown away.
    pub fn apply(&self, headers: &mut HeaderMap, host: Option<HeaderValue>) {
        if self.trusted {
            self.append(headers, host);
        } else {
            self.overwrite(headers, host);
        }
        headers.append(header::VIA, self.via.clone());
    }

    fn overwrite(&self, headers: &mut HeaderMap, host: Option<HeaderValue>) {
        remove_claims(headers);
        headers.insert(X_FORWARDED_FOR, self.address.clone());
        headers.insert(X_FORWARDED_PROTO, self.proto.clone());
        headers.insert(X_FORWARDED_PORT, self.port.clone());
        if let Some(element) = &self.element
            && let Some(value) = forwarded(element, host.as_ref())
        {
            headers.insert(header::FORWARDED, value);
        }
        if let Some(host) = host {
            headers.insert(X_FORWARDED_HOST, host);
        }
    }

    fn append(&self, headers: &mut HeaderMap, host: Option<HeaderValue>) {
        let chain: Vec<&str> = headers.get_all(X_FORWARDED_FOR).iter().filter_map(|v| v.to_str().ok()).collect();
        let value = if chain.is_empty() {
            self.address.clone()
        } else {
            HeaderValue::try_from(format!("{}, {}", chain.join(", "), self.peer)).unwrap_or(self.address.clone())
        };
        headers.insert(X_FORWARDED_FOR, value);
        let claims = [
            (X_FORWARDED_PROTO, Some(&self.proto)),
            (X_FORWARDED_PORT, Some(&self.port)),
            (X_FORWARDED_HOST, host.as_ref()),
        ];
        for (name, ours) in claims {
            if let (false, Some(ours)) = (headers.contains_key(&name), ours) {
                headers.insert(name, ours.clone());
            }
        }
        if let Some(element) = &self.element
            && let Some(value) = forwarded(element, host.as_ref())
        {
            headers.append(header::FORWARDED, value);
        }
    }
}

/// Makes request ids: 128 bits in hex, unguessable in their first half, never the same twice in their second.
#[derive(Debug)]
pub struct RequestIds {
    seed: u64,
    next: Cell<u64>,
}

impl RequestIds {
    /// For one worker. `first` and what follows it must be this worker's own.
    #[must_use]
    pub fn new(first: u64) -> Self {
        Self { seed: getrandom::u64().unwrap_or(0x9e37_79b9_7f4a_7c15), next: Cell::new(first) }
    }

    /// The number of the next exchange.
    pub fn next(&self) -> u64 {
        let id = self.next.get();
        self.next.set(id.wrapping_add(1));
        id
    }

    /// The client's own X-Request-Id if it is a decent one, or a new one.
    #[must_use]
    pub fn request_id(&self, headers: &mut HeaderMap, id: u64) -> HeaderValue {
        if let Some(theirs) = headers.get(X_REQUEST_ID)
            && (1..=128).contains(&theirs.len())
            && theirs.as_bytes().iter().all(u8::is_ascii_graphic)
        {
            return theirs.clone();
        }
        let value = self.make(id);
        headers.insert(X_REQUEST_ID, value.clone());
        value
    }

    fn make(&self, id: u64) -> HeaderValue {
        let mut hex = [0; 32];
        // SplitMix64: one step hides the order of ids from whoever sees one of them.
        let mut mixed = self.seed.wrapping_add(id.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        for (at, byte) in mixed.to_be_bytes().into_iter().chain(id.to_be_bytes()).enumerate() {
            hex[2 * at] = DIGITS[usize::from(byte >> 4)];
            hex[2 * at + 1] = DIGITS[usize::from(byte & 15)];
        }
        HeaderValue::from_bytes(&hex).unwrap_or(HeaderValue::from_static("unknown"))
    }
}

/// Removes what a client says of where it comes from.
fn remove_claims(headers: &mut HeaderMap) {
    let claims = |name: &str| {
        name.starts_with("x-forwarded")
            || name.starts_with("x_forwarded")
            || matches!(name, "forwarded" | "x-real-ip" | "x_real_ip")
    };
    // Nearly no request has any: look first, and look again for each spelling that is found.
    while let Some(name) = headers.keys().find(|name| claims(name.as_str())).cloned() {
        headers.remove(name);
    }
}

fn forwarded(element: &str, host: Option<&HeaderValue>) -> Option<HeaderValue> {
    let mut text = element.to_owned();
    if let Some(host) = host.and_then(|host| host.to_str().ok()) {
        write!(text, ";host=\"{host}\"").ok()?;
    }
    HeaderValue::try_from(text).ok()
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn forwarding(trusted: bool) -> Forwarding {
        let local = "192.0.2.1:443".parse().unwrap();
        Forwarding::new("10.0.0.9:5000".parse().unwrap(), local, true, trusted, "lockgate", true)
    }

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    #[test]
    fn a_stranger_s_claims_are_overwritten_in_every_spelling() {
        let mut headers = headers(&[
            ("x-forwarded-for", "1.1.1.1"),
            ("x_forwarded_for", "1.1.1.1"),
            ("x-forwarded-server", "evil"),
            ("forwarded", "for=1.1.1.1"),
            ("x-real-ip", "1.1.1.1"),
        ]);
        forwarding(false).apply(&mut headers, Some(HeaderValue::from_static("shop")));
        let text: Vec<_> = headers.iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect();
        assert!(!text.join("\n").contains("1.1.1.1") && !text.join("\n").contains("evil"), "{text:?}");
        assert_eq!(headers["x-forwarded-for"], "10.0.0.9");
        assert_eq!(headers["x-forwarded-proto"], "https");
        assert_eq!(headers["x-forwarded-host"], "shop");
        assert_eq!(headers["x-forwarded-port"], "443");
        assert_eq!(headers["forwarded"], "for=10.0.0.9;proto=https;host=\"shop\"");
        assert_eq!(headers["via"], "1.1 lockgate");
    }

    #[test]
    fn a_trusted_proxy_is_believed_up_to_the_first_stranger() {
        let mut headers = headers(&[("x-forwarded-for", "6.6.6.6, 7.7.7.7, 10.0.0.8"), ("x-forwarded-proto", "http")]);
        let nets = ["10.0.0.0/8".parse().unwrap()];
        assert_eq!(forwarding(true).client(&headers, &nets), "7.7.7.7".parse::<IpAddr>().unwrap());
        assert_eq!(forwarding(false).client(&headers, &nets), "10.0.0.9".parse::<IpAddr>().unwrap());
        forwarding(true).apply(&mut headers, None);
        assert_eq!(headers["x-forwarded-for"], "6.6.6.6, 7.7.7.7, 10.0.0.8, 10.0.0.9");
        assert_eq!(headers["x-forwarded-proto"], "http");
    }

    #[test]
    fn request_ids_are_kept_if_decent_and_made_otherwise() {
        let ids = RequestIds::new(1);
        let mut kept = headers(&[("x-request-id", "abc")]);
        assert_eq!(ids.request_id(&mut kept, 1), "abc");
        let mut bad = headers(&[("x-request-id", "a b")]);
        let made = ids.request_id(&mut bad, 1);
        assert_eq!(made.len(), 32);
        assert_eq!(bad["x-request-id"], made);
        assert_ne!(ids.request_id(&mut HeaderMap::new(), 2), made);
    }
}
