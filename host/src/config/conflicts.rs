//! Routes that say the same: no request could tell which of them is meant.

use std::collections::{BTreeMap, HashMap};

use super::{Located, PathMatch, Problems, Route};

/// Reports each route that matches, on some host, with the same path and fields and a method in common, what an earlier one
/// matches.
pub(super) fn check(routes: &[&Route], problems: &mut Problems) {
    let mut seen: HashMap<Match<'_>, Vec<&Route>> = HashMap::new();
    for route in routes {
        let mut rivals: Vec<(&Route, Option<&str>)> = Vec::new();
        for one in matches(route) {
            let host = one.host;
            let earlier = seen.entry(one).or_default();
            let other = |other: &&&Route| !std::ptr::eq(*route, **other);
            let rival = earlier.iter().filter(other).find(|other| have_a_method_in_common(route, other));
            // Several hosts in common are one mistake.
            if let Some(rival) = rival.filter(|rival| !rivals.iter().any(|(known, _)| std::ptr::eq(*known, **rival))) {
                rivals.push((rival, host));
            }
            earlier.push(route);
        }
        for (rival, host) in rivals {
            let place = problems.place(&rival.path.at);
            let on = host.map(|host| format!(" on {host:?}")).unwrap_or_default();
            problems.push(&route.path.at, format!("this matches the same requests{on} as the route {:?}", rival.name));
            problems.hint(format!("that one is at {place}; give one of them another host, path, method or field"));
        }
    }
}

/// All that a route asks of a request, but for its method; one for each of its hosts.
#[derive(PartialEq, Eq, Hash)]
struct Match<'r> {
    host: Option<&'r str>,
    path: PathMatch,
    headers: BTreeMap<&'r str, &'r str>,
}

fn matches(route: &Route) -> impl Iterator<Item = Match<'_>> {
    let any = route.hosts.is_empty().then_some(None);
    let hosts = any.into_iter().chain(route.hosts.iter().map(|host| Some(host.value.as_str())));
    hosts.map(|host| Match {
        host,
        path: shape(&route.path),
        headers: route.headers.iter().map(|(name, value)| (name.value.as_str(), value.as_str())).collect(),
    })
}

/// The same for paths that match the same: wildcards lose their names, and a prefix its last slash.
fn shape(path: &Located<PathMatch>) -> PathMatch {
    match &path.value {
        PathMatch::Prefix(path) => PathMatch::Prefix(path.trim_end_matches('/').to_owned()),
        PathMatch::Exact(path) => PathMatch::Exact(path.clone()),
        PathMatch::Pattern(path) => {
            let segment = |segment: &str| match segment.strip_prefix('{') {
                Some(name) => if name.starts_with('*') { "{*}" } else { "{}" }.to_owned(),
                None => segment.to_owned(),
            };
            PathMatch::Pattern(path.split('/').map(segment).collect::<Vec<_>>().join("/"))
        }
    }
}

/// A route that names methods goes before one that takes all, so these two are no rivals.
fn have_a_method_in_common(one: &Route, other: &Route) -> bool {
    match (one.methods.is_empty(), other.methods.is_empty()) {
        (true, true) => true,
        (false, false) => one.methods.iter().any(|a| other.methods.iter().any(|b| a.value == b.value)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Action, At, Respond, Source};

    fn route(methods: &[&str], hosts: &[&str], path: PathMatch, headers: &[(&str, &str)]) -> Route {
        let located = |text: &&str| Located { value: (*text).to_owned(), at: At::default() };
        let mut route = Route::new(At::default(), Action::Respond(Respond::default()));
        route.methods = methods.iter().map(located).collect();
        route.hosts = hosts.iter().map(located).collect();
        route.path.value = path;
        route.headers = headers.iter().map(|(name, value)| (located(name), (*value).to_owned())).collect();
        route
    }

    fn conflicts(one: &Route, other: &Route) -> usize {
        let mut problems = Problems::new(&Source::default());
        check(&[one, other], &mut problems);
        problems.len()
    }

    #[test]
    fn routes_that_say_the_same_are_reported_once() {
        let prefix = |path: &str| PathMatch::Prefix(path.into());
        let one = route(&["GET", "PUT"], &["a", "b"], prefix("/x"), &[("k", "1"), ("l", "2")]);
        assert_eq!(conflicts(&one, &one.clone()), 1);
        let same = route(&["PUT"], &["b"], prefix("/x/"), &[("l", "2"), ("k", "1")]);
        assert_eq!(conflicts(&one, &same), 1);
        for other in [
            route(&["POST"], &["a"], prefix("/x"), &[("k", "1"), ("l", "2")]),
            route(&[], &["a"], prefix("/x"), &[("k", "1"), ("l", "2")]),
            route(&["GET"], &[], prefix("/x"), &[("k", "1"), ("l", "2")]),
            route(&["GET"], &["a"], PathMatch::Exact("/x".into()), &[("k", "1"), ("l", "2")]),
            route(&["GET"], &["a"], prefix("/x"), &[("k", "1")]),
            route(&["GET"], &["a"], prefix("/x"), &[("k", "1"), ("l", "*")]),
        ] {
            assert_eq!(conflicts(&one, &other), 0, "{other:?}");
        }
    }

    #[test]
    fn the_names_of_wildcards_make_no_difference() {
        let pattern = |path: &str| route(&[], &[], PathMatch::Pattern(path.into()), &[]);
        assert_eq!(conflicts(&pattern("/a/{x}/{*y}"), &pattern("/a/{id}/{*rest}")), 1);
        assert_eq!(conflicts(&pattern("/a/{x}"), &pattern("/a/{*x}")), 0);
    }
}
