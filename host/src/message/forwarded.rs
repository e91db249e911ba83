//! What Lockgate tells backends of the client: X-Forwarded-*, Forwarded (RFC 7239), Via (RFC 9110 §7.6.3), X-Request-Id.

use std::cell::Cell;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::BytesMut;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

use crate::http1::{write_all, write_field};

/// What is said of every request that comes on one connection, made once for it.
///
/// Where a plugin looks, the fields are set in the request's header section ([`Forwarding::apply`]). As long as none does,
/// they are only to be written behind it ([`Untold`], [`Added`]), which costs a quarter.
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
    /// The fields that are the same for all requests, as they are written to a backend.
    lines: Lines,
}

/// Fields as they are written.
#[derive(Debug)]
struct Lines {
    /// X-Forwarded-For and Via.
    address: Vec<u8>,
    proto: Vec<u8>,
    port: Vec<u8>,
}

/// What is still to be said of a request's connection: it is not in its header section.
#[derive(Debug, Clone)]
pub struct Untold {
    /// What is said of its connection.
    pub forwarding: Arc<Forwarding>,
    /// What is in its header section already.
    pub claims: Claims,
}

/// Fields that a request is sent with, but that are not in its header section.
#[derive(Debug, Clone, Copy)]
pub struct Added<'a> {
    /// What is said of its connection.
    pub forwarding: &'a Forwarding,
    /// What is in its header section already.
    pub claims: Claims,
    /// Its authority.
    pub host: Option<&'a HeaderValue>,
    /// Its id.
    pub id: &'a RequestId,
}

/// What a trusted proxy has said already, and what is not said again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Claims {
    proto: bool,
    port: bool,
    host: bool,
}

/// What identifies a request to the backend and in the logs.
#[derive(Debug, Clone)]
pub enum RequestId {
    /// The client's own.
    Theirs(HeaderValue),
    /// Ours, in hex.
    Ours([u8; 32]),
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
        let port = local.port();
        let lines = Lines {
            address: format!("x-forwarded-for: {ip}\r\nvia: 1.1 {via}\r\n").into_bytes(),
            proto: format!("x-forwarded-proto: {proto}\r\n").into_bytes(),
            port: format!("x-forwarded-port: {port}\r\n").into_bytes(),
        };
        Self {
            peer: ip,
            trusted,
            address: text(ip.to_string()),
            proto: HeaderValue::from_static(proto),
            port: text(port.to_string()),
            via: text(format!("1.1 {via}")),
            lines,
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

    /// Takes out of a request what a peer that is not trusted says of itself. Says what is left of it, or nothing if the
    /// fields of this connection cannot just be written behind the request, because some must be joined to what is there.
    #[must_use]
    pub fn settle(&self, headers: &mut HeaderMap) -> Option<Claims> {
        let mut claims = Claims::default();
        if self.element.is_some() {
            return None;
        }
        if !self.trusted {
            remove_claims(headers);
            return Some(claims);
        }
        for name in headers.keys() {
            match name.as_str() {
                "x-forwarded-proto" => claims.proto = true,
                "x-forwarded-port" => claims.port = true,
                "x-forwarded-host" => claims.host = true,
                "x-forwarded-for" => return None,
                _ => {}
            }
        }
        Some(claims)
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

    /// The client's own X-Request-Id if it is a decent one, or a new one; no other is left in `headers`.
    #[must_use]
    pub fn request_id(&self, headers: &mut HeaderMap, id: u64) -> RequestId {
        if let Some(theirs) = headers.get(X_REQUEST_ID) {
            if (1..=128).contains(&theirs.len()) && theirs.as_bytes().iter().all(u8::is_ascii_graphic) {
                return RequestId::Theirs(theirs.clone());
            }
            headers.remove(X_REQUEST_ID);
        }
        RequestId::Ours(self.make(id))
    }

    fn make(&self, id: u64) -> [u8; 32] {
        let mut hex = [0; 32];
        // SplitMix64: one step hides the order of ids from whoever sees one of them.
        let mut mixed = self.seed.wrapping_add(id.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let halves = [mixed >> 32, mixed, id >> 32, id];
        for (digits, half) in hex.chunks_exact_mut(8).zip(halves) {
            digits.copy_from_slice(&hex_digits(half as u32));
        }
        hex
    }
}

/// A number in hexadecimal digits, all eight at once: there are four of these to each exchange.
fn hex_digits(number: u32) -> [u8; 8] {
    const ONES: u64 = 0x0101_0101_0101_0101;
    // A digit to each byte.
    let mut digits = u64::from(number);
    digits = (digits | digits << 16) & 0x0000_ffff_0000_ffff;
    digits = (digits | digits << 8) & 0x00ff_00ff_00ff_00ff;
    digits = (digits | digits << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    // 6 more is a two-digit number where there has to be a letter.
    let letters = ((digits + 6 * ONES) >> 4) & ONES;
    (digits + u64::from(b'0') * ONES + letters * u64::from(b'a' - b'9' - 1)).to_be_bytes()
}

impl RequestId {
    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Theirs(value) => value.to_str().unwrap_or("-"),
            Self::Ours(hex) => std::str::from_utf8(hex).unwrap_or("-"),
        }
    }

    /// As a field's value.
    #[must_use]
    pub fn value(&self) -> HeaderValue {
        match self {
            Self::Theirs(value) => value.clone(),
            Self::Ours(hex) => HeaderValue::from_bytes(hex).unwrap_or(HeaderValue::from_static("-")),
        }
    }

    /// Sets it in a header section.
    pub fn apply(&self, headers: &mut HeaderMap) {
        if let Self::Ours(_) = self {
            headers.insert(X_REQUEST_ID, self.value());
        }
    }
}

impl Untold {
    /// Whether a field of that name, in any case, may be among those that are still to be said.
    #[must_use]
    pub fn may_be(name: &str) -> bool {
        const PREFIX: &str = "x-forwarded-";
        let starts =
            name.as_bytes().get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX.as_bytes()));
        starts || name.eq_ignore_ascii_case("via") || name.eq_ignore_ascii_case("x-request-id")
    }
}

impl Added<'_> {
    /// Writes the fields for HTTP/1.1.
    pub fn write(&self, out: &mut BytesMut) {
        let lines = &self.forwarding.lines;
        let proto = if self.claims.proto { &[] } else { &lines.proto[..] };
        let port = if self.claims.port { &[] } else { &lines.port[..] };
        write_all(out, [&lines.address, proto, port]);
        if let Some(host) = self.host.filter(|_| !self.claims.host) {
            write_field(out, &X_FORWARDED_HOST, host);
        }
        if let RequestId::Ours(hex) = self.id {
            write_all(out, [b"x-request-id: ", hex, b"\r\n"]);
        }
    }

    /// Sets them in a header section.
    pub fn apply(&self, headers: &mut HeaderMap) {
        self.forwarding.apply(headers, self.host.cloned());
        self.id.apply(headers);
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

    /// What a backend is told, by name.
    fn told(headers: &HeaderMap) -> Vec<(String, String)> {
        let mut told: Vec<_> =
            headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
        told.sort();
        told
    }

    #[test]
    fn what_is_written_behind_a_request_is_what_would_be_set_in_it() {
        let host = HeaderValue::from_static("shop");
        let ours = ["x-forwarded-for", "x-forwarded-proto", "accept"].map(|claim| (false, claim));
        let theirs =
            ["accept", "x-request-id", "x-forwarded-proto", "x-forwarded-port", "x-forwarded-host", "forwarded"];
        for (trusted, claim) in ours.into_iter().chain(theirs.map(|claim| (true, claim))) {
            let forwarding = Forwarding { element: None, ..forwarding(trusted) };
            let mut plain = headers(&[(claim, "6.6.6.6")]);
            let claims = forwarding.settle(&mut plain).unwrap();
            let id = RequestIds::new(1).request_id(&mut plain, 1);
            let added = Added { forwarding: &forwarding, claims, host: Some(&host), id: &id };
            let mut written = BytesMut::new();
            added.write(&mut written);
            let mut set = headers(&[(claim, "6.6.6.6")]);
            let _ = forwarding.settle(&mut set);
            added.apply(&mut set);
            for line in std::str::from_utf8(&written).unwrap().lines() {
                let (name, value) = line.split_once(": ").unwrap();
                plain.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
            }
            assert_eq!(told(&plain), told(&set), "{trusted} {claim}");
        }
    }

    #[test]
    fn what_must_be_joined_is_not_written_behind() {
        let forwarding = Forwarding { element: None, ..forwarding(true) };
        assert_eq!(forwarding.settle(&mut headers(&[("x-forwarded-for", "6.6.6.6")])), None);
        assert_eq!(self::forwarding(false).settle(&mut headers(&[])), None);
    }

    #[test]
    fn digits_are_hexadecimal() {
        for number in [0, 1, 9, 10, 0x0f1e_2d3c, 0x9a9a_a9a9, 0xdead_beef, u32::MAX] {
            assert_eq!(hex_digits(number), format!("{number:08x}").as_bytes(), "{number:x}");
        }
    }

    #[test]
    fn request_ids_are_kept_if_decent_and_made_otherwise() {
        let ids = RequestIds::new(1);
        let mut kept = headers(&[("x-request-id", "abc")]);
        assert_eq!(ids.request_id(&mut kept, 1).as_str(), "abc");
        let mut bad = headers(&[("x-request-id", "a b")]);
        let made = ids.request_id(&mut bad, 1);
        assert_eq!(made.as_str().len(), 32);
        assert!(bad.is_empty());
        made.apply(&mut bad);
        assert_eq!(bad["x-request-id"], made.as_str());
        assert_ne!(ids.request_id(&mut HeaderMap::new(), 2).as_str(), made.as_str());
    }
}
