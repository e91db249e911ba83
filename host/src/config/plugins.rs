//! `[plugin.NAME]`: where a component comes from, and what it may use.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::grants::read_grants;
use super::limits::{HOUR, MOMENT};
use super::listeners::file;
use super::reader::{Mistake, Table, Value};
use super::{
    At, Component, Grants, Isolation, Located, OnFailure, Places, Plugin, PluginLimits, PluginSource, PluginUse,
    Quarantine, Record, Tick,
};

impl Plugin {
    /// One with every default.
    #[must_use]
    pub fn new(at: At, component: Component) -> Self {
        Self {
            at,
            limits: PluginLimits::new(&component),
            component,
            sha256: None,
            config: empty_config(),
            places: Places::default(),
            on_failure: OnFailure::Deny,
            isolation: Isolation::Use,
            quarantine: Quarantine::default(),
            grants: Grants::default(),
            tick: None,
            source: None,
            record: None,
        }
    }
}

impl PluginUse {
    /// The plugin of that name as it is.
    #[must_use]
    pub fn new(name: Located<String>) -> Self {
        Self { name, config: None, places: Places::default(), limits: None, on_failure: None, tick: None }
    }

    /// The plugin as this use of it has it.
    #[must_use]
    pub fn of<'a>(&self, plugin: &'a Plugin) -> Cow<'a, Plugin> {
        if self.config.is_none() && self.limits.is_none() && self.on_failure.is_none() && self.tick.is_none() {
            return Cow::Borrowed(plugin);
        }
        let mut plugin = plugin.clone();
        if let Some(config) = &self.config {
            (plugin.config, plugin.places) = (config.clone(), self.places.clone());
        }
        if let Some(limits) = &self.limits {
            plugin.limits = limits.clone();
        }
        plugin.tick = self.tick.or(plugin.tick);
        plugin.on_failure = self.on_failure.unwrap_or(plugin.on_failure);
        Cow::Owned(plugin)
    }
}

impl Default for Quarantine {
    fn default() -> Self {
        Self {
            failures: 10,
            share: 50,
            window: Duration::from_secs(10),
            back_off: Duration::from_secs(1),
            longest_back_off: Duration::from_secs(60),
        }
    }
}

impl Default for Tick {
    fn default() -> Self {
        Self { every: Duration::from_secs(10), cpu: Duration::from_millis(100), wall: Duration::from_secs(10) }
    }
}

impl PluginLimits {
    /// The defaults for that component: those that are bundled are known to be quick.
    #[must_use]
    pub fn new(component: &Component) -> Self {
        let cpu = match component {
            Component::Bundled(_) => Duration::from_millis(1),
            Component::Path(_) | Component::Registry(_) => Duration::from_millis(50),
        };
        Self {
            cpu,
            wall: Duration::from_secs(1),
            memory: 16 << 20,
            instances: 256,
            exchanges: 100_000,
            table: 40_000,
            host_calls: 10_000,
            log: 16 << 10,
            body_held: 64 << 20,
            compile: Duration::from_secs(60),
            http_requests: 16,
            http_concurrent: 64,
            http_response: 1 << 20,
            http_timeout: Duration::from_millis(500),
            kv: 16 << 20,
        }
    }
}

pub(super) fn read_plugin(value: Value<'_, '_>) -> Option<Plugin> {
    let mut table = value.table()?;
    let at = table.at.clone();
    // Where it comes from decides defaults; if that is wrong, it has been reported, and anything will do to read on.
    let unknown = || Component::Path(Located { value: PathBuf::new(), at: at.clone() });
    let component = read_component(&mut table).unwrap_or_else(unknown);
    let mut plugin = Plugin::new(at, component);
    plugin.sha256 = table.optional("sha256", |value| value.located(digest));
    plugin.source = table.optional("source", source);
    read_settings(&mut table, &mut plugin);
    table.finish();
    Some(plugin)
}

/// `"DIR"`, or `{ dir = "DIR", command = ["make"] }`.
fn source(value: Value<'_, '_>) -> Option<PluginSource> {
    if value.is_string() {
        return file(value).map(|dir| PluginSource { dir, command: Vec::new() });
    }
    let mut table = value.table_or("a folder or a table such as { dir = \"DIR\", command = [\"make\"] }")?;
    let dir = table.required("dir", file);
    let command = table.required("command", |value| value.filled_array("there must be a program to run"));
    let command = command.into_iter().flatten().filter_map(Value::string).map(|word| word.value).collect();
    table.finish();
    Some(PluginSource { dir: dir?, command })
}

/// All that a `[plugin.NAME]` section says but where the component comes from.
pub(crate) fn read_settings(table: &mut Table<'_, '_>, plugin: &mut Plugin) {
    if let Some((json, places)) = table.optional("config", config) {
        (plugin.config, plugin.places) = (json, places);
    }
    table.set("on_failure", &mut plugin.on_failure, on_failure);
    let choices = [("use", Isolation::Use), ("exchange", Isolation::Exchange)];
    table.set("isolation", &mut plugin.isolation, |value| value.word(&choices));
    table.set("grants", &mut plugin.grants, |value| value.table().map(read_grants));
    if let Some(limits) = table.optional("limits", Value::table) {
        read_limits(limits, &mut plugin.limits);
    }
    if let Some(quarantine) = table.optional("quarantine", Value::table) {
        read_quarantine(quarantine, &mut plugin.quarantine);
    }
    plugin.tick = table.optional("tick", read_tick);
    plugin.record = table.optional("record", Value::table).and_then(read_record);
}

/// `"name"` or `{ name = "..", config = { .. }, limits = { .. }, on_failure = ".." }`.
pub(super) fn read_plugin_use(value: Value<'_, '_>, plugins: &BTreeMap<String, Box<Plugin>>) -> Option<PluginUse> {
    if value.is_string() {
        return value.string().map(PluginUse::new);
    }
    let mut table = value.table_or("a plugin's name or a table such as { name = \"NAME\", config = {} }")?;
    let name = table.required("name", Value::string);
    let config = table.optional("config", config);
    let on_failure = table.optional("on_failure", on_failure);
    let tick = table.optional("tick", read_tick);
    let limits = table.optional("limits", Value::table).map(|table| {
        let own = name.as_ref().and_then(|name| plugins.get(&name.value)).map(|plugin| plugin.limits.clone());
        // Without such a plugin, which is reported elsewhere, all that counts is that what is written here is read.
        let unknown = || PluginLimits::new(&Component::Path(Located { value: "".into(), at: table.at.clone() }));
        let mut limits = own.unwrap_or_else(unknown);
        read_limits(table, &mut limits);
        limits
    });
    table.finish();
    let (config, places) = config.map_or((None, Places::default()), |(config, places)| (Some(config), places));
    name.map(|name| PluginUse { name, config, places, limits, on_failure, tick })
}

/// The configuration of a plugin or of one use of it: a table, which the plugin gets as a JSON object.
pub(crate) fn config(value: Value<'_, '_>) -> Option<(serde_json::Value, Places)> {
    if value.is_table() { value.json() } else { value.unexpected("a table") }
}

/// `"deny"` or `"skip"`.
pub(super) fn on_failure(value: Value<'_, '_>) -> Option<OnFailure> {
    value.word(&[("deny", OnFailure::Deny), ("skip", OnFailure::Skip)])
}

fn empty_config() -> serde_json::Value {
    serde_json::Value::Object(serde_json::Map::new())
}

fn read_component(table: &mut Table<'_, '_>) -> Option<Component> {
    let bundled = table.take("bundled");
    let path = table.take("path");
    match (bundled, path) {
        (Some(bundled), None) => bundled.string().map(Component::Bundled),
        (None, Some(path)) => Component::at(path),
        (None, None) => {
            let mut problems = table.problems().borrow_mut();
            problems.push(&table.at, "it is not said where the plugin comes from");
            problems.hint("write bundled = \"NAME\" or path = \"FILE.wasm\"");
            None
        }
        (Some(bundled), Some(path)) => {
            let place = path.problems().borrow().place(&bundled.at);
            path.wrong_with("a plugin is either bundled or a file", format!("`bundled` stands at {place}"))
        }
    }
}

fn digest(text: &str) -> Result<String, Mistake> {
    if text.len() == 64 && text.chars().all(|c| c.is_ascii_hexdigit()) {
        return Ok(text.to_ascii_lowercase());
    }
    Err(Mistake::new("this is not a SHA-256 digest").hint("it has 64 hexadecimal digits; `sha256sum FILE` prints it"))
}

/// Reads those limits that are given, and leaves the others as they are.
pub(super) fn read_limits(mut table: Table<'_, '_>, limits: &mut PluginLimits) {
    table.set("cpu", &mut limits.cpu, |value| value.duration(MOMENT..=Duration::from_secs(60)));
    table.set("wall", &mut limits.wall, |value| value.duration(MOMENT..=HOUR));
    table.set("memory", &mut limits.memory, |value| value.bytes(64 << 10..=256 << 20));
    table.set("instances", &mut limits.instances, |value| value.integer(1..=10_000));
    table.set("exchanges", &mut limits.exchanges, |value| value.integer(1..=u64::MAX));
    table.set("table", &mut limits.table, |value| value.integer(0..=1_000_000));
    table.set("host_calls", &mut limits.host_calls, |value| value.integer(1..=10_000_000));
    table.set("log", &mut limits.log, |value| value.bytes(0..=16 << 20).and_then(|size| u32::try_from(size).ok()));
    table.set("body_held", &mut limits.body_held, |value| value.bytes(0..=1 << 40));
    table.set("compile", &mut limits.compile, |value| value.duration(MOMENT..=HOUR));
    table.set("http_requests", &mut limits.http_requests, |value| value.integer(1..=10_000));
    table.set("http_concurrent", &mut limits.http_concurrent, |value| value.integer(1..=100_000));
    table.set("http_response", &mut limits.http_response, |value| value.bytes(1..=256 << 20));
    table.set("http_timeout", &mut limits.http_timeout, |value| value.duration(MOMENT..=HOUR));
    table.set("kv", &mut limits.kv, |value| value.bytes(4 << 10..=1 << 40));
    table.finish();
}

/// `"10s"` or `{ every = "10s", cpu = "100ms", wall = "10s" }`.
fn read_tick(value: Value<'_, '_>) -> Option<Tick> {
    let mut tick = Tick::default();
    if value.is_string() {
        tick.every = value.duration(SHORTEST_TICK..=HOUR * 24)?;
        return Some(tick);
    }
    let mut table =
        value.table_or("an interval such as \"10s\", or a table such as { every = \"10s\", cpu = \"100ms\" }")?;
    table.set("every", &mut tick.every, |value| value.duration(SHORTEST_TICK..=HOUR * 24));
    table.set("cpu", &mut tick.cpu, |value| value.duration(MOMENT..=Duration::from_secs(60)));
    table.set("wall", &mut tick.wall, |value| value.duration(MOMENT..=HOUR));
    table.finish();
    Some(tick)
}

/// Between two ticks: what is wanted more often belongs to the exchanges.
const SHORTEST_TICK: Duration = Duration::from_millis(100);

fn read_record(mut table: Table<'_, '_>) -> Option<Record> {
    let dir = table.required("dir", file);
    let mut redact: Vec<_> = REDACTED.map(str::to_owned).into();
    table.set("redact", &mut redact, |value| Some(value.array()?.into_iter().filter_map(hidden).collect()));
    let mut share = 0.01;
    table.set("share", &mut share, |value| value.fraction());
    let mut most = 64 << 20;
    table.set("most", &mut most, |value| value.size(4 << 10..=1 << 40));
    table.finish();
    Some(Record { dir: dir?, share, redact, most })
}

/// The name of a field whose values are not written, or `query` or `config`.
fn hidden(value: Value<'_, '_>) -> Option<String> {
    value.parsed(|text| match http::HeaderName::from_bytes(text.as_bytes()) {
        Ok(name) => Ok(name.as_str().to_owned()),
        Err(_) => Err(Mistake::new(format!("{text:?} cannot be the name of a field"))),
    })
}

/// What nobody wants to find in a file.
const REDACTED: [&str; 6] = ["authorization", "proxy-authorization", "cookie", "set-cookie", "query", "config"];

fn read_quarantine(mut table: Table<'_, '_>, quarantine: &mut Quarantine) {
    table.set("failures", &mut quarantine.failures, |value| value.integer(0..=1_000_000));
    table.set("share", &mut quarantine.share, |value| value.integer(0..=99));
    table.set("window", &mut quarantine.window, |value| value.duration(MOMENT..=HOUR));
    table.set("back_off", &mut quarantine.back_off, |value| value.duration(MOMENT..=HOUR));
    // It can be no shorter than the first.
    quarantine.longest_back_off = quarantine.longest_back_off.max(quarantine.back_off);
    let least = quarantine.back_off;
    table.set("longest_back_off", &mut quarantine.longest_back_off, |value| value.duration(least..=HOUR * 24));
    table.finish();
}
