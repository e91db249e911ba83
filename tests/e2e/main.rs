//! Lockgate from outside: one scene a test, one topic a file.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that fails is what a test is for")]

mod vocabulary;
