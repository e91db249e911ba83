//! A request as one backend is to see it.

use std::net::SocketAddr;

use bytes::{BufMut, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{PathAndQuery, Scheme, Uri};
use http::{Method, Request, Version};
use http_body::Body as _;

use super::Backend;
use crate::http1::{write_all, write_field};
use crate::message::{Added, UploadBody};

/// A request as one backend is to see it: what all attempts share is borrowed, so that an attempt copies nothing.
#[derive(Debug, Clone)]
pub struct Outgoing<'a> {
    /// The method.
    pub method: &'a Method,
    /// Path and query.
    pub target: &'a str,
    /// The fields, without those of one connection. `Host` among them does not count.
    pub headers: &'a HeaderMap,
    /// Fields that are not in `headers`.
    pub added: Option<Added<'a>>,
    /// `Host`.
    pub host: HeaderValue,
    /// Whether the client takes trailers.
    pub trailers: bool,
    /// Whether to ask for a WebSocket.
    pub websocket: bool,
    /// Both ends of the client's connection, if the backend is to be told of them.
    pub client: Option<(SocketAddr, SocketAddr)>,
    /// The first is 1; later ones are told to the backend.
    pub attempt: u32,
}

/// How a request's body is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyFraming {
    /// There is none.
    None,
    /// So many bytes.
    Length(u64),
    /// In chunks.
    Chunked,
}

impl BodyFraming {
    /// For that body.
    pub(super) fn of(body: &UploadBody) -> Self {
        match body.size_hint().exact() {
            _ if body.is_none() => Self::None,
            Some(length) => Self::Length(length),
            None => Self::Chunked,
        }
    }
}

impl Outgoing<'_> {
    /// Writes the head for HTTP/1.1.
    pub(super) fn write(&self, out: &mut BytesMut, framing: BodyFraming) {
        let method = self.method.as_str().as_bytes();
        out.reserve(method.len() + self.target.len() + 64 * (self.headers.len() + 8));
        let target = self.target.as_bytes();
        write_all(out, [method, b" ", target, b" HTTP/1.1\r\nhost: ", self.host.as_bytes(), b"\r\n"]);
        for (name, value) in self.headers {
            // A length without a body is 0.
            let ours = *name == header::HOST || *name == header::CONTENT_LENGTH && framing != BodyFraming::None;
            if !ours {
                write_field(out, name, value);
            }
        }
        if let Some(added) = self.added {
            added.write(out);
        }
        match framing {
            BodyFraming::None => {}
            BodyFraming::Length(length) => {
                write_all(out, [b"content-length: ", itoa::Buffer::new().format(length).as_bytes(), b"\r\n"]);
            }
            BodyFraming::Chunked => out.put_slice(b"transfer-encoding: chunked\r\n"),
        }
        for (name, value) in self.extra() {
            write_field(out, &name, &value);
        }
        if self.websocket {
            out.put_slice(b"connection: upgrade\r\nupgrade: websocket\r\n");
        }
        out.put_slice(b"\r\n");
    }

    /// The same for HTTP/2 (RFC 9113 §8.3.1): the authority instead of Host, and the whole target.
    pub(super) fn http2(&self, backend: &Backend, body: UploadBody) -> Request<UploadBody> {
        let mut request = Request::new(body);
        *request.version_mut() = Version::HTTP_2;
        *request.method_mut() = self.method.clone();
        let headers = request.headers_mut();
        *headers = self.headers.clone();
        if let Some(added) = self.added {
            added.apply(headers);
        }
        headers.remove(header::HOST);
        headers.extend(self.extra().map(|(name, value)| (Some(name), value)));
        let scheme = if backend.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
        let target = PathAndQuery::try_from(self.target).unwrap_or_else(|_| PathAndQuery::from_static("/"));
        let absolute = Uri::builder().scheme(scheme).authority(self.host.as_bytes()).path_and_query(target).build();
        if let Ok(absolute) = absolute {
            *request.uri_mut() = absolute;
        }
        request
    }

    /// Fields that only this attempt has.
    fn extra(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let te = self.trailers.then(|| (header::TE, HeaderValue::from_static("trailers")));
        let attempt = (self.attempt > 1).then(|| (ATTEMPT, HeaderValue::from(self.attempt)));
        te.into_iter().chain(attempt)
    }
}

const ATTEMPT: HeaderName = HeaderName::from_static("x-lockgate-attempt");

#[cfg(test)]
mod tests {
    use super::*;

    fn written(framing: BodyFraming, attempt: u32) -> String {
        let headers = [("host", "theirs"), ("content-length", "0"), ("accept", "x")];
        let headers = headers.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let headers = HeaderMap::from_iter(headers);
        let host = HeaderValue::from_static("ours");
        let (method, trailers) = (&Method::POST, attempt > 1);
        let request = Outgoing {
            client: None,
            method,
            target: "/a?b",
            headers: &headers,
            added: None,
            host,
            trailers,
            websocket: false,
            attempt,
        };
        let mut out = BytesMut::new();
        request.write(&mut out, framing);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn a_head_says_how_its_body_is_framed() {
        let none = "POST /a?b HTTP/1.1\r\nhost: ours\r\ncontent-length: 0\r\naccept: x\r\n\r\n";
        assert_eq!(written(BodyFraming::None, 1), none);
        let length = "POST /a?b HTTP/1.1\r\nhost: ours\r\naccept: x\r\ncontent-length: 12\r\n\r\n";
        assert_eq!(written(BodyFraming::Length(12), 1), length);
        let chunked = "POST /a?b HTTP/1.1\r\nhost: ours\r\naccept: x\r\ntransfer-encoding: chunked\r\n\
                       te: trailers\r\nx-lockgate-attempt: 2\r\n\r\n";
        assert_eq!(written(BodyFraming::Chunked, 2), chunked);
    }
}
