//! `lockgate:plugin/response`

use http::StatusCode;
use wasmtime::component::{ComponentType, Lower};

use super::super::direct::{Answer, Text};
use super::super::host::{Host, Misuse};
use super::super::stats::Hook;
use super::request::{LARGEST_SECTION, MOST_FIELDS, edit_headers, editable_field, field_size};
use super::{Cx, LinkerInstance, Refused, fields, text};
use crate::exchange::{Exchange, HeaderEdit, Origin, ResponseHead};
use crate::message::{EditError, editable_name};

pub(super) fn link(response: &mut LinkerInstance<'_, Host>) -> wasmtime::Result<()> {
    link_reading(response)?;
    link_editing(response)
}

fn link_reading(response: &mut LinkerInstance<'_, Host>) -> wasmtime::Result<()> {
    response.func_wrap("status", |cx: Cx<'_>, (): ()| {
        let response = readable(&cx, "response.status")?;
        Ok((response.map_or(0, |response| response.status.as_u16()),))
    })?;
    response.func_wrap("made-by", |cx: Cx<'_>, (): ()| {
        let response = readable(&cx, "response.made-by")?;
        Ok((response.map_or(WitOrigin::Host, |response| response.origin.into()),))
    })?;
    response.func_wrap("header", |cx: Cx<'_>, (name,): (Text,)| {
        let name = name.to_str(&cx)?;
        let response = readable(&cx, "response.header")?;
        let value = response.and_then(|response| response.headers.get(&*name));
        Ok((value.map(|value| text(value.as_bytes())),))
    })?;
    response.func_wrap("header-bytes", |cx: Cx<'_>, (name,): (Text,)| {
        let name = name.to_str(&cx)?;
        let response = readable(&cx, "response.header-bytes")?;
        let values = response.into_iter().flat_map(|response| response.headers.get_all(&*name));
        Ok((values.map(|value| value.as_bytes().to_vec()).collect::<Vec<_>>(),))
    })?;
    response.func_wrap("headers", |cx: Cx<'_>, (): ()| {
        let response = readable(&cx, "response.headers")?;
        Ok((response.map(|response| fields(&response.headers)).unwrap_or_default(),))
    })
}

fn link_editing(response: &mut LinkerInstance<'_, Host>) -> wasmtime::Result<()> {
    response.func_wrap("set-status", |mut cx: Cx<'_>, (status,): (u16,)| {
        let exchange = cx.data_mut().exchange_mut("response.set-status", &[Hook::OnResponse])?;
        let status = StatusCode::from_u16(status).ok().filter(|status| (200..=599).contains(&status.as_u16()));
        Ok((match (status, &mut exchange.response) {
            (Some(status), Some(response)) => {
                response.status = status;
                Ok(())
            }
            (Some(_), None) => Err(Refused::Forbidden),
            (None, _) => Err(Refused::InvalidValue),
        },))
    })?;
    response.func_wrap("set-header", |mut cx: Cx<'_>, (name, value): (Text, Text)| {
        let field = editable_field(&name.to_str(&cx)?, &value.to_str(&cx)?);
        let edit = field.map(|(name, value)| HeaderEdit::Set(name, value));
        Ok((change(&mut cx, "response.set-header", edit)?,))
    })?;
    response.func_wrap("append-header", |mut cx: Cx<'_>, (name, value): (Text, Text)| {
        let field = editable_field(&name.to_str(&cx)?, &value.to_str(&cx)?);
        let edit = field.map(|(name, value)| HeaderEdit::Append(name, value));
        Ok((change(&mut cx, "response.append-header", edit)?,))
    })?;
    response.func_wrap("remove-header", |mut cx: Cx<'_>, (name,): (Text,)| {
        let edit = editable_name(&name.to_str(&cx)?).map(HeaderEdit::Remove);
        Ok((change(&mut cx, "response.remove-header", edit)?,))
    })
}

/// `types.origin`
#[derive(Debug, Clone, Copy, ComponentType, Lower)]
#[component(enum)]
#[repr(u8)]
enum WitOrigin {
    #[component(name = "backend")]
    Backend,
    #[component(name = "plugin")]
    Plugin,
    #[component(name = "route")]
    Route,
    #[component(name = "host")]
    Host,
}

impl Answer for (WitOrigin,) {
    const IN_MEMORY: bool = false;
    type Flat = u32;

    fn flat(self) -> u32 {
        self.0 as u32
    }

    fn put(self, _: &mut Cx<'_>, _: u32) -> wasmtime::Result<u64> {
        Ok(0)
    }
}

impl From<Origin> for WitOrigin {
    fn from(origin: Origin) -> Self {
        match origin {
            Origin::Backend => Self::Backend,
            Origin::Plugin => Self::Plugin,
            Origin::Route => Self::Route,
            Origin::Host => Self::Host,
        }
    }
}

/// The response, if it can be looked at now; none if there was none.
fn readable<'a>(cx: &'a Cx<'_>, what: &'static str) -> Result<Option<&'a ResponseHead>, Misuse> {
    let host = cx.data();
    match host.moment {
        Hook::OnResponse | Hook::OnResponseBody | Hook::OnResponseFinish => Ok(host.exchange(what)?.response.as_ref()),
        hook => Err(Misuse::Moment { what, hook }),
    }
}

/// Makes an edit, or keeps it until there is a response.
fn change(
    cx: &mut Cx<'_>,
    what: &'static str,
    edit: Result<HeaderEdit, EditError>,
) -> Result<Result<(), Refused>, Misuse> {
    const HOOKS: [Hook; 5] =
        [Hook::OnRequest, Hook::OnRequestComplete, Hook::PickBackend, Hook::OnAttemptFailed, Hook::OnResponse];
    let exchange = cx.data_mut().exchange_mut(what, &HOOKS)?;
    let made = edit.and_then(|edit| match &mut exchange.response {
        Some(response) => edit_headers(&mut response.headers, edit),
        None => queue(exchange, edit),
    });
    Ok(made.map_err(Refused::from))
}

fn queue(exchange: &mut Exchange, edit: HeaderEdit) -> Result<(), EditError> {
    let size: usize = exchange.response_edits.iter().map(edit_size).sum();
    if exchange.response_edits.len() >= MOST_FIELDS || size + edit_size(&edit) > LARGEST_SECTION {
        return Err(EditError::TooLarge);
    }
    exchange.response_edits.push(edit);
    Ok(())
}

fn edit_size(edit: &HeaderEdit) -> usize {
    match edit {
        HeaderEdit::Set(name, value) | HeaderEdit::Append(name, value) => field_size(name.as_str(), value.as_bytes()),
        HeaderEdit::Remove(name) => field_size(name.as_str(), &[]),
    }
}
