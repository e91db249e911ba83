//! Registries that mean us ill, and services that they name for tokens: they get neither memory, nor time, nor credentials.

use http::StatusCode;
use lockgate_tests::{Certificates, Shelf, registry, registry_with};

use crate::registry::{Home, RIGHT, push, with};

/// What nobody has.
fn reference(place: &str) -> String {
    format!("oci://{place}/acme/tagger@sha256:{}", "0".repeat(64))
}

#[tokio::test]
async fn what_does_not_end_is_not_read_to_its_end() {
    for (part, status, told) in [
        ("/manifests/", StatusCode::OK, "the response's body is longer than it may be"),
        ("/manifests/", StatusCode::INTERNAL_SERVER_ERROR, "answers 500 Internal Server Error"),
        ("/token", StatusCode::OK, "the token: the response's body is longer than it may be"),
        ("/token", StatusCode::FORBIDDEN, "gives no token (403 Forbidden)"),
        ("/uploads/", StatusCode::INTERNAL_SERVER_ERROR, "answers 500 Internal Server Error"),
    ] {
        let registry = registry().await;
        registry.shelf.pours(part, status);
        if part == "/token" {
            registry.shelf.wants(RIGHT, true);
        }
        let home = Home::new();
        let said = match part {
            "/uploads/" => {
                let guest = xtask::guests::component("tagger").display().to_string();
                home.lockgate(&["plugin", "push", &guest, &format!("oci://{}/a", registry.place())]).await
            }
            _ => home.inspect(&reference(&registry.place())).await,
        };
        assert!(said.code == 1 && said.err.contains(told), "{part}: {said:?}");
    }
    // What leads to a component, and the component, of a registry that has them.
    let whole = registry().await;
    let path = push(&Home::new(), &whole, "tagger").await;
    whole.shelf.pours("/blobs/", StatusCode::OK);
    let said = Home::new().inspect(&path).await;
    assert!(said.code == 1 && said.err.contains("longer than it may be"), "{said:?}");
}

#[tokio::test]
async fn a_token_that_is_none_is_an_error_and_no_more() {
    for (token, told) in [
        ("{\"token\":\"a\\nb\"}", "the token, or the password, cannot be sent"),
        ("{\"token\":7}", "gives no token"),
        ("[]", "gives no token"),
        ("no JSON", "the token is not JSON"),
    ] {
        let registry = registry().await;
        registry.shelf.wants(RIGHT, true);
        registry.shelf.gives_token(token);
        let home = Home::new();
        home.login(&registry.place(), RIGHT);
        let said = home.inspect(&reference(&registry.place())).await;
        assert!(said.code == 1 && said.err.contains(told), "{token}: {said:?}");
    }
}

#[tokio::test]
async fn who_is_asked_over_tls_cannot_have_the_password_sent_without() {
    let (certificates, thief) = (Certificates::new(), registry().await);
    let issued = certificates.issue("127.0.0.1");
    let secure = registry_with(Shelf::default(), Some(&issued)).await;
    secure.shelf.wants(RIGHT, true);
    secure.shelf.names_realm(&format!("{}/token", thief.server.url()));
    let home = Home::new();
    home.login(&secure.place(), RIGHT);
    // The thief may be asked without TLS by whoever means to.
    let trusting =
        format!("[registries]\nca = \"{}\"\nplain_http = [\"{}\"]", certificates.authority().display(), thief.place());
    let check = async || home.check(&with(&reference(&secure.place()), &home).and(&trusting)).await;
    let said = check().await;
    let told = format!("sends us to {} for a token, and that without TLS", thief.place());
    assert!(said.code == 2 && said.err.contains(&told), "{said:?}");
    assert_eq!(thief.server.ledger.count(), 0);
    // Where it has TLS, too, it is where tokens are had.
    let service = registry_with(Shelf::default(), Some(&issued)).await;
    service.shelf.wants(RIGHT, true);
    secure.shelf.names_realm(&format!("{}/token", service.server.url()));
    let said = check().await;
    assert!(said.code == 2 && said.err.contains("has nothing at"), "{said:?}");
}
