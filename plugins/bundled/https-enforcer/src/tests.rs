#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use super::*;
use lockgate_plugin::{configured, testing};

const SHOP: &str = r#"{"hosts": ["shop.example.com", "*.example.org"]}"#;

/// A plain request to the shop, with what the test wants different.
fn ask(config: &str, different: impl FnOnce(&mut testing::Host)) -> Verdict {
    testing::host(|host| {
        *host = testing::Host { host: "shop.example.com".to_owned(), path: "/cart".to_owned(), ..Default::default() };
        different(host);
    });
    configured::<HttpsEnforcer>(config).unwrap().on_request()
}

/// The status, and where it leads to.
fn told(verdict: Verdict) -> (u16, String) {
    let Verdict::Answer(answer) = verdict else { panic!("it went on") };
    let location = answer.headers.into_iter().find(|field| field.0 == "location");
    (answer.status, location.map_or_else(String::new, |field| field.1))
}

fn proceeds(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Proceed)
}

#[test]
fn a_plain_get_is_redirected_with_its_path_and_query() {
    let verdict = ask(SHOP, |host| host.query = Some("a=1".to_owned()));
    assert_eq!(told(verdict), (301, "https://shop.example.com/cart?a=1".to_owned()));
}

#[test]
fn the_plain_port_is_dropped_and_another_put_in_its_place() {
    let plain = |host: &mut testing::Host| host.host = "SHOP.example.com:8080".to_owned();
    assert_eq!(told(ask(SHOP, plain)).1, "https://shop.example.com/cart");
    let config = r#"{"hosts": ["shop.example.com"], "port": 8443}"#;
    assert_eq!(told(ask(config, plain)).1, "https://shop.example.com:8443/cart");
    let config = r#"{"hosts": ["[::1]"], "port": 443}"#;
    assert_eq!(told(ask(config, |host| host.host = "[::1]:8080".to_owned())).1, "https://[::1]/cart");
    assert_eq!(told(ask(config, |host| host.host = "[::1]".to_owned())).1, "https://[::1]/cart");
}

#[test]
fn a_plain_post_is_refused_unless_the_redirect_keeps_it_a_post() {
    let post = |host: &mut testing::Host| host.method = "POST".to_owned();
    assert_eq!(told(ask(SHOP, post)), (403, String::new()));
    assert_eq!(told(ask(r#"{"hosts": ["shop.example.com"], "status": 302}"#, post)).0, 403);
    assert_eq!(told(ask(r#"{"hosts": ["shop.example.com"], "status": 308}"#, post)).0, 308);
}

#[test]
fn no_host_is_redirected_to_but_those_in_the_list() {
    for wrong in
        ["evil.test", "shop.example.com.evil.test", "", "example.org", ".example.org", "evil.test/.example.org"]
    {
        assert_eq!(told(ask(SHOP, |host| host.host = wrong.to_owned())), (421, String::new()), "{wrong}");
    }
    assert_eq!(told(ask(SHOP, |host| host.host = "a.b.example.org".to_owned())).1, "https://a.b.example.org/cart");
}

#[test]
fn secure_requests_go_on_and_carry_hsts() {
    let config = r#"{"hosts": ["a.test"], "hsts": {"max_age": 31536000, "include_subdomains": true, "preload": true}}"#;
    assert!(proceeds(&ask(config, |host| host.scheme = "https".to_owned())));
    let hsts = || testing::host(|host| host.response_header("strict-transport-security").map(str::to_owned));
    assert_eq!(hsts().unwrap(), "max-age=31536000; includeSubDomains; preload");
    ask(config, |_| {});
    assert_eq!(hsts(), None, "a plain response must not carry it (RFC 6797 §7.2)");
}

#[test]
fn what_a_proxy_forwards_counts_only_if_both_are_trusted() {
    let config = r#"{"hosts": ["shop.example.com"], "trust": ["x-forwarded-proto", "x-arr-ssl"]}"#;
    let from = |trusted, name: &'static str, value: &'static str| {
        move |host: &mut testing::Host| {
            host.from_trusted_proxy = trusted;
            host.request_header(name, value);
        }
    };
    assert!(proceeds(&ask(config, from(true, "x-forwarded-proto", "https"))));
    assert!(proceeds(&ask(config, from(true, "x-forwarded-proto", "HTTPS , http"))));
    assert!(proceeds(&ask(config, from(true, "x-arr-ssl", "2048|256|C=US"))));
    assert!(!proceeds(&ask(config, from(true, "x-forwarded-proto", "httpsx"))));
    assert!(!proceeds(&ask(config, from(false, "x-forwarded-proto", "https"))), "not a trusted proxy");
    assert!(!proceeds(&ask(SHOP, from(true, "x-forwarded-proto", "https"))), "not a trusted field");
    assert!(!proceeds(&ask(SHOP, from(true, "x-arr-ssl", "2048|256|C=US"))), "not a trusted field");
}

#[test]
fn a_trusted_proxy_tells_of_a_plain_client_over_its_own_secure_connection() {
    let config = r#"{"hosts": ["shop.example.com"], "trust": ["x-forwarded-proto"]}"#;
    let verdict = ask(config, |host| {
        host.scheme = "https".to_owned();
        host.from_trusted_proxy = true;
        host.request_header("x-forwarded-proto", "http");
    });
    assert_eq!(told(verdict).0, 301);
}

#[test]
fn a_forwarded_host_must_be_in_the_list_too() {
    let config = r#"{"hosts": ["shop.example.com", "b.test"], "trust": ["x-forwarded-host"]}"#;
    let forwarded = |name: &'static str, trusted| {
        told(ask(config, |host| {
            host.from_trusted_proxy = trusted;
            host.request_header("x-forwarded-host", name);
        }))
    };
    assert_eq!(forwarded("b.test", true).1, "https://b.test/cart");
    assert_eq!(forwarded("b.test", false).1, "https://shop.example.com/cart");
    assert_eq!(forwarded("evil.test", true).0, 421);
}

#[test]
fn exempt_paths_stay_plain_as_they_are_and_below() {
    let config = r#"{"hosts": ["shop.example.com"], "exempt": ["/.well-known/acme-challenge", "/health"]}"#;
    let at = |path: &str| ask(config, |host| host.path = path.to_owned());
    for path in ["/.well-known/acme-challenge/token", "/health", "/health/deep"] {
        assert!(proceeds(&at(path)), "{path}");
    }
    for path in ["/healthy", "/", "/health/../cart", "/health/%2e%2e/cart", r"/health/..\cart"] {
        assert!(!proceeds(&at(path)), "{path}");
    }
}

#[test]
fn without_hosts_those_that_the_route_names_are_redirected_to() {
    for config in ["{}", r#"{"trust_forwarded_proto": false}"#] {
        let named = ask(config, |host| host.host_is_named = true);
        assert_eq!(told(named), (301, "https://shop.example.com/cart".to_owned()));
        let made_up = ask(config, |host| host.host = "evil.test".to_owned());
        assert_eq!(told(made_up), (421, String::new()), "a route for every host names none");
    }
    let forwarded = |host: &mut testing::Host| {
        host.from_trusted_proxy = true;
        host.request_header("x-forwarded-proto", "https");
    };
    assert!(proceeds(&ask(r#"{"trust_forwarded_proto": true}"#, forwarded)));
    assert!(!proceeds(&ask("{}", forwarded)));
}
