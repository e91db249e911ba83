#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use super::*;
use crate::config::{Action, At, Located, PathMatch, Respond, Route, Source};

/// A route in a few words: `GET,POST host1,host2 =/exact x-a:1 x-b:*`, `* * /prefix`, `* * ~/pattern/{id}`.
fn route(text: &str) -> Route {
    let words: Vec<_> = text.split(' ').collect();
    let [methods, hosts, path, headers @ ..] = &words[..] else { panic!("{text:?} is no route") };
    let located = |value: &str| Located { value: value.to_owned(), at: At::default() };
    let list = |text: &str| if text == "*" { vec![] } else { text.split(',').map(located).collect() };
    let mut route = Route::new(At::default(), Action::Respond(Respond::default()));
    route.methods = list(methods);
    route.hosts = list(hosts);
    route.path.value = match path.as_bytes()[0] {
        b'=' => PathMatch::Exact(path[1..].to_owned()),
        b'~' => PathMatch::Pattern(path[1..].to_owned()),
        _ => PathMatch::Prefix((*path).to_owned()),
    };
    let header = |text: &&str| text.split_once(':').map(|(name, value)| (located(name), value.to_owned())).unwrap();
    route.headers = headers.iter().map(header).collect();
    route
}

fn routes<S: AsRef<str>>(texts: &[S]) -> Routes<String> {
    let all: Vec<_> = texts.iter().map(|text| route(text.as_ref())).collect();
    let mut problems = Problems::new(&Source::default());
    let routes = Routes::build(&all, texts.iter().map(|text| text.as_ref().to_owned()).collect(), &mut problems);
    assert!(problems.is_empty(), "{problems}");
    routes
}

/// `GET host /path x-a:1`
fn find<'r>(routes: &'r Routes<String>, request: &str) -> Option<&'r str> {
    let (method, host, path, headers) = request_of(request);
    routes.find(&host, &path, &method, &headers).map(String::as_str)
}

fn request_of(text: &str) -> (Method, String, String, HeaderMap) {
    let words: Vec<_> = text.split(' ').collect();
    let [method, host, path, fields @ ..] = &words[..] else { panic!("{text:?} is no request") };
    let mut headers = HeaderMap::new();
    for field in fields {
        let (name, value) = field.split_once(':').unwrap();
        headers.append(HeaderName::try_from(name).unwrap(), value.parse().unwrap());
    }
    (method.parse().unwrap(), (*host).to_owned(), (*path).to_owned(), headers)
}

#[test]
fn a_prefix_ends_on_a_segments_border() {
    let routes = routes(&["* * /api", "* * /old/"]);
    for path in ["/api", "/api/", "/api/x", "/api/x/y/"] {
        assert_eq!(find(&routes, &format!("GET h {path}")), Some("* * /api"), "{path}");
    }
    for path in ["/old", "/old/", "/old/x"] {
        assert_eq!(find(&routes, &format!("GET h {path}")), Some("* * /old/"), "{path}");
    }
    for path in ["/", "/apix", "/ap", "/x/api", "*", ""] {
        assert_eq!(find(&routes, &format!("GET h {path}")), None, "{path}");
    }
}

#[test]
fn an_exact_path_is_only_itself() {
    let routes = routes(&["* * =/api", "* * =/dir/", "* * =/"]);
    assert_eq!(find(&routes, "GET h /api"), Some("* * =/api"));
    assert_eq!(find(&routes, "GET h /dir/"), Some("* * =/dir/"));
    assert_eq!(find(&routes, "GET h /"), Some("* * =/"));
    for path in ["/api/", "/dir", "/api/x", "/API"] {
        assert_eq!(find(&routes, &format!("GET h {path}")), None, "{path}");
    }
}

#[test]
fn a_patterns_wildcards_stand_for_something() {
    let routes = routes(&["* * ~/users/{id}", "* * ~/files/{*path}", "* * ~/users/{id}/posts/"]);
    assert_eq!(find(&routes, "GET h /users/7"), Some("* * ~/users/{id}"));
    assert_eq!(find(&routes, "GET h /users/7/posts/"), Some("* * ~/users/{id}/posts/"));
    assert_eq!(find(&routes, "GET h /files/a"), Some("* * ~/files/{*path}"));
    assert_eq!(find(&routes, "GET h /files/a/b/"), Some("* * ~/files/{*path}"));
    for path in ["/users", "/users/", "/users/7/", "/users/7/x", "/files", "/files/"] {
        assert_eq!(find(&routes, &format!("GET h {path}")), None, "{path}");
    }
}

#[test]
fn the_path_that_is_spelt_out_furthest_wins() {
    let routes =
        routes(&["* * /", "* * /a", "* * ~/a/{x}", "* * ~/a/{*x}", "* * =/a/b", "* * /a/b/c", "* * ~/{x}/b/c/d"]);
    for (path, expected) in [
        ("/x", "* * /"),
        ("/a", "* * /a"),
        ("/a/", "* * /a"),
        ("/a/b", "* * =/a/b"),
        ("/a/x", "* * ~/a/{x}"),
        ("/a/x/y", "* * ~/a/{*x}"),
        ("/a/b/", "* * ~/a/{*x}"),
        ("/a/b/c", "* * /a/b/c"),
        ("/a/b/c/d", "* * /a/b/c"),
        ("/x/b/c/d", "* * ~/{x}/b/c/d"),
        ("*", "* * /"),
    ] {
        assert_eq!(find(&routes, &format!("GET h {path}")), Some(expected), "{path}");
    }
}

#[test]
fn hosts_go_from_names_over_wildcards_to_any() {
    let routes = routes(&["* * /", "* *.com /", "* *.example.com /", "* a.example.com,[::1] /"]);
    for (host, expected) in [
        ("a.example.com", "* a.example.com,[::1] /"),
        ("[::1]", "* a.example.com,[::1] /"),
        ("b.example.com", "* *.example.com /"),
        ("b.a.example.com", "* *.example.com /"),
        ("example.com", "* *.com /"),
        ("com", "* * /"),
        (".com", "* * /"),
        ("localhost", "* * /"),
        ("", "* * /"),
    ] {
        assert_eq!(find(&routes, &format!("GET {host} /")), Some(expected), "{host:?}");
    }
}

#[test]
fn what_does_not_fit_falls_through_to_the_next() {
    let routes = routes(&["POST a.com =/x", "* a.com / x-a:1", "GET *.com /x", "* * /"]);
    assert_eq!(find(&routes, "POST a.com /x"), Some("POST a.com =/x"));
    assert_eq!(find(&routes, "GET a.com /x x-a:1"), Some("* a.com / x-a:1"));
    assert_eq!(find(&routes, "GET a.com /x"), Some("GET *.com /x"));
    assert_eq!(find(&routes, "GET a.com /y"), Some("* * /"));
    assert_eq!(find(&routes, "GET b.com /x/y"), Some("GET *.com /x"));
    assert_eq!(find(&routes, "PUT b.com /x/y"), Some("* * /"));
}

#[test]
fn methods_go_before_fields_and_fields_by_their_number() {
    let routes = routes(&["* * /", "* * / x-a:*", "* * / x-a:1", "* * / x-a:1 x-b:*", "GET * /", "GET * / x-b:2"]);
    assert_eq!(find(&routes, "PUT h /"), Some("* * /"));
    assert_eq!(find(&routes, "PUT h / x-a:7"), Some("* * / x-a:*"));
    assert_eq!(find(&routes, "PUT h / x-a:7 x-a:1"), Some("* * / x-a:1"));
    assert_eq!(find(&routes, "PUT h / x-a:1 x-b:7"), Some("* * / x-a:1 x-b:*"));
    assert_eq!(find(&routes, "GET h / x-a:1 x-b:7"), Some("GET * /"));
    assert_eq!(find(&routes, "GET h / x-a:1 x-b:2"), Some("GET * / x-b:2"));
    assert_eq!(
        routes.in_order(OPERATOR),
        [("*".to_owned(), vec![5, 4, 3, 2, 1, 0])],
        "the list shows the order in which they are tried"
    );
}

#[test]
fn what_cannot_be_matched_is_a_problem() {
    let mut problems = Problems::new(&Source::default());
    let routes = Routes::build(&[route("G@T * /"), route("* * / a\u{e9}:1")], vec![(), ()], &mut problems);
    assert_eq!(problems.len(), 2);
    assert_eq!(routes.find("h", "/", &Method::GET, &HeaderMap::new()), None);
}

#[test]
fn a_host_loses_its_port_and_its_capitals() {
    for (host, expected) in [
        ("example.com", "example.com"),
        ("Example.COM:8080", "example.com"),
        ("example.com.:80", "example.com"),
        ("example.com:", "example.com"),
        ("[2001:DB8::1]:443", "[2001:db8::1]"),
        ("[::1]", "[::1]"),
        ("", ""),
        (":80", ""),
    ] {
        assert_eq!(host_without_port(host), expected, "{host:?}");
    }
    assert!(matches!(host_without_port("example.com:80"), Cow::Borrowed(_)), "nothing was to be changed");
}

/// The same answer as from looking at every route in turn, for routes and requests made from few words so that they meet.
#[test]
fn it_finds_what_looking_at_every_route_finds() {
    let mut chance = Chance(0x5eed);
    for _ in 0..400 {
        let texts: Vec<String> = (0..chance.below(24) + 1).map(|_| chance.route()).collect();
        let routes = routes(&texts);
        for _ in 0..100 {
            let request = chance.request();
            assert_eq!(find(&routes, &request), naive::find(&texts, &request), "{request} among {texts:#?}");
        }
    }
}

/// xorshift: the same numbers in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end as u64).unwrap()
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn route(&mut self) -> String {
        let method = self.one(&["*", "*", "GET", "GET,POST"]);
        let host = self.one(&["*", "*", "a.b.c", "b.c", "*.c", "*.b.c", "b.c,*.b.c"]);
        let kind = self.one(&["", "=", "~"]);
        let mut path = String::new();
        for _ in 0..self.below(4) {
            path.push('/');
            path.push_str(self.one(if kind == "~" { &["a", "b", "{x}", "{y}"] } else { &["a", "b"] }));
        }
        path.push_str(match kind {
            "~" => self.one(&["/{z}", "/{*z}", "/{z}/"]),
            _ if path.is_empty() => "/",
            _ => self.one(&["", "/"]),
        });
        let headers = self.one(&["", "", " x:1", " x:*", " x:1 y:*", " y:2"]);
        format!("{method} {host} {kind}{path}{headers}")
    }

    fn request(&mut self) -> String {
        let method = self.one(&["GET", "POST", "PUT"]);
        let host = self.one(&["a.b.c", "b.c", "c", "x.c", "x.y.b.c", ".c", "d"]);
        let mut path: String = (0..self.below(5)).flat_map(|_| ["/", self.one(&["a", "b", "c"])]).collect();
        path.push_str(if path.is_empty() { "/" } else { self.one(&["", "/"]) });
        let headers = self.one(&["", " x:1", " x:2", " x:2 x:1 y:2", " y:2"]);
        format!("{method} {host} {path}{headers}")
    }
}

/// The documented order, as a comparison of any two routes.
mod naive {
    use std::cmp::Ordering;

    use super::{Method, Route, request_of, route};
    use crate::config::PathMatch;

    pub(super) fn find<'t>(texts: &'t [String], request: &str) -> Option<&'t str> {
        let (method, host, path, headers) = request_of(request);
        let mut best: Option<(usize, Key)> = None;
        for (index, text) in texts.iter().enumerate() {
            let route = route(text);
            let hosts =
                if route.hosts.is_empty() { vec!["*"] } else { route.hosts.iter().map(|host| &*host.value).collect() };
            let fields = route.headers.iter().all(|(name, value)| {
                headers.get_all(&name.value).iter().any(|found| value == "*" || found.as_bytes() == value.as_bytes())
            });
            let methods = route.methods.is_empty()
                || route.methods.iter().any(|it| Method::try_from(&*it.value).unwrap() == method);
            if !fields || !methods || !path_matches(&route.path.value, &path) {
                continue;
            }
            for rank in hosts.iter().filter_map(|pattern| host_rank(pattern, &host)) {
                let key = Key { host: rank, path: path_key(&route.path.value), rest: rest_key(&route) };
                if best.as_ref().is_none_or(|(_, other)| key.cmp(other) == Ordering::Less) {
                    best = Some((index, key));
                }
            }
        }
        best.map(|(index, _)| texts[index].as_str())
    }

    /// Smaller is more specific.
    #[derive(PartialEq, Eq, PartialOrd, Ord)]
    struct Key {
        host: usize,
        path: Vec<u8>,
        rest: (bool, usize, usize),
    }

    fn host_rank(pattern: &str, host: &str) -> Option<usize> {
        match pattern.strip_prefix('*') {
            None => (pattern == host).then_some(0),
            Some("") => Some(1000),
            Some(suffix) => (host.len() > suffix.len() && host.ends_with(suffix)).then_some(900 - suffix.len()),
        }
    }

    fn path_matches(pattern: &PathMatch, path: &str) -> bool {
        let segments: Vec<_> = path.split('/').collect();
        match pattern {
            PathMatch::Exact(exact) => exact == path,
            PathMatch::Prefix(prefix) => {
                let prefix: Vec<_> = prefix.trim_end_matches('/').split('/').collect();
                segments.starts_with(&prefix)
            }
            PathMatch::Pattern(pattern) => {
                let pattern: Vec<_> = pattern.split('/').collect();
                let fits = |(pattern, segment): (&&str, &&str)| match pattern.starts_with('{') {
                    true => !segment.is_empty(),
                    false => pattern == segment,
                };
                let same = pattern.iter().zip(&segments).all(fits);
                match pattern.last().unwrap().starts_with("{*") {
                    true => same && segments.len() >= pattern.len(),
                    false => same && segments.len() == pattern.len(),
                }
            }
        }
    }

    /// One number for each segment, then one for how it ends.
    fn path_key(pattern: &PathMatch) -> Vec<u8> {
        let (path, end) = match pattern {
            PathMatch::Exact(path) => (&**path, 3),
            PathMatch::Prefix(path) => (path.trim_end_matches('/'), 4),
            PathMatch::Pattern(path) => (&**path, 3),
        };
        let segment = |segment: &str| match segment {
            rest if rest.starts_with("{*") => 2,
            parameter if parameter.starts_with('{') => 1,
            _ => 0,
        };
        path.split('/').skip(1).map(segment).chain([end]).collect()
    }

    fn rest_key(route: &Route) -> (bool, usize, usize) {
        let values = route.headers.iter().filter(|(_, value)| value != "*").count();
        (route.methods.is_empty(), 9 - route.headers.len(), 9 - values)
    }
}

/// `cargo test --release --lib -- --ignored --nocapture a_thousand_times` prints the figures.
#[test]
#[ignore = "measures time, which a busy machine spoils"]
fn a_thousand_times_the_routes_cost_at_most_twice_as_much() {
    let nanoseconds = |count: usize| {
        let texts: Vec<_> = (0..count)
            .map(|n| match n % 4 {
                0 => format!("* h{n}.example.com /api/v1"),
                1 => format!("GET *.t{n}.example.com /"),
                2 => format!("* example.com /service{n}/api"),
                _ => format!("* example.com ~/users{n}/{{id}}/posts"),
            })
            .collect();
        let routes = routes(&texts);
        let requests = ["GET example.com /service2/api/x", "GET a.t1.example.com /", "GET example.com /users3/7/posts"];
        let requests = requests.map(request_of);
        let start = std::time::Instant::now();
        let rounds = 200_000;
        for _ in 0..rounds {
            for (method, host, path, headers) in &requests {
                assert!(std::hint::black_box(&routes).find(host, path, method, headers).is_some());
            }
        }
        start.elapsed().as_nanos() / (rounds * 3)
    };
    let [few, many] = [10, 10_000].map(nanoseconds);
    println!("{few} ns with 10 routes, {many} ns with 10000");
    assert!(many <= 2 * few, "{many} ns instead of {few}");
}

/// Routes of the operator's and of tenants, each with its path as its target.
fn owned(operators: &[config::Route], tenants: &[(&[&str], &[config::Route])]) -> Routes<String> {
    let targets = |routes: &[config::Route]| -> Vec<String> {
        routes.iter().map(|route| format!("{} {:?}", route.name, route.path.value)).collect()
    };
    let mut problems = Problems::new(&config::Source::default());
    let mut routes = Routes::build(operators, targets(operators), &mut problems);
    for (hosts, own) in tenants {
        let owner = routes.owner();
        hosts.iter().for_each(|host| routes.give(host, owner));
        routes.add(owner, own, targets(own), &mut problems);
    }
    assert!(problems.is_empty(), "{problems}");
    routes
}

fn named(name: &str, hosts: &[&str], path: &str) -> config::Route {
    let action = config::Action::Respond(config::Respond::default());
    let mut route = config::Route::new(config::At::default(), action);
    name.clone_into(&mut route.name);
    let located = |host: &&str| config::Located { value: (*host).to_owned(), at: config::At::default() };
    route.hosts = hosts.iter().map(located).collect();
    route.path.value = config::PathMatch::Prefix(path.to_owned());
    route
}

#[test]
fn the_owner_of_a_host_answers_alone() {
    let routes = owned(
        &[named("operator", &[], "/"), named("wild", &["*.example.com"], "/wild")],
        &[
            (&["a.test", "*.a.test"], &[named("a", &[], "/"), named("a-www", &["www.a.test"], "/shop")]),
            (&["b.a.test", "b.example.com"], &[named("b", &["b.a.test"], "/b")]),
            (&["c.test"], &[]),
        ],
    );
    let found = |host: &str, path: &str| {
        let found = routes.find(host, path, &Method::GET, &HeaderMap::new());
        found.map(|target| target.split(' ').next().unwrap_or_default())
    };
    assert_eq!(found("a.test", "/x"), Some("a"));
    assert_eq!(found("www.a.test", "/shop"), Some("a-www"));
    assert_eq!(found("www.a.test", "/x"), Some("a"), "a route without hosts is for all hosts of its owner");
    assert_eq!(found("b.a.test", "/b"), Some("b"));
    assert_eq!(found("b.a.test", "/x"), None, "what is b's is not a's, although a wildcard of a's covers it");
    assert_eq!(found("b.example.com", "/wild"), None, "nor the operator's");
    assert_eq!(found("c.test", "/"), None, "an owner without routes answers with none");
    assert_eq!(found("x.example.com", "/wild"), Some("wild"));
    assert_eq!(found("x.example.com", "/x"), Some("operator"));
    assert_eq!(found("elsewhere.test", "/"), Some("operator"));
    assert_eq!(routes.in_order(OPERATOR).len(), 2);
}
