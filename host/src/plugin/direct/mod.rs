//! Plugins that are one core module, called without the runtime of components in between.
//!
//! What most tool chains make is one core module and a few lines that connect it to the outside. The runtime's way from a hook
//! to that module, and from there to an import, is made for whatever a component may be, and costs several times what the
//! call itself does. Where a component is no more than that, its instances are made of the core module alone, and host and
//! guest speak the canonical ABI of the component model here.
//!
//! The runtime's way remains the one that says what a valid plugin is: each component is checked and proved by it first. It
//! is also the way of all that is not so simple: WASI, several modules, hooks that are seldom called.

mod bridge;
mod functions;
mod hooks;
mod imports;
mod load;
mod params;
mod rooms;
mod shape;
mod store;

use wasmtime::component::{Component, ComponentExportIndex, Instance as Made};
use wasmtime::{Extern, FuncType, Instance, Module, ModuleExport, Ref, Store, TypedFunc};

use self::bridge::{Bridge, REALLOC, slots};
pub(super) use self::functions::{Answered, Configure, DirectHook, Functions};
pub(super) use self::imports::Imports;
pub(super) use self::load::{Reader, Text};
pub(super) use self::params::{Params, Waiting};
pub(super) use self::rooms::Rooms;
pub(super) use self::shape::reveal_core_module;
pub(super) use self::store::{Answer, GuestMemory, Put, in_memory, put_aligned};
use super::PluginUse;
use super::component::interface;
use super::host::Host;
use super::stats::{Hook, HookSet};

/// A component's core module, with the bridge to all that it imports.
pub(super) struct Direct {
    module: Module,
    bridge: Bridge,
    memory: ModuleExport,
    realloc: Option<ModuleExport>,
    initialize: Option<ModuleExport>,
    /// The hooks that answer.
    calls: Vec<(Hook, Call)>,
    /// `on-response-finish`, which does not.
    finish: Option<ModuleExport>,
}

/// A hook of the core module, and what is called once its answer has been read.
struct Call {
    ty: FuncType,
    function: ModuleExport,
    done: Option<ModuleExport>,
}

impl Direct {
    /// Whether a plugin with that hook can be called directly. `self-test` is called for the proof only, which is made by the
    /// runtime; the rest is called too rarely to be worth it.
    pub(super) fn can_call(hook: Hook) -> bool {
        match hook {
            Hook::Configure
            | Hook::SelfTest
            | Hook::OnRequest
            | Hook::OnRequestComplete
            | Hook::OnRequestBody
            | Hook::PickBackend
            | Hook::OnResponse
            | Hook::OnResponseBody
            | Hook::OnResponseFinish => true,
            Hook::ExportState | Hook::ImportState | Hook::OnTick | Hook::OnConnect | Hook::OnAttemptFailed => false,
        }
    }

    /// Where the core module is exported, if the component is one that can be called directly.
    pub(super) fn export(component: &Component) -> Option<ComponentExportIndex> {
        component.get_export_index(None, shape::EXPORT)
    }

    /// The core module of a component with these hooks that has been instantiated, if it imports nothing but what `imports`
    /// has and exports each of the hooks under the name that the contract's version gives it.
    pub(super) fn new(
        store: &mut Store<Host>,
        made: &Made,
        export: &ComponentExportIndex,
        imports: &Imports,
        hooks: HookSet,
    ) -> Option<Self> {
        let module = made.get_module(&mut *store, export)?;
        let mut calls = Vec::new();
        for hook in Hook::ALL.into_iter().filter(|hook| hooks.has(*hook)) {
            if !matches!(hook, Hook::SelfTest | Hook::OnResponseFinish) {
                calls.push((hook, Call::of(&module, hook)?));
            }
        }
        let finish = module.get_export_index(&function_name(Hook::OnResponseFinish));
        if hooks.has(Hook::OnResponseFinish) && finish.is_none() {
            return None;
        }
        let bridge = Bridge::new(store.engine(), &module, imports, &calls);
        let bridge = bridge.unwrap_or_else(|error| {
            tracing::warn!(target: "lockgate::plugin", "a plugin is called by the runtime, which is slower: no bridge to it can be made: {error:#}");
            None
        })?;
        let find = |name: &str| module.get_export_index(name);
        let (memory, realloc, initialize) = (find("memory")?, find("cabi_realloc"), find("_initialize"));
        Some(Self { memory, realloc, initialize, module, bridge, calls, finish })
    }

    /// A new instance, which has not been configured. Its memory is noted in the store.
    pub(super) fn instantiate(&self, store: &mut Store<Host>) -> wasmtime::Result<Functions> {
        let bridge = self.bridge.pre.instantiate(&mut *store)?;
        let offered = self.offered(store, &bridge)?;
        let guest = Instance::new(&mut *store, &self.module, &offered)?;
        if let Some(initialize) = self.connect(store, &guest, &bridge)? {
            initialize.call(&mut *store, ())?;
        }
        Functions::find(store, &guest, &bridge, self)
    }

    /// The same on a stack of its own.
    pub(super) async fn instantiate_async(&self, store: &mut Store<Host>) -> wasmtime::Result<Functions> {
        let bridge = self.bridge.pre.instantiate_async(&mut *store).await?;
        let offered = self.offered(store, &bridge)?;
        let guest = Instance::new_async(&mut *store, &self.module, &offered).await?;
        if let Some(initialize) = self.connect(store, &guest, &bridge)? {
            initialize.call_async(&mut *store, ()).await?;
        }
        Functions::find(store, &guest, &bridge, self)
    }

    /// What the guest imports.
    fn offered(&self, store: &mut Store<Host>, bridge: &Instance) -> wasmtime::Result<Vec<Extern>> {
        let exports = self.bridge.imports.iter();
        let offered = exports.map(|export| bridge.get_module_export(&mut *store, export));
        offered.collect::<Option<_>>().ok_or_else(|| wasmtime::Error::msg("the bridge does not export an import"))
    }

    /// Tells the bridge what to call, and gives what the guest wants to be called first.
    fn connect(
        &self,
        store: &mut Store<Host>,
        guest: &Instance,
        bridge: &Instance,
    ) -> wasmtime::Result<Option<TypedFunc<(), ()>>> {
        let memory = guest.get_module_export(&mut *store, &self.memory).and_then(Extern::into_memory);
        store.data_mut().guest_memory = Some(memory.ok_or_else(|| wasmtime::Error::msg("its `memory` is not one"))?);
        let table = bridge.get_module_export(&mut *store, &self.bridge.table).and_then(Extern::into_table);
        let table = table.ok_or_else(|| wasmtime::Error::msg("the bridge's table is not one"))?;
        let mut put = |slot: u64, export: Option<&ModuleExport>| -> wasmtime::Result<()> {
            let Some(export) = export else { return Ok(()) };
            let function = guest.get_module_export(&mut *store, export).and_then(Extern::into_func);
            table.set(&mut *store, slot, Ref::Func(function))
        };
        put(REALLOC, self.realloc.as_ref())?;
        for (hook, call) in &self.calls {
            let (at, done) = slots(*hook);
            put(at, Some(&call.function))?;
            put(done, call.done.as_ref())?;
        }
        functions::find(store, guest, self.initialize.as_ref())
    }
}

impl PluginUse {
    /// Whether its instances are core modules, called without the runtime of components.
    #[must_use]
    pub fn is_called_directly(&self) -> bool {
        self.core.compiled.direct().is_some()
    }
}

impl Call {
    fn of(module: &Module, hook: Hook) -> Option<Self> {
        let name = function_name(hook);
        let function = module.get_export_index(&name)?;
        let ty = module.get_export(&name)?.func()?.clone();
        Some(Self { ty, function, done: module.get_export_index(&format!("cabi_post_{name}")) })
    }
}

/// The name under which a core module exports a hook.
fn function_name(hook: Hook) -> String {
    format!("{}#{}", interface(hook.interface()), hook.name())
}
