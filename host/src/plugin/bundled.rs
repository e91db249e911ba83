//! The plugins that are built in. They have no privilege: a file can replace each.

/// Names and components.
pub(super) const ALL: &[(&str, &[u8])] = &[("round-robin", include_bytes!("../../../plugins/dist/round-robin.wasm"))];
