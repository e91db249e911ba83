//! A recorded exchange, as the scenario that it becomes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use toml::{Table, Value};

use super::redact::Redactor;
use super::{Arrived, Asked, Attempt, Part, What};
use crate::tls::ClientCertificate;

/// The text of the scenario file.
pub(super) fn script(part: &Part) -> String {
    let recorder = &part.recorder;
    let mut redactor = Redactor::new(&recorder.settings.redact);
    learn(&mut redactor, part);
    let redactor = &redactor;
    let mut root = Table::new();
    let (key, component) = &recorder.component;
    root.insert((*key).to_owned(), component.clone().into());
    if let Ok(Value::Table(config)) = Value::try_from(&recorder.config)
        && !config.is_empty()
    {
        match recorder.settings.redact.iter().any(|hidden| hidden == "config") {
            true => root.insert("config_left_out".to_owned(), true.into()),
            false => root.insert("config".to_owned(), config.into()),
        };
    }
    root.extend(recorder.rest.clone());
    root.insert("scenario".to_owned(), Value::Array(vec![scenario(part, redactor).into()]));
    let text = toml::to_string(&root).unwrap_or_default();
    format!("# Recorded. Secrets were replaced by words such as redacted-1.\n{text}")
}

fn learn(redactor: &mut Redactor<'_>, part: &Part) {
    if let What::Exchange(asked) = &part.shown.what {
        redactor.learn(&asked.request.headers);
        redactor.learn_query(&asked.request.uri.to_string());
    }
    let changed = part.request.iter().map(|request| &request.headers);
    let answered = part.answer.iter().map(|(_, headers, _)| headers);
    let responses = part.response.iter().flatten().map(|(_, headers)| headers);
    let calls = part.http.iter().filter_map(|call| call.answer.as_ref().ok()).map(|(_, headers)| headers);
    changed.chain(answered).chain(responses).chain(calls).for_each(|headers| redactor.learn(headers));
    part.http.iter().for_each(|call| redactor.learn_query(&call.request));
}

fn scenario(part: &Part, redactor: &Redactor<'_>) -> Table {
    let shown = &part.shown;
    let mut table = Table::new();
    let name = match &shown.what {
        What::Exchange(asked) => {
            let what = redactor.target(&asked.request.uri.to_string());
            format!("{} {what} ({})", asked.request.method, shown.id)
        }
        What::Connection(arrived) => format!("a connection at {} ({})", arrived.listener, shown.id),
    };
    table.insert("name".to_owned(), name.into());
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_nanos(shown.time);
    table.insert("time".to_owned(), humantime::format_rfc3339_nanos(time).to_string().into());
    table.insert("request".to_owned(), request(part, redactor).into());
    if let What::Connection(arrived) = &shown.what {
        table.insert("connection".to_owned(), connection(arrived).into());
    }
    if let Some([(status, headers), _]) = &part.response {
        let mut response = Table::new();
        response.insert("status".to_owned(), i64::from(status.as_u16()).into());
        response.insert("headers".to_owned(), fields(headers, redactor).into());
        table.insert("response".to_owned(), response.into());
    }
    attempts(&mut table, part);
    let texts = |pairs: &[(String, String)]| -> Table {
        pairs.iter().map(|(key, value)| (redactor.text(key), redactor.text(value).into())).collect()
    };
    if let What::Exchange(asked) = &shown.what {
        insert_some(&mut table, "notes", texts(&asked.notes));
    }
    let counters = shown.counters.iter().map(|(name, count)| (name.clone(), clamped(*count)));
    insert_some(&mut table, "counters", counters.collect());
    let kv = part.kv.iter().filter_map(|(key, value)| Some((redactor.text(key), bytes(value.as_ref()?, redactor))));
    insert_some(&mut table, "kv", kv.collect());
    if !part.http.is_empty() {
        let calls = part.http.iter().map(|call| {
            let mut table = Table::new();
            table.insert("request".to_owned(), redactor.target(&call.request).into());
            match &call.answer {
                Ok((status, headers)) => {
                    table.insert("status".to_owned(), i64::from(status.as_u16()).into());
                    table.insert("headers".to_owned(), fields(headers, redactor).into());
                    table.insert("body".to_owned(), bytes(&call.body, redactor));
                }
                Err(error) => _ = table.insert("error".to_owned(), (*error).into()),
            }
            Value::Table(table)
        });
        table.insert("http".to_owned(), calls.collect::<Vec<_>>().into());
    }
    table.insert("expect".to_owned(), expect(part, redactor).into());
    table
}

/// The backends that there were, and how attempts at them failed.
fn attempts(table: &mut Table, part: &Part) {
    let texts = |texts: &[String]| Value::Array(texts.iter().cloned().map(Value::from).collect());
    let first = part.attempts.first();
    let backends = match part.picks.first() {
        Some((shown, _)) => Some(shown.clone()),
        None => first.map(|first| [std::slice::from_ref(&first.backend), &first.others].concat()),
    };
    if let Some(backends) = backends {
        table.insert("backends".to_owned(), texts(&backends));
    }
    let told = part.attempts.iter().map(|attempt| {
        let Attempt { backend, reason, status, may_retry, .. } = attempt;
        let mut table = Table::new();
        table.insert("backend".to_owned(), backend.clone().into());
        match status {
            Some(status) => table.insert("status".to_owned(), i64::from(status.as_u16()).into()),
            None => table.insert("reason".to_owned(), reason.code().into()),
        };
        if !may_retry {
            table.insert("may_retry".to_owned(), false.into());
        }
        Value::Table(table)
    });
    // Who does not hear of them is asked again and shown one backend less.
    let seen = part.picks.windows(2).map(|picks| {
        let gone = picks[0].0.iter().find(|backend| !picks[1].0.contains(backend));
        Value::Table(gone.map(|gone| ("backend".to_owned(), gone.clone().into())).into_iter().collect())
    });
    let failed: Vec<_> = if part.attempts.is_empty() { seen.collect() } else { told.collect() };
    if !part.attempts.is_empty() && part.picks.is_empty() {
        // It may have the hook, but the upstream does not ask it.
        table.insert("picker".to_owned(), false.into());
    }
    if !failed.is_empty() {
        table.insert("failed".to_owned(), failed.into());
    }
}

fn connection(arrived: &Arrived) -> Table {
    let Arrived { port, listener, alpn, http2 } = arrived;
    let mut table = Table::new();
    table.insert("only".to_owned(), true.into());
    table.insert("port".to_owned(), i64::from(*port).into());
    table.insert("listener".to_owned(), listener.to_string().into());
    if let Some(alpn) = alpn {
        table.insert("alpn".to_owned(), (*alpn).into());
    }
    if *http2 {
        table.insert("http2".to_owned(), true.into());
    }
    table
}

fn certificate(certificate: &ClientCertificate) -> Table {
    let ClientCertificate { subject, names, fingerprint, serial, not_after } = certificate;
    let mut table = Table::new();
    table.insert("subject".to_owned(), subject.clone().into());
    table.insert("names".to_owned(), names.iter().cloned().map(Value::from).collect::<Vec<_>>().into());
    table.insert("fingerprint".to_owned(), fingerprint.clone().into());
    table.insert("serial".to_owned(), serial.clone().into());
    table.insert("not_after".to_owned(), clamped(*not_after));
    table
}

fn request(part: &Part, redactor: &Redactor<'_>) -> Table {
    let mut table = Table::new();
    table.insert("client".to_owned(), part.shown.client.to_string().into());
    if let Some(tls) = &part.shown.tls {
        table.insert("tls".to_owned(), true.into());
        if let Some(name) = &tls.server_name {
            table.insert("server_name".to_owned(), name.clone().into());
        }
        if let Some(shown) = &tls.client {
            table.insert("certificate".to_owned(), certificate(shown).into());
        }
    }
    let What::Exchange(asked) = &part.shown.what else { return table };
    let Asked { request, trusted, route, host_is_named, .. } = &**asked;
    table.insert("method".to_owned(), request.method.as_str().into());
    let target = request.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    table.insert("target".to_owned(), redactor.target(target).into());
    table.insert("as_seen".to_owned(), true.into());
    if *trusted {
        table.insert("from_trusted_proxy".to_owned(), true.into());
    }
    table.insert("route".to_owned(), (&**route).into());
    if *host_is_named {
        table.insert("host_is_named".to_owned(), true.into());
    }
    if let Some(body) = &part.body {
        table.insert("body".to_owned(), bytes(body, redactor));
    }
    let mut headers = fields(&request.headers, redactor);
    // HTTP/2 has it in the target.
    if let (false, Some(authority)) = (headers.contains_key("host"), request.uri.authority()) {
        headers.insert("host".to_owned(), authority.as_str().into());
    }
    table.insert("headers".to_owned(), headers.into());
    table
}

fn expect(part: &Part, redactor: &Redactor<'_>) -> Table {
    let mut table = Table::new();
    if let Some(verdict) = part.verdict {
        table.insert("verdict".to_owned(), verdict.into());
    }
    if let What::Exchange(asked) = &part.shown.what
        && let Some(after) = part.request.as_ref().filter(|_| part.verdict == Some("proceed"))
    {
        let before = &asked.request;
        let mut request = Table::new();
        if before.uri != after.uri {
            let target = after.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
            request.insert("target".to_owned(), redactor.target(target).into());
        }
        insert_some(&mut request, "headers", changed(&before.headers, &after.headers, redactor));
        insert_some(&mut table, "request", request);
    }
    let picks = part.picks.iter().map(|(_, picked)| picked.clone().map_or(Value::Boolean(false), Value::from));
    let mut picks: Vec<_> = picks.collect();
    match picks.len() {
        0 => {}
        1 => _ = table.insert("backend".to_owned(), picks.remove(0)),
        _ => _ = table.insert("picks".to_owned(), picks.into()),
    }
    if !part.attempts.is_empty() {
        let next = part.attempts.iter().filter_map(|attempt| attempt.next.clone()).map(Value::from);
        table.insert("next".to_owned(), next.collect::<Vec<_>>().into());
    }
    let mut response = Table::new();
    if let Some((status, headers, body)) = &part.answer {
        response.insert("status".to_owned(), i64::from(status.as_u16()).into());
        insert_some(&mut response, "headers", fields(headers, redactor));
        response.insert("body".to_owned(), bytes(body, redactor));
    } else if let Some([before, after]) = &part.response {
        response.insert("status".to_owned(), i64::from(after.0.as_u16()).into());
        insert_some(&mut response, "headers", changed(&before.1, &after.1, redactor));
    } else if part.verdict == Some("proceed") {
        insert_some(&mut response, "headers", fields(&part.edits, redactor));
    }
    insert_some(&mut table, "response", response);
    if part.failed {
        table.insert("failures".to_owned(), vec![Value::from("any")].into());
    }
    table
}

/// The fields that are other than before: those that are gone are `false`.
fn changed(before: &HeaderMap, after: &HeaderMap, redactor: &Redactor<'_>) -> Table {
    let mut table = Table::new();
    for name in before.keys().chain(after.keys()) {
        let [old, new] = [before, after].map(|headers| headers.get_all(name).iter().collect::<Vec<_>>());
        if old != new {
            let values = new.iter().map(|value| Value::from(redactor.field(name.as_str(), value))).collect::<Vec<_>>();
            let value = if values.is_empty() { Value::Boolean(false) } else { Value::Array(values) };
            table.insert(name.as_str().to_owned(), value);
        }
    }
    table
}

fn fields(headers: &HeaderMap, redactor: &Redactor<'_>) -> Table {
    let mut table = Table::new();
    for name in headers.keys() {
        let values = headers.get_all(name).iter().map(|value| Value::from(redactor.field(name.as_str(), value)));
        let mut values: Vec<_> = values.collect();
        let value = if values.len() == 1 { values.remove(0) } else { Value::Array(values) };
        table.insert(name.as_str().to_owned(), value);
    }
    table
}

/// Text, or what is none in Base64.
fn bytes(bytes: &[u8], redactor: &Redactor<'_>) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => redactor.text(text).into(),
        Err(_) => Value::Table([("base64".to_owned(), STANDARD.encode(bytes).into())].into_iter().collect()),
    }
}

fn clamped(count: u64) -> Value {
    i64::try_from(count).unwrap_or(i64::MAX).into()
}

fn insert_some(table: &mut Table, key: &str, value: Table) {
    if !value.is_empty() {
        table.insert(key.to_owned(), value.into());
    }
}
