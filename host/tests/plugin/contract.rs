//! The contract in `wit/` and the host: components that are made of nothing but WIT, each of whose functions traps.

use std::fs;
use std::path::Path;

use serde_json::Value;
use wit_parser::{LiftLowerAbi, ManglingAndAbi, Resolve, WorldId};

use crate::scene::{file, load, located, on_a_worker, proceeded};

#[test]
fn the_host_offers_every_import_and_knows_every_hook_of_the_contract() {
    // It imports and exports all there is, so what fails is its first call and no sooner.
    let told = refused(&with_contract("world all { include lockgate:plugin/plugin@0.1.0; }"));
    assert_eq!(told, "plugin \"x\" does not start: wasm trap: wasm `unreachable` instruction executed");
}

#[test]
fn wasi_of_another_version_is_refused_with_advice() {
    let wasi = "package wasi:cli@0.3.0; interface environment { initial-cwd: func() -> u32; }";
    let world = "world w { import wasi:cli/environment@0.3.0; export lockgate:plugin/request-hook@0.1.0; }";
    let told = refused(&component(&[&contract(), &[wasi.to_owned()][..]].concat(), world, SYNC));
    assert_eq!(
        told,
        "plugin \"x\" imports `wasi:cli/environment@0.3.0`, and this host offers WASI 0.2: build it for that, with `--sync` \
         or the like"
    );
}

#[test]
fn what_wasi_has_beyond_its_command_line_world_is_not_offered() {
    let wasi = "package wasi:http@0.2.6; interface outgoing-handler { handle: func() -> u32; }";
    let world = "world w { import wasi:http/outgoing-handler@0.2.6; export lockgate:plugin/request-hook@0.1.0; }";
    let told = refused(&component(&[&contract(), &[wasi.to_owned()][..]].concat(), world, SYNC));
    assert!(told.starts_with("plugin \"x\" imports something that this host does not offer"), "{told}");
    assert!(told.contains("wasi:http/outgoing-handler"), "{told}");
}

#[test]
fn foreign_imports_are_named() {
    let foreign = "package a:b@1.0.0; interface c { d: func(); }".to_owned();
    let world = "world w { import a:b/c@1.0.0; export lockgate:plugin/request-hook@0.1.0; }";
    let told = refused(&component(&[&contract(), &[foreign][..]].concat(), world, SYNC));
    assert_eq!(told, "plugin \"x\" imports `a:b/c@1.0.0`, which this host does not offer");
}

#[test]
fn imports_of_another_version_are_refused() {
    let other = "package lockgate:plugin@0.2.0; interface clock { now: func() -> u64; }".to_owned();
    let world = "world w { import lockgate:plugin/clock@0.2.0; export lockgate:plugin/request-hook@0.1.0; }";
    let told = refused(&component(&[&contract(), &[other][..]].concat(), world, SYNC));
    assert_eq!(told, "plugin \"x\" needs hooks 0.2.0, this host offers 0.1 (it imports `lockgate:plugin/clock@0.2.0`)");
}

#[test]
fn hooks_of_a_later_patch_are_called() {
    let texts: Vec<_> = contract().iter().map(|text| text.replace("0.1.0", "0.1.7")).collect();
    let (resolve, world) = resolve(&texts, "world w { export lockgate:plugin/request-hook@0.1.7; }");
    let module = "(module (memory (export \"memory\") 1)
        (func (export \"lockgate:plugin/request-hook@0.1.7#on-request\") (result i32) i32.const 1024))";
    let component = xtask::component::of_module(&resolve, world, wat::parse_str(module).unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.wasm");
    fs::write(&path, component).unwrap();
    let plugin = load("later-patch", &file(&path), Value::Null).unwrap();
    on_a_worker(async |worker| proceeded(worker.exchange(&plugin, "x-none").await));
}

#[test]
fn the_asynchronous_abi_is_refused_with_advice() {
    let world = "world w { export lockgate:plugin/request-hook@0.1.0; }";
    let told = refused(&component(&contract(), world, ManglingAndAbi::Legacy(LiftLowerAbi::AsyncCallback)));
    assert!(told.starts_with("plugin \"x\" uses the asynchronous component ABI"), "{told}");
    assert!(told.contains("`--sync`"), "{told}");
}

#[test]
fn a_hook_of_another_type_is_refused() {
    let other = "package lockgate:plugin@0.1.0; interface request-hook { on-request: func() -> u32; }".to_owned();
    let told = refused(&component(&[other], "world w { export lockgate:plugin/request-hook@0.1.0; }", SYNC));
    assert!(
        told.starts_with("plugin \"x\" does not start: `on-request` has another type than the contract's"),
        "{told}"
    );
}

#[test]
fn a_hook_that_this_host_would_never_call_is_refused() {
    let later = "package lockgate:plugin@0.1.0; interface body-hook { on-body: func(); }".to_owned();
    let told = refused(&component(&[later], "world w { export lockgate:plugin/body-hook@0.1.0; }", SYNC));
    assert_eq!(
        told,
        "plugin \"x\" exports `lockgate:plugin/body-hook@0.1.0`, a hook that this host (hooks 0.1) does not know"
    );
}

#[test]
fn foreign_exports_do_no_harm() {
    let told = refused(&with_contract("world w { export lockgate:plugin/lifecycle@0.1.0; export init: func(); }"));
    assert!(told.starts_with("plugin \"x\" exports no hook"), "{told}");
    let told = refused(&with_contract(
        "world w { include lockgate:plugin/plugin@0.1.0; export init: func(); export more: interface { f: func(); } }",
    ));
    assert!(told.starts_with("plugin \"x\" does not start: "), "{told}");
}

fn with_contract(world: &str) -> Vec<u8> {
    component(&contract(), world, SYNC)
}

/// The files of the contract, as one text each.
fn contract() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let texts: Vec<_> = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    // One file of a package names it, and comes first.
    let (head, rest): (Vec<_>, Vec<_>) = texts.into_iter().partition(|text| text.contains("package lockgate:plugin"));
    vec![[head, rest].concat().concat()]
}

/// A component of that core module, whose names are those of the world.
pub(crate) fn component_of(world: &str, module: &[u8]) -> Vec<u8> {
    let (resolve, world) = resolve(&contract(), world);
    xtask::component::of_module(&resolve, world, module.to_owned()).unwrap()
}

fn component(packages: &[String], world: &str, abi: ManglingAndAbi) -> Vec<u8> {
    let (resolve, world) = resolve(packages, world);
    xtask::component::of_world(&resolve, world, abi).unwrap()
}

fn resolve(packages: &[String], world: &str) -> (Resolve, WorldId) {
    let mut resolve = Resolve::default();
    for package in packages {
        resolve.push_str("package.wit", package).unwrap();
    }
    let package = resolve.push_str("test.wit", &format!("package test:test; {world}")).unwrap();
    let world = resolve.select_world(&[package], None).unwrap();
    (resolve, world)
}

/// What is said of a component that must be refused.
pub(crate) fn refused(component: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.wasm");
    fs::write(&path, component).unwrap();
    let mut plugin = file(&path);
    plugin.grants.kv = true;
    plugin.grants.http = vec![located("https://a.test".parse().unwrap())];
    load("x", &plugin, Value::Null).unwrap_err().to_string()
}

const SYNC: ManglingAndAbi = ManglingAndAbi::Legacy(LiftLowerAbi::Sync);
