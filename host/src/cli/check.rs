//! `lockgate check`: all that is wrong with a configuration, or else what it comes to.

use std::path::Path;
use std::sync::Arc;

use super::Error;
use crate::config::{self, Action, Balance, Component, Config, PathMatch, Route};
use crate::plugin::{PluginUse, Plugins};
use crate::route::{OPERATOR, Routes};
use crate::snapshot::{self, Snapshot};

/// Reads the file and judges it as start-up would: certificates are read, plugins are compiled and started. The answer is a
/// summary.
pub(super) fn run(path: &Path) -> Result<String, Error> {
    let (config, mut problems) = config::examine(config::read(path)?);
    let Some(config) = config else { return Err(problems.into()) };
    // What is wrong with the text does not keep us from looking at the files that it names.
    match snapshot::build(config, None, &Plugins::new()?) {
        Ok(snapshot) => {
            problems.add_file(snapshot.refused.clone());
            problems.into_result()?;
            Ok(summary(&snapshot))
        }
        Err(more) => {
            problems.add_elsewhere(&more);
            more.others().iter().for_each(|other| problems.add_file(other.clone()));
            Err(problems.into())
        }
    }
}

fn summary(snapshot: &Snapshot) -> String {
    let config = &snapshot.config;
    let mut text = format!("{} is sound\n", config.source.path.display());
    listeners(config, &mut text);
    upstreams(config, &mut text);
    plugins(config, &snapshot.plugins, &mut text);
    routes(config, &snapshot.routes, &mut text);
    let (of_tenants, without) = snapshot.tenants.iter().partition::<Vec<_>, _>(|(_, tenancy)| tenancy.served.is_some());
    let lines = of_tenants.into_iter().filter_map(|(name, tenancy)| {
        let served = tenancy.served.as_ref()?;
        let file = served.config.source.path.display();
        let hosts: Vec<_> = tenancy.terms.hosts.iter().map(|host| host.value.as_str()).collect();
        let routes = count(served.config.routes.len(), "route");
        Some(format!(
            "{name}: {routes} for {}, {} ({file})",
            hosts.join(", "),
            count(served.parts.plugins.len(), "plugin")
        ))
    });
    let without =
        without.into_iter().map(|(name, _)| format!("{name}: no file is its own, so its hosts are answered 503"));
    section("tenants", lines.chain(without), &mut text);
    text
}

fn listeners(config: &Config, text: &mut String) {
    let lines = config.listeners.iter().map(|listener| {
        let versions = if listener.http2 { "HTTP/1.1 and HTTP/2" } else { "HTTP/1.1" };
        let tls = match listener.certificates.len() {
            0 => String::new(),
            certificates => format!(" over TLS, {}", count(certificates, "certificate")),
        };
        format!("{}: {versions}{tls}", listener.address)
    });
    let admin = config.admin.iter().map(|admin| format!("{}: admin", admin.address));
    section("listeners", lines.chain(admin), text);
}

fn upstreams(config: &Config, text: &mut String) {
    let lines = config.upstreams.iter().map(|(name, upstream)| {
        let used = config.routes.iter().any(|route| matches!(&route.action, Action::Upstream(it) if it.value == *name));
        let balance = match &upstream.balance {
            Balance::RoundRobin => "round robin".to_owned(),
            Balance::Plugin(plugin) => format!("plugin {}", plugin.value),
        };
        format!("{name}: {}, {balance}{}", count(upstream.backends.len(), "backend"), unused(used))
    });
    section("upstreams", lines, text);
}

fn plugins(config: &Config, uses: &[Arc<PluginUse>], text: &mut String) {
    let lines = config.plugins.iter().map(|(name, plugin)| {
        let component = match &plugin.component {
            Component::Bundled(name) => format!("bundled {}", name.value),
            Component::Path(path) => path.value.display().to_string(),
            Component::Registry(reference) => reference.value.to_string(),
        };
        let chained = config.routes.iter().flat_map(|route| &route.plugins).any(|it| it.name.value == *name);
        let guards = config.listeners.iter().flat_map(|listener| &listener.plugins).any(|it| it.name.value == *name);
        let picks = config.upstreams.values().any(|it| matches!(&it.balance, Balance::Plugin(it) if it.value == *name));
        let plugin_use = uses.iter().find(|it| *it.name == **name);
        let digest = plugin_use.map(|it| format!(", sha256 {}{}", it.digest(), granted(it, plugin)));
        format!("{name}: {component}{}{}", digest.unwrap_or_default(), unused(chained || guards || picks))
    });
    section("plugins", lines, text);
}

/// `, granted http, and kv without need`
fn granted(plugin_use: &PluginUse, plugin: &config::Plugin) -> String {
    let (needed, idle) = plugin_use.grants(&plugin.grants);
    let needed = needed.iter().map(|name| (*name).to_owned());
    let idle = idle.iter().map(|name| format!("{name} without need"));
    let all: Vec<_> = needed.chain(idle).collect();
    if all.is_empty() { String::new() } else { format!(", granted {}", all.join(" and ")) }
}

fn routes<T>(config: &Config, routes: &Routes<T>, text: &mut String) {
    let in_order = routes.in_order(OPERATOR);
    let lines = in_order.iter().flat_map(|(host, places)| {
        let routes = places.iter().filter_map(|place| config.routes.get(*place));
        routes.map(move |route| format!("{host} {}", describe(route)))
    });
    section("routes, each host's in the order in which they are tried", lines, text);
}

/// `GET /api/* -> app through https, profiler`
fn describe(route: &Route) -> String {
    let mut text = String::new();
    if !route.methods.is_empty() {
        let methods: Vec<_> = route.methods.iter().map(|method| method.value.as_str()).collect();
        text += &format!("{} ", methods.join("|"));
    }
    match &route.path.value {
        PathMatch::Prefix(path) => text += &format!("{}/*", path.trim_end_matches('/')),
        PathMatch::Exact(path) | PathMatch::Pattern(path) => text += path,
    }
    for (name, value) in &route.headers {
        text += &format!(" {}: {value}", name.value);
    }
    match &route.action {
        Action::Upstream(name) => text += &format!(" -> {}", name.value),
        Action::Respond(respond) => text += &format!(" -> {}", respond.status),
    }
    let plugins: Vec<_> = route.plugins.iter().map(|plugin| plugin.name.value.as_str()).collect();
    if !plugins.is_empty() {
        text += &format!(" through {}", plugins.join(", "));
    }
    text
}

fn section(title: &str, lines: impl IntoIterator<Item = String>, text: &mut String) {
    let mut lines = lines.into_iter().peekable();
    if lines.peek().is_some() {
        text.push_str(&format!("\n{title}\n"));
    }
    for line in lines {
        text.push_str(&format!("  {line}\n"));
    }
}

fn unused(used: bool) -> &'static str {
    if used { "" } else { ", used by no route" }
}

fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}
