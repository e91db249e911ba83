//! What a scenario's file says of a plugin besides its component and its configuration, so that it may do what it did.

use std::time::Duration;

use toml::{Table, Value};

use crate::config::{Isolation, OnFailure, Plugin, PluginLimits};

/// What is otherwise than by default.
pub(super) fn settings(plugin: &Plugin) -> Table {
    let mut table = Table::new();
    let grants = &plugin.grants;
    if grants.kv || !grants.http.is_empty() {
        let mut granted = Table::new();
        granted.insert("kv".to_owned(), grants.kv.into());
        if !grants.http.is_empty() {
            let http = grants.http.iter().map(|prefix| Value::from(prefix.value.to_string()));
            granted.insert("http".to_owned(), http.collect::<Vec<_>>().into());
        }
        table.insert("grants".to_owned(), granted.into());
    }
    if plugin.on_failure == OnFailure::Skip {
        table.insert("on_failure".to_owned(), "skip".into());
    }
    if plugin.isolation == Isolation::Exchange {
        table.insert("isolation".to_owned(), "exchange".into());
    }
    let limits = limits(&plugin.limits, &PluginLimits::new(&plugin.component));
    if !limits.is_empty() {
        table.insert("limits".to_owned(), limits.into());
    }
    table
}

/// Those that are other than `usual`.
fn limits(limits: &PluginLimits, usual: &PluginLimits) -> Table {
    let text = |limits: &PluginLimits| {
        let PluginLimits {
            cpu, wall, memory, instances, exchanges, table, host_calls, log, body_held, compile, ..
        } = limits;
        let PluginLimits { http_requests, http_concurrent, http_response, http_timeout, kv, .. } = limits;
        let time = |time: &Duration| Value::from(humantime::format_duration(*time).to_string());
        let bytes = |bytes: usize| Value::from(format!("{bytes} B"));
        let number = |number: u64| Value::from(i64::try_from(number).unwrap_or(i64::MAX));
        [
            ("cpu", time(cpu)),
            ("wall", time(wall)),
            ("memory", bytes(*memory)),
            ("instances", number(*instances as u64)),
            ("exchanges", number(*exchanges)),
            ("table", number(*table as u64)),
            ("host_calls", number(u64::from(*host_calls))),
            ("log", bytes(*log as usize)),
            ("body_held", bytes(*body_held)),
            ("compile", time(compile)),
            ("http_requests", number(u64::from(*http_requests))),
            ("http_concurrent", number(*http_concurrent as u64)),
            ("http_response", bytes(*http_response)),
            ("http_timeout", time(http_timeout)),
            ("kv", bytes(*kv)),
        ]
    };
    let own = text(limits).into_iter().zip(text(usual)).filter(|(own, usual)| own != usual);
    own.map(|((name, value), _)| (name.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::config::{At, Component, Located, Source, read_settings, read_with};

    #[test]
    fn what_is_written_is_read_as_it_was() {
        let text = "on_failure = \"skip\"\nisolation = \"exchange\"\ngrants = { kv = true, http = [\"https://a.test/\"] }\n\
                    [limits]\ncpu = \"2s\"\nwall = \"1500us\"\nmemory = \"100 KiB\"\ninstances = 3\nexchanges = 4\ntable = 5\n\
                    host_calls = 6\nlog = \"7 B\"\nbody_held = \"8 B\"\ncompile = \"9s\"\nhttp_requests = 10\nhttp_concurrent = 11\n\
                    http_response = \"12 B\"\nhttp_timeout = \"13ms\"\nkv = \"4097 B\"\n";
        let read = |text: &str| {
            let component = Component::Path(Located { value: "p.wasm".into(), at: At::default() });
            let mut plugin = Plugin::new(At::default(), component);
            let source = Source { path: "test.toml".into(), text: text.to_owned() };
            let (_, problems) = read_with(&source, |mut root| {
                read_settings(&mut root, &mut plugin);
                root.finish();
            });
            problems.into_result().unwrap();
            plugin
        };
        let plugin = read(text);
        let written = settings(&plugin);
        assert_eq!(written["limits"].as_table().unwrap().len(), 15, "{written}");
        let again = read(&written.to_string());
        assert_eq!(settings(&again), written);
        assert_eq!((again.on_failure, again.isolation), (OnFailure::Skip, Isolation::Exchange));
        assert_eq!((again.limits.wall, again.limits.memory), (Duration::from_micros(1500), 100 << 10));
        assert_eq!(settings(&read("")), Table::new());
    }
}
