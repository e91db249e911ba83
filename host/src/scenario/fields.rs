//! Parts of scenario files that stand in several places: texts, bytes, fields.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::config::reader::{Mistake, Value};

/// What fields of one name must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// These, in this order.
    Values(Vec<String>),
    /// There must be one, whatever it is.
    Any,
    /// There must be none.
    None,
}

/// A table whose keys are the user's.
pub(super) fn entries<T>(
    value: Value<'_, '_>,
    mut read: impl FnMut(Value<'_, '_>) -> Option<T>,
) -> Option<Vec<(String, T)>> {
    let entries = value.table()?.into_entries();
    Some(entries.filter_map(|(key, value)| Some((key.value, read(value)?))).collect())
}

pub(super) fn text(value: Value<'_, '_>) -> Option<String> {
    value.string().map(|text| text.value)
}

pub(super) fn status(value: Value<'_, '_>) -> Option<StatusCode> {
    value.integer(100..=599_u16).and_then(|status| StatusCode::from_u16(status).ok())
}

pub(super) fn texts(value: Value<'_, '_>) -> Option<Vec<String>> {
    Some(value.array()?.into_iter().filter_map(text).collect())
}

/// A text, or `{ base64 = ".." }` for what is none.
pub(super) fn bytes(value: Value<'_, '_>) -> Option<Bytes> {
    if !value.is_table() {
        return value.string_or("a text, or { base64 = \"..\" }").map(|text| text.value.into());
    }
    let mut table = value.table()?;
    let bytes = table.required("base64", |value| {
        value.parsed(|text| STANDARD.decode(text).map_err(|_| Mistake::new("this is not Base64")))
    });
    table.finish();
    bytes.map(Bytes::from)
}

/// What `read` makes of it, or `false`.
pub(super) fn or_false<T>(value: Value<'_, '_>, read: impl FnOnce(Value<'_, '_>) -> Option<T>) -> Option<Option<T>> {
    if value.is_false() { Some(None) } else { read(value).map(Some) }
}

pub(super) fn number(value: Value<'_, '_>) -> Option<f64> {
    let (json, _) = value.json()?;
    json.as_f64()
}

/// Fields of a message: `name = "value"`, or `name = ["one", "another"]`.
pub(super) fn headers(value: Value<'_, '_>) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    let problems = value.problems();
    for (key, value) in value.table()?.into_entries() {
        let Ok(name) = HeaderName::from_bytes(key.value.as_bytes()) else {
            problems.borrow_mut().push(&key.at, format!("{:?} cannot be the name of a field", key.value));
            continue;
        };
        let values = if value.is_array() { value.array().unwrap_or_default() } else { vec![value] };
        for one in values {
            if let Some(one) = one.parsed(self::value) {
                headers.append(name.clone(), one);
            }
        }
    }
    Some(headers)
}

/// A field's value.
pub(super) fn value(text: &str) -> Result<HeaderValue, Mistake> {
    HeaderValue::from_str(text).map_err(|_| Mistake::new(format!("{text:?} cannot be the value of a field")))
}

/// What fields must be: `name = "value"`, a list of values, `true` for any or `false` for none.
pub(super) fn wanted(value: Value<'_, '_>) -> Option<Vec<(String, Wanted)>> {
    let wanted = entries(value, |value| {
        if value.is_array() {
            texts(value).map(Wanted::Values)
        } else if value.is_string() {
            text(value).map(|text| Wanted::Values(vec![text]))
        } else {
            value.boolean().map(|any| if any { Wanted::Any } else { Wanted::None })
        }
    })?;
    Some(wanted.into_iter().map(|(name, wanted)| (name.to_ascii_lowercase(), wanted)).collect())
}
