//! What a head must be before it is served or passed on. The parser below has made sure of the grammar of lines; here is
//! what it lets through. What only the bytes tell is in `http1`.

use http::header::{self, HeaderValue};
use http::{Method, StatusCode, Version, request, response};

use super::path::{Spelling, check_path};
use crate::config::Limits;
use crate::http1::{RequestFacts, ResponseFacts, Said, is_host};
use crate::reason::Reason;

/// How a request says that its body is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// So many bytes.
    Length(u64),
    /// Until it ends.
    Open,
}

/// What the gate has found out about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passed {
    /// How its body is framed.
    pub framing: Framing,
    /// How its path is written.
    pub spelling: Spelling,
}

/// Holds a request against what Lockgate serves. `facts` are those of its fields, if they were gathered as it was read.
///
/// # Errors
/// The reason that the client is told.
pub fn check_request(head: &request::Parts, facts: Option<&RequestFacts>, limits: &Limits) -> Result<Passed, Reason> {
    check_method(&head.method)?;
    let spelling = check_target(head, limits)?;
    if head.headers.len() > limits.header_count {
        return Err(Reason::HeadersTooLarge);
    }
    let gathered;
    let facts = match facts {
        Some(facts) => facts,
        None => {
            gathered = RequestFacts::of(&head.headers).map_err(|_| Reason::BadRequest)?;
            &gathered
        }
    };
    if facts.size > limits.header_size {
        return Err(Reason::HeadersTooLarge);
    }
    if facts.misspelled {
        return Err(Reason::BadRequest);
    }
    check_authority(head, facts.host)?;
    match facts.expectation {
        Said::Nothing | Said::Sound => Ok(Passed { framing: framing(head.version, facts)?, spelling }),
        Said::Unsound | Said::Repeated => Err(Reason::ExpectationFailed),
    }
}

/// The host that the request is for, with its port; empty if an HTTP/1.0 client named none.
#[must_use]
pub fn host_of(head: &request::Parts) -> &str {
    match head.uri.authority() {
        Some(authority) => authority.as_str(),
        None => {
            // Nothing but ASCII passes the gate.
            let host = head.headers.get(header::HOST);
            host.and_then(|host| std::str::from_utf8(host.as_bytes()).ok()).unwrap_or_default()
        }
    }
}

/// The same as a field's value, as it was sent; none if there is none.
#[must_use]
pub fn host_value(head: &request::Parts) -> Option<HeaderValue> {
    match head.uri.authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => head.headers.get(header::HOST).cloned(),
    }
}

/// Holds a backend's response, whose fields say `facts`, against what may be passed on.
///
/// # Errors
/// [`Reason::BadResponse`].
pub fn check_response(head: &response::Parts, facts: &ResponseFacts, limits: &Limits) -> Result<(), Reason> {
    let no_content = head.status == StatusCode::NO_CONTENT;
    let status = (200..600).contains(&head.status.as_u16());
    // RFC 9112 §6.3: one length or one coding.
    let framed = match (facts.codings, facts.length) {
        (0, None) => true,
        (0, Some(length)) => !no_content || length == 0,
        // RFC 9112 §6.1: none with 1xx or 204, and none in HTTP/1.0.
        (1, None) => facts.chunked && head.version == Version::HTTP_11 && !no_content,
        (_, _) => false,
    };
    let small = head.headers.len() <= limits.header_count && facts.size <= limits.header_size;
    if status && framed && small { Ok(()) } else { Err(Reason::BadResponse) }
}

fn check_method(method: &Method) -> Result<(), Reason> {
    match *method {
        Method::GET | Method::POST | Method::HEAD | Method::PUT | Method::DELETE | Method::OPTIONS | Method::PATCH => {
            Ok(())
        }
        Method::CONNECT => Err(Reason::MethodNotServed),
        // Methods are case-sensitive (RFC 9110 §9.1); one in lower case is what a confused or hostile client sends.
        ref other if other.as_str().bytes().any(|b| b.is_ascii_lowercase()) => Err(Reason::BadRequest),
        _ => Ok(()),
    }
}

fn check_target(head: &request::Parts, limits: &Limits) -> Result<Spelling, Reason> {
    let target = head.uri.path_and_query().ok_or(Reason::BadRequest)?;
    let text = target.as_str();
    if text.len() > limits.uri_length {
        return Err(Reason::UriTooLong);
    }
    if text == "*" {
        return if head.method == Method::OPTIONS { Ok(Spelling::Plain) } else { Err(Reason::BadRequest) };
    }
    if let Some(scheme) = head.uri.scheme_str()
        && scheme != "http"
        && scheme != "https"
    {
        return Err(Reason::BadRequest);
    }
    // An absolute target may have a query and no path: `http://host?query`.
    let pathless = text.starts_with('?');
    let spelling = check_path(target.path())?;
    Ok(if pathless { Spelling::Other } else { spelling })
}

/// RFC 9112 §3.2: exactly one Host in HTTP/1.1. RFC 9113 §8.3.1: `:authority` and Host agree.
fn check_authority(head: &request::Parts, host: Said) -> Result<(), Reason> {
    let sound = match (host, head.uri.authority()) {
        (Said::Nothing, None) => head.version == Version::HTTP_10,
        (Said::Nothing, Some(authority)) => head.version >= Version::HTTP_2 && is_host(authority.as_str().as_bytes()),
        (Said::Sound, None) => true,
        (Said::Sound, Some(authority)) => {
            let host = head.headers.get(header::HOST);
            host.is_some_and(|host| host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()))
        }
        (Said::Unsound | Said::Repeated, _) => false,
    };
    if sound { Ok(()) } else { Err(Reason::BadRequest) }
}

/// RFC 9112 §6.3, and stricter: one framing, written once.
fn framing(version: Version, facts: &RequestFacts) -> Result<Framing, Reason> {
    match (facts.length, facts.chunked) {
        (None, false) if version >= Version::HTTP_2 => Ok(Framing::Open),
        (None, false) => Ok(Framing::None),
        (None, true) if version == Version::HTTP_11 => Ok(Framing::Open),
        (Some(length), false) => Ok(Framing::Length(length)),
        (_, true) => Err(Reason::BadRequest),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn limits() -> Limits {
        Limits {
            connections: 1,
            connections_per_client: 1,
            new_connections_per_client: 1,
            handshakes: 1,
            header_count: 100,
            header_size: 1024,
            uri_length: 64,
            body: 1,
            streams: 1,
            exchanges_per_connection: 1,
            memory: None,
        }
    }

    fn verdict(target: &str, headers: &[(&str, &str)]) -> Result<Framing, Reason> {
        let mut request = http::Request::get(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        check_request(&request.body(()).unwrap().into_parts().0, None, &limits()).map(|passed| passed.framing)
    }

    #[test]
    fn a_request_is_for_one_host() {
        assert_eq!(verdict("/", &[("host", "a:80")]), Ok(Framing::None));
        assert_eq!(verdict("/", &[("host", "u@a")]), Err(Reason::BadRequest));
        assert_eq!(verdict("/", &[]), Err(Reason::BadRequest));
        assert_eq!(verdict("/", &[("host", "a"), ("host", "a")]), Err(Reason::BadRequest));
        assert_eq!(verdict("http://b/", &[("host", "a")]), Err(Reason::BadRequest));
        assert_eq!(verdict("http://A/", &[("host", "a")]), Ok(Framing::None));
    }

    #[test]
    fn a_target_has_a_path_and_an_end() {
        for (target, expected) in [
            ("/a%20b", Ok(Framing::None)),
            ("/a%2fb", Err(Reason::BadRequest)),
            ("*", Err(Reason::BadRequest)),
            ("ftp://a/", Err(Reason::BadRequest)),
            ("http://a?b", Ok(Framing::None)),
        ] {
            assert_eq!(verdict(target, &[("host", "a")]), expected, "{target}");
        }
        assert_eq!(verdict(&format!("/{}", "a".repeat(64)), &[("host", "a")]), Err(Reason::UriTooLong));
    }

    #[test]
    fn framing_is_written_once_and_one_way() {
        let host = ("host", "a");
        assert_eq!(verdict("/", &[host, ("content-length", "5")]), Ok(Framing::Length(5)));
        assert_eq!(verdict("/", &[host, ("transfer-encoding", "Chunked")]), Ok(Framing::Open));
        for bad in [",chunked", "chunked, chunked", "xchunked", "gzip, chunked", "identity"] {
            assert_eq!(verdict("/", &[host, ("transfer-encoding", bad)]), Err(Reason::BadRequest), "{bad}");
        }
        for other in ["content_length", "transfer_encoding", "transfer--encoding"] {
            assert_eq!(verdict("/", &[host, (other, "5")]), Err(Reason::BadRequest), "{other}");
        }
        let both = [host, ("content-length", "5"), ("transfer-encoding", "chunked")];
        assert_eq!(verdict("/", &both), Err(Reason::BadRequest));
        assert_eq!(verdict("/", &[host, ("content-length", "5"), ("content-length", "5")]), Err(Reason::BadRequest));
        let twice = [host, ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")];
        assert_eq!(verdict("/", &twice), Err(Reason::BadRequest));
    }

    #[test]
    fn there_is_one_expectation() {
        let (host, expect) = (("host", "a"), ("expect", "100-Continue"));
        assert_eq!(verdict("/", &[host, expect]), Ok(Framing::None));
        assert_eq!(verdict("/", &[host, ("expect", "x")]), Err(Reason::ExpectationFailed));
        assert_eq!(verdict("/", &[host, expect, expect]), Err(Reason::ExpectationFailed));
    }
}
