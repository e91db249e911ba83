//! The tenants of a snapshot. Each is built from its own file alone; what is wrong with one is that one's problem: it goes on
//! with what it had.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;

use super::build::{Before, Parts};
use super::{Action, Route, Snapshot};
use crate::config::{self, Claims, Config, HostHeader, Member, Members, Problems, Terms};
use crate::plugin::Plugins;
use crate::reason::Reason;
use crate::route::Routes;
use crate::tenant::Tenant;
use crate::tls::TenantTls;

/// A tenant in a snapshot.
#[derive(Debug, Clone)]
pub struct Tenancy {
    /// The tenant itself, the same from one snapshot to the next.
    pub tenant: Arc<Tenant>,
    /// What the operator lets it have.
    pub terms: Terms,
    /// What it serves: what its file says, or what it said when it was last right. Without any, its hosts are answered 503.
    pub served: Option<Arc<Served>>,
    /// Whether its file is other than what is served.
    pub refused: bool,
}

/// What a tenant serves.
#[derive(Debug)]
pub struct Served {
    /// What its file said.
    pub config: Config,
    /// Its upstreams, plugins and routes.
    pub parts: Parts,
    /// Its certificates, if it has some.
    pub tls: Option<Arc<TenantTls>>,
}

impl Tenancy {
    /// Takes up what the component of that plugin is now.
    pub(super) fn reload_plugin(&mut self, plugin: &str, plugins: &Plugins) -> Result<(), Problems> {
        let Some(served) = &self.served else { return Ok(()) };
        let mut problems = Problems::new(&served.config.source);
        let parts = served.parts.with_plugin_anew(plugin, &served.config, &self.tenant, plugins, &mut problems);
        problems.into_result()?;
        self.served = Some(Arc::new(Served { config: served.config.clone(), parts, tls: served.tls.clone() }));
        Ok(())
    }
}

/// Builds all of them. What is wrong comes beside it, one report for each file.
pub(super) fn build(
    members: Members,
    operators: &Config,
    previous: Option<&Snapshot>,
    plugins: &Plugins,
) -> (BTreeMap<String, Tenancy>, Problems) {
    let Members { all, strays, claims } = members;
    let builder = Builder { operators, claims: &claims, previous, plugins };
    let mut all: Vec<_> = all.into_iter().collect();
    // Plugins that are not in the cache take a while to compile, so as many tenants are built at once as there are cores.
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let share = all.len().div_ceil(threads).max(1);
    let mut tenancies = BTreeMap::new();
    let mut refused = Problems::new(&config::Source::default());
    strays.into_iter().for_each(|stray| refused.add_file(stray));
    let built: Vec<_> = thread::scope(|scope| {
        let mut threads = Vec::new();
        while !all.is_empty() {
            let rest = all.split_off(share.min(all.len()));
            let part = std::mem::replace(&mut all, rest);
            let builder = &builder;
            let build = move || part.into_iter().map(|(name, member)| builder.build(name, member)).collect::<Vec<_>>();
            threads.push(scope.spawn(build));
        }
        // A panic of one is a panic of all, as if it had been done here.
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    for (name, tenancy, problems) in built {
        refused.add_file(problems);
        tenancies.insert(name, tenancy);
    }
    (tenancies, refused)
}

/// Adds the routes and the hosts of all tenants.
pub(super) fn add_routes(tenancies: &BTreeMap<String, Tenancy>, claims: &Claims, routes: &mut Routes<Arc<Route>>) {
    let mut hosts: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (host, tenant) in claims.of_tenants() {
        hosts.entry(tenant).or_default().push(host);
    }
    for (name, tenancy) in tenancies {
        let owner = routes.owner();
        for host in hosts.get(name.as_str()).into_iter().flatten() {
            routes.give(host, owner);
        }
        let (entries, targets) = match &tenancy.served {
            Some(served) => (served.parts.entries.clone(), served.parts.targets.clone()),
            None => unavailable(&tenancy.tenant),
        };
        // Found sound when they were read.
        routes.add(owner, &entries, targets, &mut Problems::new(&config::Source::default()));
    }
}

struct Builder<'a> {
    operators: &'a Config,
    claims: &'a Claims,
    previous: Option<&'a Snapshot>,
    plugins: &'a Plugins,
}

impl Builder<'_> {
    fn build(&self, name: String, member: Member) -> (String, Tenancy, Problems) {
        let Member { terms, config, mut problems, .. } = member;
        let known = self.previous.and_then(|previous| previous.tenants.get(&name));
        let tenant = known.map_or_else(|| Tenant::new(&name, &terms.quotas), |known| Arc::clone(&known.tenant));
        let mut served = None;
        if let Some(config) = config {
            let before = known.and_then(|known| known.served.as_ref()).map_or(Before::default(), |served| Before {
                upstreams: Some(&served.parts.upstreams),
                plugins: &served.parts.plugins,
            });
            let mut more = Problems::new(&config.source);
            let parts = Parts::build(&config, Some(&tenant), before, self.plugins, &mut more);
            let tls = TenantTls::build(&tenant.name, &config, self.claims, &mut more);
            let before = known.and_then(|known| known.served.as_ref()?.tls.as_ref());
            let tls = tls.map(|built| before.filter(|known| known.same_as(&built)).map_or(built, Arc::clone));
            problems.add_elsewhere(&more);
            served = problems.is_empty().then(|| Arc::new(Served { config, parts, tls }));
        }
        let refused = !problems.is_empty();
        if refused {
            served =
                known.and_then(|known| known.served.clone()).filter(|served| self.still_fits(&name, served, &terms));
        }
        (name, Tenancy { tenant, terms, served, refused }, problems)
    }

    /// Whether what was served is within the terms that hold now.
    fn still_fits(&self, name: &str, served: &Served, terms: &Terms) -> bool {
        let mut problems = Problems::new(&served.config.source);
        self.claims.check(name, &served.config, terms, &self.operators.source, &mut problems);
        terms.check(name, &served.config, self.operators, &mut problems);
        problems.is_empty() && terms.covers_limits(&served.config)
    }
}

/// One route for everything, which says that there is nothing.
fn unavailable(tenant: &Arc<Tenant>) -> (Vec<config::Route>, Vec<Arc<Route>>) {
    let respond = config::Action::Respond(config::Respond::default());
    let route = Route {
        name: "-".into(),
        names_host: true,
        tenant: Some(Arc::clone(tenant)),
        chain: Arc::default(),
        action: Action::Refuse(Reason::TenantUnavailable),
        timeout: std::time::Duration::from_secs(1),
        body_limit: 0,
        host: HostHeader::Preserve,
    };
    (vec![config::Route::new(config::At::default(), respond)], vec![Arc::new(route)])
}
