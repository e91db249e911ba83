//! A configuration made into a snapshot. The only judge of whether a configuration would run: `lockgate check`, start-up and
//! reload all call this.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};

use super::uses::{Use, find_use, load_plugins, loaded};
use super::{Action, Listener, Respond, Route, Snapshot, Token, tenants};
use crate::config::{self, At, Balance, Config, Problems};
use crate::kv;
use crate::plugin::{Chain, Hook, PluginUse, Plugins};
use crate::route::Routes;
use crate::tenant::Tenant;
use crate::tls::{ServerTls, TenantsTls};
use crate::upstream::Upstream;

/// Makes a snapshot of `config`. What has not changed since `previous` is taken from there: upstreams with their health and
/// connections, plugins with their warm instances, TLS with sessions that can be resumed. Reads certificates and compiles
/// plugins, so it is blocking and slow: never call it on a worker.
///
/// # Errors
/// All that is wrong, at once.
pub fn build(config: Config, previous: Option<&Snapshot>, plugins: &Plugins) -> Result<Snapshot, Problems> {
    let mut problems = Problems::new(&config.source);
    let members = config::members(&config);
    let claims = Arc::clone(&members.claims);
    let (tenants, refused) = tenants::build(members, &config, previous, plugins);
    let certified = tenants.values().filter_map(|tenancy| tenancy.served.as_ref()?.tls.clone());
    let certified = Arc::new(TenantsTls::new(Arc::clone(&claims), certified));
    let mut listeners = build_listeners(&config, previous, &certified, &mut problems);
    check_key_spaces(&config.kv, &mut problems);
    let before =
        previous.map_or(Before::default(), |it| Before { upstreams: Some(&it.upstreams), plugins: &it.plugins });
    let Parts { upstreams, plugins, entries, targets } = Parts::build(&config, None, before, plugins, &mut problems);
    attach(&mut listeners, &config, &plugins, &mut problems);
    let mut routes = Routes::build(&entries, targets, &mut problems);
    tenants::add_routes(&tenants, &claims, &mut routes);
    let admin_token = read_token(&config, &mut problems);
    if !problems.is_empty() {
        problems.add_file(refused);
        return Err(problems);
    }
    let generation = previous.map_or(1, |previous| previous.generation + 1);
    let asks_clients = asks_clients(&listeners);
    Ok(Snapshot {
        generation,
        config,
        listeners,
        asks_clients,
        routes,
        upstreams,
        plugins,
        tenants,
        claims,
        refused,
        admin_token,
    })
}

/// Makes a snapshot like `previous`, but with what the component of that plugin of the tenant's, or of the operator's, is now. Nothing else is
/// read, so nothing else can be wrong. Blocking and slow, as [`build`].
///
/// # Errors
/// What keeps the plugin from running.
pub fn rebuild(
    previous: &Snapshot,
    tenant: Option<&str>,
    plugin: &str,
    plugins: &Plugins,
) -> Result<Snapshot, Problems> {
    let config = previous.config.clone();
    let mut problems = Problems::new(&config.source);
    let mut tenants = previous.tenants.clone();
    if let Some(tenancy) = tenant.and_then(|tenant| tenants.get_mut(tenant)) {
        tenancy.reload_plugin(plugin, plugins)?;
    }
    let wanted = |name: &str| tenant.is_none() && name == plugin;
    let uses = load_plugins(&config, None, &previous.plugins, wanted, plugins, &mut problems);
    let (entries, targets) = build_routes(&config, None, &previous.upstreams, &uses, &mut problems);
    let mut routes = Routes::build(&entries, targets, &mut problems);
    tenants::add_routes(&tenants, &previous.claims, &mut routes);
    let plugins = loaded(uses);
    let mut listeners = previous.listeners.clone();
    attach(&mut listeners, &config, &plugins, &mut problems);
    problems.into_result()?;
    Ok(Snapshot {
        generation: previous.generation + 1,
        config,
        listeners,
        asks_clients: previous.asks_clients,
        routes,
        upstreams: previous.upstreams.clone(),
        plugins,
        tenants,
        claims: previous.claims.clone(),
        refused: previous.refused.clone(),
        admin_token: previous.admin_token,
    })
}

/// Whether a configuration would run.
///
/// # Errors
/// All that is wrong, at once.
pub fn check(config: Config, plugins: &Plugins) -> Result<(), Problems> {
    build(config, None, plugins)?.refused.into_result()
}

/// What is built of one file, the operator's or a tenant's.
#[derive(Debug)]
pub struct Parts {
    /// By name.
    pub upstreams: BTreeMap<String, Arc<Upstream>>,
    /// Every use of a plugin, each once.
    pub plugins: Vec<Arc<PluginUse>>,
    /// The routes as configured.
    pub entries: Vec<config::Route>,
    /// The routes, each at the place of its entry.
    pub targets: Vec<Arc<Route>>,
}

/// What there was before a reload, so that what did not change can be kept.
#[derive(Default)]
pub(super) struct Before<'a> {
    pub(super) upstreams: Option<&'a BTreeMap<String, Arc<Upstream>>>,
    pub(super) plugins: &'a [Arc<PluginUse>],
}

impl Parts {
    /// Everything wrong becomes a problem; what is built then is not whole.
    pub(super) fn build(
        config: &Config,
        tenant: Option<&Arc<Tenant>>,
        before: Before<'_>,
        plugins: &Plugins,
        problems: &mut Problems,
    ) -> Self {
        let upstreams = build_upstreams(config, tenant, before.upstreams, problems);
        let uses = load_plugins(config, tenant, before.plugins, |_| true, plugins, problems);
        let (entries, targets) = build_routes(config, tenant, &upstreams, &uses, problems);
        let plugins = loaded(uses);
        Self { upstreams, plugins, entries, targets }
    }

    /// The same with one plugin as its component is now.
    pub(super) fn with_plugin_anew(
        &self,
        plugin: &str,
        config: &Config,
        tenant: &Arc<Tenant>,
        plugins: &Plugins,
        problems: &mut Problems,
    ) -> Self {
        let uses = load_plugins(config, Some(tenant), &self.plugins, |name| name == plugin, plugins, problems);
        let (entries, targets) = build_routes(config, Some(tenant), &self.upstreams, &uses, problems);
        let plugins = loaded(uses);
        Self { upstreams: self.upstreams.clone(), plugins, entries, targets }
    }
}

fn read_token(config: &Config, problems: &mut Problems) -> Option<Token> {
    let file = config.admin.as_ref()?.token_file.as_ref()?;
    let token = Token::read(&config.source.resolve(&file.value));
    token.map_err(|why| problems.push(&file.at, format!("`{}` {why}", file.value.display()))).ok()
}

/// Whether any of them asks clients for certificates.
fn asks_clients(listeners: &[Listener]) -> bool {
    listeners.iter().any(|listener| listener.tls.as_ref().is_some_and(ServerTls::asks))
}

fn build_listeners(
    config: &Config,
    previous: Option<&Snapshot>,
    tenants: &Arc<TenantsTls>,
    problems: &mut Problems,
) -> Vec<Listener> {
    // Whichever listener had them: its sessions can be resumed at any other that shows the same certificates.
    let known = |built: &ServerTls| {
        let mut before = previous?.listeners.iter().filter_map(|listener| listener.tls.as_ref());
        before.find(|known| known.same_as(built)).cloned()
    };
    let build = |listener: &config::Listener| {
        let tls = if listener.certificates.is_empty() {
            None
        } else {
            let built = ServerTls::build(listener, &config.source, problems)?;
            Some(known(&built).unwrap_or(built).with(tenants))
        };
        let proxy_protocol = listener.proxy_protocol.clone().map(Into::into);
        let plugins = Arc::default();
        Some(Listener { address: listener.address, tls, http2: listener.http2, proxy_protocol, plugins })
    };
    config.listeners.iter().filter_map(build).collect()
}

/// Gives the listeners their plugins.
fn attach(listeners: &mut [Listener], config: &Config, uses: &[Arc<PluginUse>], problems: &mut Problems) {
    // Where one could not be built, that has been told, and there will be no snapshot.
    for (listener, settings) in listeners.iter_mut().zip(&config.listeners) {
        let found = settings.plugins.iter().filter_map(|plugin| {
            let (name, own) = config.plugins.get_key_value(&plugin.name.value)?;
            let own = plugin.of(own);
            let found = uses.iter().find(|known| known.is(name, &own))?;
            if !found.has(Hook::OnConnect) {
                // It would let everybody in, and look as if it did not.
                let sentence = format!("plugin {name:?} cannot look at connections: it has no hook on-connect");
                problems.push(&plugin.name.at, sentence);
            }
            Some(found.clone())
        });
        listener.plugins = found.collect();
    }
}

fn build_upstreams(
    config: &Config,
    tenant: Option<&Arc<Tenant>>,
    before: Option<&BTreeMap<String, Arc<Upstream>>>,
    problems: &mut Problems,
) -> BTreeMap<String, Arc<Upstream>> {
    let mut upstreams = BTreeMap::new();
    for (name, settings) in &config.upstreams {
        let known = before.and_then(|before| before.get(name));
        let full_name = tenant.map(|tenant| format!("{}/{name}", tenant.name));
        let full_name = full_name.as_ref().unwrap_or(name);
        if let Some(upstream) = Upstream::build(full_name, settings, known, &config.source, problems) {
            upstreams.insert(name.clone(), upstream);
        }
    }
    upstreams
}

fn check_key_spaces(settings: &config::Kv, problems: &mut Problems) {
    if let (Some(url), Some(Err(sentence))) = (&settings.redis, kv::Server::new(settings)) {
        problems.push(&url.at, sentence);
    }
}

fn build_routes(
    config: &Config,
    tenant: Option<&Arc<Tenant>>,
    upstreams: &BTreeMap<String, Arc<Upstream>>,
    uses: &[Use<'_>],
    problems: &mut Problems,
) -> (Vec<config::Route>, Vec<Arc<Route>>) {
    let pickers = find_pickers(config, uses, problems);
    let mut entries = Vec::with_capacity(config.routes.len());
    let mut targets = Vec::with_capacity(config.routes.len());
    for route in &config.routes {
        let action = match &route.action {
            config::Action::Upstream(name) => {
                let Some(upstream) = upstreams.get(&name.value) else { continue };
                let picker = pickers.get(name.value.as_str()).map(|picker| Arc::clone(picker));
                Action::Upstream { upstream: Arc::clone(upstream), picker }
            }
            config::Action::Respond(respond) => {
                let Some(respond) = build_respond(respond, &route.at, problems) else { continue };
                Action::Respond(respond)
            }
        };
        let chain = route.plugins.iter().filter_map(|plugin| {
            let (name, own) = config.plugins.get_key_value(&plugin.name.value)?;
            let found = find_use(uses, name, &plugin.of(own)).cloned()?;
            if found.is_for_connections_only() {
                let sentence = format!("plugin {name:?} looks at connections only, and a route has none");
                problems.push(&plugin.name.at, sentence);
                problems.hint("name it in `plugins` of a [[listener]]");
            }
            Some(found)
        });
        entries.push(route.clone());
        targets.push(Arc::new(Route {
            name: route.name.as_str().into(),
            names_host: tenant.is_some() || !route.hosts.is_empty(),
            tenant: tenant.cloned(),
            chain: Arc::new(Chain::new(chain.collect())),
            action,
            timeout: route.timeout,
            body_limit: route.body_limit.unwrap_or(config.limits.body),
            host: route.host.clone(),
        }));
    }
    (entries, targets)
}

/// The plugins that pick backends, by upstream.
fn find_pickers<'a>(
    config: &'a Config,
    uses: &'a [Use<'_>],
    problems: &mut Problems,
) -> BTreeMap<&'a str, &'a Arc<PluginUse>> {
    let mut pickers = BTreeMap::new();
    for (upstream, settings) in &config.upstreams {
        let Balance::Plugin(name) = &settings.balance else { continue };
        let Some(plugin) = config.plugins.get(&name.value) else { continue };
        let Some(picker) = find_use(uses, &name.value, plugin) else { continue };
        if picker.picks_backends() {
            pickers.insert(upstream.as_str(), picker);
        } else {
            problems.push(&name.at, format!("plugin {:?} cannot balance: it has no hook pick-backend", name.value));
        }
    }
    pickers
}

fn build_respond(respond: &config::Respond, at: &At, problems: &mut Problems) -> Option<Respond> {
    let Ok(status) = StatusCode::from_u16(respond.status) else {
        problems.push(at, format!("{} is no status code", respond.status));
        return None;
    };
    let Ok(content_type) = HeaderValue::from_str(&respond.content_type) else {
        problems.push(at, format!("{:?} cannot be sent as content-type", respond.content_type));
        return None;
    };
    let body = Bytes::copy_from_slice(respond.body.as_bytes());
    Some(Respond { status, body, content_type, location: respond.location.clone() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use std::path::Path;

    use http::{HeaderMap, Method};

    use super::*;
    use crate::config::{Source, parse};

    fn config(text: &str) -> Config {
        let source = Source { path: Path::new("lockgate.toml").to_owned(), text: text.to_owned() };
        parse(source).unwrap_or_else(|problems| panic!("{problems}"))
    }

    fn built(text: &str, previous: Option<&Snapshot>, plugins: &Plugins) -> Snapshot {
        build(config(text), previous, plugins).unwrap_or_else(|problems| panic!("{problems}"))
    }

    fn route(snapshot: &Snapshot, path: &str) -> Arc<Route> {
        Arc::clone(snapshot.routes.find("a.test", path, &Method::GET, &HeaderMap::new()).unwrap())
    }

    const TWO: &str = r#"
        [[listener]]
        address = "127.0.0.1:0"
        [upstream.app]
        backends = ["http://127.0.0.1:3000", "http://127.0.0.1:3001"]
        balance = { plugin = "rr" }
        [upstream.other]
        backends = ["http://127.0.0.1:3002"]
        [plugin.rr]
        bundled = "round-robin"
        [plugin.profiler]
        bundled = "profiler"
        [[route]]
        path = "/a"
        plugins = ["profiler"]
        upstream = "app"
        [[route]]
        path = "/b"
        plugins = [{ name = "profiler", config = { slow_threshold_ms = 500 } }, "profiler"]
        upstream = "other"
        [[route]]
        respond = { status = 204 }
    "#;

    #[test]
    fn names_become_what_they_name() {
        let plugins = Plugins::new().unwrap();
        let snapshot = built(TWO, None, &plugins);
        assert_eq!(snapshot.generation, 1);
        let (a, b, rest) = (route(&snapshot, "/a/x"), route(&snapshot, "/b"), route(&snapshot, "/"));
        let Action::Upstream { upstream, picker } = &a.action else { panic!("{a:?}") };
        assert!(Arc::ptr_eq(upstream, &snapshot.upstreams["app"]));
        assert_eq!(picker.as_ref().map(|picker| &*picker.name), Some("rr"));
        assert!(matches!(&b.action, Action::Upstream { picker: None, .. }));
        assert!(matches!(&rest.action, Action::Respond(respond) if respond.status == 204));
        assert_eq!(rest.body_limit, snapshot.config.limits.body);

        // The same configuration is the same use.
        assert!(Arc::ptr_eq(&a.chain.uses[0], &b.chain.uses[1]));
        assert!(!Arc::ptr_eq(&b.chain.uses[0], &b.chain.uses[1]));
        assert_eq!(snapshot.plugins.len(), 3);
    }

    #[test]
    fn what_did_not_change_is_kept() {
        let plugins = Plugins::new().unwrap();
        let first = built(TWO, None, &plugins);
        let second = built(&TWO.replace(":3002", ":3003"), Some(&first), &plugins);
        assert_eq!(second.generation, 2);
        assert!(Arc::ptr_eq(&first.upstreams["app"], &second.upstreams["app"]));
        assert!(!Arc::ptr_eq(&first.upstreams["other"], &second.upstreams["other"]));
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let text = TWO
            .replace(":0\"", ":0\"\n[[listener.certificate]]\ncertificate = \"none.crt\"\nkey = \"none.key\"")
            .replace("[\"http://127.0.0.1:3002\"]", "[\"https://127.0.0.1:3002\"]\ntls = { ca = \"none.pem\" }");
        let problems = build(config(&text), None, &Plugins::new().unwrap()).unwrap_err();
        let paths: Vec<_> = problems.iter().map(|problem| problem.at.path.as_str()).collect();
        assert_eq!(
            paths,
            ["listener[0].certificate[0].certificate", "listener[0].certificate[0].key", "upstream.other.tls.ca"],
            "{problems}"
        );
    }
}
