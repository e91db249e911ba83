//! One interface that plugins may import. Every call of it counts.

use std::future::Future;

use wasmtime::StoreContextMut;
use wasmtime::component::{self, ComponentNamedList, Lift, Linker, Lower};

use super::super::component::interface;
use super::super::direct::{Answer, Params};
use super::super::host::Host;

/// As wasmtime's own, but each call of a function that is linked here is one less that the guest may still make, so that no
/// interface can forget to count; and what does not wait is linked for core modules too.
pub(super) struct LinkerInstance<'a, T: 'static> {
    component: component::LinkerInstance<'a, T>,
    direct: &'a mut wasmtime::Linker<T>,
    interface: String,
}

impl<'a> LinkerInstance<'a, Host> {
    /// The interface of that name in our package.
    pub(super) fn of(
        linker: &'a mut Linker<Host>,
        direct: &'a mut wasmtime::Linker<Host>,
        name: &str,
    ) -> wasmtime::Result<Self> {
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

    /// Links a function that answers at once, for components only.
    pub(super) fn func_wrap_component<F, Params, Return>(&mut self, name: &str, function: F) -> wasmtime::Result<()>
    where
        F: Fn(StoreContextMut<'_, Host>, Params) -> wasmtime::Result<Return> + Send + Sync + 'static,
        Params: ComponentNamedList + Lift + 'static,
        Return: ComponentNamedList + Lower + 'static,
    {
        self.component.func_wrap(name, move |mut cx: StoreContextMut<'_, Host>, params: Params| {
            cx.data_mut().host_call()?;
            function(cx, params)
        })
    }

    /// Links a function that may wait.
    pub(super) fn func_wrap_async<F, Params, Return>(&mut self, name: &str, function: F) -> wasmtime::Result<()>
    where
        F: Fn(StoreContextMut<'_, Host>, Params) -> Box<dyn Future<Output = wasmtime::Result<Return>> + Send + '_>
            + Send
            + Sync
            + 'static,
        Params: ComponentNamedList + Lift + 'static,
        Return: ComponentNamedList + Lower + 'static,
    {
        self.component.func_wrap_async(name, move |mut cx: StoreContextMut<'_, Host>, params: Params| {
            match cx.data_mut().host_call() {
                Ok(()) => function(cx, params),
                Err(error) => Box::new(std::future::ready(Err(error.into()))),
            }
        })
    }
}
