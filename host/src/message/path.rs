//! One form for each path, so that the route, the plugins and the backend cannot read it differently.

use http::uri::{PathAndQuery, Uri};

use crate::path::canonical;
use crate::reason::Reason;

/// How a path is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// In its one form.
    Plain,
    /// Maybe in another: [`canonicalize`] is to be asked.
    Other,
}

/// One path for the route, the plugins and the backend: what one of them could read otherwise is refused. Says how the path
/// is written.
///
/// # Errors
/// [`Reason::BadRequest`].
pub fn check_path(path: &str) -> Result<Spelling, Reason> {
    let bytes = path.as_bytes();
    let [b'/', behind @ ..] = bytes else { return Err(Reason::BadRequest) };
    let (mut seen, mut twice, mut last) = (0, 0, SLASH);
    for byte in behind {
        let kind = KINDS[usize::from(*byte)];
        seen |= kind;
        twice |= kind & last;
        last = kind;
    }
    let spelling = if seen & ENCODED != 0 || twice & SLASH != 0 { Spelling::Other } else { Spelling::Plain };
    // Nearly all paths have nothing else, and are done here.
    if seen & !SLASH == 0 {
        return Ok(spelling);
    }
    if seen & FOREIGN != 0 {
        return Err(Reason::BadRequest);
    }
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|b| *b == b'%') {
        rest = &rest[at + 1..];
        let decoded = rest.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let decoded = decoded.and_then(|hex| u8::from_str_radix(hex, 16).ok()).ok_or(Reason::BadRequest)?;
        // Encoded slashes hide segments; encoded controls become header lines behind a careless backend.
        if matches!(decoded, b'/' | b'\\') || decoded < b' ' || decoded == 0x7f {
            return Err(Reason::BadRequest);
        }
    }
    if path.split('/').any(is_dot_segment) { Err(Reason::BadRequest) } else { Ok(spelling) }
}

/// `.` or `..`, its dots encoded or not, with or without a parameter behind it: `..;x`, `%2e.`.
fn is_dot_segment(segment: &str) -> bool {
    let mut rest = segment.split(';').next().unwrap_or_default().as_bytes();
    let mut dots = 0;
    loop {
        rest = match rest {
            [] => return matches!(dots, 1 | 2),
            [b'.', rest @ ..] | [b'%', b'2', b'e' | b'E', rest @ ..] => rest,
            _ => return false,
        };
        dots += 1;
    }
}

/// Writes the path of a request that has passed the gate in its one form: what need not be encoded is not
/// (RFC 3986 §6.2.2.2), hex digits are capitals, and slashes in a row are one.
pub fn canonicalize(uri: &mut Uri) {
    // An absolute target may have a query and no path: `http://host?query`.
    let pathless = uri.path_and_query().is_some_and(|target| target.as_str().starts_with('?'));
    let path = match canonical(uri.path()) {
        Some(path) => path,
        None if pathless => "/".to_owned(),
        None => return,
    };
    let target = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    let mut parts = std::mem::take(uri).into_parts();
    parts.path_and_query = PathAndQuery::try_from(target).ok();
    *uri = Uri::from_parts(parts).unwrap_or_else(|_| Uri::from_static("/"));
}

/// What there is to be looked at in a path.
const SLASH: u8 = 1;
const DOT: u8 = 2;
const ENCODED: u8 = 4;
const FOREIGN: u8 = 8;

/// What each byte is, 0 if it may stand anywhere.
const KINDS: [u8; 256] = {
    let (mut table, mut byte) = ([FOREIGN; 256], 0x21);
    while byte < 0x7f {
        table[byte] = match byte as u8 {
            b'/' => SLASH,
            b'.' => DOT,
            b'%' => ENCODED,
            b'\\' | b'#' => FOREIGN,
            _ => 0,
        };
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn one_path_for_everybody() {
        for plain in ["/", "/a", "/a/b.c", "/.well-known/x", "/a..b/...", "/a;v=1", "/a/", "/-_~!$&'()*+,;=:@"] {
            assert_eq!(check_path(plain), Ok(Spelling::Plain), "{plain}");
            assert_eq!(canonical(plain), None, "{plain}");
        }
        for good in ["/a%20b", "/a%2eb", "//", "/a//b", "/%C3%A9"] {
            assert_eq!(check_path(good), Ok(Spelling::Other), "{good}");
        }
        for bad in [
            "",
            "a",
            "*",
            "/a/../b",
            "/a/%2e%2e/b",
            "/a%2fb",
            "/a%5cb",
            "/a%00",
            "/%0d%0aX:1",
            "/a/..;/b",
            "/a/.",
            "/%zz",
            "/%2",
            "/a\\b",
            "/a#b",
            "/a b",
            "/a\u{7f}",
            "/\u{e9}",
            "/..",
            "//../a",
            "/a//..",
        ] {
            assert_eq!(check_path(bad), Err(Reason::BadRequest), "{bad}");
        }
    }

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
        let mut uri: Uri = "http://h?a=b".parse().unwrap();
        canonicalize(&mut uri);
        assert_eq!(uri.path_and_query().unwrap(), "/?a=b");
        let mut uri: Uri = "/%61".parse().unwrap();
        canonicalize(&mut uri);
        assert_eq!(uri, "/a");
    }
}
