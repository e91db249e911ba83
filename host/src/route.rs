//! Which route is this? The most specific one that matches, found without looking at all of them.
//!
//! The order, from the most to the least specific:
//!
//! 1. **Host**: a name, then the longest `*.wildcard`, then routes without hosts. A wildcard stands for one or more labels:
//!    `*.example.com` matches `a.example.com` and `a.b.example.com`, but not `example.com`.
//! 2. **Path**, compared segment by segment from the left: at the first difference, a segment that is spelt out goes before
//!    `{name}`, which goes before `{*name}`, which goes before a prefix that ended earlier. So an exact path goes before every
//!    other, and of two prefixes the longer one. `{name}` and `{*name}` do not match nothing.
//! 3. **Method**: a route that names some goes before one that takes all.
//! 4. **Header fields**: the more of them, the earlier; then the more of them with a value other than `"*"`.
//! 5. What is still equal is tried in the order of the file. (Routes that say the same are refused when the file is read.)
//!
//! Where the method or the fields of a route do not fit, the next one in this order is tried, down to routes for every host.
//!
//! Hosts have owners: the operator and the tenants. The owner of the most specific name or wildcard that covers a request's
//! host owns the request; only its routes are tried, and its routes without hosts are for all hosts of its own.

mod paths;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Debug;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::config::{self, Problems};
use paths::Paths;

/// All routes of a configuration, each with its target `T`.
#[derive(Debug)]
pub struct Routes<T> {
    targets: Vec<T>,
    names: HashMap<Box<str>, Host>,
    /// By what follows the `*.`.
    wildcards: HashMap<Box<str>, Host>,
    longest_wildcard: usize,
    owners: Vec<Owned>,
}

/// Who has hosts and routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner(usize);

/// The owner of every host that is no tenant's.
pub const OPERATOR: Owner = Owner(0);

/// The routes of one host.
#[derive(Debug)]
struct Host {
    owner: Owner,
    paths: Paths,
}

/// What an owner has beside the routes of single hosts.
#[derive(Debug, Default)]
struct Owned {
    /// Routes for all of its hosts.
    any: Paths,
    /// Where its targets begin.
    first: usize,
}

impl<T> Routes<T> {
    /// Makes the look-up for the operator's `routes`, of which each leads to the target at the same place in `targets`.
    ///
    /// Routes that were read from a file are sound; of others, what cannot be matched goes to `problems`.
    pub fn build(routes: &[config::Route], targets: Vec<T>, problems: &mut Problems) -> Self {
        let mut all = Self {
            targets: Vec::new(),
            names: HashMap::new(),
            wildcards: HashMap::new(),
            longest_wildcard: 0,
            owners: vec![Owned::default()],
        };
        all.add(OPERATOR, routes, targets, problems);
        all
    }

    /// A further owner, who has nothing yet.
    pub fn owner(&mut self) -> Owner {
        self.owners.push(Owned { any: Paths::default(), first: self.targets.len() });
        Owner(self.owners.len() - 1)
    }

    /// Gives a host, a name or a `*.wildcard`, to that owner, unless it has one.
    pub fn give(&mut self, host: &str, owner: Owner) {
        self.host(host, owner);
    }

    /// Adds routes of one owner, as [`Routes::build`] does; a host that is another's is left alone. To be called once for
    /// each owner, before the next is made.
    pub fn add(&mut self, owner: Owner, routes: &[config::Route], targets: Vec<T>, problems: &mut Problems) {
        debug_assert_eq!(routes.len(), targets.len(), "each route has a target");
        let first = self.targets.len();
        self.targets.extend(targets);
        for (place, route) in routes.iter().enumerate() {
            let Some(entry) = Entry::new(route, first + place, problems) else { continue };
            if route.hosts.is_empty() {
                self.owners[owner.0].any.insert(&route.path.value, entry.clone());
            }
            for host in &route.hosts {
                let host = self.host(&host.value.to_ascii_lowercase(), owner);
                if host.owner == owner {
                    host.paths.insert(&route.path.value, entry.clone());
                }
            }
        }
    }

    /// The target of the most specific route that matches. `host` is in lower case and has no port; `path` is canonical and
    /// has no query.
    pub fn find(&self, host: &str, path: &str, method: &Method, headers: &HeaderMap) -> Option<&T> {
        let request = Request { method, headers };
        let name = self.names.get(host);
        let wildcards = self.suffixes(host).filter_map(|suffix| self.wildcards.get(suffix));
        let mut owner = None;
        for host in name.into_iter().chain(wildcards) {
            if *owner.get_or_insert(host.owner) == host.owner
                && let Some(target) = host.paths.find(path, request)
            {
                return self.targets.get(target);
            }
        }
        let any = &self.owners[owner.unwrap_or(OPERATOR).0].any;
        self.targets.get(any.find(path, request)?)
    }

    /// Every host of that owner and, for each, the places of its routes among its own, in the order in which they are
    /// tried. `*` stands for all of its hosts.
    #[must_use]
    pub fn in_order(&self, owner: Owner) -> Vec<(String, Vec<usize>)> {
        let own = |hosts: &'_ HashMap<Box<str>, Host>| -> Vec<(String, Vec<usize>)> {
            let own = hosts.iter().filter(|(_, host)| host.owner == owner);
            own.map(|(name, host)| (name.to_string(), host.paths.in_order())).collect()
        };
        let (mut names, mut wildcards) = (own(&self.names), own(&self.wildcards));
        names.sort();
        wildcards.sort_by_key(|(suffix, _)| (std::cmp::Reverse(suffix.matches('.').count()), suffix.clone()));
        let wildcards = wildcards.into_iter().map(|(suffix, places)| (format!("*.{suffix}"), places));
        let Owned { any, first } = &self.owners[owner.0];
        let all = names.into_iter().chain(wildcards).chain([("*".to_owned(), any.in_order())]);
        let own_places = |places: Vec<usize>| places.into_iter().map(|place| place - first).collect();
        all.filter(|(_, places)| !places.is_empty()).map(|(host, places)| (host, own_places(places))).collect()
    }

    fn host(&mut self, host: &str, owner: Owner) -> &mut Host {
        let new = || Host { owner, paths: Paths::default() };
        match host.strip_prefix("*.") {
            Some(suffix) => {
                self.longest_wildcard = self.longest_wildcard.max(suffix.len());
                self.wildcards.entry(suffix.into()).or_insert_with(new)
            }
            None => self.names.entry(host.into()).or_insert_with(new),
        }
    }

    /// What follows each dot of `host`, the longest first. Those that are longer than any wildcard are left out, so that a
    /// host with thousands of dots costs little.
    fn suffixes<'h>(&self, host: &'h str) -> impl Iterator<Item = &'h str> + use<'h, T> {
        let first = host.len().saturating_sub(self.longest_wildcard + 1);
        // A dot at the very front would leave the wildcard nothing to stand for.
        let dots = host.bytes().enumerate().skip(first.max(1)).filter(|(_, byte)| *byte == b'.');
        dots.map(|(dot, _)| &host[dot + 1..])
    }
}

/// What of a request is compared after its host and path.
#[derive(Debug, Clone, Copy)]
struct Request<'r> {
    method: &'r Method,
    headers: &'r HeaderMap,
}

/// A route at its place in the look-up: what remains to be compared there.
#[derive(Debug, Clone)]
struct Entry {
    target: usize,
    methods: Vec<Method>,
    /// Names, with the value that is asked for unless any will do.
    headers: Vec<(HeaderName, Option<HeaderValue>)>,
}

impl Entry {
    fn new(route: &config::Route, target: usize, problems: &mut Problems) -> Option<Self> {
        let mut sound = true;
        let mut methods = Vec::new();
        for method in &route.methods {
            match Method::from_bytes(method.value.as_bytes()) {
                Ok(method) => methods.push(method),
                Err(_) => {
                    problems.push(&method.at, format!("{:?} is not a method", method.value));
                    sound = false;
                }
            }
        }
        let mut headers = Vec::new();
        for (name, value) in &route.headers {
            let wanted = (value != "*").then(|| HeaderValue::from_str(value)).transpose();
            match (HeaderName::try_from(&name.value), wanted) {
                (Ok(name), Ok(value)) => headers.push((name, value)),
                _ => {
                    problems.push(&name.at, format!("{:?} = {value:?} cannot be in a header section", name.value));
                    sound = false;
                }
            }
        }
        sound.then_some(Self { target, methods, headers })
    }

    fn matches(&self, request: Request<'_>) -> bool {
        let method = self.methods.is_empty() || self.methods.contains(request.method);
        method
            && self.headers.iter().all(|(name, wanted)| match wanted {
                None => request.headers.contains_key(name),
                Some(value) => request.headers.get_all(name).iter().any(|found| found == value),
            })
    }

    /// The smaller, the earlier it is tried.
    fn rank(&self) -> impl Ord + use<> {
        let values = self.headers.iter().filter(|(_, value)| value.is_some()).count();
        let most = std::cmp::Reverse((!self.methods.is_empty(), self.headers.len(), values));
        (most, self.target)
    }
}

/// A `Host` field's or an authority's value without its port and without the dot of a fully qualified name, in lower case.
#[must_use]
pub fn host_without_port(host: &str) -> Cow<'_, str> {
    let name = match host.bytes().rposition(|byte| byte == b':') {
        // A colon inside of brackets belongs to an IPv6 address.
        Some(colon) if !host.ends_with(']') => &host[..colon],
        _ => host,
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

#[cfg(test)]
mod tests;
