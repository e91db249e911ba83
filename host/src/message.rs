//! HTTP messages: what may stand in a header section, what belongs to one connection, what is forwarded.

use http::header::{HeaderName, HeaderValue};

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
/// When it is no token, or belongs to the host.
pub fn editable_name(name: &str) -> Result<HeaderName, EditError> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| EditError::InvalidName)
}

/// The gate for a field's value.
///
/// # Errors
/// When it holds a control character.
pub fn editable_value(value: &str) -> Result<HeaderValue, EditError> {
    HeaderValue::from_bytes(value.as_bytes()).map_err(|_| EditError::InvalidValue)
}
