//! The hooks of an instance that is a core module.

use wasmtime::{Instance, ModuleExport, Store, TypedFunc, WasmParams, WasmResults};

use super::super::host::{Host, Misuse};
use super::super::stats::Hook;
use super::super::wit::{WitAnswer, WitBodyAction, WitSummary, WitVerdict};
use super::store::allocate;
use super::{Direct, Reader};

/// The hooks that an instance has.
pub(in super::super) struct Functions {
    configure: Option<Function<(u32, u32)>>,
    on_request: Option<Function<()>>,
    on_request_complete: Option<Function<(u32, u32)>>,
    on_request_body: Option<Function<(u32, u32, u32)>>,
    pick_backend: Option<Function<u32>>,
    on_response: Option<Function<()>>,
    on_response_body: Option<Function<(u32, u32, u32)>>,
    on_response_finish: Option<TypedFunc<FlatSummary, ()>>,
}

/// `types.summary`, a parameter for each field.
type FlatSummary = (u32, u32, u32, u64, u64, u64, u64, u32, u32);

/// A function that answers with a place in the guest's memory, and what is to be called once that has been read.
struct Function<P> {
    call: TypedFunc<P, u32>,
    done: Option<TypedFunc<u32, ()>>,
}

impl Functions {
    pub(super) fn find(store: &mut Store<Host>, instance: &Instance, direct: &Direct) -> wasmtime::Result<Self> {
        let finish = direct.hooks[Hook::OnResponseFinish as usize].as_ref().map(|(call, _)| call);
        Ok(Self {
            configure: answering(store, instance, direct, Hook::Configure)?,
            on_request: answering(store, instance, direct, Hook::OnRequest)?,
            on_request_complete: answering(store, instance, direct, Hook::OnRequestComplete)?,
            on_request_body: answering(store, instance, direct, Hook::OnRequestBody)?,
            pick_backend: answering(store, instance, direct, Hook::PickBackend)?,
            on_response: answering(store, instance, direct, Hook::OnResponse)?,
            on_response_body: answering(store, instance, direct, Hook::OnResponseBody)?,
            on_response_finish: find(store, instance, finish)?,
        })
    }

    /// `configure`, if it is there.
    pub(in super::super) fn configure(
        &self,
        store: &mut Store<Host>,
        config: &str,
    ) -> wasmtime::Result<Result<(), String>> {
        let Some(function) = &self.configure else { return Ok(Ok(())) };
        let params = hand_over(store, config.as_bytes())?;
        function.call(store, params, 12, |reader, at| match reader.u8(at)? {
            0 => Ok(Ok(())),
            1 => {
                let (at, length) = reader.place(at.wrapping_add(4))?;
                Ok(Err(reader.text(at, length)?))
            }
            other => Err(no_such_case("result", other)),
        })
    }

    #[inline]
    pub(in super::super) fn on_request(&self, store: &mut Store<Host>) -> wasmtime::Result<(WitVerdict,)> {
        some(&self.on_request)?.call(store, (), VERDICT, verdict)
    }

    pub(in super::super) fn on_request_complete(
        &self,
        store: &mut Store<Host>,
        body: &[u8],
    ) -> wasmtime::Result<(WitVerdict,)> {
        let function = some(&self.on_request_complete)?;
        let params = hand_over(store, body)?;
        function.call(store, params, VERDICT, verdict)
    }

    #[inline]
    pub(in super::super) fn pick_backend(
        &self,
        store: &mut Store<Host>,
        count: u32,
    ) -> wasmtime::Result<(Option<u32>,)> {
        some(&self.pick_backend)?.call(store, count, 8, |reader, at| match reader.u8(at)? {
            0 => Ok((None,)),
            1 => Ok((Some(reader.u32(at.wrapping_add(4))?),)),
            other => Err(no_such_case("option", other)),
        })
    }

    #[inline]
    pub(in super::super) fn on_response(&self, store: &mut Store<Host>) -> wasmtime::Result<(WitVerdict,)> {
        some(&self.on_response)?.call(store, (), VERDICT, verdict)
    }

    /// `on-request-body` or `on-response-body`.
    pub(in super::super) fn on_body(
        &self,
        store: &mut Store<Host>,
        hook: Hook,
        chunk: &[u8],
        last: bool,
    ) -> wasmtime::Result<(WitBodyAction,)> {
        let function = if hook == Hook::OnRequestBody { &self.on_request_body } else { &self.on_response_body };
        let function = some(function)?;
        let (at, length) = hand_over(store, chunk)?;
        function.call(store, (at, length, last.into()), 12, |reader, at| match reader.u8(at)? {
            0 => Ok((WitBodyAction::Pass,)),
            1 => Ok((WitBodyAction::Replace(reader.byte_list(at.wrapping_add(4))?),)),
            2 => Ok((WitBodyAction::Abort,)),
            other => Err(no_such_case("body-action", other)),
        })
    }

    #[inline]
    pub(in super::super) fn on_response_finish(
        &self,
        store: &mut Store<Host>,
        summary: WitSummary,
    ) -> wasmtime::Result<()> {
        some(&self.on_response_finish)?.call(store, summary.flat())
    }
}

impl<P: WasmParams> Function<P> {
    /// Calls it, and reads its answer of so many bytes.
    #[inline]
    fn call<T>(
        &self,
        store: &mut Store<Host>,
        params: P,
        size: u32,
        read: impl FnOnce(&mut Reader<'_>, u32) -> wasmtime::Result<T>,
    ) -> wasmtime::Result<T> {
        let at = self.call.call(&mut *store, params)?;
        let memory = store.data().guest_memory()?;
        let mut reader = Reader::new(memory.data(&*store));
        reader.check(at, size, 4)?;
        let answer = read(&mut reader, at)?;
        if let Some(done) = &self.done {
            store.data_mut().secluded = true;
            done.call(&mut *store, at)?;
            store.data_mut().secluded = false;
        }
        Ok(answer)
    }
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

fn answering<P: WasmParams>(
    store: &mut Store<Host>,
    instance: &Instance,
    direct: &Direct,
    hook: Hook,
) -> wasmtime::Result<Option<Function<P>>> {
    let Some((call, done)) = &direct.hooks[hook as usize] else { return Ok(None) };
    let Some(call) = find(store, instance, Some(call))? else { return Ok(None) };
    Ok(Some(Function { call, done: find(store, instance, done.as_ref())? }))
}

/// Puts bytes into the guest's memory.
fn hand_over(store: &mut Store<Host>, bytes: &[u8]) -> wasmtime::Result<(u32, u32)> {
    let length = u32::try_from(bytes.len()).map_err(|_| super::load::outside())?;
    let at = allocate(store, 1, length)?;
    super::store::write(&mut wasmtime::AsContextMut::as_context_mut(store), at, bytes)?;
    Ok((at, length))
}

/// Bytes of a verdict.
const VERDICT: u32 = 24;

fn verdict(reader: &mut Reader<'_>, at: u32) -> wasmtime::Result<(WitVerdict,)> {
    let payload = at.wrapping_add(4);
    Ok((match reader.u8(at)? {
        0 => WitVerdict::Proceed,
        1 => WitVerdict::Answer(answer(reader, payload)?),
        2 => WitVerdict::Hold(reader.u32(payload)?),
        other => return Err(no_such_case("verdict", other)),
    },))
}

fn answer(reader: &mut Reader<'_>, at: u32) -> wasmtime::Result<WitAnswer> {
    let status = reader.u16(at)?;
    let (headers, count) = reader.place(at.wrapping_add(4))?;
    let headers = reader.list(headers, count)?;
    Ok(WitAnswer { status, headers, body: reader.byte_list(at.wrapping_add(12))? })
}

#[inline]
fn some<T>(function: &Option<T>) -> wasmtime::Result<&T> {
    function.as_ref().ok_or_else(|| Misuse::Bound("it does not export that hook".into()).into())
}

#[cold]
fn no_such_case(what: &str, case: u8) -> wasmtime::Error {
    Misuse::Bound(format!("{what} has no case {case}")).into()
}
