//! Plugins that come from registries: fetched once, by digest, and from nobody else.

use lockgate_tests::command::Said;
use lockgate_tests::{Certificates, ProxyBuilder, Registry, Shelf, binary, get, proxy, registry, registry_with, run};
use tempfile::TempDir;
use xtask::guests::component;

/// Where a process keeps what it has fetched, and what it knows of itself.
pub(crate) struct Home(TempDir);

impl Home {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> String {
        self.0.path().display().to_string()
    }

    fn variables(&self) -> [String; 4] {
        let home = self.path();
        let programs = concat!(env!("CARGO_MANIFEST_DIR"), "/programs");
        [
            format!("XDG_CACHE_HOME={home}"),
            format!("DOCKER_CONFIG={home}"),
            "DOCKER_AUTH_CONFIG=".to_owned(),
            format!("PATH={programs}:{}", std::env::var("PATH").unwrap()),
        ]
    }

    pub(crate) async fn lockgate(&self, arguments: &[&str]) -> Said {
        let all = self.variables().into_iter().chain([binary::lockgate().display().to_string()]);
        run("env", all.chain(arguments.iter().map(|it| (*it).to_owned()))).await
    }

    pub(crate) async fn check(&self, builder: &ProxyBuilder) -> Said {
        self.lockgate(&["check", builder.written().to_str().unwrap()]).await
    }

    /// Fetches as `check` does, and compiles nothing.
    pub(crate) async fn inspect(&self, component: &str) -> Said {
        self.lockgate(&["plugin", "inspect", component]).await
    }

    pub(crate) fn login(&self, registry: &str, credentials: &str) {
        self.configure(&format!("{{\"auths\":{{\"{registry}\":{{\"auth\":\"{credentials}\"}}}}}}"));
    }

    /// Docker's configuration.
    fn configure(&self, config: &str) {
        std::fs::write(self.0.path().join("config.json"), config).unwrap();
    }

    /// What the program does that keeps credentials for docker.
    fn helper(&self, shell: &str) {
        std::fs::write(self.0.path().join("helper"), shell).unwrap();
    }
}

/// Pushes a guest, and says what it is called then.
pub(crate) async fn push(home: &Home, registry: &Registry, guest: &str) -> String {
    let target = format!("oci://{}/acme/{guest}:1.0", registry.place());
    let said = home.lockgate(&["plugin", "push", component(guest).to_str().unwrap(), &target]).await;
    assert_eq!(said.code, 0, "{said:?}");
    said.out.trim().to_owned()
}

/// A proxy with that component, which sets `x-tag` on the way to a backend.
pub(crate) fn with(path: &str, home: &Home) -> ProxyBuilder {
    before("http://127.0.0.1:9", path, home)
}

fn before(app: &str, path: &str, home: &Home) -> ProxyBuilder {
    let builder = proxy(
        "[plugin.tag]\npath = \"$path\"\n[upstream.app]\nbackends = [\"$app\"]\n\
         [[route]]\nplugins = [\"tag\"]\nupstream = \"app\"\n",
    );
    builder.set("path", path).set("app", app).variable("XDG_CACHE_HOME", &home.path())
}

#[tokio::test]
async fn what_was_pushed_is_fetched_once_and_then_found_without_the_registry() {
    let (home, registry) = (Home::new(), registry().await);
    let path = push(&home, &registry, "tagger").await;
    assert!(path.starts_with(&format!("oci://{}/acme/tagger@sha256:", registry.place())), "{path}");
    assert_eq!(push(&home, &registry, "tagger").await, path, "the same component has the same digest");
    assert!(registry.shelf.names().iter().any(|name| name == "acme/tagger/manifests/1.0"));

    let app = lockgate_tests::backend().await;
    let start = || before(&app.url(), &path, &home);
    let proxy = start().await;
    assert_eq!(get(proxy.address(), "/").await.json()["headers"]["x-tag"], "machine");
    proxy.log.line("fetched oci://").await;
    let asked = registry.server.ledger.count();
    drop(proxy);
    let again = start().await;
    assert_eq!(get(again.address(), "/").await.json()["headers"]["x-tag"], "machine");
    assert_eq!((again.log.count("fetched oci://"), registry.server.ledger.count()), (0, asked));
    drop((again, registry));
    let without = start().await;
    assert_eq!(get(without.address(), "/").await.json()["headers"]["x-tag"], "machine");

    // Who has not been there before is told.
    let said = Home::new().check(&with(&path, &home)).await;
    assert!(said.code == 2 && said.err.contains("cannot be asked") && said.err.contains("plugin.tag"), "{said:?}");
}

#[tokio::test]
async fn what_is_in_a_registry_is_inspected_as_a_file_is() {
    let (home, registry) = (Home::new(), registry().await);
    let path = push(&home, &registry, "tagger").await;
    let file = component("tagger").display().to_string();
    for more in [&[][..], &["--json"]] {
        let inspect = async |component: &str| home.lockgate(&[&["plugin", "inspect", component], more].concat()).await;
        let (here, there) = (inspect(&file).await, inspect(&path).await);
        assert_eq!((here.code, there.code), (0, 0), "{there:?}");
        assert!(here.out.contains("on-request"), "{here:?}");
        assert_eq!(there.out.replace(&path, &file), here.out);
    }
    // It is what a configuration takes, and is kept where that is.
    let asked = registry.server.ledger.count();
    assert_eq!(home.check(&with(&path, &home)).await.code, 0);
    assert_eq!(registry.server.ledger.count(), asked);
    drop(registry);
    let said = home.inspect(&path).await;
    assert_eq!(said.code, 0, "{said:?}");
    for (component, told) in [
        (path.replace("@sha256:", "@sha256:0"), "has no SHA-256 digest of 64 hexadecimal digits"),
        (path.split_once('@').unwrap().0.to_owned(), "by its digest"),
    ] {
        let said = home.inspect(&component).await;
        assert!(said.code == 1 && said.err.contains(told) && said.err.contains("write it as in"), "{said:?}");
    }
    let said = Home::new().inspect(&path).await;
    assert!(said.code == 1 && said.err.contains("cannot be asked"), "{said:?}");
}

#[tokio::test]
async fn what_is_not_what_the_digest_says_is_refused() {
    let (home, registry) = (Home::new(), registry().await);
    let path = push(&home, &registry, "tagger").await;
    let digest = path.rsplit_once("sha256:").unwrap().1.to_owned();
    for (part, told) in [("/blobs/sha256:", "a component of another digest"), (&digest, "a manifest of another digest")]
    {
        let layers = registry.shelf.names().into_iter().filter(|name| name.contains(part));
        for name in layers {
            registry.shelf.change(&name, |bytes| *bytes.last_mut().unwrap() ^= 1);
        }
        let said = home.check(&with(&path, &home)).await;
        assert!(said.code == 2 && said.err.contains(told), "{part}: {said:?}");
    }
    // The digest of the component can be asked for besides.
    let other = push(&home, &registry, "guard").await;
    let pinned = with(&other, &home);
    let file = pinned.written();
    let text = std::fs::read_to_string(&file)
        .unwrap()
        .replace("[upstream", &format!("sha256 = \"{}\"\n[upstream", "0".repeat(64)));
    std::fs::write(&file, text).unwrap();
    let said = home.lockgate(&["check", file.to_str().unwrap()]).await;
    assert!(said.code == 2 && said.err.contains("the configuration asks for"), "{said:?}");
}

#[tokio::test]
async fn no_answer_is_too_long_or_too_late() {
    let (home, registry) = (Home::new(), registry().await);
    let path = push(&home, &registry, "tagger").await;
    let layer = registry.shelf.names().into_iter().find(|name| name.contains("/blobs/")).unwrap();
    for name in registry.shelf.names().iter().filter(|name| name.contains("/blobs/")) {
        registry.shelf.change(name, |bytes| bytes.extend([0; 4096]));
    }
    let said = home.check(&with(&path, &home)).await;
    assert!(said.code == 2 && said.err.contains("longer than it may be"), "{layer}: {said:?}");

    let large = format!(
        "{{\"layers\":[{{\"mediaType\":\"application/wasm\",\"digest\":\"sha256:{}\",\"size\":100000000}}]}}",
        "0".repeat(64)
    );
    let digest = run("sh", ["-c", &format!("printf '%s' '{large}' | sha256sum | cut -d' ' -f1")]).await.out;
    registry.shelf.keep(&format!("acme/large/manifests/sha256:{}", digest.trim()), large);
    let path = format!("oci://{}/acme/large@sha256:{}", registry.place(), digest.trim());
    let said = home.check(&with(&path, &home)).await;
    assert!(said.code == 2 && said.err.contains("larger than 64 MiB"), "{said:?}");

    // One that accepts connections and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let path = format!("oci://{}/a@sha256:{}", silent.local_addr().unwrap(), "0".repeat(64));
    let said = home.check(&with(&path, &home).and("[registries]\ntimeout = \"1s\"")).await;
    assert!(said.code == 2 && said.err.contains("it took longer than 1s"), "{said:?}");
}

/// `user:password` and `user:wrong`.
pub(crate) const RIGHT: &str = "dXNlcjpwYXNzd29yZA==";
const WRONG: &str = "dXNlcjp3cm9uZw==";

#[tokio::test]
async fn who_we_are_is_said_to_the_registry_and_to_nobody_else() {
    let pushed = registry().await;
    let path = push(&Home::new(), &pushed, "tagger").await;
    for token in [false, true] {
        pushed.shelf.wants(RIGHT, token);
        let home = Home::new();
        let said = home.check(&with(&path, &home)).await;
        assert!(said.code == 2 && said.err.contains("docker login"), "{token}: {said:?}");
        home.login(&pushed.place(), WRONG);
        let said = home.check(&with(&path, &home)).await;
        assert!(said.code == 2 && said.err.contains("not the right ones"), "{token}: {said:?}");
        home.login("elsewhere.test", RIGHT);
        assert_eq!(home.check(&with(&path, &home)).await.code, 2, "{token}: they are another registry's");
        home.login(&pushed.place(), RIGHT);
        let said = home.check(&with(&path, &home)).await;
        assert_eq!(said.code, 0, "{token}: {said:?}");
        // Or in the environment.
        let home = Home::new();
        let config = format!("DOCKER_AUTH_CONFIG={{\"auths\":{{\"{}\":{{\"auth\":\"{RIGHT}\"}}}}}}", pushed.place());
        let builder = with(&path, &home);
        let (binary, file) = (binary::lockgate().display().to_string(), builder.written().display().to_string());
        let own = home.variables().into_iter().chain([config, binary, "check".to_owned(), file]);
        assert_eq!(run("env", own).await.code, 0, "{token}");
    }
    // Where blobs are is another place, which is not told who we are.
    let other = registry_with(pushed.shelf.clone(), None).await;
    let store = registry().await;
    for name in pushed.shelf.names() {
        let mut bytes = Vec::new();
        pushed.shelf.change(&name, |kept| bytes.clone_from(kept));
        store.shelf.keep(&name, bytes);
    }
    other.shelf.sends_to(&store.server.url());
    let home = Home::new();
    let path = path.replace(&pushed.place(), &other.place());
    home.login(&other.place(), RIGHT);
    let said = home.check(&with(&path, &home)).await;
    assert_eq!(said.code, 0, "{said:?}");
    let asked = store.server.ledger.requests();
    assert!(!asked.is_empty() && asked.iter().all(|seen| seen.header("authorization").is_none()), "{asked:?}");
}

#[tokio::test]
async fn an_index_is_followed_to_the_one_component_that_it_names() {
    let (home, registry) = (Home::new(), registry().await);
    let path = push(&home, &registry, "tagger").await;
    let (place, component) = path.split_once('@').unwrap();
    let entry = |os: &str, architecture: &str, digest: &str| {
        format!(
            "{{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"{digest}\",\"size\":1,\"platform\":{{\"os\":\"{os}\",\"architecture\":\"{architecture}\"}}}}"
        )
    };
    let index = |entries: &[String]| {
        let text = format!("{{\"schemaVersion\":2,\"manifests\":[{}]}}", entries.join(","));
        registry.shelf.keep_manifest("acme/tagger", &text)
    };
    let other = format!("sha256:{}", "0".repeat(64));
    let linux = entry("linux", "amd64", &other);
    for (entries, told) in [
        (vec![linux.clone()], "its index names no component: they are linux/amd64"),
        (vec![entry("wasip2", "wasm", component), entry("wasip1", "wasm", &other)], "several components"),
        (vec![entry("wasip2", "wasm", &index(&[entry("wasip2", "wasm", component)]))], "names another index"),
    ] {
        let said = Home::new().inspect(&format!("{place}@{}", index(&entries))).await;
        assert!(said.code == 1 && said.err.contains(told), "{told}: {said:?}");
    }
    let path = format!("{place}@{}", index(&[linux, entry("wasip2", "wasm", component)]));
    let home = Home::new();
    let said = home.check(&with(&path, &home)).await;
    assert_eq!(said.code, 0, "{said:?}");
    drop(registry);
    let said = home.check(&with(&path, &home)).await;
    assert_eq!(said.code, 0, "it is kept: {said:?}");
}

#[tokio::test]
async fn a_program_that_keeps_credentials_is_asked_who_we_are() {
    let pushed = registry().await;
    let path = push(&Home::new(), &pushed, "tagger").await;
    let place = pushed.place();
    let password = format!(
        "[ \"$1 $server\" = 'get {place}' ] && echo '{{\"ServerURL\":\"{place}\",\"Username\":\"user\",\"Secret\":\"password\"}}'"
    );
    let identity = format!("echo '{{\"Username\":\"<token>\",\"Secret\":\"{}\"}}'", lockgate_tests::IDENTITY);
    let (own, all) = (format!("{{\"credHelpers\":{{\"{place}\":\"stub\"}}}}"), "{\"credsStore\":\"stub\"}".to_owned());
    let others = "{\"credHelpers\":{\"elsewhere.test\":\"stub\"}}".to_owned();
    let written = format!("{{\"credsStore\":\"stub\",\"auths\":{{\"{place}\":{{\"auth\":\"{RIGHT}\"}}}}}}");
    let unknown = "echo 'credentials not found in native keychain'; exit 1";
    for (token, config, helper, told) in [
        (false, &own, &*password, ""),
        (true, &all, &password, ""),
        (true, &all, &identity, ""),
        (false, &all, &identity, "which wants a password"),
        (false, &others, &password, "no credentials are known"),
        (false, &all, unknown, "no credentials are known"),
        (false, &written, unknown, ""),
        (false, &all, "echo 'the keychain is locked'; exit 1", "failed for PLACE: the keychain is locked"),
        (false, &all, "echo 'it is locked' >&2; exit 1", "failed for PLACE: it is locked"),
        (false, &all, "echo '{\"Username\": \"a-secret\"'", "does not answer in JSON"),
        (false, &all, "exec yes", "says more than 64 KiB"),
        (false, &all, "exec sleep 600", "takes longer than 10s"),
        (
            false,
            &"{\"credsStore\":\"nowhere\"}".to_owned(),
            "",
            "docker-credential-nowhere, which docker's configuration names, is not on the PATH",
        ),
        (false, &"{\"credsStore\":\"../stub\"}".to_owned(), "", "no program's name"),
        (false, &"{".to_owned(), "", "config.json is not JSON"),
    ] {
        pushed.shelf.wants(RIGHT, token);
        let home = Home::new();
        home.configure(config);
        home.helper(helper);
        let said = home.inspect(&path).await;
        assert_eq!(said.code, i32::from(!told.is_empty()), "{config} {helper}: {said:?}");
        assert!(said.err.contains(&told.replace("PLACE", &place)), "{config} {helper}: {said:?}");
        assert!(!said.err.contains("a-secret"), "{said:?}");
    }
}

#[tokio::test]
async fn a_registry_may_send_us_neither_around_for_ever_nor_to_where_there_is_no_tls() {
    let (home, certificates) = (Home::new(), Certificates::new());
    let plain = registry().await;
    let path = push(&home, &plain, "tagger").await;
    plain.shelf.sends_to(&plain.server.url());
    let said = home.check(&with(&path, &home)).await;
    assert!(said.code == 2 && said.err.contains("without end"), "{said:?}");

    let issued = certificates.issue("127.0.0.1");
    let shelf = plain.shelf.clone();
    let secure = registry_with(shelf, Some(&issued)).await;
    let path = path.replace(&plain.place(), &secure.place());
    let trusting =
        format!("[registries]\nca = \"{}\"\nplain_http = [\"{}\"]", certificates.authority().display(), plain.place());
    let said = home.check(&with(&path, &home).and(&trusting)).await;
    assert!(said.code == 2 && said.err.contains("without TLS"), "{said:?}");
    secure.shelf.sends_to(&secure.server.url());
    secure.shelf.sends_to("http://192.0.2.1");
    let said = home.check(&with(&path, &home).and(&trusting)).await;
    assert!(said.code == 2 && said.err.contains("without TLS"), "{said:?}");
}

#[tokio::test]
async fn tls_is_verified() {
    let (home, certificates, others) = (Home::new(), Certificates::new(), Certificates::new());
    let issued = certificates.issue("127.0.0.1");
    let secure = registry_with(Shelf::default(), Some(&issued)).await;
    let target = format!("oci://{}/acme/tagger", secure.place());
    let guest = component("tagger").display().to_string();
    let push = async |ca: &Certificates| {
        home.lockgate(&["plugin", "push", &guest, &target, "--ca", ca.authority().to_str().unwrap()]).await
    };
    let said = push(&others).await;
    assert!(said.code != 0 && said.err.contains("TLS handshake failed"), "{said:?}");
    let said = push(&certificates).await;
    assert_eq!(said.code, 0, "{said:?}");
    for (ca, code) in [(&others, 2), (&certificates, 0)] {
        let more = format!("[registries]\nplain_http = []\nca = \"{}\"", ca.authority().display());
        let said = home.check(&with(said.out.trim(), &home).and(&more)).await;
        assert_eq!(said.code, code, "{said:?}");
    }
}

#[tokio::test]
async fn a_tenant_fetches_from_where_the_operator_lets_it() {
    let (home, registry) = (Home::new(), registry().await);
    let path = push(&home, &registry, "tagger").await;
    for (given, code) in [("acme", 0), ("other", 2)] {
        let builder = proxy(&format!(
            "include = \"tenants/*.toml\"\n[tenants]\nhosts = [\"{{tenant}}.test\"]\nregistries = [\"{}/{given}\"]\n",
            registry.place()
        ));
        let folder = builder.folder().join("tenants");
        std::fs::create_dir_all(&folder).unwrap();
        let file = format!("[plugin.tag]\npath = \"{path}\"\n[[route]]\nplugins = [\"tag\"]\nrespond = {{}}\n");
        std::fs::write(folder.join("one.toml"), file).unwrap();
        let said = home.check(&builder).await;
        assert_eq!(said.code, code, "{said:?}");
        assert!(code == 0 || said.err.contains("was not given"), "{said:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_pushed_says_why() {
    let (home, registry) = (Home::new(), registry().await);
    let guest = component("tagger").display().to_string();
    let place = registry.place();
    for (file, target, told) in [
        (guest.as_str(), format!("{place}/a:1"), "oci://REGISTRY/NAME:TAG"),
        (&guest, format!("oci://{place}/A"), "oci://REGISTRY/NAME:TAG"),
        ("/etc/passwd", format!("oci://{place}/a"), "is not wasm"),
        ("/does/not/exist", format!("oci://{place}/a"), "cannot read"),
        (&guest, "oci://127.0.0.1:9/a".to_owned(), "cannot be asked"),
    ] {
        let said = home.lockgate(&["plugin", "push", file, &target]).await;
        assert!(said.code != 0 && said.err.contains(told), "{target}: {said:?}");
    }
    assert!(registry.shelf.names().is_empty());
}
