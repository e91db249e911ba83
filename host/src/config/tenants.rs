//! `include`, `[tenants]` and `[tenant.NAME]`: where the tenants' files are, and what the operator lets each tenant have.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use ipnet::IpNet;

use super::grants::read_grants;
use super::limits::MOMENT;
use super::listeners::file;
use super::plugins::read_limits;
use super::reader::{Mistake, Table, Value};
use super::registries::prefix;
use super::routes::{host_pattern, name};
use super::server::network;
use super::units::show_size;
use super::{At, Component, Config, Grants, Located, PluginLimits, Problems, Reach};

/// What the operator says of tenants.
#[derive(Debug, Clone, Default)]
pub struct Tenants {
    /// `include = ".."` or `include = ["..", ".."]`: patterns of the tenants' files.
    pub include: Vec<Located<String>>,
    /// `[tenants]`: the terms of every tenant, unless it has its own.
    pub terms: Terms,
    /// `[tenant.NAME]`: terms of single tenants, with what they inherit.
    pub named: BTreeMap<String, Terms>,
}

/// What a tenant may have.
#[derive(Debug, Clone, Default)]
pub struct Terms {
    /// Where they stand in the file.
    pub at: At,
    /// Names, `*.wildcards` and addresses that its routes may be for; `{tenant}` stands for its name.
    pub hosts: Vec<Located<String>>,
    /// Where its files are; default the folder that its own file names.
    pub directory: Option<Located<PathBuf>>,
    /// Other folders and files that it may name.
    pub paths: Vec<Located<PathBuf>>,
    /// `backends = [..]`: the networks that its backends may be in; by default all but this machine and this link.
    pub backends: Option<Vec<IpNet>>,
    /// `registries = [..]`: what its plugins may be fetched from, as `ghcr.io/acme`; default nothing.
    pub registries: Vec<String>,
    /// `grants = { .. }`: the most that it may grant its plugins; default nothing.
    pub grants: Grants,
    /// `limits = { .. }`: the most that the limits of its plugins may be; by default as much as those of the operator's.
    pub limits: Option<PluginLimits>,
    /// `quotas = { .. }`
    pub quotas: Quotas,
}

/// `quotas = { .. }`: how much a tenant may use. `u64::MAX` stands for `"unlimited"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quotas {
    /// Requests in a second; default 1000.
    pub rate: u64,
    /// Requests that may come at once; default as many as in a second.
    pub burst: Option<u64>,
    /// Exchanges under way at once; default 256.
    pub exchanges: u64,
    /// Time in a second that its plugins compute, on all workers together, before they stand back behind others; default
    /// 200 ms. `Duration::MAX` for unlimited.
    pub cpu: Duration,
    /// Bytes of all linear memories of its plugins' instances; default 128 MiB.
    pub memory: u64,
    /// Bytes of all key spaces of its plugins that are in memory; default 16 MiB.
    pub kv: u64,
    /// Outbound calls of its plugins in a second; default 100.
    pub calls: u64,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            rate: 1000,
            burst: None,
            exchanges: 256,
            cpu: Duration::from_millis(200),
            memory: 128 << 20,
            kv: 16 << 20,
            calls: 100,
        }
    }
}

impl Tenants {
    /// The terms of the tenant of that name.
    #[must_use]
    pub fn terms_of(&self, name: &str) -> Terms {
        let mut terms = self.named.get(name).unwrap_or(&self.terms).clone();
        for host in &mut terms.hosts {
            host.value = host.value.replace(PLACEHOLDER, &name.to_ascii_lowercase());
        }
        terms
    }
}

impl Terms {
    /// Reports what a tenant's file wants beyond what it was given: of its plugins' grants, and of places for backends.
    pub fn check(&self, tenant: &str, config: &Config, operators: &Config, problems: &mut Problems) {
        let place = || format!("its terms are at {}", operators.source.place(&self.at));
        self.check_backends(tenant, config, operators, problems);
        let mut key_spaces = 0_u64;
        for (name, plugin) in &config.plugins {
            let grants = &plugin.grants;
            if let Component::Registry(reference) = &plugin.component
                && !self.registries.iter().any(|prefix| reference.value.is_below(prefix))
            {
                let sentence = format!(
                    "the tenant {tenant:?} was not given {}/{} to fetch from",
                    reference.value.registry, reference.value.name
                );
                problems.push(&reference.at, sentence);
                problems.hint(format!("the operator says with `registries` what it may; {}", place()));
            }
            for url in &grants.http {
                if !self.grants.http.iter().any(|given| covers(&given.value, &url.value)) {
                    let sentence = format!("the tenant {tenant:?} was not given \"{}\" to ask", url.value);
                    problems.push(&url.at, sentence).hint(place());
                }
            }
            let asked = [("private", grants.private, self.grants.private), ("kv", grants.kv, self.grants.kv)];
            for (grant, _, _) in asked.into_iter().filter(|(_, asked, given)| *asked && !given) {
                let sentence =
                    format!("plugin {name:?} is granted `{grant}`, which the tenant {tenant:?} was not given");
                problems.push(&plugin.at, sentence).hint(place());
            }
            if grants.kv && config.kv.redis.is_none() {
                key_spaces = key_spaces.saturating_add(plugin.limits.kv as u64);
                if key_spaces > self.quotas.kv {
                    let [all, most] = [key_spaces, self.quotas.kv].map(show_size);
                    problems.push(&plugin.at, format!("the tenant's key spaces come to {all}, and it may have {most}"));
                    problems.hint("lower `limits.kv` of its plugins, or have the operator raise `quotas.kv`");
                }
            }
        }
    }
}

impl Terms {
    /// Names are looked at when they are resolved.
    fn check_backends(&self, tenant: &str, config: &Config, operators: &Config, problems: &mut Problems) {
        let reach = Reach::of(self, operators);
        for backend in config.upstreams.values().flat_map(|upstream| &upstream.backends) {
            let host = backend.address.host().unwrap_or_default();
            let Ok(ip) = host.trim_start_matches('[').trim_end_matches(']').parse() else { continue };
            if let Err(why) = reach.allows(SocketAddr::new(ip, port_of(&backend.address))) {
                let address = backend.address.to_string();
                let address = address.trim_end_matches('/');
                let sentence = format!("the tenant {tenant:?} may have no backend at {address:?}: {why}");
                problems.push(&backend.at, sentence);
                problems.hint(format!(
                    "the operator says where with `backends`; its terms are at {}",
                    operators.source.place(&self.at)
                ));
            }
        }
    }
}

fn port_of(uri: &Uri) -> u16 {
    uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 })
}

/// Whether whoever may ask below `given` may ask below `wanted`.
fn covers(given: &Uri, wanted: &Uri) -> bool {
    let host = |uri: &Uri| uri.host().unwrap_or_default().to_ascii_lowercase();
    let below = || {
        let folder = given.path().trim_end_matches('/');
        wanted.path().strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    given.scheme() == wanted.scheme() && host(given) == host(wanted) && port_of(given) == port_of(wanted) && below()
}

/// Takes all that is said of tenants from the file's root.
pub(super) fn read_tenants(root: &mut Table<'_, '_>) -> Tenants {
    let include = root.optional("include", read_include).unwrap_or_default();
    let mut tenants = Tenants { include, ..Tenants::default() };
    if let Some(table) = root.optional("tenants", Value::table) {
        tenants.terms = read_terms(table, &Terms::default());
    }
    let problems = root.problems();
    let entries = root.optional("tenant", Value::named).map(Table::into_entries);
    for (key, value) in entries.into_iter().flatten() {
        if let Err(mistake) = name(&key.value) {
            mistake.report(&key.at, &mut problems.borrow_mut());
        }
        if let Some(table) = value.table() {
            let terms = read_terms(table, &tenants.terms);
            tenants.named.insert(key.value, terms);
        }
    }
    tenants
}

fn read_include(value: Value<'_, '_>) -> Option<Vec<Located<String>>> {
    let pattern = |value: Value<'_, '_>| {
        value.located(|text| match text {
            "" => Err(Mistake::new("a pattern cannot be empty").hint("write it as in \"tenants/*.toml\"")),
            text if text.contains("**") => {
                Err(Mistake::new(format!("{text:?} has \"**\"")).hint("\"*\" stands for any name in one folder"))
            }
            text => Ok(text.to_owned()),
        })
    };
    if value.is_string() {
        return pattern(value).map(|pattern| vec![pattern]);
    }
    Some(value.filled_array("there is no pattern in it")?.into_iter().filter_map(pattern).collect())
}

fn read_terms(mut table: Table<'_, '_>, inherited: &Terms) -> Terms {
    let mut terms = Terms { at: table.at.clone(), ..inherited.clone() };
    if let Some(hosts) = table.optional("hosts", Value::array) {
        terms.hosts = hosts.into_iter().filter_map(|host| host.located(host_template)).collect();
    }
    // Of one tenant alone: a folder that all share would be nobody's own.
    if terms.at.path != "tenants" {
        terms.directory = table.optional("directory", file);
    }
    if let Some(paths) = table.optional("paths", Value::array) {
        terms.paths = paths.into_iter().filter_map(file).collect();
    }
    if let Some(backends) = table.optional("backends", Value::array) {
        terms.backends = Some(backends.into_iter().filter_map(|value| value.parsed(network)).collect());
    }
    if let Some(registries) = table.optional("registries", Value::array) {
        terms.registries = registries.into_iter().filter_map(|value| value.parsed(prefix)).collect();
    }
    if let Some(grants) = table.optional("grants", Value::table) {
        let problems = table.problems();
        terms.grants = read_grants(grants);
        if let Some(ca) = &terms.grants.ca {
            problems.borrow_mut().push(&ca.at, "whom to trust is for each plugin of the tenant's to say");
        }
    }
    if let Some(limits) = table.optional("limits", Value::table) {
        read_limits(limits, terms.limits.get_or_insert(PluginLimits::ALL));
    }
    if let Some(quotas) = table.optional("quotas", Value::table) {
        read_quotas(quotas, &mut terms.quotas);
    }
    table.finish();
    terms
}

fn read_quotas(mut table: Table<'_, '_>, quotas: &mut Quotas) {
    table.set("rate", &mut quotas.rate, |value| value.integer_or_unlimited(1..=1_000_000_000));
    if let Some(burst) = table.optional("burst", |value| value.integer(1..=1_000_000_000)) {
        quotas.burst = Some(burst);
    }
    table.set("exchanges", &mut quotas.exchanges, |value| value.integer_or_unlimited(1..=1_000_000));
    table.set("cpu", &mut quotas.cpu, |value| match value.is_unlimited() {
        true => Some(Duration::MAX),
        false => value.duration(MOMENT..=Duration::from_secs(1024)),
    });
    table.set("memory", &mut quotas.memory, |value| value.size_or_unlimited());
    table.set("kv", &mut quotas.kv, |value| value.size_or_unlimited());
    table.set("calls", &mut quotas.calls, |value| value.integer_or_unlimited(1..=1_000_000_000));
    table.finish();
}

/// A host, in which `{tenant}` stands for the tenant's name.
fn host_template(text: &str) -> Result<String, Mistake> {
    host_pattern(&text.replace(PLACEHOLDER, "tenant"))?;
    Ok(text.to_ascii_lowercase())
}

/// Reports hosts that the operator gives away twice, or gives away and keeps.
pub(super) fn check(config: &Config, problems: &mut Problems) {
    let mut first: HashMap<&str, (String, &At)> = HashMap::new();
    for route in &config.routes {
        for host in &route.hosts {
            first.entry(&host.value).or_insert_with(|| (format!("the route {:?}", route.name), &host.at));
        }
    }
    for (name, terms) in &config.tenants.named {
        // Inherited ones are the other tenants' as well, each with its own name in it.
        let own = |host: &&Located<String>| host.at.path.starts_with(&terms.at.path);
        for host in terms.hosts.iter().filter(own) {
            match first.get(host.value.as_str()) {
                Some((owner, at)) => {
                    let place = problems.place(at);
                    problems.push(&host.at, format!("the host {:?} is {owner}'s already", host.value));
                    problems.hint(format!("that is at {place}"));
                }
                None => {
                    first.insert(&host.value, (format!("the tenant {name:?}"), &host.at));
                }
            }
        }
    }
    let included = !config.tenants.include.is_empty() || problems.iter().any(|it| it.at.path.starts_with("include"));
    if !included && let Some((name, terms)) = config.tenants.named.iter().next() {
        problems.push(&terms.at, format!("nothing is included, so there is no tenant {name:?}"));
        problems.hint("write include = \"tenants/*.toml\" above the first section");
    }
}

const PLACEHOLDER: &str = "{tenant}";
