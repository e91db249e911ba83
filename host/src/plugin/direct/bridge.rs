//! What stands between the host and a guest's core module: a core module of our own.
//!
//! Text that an import answers needs room in the guest's memory, and what a hook answers is to be freed when it has been read:
//! the guest has functions for both. To call them the host would have to enter the guest once more, in the middle of a call
//! or after it. That costs more than the call itself, and cannot be done at all on a stack that can be put aside. The bridge
//! calls them, from wasm to wasm. An import that wants room says how much; the bridge fetches it, says where it is, and goes
//! on until nothing is wanted any more.

use std::fmt::Write;

use wasmtime::{Engine, ExternType, FuncType, InstancePre, Module, ModuleExport, ValType};

use super::imports::Imports;
use super::{Call, Host};
use crate::plugin::stats::Hook;

/// A bridge that can be instantiated, and where it exports what.
pub(super) struct Bridge {
    pub(super) pre: InstancePre<Host>,
    /// What the guest's module imports, in its order.
    pub(super) imports: Vec<ModuleExport>,
    /// What the bridge calls of the guest: [`REALLOC`], and for each hook what [`slots`] says.
    pub(super) table: ModuleExport,
    /// The hooks that answer.
    pub(super) hooks: [Option<ModuleExport>; Hook::COUNT],
}

/// Where the table has what makes room.
pub(super) const REALLOC: u64 = 0;

/// Where the table has a hook, and what is called once its answer has been read.
pub(super) const fn slots(hook: Hook) -> (u64, u64) {
    (1 + 2 * hook as u64, 2 + 2 * hook as u64)
}

impl Bridge {
    /// The bridge to that module; none if it imports what cannot be had this way.
    pub(super) fn new(
        engine: &Engine,
        guest: &Module,
        imports: &Imports,
        calls: &[(Hook, Call)],
    ) -> wasmtime::Result<Option<Self>> {
        let Some(text) = text(guest, imports, calls) else { return Ok(None) };
        let binary = wat::parse_str(text).map_err(|error| wasmtime::Error::msg(error.to_string()))?;
        let module = Module::new(engine, binary)?;
        let Ok(pre) = imports.linker.instantiate_pre(&module) else { return Ok(None) };
        let export = |name: &str| module.get_export_index(name);
        let table = export("guest").ok_or_else(|| wasmtime::Error::msg("the bridge has no table"))?;
        let imports = (0..guest.imports().len()).map_while(|place| export(&place.to_string())).collect();
        Ok(Some(Self { pre, imports, table, hooks: Hook::ALL.map(|hook| export(hook.name())) }))
    }
}

/// The bridge as text.
fn text(guest: &Module, imports: &Imports, calls: &[(Hook, Call)]) -> Option<String> {
    if guest.imports().len() > MOST_IMPORTS {
        return None;
    }
    let mut head = String::from("(module\n");
    let mut body = format!("(table $guest (export \"guest\") {} funcref)\n", slots(Hook::ALL[Hook::COUNT - 1]).1 + 1);
    for (place, import) in guest.imports().enumerate() {
        let ExternType::Func(ty) = import.ty() else { return None };
        // A name that is not among these is not written here: it could be anything.
        let wants_room = imports.wants_room(import.module(), import.name())?;
        let (params, results) = signature(&ty)?;
        let given = if wants_room { "(result i64)" } else { &results };
        let (module, name) = (import.module(), import.name());
        writeln!(head, "(import \"{module}\" \"{name}\" (func $import{place} {params} {given}))").ok()?;
        if wants_room {
            let handed = handed(&ty);
            writeln!(body, "(func (export \"{place}\") {params} (call $fetch (call $import{place} {handed})))").ok()?;
        } else {
            writeln!(body, "(export \"{place}\" (func $import{place}))").ok()?;
        }
    }
    for (hook, call) in calls {
        body.push_str(&wrapped(*hook, call)?);
    }
    Some(format!("{head}{HOST}{body}{FETCH})"))
}

/// A hook that tells the host what it answers, and is then told that it may forget it.
fn wrapped(hook: Hook, call: &Call) -> Option<String> {
    let (params, results) = signature(&call.ty)?;
    let (at, done) = slots(hook);
    let (handed, name) = (handed(&call.ty), hook.name());
    let forget = if call.done.is_some() {
        format!("(call_indirect $guest (param i32) (local.get $answer) (i32.const {done}))")
    } else {
        String::new()
    };
    Some(format!(
        "(func (export \"{name}\") {params} (local $answer i32)
            (local.set $answer (call_indirect $guest {params} {results} {handed} (i32.const {at})))
            (call $answered (local.get $answer))
            {forget})\n"
    ))
}

/// What a function was given, handed on.
fn handed(ty: &FuncType) -> String {
    (0..ty.params().len()).map(|place| format!("(local.get {place})")).collect()
}

/// Parameters and results as text; none for what the canonical ABI does not have.
fn signature(ty: &FuncType) -> Option<(String, String)> {
    let list = |what: &str, types: &mut dyn Iterator<Item = ValType>| {
        let names = types.map(|ty| match ty {
            ValType::I32 => Some(" i32"),
            ValType::I64 => Some(" i64"),
            ValType::F32 => Some(" f32"),
            ValType::F64 => Some(" f64"),
            _ => None,
        });
        Some(format!("({what}{})", names.collect::<Option<String>>()?))
    };
    Some((list("param", &mut ty.params())?, list("result", &mut ty.results())?))
}

/// The host's own part in it, by [`super::imports`].
const HOST: &str = r#"
(import "bridge" "given" (func $given (param i32) (result i64)))
(import "bridge" "answered" (func $answered (param i32)))
"#;

/// Fetches room for as long as some is wanted, as [`super::rooms`] has it.
const FETCH: &str = r"
(func $fetch (param $wanted i64)
    (block $done (loop $more
        (br_if $done (i64.eqz (local.get $wanted)))
        (local.set $wanted (call $given (call_indirect $guest (param i32 i32 i32 i32) (result i32)
            (i32.const 0) (i32.const 0)
            (i32.and (i32.wrap_i64 (i64.shr_u (local.get $wanted) (i64.const 32))) (i32.const 0x7fffffff))
            (i32.wrap_i64 (local.get $wanted))
            (i32.const 0))))
        (br $more))))
";

/// Of a module that imports more than this most are the same, and who knows why.
const MOST_IMPORTS: usize = 256;
