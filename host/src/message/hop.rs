//! Fields that belong to one connection and are not passed on (RFC 9110 §7.6.1).

use http::HeaderMap;
use http::header::{self, HeaderName, HeaderValue};

/// What the hop-by-hop fields of a request said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hop {
    /// `Connection: upgrade` and `Upgrade: websocket`.
    pub websocket: bool,
    /// `TE: trailers`: the client can take trailers.
    pub trailers: bool,
}

/// Takes out of a request what must not be passed on.
pub fn clean_request(headers: &mut HeaderMap) -> Hop {
    let found = find(headers);
    let mut hop = Hop::default();
    if found & CONNECTION != 0 {
        let upgrade = remove_nominated(headers);
        hop.websocket = upgrade
            && headers.get(header::UPGRADE).is_some_and(|token| token.as_bytes().eq_ignore_ascii_case(b"websocket"));
    }
    if found & TE != 0 {
        hop.trailers = headers
            .get_all(header::TE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|token| token.trim().eq_ignore_ascii_case("trailers"));
    }
    remove_found(headers, found);
    hop
}

/// Joins the crumbs in which HTTP/2 may carry a cookie, as everything but HTTP/2 wants it (RFC 9113 §8.2.3).
pub fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(header::COOKIE).iter();
    let (Some(first), Some(_)) = (crumbs.next(), crumbs.next()) else { return };
    let mut whole = first.as_bytes().to_vec();
    for crumb in headers.get_all(header::COOKIE).iter().skip(1) {
        whole.extend_from_slice(b"; ");
        whole.extend_from_slice(crumb.as_bytes());
    }
    if let Ok(whole) = HeaderValue::from_bytes(&whole) {
        headers.insert(header::COOKIE, whole);
    }
}

/// Takes out of a response what must not be passed on.
pub fn clean_response(headers: &mut HeaderMap) {
    let found = find(headers);
    if found & CONNECTION != 0 {
        remove_nominated(headers);
    }
    remove_found(headers, found);
}

/// Which fields of one connection there are: one pass, because a look-up for each name costs more than all of it.
fn find(headers: &HeaderMap) -> u16 {
    headers.keys().fold(0, |found, name| {
        found
            | match name.as_str() {
                "connection" => CONNECTION,
                "keep-alive" => 2,
                "proxy-connection" => 4,
                "te" => TE,
                "transfer-encoding" => 16,
                "upgrade" => 32,
                "http2-settings" => 64,
                "proxy-authorization" => 128,
                "proxy-authenticate" => 256,
                "expect" => 512,
                _ => 0,
            }
    })
}

fn remove_found(headers: &mut HeaderMap, found: u16) {
    if found == 0 {
        return;
    }
    for (bit, name) in NAMES.iter().enumerate() {
        if found & (1 << bit) != 0 {
            headers.remove(*name);
        }
    }
}

/// Removes what `Connection` names, except what it must not name. Says whether it names `upgrade`.
fn remove_nominated(headers: &mut HeaderMap) -> bool {
    let mut upgrade = false;
    let mut nominated: smallvec::SmallVec<[HeaderName; 4]> = smallvec::SmallVec::new();
    for value in headers.get_all(header::CONNECTION) {
        for token in value.as_bytes().split(|b| *b == b',') {
            let token = token.trim_ascii();
            if token.eq_ignore_ascii_case(b"keep-alive") || token.eq_ignore_ascii_case(b"close") {
                continue;
            }
            if token.eq_ignore_ascii_case(b"upgrade") {
                upgrade = true;
            } else if let Ok(name) = HeaderName::from_bytes(token)
                && !is_end_to_end(&name)
            {
                nominated.push(name);
            }
        }
    }
    for name in nominated {
        headers.remove(name);
    }
    upgrade
}

/// Fields that a client may not have removed by naming them in `Connection`, because what comes behind relies on them.
fn is_end_to_end(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("x-forwarded-")
        || matches!(
            name,
            "host"
                | "content-length"
                | "content-type"
                | "authorization"
                | "cookie"
                | "forwarded"
                | "x-real-ip"
                | "x-request-id"
                | "trailer"
                | "upgrade"
        )
}

const CONNECTION: u16 = 1;
const TE: u16 = 8;

/// In the order of the bits.
const NAMES: [&str; 10] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    "proxy-authorization",
    "proxy-authenticate",
    "expect",
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn cleaned(fields: &[(&'static str, &'static str)]) -> (Hop, Vec<String>) {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        let hop = clean_request(&mut headers);
        let mut left: Vec<_> = headers.keys().map(ToString::to_string).collect();
        left.sort();
        (hop, left)
    }

    #[test]
    fn what_connection_names_is_removed_but_for_what_others_rely_on() {
        let (_, left) = cleaned(&[
            ("connection", "close, X-Internal, Host, X-Forwarded-For, Cookie"),
            ("x-internal", "1"),
            ("host", "a"),
            ("x-forwarded-for", "1.2.3.4"),
            ("cookie", "c"),
        ]);
        assert_eq!(left, ["cookie", "host", "x-forwarded-for"]);
    }

    #[test]
    fn an_upgrade_to_h2c_never_passes() {
        let (hop, left) =
            cleaned(&[("connection", "Upgrade, HTTP2-Settings"), ("upgrade", "h2c"), ("http2-settings", "x")]);
        assert_eq!((hop.websocket, left), (false, vec![]));
    }

    #[test]
    fn te_is_heard_and_not_passed_on() {
        let (hop, left) = cleaned(&[("te", "gzip;q=0.5, Trailers"), ("accept", "x")]);
        assert!(hop.trailers);
        assert_eq!(left, ["accept"]);
    }
}
