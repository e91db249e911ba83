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
    names: HashMap<Box<str>, Paths>,
    /// By what follows the `*.`.
    wildcards: HashMap<Box<str>, Paths>,
    longest_wildcard: usize,
    any: Paths,
}

impl<T> Routes<T> {
    /// Makes the look-up for `routes`, of which each leads to the target at the same place in `targets`.
    ///
    /// Routes that were read from a file are sound; of others, what cannot be matched goes to `problems`.
    pub fn build(routes: &[config::Route], targets: Vec<T>, problems: &mut Problems) -> Self {
        debug_assert_eq!(routes.len(), targets.len(), "each route has a target");
        let mut all = Self {
            targets,
            names: HashMap::new(),
            wildcards: HashMap::new(),
            longest_wildcard: 0,
            any: Paths::default(),
        };
        for (target, route) in routes.iter().enumerate() {
            let Some(entry) = Entry::new(route, target, problems) else { continue };
            if route.hosts.is_empty() {
                all.any.insert(&route.path.value, entry.clone());
            }
            for host in &route.hosts {
                all.host(&host.value.to_ascii_lowercase()).insert(&route.path.value, entry.clone());
            }
        }
        all
    }

    /// The target of the most specific route that matches. `host` is in lower case and has no port; `path` is canonical and
    /// has no query.
    pub fn find(&self, host: &str, path: &str, method: &Method, headers: &HeaderMap) -> Option<&T> {
        let request = Request { method, headers };
        let name = self.names.get(host);
        let wildcards = self.suffixes(host).filter_map(|suffix| self.wildcards.get(suffix));
        let target =
            name.into_iter().chain(wildcards).chain([&self.any]).find_map(|paths| paths.find(path, request))?;
        self.targets.get(target)
    }

    /// Every host and, for each, the places of its routes, in the order in which they are tried.
    #[must_use]
    pub fn in_order(&self) -> Vec<(String, Vec<usize>)> {
        let mut names: Vec<_> = self.names.iter().collect();
        names.sort_by_key(|(name, _)| *name);
        let mut wildcards: Vec<_> = self.wildcards.iter().collect();
        wildcards.sort_by_key(|(suffix, _)| (std::cmp::Reverse(suffix.matches('.').count()), *suffix));
        let names = names.into_iter().map(|(name, paths)| (name.to_string(), paths.in_order()));
        let wildcards = wildcards.into_iter().map(|(suffix, paths)| (format!("*.{suffix}"), paths.in_order()));
        let any = ("*".to_owned(), self.any.in_order());
        names.chain(wildcards).chain([any]).filter(|(_, places)| !places.is_empty()).collect()
    }

    fn host(&mut self, host: &str) -> &mut Paths {
        match host.strip_prefix("*.") {
            Some(suffix) => {
                self.longest_wildcard = self.longest_wildcard.max(suffix.len());
                self.wildcards.entry(suffix.into()).or_default()
            }
            None => self.names.entry(host.into()).or_default(),
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
    let name = match host.rfind(':') {
        // A colon inside of brackets belongs to an IPv6 address.
        Some(colon) if !host[colon..].contains(']') => &host[..colon],
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
