//! One form for each path, so that the route, the plugins and the backend cannot read it differently.

use http::uri::{PathAndQuery, Uri};

use crate::path::canonical;

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
        let mut uri: Uri = "http://h?a=b".parse().unwrap();
        canonicalize(&mut uri);
        assert_eq!(uri.path_and_query().unwrap(), "/?a=b");
        let mut uri: Uri = "/%61".parse().unwrap();
        canonicalize(&mut uri);
        assert_eq!(uri, "/a");
    }
}
