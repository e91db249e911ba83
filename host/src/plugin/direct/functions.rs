//! The hooks of an instance that is a core module.

use wasmtime::{AsContextMut, Instance, ModuleExport, Store, TypedFunc, WasmParams, WasmResults};

use super::super::host::{Host, Misuse};
use super::super::stats::Hook;
use super::super::wit::{WitAnswer, WitBodyAction, WitVerdict};
use super::load::outside;
use super::store::GuestMemory;
use super::{Direct, Reader};

/// The hooks that an instance has. Those that answer are the bridge's.
pub(in super::super) struct Functions {
    realloc: Option<Realloc>,
    pub(super) configure: Option<TypedFunc<(u32, u32), ()>>,
    pub(super) on_request: Option<TypedFunc<(), ()>>,
    pub(super) on_request_complete: Option<TypedFunc<(u32, u32), ()>>,
    pub(super) on_request_body: Option<TypedFunc<FlatChunk, ()>>,
    pub(super) pick_backend: Option<TypedFunc<u32, ()>>,
    pub(super) on_response: Option<TypedFunc<(), ()>>,
    pub(super) on_response_body: Option<TypedFunc<FlatChunk, ()>>,
    pub(super) on_response_finish: Option<TypedFunc<FlatSummary, ()>>,
}

/// What makes room in a guest's memory: old place and size, alignment, new size.
type Realloc = TypedFunc<(u32, u32, u32, u32), u32>;

/// A chunk of a body: where, how long, and whether it is the last.
pub(super) type FlatChunk = (u32, u32, u32);

/// `types.summary`, a parameter for each field.
pub(super) type FlatSummary = (u32, u32, u32, u64, u64, u64, u64, u32, u32);

/// A hook that can be called directly.
pub(in super::super) trait DirectHook {
    /// What the core function is given.
    type Flat: WasmParams + Send + Sync;
    type Return;
    /// Bytes that the guest has to have in its memory first.
    fn bytes(&self) -> Option<&[u8]> {
        None
    }
    /// What the core function is given, where the guest has those bytes at that place.
    fn flat(&self, at: u32, length: u32) -> Self::Flat;
    fn function(functions: &Functions) -> Option<&TypedFunc<Self::Flat, ()>>;
    /// What it has answered; none if that is not what it can answer.
    fn answer(answer: Option<Answered>) -> Option<Self::Return>;
}

/// What a hook has answered.
pub(in super::super) enum Answered {
    Verdict(WitVerdict),
    Action(WitBodyAction),
    Picked(Option<u32>),
    Configured(Result<(), String>),
}

/// `configure`, with the configuration.
pub(in super::super) struct Configure<'a>(pub(in super::super) &'a str);

impl DirectHook for Configure<'_> {
    type Flat = (u32, u32);
    type Return = Result<(), String>;

    fn bytes(&self) -> Option<&[u8]> {
        Some(self.0.as_bytes())
    }

    fn flat(&self, at: u32, length: u32) -> (u32, u32) {
        (at, length)
    }

    fn function(functions: &Functions) -> Option<&TypedFunc<(u32, u32), ()>> {
        functions.configure.as_ref()
    }

    fn answer(answer: Option<Answered>) -> Option<Result<(), String>> {
        if let Some(Answered::Configured(answer)) = answer { Some(answer) } else { None }
    }
}

impl Functions {
    /// Finds them in the guest's instance and that of its bridge.
    pub(super) fn find(
        store: &mut Store<Host>,
        guest: &Instance,
        bridge: &Instance,
        direct: &Direct,
    ) -> wasmtime::Result<Self> {
        let hook = |hook: Hook| direct.bridge.hooks[hook as usize].as_ref();
        Ok(Self {
            realloc: find(store, guest, direct.realloc.as_ref())?,
            configure: find(store, bridge, hook(Hook::Configure))?,
            on_request: find(store, bridge, hook(Hook::OnRequest))?,
            on_request_complete: find(store, bridge, hook(Hook::OnRequestComplete))?,
            on_request_body: find(store, bridge, hook(Hook::OnRequestBody))?,
            pick_backend: find(store, bridge, hook(Hook::PickBackend))?,
            on_response: find(store, bridge, hook(Hook::OnResponse))?,
            on_response_body: find(store, bridge, hook(Hook::OnResponseBody))?,
            on_response_finish: find(store, guest, direct.finish.as_ref())?,
        })
    }

    /// Whether there is that hook.
    pub(in super::super) fn has<H: DirectHook>(&self) -> bool {
        H::function(self).is_some()
    }

    /// Calls a hook on the caller's stack.
    #[inline]
    pub(in super::super) fn call<H: DirectHook>(
        &self,
        store: &mut Store<Host>,
        hook: &H,
    ) -> wasmtime::Result<H::Return> {
        let function = some(H::function(self))?;
        let (mut at, mut length) = (0, 0);
        if let Some(bytes) = hook.bytes() {
            length = size(bytes)?;
            store.data_mut().secluded = true;
            at = some(self.realloc.as_ref())?.call(&mut *store, (0, 0, 1, length))?;
            hand_over(store, at, bytes)?;
        }
        function.call(&mut *store, hook.flat(at, length))?;
        answer_of::<H>(store)
    }

    /// Calls a hook on a stack of its own.
    pub(in super::super) async fn call_async<H: DirectHook>(
        &self,
        store: &mut Store<Host>,
        hook: &H,
    ) -> wasmtime::Result<H::Return> {
        let function = some(H::function(self))?;
        let (mut at, mut length) = (0, 0);
        if let Some(bytes) = hook.bytes() {
            length = size(bytes)?;
            store.data_mut().secluded = true;
            at = some(self.realloc.as_ref())?.call_async(&mut *store, (0, 0, 1, length)).await?;
            hand_over(store, at, bytes)?;
        }
        function.call_async(&mut *store, hook.flat(at, length)).await?;
        answer_of::<H>(store)
    }
}

fn size(bytes: &[u8]) -> wasmtime::Result<u32> {
    u32::try_from(bytes.len()).map_err(|_| outside())
}

/// Puts bytes where the guest has made room for them.
fn hand_over(store: &mut Store<Host>, at: u32, bytes: &[u8]) -> wasmtime::Result<()> {
    store.data_mut().secluded = false;
    GuestMemory::of(&mut store.as_context_mut())?.write(at, bytes)
}

/// Takes what the hook that was called has answered.
#[inline]
fn answer_of<H: DirectHook>(store: &mut Store<Host>) -> wasmtime::Result<H::Return> {
    let host = store.data_mut();
    host.secluded = false;
    H::answer(host.answer.take()).ok_or_else(|| Misuse::Bound("it has answered another hook".into()).into())
}

/// A hook has answered, there in the guest's memory. Until its call ends it runs only to free that.
pub(super) fn answered(mut cx: impl AsContextMut<Data = Host>, at: u32) -> wasmtime::Result<()> {
    let mut cx = cx.as_context_mut();
    let host = cx.data();
    let (hook, memory) = (host.moment, host.guest_memory()?);
    let answer = read(hook, &mut Reader::new(memory.data(&cx)), at)?;
    let host = cx.data_mut();
    host.secluded = true;
    host.answer = Some(answer);
    Ok(())
}

fn read(hook: Hook, reader: &mut Reader<'_>, at: u32) -> wasmtime::Result<Answered> {
    let payload = at.wrapping_add(4);
    Ok(match hook {
        Hook::OnRequest | Hook::OnRequestComplete | Hook::OnResponse => {
            reader.check(at, 24, 4)?;
            Answered::Verdict(verdict(reader, at, payload)?)
        }
        Hook::PickBackend => {
            reader.check(at, 8, 4)?;
            Answered::Picked(match reader.u8(at)? {
                0 => None,
                1 => Some(reader.u32(payload)?),
                other => return Err(no_such_case("option", other)),
            })
        }
        Hook::OnRequestBody | Hook::OnResponseBody => {
            reader.check(at, 12, 4)?;
            Answered::Action(match reader.u8(at)? {
                0 => WitBodyAction::Pass,
                1 => WitBodyAction::Replace(reader.byte_list(payload)?),
                2 => WitBodyAction::Abort,
                other => return Err(no_such_case("body-action", other)),
            })
        }
        _ => {
            reader.check(at, 12, 4)?;
            Answered::Configured(match reader.u8(at)? {
                0 => Ok(()),
                1 => {
                    let (at, length) = reader.place(payload)?;
                    Err(reader.text(at, length)?)
                }
                other => return Err(no_such_case("result", other)),
            })
        }
    })
}

fn verdict(reader: &mut Reader<'_>, at: u32, payload: u32) -> wasmtime::Result<WitVerdict> {
    Ok(match reader.u8(at)? {
        0 => WitVerdict::Proceed,
        1 => WitVerdict::Answer(answer(reader, payload)?),
        2 => WitVerdict::Hold(reader.u32(payload)?),
        other => return Err(no_such_case("verdict", other)),
    })
}

fn answer(reader: &mut Reader<'_>, at: u32) -> wasmtime::Result<WitAnswer> {
    let status = reader.u16(at)?;
    let (headers, count) = reader.place(at.wrapping_add(4))?;
    let headers = reader.list(headers, count)?;
    Ok(WitAnswer { status, headers, body: reader.byte_list(at.wrapping_add(12))? })
}

/// An export, if it is there and of that type.
pub(super) fn find<P: WasmParams, R: WasmResults>(
    store: &mut Store<Host>,
    instance: &Instance,
    export: Option<&ModuleExport>,
) -> wasmtime::Result<Option<TypedFunc<P, R>>> {
    let Some(export) = export else { return Ok(None) };
    let function = instance.get_module_export(&mut *store, export).and_then(wasmtime::Extern::into_func);
    let function = function.ok_or_else(|| wasmtime::Error::msg("an export of its core module is not a function"))?;
    function.typed(&*store).map(Some)
}

#[inline]
fn some<T>(function: Option<&T>) -> wasmtime::Result<&T> {
    function.ok_or_else(|| Misuse::Bound("it does not export that function".into()).into())
}

#[cold]
fn no_such_case(what: &str, case: u8) -> wasmtime::Error {
    Misuse::Bound(format!("{what} has no case {case}")).into()
}
