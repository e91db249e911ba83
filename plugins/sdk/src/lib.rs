//! For plugins of Lockgate, written in Rust.
//!
//! A plugin implements [`Plugin`] and the traits of its hooks, and names them in [`export!`]:
//!
//! ```
//! use lockgate_plugin::{Answer, NoConfig, OnRequest, Plugin, Verdict, request};
//!
//! struct Teapot;
//!
//! impl Plugin for Teapot {
//!     type Config = NoConfig;
//!
//!     fn new(_: NoConfig) -> Result<Self, String> {
//!         Ok(Self)
//!     }
//! }
//!
//! impl OnRequest for Teapot {
//!     fn on_request(&mut self) -> Verdict {
//!         if request::path() != "/coffee" {
//!             return Verdict::Proceed;
//!         }
//!         Verdict::Answer(Answer { status: 418, headers: vec![], body: b"I am a teapot\n".to_vec() })
//!     }
//! }
//!
//! lockgate_plugin::export!(Teapot: OnRequest);
//! ```
//!
//! What a hook can ask and do is in the modules [`request`], [`response`], [`trailers`], [`exchange`], [`backends`], [`log`], [`config`],
//! [`clock`], [`random`], [`counters`], [`metrics`], [`kv`] and [`http_client`]; `wit/` says what each function means. Compiled for the machine
//! itself, they ask a host that a unit test sets up: see [`testing`].

/// The standard library's own asks for more memory at the first allocation, which is the dearest part of making an instance.
#[cfg(all(target_family = "wasm", feature = "allocator"))]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

#[doc(hidden)]
pub mod bindings;
pub mod http_client;
mod json;
pub mod log;
mod panic;
mod plugin;
#[cfg(not(target_family = "wasm"))]
pub mod testing;

pub use bindings::lockgate::plugin::types::{
    Admission, Answer, Attempt, BodyAction, Certificate, Connection, EditError, End, Method, NextAttempt, Origin,
    Summary, Verdict,
};
#[cfg(target_family = "wasm")]
pub use bindings::lockgate::plugin::{
    backends, clock, config, counters, exchange, kv, metrics, random, request, response, trailers,
};
pub use plugin::{
    NoConfig, OnAttemptFailed, OnConnect, OnRequest, OnRequestBody, OnRequestComplete, OnResponse, OnResponseBody,
    OnResponseFinish, OnTick, PickBackend, Plugin, SelfTest, Slot, State, configured, is_among,
};
#[cfg(not(target_family = "wasm"))]
pub use testing::imports::{backends, clock, config, counters, exchange, metrics, random, request, response, trailers};
#[cfg(not(target_family = "wasm"))]
pub use testing::outbound::kv;
