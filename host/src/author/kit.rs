//! What a project is given: the contract, the SDK of its language and the files that it starts with. All of it is in the
//! binary, so that a project can be begun, and is whole, wherever `lockgate` runs.

use super::Language;

/// Paths and what is in them.
pub(super) type Files = &'static [(&'static str, &'static str)];

macro_rules! files {
    ($root:literal: $($path:literal),+ $(,)?) => {
        &[$(($path, include_str!(concat!("../../../", $root, "/", $path)))),+]
    };
}

/// The contract.
pub(super) const WIT: Files = files!("wit": "hooks.wit", "imports.wit", "outbound.wit", "types.wit", "world.wit");

/// The files of an SDK, and the folder within the kit that they belong into.
pub(super) fn sdk(language: Language) -> (&'static str, Files) {
    match language {
        Language::Rust => ("sdk/rust", RUST),
        Language::Js | Language::Ts => ("sdk/js", JS),
        Language::C => ("sdk/c", C),
        Language::Go => ("sdk/go", GO),
        Language::Python => ("sdk/python", PYTHON),
    }
}

/// The files that a project starts with. Those of a hook are in `hooks`, a section each.
pub(super) fn template(language: Language) -> Files {
    match language {
        Language::Rust => RUST_TEMPLATE,
        Language::Js => JS_TEMPLATE,
        Language::Ts => TS_TEMPLATE,
        Language::C => C_TEMPLATE,
        Language::Go => GO_TEMPLATE,
        Language::Python => PYTHON_TEMPLATE,
    }
}

const RUST: Files = files!("plugins/sdk":
    "src/bindings.rs", "src/http_client.rs", "src/json.rs", "src/json/tests.rs", "src/lib.rs", "src/log.rs", "src/panic.rs", "src/plugin.rs",
    "src/testing.rs", "src/testing/imports.rs", "src/testing/outbound.rs", "wit/hooks.wit",
);

const RUST_TEMPLATE: Files = files!("plugins/templates/rust":
    "Cargo.toml", "README.md", "cargo-config.toml", "gitignore", "hooks", "lockgate.toml", "lockgate/sdk/rust/Cargo.toml", "plugin.toml",
    "src/lib.rs",
);

const C: Files = files!("sdk/c": "include/stdlib.h", "include/string.h", "lockgate-plugin.h", "runtime.c");

const C_TEMPLATE: Files = files!("plugins/templates/c":
    "README.md", "compile_flags.txt", "gitignore", "hooks", "lockgate.toml", "plugin.c", "plugin.toml",
);

const GO: Files = files!("sdk/go":
    "exchange.go", "export/export.go", "go.mod", "hosttest/hosttest.go",
    "internal/config/config.go", "internal/config/parser.go", "internal/config/config_test.go", "internal/host/fake.go", "internal/host/types.go",
    "internal/host/wasm.go", "lockgate.go", "message.go", "services.go", "wit/runtime/runtime.go", "wit/types/types.go",
);

const GO_TEMPLATE: Files = files!("plugins/templates/go":
    "README.md", "gitignore", "go.mod", "hooks", "lockgate.toml", "plugin.go", "plugin.toml", "plugin_test.go",
);

const PYTHON: Files = files!("sdk/python":
    "lockgate/__init__.py", "lockgate/_checks.py", "lockgate/_fake/__init__.py", "lockgate/_fake/_fields.py",
    "lockgate/_fake/backends.py", "lockgate/_fake/clock.py", "lockgate/_fake/counters.py",
    "lockgate/_fake/exchange.py", "lockgate/_fake/http_client.py", "lockgate/_fake/kv.py", "lockgate/_fake/log.py",
    "lockgate/_fake/metrics.py", "lockgate/_fake/random.py", "lockgate/_fake/request.py", "lockgate/_fake/response.py",
    "lockgate/_fake/trailers.py", "lockgate/_hooks.py",
    "lockgate/_host.py", "lockgate/_message.py", "lockgate/_plugin.py", "lockgate/_types.py", "lockgate/backends.py",
    "lockgate/check.py", "lockgate/clock.py", "lockgate/counters.py", "lockgate/exchange.py", "lockgate/glue.py",
    "lockgate/http.py", "lockgate/kv.py", "lockgate/log.py", "lockgate/metrics.py", "lockgate/random.py",
    "lockgate/request.py", "lockgate/response.py", "lockgate/testing.py", "lockgate/trailers.py",
);

const PYTHON_TEMPLATE: Files = files!("plugins/templates/python":
    "README.md", "gitignore", "hooks", "lockgate.toml", "plugin.py", "plugin.toml", "pyrightconfig.json", "requirements.txt",
    "test_plugin.py",
);

const JS: Files = files!("sdk/js":
    "backends.js", "checks.js", "clock.js", "counters.js", "errors.js", "exchange.js", "fake/backends.js", "fake/clock.js",
    "fake/counters.js", "fake/exchange.js", "fake/http-client.js", "fake/kv.js", "fake/log.js", "fake/metrics.js",
    "fake/random.js", "fake/request.js", "fake/response.js", "fake/trailers.js", "fetch.js", "fields.js", "glue.js",
    "index.d.ts", "index.js", "kv.js", "log.js", "metrics.js", "package.json", "random.js", "request.js",
    "response.js", "sources.js", "testing.d.ts", "testing.js", "text.js", "trailers.js", "verdicts.js",
);

const JS_TEMPLATE: Files = files!("plugins/templates/js":
    "README.md", "gitignore", "hooks", "lockgate.toml", "package.json", "plugin.js", "plugin.test.js", "plugin.toml",
);

const TS_TEMPLATE: Files = files!("plugins/templates/ts":
    "README.md", "gitignore", "hooks", "lockgate.toml", "package.json", "plugin.test.js", "plugin.toml", "plugin.ts",
    "tsconfig.json",
);

/// What a project's scenarios begin with, in any language. Those of a hook are in `hooks`.
pub(super) const SCENARIOS: Files = files!("plugins/templates/scenarios": "hooks", "scenario.toml");

/// The versions of all that Rust plugins are made of.
pub(super) const RUST_LOCK: &str = include_str!("../../../plugins/Cargo.lock");

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn nothing_is_forgotten() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for (folder, files) in [
            ("wit", WIT),
            ("plugins/sdk", RUST),
            ("plugins/templates/rust", RUST_TEMPLATE),
            ("sdk/c", C),
            ("plugins/templates/c", C_TEMPLATE),
            ("sdk/go", GO),
            ("sdk/python", PYTHON),
            ("plugins/templates/python", PYTHON_TEMPLATE),
            ("plugins/templates/go", GO_TEMPLATE),
            ("sdk/js", JS),
            ("plugins/templates/js", JS_TEMPLATE),
            ("plugins/templates/ts", TS_TEMPLATE),
            ("plugins/templates/scenarios", SCENARIOS),
        ] {
            let mut there = BTreeSet::new();
            list(&root.join(folder), "", &mut there);
            there.remove(if folder == "plugins/sdk" { "Cargo.toml" } else { "" });
            let given: BTreeSet<_> = files.iter().map(|(path, _)| (*path).to_owned()).collect();
            assert_eq!(given, there, "{folder}");
        }
    }

    fn list(folder: &Path, within: &str, files: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let name = format!("{within}{}", entry.file_name().into_string().unwrap());
            if ["node_modules", "__pycache__", "target"].iter().any(|made| name.ends_with(made)) {
                continue;
            }
            match entry.path().is_dir() {
                true => list(&entry.path(), &format!("{name}/"), files),
                false => assert!(files.insert(name)),
            }
        }
    }
}
