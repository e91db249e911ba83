//! Plugins as their authors make them: `lockgate plugin new` and `build`, with the real tools of each language, and what is
//! said when something is wrong.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod scene;
mod rust;
mod c;
mod go;
mod python;
mod javascript;
mod asking;
mod mistakes;
