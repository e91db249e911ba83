//! Responses of the host's own: errors, `respond` routes, and what plugins answer.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{StatusCode, response};

use super::body::Source;
use super::finish::Finish;
use super::{Failure, Outcome};
use crate::exchange::{End, Exchange, Origin};
use crate::message::host_of;
use crate::plugin::Answer;
use crate::reason::Reason;
use crate::snapshot::Respond;

/// What a client is told of a failure: the status, the reason code and the request id, and nothing of what is behind.
pub(super) fn failure(failure: &Failure, finish: &mut Finish) -> Outcome {
    let reason = failure.reason;
    finish.reason = Some(reason);
    finish.origin = Origin::Host;
    if reason == Reason::ClientGone {
        finish.end = Some(End::ClientGone);
    }
    let exchange = finish.exchange();
    let request_id = exchange.request_id.as_str();
    if let Some(cause) = &failure.cause {
        let backend = exchange.backend.as_ref().map_or("-", |backend| &*backend.address);
        tracing::warn!(request_id, backend, reason = reason.code(), cause = chain(&**cause), "exchange failed");
    }
    let json = wants_json(&exchange.request.headers);
    let body = page(reason, request_id, json);
    let mut head = head(reason_status(reason));
    let content_type = if json { "application/json" } else { "text/plain; charset=utf-8" };
    head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    head.headers.insert("x-request-id", exchange.request_id.value());
    match reason {
        Reason::NoBackend
        | Reason::Overloaded
        | Reason::SystemLimit
        | Reason::PluginCapacity
        | Reason::PluginQuarantined
        | Reason::TenantRate
        | Reason::TenantExchanges
        | Reason::TenantCpu
        | Reason::TenantMemory
        | Reason::TenantUnavailable => {
            head.headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        Reason::MethodNotServed => {
            let served = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE");
            head.headers.insert(header::ALLOW, served);
        }
        _ => {}
    }
    if matches!(
        reason,
        Reason::BadRequest
            | Reason::RequestTimeout
            | Reason::HeadersTooLarge
            | Reason::ExpectationFailed
            | Reason::MethodNotServed
    ) {
        // What follows on this connection may not be what it seems: behind CONNECT come bytes of another protocol.
        finish.unread = true;
    }
    (head, Source::Whole(body))
}

/// A whole HTTP/1.1 response for bytes that are no request.
#[must_use]
pub fn refusal(reason: Reason, request_id: &str) -> Vec<u8> {
    let body = page(reason, request_id, false);
    let status = reason_status(reason);
    let mut out = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\nx-request-id: {request_id}\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    )
    .into_bytes();
    out.extend_from_slice(&body);
    out
}

/// What a plugin answered.
pub(super) fn of_plugin(answer: Answer) -> Outcome {
    let mut head = head(answer.status);
    head.headers = answer.headers;
    (head, Source::Whole(answer.body))
}

/// What a route answers by itself.
pub(super) fn of_route(respond: &Respond, exchange: &Exchange) -> Outcome {
    let mut head = head(respond.status);
    if !respond.body.is_empty() {
        head.headers.insert(header::CONTENT_TYPE, respond.content_type.clone());
    }
    if let Some(template) = &respond.location {
        let uri = &exchange.request.uri;
        let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        let location = template
            .replace("{host}", crate::route::host_without_port(host_of(&exchange.request)).as_ref())
            .replace("{path}", uri.path())
            .replace("{query}", &query);
        if let Ok(location) = HeaderValue::try_from(location) {
            head.headers.insert(header::LOCATION, location);
        }
    }
    (head, Source::Whole(respond.body.clone()))
}

fn head(status: StatusCode) -> response::Parts {
    let mut head = http::Response::new(()).into_parts().0;
    head.status = status;
    head
}

fn reason_status(reason: Reason) -> StatusCode {
    // 499 stands in the log for a client that has left. Should it still listen, its request was cut short.
    let status = StatusCode::from_u16(reason.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if status.as_u16() == 499 { StatusCode::BAD_REQUEST } else { status }
}

fn page(reason: Reason, request_id: &str, json: bool) -> Bytes {
    let status = reason_status(reason);
    let phrase = status.canonical_reason().unwrap_or("Error");
    let code = reason.code();
    let text = if json {
        let page = serde_json::json!({ "status": status.as_u16(), "reason": code, "request_id": request_id });
        format!("{page}\n")
    } else {
        format!("{} {phrase}\nreason: {code}\nrequest id: {request_id}\n", status.as_u16())
    };
    Bytes::from(text)
}

fn wants_json(headers: &HeaderMap) -> bool {
    let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepts.flat_map(|value| value.split(',')).any(|kind| {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("application/json") || kind.ends_with("+json")
    })
}

/// An error with its causes, in one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
