//! What a panic says, on its way to the log of the host.

/// Has a panic tell the host's log what went wrong and where, before it traps.
pub(crate) fn tell_the_host() {
    #[cfg(target_family = "wasm")]
    std::panic::set_hook(Box::new(|panic| crate::log::error(&panic.to_string())));
}
