//! The one form that a path has, for all who compare paths.

/// The path's one form, unless it has that already, as nearly all have: what need not be encoded is not
/// (RFC 3986 §6.2.2.2), hex digits are capitals, and slashes in a row are one.
#[must_use]
pub fn canonical(path: &str) -> Option<String> {
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
