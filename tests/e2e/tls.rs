//! TLS with clients.

use std::time::Duration;

use lockgate_tests::{Certificates, Proxy, client, command, curl, installed, proxy, raw, run, run_for, within};
use rustls::NamedGroup;

const TWO_NAMES: &str = r#"
    [[listener]]
    address = "127.0.0.1:0"
    [[listener.certificate]]
    certificate = "$crt1"
    key = "$key1"
    [[listener.certificate]]
    certificate = "$crt2"
    key = "$key2"
    [[route]]
    respond = { body = "hello" }
"#;

async fn two_names(certificates: &Certificates) -> Proxy {
    let (one, two) = (certificates.issue("one.example.com"), certificates.issue("*.two.example.com"));
    proxy(TWO_NAMES)
        .set("crt1", one.certificate.display())
        .set("key1", one.key.display())
        .set("crt2", two.certificate.display())
        .set("key2", two.key.display())
        .await
}

/// What `openssl s_client` says about a handshake.
async fn openssl(proxy: &Proxy, arguments: &[&str]) -> String {
    let address = proxy.address().to_string();
    let all = [&["s_client", "-connect", &address], arguments].concat();
    let said = run("openssl", all).await;
    said.out + &said.err
}

#[tokio::test]
async fn the_name_that_the_client_asks_for_chooses_the_certificate() {
    let certificates = Certificates::new();
    let proxy = two_names(&certificates).await;
    for name in ["one.example.com", "a.two.example.com"] {
        let mut client = client(proxy.address()).name(name).tls(certificates.client(&[])).await;
        assert_eq!(client.get("/").await.text(), "hello", "{name}: the client has checked the name");
    }
    for unknown in [&["-noservername"][..], &["-servername", "three.example.com"]] {
        let said = openssl(&proxy, unknown).await;
        assert!(said.contains("one.example.com"), "the first is the default: {said}");
    }
}

#[tokio::test]
async fn keys_are_exchanged_in_a_way_that_computers_to_come_cannot_undo() {
    let certificates = Certificates::new();
    let proxy = two_names(&certificates).await;
    let agreed = async |offers: fn(NamedGroup) -> bool| {
        let config = certificates.client_offering(offers);
        let stream = tokio::net::TcpStream::connect(proxy.address()).await.unwrap();
        let name = "one.example.com".try_into().unwrap();
        let handshake = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config)).connect(name, stream);
        let stream = within("a handshake", handshake).await.unwrap();
        stream.get_ref().1.negotiated_key_exchange_group().map(|group| group.name())
    };
    assert_eq!(agreed(|_| true).await, Some(NamedGroup::X25519MLKEM768));
    // Who cannot is served as well.
    assert_eq!(agreed(|group| group == NamedGroup::X25519).await, Some(NamedGroup::X25519));
    assert_eq!(agreed(|group| group == NamedGroup::secp256r1).await, Some(NamedGroup::secp256r1));
}

/// A proxy with the defaults of TLS and a certificate as authorities of the web issue it.
async fn for_the_web(certificates: &Certificates, name: &str) -> Proxy {
    let issued = certificates.issue_for_the_web(name);
    proxy(
        "[[listener]]\naddress = \"127.0.0.1:0\"\n[[listener.certificate]]\ncertificate = \"$crt\"\nkey = \"$key\"\n\
         [[route]]\nrespond = { body = \"hello\" }\n",
    )
    .set("crt", issued.certificate.display())
    .set("key", issued.key.display())
    .await
}

#[tokio::test]
async fn an_auditor_finds_what_mozilla_recommends() {
    let certificates = Certificates::new();
    let proxy = for_the_web(&certificates, "localhost").await;
    let authority = certificates.authority().display().to_string();
    let server = format!("localhost:{}", proxy.address().port());
    let sslyze = installed("sslyze").expect(".ci/install puts it there");
    let audit = ["--mozilla_config=intermediate", "--certinfo_ca_file", &authority, &server];
    let said = run(sslyze, audit).await;
    assert!(said.out.contains(&format!("{server}: OK - Compliant.")), "{}{}", said.out, said.err);
    assert_eq!(said.code, 0, "{}", said.err);
}

/// What `testssl` finds fault with, or could not look at, as identifier and first words, and why that is well.
const ACCEPTED: [(&str, &str); 4] = [
    // All that are offered are strong: whoever has no AES in hardware may prefer ChaCha20, as Mozilla has it.
    ("cipher_order", "NOT a cipher order configured"),
    // The authority is the scene's own, and names no place where to ask.
    ("cert_revocation", "Neither CRL nor OCSP URI provided"),
    // Of the openssl that it runs: there are no Russian ciphers in it, nor in Lockgate.
    ("engine_problem", "No engine or GOST support"),
    // On a busy machine it hangs up before the tickets of TLS 1.3 come: `sessions_are_resumed_in_both_versions` shows that.
    ("sessionresumption_ticket", "check failed"),
];

#[tokio::test]
async fn another_auditor_finds_no_weakness_but_what_is_accepted() {
    let certificates = Certificates::new();
    let proxy = for_the_web(&certificates, "127.0.0.1").await;
    let authority = certificates.authority().display().to_string();
    let report = proxy.folder().join("report.json");
    let file = report.to_str().unwrap();
    let server = proxy.address().to_string();
    // It tries what its openssl can do, too: by its own choice at a name that nobody has, which would ask the name server.
    let here = ["NXCONNECT=127.0.0.1:0", "testssl"];
    let quietly = ["--nodns", "none", "--warnings", "off", "--quiet", "--color", "0"];
    // Protocols, ciphers, forward secrecy, the server's preferences and defaults, vulnerabilities. What the headers say is
    // for the operator.
    let sections = ["-p", "-s", "-f", "-P", "-S", "-U"];
    let audit = [&here[..], &quietly, &sections, &["--add-ca", &authority, "--jsonfile", file, &server]].concat();
    // It makes some hundred connections, each with processes of its own.
    let said = run_for(Duration::from_mins(5), "env", audit).await;
    let report = std::fs::read_to_string(report).unwrap_or_default();
    let findings: Vec<serde_json::Value> = serde_json::from_str(&report).unwrap_or_else(|_| panic!("{report}{said:?}"));
    let text = |finding: &serde_json::Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    for looked_at in ["TLS1_3", "cipherlist_NULL", "PFS", "cipher_order", "cert_chain_of_trust", "heartbleed", "RC4"] {
        assert!(
            findings.iter().any(|finding| text(finding, "id") == looked_at),
            "{looked_at}: {}{}",
            said.out,
            said.err
        );
    }
    let faults = findings.iter().filter(|finding| !["OK", "INFO"].contains(&text(finding, "severity").as_str()));
    let faults: Vec<_> = faults.map(|fault| (text(fault, "id"), text(fault, "finding"))).collect();
    let accepted = |id: &str, words: &str| ACCEPTED.iter().any(|known| id == known.0 && words.starts_with(known.1));
    let news: Vec<_> = faults.iter().filter(|(id, words)| !accepted(id, words)).collect();
    assert!(news.is_empty(), "{news:#?}\n{}", said.out);
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken_and_older_ones_are_not() {
    let certificates = Certificates::new();
    let proxy = two_names(&certificates).await;
    for (flag, agreed) in [("-tls1_2", true), ("-tls1_3", true), ("-tls1_1", false), ("-tls1", false)] {
        let said = openssl(&proxy, &[flag, "-cipher", "DEFAULT:@SECLEVEL=0"]).await;
        assert_eq!(!said.contains("Cipher is (NONE)"), agreed, "{flag}: {said}");
    }
}

#[tokio::test]
async fn sessions_are_resumed_in_both_versions() {
    let certificates = Certificates::new();
    let proxy = two_names(&certificates).await;
    let file = proxy.folder().join("session");
    let file = file.to_str().unwrap();
    for version in ["-tls1_2", "-tls1_3"] {
        // TLS 1.3 sends its tickets behind the handshake: a request makes openssl wait for them.
        let address = proxy.address();
        let ask = |flag: &str| {
            format!(
                "printf 'GET / HTTP/1.1\\r\\nHost: one.example.com\\r\\nConnection: close\\r\\n\\r\\n' | openssl s_client -connect {address} -servername one.example.com -ign_eof {version} {flag} {file} 2>&1"
            )
        };
        let first = run("sh", ["-c", &ask("-sess_out")]).await.out;
        assert!(first.contains("New, TLS") && first.contains("hello"), "{first}");
        let second = run("sh", ["-c", &ask("-sess_in")]).await.out;
        assert!(second.contains("Reused, TLS") && second.contains("hello"), "{version}: {second}");
    }
}

#[tokio::test]
async fn plain_bytes_on_a_port_with_tls_harm_nobody() {
    let certificates = Certificates::new();
    let proxy = two_names(&certificates).await;
    for bytes in ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", "\0\0\0\0", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut client = raw(proxy.address()).await;
        client.send(bytes).await;
        client.finish().await;
        let rest = client.rest().await;
        assert!(!rest.contains("200 OK"), "{rest}");
    }
    let mut client = client(proxy.address()).name("one.example.com").tls(certificates.client(&[])).await;
    assert_eq!(client.get("/").await.text(), "hello");
}

#[tokio::test]
async fn curl_is_content() {
    let certificates = Certificates::new();
    let proxy = two_names(&certificates).await;
    let port = proxy.address().port();
    for version in ["--http1.1", "--http2"] {
        let said = curl([
            version,
            "--cacert",
            certificates.authority().to_str().unwrap(),
            "--resolve",
            &format!("one.example.com:{port}:127.0.0.1"),
            &format!("https://one.example.com:{port}/"),
        ])
        .await;
        assert_eq!((said.code, said.out.as_str()), (0, "hello"), "{said:?}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_said_by_check() {
    let certificates = Certificates::new();
    let (good, other, old) =
        (certificates.issue("localhost"), certificates.issue("localhost"), certificates.issue_expired("localhost"));
    let empty = certificates.authority().with_file_name("empty.pem");
    std::fs::write(&empty, "nothing here\n").unwrap();
    let missing = empty.with_file_name("missing.pem");
    for (what, certificate, key, words) in [
        ("a key that does not fit", &good.certificate, &other.key, "key"),
        ("an expired certificate", &old.certificate, &old.key, "expired"),
        ("no file", &missing, &good.key, "missing.pem"),
        ("no certificate in the file", &empty, &good.key, "empty.pem"),
        ("no key in the file", &good.certificate, &empty, "empty.pem"),
    ] {
        let file = proxy("[[listener]]\naddress = \"127.0.0.1:0\"\n[[listener.certificate]]\ncertificate = \"$crt\"\nkey = \"$key\"\n[[route]]\nrespond = {}")
            .set("crt", certificate.display())
            .set("key", key.display());
        let path = file.written();
        let said = command::lockgate(["check", path.to_str().unwrap()]).await;
        assert_eq!(said.code, 2, "{what}: {said:?}");
        let all = said.out + &said.err;
        assert!(all.contains(words) && all.contains("listener[0].certificate[0]"), "{what}: {all}");
        let said = command::lockgate(["run", path.to_str().unwrap()]).await;
        assert_eq!(said.code, 2, "run says the same: {what}: {said:?}");
    }
}
