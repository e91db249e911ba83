//! A compiled component: what it imports and exports, checked against what this host offers.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use lockgate_component_cache::ComponentCache;
use sha2::{Digest, Sha256};
use wasmtime::component::{Component, ComponentExportIndex, Instance, InstancePre};
use wasmtime::{Engine, Store};

use super::compiler;
use super::direct::{Direct, Imports, reveal_core_module};
use super::grants::Grants;
use super::host::Host;
use super::imports::{INTERFACES, Linkers};
use super::stats::{Hook, HookSet};

/// A component that is ready to be instantiated, with the hooks that it exports.
pub(super) struct Compiled {
    /// The SHA-256 of its bytes.
    pub(super) digest: [u8; 32],
    pub(super) pre: InstancePre<Host>,
    pub(super) hooks: Hooks,
    /// Whether it can look at the response that was sent.
    pub(super) reads_response: bool,
    /// What it must be granted.
    pub(super) needs: Grants,
    /// Whether one of its imports can wait, so that it needs a stack of its own.
    pub(super) waits: bool,
    /// Whether it imports WASI.
    pub(super) wasi: bool,
    /// Where its core module is exported, and what that can import, if it can be called directly.
    core_module: Option<(ComponentExportIndex, Arc<Imports>)>,
    direct: OnceLock<Option<Direct>>,
}

/// Where a component exports its hooks.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Hooks {
    places: [Option<ComponentExportIndex>; Hook::COUNT],
    /// Those that have a place.
    pub(super) set: HookSet,
}

impl Compiled {
    /// Compiles the component. The error is what is wrong with it, to be put after its name.
    pub(super) fn new(
        bytes: Vec<u8>,
        limit: Duration,
        digest: [u8; 32],
        (linkers, kv_waits): (&Linkers, bool),
        cache: Option<&ComponentCache>,
    ) -> Result<Self, String> {
        check_kind(&bytes)?;
        let engine = linkers.component.engine();
        let component = match cache.and_then(|cache| cache.load(engine, &cache_key(&digest))) {
            Some(known) => known,
            None => compile(bytes, limit, &digest, engine, cache)?,
        };
        check_imports(&component)?;
        let hooks = Hooks::of(&component)?;
        let sees_response = imports(&component, "response");
        let reads_response = sees_response && hooks.set.has_after(Hook::OnResponse);
        let needs = Grants::needed(interfaces(&component).iter().map(String::as_str));
        let wasi = component.component_type().imports(engine).any(|(name, _)| name.starts_with(WASI));
        let waits = needs.http || (needs.kv && kv_waits) || wasi;
        let pre = linkers
            .component
            .instantiate_pre(&component)
            .map_err(|error| format!("imports something that this host does not offer: {}", one_line(&error)))?;
        let simple = !wasi && hooks.names().iter().all(|hook| Direct::can_call(*hook));
        let core_module =
            Direct::export(&component).filter(|_| simple).map(|export| (export, Arc::clone(&linkers.direct)));
        Ok(Self { digest, pre, hooks, reads_response, needs, waits, wasi, core_module, direct: OnceLock::new() })
    }

    /// Its core module, if it can be called directly and that has been found out.
    #[inline]
    pub(super) fn direct(&self) -> Option<&Direct> {
        self.direct.get()?.as_ref()
    }

    /// Finds out whether its core module can be called directly, with the help of an instance.
    pub(super) fn find_direct(&self, store: &mut Store<Host>, made: &Instance) {
        let Some((export, imports)) = &self.core_module else { return };
        if self.direct.get().is_none() {
            // Should another thread have been faster, its answer is the same.
            let _ = self.direct.set(Direct::new(store, made, export, imports, self.hooks.set));
        }
    }

    /// The digest in hex.
    pub(super) fn digest_hex(&self) -> String {
        hex(&self.digest)
    }
}

impl Hooks {
    fn of(component: &Component) -> Result<Self, String> {
        let mut hooks = Self::default();
        let ty = component.component_type();
        for (name, _) in ty.exports(component.engine()) {
            let Some((interface, version)) = ours(name) else { continue };
            // A hook that is not called could be the one that keeps somebody out.
            let functions: Vec<_> = Hook::ALL.into_iter().filter(|hook| hook.interface() == interface).collect();
            if functions.is_empty() {
                return Err(format!("exports `{name}`, a hook that this host (hooks {OFFERED}) does not know"));
            }
            if !compatible(version) {
                return Err(format!("needs hooks {version}, this host offers {OFFERED} (it exports `{name}`)"));
            }
            let instance = component.get_export_index(None, name);
            for hook in functions {
                let index = instance.and_then(|instance| component.get_export_index(Some(&instance), hook.name()));
                let index = index.ok_or_else(|| format!("exports `{name}` without its function `{}`", hook.name()))?;
                hooks.places[hook as usize] = Some(index);
                hooks.set.insert(hook);
            }
        }
        if !hooks.names().iter().any(|hook| hook.is_a_purpose()) {
            return Err("exports no hook: there is nothing that it could be called for".into());
        }
        Ok(hooks)
    }

    /// The hooks that are there.
    pub(super) fn names(&self) -> Vec<Hook> {
        Hook::ALL.into_iter().filter(|hook| self.set.has(*hook)).collect()
    }

    /// Where that hook is exported.
    pub(super) fn index(&self, hook: Hook) -> Option<&ComponentExportIndex> {
        self.places[hook as usize].as_ref()
    }
}

/// The SHA-256 of a component's bytes.
pub(super) fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// What the compiled component is kept under: with its core module revealed it is another than without.
fn cache_key(digest: &[u8; 32]) -> [u8; 32] {
    Sha256::new().chain_update(digest).chain_update("core module revealed").finalize().into()
}

/// A digest as people write it.
pub(super) fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An error without the list of causes and the backtrace that wasmtime puts after it.
pub(super) fn one_line(error: &wasmtime::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if cause.starts_with("error while executing at wasm backtrace") {
            continue;
        }
        let cause = cause.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
        if line.is_empty() {
            line = cause;
        } else if !line.contains(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line
}

fn compile(
    bytes: Vec<u8>,
    limit: Duration,
    digest: &[u8; 32],
    engine: &Engine,
    cache: Option<&ComponentCache>,
) -> Result<Component, String> {
    compiler::examine(&bytes)?;
    let bytes = reveal_core_module(bytes);
    let component = compiler::compile(bytes, limit, engine)?.map_err(|error| invalid(&error))?;
    if let Some(Err(error)) = cache.map(|cache| cache.store(engine, &cache_key(digest), &component)) {
        tracing::warn!(%error, "cannot keep a compiled plugin: the next start will compile it again");
    }
    Ok(component)
}

pub(super) fn check_kind(bytes: &[u8]) -> Result<(), String> {
    match bytes {
        [0, b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => Ok(()),
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => Err(
            "is a core wasm module, not a component: make one of it with `lockgate plugin build` or `wasm-tools component new`"
                .into(),
        ),
        [0, b'a', b's', b'm', ..] => Err("is wasm of a version that this host does not know".into()),
        _ => Err("is not wasm".into()),
    }
}

fn invalid(error: &wasmtime::Error) -> String {
    not_valid(&one_line(error))
}

/// What to say of a component that is not valid.
pub(super) fn not_valid(error: &str) -> String {
    // Such components come from tool chains that make everything asynchronous unless they are told not to.
    if error.contains("component model async") {
        return format!(
            "uses the asynchronous component ABI, which this host does not offer: build it with `--sync` or the like ({error})"
        );
    }
    format!("is not a valid component: {error}")
}

fn check_imports(component: &Component) -> Result<(), String> {
    let ty = component.component_type();
    for (name, _) in ty.imports(component.engine()) {
        match ours(name) {
            Some((_, version)) if !compatible(version) => {
                return Err(format!("needs hooks {version}, this host offers {OFFERED} (it imports `{name}`)"));
            }
            Some((interface, _)) if INTERFACES.contains(&interface) => {}
            _ if name.starts_with(WASI) && is_wasi_2(name) => {}
            _ if name.starts_with(WASI) => {
                return Err(format!(
                    "imports `{name}`, and this host offers WASI 0.2: build it for that, with `--sync` or the like"
                ));
            }
            _ => return Err(format!("imports `{name}`, which this host does not offer")),
        }
    }
    Ok(())
}

fn imports(component: &Component, wanted: &str) -> bool {
    interfaces(component).iter().any(|interface| interface == wanted)
}

/// The interfaces of the contract that it imports.
fn interfaces(component: &Component) -> Vec<String> {
    let ty = component.component_type();
    let names = ty.imports(component.engine());
    names.filter_map(|(name, _)| ours(name).map(|(interface, _)| interface.to_owned())).collect()
}

/// Whether that is an interface of WASI 0.2.
pub(super) fn is_wasi_2(name: &str) -> bool {
    name.split_once('@').is_some_and(|(_, version)| version.starts_with("0.2."))
}

/// The interface and the version of a name in our package.
pub(super) fn ours(name: &str) -> Option<(&str, &str)> {
    let name = name.strip_prefix(PACKAGE)?;
    Some(name.split_once('@').unwrap_or((name, "without a version")))
}

/// The name of an interface of the contract, in the version that this host has.
pub(super) fn interface(name: &str) -> String {
    format!("{PACKAGE}{name}@{OFFERED}.0")
}

pub(super) fn compatible(version: &str) -> bool {
    version.strip_prefix(OFFERED).is_some_and(|rest| rest.starts_with('.'))
}

/// The versions of the contract that this host offers: additions do not change the second number.
pub(super) const OFFERED: &str = "0.1";

/// What names of the contract's interfaces begin with.
pub(super) const PACKAGE: &str = "lockgate:plugin/";

/// What names of WASI's packages begin with.
pub(super) const WASI: &str = "wasi:";
