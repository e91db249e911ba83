//! What plugins may import, one file for each interface. The functions are linked by hand rather than by generated traits:
//! a name or a message that a guest passes is then read where it lies in the guest's memory, without a copy.

pub(super) mod counters;
pub(super) mod metrics;
pub(super) mod random;
mod backends;
mod clock;
mod config;
mod exchange;
mod log;
pub(super) mod request;
mod response;

use wasmtime::component::{ComponentType, Linker, Lower};
use wasmtime::{Engine, StoreContextMut};

use super::host::Host;
use crate::message::EditError;

/// All that plugins may import.
pub(super) fn linker(engine: &Engine) -> wasmtime::Result<Linker<Host>> {
    let mut linker = Linker::new(engine);
    linker.instance("lockgate:plugin/types@0.1.0")?;
    request::link(&mut linker.instance("lockgate:plugin/request@0.1.0")?)?;
    response::link(&mut linker.instance("lockgate:plugin/response@0.1.0")?)?;
    exchange::link(&mut linker.instance("lockgate:plugin/exchange@0.1.0")?)?;
    backends::link(&mut linker.instance("lockgate:plugin/backends@0.1.0")?)?;
    log::link(&mut linker.instance("lockgate:plugin/log@0.1.0")?)?;
    config::link(&mut linker.instance("lockgate:plugin/config@0.1.0")?)?;
    clock::link(&mut linker.instance("lockgate:plugin/clock@0.1.0")?)?;
    random::link(&mut linker.instance("lockgate:plugin/random@0.1.0")?)?;
    counters::link(&mut linker.instance("lockgate:plugin/counters@0.1.0")?)?;
    metrics::link(&mut linker.instance("lockgate:plugin/metrics@0.1.0")?)?;
    Ok(linker)
}

/// The interfaces that plugins may import.
pub(super) const INTERFACES: [&str; 11] =
    ["types", "request", "response", "exchange", "backends", "log", "config", "clock", "random", "counters", "metrics"];

type Cx<'a> = StoreContextMut<'a, Host>;

/// `types.edit-error`
#[derive(Debug, Clone, Copy, ComponentType, Lower)]
#[component(variant)]
enum Refused {
    #[component(name = "invalid-name")]
    InvalidName,
    #[component(name = "invalid-value")]
    InvalidValue,
    #[component(name = "forbidden")]
    Forbidden,
    #[component(name = "too-large")]
    TooLarge,
}

impl From<EditError> for Refused {
    fn from(error: EditError) -> Self {
        match error {
            EditError::InvalidName => Self::InvalidName,
            EditError::InvalidValue => Self::InvalidValue,
            EditError::Forbidden => Self::Forbidden,
            EditError::TooLarge => Self::TooLarge,
        }
    }
}

/// The bytes of a field as text.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// All fields of a section, as WIT has them.
fn fields(headers: &http::HeaderMap) -> Vec<(String, Vec<u8>)> {
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect()
}
