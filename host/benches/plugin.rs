//! What calls into plugins cost, host side and all: `cargo bench --workspace --bench plugin`. The same as `lockgate plugin
//! bench`, for the plugins that are bundled and for two that do next to nothing.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a benchmark has no better way to fail")]

use std::path::Path;
use std::time::{Duration, Instant};

use cpu_time::ProcessTime;
use lockgate::bench::{Extent, bench};
use lockgate::config::{At, Component, Located, Plugin};
use lockgate::plugin::Plugins;
use lockgate::synthetic::Synthetic;
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let started = Instant::now();
    let plugins = Plugins::with_cache(None).unwrap();
    println!("the engine starts in {} us", started.elapsed().as_micros());
    idle();
    drop(plugins);
    show("https-enforcer (redirects)", bundled("https-enforcer"), json!({ "hosts": ["shop.example.com"] }));
    show("profiler (log off)", bundled("profiler"), json!({ "log": "off" }));
    show("round-robin", bundled("round-robin"), Value::Null);
    show("bare: answers at once", guest("bare"), Value::Null);
    show("tagger: reads two headers and sets one", guest("tagger"), Value::Null);
}

/// What the clock of the plugins uses, while nothing happens.
fn idle() {
    let started = ProcessTime::now();
    std::thread::sleep(Duration::from_secs(1));
    println!("one second of doing nothing costs {} us", started.elapsed().as_micros());
}

fn show(what: &str, mut plugin: Plugin, config: Value) {
    if !config.is_null() {
        plugin.config = config;
    }
    let figures = bench(&plugin, Path::new("/"), &Synthetic::new(), Extent::default()).unwrap();
    println!("\n{what}\n{figures}");
}

fn bundled(name: &str) -> Plugin {
    Plugin::new(At::default(), Component::Bundled(Located { value: name.to_owned(), at: At::default() }))
}

fn guest(name: &str) -> Plugin {
    let path = Located { value: xtask::guests::component(name), at: At::default() };
    Plugin::new(At::default(), Component::Path(path))
}
