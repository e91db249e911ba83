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
