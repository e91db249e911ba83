//! What core modules may import.

use std::collections::HashMap;

use wasmtime::{AsContextMut, Caller, Engine, Linker};

use super::Host;
use super::functions::answered;
use super::rooms::given;

/// All that core modules may import, by way of a [`super::bridge::Bridge`].
pub(in super::super) struct Imports {
    pub(super) linker: Linker<Host>,
    /// Each by interface and name, and whether it can want room for its answer: then it says how much instead of answering.
    known: HashMap<(String, String), bool>,
}

impl Imports {
    /// Nothing but what bridges themselves need.
    pub(in super::super) fn new(engine: &Engine) -> wasmtime::Result<Self> {
        let mut linker = Linker::new(engine);
        linker.func_wrap("bridge", "given", |mut caller: Caller<'_, Host>, place: u32| {
            given(caller.as_context_mut(), place)
        })?;
        linker.func_wrap("bridge", "answered", |mut caller: Caller<'_, Host>, at: u32| {
            answered(caller.as_context_mut(), at)
        })?;
        Ok(Self { linker, known: HashMap::new() })
    }

    /// Whether what is there may be replaced.
    pub(in super::super) fn allow_shadowing(&mut self, allow: bool) {
        self.linker.allow_shadowing(allow);
    }

    /// Where a function of that name is to be linked.
    pub(super) fn add(&mut self, interface: &str, name: &str, wants_room: bool) -> &mut Linker<Host> {
        self.known.insert((interface.to_owned(), name.to_owned()), wants_room);
        &mut self.linker
    }

    /// Whether that function can want room; none if there is no such function.
    pub(super) fn wants_room(&self, interface: &str, name: &str) -> Option<bool> {
        self.known.get(&(interface.to_owned(), name.to_owned())).copied()
    }
}
