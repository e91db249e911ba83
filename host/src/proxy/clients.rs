//! Clients that have shown a certificate: for which hosts it counts, and what backends are told of it.

use http::{HeaderMap, HeaderName};

use super::Connection;
use crate::snapshot::Snapshot;

/// Whether the connection is for requests to that host: what was asked of the client is what is asked there now. A name in the
/// handshake and another one in the request are no way around what is asked for the latter, nor is a connection from before
/// the rules changed.
pub(super) fn admitted(connection: &Connection, host: &str, snapshot: &Snapshot) -> bool {
    let Some(info) = &connection.peer.tls else { return true };
    let listener = snapshot.listeners.iter().find(|listener| listener.address == connection.listener);
    listener.and_then(|listener| listener.tls.as_ref()).is_some_and(|tls| tls.admits(info, host))
}

/// Tells backends of the client's certificate, where they are to hear of it. What a client claims about that itself has gone
/// with all that it claims, unless it is a proxy that is trusted.
pub(super) fn tell_backends(connection: &Connection, headers: &mut HeaderMap) {
    let info = connection.peer.tls.as_ref().filter(|info| info.forwards);
    if let Some(told) = info.and_then(|info| info.client.as_ref()?.forwarded()) {
        headers.insert(FORWARDED, told);
    }
}

const FORWARDED: HeaderName = HeaderName::from_static("x-forwarded-client-cert");
