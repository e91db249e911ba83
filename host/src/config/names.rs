//! Whether the names in a configuration fit together: what is referred to exists, and nothing is there twice.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use super::{Action, At, Balance, Config, Located, Problem, Problems, conflicts, tenants};

pub(super) fn check(config: &Config, problems: &mut Problems) {
    check_addresses(config, problems);
    check_listeners(config, problems);
    check_upstreams(config, problems);
    check_routes(config, problems);
    tenants::check(config, problems);
    let unsound = routes_with_unsound_matches(problems);
    let sound: Vec<_> = config.routes.iter().filter(|route| !unsound.contains(&route.at.path)).collect();
    conflicts::check(&sound, problems);
}

/// The paths of the routes in which something is wrong with what they ask of a request: it might then be meant to be
/// something else, so comparing it would be idle.
fn routes_with_unsound_matches(problems: &Problems) -> HashSet<String> {
    let route = |problem: &Problem| {
        let (route, key) = problem.at.path.split_once("].")?;
        let key = key.split(['.', '[']).next()?;
        (route.starts_with("route[") && !OTHER_KEYS.contains(&key)).then(|| format!("{route}]"))
    };
    problems.iter().filter_map(route).collect()
}

fn check_addresses(config: &Config, problems: &mut Problems) {
    let listeners = config.listeners.iter().map(|listener| (listener.address, &listener.at));
    let admin = config.admin.iter().map(|admin| (admin.address, &admin.at));
    // Port 0 is whichever is free, so two of them never meet.
    let fixed = listeners.chain(admin).filter(|(address, _)| address.port() != 0);
    report_twice(fixed, problems, |address| format!("{address} is listened on already"));
}

fn check_listeners(config: &Config, problems: &mut Problems) {
    for plugin in config.listeners.iter().flat_map(|listener| &listener.plugins) {
        check_plugin(config, &plugin.name, problems);
    }
}

fn check_upstreams(config: &Config, problems: &mut Problems) {
    for upstream in config.upstreams.values() {
        if let Balance::Plugin(name) = &upstream.balance {
            check_plugin(config, name, problems);
        }
        let backends = upstream.backends.iter().map(|backend| (&backend.address, &backend.at));
        report_twice(backends, problems, |address| {
            format!("the backend {:?} is there already", address.to_string().trim_end_matches('/'))
        });
        let secure = upstream.backends.iter().any(|backend| backend.address.scheme_str() == Some("https"));
        let tls = &upstream.tls;
        let at = tls.ca.as_ref().map(|ca| &ca.at).or(tls.server_name.as_ref().map(|name| &name.at));
        if let Some(at) = at.filter(|_| !secure && !upstream.backends.is_empty()) {
            problems
                .push(at, "no backend of this upstream is spoken to with TLS")
                .hint("their addresses begin with https://");
        }
    }
}

fn check_routes(config: &Config, problems: &mut Problems) {
    let names = config.routes.iter().map(|route| (&route.name, &route.at));
    report_twice(names, problems, |name| format!("a route named {name:?} is there already"));
    for route in &config.routes {
        for plugin in &route.plugins {
            check_plugin(config, &plugin.name, problems);
        }
        if let Action::Upstream(name) = &route.action
            && !config.upstreams.contains_key(&name.value)
        {
            problems.push(&name.at, format!("no upstream named {:?}", name.value));
            problems.did_you_mean(&name.value, config.upstreams.keys().map(String::as_str));
        }
        let hosts = route.hosts.iter().map(|host| (&host.value, &host.at));
        report_twice(hosts, problems, |host| format!("the host {host:?} is there already"));
        let methods = route.methods.iter().map(|method| (&method.value, &method.at));
        report_twice(methods, problems, |method| format!("the method {method:?} is there already"));
        let headers = route.headers.iter().map(|(name, _)| (&name.value, &name.at));
        report_twice(headers, problems, |name| format!("the field {name:?} is there already"));
    }
}

fn check_plugin(config: &Config, name: &Located<String>, problems: &mut Problems) {
    if !config.plugins.contains_key(&name.value) {
        problems.push(&name.at, format!("no plugin named {:?}", name.value));
        problems.did_you_mean(&name.value, config.plugins.keys().map(String::as_str));
    }
}

/// The keys of a route that ask nothing of a request.
const OTHER_KEYS: [&str; 7] = ["name", "plugins", "upstream", "respond", "timeout", "body_limit", "host"];

/// Reports each thing that is there a second time, and where the first is.
fn report_twice<'a, T: Hash + Eq + Clone>(
    things: impl IntoIterator<Item = (T, &'a At)>,
    problems: &mut Problems,
    sentence: impl Fn(&T) -> String,
) {
    let mut first: HashMap<T, &At> = HashMap::new();
    for (thing, at) in things {
        match first.get(&thing) {
            Some(first) => {
                let place = problems.place(first);
                problems.push(at, sentence(&thing)).hint(format!("the first is at {place}"));
            }
            None => {
                first.insert(thing, at);
            }
        }
    }
}
