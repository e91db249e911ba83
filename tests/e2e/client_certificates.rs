//! Clients that show certificates: who gets in, for which hosts that counts, and who hears of it.

use std::path::Path;

use http::{Request, StatusCode};
use lockgate_tests::tls::Issued;
use lockgate_tests::{Certificates, Proxy, ProxyBuilder, backend, client, command, curl, empty, get, proxy, run};
use xtask::guests::component;

/// A listener with a certificate for `localhost`, and what it asks of clients.
fn guarded(server: &Issued, auth: &str) -> ProxyBuilder {
    proxy(&format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\nclient_auth = {auth}\n\
         [[listener.certificate]]\ncertificate = \"$crt\"\nkey = \"$key\"\n[[route]]\nrespond = {{ body = \"hello\" }}\n"
    ))
    .set("crt", server.certificate.display())
    .set("key", server.key.display())
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// What curl gets of that name, with that certificate: its exit code and the body.
async fn ask(proxy: &Proxy, server: &Certificates, name: &str, shown: Option<&Issued>) -> (i32, String) {
    let port = proxy.tls_address().port();
    let mut arguments = vec!["--cacert".to_owned(), text(&server.authority())];
    arguments.extend(["--resolve".to_owned(), format!("{name}:{port}:127.0.0.1")]);
    if let Some(shown) = shown {
        arguments.extend(["--cert".to_owned(), text(&shown.certificate), "--key".to_owned(), text(&shown.key)]);
    }
    arguments.push(format!("https://{name}:{port}/"));
    let said = curl(&arguments).await;
    (said.code, said.out)
}

/// The SHA-256 of a certificate, in hex.
async fn fingerprint(issued: &Issued) -> String {
    let file = text(&issued.certificate);
    let said = run("openssl", ["x509", "-in", &file, "-noout", "-fingerprint", "-sha256"]).await.out;
    said.trim().rsplit('=').next().unwrap().replace(':', "").to_lowercase()
}

async fn refused(proxy: &Proxy) -> f64 {
    proxy.metric("lockgate_connections_refused_total{why=\"client_certificate\"}").await
}

#[tokio::test]
async fn where_a_certificate_is_required_nobody_gets_in_without_a_good_one() {
    let (server, clients, others) = (Certificates::new(), Certificates::new(), Certificates::new());
    let proxy = guarded(&server.issue("localhost"), "{ ca = \"$ca\" }").set("ca", text(&clients.authority())).await;
    let good = clients.issue("alice");
    assert_eq!(ask(&proxy, &server, "localhost", Some(&good)).await, (0, "hello".to_owned()));
    let bad = [None, Some(others.issue("alice")), Some(clients.issue_expired("alice"))];
    for (count, shown) in (1..).zip(&bad) {
        let (code, body) = ask(&proxy, &server, "localhost", shown.as_ref()).await;
        assert!(code != 0 && body.is_empty(), "{shown:?}: {code} {body}");
        assert_eq!(refused(&proxy).await, f64::from(count), "{shown:?}");
    }
    assert_eq!(ask(&proxy, &server, "localhost", Some(&good)).await.1, "hello");
    let address = proxy.address().to_string();
    let said = run("openssl", ["s_client", "-connect", &address, "-tls1_2"]).await;
    assert!((said.out + &said.err).contains("alert"), "a client of TLS 1.2 is told in the handshake");
}

#[tokio::test]
async fn where_a_certificate_is_optional_a_bad_one_is_worse_than_none() {
    let (server, clients, others) = (Certificates::new(), Certificates::new(), Certificates::new());
    let auth = "{ ca = \"$ca\", mode = \"optional\" }";
    let proxy = guarded(&server.issue("localhost"), auth).set("ca", text(&clients.authority())).await;
    assert_eq!(ask(&proxy, &server, "localhost", None).await.1, "hello");
    assert_eq!(ask(&proxy, &server, "localhost", Some(&clients.issue("alice"))).await.1, "hello");
    assert_ne!(ask(&proxy, &server, "localhost", Some(&others.issue("alice"))).await.0, 0);
}

#[tokio::test]
async fn a_certificate_that_was_revoked_opens_nothing_from_the_moment_the_list_says_so() {
    let (server, clients) = (Certificates::new(), Certificates::new());
    let (alice, bob) = (clients.issue("alice"), clients.issue("bob"));
    let list = clients.revoke(&[]);
    let proxy = guarded(&server.issue("localhost"), "{ ca = \"$ca\", crl = \"$crl\" }")
        .set("ca", text(&clients.authority()))
        .set("crl", text(&list))
        .await;
    for shown in [&alice, &bob] {
        assert_eq!(ask(&proxy, &server, "localhost", Some(shown)).await.1, "hello");
    }
    let mut connected = client(proxy.address()).tls(server.client_with(&alice, &[])).await;
    assert_eq!(connected.get("/").await.text(), "hello");
    let before = proxy.generation().await;
    // The file is watched.
    let _ = clients.revoke(&[&alice]);
    proxy.generation_after(before).await;
    assert_ne!(ask(&proxy, &server, "localhost", Some(&alice)).await.0, 0);
    assert_eq!(ask(&proxy, &server, "localhost", Some(&bob)).await.1, "hello");
    // What was agreed on by other rules does not last.
    assert_eq!(connected.get("/").await.status, StatusCode::MISDIRECTED_REQUEST);
}

/// Three names: the first two ask for nothing and for a certificate, the third, of its own authority, too.
async fn by_name(server: &Certificates, clients: &Certificates, others: &Certificates) -> Proxy {
    let mut proxy = proxy(
        "[[listener]]\naddress = \"127.0.0.1:0\"\n\
         [[listener.certificate]]\ncertificate = \"$crt1\"\nkey = \"$key1\"\n\
         [[listener.certificate]]\ncertificate = \"$crt2\"\nkey = \"$key2\"\nclient_auth = { ca = \"$ca2\" }\n\
         [[listener.certificate]]\ncertificate = \"$crt3\"\nkey = \"$key3\"\nclient_auth = { ca = \"$ca3\" }\n\
         [[route]]\nrespond = { body = \"anybody\" }\n[[route]]\nhosts = [\"two.test\"]\nrespond = { body = \"two\" }\n\
         [[route]]\nhosts = [\"three.test\"]\nrespond = { body = \"three\" }\n",
    );
    for (number, name) in [(1, "one.test"), (2, "two.test"), (3, "three.test")] {
        let issued = server.issue(name);
        proxy = proxy.set(&format!("crt{number}"), text(&issued.certificate));
        proxy = proxy.set(&format!("key{number}"), text(&issued.key));
    }
    proxy.set("ca2", text(&clients.authority())).set("ca3", text(&others.authority())).await
}

#[tokio::test]
async fn each_name_asks_for_what_it_wants_and_another_name_in_the_request_is_no_way_around() {
    let (server, clients, others) = (Certificates::new(), Certificates::new(), Certificates::new());
    let proxy = by_name(&server, &clients, &others).await;
    let (alice, bob) = (clients.issue("alice"), others.issue("bob"));
    assert_eq!(ask(&proxy, &server, "one.test", None).await.1, "anybody");
    assert_eq!(ask(&proxy, &server, "two.test", Some(&alice)).await.1, "two");
    assert_eq!(ask(&proxy, &server, "three.test", Some(&bob)).await.1, "three");
    for (name, shown) in
        [("two.test", None), ("two.test", Some(&bob)), ("three.test", Some(&alice)), ("three.test", None)]
    {
        assert_ne!(ask(&proxy, &server, name, shown).await.0, 0, "{name}");
    }
    for http2 in [false, true] {
        let alpn: &[&str] = if http2 { &["h2"] } else { &[] };
        for (asked, host, status) in [
            ("one.test", "one.test", 200),
            ("one.test", "elsewhere.test", 200),
            ("one.test", "two.test", 421),
            ("one.test", "TWO.test:8443", 421),
            ("two.test", "two.test", 200),
            ("two.test", "one.test", 421),
            ("two.test", "three.test", 421),
        ] {
            let mut client = client(proxy.address()).name(asked).tls(server.client_with(&alice, alpn));
            if http2 {
                client = client.http2();
            }
            let request = match http2 {
                true => Request::get(format!("https://{host}/")),
                false => Request::get("/").header("host", host),
            };
            let answer = client.await.send(request.body(empty()).unwrap()).await;
            assert_eq!(answer.status, status, "{asked} then {host}: {}", answer.text());
        }
    }
}

#[tokio::test]
async fn a_session_is_resumed_under_its_own_rules_only() {
    let (server, clients, others) = (Certificates::new(), Certificates::new(), Certificates::new());
    let proxy = by_name(&server, &clients, &others).await;
    let alice = clients.issue("alice");
    let file = text(&proxy.folder().join("session"));
    for version in ["-tls1_2", "-tls1_3"] {
        let address = proxy.address();
        let asked = |name: &str, flag: &str, shown: &str| {
            format!(
                "printf 'GET / HTTP/1.1\\r\\nHost: {name}\\r\\nConnection: close\\r\\n\\r\\n' | openssl s_client -connect {address} -servername {name} -ign_eof {version} {flag} {file} {shown} 2>&1"
            )
        };
        let shown = format!("-cert {} -key {}", text(&alice.certificate), text(&alice.key));
        let first = run("sh", ["-c", &asked("two.test", "-sess_out", &shown)]).await.out;
        assert!(first.contains("New, TLS") && first.ends_with("two") || first.contains("\ntwo"), "{first}");
        let again = run("sh", ["-c", &asked("two.test", "-sess_in", "")]).await.out;
        assert!(again.contains("Reused, TLS") && again.contains("two"), "{version}: {again}");
        // The ticket of one policy is worth nothing under another, whatever name the client now asks for.
        let other = run("sh", ["-c", &asked("one.test", "-sess_in", "")]).await.out;
        assert!(!other.contains("Reused, TLS"), "{version}: {other}");
        let other = run("sh", ["-c", &asked("three.test", "-sess_in", "")]).await.out;
        assert!(!other.contains("Reused, TLS") && !other.contains("\nthree"), "{version}: {other}");
    }
}

#[tokio::test]
async fn plugins_and_backends_hear_of_the_certificate_and_of_none_that_is_claimed() {
    let (server, clients) = (Certificates::new(), Certificates::new());
    let app = backend().await;
    let alice = clients.issue("alice.test");
    let issued = server.issue("localhost");
    let proxy = proxy(
        "[[listener]]\naddress = \"127.0.0.1:0\"\nclient_auth = { ca = \"$ca\", mode = \"optional\", forward = true }\n\
         [[listener.certificate]]\ncertificate = \"$crt\"\nkey = \"$key\"\n\
         [upstream.app]\nbackends = [\"$app\"]\n[plugin.who]\npath = \"$guest\"\n\
         [[route]]\nupstream = \"app\"\n[[route]]\npath = \"/who\"\nplugins = [\"who\"]\nupstream = \"app\"\n",
    )
    .set("crt", text(&issued.certificate))
    .set("key", text(&issued.key))
    .set("ca", text(&clients.authority()))
    .set("guest", component("connections").display())
    .set("app", app.url())
    .await;
    let claimed = |path: &str| Request::get(path).header("x-forwarded-client-cert", "Hash=ff").body(empty()).unwrap();

    let mut known = client(proxy.address()).tls(server.client_with(&alice, &[])).await;
    let told = known.send(claimed("/")).await.json();
    let told = told["headers"]["x-forwarded-client-cert"].as_str().unwrap();
    let fingerprint = fingerprint(&alice).await;
    assert_eq!(told, format!("Hash={fingerprint};Subject=\"CN=alice.test\";DNS=\"alice.test\""));
    let answer = known.send(claimed("/who")).await;
    let said = answer.header("x-client").unwrap();
    assert!(said.starts_with(&format!("CN=alice.test DNS:alice.test {fingerprint} ")), "{said}");

    let mut unknown = client(proxy.address()).tls(server.client(&[])).await;
    assert!(unknown.send(claimed("/")).await.json()["headers"]["x-forwarded-client-cert"].is_null());
    assert_eq!(unknown.get("/who").await.header("x-client"), Some("nobody"));
}

#[tokio::test]
async fn the_access_log_names_whom_the_certificate_is_for() {
    let (server, clients) = (Certificates::new(), Certificates::new());
    let (issued, alice) = (server.issue("localhost"), clients.issue("alice"));
    for (format, shown, none) in [
        ("text", "certificate=CN=alice reason=-", None),
        ("json", "\"certificate\":\"CN=alice\"", Some("\"certificate\":null")),
    ] {
        let proxy = guarded(&issued, "{ ca = \"$ca\", mode = \"optional\" }")
            .set("ca", text(&clients.authority()))
            .and(&format!("[log]\nformat = \"{format}\""))
            .await;
        let mut known = client(proxy.address()).tls(server.client_with(&alice, &[])).await;
        assert_eq!(known.get("/known").await.text(), "hello");
        let line = proxy.out.line("/known").await;
        assert!(line.contains(shown), "{line}");
        let mut unknown = client(proxy.address()).tls(server.client(&[])).await;
        assert_eq!(unknown.get("/unknown").await.text(), "hello");
        let line = proxy.out.line("/unknown").await;
        assert!(none.map_or(!line.contains("certificate"), |none| line.contains(none)), "{line}");
    }
}

#[tokio::test]
async fn a_tenant_asks_its_own_clients_and_nobody_elses() {
    let (server, clients, others) = (Certificates::new(), Certificates::new(), Certificates::new());
    let builder = proxy(
        "include = \"tenants/*.toml\"\n[tenants]\nhosts = [\"{tenant}.test\"]\n\
         [[listener]]\naddress = \"127.0.0.1:0\"\n[[listener.certificate]]\n\
         certificate = \"$dir/operator.crt\"\nkey = \"$dir/operator.key\"\n[[route]]\nrespond = { body = \"operator\" }\n",
    );
    let folder = builder.folder().to_owned();
    for (tenant, auth) in [("bank", "client_auth = { ca = \"clients.pem\" }"), ("shop", "")] {
        let own = folder.join("tenants").join(tenant);
        std::fs::create_dir_all(&own).unwrap();
        let issued = server.issue(&format!("{tenant}.test"));
        std::fs::copy(issued.certificate, own.join("own.crt")).unwrap();
        std::fs::copy(issued.key, own.join("own.key")).unwrap();
        std::fs::copy(clients.authority(), own.join("clients.pem")).unwrap();
        let file = format!(
            "[[certificate]]\ncertificate = \"own.crt\"\nkey = \"own.key\"\n{auth}\n[[route]]\nrespond = {{ body = \"{tenant}\" }}\n"
        );
        std::fs::write(own.with_extension("toml"), file).unwrap();
    }
    let issued = server.issue("localhost");
    std::fs::copy(issued.certificate, folder.join("operator.crt")).unwrap();
    std::fs::copy(issued.key, folder.join("operator.key")).unwrap();
    let proxy = builder.await;
    let (alice, mallory) = (clients.issue("alice"), others.issue("alice"));
    assert_eq!(ask(&proxy, &server, "bank.test", Some(&alice)).await.1, "bank");
    for (count, shown) in (1..).zip([None, Some(&mallory)]) {
        assert_ne!(ask(&proxy, &server, "bank.test", shown).await.0, 0, "{shown:?}");
        assert_eq!(refused(&proxy).await, f64::from(count), "{shown:?}");
    }
    for name in ["shop.test", "localhost"] {
        let expected = if name == "shop.test" { "shop" } else { "operator" };
        assert_eq!(ask(&proxy, &server, name, None).await, (0, expected.to_owned()));
        // A connection on which nobody was asked is no way to the bank, whatever is shown on it.
        let mut client = client(proxy.tls_address()).name(name).tls(server.client_with(&alice, &[])).await;
        let request = Request::get("/").header("host", "bank.test").body(empty()).unwrap();
        assert_eq!(client.send(request).await.status, StatusCode::MISDIRECTED_REQUEST, "{name}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_what_is_asked_of_clients_is_said_by_check() {
    let certificates = Certificates::new();
    let (issued, empty) = (certificates.issue("localhost"), certificates.authority().with_file_name("empty.pem"));
    std::fs::write(&empty, "nothing here\n").unwrap();
    for (auth, words) in [
        ("{}", "ca"),
        ("{ ca = \"missing.pem\" }", "cannot read"),
        ("{ ca = \"$empty\" }", "holds no certificate"),
        ("{ ca = \"$ca\", crl = \"$empty\" }", "holds no list of revoked certificates"),
        ("{ ca = \"$ca\", mode = \"sometimes\" }", "optional"),
    ] {
        let file = guarded(&issued, auth).set("ca", text(&certificates.authority())).set("empty", text(&empty));
        let said = command::lockgate(["check", file.written().to_str().unwrap()]).await;
        assert_eq!(said.code, 2, "{auth}: {said:?}");
        assert!(said.err.contains(words) && said.err.contains("listener[0].client_auth"), "{auth}: {}", said.err);
    }
    let plain =
        proxy("[[listener]]\naddress = \"127.0.0.1:0\"\nclient_auth = { ca = \"x.pem\" }\n[[route]]\nrespond = {}");
    let said = command::lockgate(["check", plain.written().to_str().unwrap()]).await;
    assert!(said.code == 2 && said.err.contains("has no certificate of its own"), "{said:?}");
}

#[tokio::test]
async fn a_listener_in_the_clear_is_as_it_was() {
    let certificates = Certificates::new();
    let issued = certificates.issue("localhost");
    let proxy = guarded(&issued, "{ ca = \"$ca\" }")
        .set("ca", text(&certificates.authority()))
        .and("[[listener]]\naddress = \"127.0.0.1:0\"")
        .await;
    let plain = [proxy.listener(0), proxy.listener(1)].into_iter().find(|it| *it != proxy.tls_address()).unwrap();
    assert_eq!(get(plain, "/").await.text(), "hello");
}
