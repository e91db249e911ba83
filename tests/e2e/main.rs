//! Lockgate from outside: one scene a test, one topic a file.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that fails is what a test is for")]

mod story;
mod demo;
mod vocabulary;
mod http1;
mod wire;
mod http2;
mod grpc;
mod websocket;
mod streaming;
mod routes;
mod headers;
mod timeouts;
mod limits;
mod errors;
mod retry;
mod attempts;
mod faults;
mod tls;
mod reload;
mod swap;
mod stories_of_failure;
mod tenants;
mod drain;
mod hooks;
mod outbound;
mod keyspaces;
mod wasi;
mod responses;
mod bodies;
mod holding;
mod plugins;
mod desync;
mod observe;
mod scale;
