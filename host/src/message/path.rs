//! One form for each path, so that the route, the plugins and the backend cannot read it differently.

use http::uri::{PathAndQuery, Uri};

/// Writes the path of a request that has passed the gate in its one form: what need not be encoded is not
/// (RFC 3986 §6.2.2.2), hex digits are capitals, and slashes in a row are one.
pub fn canonicalize(uri: &mut Uri) {
    let Some(path) = canonical(uri.path()) else { return };
    let target = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    let mut parts = std::mem::take(uri).into_parts();
    parts.path_and_query = PathAndQuery::try_from(target).ok();
    *uri = Uri::from_parts(parts).unwrap_or_else(|_| Uri::from_static("/"));
}

/// The path's one form, unless it has that already, as nearly all have.
fn canonical(path: &str) -> Option<String> {
    if memchr::memchr(b'%', path.as_bytes()).is_none() && memchr::memmem::find(path.as_bytes(), b"//").is_none() {
        return None;
    }
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(next) = rest.chars().next() {
        let encoded = rest.strip_prefix('%').and_then(|rest| rest.get(..2));
        let byte = encoded.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match byte {
            Some(byte) if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') => {
                out.push(char::from(byte));
                rest = &rest[3..];
            }
            Some(_) => {
                out.push_str(&rest[..3].to_ascii_uppercase());
                rest = &rest[3..];
            }
            None => {
                if next != '/' || !out.ends_with('/') {
                    out.push(next);
                }
                rest = &rest[next.len_utf8()..];
            }
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_path_has_one_form() {
        for (sent, seen) in [
            ("/admin", "/admin"),
            ("/%61dmin?q=%61", "/admin?q=%61"),
            ("//admin", "/admin"),
            ("/a///b//", "/a/b/"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/a%2eb%7e", "/a.b~"),
            ("/a%20b", "/a%20b"),
        ] {
            let mut uri: Uri = format!("http://h{sent}").parse().unwrap();
            canonicalize(&mut uri);
            assert_eq!(uri.to_string(), format!("http://h{seen}"), "{sent}");
        }
        let mut uri: Uri = "/%61".parse().unwrap();
        canonicalize(&mut uri);
        assert_eq!(uri, "/a");
    }
}
