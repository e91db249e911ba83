//! `lockgate:plugin/response`

use wasmtime::component::{LinkerInstance, WasmStr};

use super::super::host::{Host, Misuse};
use super::super::stats::Hook;
use super::request::{LARGEST_SECTION, MOST_FIELDS, editable_field, field_size};
use super::{Cx, Refused, fields, text};
use crate::exchange::{Exchange, HeaderEdit};
use crate::message::{EditError, editable_name};

pub(super) fn link(response: &mut LinkerInstance<'_, Host>) -> wasmtime::Result<()> {
    response.func_wrap("status", |cx: Cx<'_>, (): ()| {
        let response = &finished(&cx, "response.status")?.response;
        Ok((response.as_ref().map_or(0, |response| response.status.as_u16()),))
    })?;
    response.func_wrap("header", |cx: Cx<'_>, (name,): (WasmStr,)| {
        let name = name.to_str(&cx)?;
        let response = &finished(&cx, "response.header")?.response;
        let value = response.as_ref().and_then(|response| response.headers.get(&*name));
        Ok((value.map(|value| text(value.as_bytes())),))
    })?;
    response.func_wrap("headers", |cx: Cx<'_>, (): ()| {
        let response = &finished(&cx, "response.headers")?.response;
        Ok((response.as_ref().map(|response| fields(&response.headers)).unwrap_or_default(),))
    })?;
    response.func_wrap("set-header", |mut cx: Cx<'_>, (name, value): (WasmStr, WasmStr)| {
        let field = editable_field(&name.to_str(&cx)?, &value.to_str(&cx)?);
        let edit = field.map(|(name, value)| HeaderEdit::Set(name, value));
        Ok((queue(&mut cx, "response.set-header", edit)?,))
    })?;
    response.func_wrap("append-header", |mut cx: Cx<'_>, (name, value): (WasmStr, WasmStr)| {
        let field = editable_field(&name.to_str(&cx)?, &value.to_str(&cx)?);
        let edit = field.map(|(name, value)| HeaderEdit::Append(name, value));
        Ok((queue(&mut cx, "response.append-header", edit)?,))
    })?;
    response.func_wrap("remove-header", |mut cx: Cx<'_>, (name,): (WasmStr,)| {
        let edit = editable_name(&name.to_str(&cx)?).map(HeaderEdit::Remove);
        Ok((queue(&mut cx, "response.remove-header", edit)?,))
    })
}

/// The exchange, if its response can be looked at.
fn finished<'a>(cx: &'a Cx<'_>, what: &'static str) -> Result<&'a Exchange, Misuse> {
    let host = cx.data();
    match host.moment {
        Hook::OnResponseFinish => host.exchange(what),
        hook => Err(Misuse::Moment { what, hook }),
    }
}

/// Keeps an edit until there is a response.
fn queue(
    cx: &mut Cx<'_>,
    what: &'static str,
    edit: Result<HeaderEdit, EditError>,
) -> Result<Result<(), Refused>, Misuse> {
    let exchange = cx.data_mut().exchange_mut(what, &[Hook::OnRequest, Hook::PickBackend])?;
    let edit = match edit {
        Ok(edit) => edit,
        Err(error) => return Ok(Err(error.into())),
    };
    let size: usize = exchange.response_edits.iter().map(edit_size).sum();
    if exchange.response_edits.len() >= MOST_FIELDS || size + edit_size(&edit) > LARGEST_SECTION {
        return Ok(Err(Refused::TooLarge));
    }
    exchange.response_edits.push(edit);
    Ok(Ok(()))
}

fn edit_size(edit: &HeaderEdit) -> usize {
    match edit {
        HeaderEdit::Set(name, value) | HeaderEdit::Append(name, value) => field_size(name.as_str(), value.as_bytes()),
        HeaderEdit::Remove(name) => field_size(name.as_str(), &[]),
    }
}
