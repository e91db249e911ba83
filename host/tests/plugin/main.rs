//! Plugins by themselves: real guests, real instances, no sockets.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod adversaries;
mod calls;
mod contract;
mod limits;
mod loading;
mod picking;
mod pools;
mod scene;
