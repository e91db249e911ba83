//! One interface that plugins may import. Every call of it counts.

use wasmtime::StoreContextMut;
use wasmtime::component::{self, ComponentNamedList, Linker, Lower};

use super::super::component::interface;
use super::super::direct::{Answer, Imports, Params, Waiting};
use super::super::host::Host;

/// As wasmtime's own, but each call of a function that is linked here is one less that the guest may still make, so that no
/// interface can forget to count; and all is linked for core modules too.
pub(super) struct LinkerInstance<'a, T: 'static> {
    component: component::LinkerInstance<'a, T>,
    direct: &'a mut Imports,
    interface: String,
}

impl<'a> LinkerInstance<'a, Host> {
    /// The interface of that name in our package.
    pub(super) fn of(linker: &'a mut Linker<Host>, direct: &'a mut Imports, name: &str) -> wasmtime::Result<Self> {
        let interface = interface(name);
        Ok(Self { component: linker.instance(&interface)?, direct, interface })
    }

    /// Links a function that answers at once.
    pub(super) fn func_wrap<F, P, R>(&mut self, name: &str, function: F) -> wasmtime::Result<()>
    where
        F: Fn(StoreContextMut<'_, Host>, P) -> wasmtime::Result<R> + Send + Sync + Clone + 'static,
        P: Params,
        R: ComponentNamedList + Lower + Answer,
    {
        P::link(self.direct, &self.interface, name, function.clone())?;
        self.component.func_wrap(name, move |mut cx: StoreContextMut<'_, Host>, params: P::Wit| {
            cx.data_mut().host_call()?;
            function(cx, P::of(params))
        })
    }

    /// Links a function that may wait.
    pub(super) fn func_wrap_async<F, P, R>(&mut self, name: &str, function: F) -> wasmtime::Result<()>
    where
        F: Fn(StoreContextMut<'_, Host>, P) -> Waiting<'_, R> + Send + Sync + Clone + 'static,
        P: Params,
        R: ComponentNamedList + Lower + Answer + Send,
    {
        P::link_async(self.direct, &self.interface, name, function.clone())?;
        self.component.func_wrap_async(name, move |mut cx: StoreContextMut<'_, Host>, params: P::Wit| {
            match cx.data_mut().host_call() {
                Ok(()) => function(cx, P::of(params)),
                Err(error) => Box::new(std::future::ready(Err(error.into()))),
            }
        })
    }
}
