//! Components that no tool chain makes: core modules by hand, each after the host in one way. What can be seen at load is
//! refused there; what cannot ends its own exchange.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use lockgate::config::Plugin;
use lockgate::plugin::{Cause, Hook, PluginUse, UseError};
use serde_json::Value;

use crate::contract::{component_of, refused};
use crate::scene::{exchange, failure, file, load, on_a_worker, summary};

/// A module whose `on-request` does `body` and goes on.
fn module(declarations: &str, body: &str) -> Vec<u8> {
    module_with(declarations, "(memory (export \"memory\") 1)", body)
}

fn module_with(declarations: &str, memory: &str, body: &str) -> Vec<u8> {
    let text = format!(
        "(module {declarations} {memory}
           (func (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32) i32.const 4096)
           (func (export \"lockgate:plugin/request-hook@0.1.0#on-request\") (result i32) {body} i32.const 1024))"
    );
    wat::parse_str(text).unwrap()
}

fn world(imports: &[&str]) -> String {
    let imports: String = imports.iter().map(|name| format!("import lockgate:plugin/{name}@0.1.0; ")).collect();
    format!("world w {{ {imports} export lockgate:plugin/request-hook@0.1.0; }}")
}

fn component(imports: &[&str], module: &[u8]) -> Vec<u8> {
    component_of(&world(imports), module)
}

fn loaded(name: &str, component: &[u8], settings: impl FnOnce(&mut Plugin)) -> Result<Arc<PluginUse>, UseError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.wasm");
    fs::write(&path, component).unwrap();
    let mut plugin = file(&path);
    settings(&mut plugin);
    load(name, &plugin, Value::Null)
}

/// Why the only call of such a plugin failed.
fn cause(name: &str, component: &[u8], settings: impl FnOnce(&mut Plugin)) -> Cause {
    let plugin = loaded(name, component, settings).unwrap();
    on_a_worker(async |worker| {
        let mut run = worker.run(exchange(&[]), &[&plugin]);
        failure(run.on_request().await);
        run.finish(summary(), |_| {});
    });
    let failures = plugin.stats().failures;
    let [(Hook::OnRequest, cause, 1)] = failures[..] else { panic!("{failures:?}") };
    assert_eq!(plugin.stats().instances, 0, "it is not used again");
    cause
}

#[test]
fn a_start_function_that_never_returns_is_refused() {
    let module = module("(func $spin (loop br 0)) (start $spin)", "");
    let told = refused(&component(&[], &module));
    assert!(told.starts_with("plugin \"x\" does not start: the call computed for longer than limits.cpu"), "{told}");
}

#[test]
fn a_start_function_that_traps_is_refused() {
    let told = refused(&component(&[], &module("(func $trap unreachable) (start $trap)", "")));
    assert!(told.starts_with("plugin \"x\" does not start: wasm trap: "), "{told}");
}

#[test]
fn a_bomb_of_tables_is_a_failure_that_says_so() {
    let grow = "(loop (br_if 0 (i32.ne (table.grow (ref.null func) (i32.const 1000)) (i32.const -1)))) unreachable";
    let bomb = component(&[], &module("(table 1 funcref)", grow));
    let limits = |plugin: &mut Plugin| {
        plugin.limits.table = 5000;
        plugin.limits.cpu = Duration::from_millis(100);
    };
    assert_eq!(cause("tables", &bomb, limits), Cause::Table);
    let told = loaded("large", &component(&[], &module("(table 6000 funcref)", "")), limits).unwrap_err().to_string();
    assert!(told.contains("limits.table"), "{told}");
}

#[test]
fn more_memory_or_tables_than_there_can_be_are_refused_at_load() {
    let told = refused(&component(&[], &module_with("", "(memory (export \"memory\") 16385)", "")));
    assert!(told.contains("memory"), "{told}");
    let told = refused(&component(&[], &module_with("", "(memory (export \"memory\") 400)", "")));
    assert!(told.contains("limits.memory"), "{told}");
    let tables = "(table 1 funcref)".repeat(90);
    assert!(refused(&component(&[], &module(&tables, ""))).starts_with("plugin \"x\" "));
    let data = format!("(data (i32.const 0) \"{}\")", "x".repeat(1 << 20)).repeat(20);
    let told = refused(&component(&[], &module_with(&data, "(memory (export \"memory\") 8)", "")));
    assert!(told.starts_with("plugin \"x\" does not start: "), "data beyond the end of the memory: {told}");
}

/// 1000 modules, each with a memory, as a component that nobody's tool chain makes: written byte by byte.
#[test]
fn a_thousand_memories_are_refused_before_they_are_compiled() {
    let module = wat::parse_str("(module (memory 1))").unwrap();
    let section = [&[1, module.len() as u8][..], &module].concat();
    let told = refused(&[b"\0asm\x0d\0\x01\0".to_vec(), section.repeat(1000)].concat());
    assert_eq!(told, "plugin \"x\" has more than 100 modules in it");
}

/// Code of one module may see the memories of others, as that which joins the parts of a component must; none has two of its
/// own, and all of them together are what the limit is for.
#[test]
fn several_memories_count_as_one() {
    let told = refused(&component(&[], &module_with("", "(memory (export \"memory\") 1) (memory 1)", "")));
    assert!(told.contains("memories count of 2 exceeds the per-instance limit of 1"), "{told}");
    let memory = wat::parse_str("(module (memory 200))").unwrap();
    let section = [&[1, memory.len() as u8][..], &memory].concat();
    let one = [component(&[], &module("", "")), section].concat();
    // A section with an instance of the second module.
    let instance = [2, 4, 1, 0, 1, 0];
    let with = |instances: usize| loaded("memories", &[one.clone(), instance.repeat(instances)].concat(), |_| {});
    with(1).unwrap();
    let told = with(2).unwrap_err().to_string();
    assert!(told.contains("limits.memory"), "25 MiB in all: {told}");
}

#[test]
fn a_loop_of_calls_of_the_host_is_a_failure_that_says_so() {
    let now = "(import \"lockgate:plugin/clock@0.1.0\" \"now\" (func $now (result i64)))";
    let bomb = component(&["clock"], &module(now, "(loop (drop (call $now)) (br 0))"));
    let limits = |plugin: &mut Plugin| {
        plugin.limits.host_calls = 1000;
        plugin.limits.cpu = Duration::from_secs(5);
    };
    assert_eq!(cause("host-calls-by-hand", &bomb, limits), Cause::HostCalls);
}

#[test]
fn pointers_that_lead_nowhere_are_traps() {
    let get = "(import \"lockgate:plugin/counters@0.1.0\" \"get\" (func $get (param i32 i32) (result i64)))";
    // Address and length: beyond the memory, around the end of the address space, no UTF-8.
    for (number, (address, length)) in [(65_535, 2), (-1, -1), (8, 1)].into_iter().enumerate() {
        let declarations = format!("{get} (data (i32.const 8) \"\\ff\")");
        let body = format!("(drop (call $get (i32.const {address}) (i32.const {length})))");
        let bomb = component(&["counters"], &module(&declarations, &body));
        assert_eq!(cause(&format!("pointer-{number}"), &bomb, |_| {}), Cause::Trap, "{address}, {length}");
    }
    let log = "(import \"lockgate:plugin/log@0.1.0\" \"log\" (func $log (param i32 i32 i32)))";
    let bomb = component(&["log"], &module(log, "(call $log (i32.const 9) (i32.const 0) (i32.const 0))"));
    assert_eq!(cause("no-such-level", &bomb, |_| {}), Cause::Trap);
    let nowhere = component(&[], &module("", "i32.const 65535 return"));
    assert_eq!(cause("answer-nowhere", &nowhere, |_| {}), Cause::Trap);
}

#[test]
fn an_allocator_that_lies_ends_its_own_exchange() {
    let text = "(module (import \"lockgate:plugin/request@0.1.0\" \"method\" (func $method (param i32)))
        (memory (export \"memory\") 1)
        (func (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32) i32.const -8)
        (func (export \"lockgate:plugin/request-hook@0.1.0#on-request\") (result i32)
          (call $method (i32.const 2048)) i32.const 1024))";
    let bomb = component(&["request"], &wat::parse_str(text).unwrap());
    assert_eq!(cause("allocator", &bomb, |_| {}), Cause::Trap);
    let spins = text.replace("i32.const -8)", "(loop br 0) i32.const 0)");
    let bomb = component(&["request"], &wat::parse_str(spins).unwrap());
    for cpu in [1, 20] {
        let name = format!("allocator-spins-{cpu}");
        assert_eq!(cause(&name, &bomb, |plugin| plugin.limits.cpu = Duration::from_millis(cpu)), Cause::Cpu);
    }
}

/// Whichever way it is called: by the runtime of components, on a stack of its own, or directly.
#[test]
fn an_allocator_or_an_epilogue_that_calls_the_host_ends_its_own_exchange() {
    let text = "(module (import \"lockgate:plugin/request@0.1.0\" \"method\" (func $method (param i32)))
        (import \"lockgate:plugin/clock@0.1.0\" \"now\" (func $now (result i64)))
        (memory (export \"memory\") 1)
        (func (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32) REALLOC i32.const 4096)
        (func (export \"cabi_post_lockgate:plugin/request-hook@0.1.0#on-request\") (param i32) POST)
        (func (export \"lockgate:plugin/request-hook@0.1.0#on-request\") (result i32)
          (call $method (i32.const 2048)) i32.const 1024))";
    for (number, (realloc, post)) in [("(drop (call $now))", ""), ("", "(drop (call $now))")].into_iter().enumerate() {
        let text = text.replace("REALLOC", realloc).replace("POST", post);
        let bomb = component(&["request", "clock"], &wat::parse_str(text).unwrap());
        for cpu in [1, 20] {
            let name = format!("secluded-{number}-{cpu}");
            assert_eq!(cause(&name, &bomb, |plugin| plugin.limits.cpu = Duration::from_millis(cpu)), Cause::Trap);
        }
    }
}

/// The canonical ABI has each value at a multiple of its alignment.
#[test]
fn values_that_are_not_aligned_are_traps() {
    for address in [1, 2, 3] {
        let body = format!("i32.const {} return", 1024 + address);
        let bomb = component(&[], &module("", &body));
        for cpu in [1, 20] {
            let name = format!("unaligned-{address}-{cpu}");
            assert_eq!(cause(&name, &bomb, |plugin| plugin.limits.cpu = Duration::from_millis(cpu)), Cause::Trap);
        }
    }
}

#[test]
fn deep_recursion_is_a_trap_and_no_more() {
    let bomb = component(&[], &module("(func $deep (call $deep))", "call $deep"));
    for cpu in [1, 50] {
        let name = format!("deep-{cpu}");
        assert_eq!(cause(&name, &bomb, |plugin| plugin.limits.cpu = Duration::from_millis(cpu)), Cause::Trap);
    }
}

#[test]
fn what_would_take_too_long_to_compile_is_refused_unread() {
    let locals = "(local i64)".repeat(20_001);
    let told = refused(&component(&[], &module(&format!("(func {locals})"), "")));
    assert!(told.contains("20001 locals, which takes too long to compile"), "{told}");
    let long = "i32.const 1 drop ".repeat(800_000);
    let told = refused(&component(&[], &module(&format!("(func {long})"), "")));
    assert_eq!(told, "plugin \"x\" has a function of more than 2048 KiB");
    let both = format!("(func {} {})", "(local i64)".repeat(10_000), "i32.const 1 drop ".repeat(100_000));
    assert!(refused(&component(&[], &module(&both, ""))).contains("10000 locals"));
    let many = "(func)".repeat(200_001);
    assert_eq!(refused(&component(&[], &module(&many, ""))), "plugin \"x\" has more than 200000 functions");
}

#[test]
fn what_takes_too_long_to_compile_is_not_waited_for() {
    // One function of 90 KB, in which every value lives to the end.
    let long = format!("(func (result i32) {} {})", "i32.const 1 ".repeat(30_000), "i32.add ".repeat(29_999));
    let bomb = component(&[], &module(&long, ""));
    let told =
        loaded("slow", &bomb, |plugin| plugin.limits.compile = Duration::from_millis(1)).unwrap_err().to_string();
    assert_eq!(told, "plugin \"slow\" takes longer than 1ms to compile (limits.compile)");
    // It is not remembered as something bad: given its time, it is fine.
    let began = std::time::Instant::now();
    while loaded("slow", &bomb, |_| {}).is_err() {
        assert!(began.elapsed() < Duration::from_secs(60));
        std::thread::yield_now();
    }
}
