//! The words in which the end-to-end scenes are told: a `proxy`, its `backend`s and its `client`s, all on real sockets.
//!
//! The proxy is the real binary in a process of its own. Ports are chosen by the system, files live in a folder that goes
//! with the scene, and every wait ends (`wait::LONG`), so a scene that hangs fails and says where.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a scene that fails is what this crate is for")]

pub mod proxy;
pub mod binary;
pub mod output;
pub mod backend;
pub mod registry;
pub mod script;
pub mod client;
pub mod raw;
pub mod frames;
pub mod stub;
pub mod corpus;
pub mod oracle;
pub mod load;
pub mod grpc;
pub mod websocket;
pub mod command;
pub mod tls;
pub mod body;
pub mod wait;

pub use backend::{Backend, Ledger, backend, nowhere};
pub use body::{Body, Upload, empty, full, upload};
pub use client::{Answer, Client, client, get};
pub use command::{curl, installed, run, run_for};
pub use load::load;
pub use proxy::{Proxy, ProxyBuilder, proxy, proxy_to};
pub use raw::{Raw, raw};
pub use registry::{IDENTITY, Registry, Shelf, registry, registry_with};
pub use script::{Step, script};
pub use tls::Certificates;
pub use wait::{Gate, eventually, within};
