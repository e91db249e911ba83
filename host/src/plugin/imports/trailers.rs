//! `lockgate:plugin/trailers`

use http::HeaderMap;

use super::super::direct::Text;
use super::super::host::{Host, Misuse};
use super::super::stats::Hook;
use super::request::edit_headers;
use super::{Cx, LinkerInstance, Refused, fields, text};
use crate::exchange::HeaderEdit;
use crate::message::{editable_trailer, editable_value};

pub(super) fn link(trailers: &mut LinkerInstance<'_, Host>) -> wasmtime::Result<()> {
    trailers.func_wrap("get", |mut cx: Cx<'_>, (name,): (Text,)| {
        let name = name.to_str(&cx)?.into_owned();
        let value = of(&mut cx, "trailers.get")?.get(&*name).map(|value| text(value.as_bytes()));
        Ok((value,))
    })?;
    trailers.func_wrap("all", |mut cx: Cx<'_>, (): ()| Ok((fields(of(&mut cx, "trailers.all")?),)))?;
    trailers.func_wrap("set", |mut cx: Cx<'_>, (name, value): (Text, Text)| {
        let (name, value) = (editable_trailer(&name.to_str(&cx)?), editable_value(&value.to_str(&cx)?));
        let trailers = of(&mut cx, "trailers.set")?;
        let edit = name.and_then(|name| Ok(HeaderEdit::Set(name, value?)));
        Ok((edit.and_then(|edit| edit_headers(trailers, edit)).map_err(Refused::from),))
    })?;
    trailers.func_wrap("remove", |mut cx: Cx<'_>, (name,): (Text,)| {
        let name = editable_trailer(&name.to_str(&cx)?);
        let trailers = of(&mut cx, "trailers.remove")?;
        Ok((name.map(|name| HeaderEdit::Remove(name).apply(trailers)).map_err(Refused::from),))
    })
}

/// The trailers of the body whose last chunk the plugin has.
fn of<'a>(cx: &'a mut Cx<'_>, what: &'static str) -> Result<&'a mut HeaderMap, Misuse> {
    let host = cx.data_mut();
    let hook = host.moment;
    let trailers = host.exchange.as_deref_mut().and_then(|exchange| exchange.trailers.as_deref_mut());
    trailers.ok_or_else(|| match hook {
        Hook::OnRequestBody | Hook::OnResponseBody => {
            Misuse::Bound(format!("{what} is not available in {} before the last chunk", hook.name()))
        }
        hook => Misuse::Moment { what, hook },
    })
}
