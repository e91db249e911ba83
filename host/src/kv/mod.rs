//! The plugins' key spaces: in memory, or in Redis. What an operation does is the same in both.

mod memory;
mod redis;

pub use memory::{Space, Spaces, Usage};
pub use redis::{Connection, Connections, Server};

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// The key space of one plugin of one tenant.
#[derive(Clone)]
pub enum KeySpace {
    /// In this process.
    Memory(Arc<Space>),
    /// In Redis, with what all its keys begin with.
    Redis(Arc<Server>, Arc<str>),
}

impl std::fmt::Debug for KeySpace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Which one it is; what is in it is the plugin's.
        match self {
            Self::Memory(space) => f.debug_tuple("Memory").field(&Arc::as_ptr(space)).finish(),
            Self::Redis(server, prefix) => f.debug_tuple("Redis").field(&Arc::as_ptr(server)).field(prefix).finish(),
        }
    }
}

/// Why an operation failed. Nothing was changed, unless the store became unavailable in the middle of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KvError {
    /// The key is empty or too long.
    #[error("the key has no bytes, or more than {LONGEST_KEY}")]
    InvalidKey,
    /// The value is too long.
    #[error("the value has more bytes than it may have")]
    TooLarge,
    /// What is there is not a number, or would leave its range.
    #[error("what is there is not a whole number, or would leave the range of 64 bits")]
    NotANumber,
    /// The store cannot be reached, does not answer in time, or has too much to do.
    #[error("{0}")]
    Unavailable(Cow<'static, str>),
}

impl KvError {
    /// As in metrics and the log.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::InvalidKey => "invalid_key",
            Self::TooLarge => "too_large",
            Self::NotANumber => "not_a_number",
            Self::Unavailable(_) => "unavailable",
        }
    }
}

/// Holds a key against the contract.
///
/// # Errors
/// [`KvError::InvalidKey`]
pub fn check_key(key: &str) -> Result<(), KvError> {
    if (1..=LONGEST_KEY).contains(&key.len()) { Ok(()) } else { Err(KvError::InvalidKey) }
}

/// Holds a value against the contract.
///
/// # Errors
/// [`KvError::TooLarge`]
pub fn check_value(value: &[u8]) -> Result<(), KvError> {
    if value.len() <= LONGEST_VALUE { Ok(()) } else { Err(KvError::TooLarge) }
}

/// A time to live, from a plugin's milliseconds: never 0, and not so long that a date could overflow.
#[must_use]
pub fn time_to_live(millis: u64) -> Duration {
    Duration::from_millis(millis.clamp(1, LONGEST_LIFE_MILLIS))
}

/// Bytes of a key.
const LONGEST_KEY: usize = 512;

/// Bytes of a value.
const LONGEST_VALUE: usize = 256 << 10;

/// A hundred years.
const LONGEST_LIFE_MILLIS: u64 = 100 * 365 * 24 * 3600 * 1000;
