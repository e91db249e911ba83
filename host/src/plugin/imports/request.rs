//! `lockgate:plugin/request`

use http::header::HOST;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, Uri};

use super::super::direct::Text;
use super::super::host::{Host, Misuse};
use super::super::stats::Hook;
use super::{Cx, LinkerInstance, Refused, fields, text};
use crate::exchange::HeaderEdit;
use crate::message::{EditError, Untold, editable_name, editable_value};

pub(super) fn link(request: &mut LinkerInstance<'_, Host>) -> wasmtime::Result<()> {
    link_reading(request)?;
    link_editing(request)?;
    link_body(request)
}

fn link_reading(request: &mut LinkerInstance<'_, Host>) -> wasmtime::Result<()> {
    request.func_wrap("method", |cx: Cx<'_>, (): ()| {
        Ok((cx.data().exchange("request.method")?.request.method.as_str().to_owned(),))
    })?;
    request.func_wrap("scheme", |cx: Cx<'_>, (): ()| {
        let tls = cx.data().exchange("request.scheme")?.peer.tls.is_some();
        Ok((if tls { "https" } else { "http" }.to_owned(),))
    })?;
    request.func_wrap("host", |cx: Cx<'_>, (): ()| Ok((host(&cx.data().exchange("request.host")?.request),)))?;
    request.func_wrap("path", |cx: Cx<'_>, (): ()| {
        let path = cx.data().exchange("request.path")?.request.uri.path();
        // `OPTIONS *` has none.
        Ok((if path.starts_with('/') { path } else { "/" }.to_owned(),))
    })?;
    request.func_wrap("query", |cx: Cx<'_>, (): ()| {
        Ok((cx.data().exchange("request.query")?.request.uri.query().map(str::to_owned),))
    })?;
    request.func_wrap("header", |mut cx: Cx<'_>, (name,): (Text,)| {
        let there = first(&cx, &name)?;
        // What is said of the client's connection never comes before what the client has sent.
        if there.is_some() || !Untold::may_be(&name.to_str(&cx)?) {
            return Ok((there,));
        }
        cx.data_mut().exchange_whole("request.header")?;
        Ok((first(&cx, &name)?,))
    })?;
    request.func_wrap("header-bytes", |mut cx: Cx<'_>, (name,): (Text,)| {
        if Untold::may_be(&name.to_str(&cx)?) {
            cx.data_mut().exchange_whole("request.header-bytes")?;
        }
        let name = name.to_str(&cx)?;
        let headers = &cx.data().exchange("request.header-bytes")?.request.headers;
        let values = headers.get_all(&*name).iter().map(|value| value.as_bytes().to_vec());
        Ok((values.collect::<Vec<_>>(),))
    })?;
    request.func_wrap("headers", |mut cx: Cx<'_>, (): ()| {
        Ok((fields(&cx.data_mut().exchange_whole("request.headers")?.request.headers),))
    })
}

fn link_editing(request: &mut LinkerInstance<'_, Host>) -> wasmtime::Result<()> {
    request.func_wrap("set-header", |mut cx: Cx<'_>, (name, value): (Text, Text)| {
        let edit = editable_field(&name.to_str(&cx)?, &value.to_str(&cx)?);
        let headers = editable_headers(&mut cx, "request.set-header", edit.as_ref().ok().map(|(name, _)| name))?;
        let result = edit.and_then(|(name, value)| edit_headers(headers, HeaderEdit::Set(name, value)));
        Ok((result.map_err(Refused::from),))
    })?;
    request.func_wrap("append-header", |mut cx: Cx<'_>, (name, value): (Text, Text)| {
        let edit = editable_field(&name.to_str(&cx)?, &value.to_str(&cx)?);
        let headers = editable_headers(&mut cx, "request.append-header", edit.as_ref().ok().map(|(name, _)| name))?;
        let result = edit.and_then(|(name, value)| edit_headers(headers, HeaderEdit::Append(name, value)));
        Ok((result.map_err(Refused::from),))
    })?;
    request.func_wrap("remove-header", |mut cx: Cx<'_>, (name,): (Text,)| {
        let name = editable_name(&name.to_str(&cx)?);
        let headers = editable_headers(&mut cx, "request.remove-header", name.as_ref().ok())?;
        let result = name.map(|name| HeaderEdit::Remove(name).apply(headers));
        Ok((result.map_err(Refused::from),))
    })?;
    request.func_wrap("set-path", |mut cx: Cx<'_>, (path,): (Text,)| {
        let path = path.to_str(&cx)?.into_owned();
        let uri = &mut editable(&mut cx, "request.set-path")?.uri;
        let query = uri.query().map(str::to_owned);
        Ok((set_target(uri, &path, query.as_deref()).map_err(Refused::from),))
    })?;
    request.func_wrap("set-query", |mut cx: Cx<'_>, (query,): (Option<Text>,)| {
        let query = query.map(|query| query.to_str(&cx).map(std::borrow::Cow::into_owned)).transpose()?;
        let uri = &mut editable(&mut cx, "request.set-query")?.uri;
        let path = uri.path().to_owned();
        Ok((set_target(uri, &path, query.as_deref()).map_err(Refused::from),))
    })
}

fn link_body(request: &mut LinkerInstance<'_, Host>) -> wasmtime::Result<()> {
    request.func_wrap("set-body", |mut cx: Cx<'_>, (body,): (Vec<u8>,)| {
        let most = cx.data().core.limits.body_held;
        let exchange = cx.data_mut().exchange_mut("request.set-body", &[Hook::OnRequestComplete])?;
        if body.len() > most {
            return Ok((Err(Refused::TooLarge),));
        }
        exchange.new_body = Some(body.into());
        Ok((Ok(()),))
    })
}

/// The first field of that name.
fn first(cx: &Cx<'_>, name: &Text) -> wasmtime::Result<Option<String>> {
    let name = name.to_str(cx)?;
    let headers = &cx.data().exchange("request.header")?.request.headers;
    Ok(headers.get(&*name).map(|value| text(value.as_bytes())))
}

/// The header section for a change of the fields of that name.
fn editable_headers<'a>(
    cx: &'a mut Cx<'_>,
    what: &'static str,
    name: Option<&HeaderName>,
) -> Result<&'a mut HeaderMap, Misuse> {
    let exchange = cx.data_mut().exchange_mut(what, EDITING)?;
    if name.is_some_and(|name| Untold::may_be(name.as_str())) {
        exchange.tell();
    }
    Ok(&mut exchange.request.headers)
}

fn editable<'a>(cx: &'a mut Cx<'_>, what: &'static str) -> Result<&'a mut Parts, Misuse> {
    Ok(&mut cx.data_mut().exchange_mut(what, EDITING)?.request)
}

/// The hooks in which the request can be changed.
const EDITING: &[Hook] = &[Hook::OnRequest, Hook::OnRequestComplete];

fn host(request: &Parts) -> String {
    match request.uri.authority() {
        Some(authority) => authority.as_str().to_owned(),
        None => request.headers.get(HOST).map(|host| text(host.as_bytes())).unwrap_or_default(),
    }
}

/// A name and a value that have passed the gate.
pub(super) fn editable_field(name: &str, value: &str) -> Result<(http::HeaderName, http::HeaderValue), EditError> {
    Ok((editable_name(name)?, editable_value(value)?))
}

/// Makes an edit if the section stays within bounds.
pub(in super::super) fn edit_headers(headers: &mut HeaderMap, edit: HeaderEdit) -> Result<(), EditError> {
    if let HeaderEdit::Set(name, value) | HeaderEdit::Append(name, value) = &edit {
        let size: usize = headers.iter().map(|(name, value)| field_size(name.as_str(), value.as_bytes())).sum();
        if headers.len() >= MOST_FIELDS || size + field_size(name.as_str(), value.as_bytes()) > LARGEST_SECTION {
            return Err(EditError::TooLarge);
        }
    }
    edit.apply(headers);
    Ok(())
}

/// What a field takes up in its section.
pub(super) fn field_size(name: &str, value: &[u8]) -> usize {
    name.len() + value.len() + ": \r\n".len()
}

fn set_target(uri: &mut Uri, path: &str, query: Option<&str>) -> Result<(), EditError> {
    let visible =
        |text: &str, forbidden: &[u8]| text.bytes().all(|byte| byte.is_ascii_graphic() && !forbidden.contains(&byte));
    if !path.starts_with('/') || !visible(path, b"?#") || !query.is_none_or(|query| visible(query, b"#")) {
        return Err(EditError::InvalidValue);
    }
    let target = match query {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    if target.len() > LONGEST_TARGET {
        return Err(EditError::TooLarge);
    }
    let target = PathAndQuery::try_from(target).map_err(|_| EditError::InvalidValue)?;
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(target);
    *uri = Uri::from_parts(parts).map_err(|_| EditError::InvalidValue)?;
    Ok(())
}

/// Fields in a section that plugins have edited.
pub(super) const MOST_FIELDS: usize = 200;

/// Bytes of a section that plugins have edited.
pub(super) const LARGEST_SECTION: usize = 64 << 10;

/// Bytes of a target that a plugin has set.
const LONGEST_TARGET: usize = 8 << 10;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_target_is_replaced_and_the_rest_of_the_uri_kept() {
        let mut uri: Uri = "http://shop.example.com/a?b=c".parse().unwrap();
        set_target(&mut uri, "/x", Some("y=z")).unwrap();
        assert_eq!(uri, "http://shop.example.com/x?y=z");
        set_target(&mut uri, "/x", None).unwrap();
        assert_eq!(uri, "http://shop.example.com/x");
    }

    #[test]
    fn a_target_that_would_split_the_request_is_refused() {
        let mut uri: Uri = "/a".parse().unwrap();
        for path in ["", "a", "/a b", "/a\r\nx: y", "/a?b", "/a#b", "/\u{e4}"] {
            assert_eq!(set_target(&mut uri, path, None), Err(EditError::InvalidValue), "{path:?}");
        }
        assert_eq!(set_target(&mut uri, "/", Some("a b")), Err(EditError::InvalidValue));
        assert_eq!(set_target(&mut uri, &format!("/{}", "a".repeat(9000)), None), Err(EditError::TooLarge));
        assert_eq!(uri, "/a");
    }

    #[test]
    fn a_section_does_not_grow_for_ever() {
        let mut headers = HeaderMap::new();
        let mut append = || {
            let (name, value) = editable_field("x-flood", "x").unwrap();
            edit_headers(&mut headers, HeaderEdit::Append(name, value))
        };
        assert_eq!((0..300).filter(|_| append().is_ok()).count(), MOST_FIELDS);
    }
}
