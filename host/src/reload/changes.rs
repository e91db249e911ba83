//! What is different between two snapshots, in a line for the log.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::plugin::PluginUse;
use crate::snapshot::{Listener, Snapshot, Tenancy};

/// For example `generation 3, 12 routes; upstreams: + b, ~ app; listeners: - 127.0.0.1:80`.
#[must_use]
pub fn changes(before: &Snapshot, after: &Snapshot) -> String {
    let mut line = format!("generation {}, routes: {}", after.generation, after.config.routes.len());
    let mut tell = |what: &str, list: Vec<String>| {
        if !list.is_empty() {
            line.push_str(&format!("; {what}: {}", list.join(", ")));
        }
    };
    let old: BTreeSet<_> = before.listeners.iter().map(describe).collect();
    let new: BTreeSet<_> = after.listeners.iter().map(describe).collect();
    tell("listeners", signed('+', new.difference(&old)).chain(signed('-', old.difference(&new))).collect());

    let (old, new) = (&before.upstreams, &after.upstreams);
    let added = new.keys().filter(|name| !old.contains_key(*name));
    let changed = new.iter().filter(|(name, upstream)| old.get(*name).is_some_and(|old| !Arc::ptr_eq(old, upstream)));
    let gone = old.keys().filter(|name| !new.contains_key(*name));
    let upstreams = signed('+', added).chain(signed('~', changed.map(|(name, _)| name))).chain(signed('-', gone));
    tell("upstreams", upstreams.collect());

    let (old, new) = (&before.plugins, &after.plugins);
    tell("plugins", signed('+', missing_in(old, new)).chain(signed('-', missing_in(new, old))).collect());
    let (old, new) = (&before.tenants, &after.tenants);
    let added = new.keys().filter(|name| !old.contains_key(*name));
    let changed = new.iter().filter(|(name, tenancy)| old.get(*name).is_some_and(|old| !same_tenancy(old, tenancy)));
    let gone = old.keys().filter(|name| !new.contains_key(*name));
    let tenants = signed('+', added).chain(signed('~', changed.map(|(name, _)| name))).chain(signed('-', gone));
    tell("tenants", tenants.collect());
    if before.config.server.workers != after.config.server.workers {
        line.push_str("; server.workers counts only from the next start on");
    }
    if before.config.log.format != after.config.log.format {
        line.push_str("; log.format counts only from the next start on");
    }
    line
}

fn same_tenancy(one: &Tenancy, other: &Tenancy) -> bool {
    let same_plugins = |one: &[Arc<PluginUse>], other: &[Arc<PluginUse>]| {
        one.len() == other.len() && missing_in(one, other).next().is_none()
    };
    match (&one.served, &other.served) {
        (Some(one), Some(other)) => {
            one.config.source.text == other.config.source.text && same_plugins(&one.parts.plugins, &other.parts.plugins)
        }
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

fn describe(listener: &Listener) -> String {
    let scheme = if listener.tls.is_some() { "https" } else { "http" };
    format!("{scheme}://{}", listener.address)
}

fn missing_in<'a>(some: &'a [Arc<PluginUse>], others: &'a [Arc<PluginUse>]) -> impl Iterator<Item = &'a Arc<str>> {
    others.iter().filter(|other| !some.iter().any(|one| Arc::ptr_eq(one, other))).map(|other| &other.name)
}

fn signed<T: std::fmt::Display>(sign: char, things: impl Iterator<Item = T>) -> impl Iterator<Item = String> {
    things.map(move |thing| format!("{sign} {thing}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::config::{Source, parse};
    use crate::plugin::Plugins;
    use crate::snapshot::build;

    const BEFORE: &str = r#"
        [[listener]]
        address = "127.0.0.1:8080"
        [upstream.app]
        backends = ["http://127.0.0.1:3000"]
        [upstream.old]
        backends = ["http://127.0.0.1:3001"]
        [plugin.rr]
        bundled = "round-robin"
        [[route]]
        plugins = ["rr"]
        upstream = "app"
    "#;

    #[test]
    fn a_line_says_what_came_what_changed_and_what_went() {
        let plugins = Plugins::new().unwrap();
        let built = |text: &str, previous: Option<&Snapshot>| {
            let config = parse(Source { path: "lockgate.toml".into(), text: text.to_owned() }).unwrap();
            build(config, previous, &plugins).unwrap()
        };
        let before = built(BEFORE, None);
        let same = built(BEFORE, Some(&before));
        assert_eq!(changes(&before, &same), "generation 2, routes: 1");

        let text = BEFORE.replace(":8080", ":8081").replace("upstream.old", "upstream.new").replace(":3000", ":3002");
        let text = text.replace("plugins = [\"rr\"]", "");
        let after = built(&text, Some(&same));
        assert_eq!(
            changes(&same, &after),
            "generation 3, routes: 1; listeners: + http://127.0.0.1:8081, - http://127.0.0.1:8080; \
             upstreams: + new, ~ app, - old; plugins: - rr"
        );
    }
}
