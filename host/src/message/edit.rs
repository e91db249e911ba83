//! The gate for what plugins write into header sections. It is as strict as the one for bytes from the network.

use http::header::{self, HeaderName, HeaderValue};

use crate::http1::spells_framing;

/// Why an edit of a header was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EditError {
    /// The name is not a token.
    InvalidName,
    /// The value holds a control character.
    InvalidValue,
    /// Not for plugins to change.
    Forbidden,
    /// The section would grow beyond the limits.
    TooLarge,
}

/// The gate for a field's name that a plugin wants to change.
///
/// # Errors
/// When it is no token (RFC 9110 §5.1), or when it frames or routes the message or belongs to one connection.
pub fn editable_name(name: &str) -> Result<HeaderName, EditError> {
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| EditError::InvalidName)?;
    if HOST_OWN.contains(&name) || HOST_OWN_UNKNOWN.contains(&name.as_str()) || spells_framing(name.as_str()) {
        return Err(EditError::Forbidden);
    }
    Ok(name)
}

/// The gate for a field's value.
///
/// # Errors
/// When it holds CR, LF, NUL or another control character but tab (RFC 9110 §5.5).
pub fn editable_value(value: &str) -> Result<HeaderValue, EditError> {
    HeaderValue::from_bytes(value.as_bytes()).map_err(|_| EditError::InvalidValue)
}

const HOST_OWN: [HeaderName; 10] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::HOST,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

const HOST_OWN_UNKNOWN: [&str; 3] = ["http2-settings", "keep-alive", "proxy-connection"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_cannot_touch_framing_or_routing() {
        for name in ["Transfer-Encoding", "content-length", "HOST", "Connection", "keep-alive", "HTTP2-Settings"] {
            assert_eq!(editable_name(name), Err(EditError::Forbidden), "{name}");
        }
        for name in ["Transfer_Encoding", "transfer---encoding", "CONTENT_LENGTH"] {
            assert_eq!(editable_name(name), Err(EditError::Forbidden), "{name}");
        }
        for name in ["content-type", "content_type", "transfer", "cookie", "contents-length"] {
            assert!(!spells_framing(name), "{name}");
        }
        assert_eq!(editable_name("x y"), Err(EditError::InvalidName));
        assert_eq!(editable_name(""), Err(EditError::InvalidName));
        assert!(editable_name("X-Anything").is_ok());
    }

    #[test]
    fn values_cannot_break_out_of_their_line() {
        for value in ["a\r\nb: c", "a\nb", "a\0b", "a\rb"] {
            assert_eq!(editable_value(value), Err(EditError::InvalidValue), "{value:?}");
        }
        assert!(editable_value("plain, with\ttab").is_ok());
    }
}
