//! What imports are given, by either way.

use wasmtime::component::{ComponentNamedList, Lift, WasmStr};
use wasmtime::{AsContextMut, Caller, Linker, StoreContextMut};

use super::super::host::Host;
use super::super::imports::Cx;
use super::super::imports::log::Level;
use super::{Answer, Reader, Text};

/// Parameters of an import.
pub(in super::super) trait Params: Sized + 'static {
    /// As the runtime gives them.
    type Wit: ComponentNamedList + Lift + 'static;
    fn of(wit: Self::Wit) -> Self;

    /// Links the import for core modules.
    fn link<R: Answer>(
        linker: &mut Linker<Host>,
        module: &str,
        name: &str,
        function: impl Fn(StoreContextMut<'_, Host>, Self) -> wasmtime::Result<R> + Send + Sync + 'static,
    ) -> wasmtime::Result<()>;
}

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
                linker: &mut Linker<Host>,
                module: &str,
                name: &str,
                function: impl Fn(StoreContextMut<'_, Host>, Self) -> wasmtime::Result<R> + Send + Sync + 'static,
            ) -> wasmtime::Result<()> {
                let called = move |caller: &mut Caller<'_, Host>, $($flat: $core),*| -> wasmtime::Result<R> {
                    let mut cx = caller.as_context_mut();
                    cx.data_mut().direct_call()?;
                    let $cx = &mut cx;
                    let params: $own = $make;
                    function(cx, params)
                };
                if R::IN_MEMORY {
                    linker.func_wrap(module, name, move |mut caller: Caller<'_, Host>, $($flat: $core,)* at: u32| {
                        let answer = called(&mut caller, $($flat),*)?;
                        answer.put(&mut caller.as_context_mut(), at)
                    })?;
                } else {
                    linker.func_wrap(module, name, move |mut caller: Caller<'_, Host>, $($flat: $core),*| {
                        called(&mut caller, $($flat),*).map(R::flat)
                    })?;
                }
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
        |_, some: u32, at: u32, length: u32| ((some != 0).then_some(Text::Direct { at, length }),);
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
}

fn read<T>(cx: &Cx<'_>, reading: impl FnOnce(&mut Reader<'_>) -> wasmtime::Result<T>) -> wasmtime::Result<T> {
    let memory = cx.data().guest_memory()?;
    reading(&mut Reader::new(memory.data(cx)))
}
