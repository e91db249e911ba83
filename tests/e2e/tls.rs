//! TLS with clients.

use lockgate_tests::{Certificates, Proxy, client, command, curl, installed, proxy, raw, run, within};
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

#[tokio::test]
async fn an_auditor_finds_what_mozilla_recommends() {
    let certificates = Certificates::new();
    let issued = certificates.issue_for_the_web("localhost");
    let proxy = proxy(
        "[[listener]]\naddress = \"127.0.0.1:0\"\n[[listener.certificate]]\ncertificate = \"$crt\"\nkey = \"$key\"\n\
         [[route]]\nrespond = { body = \"hello\" }\n",
    )
    .set("crt", issued.certificate.display())
    .set("key", issued.key.display())
    .await;
    let authority = certificates.authority().display().to_string();
    let server = format!("localhost:{}", proxy.address().port());
    let sslyze = installed("sslyze").expect(".ci/install puts it there");
    let audit = ["--mozilla_config=intermediate", "--certinfo_ca_file", &authority, &server];
    let said = run(sslyze, audit).await;
    assert!(said.out.contains(&format!("{server}: OK - Compliant.")), "{}{}", said.out, said.err);
    assert_eq!(said.code, 0, "{}", said.err);
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
