//! The host's log. Functions write a text as it is; macros of the same names build one, with fields before it if there are
//! any, and only if a line of that level would be written:
//!
//! ```
//! use lockgate_plugin::{log, testing};
//!
//! let (user, attempts) = ("alice", 3);
//! log::info("ready");
//! log::warn!(user = user, attempts = attempts, "not let in: {}", "too often");
//! # testing::host(|host| {
//! #     let lines: Vec<_> = host.log.iter().map(|(_, line)| line.as_str()).collect();
//! #     assert_eq!(lines, ["ready", "not let in: too often user=alice attempts=3"]);
//! #     host.log_enabled = false;
//! # });
//! # log::debug!("{}", unreachable!("nobody wants to read it") as u8);
//! ```

use std::fmt::{Arguments, Display, Write as _};

#[cfg(target_family = "wasm")]
pub use crate::bindings::lockgate::plugin::log::{Level, enabled, log};
#[cfg(not(target_family = "wasm"))]
pub use crate::testing::imports::log::{Level, enabled, log};
pub use crate::{log_debug as debug, log_error as error, log_info as info, log_warn as warn};

/// Something is broken, and somebody must know.
pub fn error(message: &str) {
    log(Level::Error, message);
}

/// Something is odd.
pub fn warn(message: &str) {
    log(Level::Warn, message);
}

/// Something worth a line.
pub fn info(message: &str) {
    log(Level::Info, message);
}

/// Something for whoever looks for a mistake.
pub fn debug(message: &str) {
    log(Level::Debug, message);
}

/// Writes a line with fields behind its text. Part of what the macros write.
#[doc(hidden)]
pub fn line(level: Level, message: Arguments<'_>, fields: &[(&str, &dyn Display)]) {
    let mut line = String::new();
    let mut written = line.write_fmt(message);
    for (key, value) in fields {
        written = written.and_then(|()| write!(line, " {key}={value}"));
    }
    // What cannot be shown is cut there.
    let _ = written;
    log(level, &line);
}

/// What the macros have in common.
#[doc(hidden)]
#[macro_export]
macro_rules! log_line {
    ($level:ident, $($key:ident = $value:expr,)* $format:literal $($arguments:tt)*) => {
        if $crate::log::enabled($crate::log::Level::$level) {
            $crate::log::line(
                $crate::log::Level::$level,
                ::core::format_args!($format $($arguments)*),
                &[$((::core::stringify!($key), &$value as &dyn ::core::fmt::Display)),*],
            );
        }
    };
}

/// Something is broken, and somebody must know: `log::error!(key = value, "text {}", more)`.
#[doc(hidden)]
#[macro_export]
macro_rules! log_error {
    ($($line:tt)+) => { $crate::log_line!(Error, $($line)+) };
}

/// Something is odd.
#[doc(hidden)]
#[macro_export]
macro_rules! log_warn {
    ($($line:tt)+) => { $crate::log_line!(Warn, $($line)+) };
}

/// Something worth a line.
#[doc(hidden)]
#[macro_export]
macro_rules! log_info {
    ($($line:tt)+) => { $crate::log_line!(Info, $($line)+) };
}

/// Something for whoever looks for a mistake.
#[doc(hidden)]
#[macro_export]
macro_rules! log_debug {
    ($($line:tt)+) => { $crate::log_line!(Debug, $($line)+) };
}
