//! What imports are given, by either way.

use std::future::Future;

use wasmtime::component::{ComponentNamedList, Lift, WasmStr};
use wasmtime::{AsContextMut, Caller, StoreContextMut};

use super::super::host::{Host, Misuse};
use super::super::imports::Cx;
use super::super::imports::http_client::WitRequest;
use super::super::imports::kv::{CompareAndSet, Set};
use super::super::imports::log::Level;
use super::{Answer, Imports, Reader, Text};

/// Parameters of an import.
pub(in super::super) trait Params: Sized + Send + 'static {
    /// As the runtime gives them.
    type Wit: ComponentNamedList + Lift + 'static;
    fn of(wit: Self::Wit) -> Self;

    /// Links an import that answers at once for core modules.
    fn link<R: Answer>(
        imports: &mut Imports,
        interface: &str,
        name: &str,
        function: impl Fn(StoreContextMut<'_, Host>, Self) -> wasmtime::Result<R> + Send + Sync + 'static,
    ) -> wasmtime::Result<()>;

    /// Links one that may wait.
    fn link_async<R: Answer + Send>(
        imports: &mut Imports,
        interface: &str,
        name: &str,
        function: impl Fn(StoreContextMut<'_, Host>, Self) -> Waiting<'_, R> + Send + Sync + Clone + 'static,
    ) -> wasmtime::Result<()>;
}

/// What an import that may wait gives.
pub(in super::super) type Waiting<'a, R> = Box<dyn Future<Output = wasmtime::Result<R>> + Send + 'a>;

/// For each list of parameters: how the runtime gives them, what becomes of that, how a core module gives them, and what
/// becomes of that.
macro_rules! params {
    ($($own:ty: $wit:ty, $from:pat => $of:expr; |$cx:pat_param $(, $flat:ident: $core:ty)*| $make:expr;)*) => {$(
        impl Params for $own {
            type Wit = $wit;

            #[inline]
            fn of($from: $wit) -> Self {
                $of
            }

            fn link<R: Answer>(
                imports: &mut Imports,
                interface: &str,
                name: &str,
                function: impl Fn(StoreContextMut<'_, Host>, Self) -> wasmtime::Result<R> + Send + Sync + 'static,
            ) -> wasmtime::Result<()> {
                let linker = imports.add(interface, name, R::WANTS_ROOM);
                let called = move |caller: &mut Caller<'_, Host>, $($flat: $core),*| -> wasmtime::Result<R> {
                    let mut cx = caller.as_context_mut();
                    cx.data_mut().direct_call()?;
                    let $cx = &mut cx;
                    let params: $own = $make;
                    function(cx, params)
                };
                if R::WANTS_ROOM {
                    linker.func_wrap(interface, name, move |mut caller: Caller<'_, Host>, $($flat: $core,)* at: u32| {
                        let answer = called(&mut caller, $($flat),*)?;
                        answer.put(&mut caller.as_context_mut(), at)
                    })?;
                } else if R::IN_MEMORY {
                    linker.func_wrap(interface, name, move |mut caller: Caller<'_, Host>, $($flat: $core,)* at: u32| {
                        let answer = called(&mut caller, $($flat),*)?;
                        answer.put(&mut caller.as_context_mut(), at).map(drop)
                    })?;
                } else {
                    linker.func_wrap(interface, name, move |mut caller: Caller<'_, Host>, $($flat: $core),*| {
                        called(&mut caller, $($flat),*).map(R::flat)
                    })?;
                }
                Ok(())
            }

            fn link_async<R: Answer + Send>(
                imports: &mut Imports,
                interface: &str,
                name: &str,
                function: impl Fn(StoreContextMut<'_, Host>, Self) -> Waiting<'_, R> + Send + Sync + Clone + 'static,
            ) -> wasmtime::Result<()> {
                let linker = imports.add(interface, name, true);
                linker.func_wrap_async(
                    interface,
                    name,
                    move |mut caller: Caller<'_, Host>, ($($flat,)* at,): ($($core,)* u32,)| {
                        let function = function.clone();
                        Box::new(async move {
                            let mut cx = caller.as_context_mut();
                            cx.data_mut().direct_call()?;
                            let $cx = &mut cx;
                            let params: $own = $make;
                            let answer = Box::into_pin(function(cx.as_context_mut(), params)).await?;
                            answer.put(&mut cx, at)
                        })
                    },
                )?;
                Ok(())
            }
        }
    )*};
}

params! {
    (): (), () => (); |_| ();
    (u16,): (u16,), own => own; |_, number: u32| (number as u16,);
    (u32,): (u32,), own => own; |_, number: u32| (number,);
    (u32, u64): (u32, u64), own => own; |_, number: u32, by: u64| (number, by);
    (u32, f64): (u32, f64), own => own; |_, number: u32, value: f64| (number, value);
    (Text,): (WasmStr,), (text,) => (Text::Wit(text),); |_, at: u32, length: u32| (Text::Direct { at, length },);
    (Text, u64): (WasmStr, u64), (text, number) => (Text::Wit(text), number);
        |_, at: u32, length: u32, number: u64| (Text::Direct { at, length }, number);
    (Text, Text): (WasmStr, WasmStr), (name, value) => (Text::Wit(name), Text::Wit(value));
        |_, at: u32, length: u32, value_at: u32, value_length: u32|
        (Text::Direct { at, length }, Text::Direct { at: value_at, length: value_length });
    (Option<Text>,): (Option<WasmStr>,), (text,) => (text.map(Text::Wit),);
        |_, some: u32, at: u32, length: u32| (is_some(some)?.then_some(Text::Direct { at, length }),);
    (Level,): (Level,), own => own; |_, level: u32| (Level::of(level)?,);
    (Level, Text): (Level, WasmStr), (level, text) => (level, Text::Wit(text));
        |_, level: u32, at: u32, length: u32| (Level::of(level)?, Text::Direct { at, length });
    (Vec<u8>,): (Vec<u8>,), own => own; |cx, at: u32, length: u32| (read(cx, |reader| Ok(reader.bytes(at, length)?.to_vec()))?,);
    (String, Vec<(String, String)>): (String, Vec<(String, String)>), own => own;
        |cx, at: u32, length: u32, labels: u32, count: u32|
        read(cx, |reader| Ok((reader.text(at, length)?, reader.list(labels, count)?)))?;
    (String, Vec<(String, String)>, Vec<f64>): (String, Vec<(String, String)>, Vec<f64>), own => own;
        |cx, at: u32, length: u32, labels: u32, count: u32, bounds: u32, bound_count: u32|
        read(cx, |reader| Ok((reader.text(at, length)?, reader.list(labels, count)?, reader.list(bounds, bound_count)?)))?;
    (u32, u32): (u32, u32), own => own; |_, one: u32, other: u32| (one, other);
    (u32, Text): (u32, WasmStr), (number, text) => (number, Text::Wit(text));
        |_, number: u32, at: u32, length: u32| (number, Text::Direct { at, length });
    (WitRequest,): (WitRequest,), own => own;
        |cx, method: u32, method_length: u32, url: u32, url_length: u32, headers: u32, count: u32, body: u32, body_length: u32,
         some: u32, millis: u32|
        (read(cx, |reader| Ok(WitRequest {
            method: reader.text(method, method_length)?,
            url: reader.text(url, url_length)?,
            headers: reader.list(headers, count)?,
            body: reader.bytes(body, body_length)?.to_vec(),
            timeout_millis: is_some(some)?.then_some(millis),
        }))?,);
    (String,): (String,), own => own; |cx, at: u32, length: u32| (read(cx, |reader| reader.text(at, length))?,);
    Set: Set, own => own;
        |cx, key: u32, key_length: u32, value: u32, value_length: u32, some: u32, millis: u64|
        read(cx, |reader| {
            let key = reader.text(key, key_length)?;
            Ok((key, reader.bytes(value, value_length)?.to_vec(), is_some(some)?.then_some(millis)))
        })?;
    CompareAndSet: CompareAndSet, own => own;
        |cx, key: u32, key_length: u32, some_expected: u32, expected: u32, expected_length: u32, value: u32, value_length: u32,
         some: u32, millis: u64|
        read(cx, |reader| {
            let key = reader.text(key, key_length)?;
            let expected = match is_some(some_expected)? {
                true => Some(reader.bytes(expected, expected_length)?.to_vec()),
                false => None,
            };
            Ok((key, expected, reader.bytes(value, value_length)?.to_vec(), is_some(some)?.then_some(millis)))
        })?;
    (String, i64, Option<u64>): (String, i64, Option<u64>), own => own;
        |cx, at: u32, length: u32, by: i64, some: u32, millis: u64|
        (read(cx, |reader| reader.text(at, length))?, by, is_some(some)?.then_some(millis));
}

fn read<T>(cx: &Cx<'_>, reading: impl FnOnce(&mut Reader<'_>) -> wasmtime::Result<T>) -> wasmtime::Result<T> {
    let memory = cx.data().guest_memory()?;
    reading(&mut Reader::new(memory.data(cx)))
}

/// Whether an option has a value.
fn is_some(case: u32) -> Result<bool, Misuse> {
    match case {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(Misuse::Bound(format!("option has no case {other}"))),
    }
}
