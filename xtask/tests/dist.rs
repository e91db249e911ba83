//! `plugins/dist/` holds what the sources in `plugins/` make.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fs;
use std::path::Path;

use xtask::dist::{self, MadeOf};
use xtask::guests;

#[test]
fn what_is_embedded_is_what_the_sources_make() {
    let (noted, now) = (MadeOf::noted().unwrap(), MadeOf::now().unwrap());
    assert_eq!(noted.sources, now.sources, "the sources of plugins/dist have changed: run `cargo xtask dist`");
    if noted.compiler != now.compiler {
        println!("not compared byte by byte: plugins/dist was made by {}, this is {}", noted.compiler, now.compiler);
        return;
    }
    for name in dist::BUNDLED {
        let fresh = fs::read(guests::component(name)).unwrap();
        let embedded = fs::read(dist::folder().unwrap().join(format!("{name}.wasm"))).unwrap();
        assert!(fresh == embedded, "plugins/dist/{name}.wasm is not what its sources make: run `cargo xtask dist`");
    }
}

#[test]
fn a_guest_exports_its_own_hooks_and_imports_what_it_calls() {
    let interfaces = |name: &str| {
        let decoded = wit_component::decode(&fs::read(guests::component(name)).unwrap()).unwrap();
        let (_, world) = decoded.resolve().worlds.iter().next().unwrap();
        let named = |items: Vec<_>| {
            let name =
                |key| decoded.resolve().name_world_key(key).replace("lockgate:plugin/", "").replace("@0.1.0", "");
            let mut names: Vec<_> = items.into_iter().map(name).collect();
            names.sort();
            names.join(" ")
        };
        (named(world.exports.keys().collect()), named(world.imports.keys().collect()))
    };
    for (name, exports, imports) in [
        ("round-robin", "lifecycle pick-backend-hook", "counters log"),
        ("profiler", "lifecycle response-finish-hook", "exchange log metrics request types"),
        ("https-enforcer", "lifecycle request-hook", "exchange log request response types"),
        ("bare", "request-hook", "types"),
    ] {
        assert_eq!(interfaces(name), (exports.to_owned(), imports.to_owned()), "{name}");
    }
}

#[test]
#[ignore = "builds everything anew, which takes a minute"]
fn a_copy_elsewhere_makes_the_same_bytes() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let elsewhere = std::env::temp_dir().join(format!("lockgate-guests-{}", std::process::id()));
    for folder in ["plugins", "wit"] {
        copy(&repository.join(folder), &elsewhere.join("elsewhere").join(folder));
    }
    let plugins = elsewhere.join("elsewhere/plugins");
    let copies = guests::build_in(&plugins, &elsewhere.join("target"), &dist::BUNDLED).unwrap();
    for name in dist::BUNDLED {
        let same = fs::read(&copies[name]).unwrap() == fs::read(guests::component(name)).unwrap();
        assert!(same, "{name} depends on the folder that it is built in");
    }
    fs::remove_dir_all(&elsewhere).unwrap();
}

/// Copies a folder of sources, without what was built from them.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap).filter(|entry| entry.file_name() != "target") {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(from, to).unwrap();
        }
    }
}
