//! The plugins that are built in. They have no privilege: a file can replace each.

/// Names and components. They are made of `plugins/bundled/`; a test holds that they are what those sources make.
pub(super) const ALL: &[(&str, &[u8])] = &[
    ("https-enforcer", include_bytes!("../../../plugins/dist/https-enforcer.wasm")),
    ("profiler", include_bytes!("../../../plugins/dist/profiler.wasm")),
    ("round-robin", include_bytes!("../../../plugins/dist/round-robin.wasm")),
];
