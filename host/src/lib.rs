//! Lockgate, a reverse proxy and load balancer that people extend with WebAssembly plugins.
//!
//! The modules stand in the order in which a request walks through the house; each uses only those that are listed below
//! it. `host/tests/architecture.rs` holds this.

pub mod cli;
pub mod author;
pub mod demo;
pub mod bench;
pub mod scenario;
pub mod synthetic;
pub mod server;
pub mod reload;
pub mod admin;
pub mod worker;
pub mod listener;
pub mod proxy;
pub mod snapshot;
pub mod route;
pub mod plugin;
pub mod registry;
pub mod outbound;
pub mod kv;
pub mod exchange;
pub mod recording;
pub mod route_name;
pub mod upstream;
pub mod socket;
pub mod tls;
pub mod certificate;
pub mod access_log;
pub mod log;
pub mod message;
pub mod http1;
pub mod clock;
pub mod timer;
pub mod ready;
pub mod memory;
pub mod tenant;
pub mod config;
pub mod metrics;
pub mod reason;
pub mod path;
pub mod proxy_protocol;
