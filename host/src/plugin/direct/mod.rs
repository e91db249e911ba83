//! Plugins that are one core module, called without the runtime of components in between.
//!
//! What most tool chains make is one core module and a few lines that connect it to the outside. The runtime's way from a hook
//! to that module, and from there to an import, is made for whatever a component may be, and costs several times what the
//! call itself does. Where a component is no more than that, its instances are made of the core module alone, and host and
//! guest speak the canonical ABI of the component model here.
//!
//! The runtime's way remains the one that says what a valid plugin is: each component is checked and proved by it first. It
//! is also the way of all that is not so simple: WASI, imports that wait, guests on stacks of their own, several modules.

mod functions;
mod load;
mod params;
mod shape;
mod store;

use wasmtime::component::{Component, ComponentExportIndex, Instance};
use wasmtime::{InstancePre, Linker, Module, ModuleExport, Store, TypedFunc};

pub(super) use self::functions::Functions;
pub(super) use self::load::{Reader, Text};
pub(super) use self::params::Params;
pub(super) use self::shape::reveal_core_module;
pub(super) use self::store::{Answer, Put, in_memory, put_aligned};
use super::component::interface;
use super::host::Host;
use super::stats::{Hook, HookSet};

/// A component's core module, with all that it imports.
pub(super) struct Direct {
    pre: InstancePre<Host>,
    memory: ModuleExport,
    realloc: Option<ModuleExport>,
    initialize: Option<ModuleExport>,
    /// Of each hook: the function, and what is called once its answer has been read.
    hooks: [Option<(ModuleExport, Option<ModuleExport>)>; Hook::COUNT],
}

/// What makes room in a guest's memory: old place and size, alignment, new size.
pub(super) type Realloc = TypedFunc<(u32, u32, u32, u32), u32>;

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

    /// The core module of a component with these hooks that has been instantiated, if it imports nothing but what `linker`
    /// has and exports each of the hooks under the name that the contract's version gives it.
    pub(super) fn new(
        store: &mut Store<Host>,
        instance: &Instance,
        export: &ComponentExportIndex,
        linker: &Linker<Host>,
        hooks: HookSet,
    ) -> Option<Self> {
        let module = instance.get_module(&mut *store, export)?;
        let pre = linker.instantiate_pre(&module).ok()?;
        let find = |name: &str| module.get_export_index(name);
        let called = |hook: &Hook| hooks.has(*hook) && *hook != Hook::SelfTest;
        let hooks = Hook::ALL.map(|hook| exported(&module, hook));
        if Hook::ALL.iter().filter(|hook| called(hook)).any(|hook| hooks[*hook as usize].is_none()) {
            return None;
        }
        let (realloc, initialize) = (find("cabi_realloc"), find("_initialize"));
        Some(Self { pre, memory: find("memory")?, realloc, initialize, hooks })
    }

    /// A new instance, which has not been configured. Its memory is noted in the store.
    pub(super) fn instantiate(&self, store: &mut Store<Host>) -> wasmtime::Result<Functions> {
        let instance = self.pre.instantiate(&mut *store)?;
        let memory = instance.get_module_export(&mut *store, &self.memory).and_then(wasmtime::Extern::into_memory);
        let memory = memory.ok_or_else(|| wasmtime::Error::msg("its `memory` is not one"))?;
        store.data_mut().guest_memory = Some(memory);
        store.data_mut().realloc = functions::find(store, &instance, self.realloc.as_ref())?;
        let initialize: Option<TypedFunc<(), ()>> = functions::find(store, &instance, self.initialize.as_ref())?;
        if let Some(initialize) = initialize {
            initialize.call(&mut *store, ())?;
        }
        Functions::find(store, &instance, self)
    }
}

fn exported(module: &Module, hook: Hook) -> Option<(ModuleExport, Option<ModuleExport>)> {
    let name = format!("{}#{}", interface(hook.interface()), hook.name());
    let function = module.get_export_index(&name)?;
    Some((function, module.get_export_index(&format!("cabi_post_{name}"))))
}
