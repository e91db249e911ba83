//! Interim responses (RFC 9110 §15.2), on their way from a backend to the client.

use bytes::{BufMut, Bytes, BytesMut};

use crate::http1::{ResponseHead, write_field};
use crate::message::editable_name;

/// An interim response made anew, if all of it may be passed on.
pub(super) fn passable(head: &ResponseHead) -> Option<Bytes> {
    let mut out = BytesMut::with_capacity(256);
    let reason = head.status.canonical_reason().unwrap_or("Interim");
    out.put_slice(b"HTTP/1.1 ");
    out.put_slice(head.status.as_str().as_bytes());
    out.put_slice(b" ");
    out.put_slice(reason.as_bytes());
    out.put_slice(b"\r\n");
    for (name, value) in &head.headers {
        editable_name(name.as_str()).ok()?;
        write_field(&mut out, name, value);
    }
    out.put_slice(b"\r\n");
    Some(out.freeze())
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::http1::parse_response;

    fn made(text: &'static str) -> Option<Bytes> {
        let head = parse_response(&Bytes::from_static(text.as_bytes()), &Method::GET, 10);
        passable(&head.expect("a head"))
    }

    #[test]
    fn interim_responses_are_made_anew() {
        let made_anew = made("HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n");
        assert_eq!(made_anew.as_deref(), Some(&b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n"[..]));
        assert_eq!(made("HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n"), None);
    }
}
