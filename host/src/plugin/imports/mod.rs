//! What plugins may import, one file for each interface. The functions are linked by hand rather than by generated traits:
//! a name or a message that a guest passes is then read where it lies in the guest's memory, without a copy.

pub(super) mod counters;
pub(super) mod metrics;
pub(super) mod random;
mod backends;
mod clock;
mod config;
mod exchange;
pub(super) mod http_client;
mod interface;
pub(super) mod kv;
pub(super) mod log;
pub(super) mod request;
mod response;
mod trailers;

use std::sync::Arc;

use wasmtime::component::{ComponentType, Linker, Lower};
use wasmtime::{Engine, StoreContextMut};

use self::interface::LinkerInstance;
use super::component::interface;
use super::direct::{GuestMemory, Imports, Put, in_memory};
use super::host::Host;
use super::wasi;
use crate::message::EditError;
use crate::outbound::StandIn;

/// All that plugins may import.
pub(super) struct Linkers {
    pub(super) component: Linker<Host>,
    /// The same for core modules that are called directly, without WASI.
    pub(super) direct: Arc<Imports>,
}

/// All that plugins may import. What waits makes a component that imports it one that waits, so `kv` is linked in one of two
/// ways.
pub(super) fn linkers(engine: &Engine, kv_waits: bool) -> wasmtime::Result<Linkers> {
    let (component, direct) = all(engine, kv_waits)?;
    Ok(Linkers { component, direct: direct.into() })
}

/// The same, in the world of a scenario: time and chance are arranged. (Who is called is arranged where calls are made.)
pub(super) fn arranged_linkers(engine: &Engine, stand_in: &Arc<StandIn>) -> wasmtime::Result<Linkers> {
    let (mut component, mut direct) = all(engine, false)?;
    component.allow_shadowing(true);
    direct.allow_shadowing(true);
    clock::link_arranged(&mut LinkerInstance::of(&mut component, &mut direct, "clock")?, stand_in)?;
    random::link_arranged(&mut LinkerInstance::of(&mut component, &mut direct, "random")?, stand_in)?;
    Ok(Linkers { component, direct: direct.into() })
}

fn all(engine: &Engine, kv_waits: bool) -> wasmtime::Result<(Linker<Host>, Imports)> {
    let (mut linker, mut direct) = (Linker::new(engine), Imports::new(engine)?);
    linker.instance(&interface("types"))?;
    request::link(&mut LinkerInstance::of(&mut linker, &mut direct, "request")?)?;
    response::link(&mut LinkerInstance::of(&mut linker, &mut direct, "response")?)?;
    trailers::link(&mut LinkerInstance::of(&mut linker, &mut direct, "trailers")?)?;
    exchange::link(&mut LinkerInstance::of(&mut linker, &mut direct, "exchange")?)?;
    backends::link(&mut LinkerInstance::of(&mut linker, &mut direct, "backends")?)?;
    log::link(&mut LinkerInstance::of(&mut linker, &mut direct, "log")?)?;
    config::link(&mut LinkerInstance::of(&mut linker, &mut direct, "config")?)?;
    clock::link(&mut LinkerInstance::of(&mut linker, &mut direct, "clock")?)?;
    random::link(&mut LinkerInstance::of(&mut linker, &mut direct, "random")?)?;
    counters::link(&mut LinkerInstance::of(&mut linker, &mut direct, "counters")?)?;
    metrics::link(&mut LinkerInstance::of(&mut linker, &mut direct, "metrics")?)?;
    http_client::link(&mut LinkerInstance::of(&mut linker, &mut direct, "http-client")?)?;
    let mut key_space = LinkerInstance::of(&mut linker, &mut direct, "kv")?;
    if kv_waits {
        kv::link_waiting(&mut key_space)?
    } else {
        kv::link(&mut key_space)?
    }
    wasi::link(&mut linker)?;
    Ok((linker, direct))
}

/// The interfaces that plugins may import.
pub(super) const INTERFACES: [&str; 14] = [
    "types",
    "request",
    "response",
    "trailers",
    "exchange",
    "backends",
    "log",
    "config",
    "clock",
    "random",
    "counters",
    "metrics",
    "kv",
    "http-client",
];

/// What an import is called with.
pub(super) type Cx<'a> = StoreContextMut<'a, Host>;

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

in_memory!(Result<(), Refused>);

impl Put for Refused {
    const SIZE: u32 = 1;
    const ALIGN: u32 = 1;

    fn put(self, guest: &mut GuestMemory<'_>, at: u32) -> wasmtime::Result<()> {
        (self as u8).put(guest, at)
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
