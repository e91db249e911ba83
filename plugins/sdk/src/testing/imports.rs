//! The imports as the [`Host`](super::Host) of a test answers them, with the signatures of those that wit-bindgen makes.
#![expect(missing_docs, reason = "`wit/imports.wit` documents them")]
#![allow(
    unreachable_pub,
    clippy::missing_errors_doc,
    reason = "`wit/imports.wit` documents them, and `lib.rs` picks what is public"
)]

use super::host;
use crate::EditError;

type Fields = Vec<(String, String)>;

/// The first field of that name.
pub(crate) fn first<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    fields.iter().find(|field| field.0.eq_ignore_ascii_case(name)).map(|field| field.1.as_str())
}

fn append(fields: &mut Fields, name: &str, value: &str) -> Result<(), EditError> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) {
        return Err(EditError::InvalidName);
    }
    if value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
        return Err(EditError::InvalidValue);
    }
    fields.push((name.to_ascii_lowercase(), value.to_owned()));
    Ok(())
}

fn set(fields: &mut Fields, name: &str, value: &str) -> Result<(), EditError> {
    append(fields, name, value)?;
    let last = fields.len() - 1;
    let mut place = 0..;
    fields.retain(|field| place.next() == Some(last) || !field.0.eq_ignore_ascii_case(name));
    Ok(())
}

fn bytes(fields: &Fields) -> Vec<(String, Vec<u8>)> {
    fields.iter().map(|(name, value)| (name.clone(), value.clone().into_bytes())).collect()
}

pub mod request {
    use super::EditError;
    use super::host as with;

    pub fn method() -> String {
        with(|host| host.method.clone())
    }

    pub fn scheme() -> String {
        with(|host| host.scheme.clone())
    }

    pub fn host() -> String {
        with(|host| host.host.clone())
    }

    pub fn path() -> String {
        with(|host| host.path.clone())
    }

    pub fn query() -> Option<String> {
        with(|host| host.query.clone())
    }

    pub fn header(name: &str) -> Option<String> {
        with(|host| super::first(&host.request_headers, name).map(str::to_owned))
    }

    pub fn header_bytes(name: &str) -> Vec<Vec<u8>> {
        let mut fields = headers();
        fields.retain(|field| field.0.eq_ignore_ascii_case(name));
        fields.into_iter().map(|field| field.1).collect()
    }

    pub fn headers() -> Vec<(String, Vec<u8>)> {
        with(|host| super::bytes(&host.request_headers))
    }

    pub fn set_header(name: &str, value: &str) -> Result<(), EditError> {
        with(|host| super::set(&mut host.request_headers, name, value))
    }

    pub fn append_header(name: &str, value: &str) -> Result<(), EditError> {
        with(|host| super::append(&mut host.request_headers, name, value))
    }

    pub fn remove_header(name: &str) -> Result<(), EditError> {
        with(|host| host.request_headers.retain(|field| !field.0.eq_ignore_ascii_case(name)));
        Ok(())
    }

    pub fn set_path(path: &str) -> Result<(), EditError> {
        if !path.starts_with('/') {
            return Err(EditError::InvalidValue);
        }
        with(|host| path.clone_into(&mut host.path));
        Ok(())
    }

    pub fn set_body(body: &[u8]) -> Result<(), EditError> {
        with(|host| host.request_body = Some(body.to_owned()));
        Ok(())
    }

    pub fn set_query(query: Option<&str>) -> Result<(), EditError> {
        with(|host| host.query = query.map(str::to_owned));
        Ok(())
    }
}

pub mod response {
    use super::{EditError, host};
    use crate::Origin;

    pub fn status() -> u16 {
        host(|host| host.response_status)
    }

    pub fn made_by() -> Origin {
        host(|host| host.response_origin)
    }

    pub fn header_bytes(name: &str) -> Vec<Vec<u8>> {
        let mut fields = headers();
        fields.retain(|field| field.0.eq_ignore_ascii_case(name));
        fields.into_iter().map(|field| field.1).collect()
    }

    pub fn set_status(status: u16) -> Result<(), EditError> {
        if !(200..=599).contains(&status) {
            return Err(EditError::InvalidValue);
        }
        host(|host| host.response_status = status);
        Ok(())
    }

    pub fn header(name: &str) -> Option<String> {
        host(|host| host.response_header(name).map(str::to_owned))
    }

    pub fn headers() -> Vec<(String, Vec<u8>)> {
        host(|host| super::bytes(&host.response_headers))
    }

    pub fn set_header(name: &str, value: &str) -> Result<(), EditError> {
        host(|host| super::set(&mut host.response_headers, name, value))
    }

    pub fn append_header(name: &str, value: &str) -> Result<(), EditError> {
        host(|host| super::append(&mut host.response_headers, name, value))
    }

    pub fn remove_header(name: &str) -> Result<(), EditError> {
        host(|host| host.response_headers.retain(|field| !field.0.eq_ignore_ascii_case(name)));
        Ok(())
    }
}

pub mod trailers {
    use super::{EditError, host};

    pub fn get(name: &str) -> Option<String> {
        host(|host| super::first(&host.trailers, name).map(str::to_owned))
    }

    pub fn all() -> Vec<(String, Vec<u8>)> {
        host(|host| super::bytes(&host.trailers))
    }

    pub fn set(name: &str, value: &str) -> Result<(), EditError> {
        host(|host| super::set(&mut host.trailers, name, value))
    }

    pub fn remove(name: &str) -> Result<(), EditError> {
        host(|host| host.trailers.retain(|field| !field.0.eq_ignore_ascii_case(name)));
        Ok(())
    }
}

pub mod exchange {
    use super::host;
    use crate::Certificate;

    pub fn id() -> u64 {
        host(|host| host.exchange_id)
    }

    pub fn request_id() -> String {
        host(|host| host.request_id.clone())
    }

    pub fn route() -> String {
        host(|host| host.route.clone())
    }

    pub fn host_is_named() -> bool {
        host(|host| host.host_is_named)
    }

    pub fn tenant() -> Option<String> {
        host(|host| host.tenant.clone())
    }

    pub fn client_address() -> String {
        host(|host| host.client_address.clone())
    }

    pub fn peer_address() -> String {
        host(|host| host.peer_address.clone())
    }

    pub fn peer_port() -> u16 {
        host(|host| host.peer_port)
    }

    pub fn from_trusted_proxy() -> bool {
        host(|host| host.from_trusted_proxy)
    }

    pub fn client_certificate() -> Option<Certificate> {
        host(|host| host.client_certificate.clone())
    }

    pub fn server_name() -> Option<String> {
        host(|host| host.server_name.clone())
    }

    pub fn backend() -> Option<String> {
        host(|host| host.backend.clone())
    }

    pub fn note(key: &str) -> Option<String> {
        host(|host| host.notes.get(key).cloned())
    }

    pub fn set_note(key: &str, value: &str) {
        host(|host| host.notes.insert(key.to_owned(), value.to_owned()));
    }
}

pub mod backends {
    use super::host;
    pub use crate::bindings::lockgate::plugin::backends::Backend;

    pub fn count() -> u32 {
        host(|host| u32::try_from(host.backends.len()).expect("a test has few backends"))
    }

    pub fn get(index: u32) -> Backend {
        host(|host| host.backends[index as usize].clone())
    }
}

pub mod log {
    use super::host;
    pub use crate::bindings::lockgate::plugin::log::Level;

    pub fn log(level: Level, message: &str) {
        host(|host| host.log.push((level, message.to_owned())));
    }

    pub fn enabled(_: Level) -> bool {
        host(|host| host.log_enabled)
    }
}

pub mod config {
    use super::host;

    pub fn get() -> String {
        host(|host| host.config.clone())
    }
}

pub mod clock {
    use super::host;

    pub fn now() -> u64 {
        host(|host| host.now)
    }

    pub fn monotonic() -> u64 {
        host(|host| host.monotonic)
    }
}

pub mod random {
    use super::host;

    pub fn bytes(len: u32) -> Vec<u8> {
        (0..len).map(|_| number().to_le_bytes()[0]).collect()
    }

    pub fn number() -> u64 {
        host(|host| {
            host.random = host.random.wrapping_add(1);
            host.random.wrapping_sub(1)
        })
    }
}

pub mod counters {
    use super::host;

    pub fn add(name: &str, delta: u64) -> u64 {
        let before = get(name);
        set(name, before.wrapping_add(delta))
    }

    pub fn get(name: &str) -> u64 {
        host(|host| host.counters.get(name).copied().unwrap_or(0))
    }

    pub fn set(name: &str, value: u64) -> u64 {
        host(|host| host.counters.insert(name.to_owned(), value).unwrap_or(0))
    }
}

pub mod metrics {
    use super::super::Series as Kept;
    use super::host;
    pub use crate::bindings::lockgate::plugin::metrics::{Label, Series};

    pub fn counter(name: &str, labels: &[Label<'_>]) -> Series {
        open(name, labels)
    }

    pub fn gauge(name: &str, labels: &[Label<'_>]) -> Series {
        open(name, labels)
    }

    pub fn histogram(name: &str, labels: &[Label<'_>], _: &[f64]) -> Series {
        open(name, labels)
    }

    #[expect(clippy::cast_precision_loss, reason = "good enough for a test")]
    pub fn add(series: Series, by: u64) {
        record(series, by as f64);
    }

    pub fn set(series: Series, value: f64) {
        record(series, value);
    }

    pub fn observe(series: Series, value: f64) {
        record(series, value);
    }

    fn open(name: &str, labels: &[Label<'_>]) -> Series {
        let labels: Vec<_> = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        host(|host| {
            let known = host.series.iter().position(|series| series.name == name && series.labels == labels);
            let place = known.unwrap_or_else(|| {
                host.series.push(Kept { name: name.to_owned(), labels, values: Vec::new() });
                host.series.len() - 1
            });
            Series::try_from(place).expect("a test has few series")
        })
    }

    fn record(series: Series, value: f64) {
        host(|host| host.series[series as usize].values.push(value));
    }
}
