//! `lockgate:plugin/exchange`

use super::super::direct::Text;
use super::super::host::{Host, Misuse};
use super::super::stats::Hook;
use super::super::wit::WitCertificate;
use super::{Cx, LinkerInstance};

pub(super) fn link(exchange: &mut LinkerInstance<'_, Host>) -> wasmtime::Result<()> {
    exchange.func_wrap("id", |cx: Cx<'_>, (): ()| Ok((cx.data().exchange("exchange.id")?.id,)))?;
    exchange.func_wrap("request-id", |cx: Cx<'_>, (): ()| {
        Ok((cx.data().exchange("exchange.request-id")?.request_id.as_str().to_owned(),))
    })?;
    exchange.func_wrap("route", |cx: Cx<'_>, (): ()| {
        // A copy, not a counted reference: all workers would count in the same place.
        Ok((String::from(&*cx.data().exchange("exchange.route")?.route),))
    })?;
    exchange.func_wrap("host-is-named", |cx: Cx<'_>, (): ()| {
        Ok((cx.data().exchange("exchange.host-is-named")?.host_is_named,))
    })?;
    exchange.func_wrap("tenant", |cx: Cx<'_>, (): ()| {
        let tenant = &cx.data().exchange("exchange.tenant")?.tenant;
        Ok((tenant.as_ref().map(|tenant| String::from(&*tenant.name)),))
    })?;
    exchange.func_wrap("client-address", |cx: Cx<'_>, (): ()| {
        Ok((cx.data().exchange("exchange.client-address")?.client.to_string(),))
    })?;
    exchange.func_wrap("peer-address", |cx: Cx<'_>, (): ()| {
        Ok((cx.data().exchange("exchange.peer-address")?.peer.address.ip().to_string(),))
    })?;
    exchange.func_wrap("peer-port", |cx: Cx<'_>, (): ()| {
        Ok((cx.data().exchange("exchange.peer-port")?.peer.address.port(),))
    })?;
    exchange.func_wrap("from-trusted-proxy", |cx: Cx<'_>, (): ()| {
        Ok((cx.data().exchange("exchange.from-trusted-proxy")?.peer.trusted,))
    })?;
    exchange.func_wrap("server-name", |cx: Cx<'_>, (): ()| {
        let tls = &cx.data().exchange("exchange.server-name")?.peer.tls;
        Ok((tls.as_ref().and_then(|tls| tls.server_name.clone()),))
    })?;
    exchange.func_wrap("client-certificate", |cx: Cx<'_>, (): ()| {
        let tls = &cx.data().exchange("exchange.client-certificate")?.peer.tls;
        Ok((tls.as_ref().and_then(|tls| tls.client.as_deref().map(WitCertificate::from)),))
    })?;
    exchange.func_wrap("backend", |cx: Cx<'_>, (): ()| {
        let backend = &cx.data().exchange("exchange.backend")?.backend;
        Ok((backend.as_ref().map(|backend| backend.address.to_string()),))
    })?;
    exchange.func_wrap("note", |cx: Cx<'_>, (key,): (Text,)| {
        let key = key.to_str(&cx)?;
        let notes = &cx.data().exchange("exchange.note")?.notes;
        Ok((notes.iter().find(|(known, _)| *known == *key).map(|(_, value)| value.clone()),))
    })?;
    exchange.func_wrap("set-note", |mut cx: Cx<'_>, (key, value): (Text, Text)| {
        let key = key.to_str(&cx)?.into_owned();
        let value = value.to_str(&cx)?.into_owned();
        Ok(set_note(&mut cx, key, value)?)
    })
}

fn set_note(cx: &mut Cx<'_>, key: String, value: String) -> Result<(), Misuse> {
    let hooks = [Hook::OnRequest, Hook::PickBackend, Hook::OnAttemptFailed, Hook::OnResponseFinish];
    let notes = &mut cx.data_mut().exchange_mut("exchange.set-note", &hooks)?.notes;
    if key.len() + value.len() > LARGEST_NOTE {
        return Err(Misuse::Bound(format!("a note is longer than {LARGEST_NOTE} bytes")));
    }
    if let Some((_, old)) = notes.iter_mut().find(|(known, _)| *known == key) {
        *old = value;
        return Ok(());
    }
    if notes.len() >= MOST_NOTES {
        return Err(Misuse::Bound(format!("more than {MOST_NOTES} notes for one exchange")));
    }
    notes.push((key, value));
    Ok(())
}

/// Notes of one exchange.
const MOST_NOTES: usize = 32;

/// Bytes of a note, key and value together.
const LARGEST_NOTE: usize = 1 << 10;
