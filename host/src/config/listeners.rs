//! `[[listener]]` and its certificates.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;

use super::plugins::read_plugin_use;
use super::reader::{Mistake, Value};
use super::server::network;
use super::{Certificate, ClientAuth, ClientAuthMode, Listener, Located, Plugin};

/// `trusted` are the proxies that the server trusts.
pub(super) fn read_listener(
    value: Value<'_, '_>,
    trusted: &[IpNet],
    plugins: &BTreeMap<String, Box<Plugin>>,
) -> Option<Listener> {
    let mut table = value.table()?;
    let at = table.at.clone();
    let address = table.required("address", |value| value.parsed(address));
    let certificates = table.list("certificate", read_certificate);
    let http2 = table.optional("http2", Value::boolean).unwrap_or(true);
    let client_auth = table.optional("client_auth", read_client_auth);
    if certificates.is_empty()
        && let Some(auth) = &client_auth
    {
        let mut problems = table.problems().borrow_mut();
        problems.push(&auth.at, "this listener has no certificate of its own, so it can ask clients for none");
        problems.hint("give it a [[listener.certificate]]");
    }
    let proxy_protocol = table.optional("proxy_protocol", |value| read_proxy_protocol(value, trusted));
    let plugins = table.list("plugins", |value| read_plugin_use(value, plugins));
    table.finish();
    let (address, proxy_protocol) = (address?, proxy_protocol.flatten());
    Some(Listener { at, address, certificates, http2, client_auth, proxy_protocol, plugins })
}

pub(super) fn read_certificate(value: Value<'_, '_>) -> Option<Certificate> {
    let mut table = value.table()?;
    let certificate = table.required("certificate", file);
    let key = table.required("key", file);
    let client_auth = table.optional("client_auth", read_client_auth);
    table.finish();
    Some(Certificate { certificate: certificate?, key: key?, client_auth })
}

/// `true`, for the proxies that the server trusts, or `{ from = [..] }`.
fn read_proxy_protocol(value: Value<'_, '_>, trusted: &[IpNet]) -> Option<Option<Vec<IpNet>>> {
    if !value.is_boolean() {
        let mut table = value.table_or("`true`, `false`, or a table such as { from = [\"10.0.0.0/8\"] }")?;
        let from = table.required("from", |value| value.filled_array("nobody could connect: name those who may"));
        table.finish();
        return Some(Some(from?.into_iter().filter_map(|value| value.parsed(network)).collect()));
    }
    let (at, problems) = (value.at.clone(), value.problems());
    let on = value.boolean()?;
    if on && trusted.is_empty() {
        let mut problems = problems.borrow_mut();
        problems.push(&at, "nobody could connect: there are no `server.trusted_proxies`");
        problems.hint("name those who may, as in proxy_protocol = { from = [\"10.0.0.0/8\"] }");
        return None;
    }
    Some(on.then(|| trusted.to_vec()))
}

fn read_client_auth(value: Value<'_, '_>) -> Option<ClientAuth> {
    let mut table = value.table_or("a table such as { ca = \"clients.pem\", mode = \"required\" }")?;
    let at = table.at.clone();
    let words = [
        ("required", ClientAuthMode::Required),
        ("optional", ClientAuthMode::Optional),
        ("none", ClientAuthMode::None),
    ];
    let mode = table.optional("mode", |value| value.word(&words)).unwrap_or(ClientAuthMode::Required);
    let ca = match mode {
        ClientAuthMode::None => Some(table.optional("ca", file)),
        ClientAuthMode::Required | ClientAuthMode::Optional => table.required("ca", file).map(Some),
    };
    let crl = table.optional("crl", file);
    let forward = table.optional("forward", Value::boolean).unwrap_or(false);
    table.finish();
    Some(ClientAuth { at, mode, ca: ca?, crl, forward })
}

/// The path of a file, as written.
pub(super) fn file(value: Value<'_, '_>) -> Option<Located<PathBuf>> {
    value.located(|text| match text {
        "" => Err(Mistake::new("a file's path cannot be empty")),
        path => Ok(PathBuf::from(path)),
    })
}

/// An address and port to listen on.
pub(super) fn address(text: &str) -> Result<SocketAddr, Mistake> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let mistake = Mistake::new(format!("{text:?} is not an address and port"));
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    Err(match (host, port.parse::<u16>()) {
        ("" | "*", Ok(port)) => mistake.hint(format!("write \"0.0.0.0:{port}\" for every address of this machine")),
        ("localhost", Ok(port)) => mistake.hint(format!("write \"127.0.0.1:{port}\"")),
        _ => mistake.hint("write it as in \"0.0.0.0:8080\" or \"[::]:8080\""),
    })
}
