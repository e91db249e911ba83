//! Builds the guests of this repository. A module of its own work, so that tests can call it; the binary is a thin shell.

pub mod component;
pub mod dist;
pub mod guests;
