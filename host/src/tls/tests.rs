#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};

use super::{ClientTls, Handshake, ServerTls, TenantTls, TenantsTls, UpstreamTls};
use crate::config::{self, At, Certificate, Located, Problems, Protocol, Source};

/// A folder with certificates, as a configuration's.
struct Folder {
    folder: TempDir,
}

impl Folder {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    fn source(&self) -> Source {
        Source { path: self.folder.path().join("lockgate.toml"), text: "x".to_owned() }
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    /// `NAME.crt` and `NAME.key`, self-signed.
    fn certificate(&self, name: &str, hosts: &[&str]) -> Certificate {
        self.certificate_with(name, hosts, |_| ())
    }

    fn certificate_with(&self, name: &str, hosts: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Certificate {
        let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        self.write(&format!("{name}.crt"), &params.self_signed(&key).unwrap().pem());
        self.write(&format!("{name}.key"), &key.serialize_pem());
        entry(&format!("{name}.crt"), &format!("{name}.key"))
    }

    fn server(&self, certificates: &[Certificate], http2: bool) -> Result<ServerTls, Vec<(String, String)>> {
        let mut problems = Problems::new(&self.source());
        let address = "127.0.0.1:0".parse().unwrap();
        let (at, certificates) = (at("listener"), certificates.to_vec());
        let listener = config::Listener {
            at,
            address,
            certificates,
            http2,
            client_auth: None,
            proxy_protocol: None,
            plugins: Vec::new(),
        };
        let server = ServerTls::build(&listener, &self.source(), &mut problems);
        server.ok_or_else(|| listed(&problems))
    }

    fn client(&self, ca: &str, name: Option<&str>, protocol: Protocol) -> Result<UpstreamTls, Vec<(String, String)>> {
        let located = |path: &str, key: &str| Located { value: path.to_owned(), at: at(key) };
        let settings = config::UpstreamTls {
            ca: Some(Located { value: PathBuf::from(ca), at: at("ca") }),
            server_name: name.map(|name| located(name, "server_name")),
        };
        let mut problems = Problems::new(&self.source());
        UpstreamTls::build(&settings, protocol, &self.source(), &mut problems).ok_or_else(|| listed(&problems))
    }
}

fn at(path: &str) -> At {
    At { path: path.to_owned(), span: 0..1 }
}

fn entry(certificate: &str, key: &str) -> Certificate {
    let located = |file: &str, path: &str| Located { value: Path::new(file).to_owned(), at: at(path) };
    Certificate { certificate: located(certificate, "certificate"), key: located(key, "key"), client_auth: None }
}

fn listed(problems: &Problems) -> Vec<(String, String)> {
    problems.iter().map(|problem| (problem.at.path.clone(), problem.sentence.clone())).collect()
}

/// One handshake: what the server saw, what the client agreed on, and the certificate that the client got.
async fn shake(server: &ServerTls, client: &ClientTls) -> Result<(Handshake, bool, Vec<u8>), std::io::Error> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let stream = TcpStream::connect(listener.local_addr()?).await?;
    let (accepted, _) = listener.accept().await?;
    let (served, connected) = tokio::join!(server.accept(accepted), client.connect(stream));
    let (connected, http2) = connected?;
    let (_stream, handshake) = served.map_err(|refused| refused.error)?;
    let certificate = connected.get_ref().1.peer_certificates().unwrap()[0].to_vec();
    Ok((handshake, http2, certificate))
}

fn der(folder: &Folder, name: &str) -> Vec<u8> {
    let file = folder.folder.path().join(name);
    super::pem::certificates(&file).map(|contents| contents.items[0].to_vec()).unwrap()
}

#[tokio::test]
async fn the_name_that_the_client_asks_for_chooses_the_certificate() {
    let folder = Folder::new();
    let entries = [
        folder.certificate("default", &["default.test"]),
        folder.certificate("exact", &["a.shop.test"]),
        folder.certificate("wild", &["*.shop.test"]),
    ];
    let server = folder.server(&entries, true).unwrap();
    folder.write(
        "all.crt",
        &["default.crt", "exact.crt", "wild.crt"]
            .map(|name| std::fs::read_to_string(folder.folder.path().join(name)).unwrap())
            .concat(),
    );
    let client = folder.client("all.crt", None, Protocol::Auto).unwrap();
    for (host, file) in [("a.shop.test", "exact.crt"), ("b.shop.test", "wild.crt"), ("default.test", "default.crt")] {
        let (handshake, _, certificate) = shake(&server, &client.with(host).unwrap()).await.unwrap();
        assert_eq!(certificate, der(&folder, file), "{host}");
        assert_eq!(handshake.info.server_name.as_deref(), Some(host));
    }
    // A wildcard stands for one label, so this gets the default certificate, which is for another name.
    let error = shake(&server, &client.with("x.y.shop.test").unwrap()).await.unwrap_err();
    assert!(error.to_string().contains("not valid for name"), "{error}");
}

#[tokio::test]
async fn http2_is_agreed_on_only_where_both_sides_speak_it() {
    let folder = Folder::new();
    let entries = [folder.certificate("a", &["a.test"])];
    let both = folder.server(&entries, true).unwrap();
    let old = folder.server(&entries, false).unwrap();
    for (server, protocol, expected) in [
        (&both, Protocol::Auto, true),
        (&both, Protocol::Http1, false),
        (&both, Protocol::Http2, true),
        (&old, Protocol::Auto, false),
    ] {
        let client = folder.client("a.crt", None, protocol).unwrap().with("a.test").unwrap();
        let (handshake, http2, _) = shake(server, &client).await.unwrap();
        assert_eq!((handshake.http2(), http2), (expected, expected), "{protocol:?}");
    }
    let client = folder.client("a.crt", None, Protocol::Http2).unwrap().with("a.test").unwrap();
    assert!(shake(&old, &client).await.is_err());
}

#[tokio::test]
async fn a_backend_whose_certificate_is_of_another_authority_is_refused() {
    let folder = Folder::new();
    let entries = [folder.certificate("a", &["a.test"])];
    folder.certificate("other", &["a.test"]);
    let server = folder.server(&entries, true).unwrap();
    let client = folder.client("other.crt", None, Protocol::Auto).unwrap().with("a.test").unwrap();
    assert!(shake(&server, &client).await.is_err());
}

#[tokio::test]
async fn the_server_name_can_differ_from_the_address() {
    let folder = Folder::new();
    let entries = [folder.certificate("a", &["a.test"])];
    let server = folder.server(&entries, true).unwrap();
    let client = folder.client("a.crt", Some("a.test"), Protocol::Auto).unwrap().with("127.0.0.1").unwrap();
    let (handshake, _, _) = shake(&server, &client).await.unwrap();
    assert_eq!(handshake.info.server_name.as_deref(), Some("a.test"));
}

#[tokio::test]
async fn a_second_connection_resumes_the_session_of_the_first_on_both_sides() {
    let folder = Folder::new();
    let server = folder.server(&[folder.certificate("a", &["a.test"])], false).unwrap();
    let client = folder.client("a.crt", None, Protocol::Auto).unwrap().with("a.test").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for expected in [rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed] {
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let (served, connected) = tokio::join!(server.accept(accepted), client.connect(stream));
        let ((mut served, _), (mut connected, _)) = (served.unwrap(), connected.unwrap());
        // The tickets come with the first bytes that the client reads.
        tokio::io::AsyncWriteExt::write_all(&mut served, b"x").await.unwrap();
        tokio::io::AsyncWriteExt::flush(&mut served).await.unwrap();
        let mut byte = [0];
        tokio::io::AsyncReadExt::read_exact(&mut connected, &mut byte).await.unwrap();
        let agreed = [served.get_ref().1.handshake_kind(), connected.get_ref().1.handshake_kind()];
        assert!(agreed.iter().all(|kind| *kind == Some(expected)), "{agreed:?}");
    }
}

#[test]
fn every_mistake_with_certificates_is_told_at_its_place() {
    let folder = Folder::new();
    folder.certificate("a", &["a.test"]);
    folder.certificate("b", &["b.test"]);
    folder.certificate_with("old", &["a.test"], |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    folder.certificate_with("new", &["a.test"], |params| params.not_before = rcgen::date_time_ymd(2090, 1, 1));
    folder.write("text.pem", "hello");
    let told = |certificate: &str, key: &str| folder.server(&[entry(certificate, key)], true).unwrap_err();
    let one = |certificate: &str, key: &str, path: &str, part: &str| {
        let list = told(certificate, key);
        assert_eq!(list.len(), 1, "{list:?}");
        assert_eq!(list[0].0, path, "{list:?}");
        assert!(list[0].1.contains(part), "{list:?}");
    };
    one("none.crt", "a.key", "certificate", "cannot read");
    one("a.crt", "none.key", "key", "cannot read");
    one("text.pem", "a.key", "certificate", "no certificate in PEM form");
    one("a.crt", "text.pem", "key", "no private key in PEM form");
    one("a.crt", "a.crt", "key", "no private key in PEM form");
    one("a.crt", "b.key", "key", "does not fit the certificate a.crt");
    one("old.crt", "old.key", "certificate", "expired on");
    one("new.crt", "new.key", "certificate", "not valid before");
    assert_eq!(told("none.crt", "text.pem").len(), 2);
}

#[test]
fn every_mistake_with_authorities_is_told_at_its_place() {
    let folder = Folder::new();
    folder.certificate("a", &["a.test"]);
    let told = folder.client("none.crt", Some("not a name"), Protocol::Auto).unwrap_err();
    assert_eq!(told.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), ["ca", "server_name"]);
    assert!(folder.client("a.key", None, Protocol::Auto).unwrap_err()[0].1.contains("no certificate"));
    assert!(folder.client("a.crt", None, Protocol::Auto).unwrap().with("not a name").is_none());
}

#[test]
fn the_same_files_are_recognised() {
    let folder = Folder::new();
    let a = [folder.certificate("a", &["a.test"])];
    let first = folder.server(&a, true).unwrap();
    assert!(first.same_as(&folder.server(&a, true).unwrap()));
    assert!(!first.same_as(&folder.server(&a, false).unwrap()));
    folder.certificate("a", &["a.test"]);
    assert!(!first.same_as(&folder.server(&a, true).unwrap()));

    let client = folder.client("a.crt", None, Protocol::Auto).unwrap();
    let again = folder.client("a.crt", None, Protocol::Auto).unwrap();
    assert!(client.with("a.test").unwrap().same_as(&again.with("a.test").unwrap()));
    assert!(!client.with("a.test").unwrap().same_as(&again.with("b.test").unwrap()));
    let other: Arc<UpstreamTls> = Arc::new(folder.client("a.crt", None, Protocol::Http1).unwrap());
    assert!(!client.same_as(&other));
}

/// Sessions that are offered to whoever is asked for, as a hostile client would.
#[derive(Debug)]
struct AnyName(rustls::client::ClientSessionMemoryCache);

impl AnyName {
    fn name() -> rustls::pki_types::ServerName<'static> {
        "any.test".try_into().unwrap()
    }
}

impl rustls::client::ClientSessionStore for AnyName {
    fn set_kx_hint(&self, _: rustls::pki_types::ServerName<'static>, group: rustls::NamedGroup) {
        self.0.set_kx_hint(Self::name(), group);
    }

    fn kx_hint(&self, _: &rustls::pki_types::ServerName<'_>) -> Option<rustls::NamedGroup> {
        self.0.kx_hint(&Self::name())
    }

    fn set_tls12_session(
        &self,
        _: rustls::pki_types::ServerName<'static>,
        value: rustls::client::Tls12ClientSessionValue,
    ) {
        self.0.set_tls12_session(Self::name(), value);
    }

    fn tls12_session(&self, _: &rustls::pki_types::ServerName<'_>) -> Option<rustls::client::Tls12ClientSessionValue> {
        self.0.tls12_session(&Self::name())
    }

    fn remove_tls12_session(&self, _: &rustls::pki_types::ServerName<'static>) {
        self.0.remove_tls12_session(&Self::name());
    }

    fn insert_tls13_ticket(
        &self,
        _: rustls::pki_types::ServerName<'static>,
        value: rustls::client::Tls13ClientSessionValue,
    ) {
        self.0.insert_tls13_ticket(Self::name(), value);
    }

    fn take_tls13_ticket(
        &self,
        _: &rustls::pki_types::ServerName<'static>,
    ) -> Option<rustls::client::Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(&Self::name())
    }
}

/// A server with a certificate of its own and those of the tenants `one` and `two`, and all certificates in `all.crt`.
fn with_tenants(folder: &Folder) -> ServerTls {
    folder.write(
        "lockgate.toml",
        "include = \"tenants/*.toml\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n[tenants]\nhosts = [\"{tenant}.test\"]\n",
    );
    let own = "[[certificate]]\ncertificate = \"own.crt\"\nkey = \"own.key\"\n[[route]]\nrespond = {}\n";
    let default = folder.certificate("default", &["default.test"]);
    for name in ["one", "two"] {
        std::fs::create_dir_all(folder.folder.path().join(format!("tenants/{name}"))).unwrap();
        // A name that is the other's as well, which counts for nothing.
        folder.certificate(&format!("tenants/{name}/own"), &[&format!("{name}.test"), "two.test"]);
        folder.write(&format!("tenants/{name}.toml"), own);
    }
    let all = ["default.crt", "tenants/one/own.crt", "tenants/two/own.crt"];
    let all = all.map(|name| std::fs::read_to_string(folder.folder.path().join(name)).unwrap());
    folder.write("all.crt", &all.concat());

    let config = config::load(&folder.folder.path().join("lockgate.toml")).unwrap();
    let members = config::members(&config);
    let certified = members.all.iter().map(|(name, member)| {
        let mut problems = Problems::new(&config.source);
        let config = member.config.as_ref().unwrap();
        let tls = TenantTls::build(&name.as_str().into(), config, &members.claims, &mut problems);
        tls.unwrap_or_else(|| panic!("{problems}"))
    });
    let tenants = Arc::new(TenantsTls::new(members.claims.clone(), certified));
    folder.server(&[default], false).unwrap().with(&tenants)
}

#[tokio::test]
async fn a_ticket_of_one_tenant_is_worth_nothing_with_another() {
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let folder = Folder::new();
        let server = with_tenants(&folder);
        let mut roots = rustls::RootCertStore::empty();
        for certificate in super::pem::certificates(&folder.folder.path().join("all.crt")).unwrap().items {
            roots.add(certificate).unwrap();
        }
        let builder = rustls::ClientConfig::builder_with_provider(super::provider());
        let builder = builder.with_protocol_versions(&[version]).unwrap();
        let mut client = builder.with_root_certificates(roots).with_no_client_auth();
        let store = AnyName(rustls::client::ClientSessionMemoryCache::new(64));
        client.resumption = rustls::client::Resumption::store(Arc::new(store));
        let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (full, resumed) = (rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed);
        for (name, tenant, kind) in [
            ("one.test", Some("one"), full),
            ("one.test", Some("one"), resumed),
            ("two.test", Some("two"), full),
            ("two.test", Some("two"), resumed),
            ("default.test", None, full),
            ("one.test", Some("one"), full),
        ] {
            let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (accepted, _) = listener.accept().await.unwrap();
            let connect = connector.connect(name.try_into().unwrap(), stream);
            let (served, connected) = tokio::join!(server.accept(accepted), connect);
            let ((mut served, handshake), mut connected) = (served.unwrap(), connected.unwrap());
            tokio::io::AsyncWriteExt::write_all(&mut served, b"x").await.unwrap();
            tokio::io::AsyncWriteExt::flush(&mut served).await.unwrap();
            tokio::io::AsyncReadExt::read_exact(&mut connected, &mut [0]).await.unwrap();
            assert_eq!(handshake.info.tenant.as_deref(), tenant, "{name}");
            assert_eq!(served.get_ref().1.handshake_kind(), Some(kind), "{name} {version:?}");
        }
    }
}
