//! The plugins in `examples/plugins`, built from source by `lockgate plugin build` and run in the real proxy.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use http::{Request, Response};
use http_body_util::BodyExt as _;
use lockgate_tests::{backend, binary, client, full, get, proxy, run, upload, within};
use tokio::sync::mpsc;

use crate::keyspaces::Redis;

/// Whether a program is there. What a machine lacks is left out, and said; in CI it is a failure.
pub(crate) fn has(program: &str, language: &str) -> bool {
    let there = std::env::split_paths(&path()).any(|folder| folder.join(program).is_file());
    assert!(there || std::env::var_os("LOCKGATE_ALL_LANGUAGES").is_none(), "plugins in {language} need `{program}`");
    if !there {
        // Not by `println!`, which nobody sees of a test that passes.
        let _ = writeln!(std::io::stderr(), "left out: {language}, because there is no `{program}` on this machine");
    }
    there
}

/// Where programs are, with those that `.ci/install` has put into the target folder.
pub(crate) fn path() -> std::ffi::OsString {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/languages/bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(std::iter::once(tools).chain(std::env::split_paths(&path))).unwrap()
}

/// Has an example pass its unit tests, builds it, has it play its scenarios, and says where its component is.
fn built(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/plugins").join(name);
    if folder.join("package.json").exists() {
        command(
            Command::new("npm").args(["install", "--no-audit", "--no-fund", "--prefer-offline"]).current_dir(&folder),
        );
    }
    for (has, test) in [
        ("plugin.test.js", &["npm", "test"][..]),
        ("plugin_test.go", &["go", "test", "./..."]),
        ("test_plugin.py", &["python3", "-m", "unittest"]),
    ] {
        if folder.join(has).exists() {
            command(Command::new(test[0]).args(&test[1..]).current_dir(&folder));
        }
    }
    command(Command::new(binary::lockgate()).args(["plugin", "build"]).arg(&folder));
    command(Command::new(binary::lockgate()).args(["plugin", "test"]).arg(&folder));
    folder.join(format!("{name}.wasm"))
}

fn command(command: &mut Command) {
    let output = command.env("PATH", path()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}: {}{}", text(&output.stdout), text(&output.stderr));
}

/// Engines and interpreters may take a while for their first call on a busy machine.
const LIMITS: &str = "limits = { cpu = \"2s\", wall = \"20s\" }";

#[tokio::test]
async fn c_signed_urls_are_let_in_until_they_expire() {
    if !has("clang", "C") || !has("wasm-ld", "C") {
        return;
    }
    let backend = backend().says("the film").await;
    let proxy = proxy(&format!(
        "[plugin.signed]\npath = \"$plugin\"\nconfig = {{ key = \"a key of the operator\" }}\n{LIMITS}\n\
         [upstream.app]\nbackends = [\"$app\"]\n[[route]]\nplugins = [\"signed\"]\nupstream = \"app\"\n"
    ))
    .set("plugin", built("signed-urls").display())
    .set("app", backend.url())
    .await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let (soon, past) = (now + 600, now - 1);
    for (signed, asked, status) in [
        (format!("/film?expires={soon}"), None, 200),
        (format!("/film?expires={past}"), None, 403),
        (format!("/film?expires={soon}"), Some(format!("/other?expires={soon}")), 403),
        (format!("/film?expires={soon}"), Some(format!("/film?expires={}", soon + 1)), 403),
    ] {
        let signature = sign("a key of the operator", &signed).await;
        let target = asked.unwrap_or(signed);
        assert_eq!(get(proxy.address(), &format!("{target}&signature={signature}")).await.status, status, "{target}");
    }
    for query in ["", "?expires=99999999999", "?signature=00", "?expires=&signature="] {
        assert_eq!(get(proxy.address(), &format!("/film{query}")).await.status, 403, "{query}");
    }
    assert_eq!(backend.ledger.lines(), ["GET /film"], "the signature stays here");
}

/// As an operator would, with another implementation than the plugin's.
async fn sign(key: &str, text: &str) -> String {
    let script = "printf %s \"$2\" | openssl dgst -sha256 -hmac \"$1\" -r | cut -d' ' -f1";
    run("sh", ["-c", script, "sign", key, text]).await.out.trim().to_owned()
}

#[tokio::test]
async fn c_responses_are_hardened() {
    if !has("clang", "C") || !has("wasm-ld", "C") {
        return;
    }
    let backend = backend().says("a page").await;
    let proxy = proxy(&format!(
        "[plugin.headers]\npath = \"$plugin\"\n{LIMITS}\n[upstream.app]\nbackends = [\"$app\"]\n\
         [[route]]\nplugins = [\"headers\"]\nupstream = \"app\"\n"
    ))
    .set("plugin", built("security-headers").display())
    .set("app", backend.url())
    .await;
    let answer = get(proxy.address(), "/").await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, "a page".to_owned()));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("strict-transport-security"), None, "not by clear text");
}

#[tokio::test]
async fn rust_tokens_are_verified_with_keys_that_are_fetched_once() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key.pem");
    let script = "openssl genrsa -out \"$1\" 2048 2>/dev/null; openssl rsa -in \"$1\" -noout -modulus | cut -d= -f2";
    let modulus = run("sh", ["-c", script, "key", &key.display().to_string()]).await.out;
    let modulus: Vec<u8> = (0..256).map(|at| u8::from_str_radix(&modulus[2 * at..2 * at + 2], 16).unwrap()).collect();
    let jwks = format!(
        "{{\"keys\": [{{\"kty\": \"RSA\", \"kid\": \"k\", \"e\": \"AQAB\", \"n\": \"{}\"}}]}}",
        base64url(&modulus)
    );
    let (login, backend) = (backend().says(&jwks).await, backend().says("secrets").await);
    let proxy = proxy(&format!(
        "[plugin.jwt]\npath = \"$plugin\"\ngrants = {{ http = [\"$login/keys\"] }}\n{LIMITS}\n\
         config = {{ jwks = \"$login/keys\", audience = \"app\" }}\n\
         [upstream.app]\nbackends = [\"$app\"]\n[[route]]\nplugins = [\"jwt\"]\nupstream = \"app\"\n[server]\nworkers = 1\n"
    ))
    .set("plugin", built("jwt").display())
    .set("login", login.url())
    .set("app", backend.url())
    .await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut client = client(proxy.address()).await;
    for (audience, expires, status) in [("app", now + 600, 200), ("bank", now + 600, 401), ("app", now - 1, 401)] {
        let claims = format!("{{\"sub\": \"alice\", \"aud\": \"{audience}\", \"exp\": {expires}}}");
        let signed = format!("{}.{}", base64url(b"{\"alg\": \"RS256\", \"kid\": \"k\"}"), base64url(claims.as_bytes()));
        let script = "printf %s \"$2\" | openssl dgst -sha256 -sign \"$1\" | openssl base64 -A | tr -d = | tr +/ -_";
        let signature = run("sh", ["-c", script, "sign", &key.display().to_string(), &signed]).await.out;
        for (token, status) in [(format!("{signed}.{signature}"), status), (format!("{signed}.AAAA{signature}"), 401)] {
            let request = Request::get("/").header("authorization", format!("Bearer {token}")).header("x-user", "root");
            let answer = client.send(request.body(full("")).unwrap()).await;
            assert_eq!(answer.status, status, "{claims}: {answer:?}");
        }
    }
    assert_eq!(get(proxy.address(), "/").await.status, 401, "no token at all");
    assert_eq!(login.ledger.lines(), ["GET /keys"], "once");
    assert_eq!(backend.ledger.last().header("x-user"), Some("alice"));
}

fn base64url(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let letters = bytes.chunks(3).flat_map(|three| {
        let number =
            three.iter().fold(0_usize, |number, byte| number << 8 | usize::from(*byte)) << (8 * (3 - three.len()));
        (0..=three.len()).map(move |at| char::from(LETTERS[number >> (18 - 6 * at) & 63]))
    });
    letters.collect()
}

#[tokio::test]
async fn rust_keys_stay_with_their_backend_when_another_goes() {
    let backends = [backend().says("a").await, backend().says("b").await, backend().says("c").await];
    let proxy = proxy(&format!(
        "[plugin.hash]\npath = \"$plugin\"\nconfig = {{ key = {{ header = \"x-user\" }} }}\n{LIMITS}\n\
         [upstream.app]\nbackends = [\"$a\", \"$b\", \"$c\"]\nbalance = {{ plugin = \"hash\" }}\n\
         [[route]]\nupstream = \"app\"\n"
    ))
    .set("plugin", built("consistent-hash").display())
    .set("a", backends[0].url())
    .set("b", backends[1].url())
    .set("c", backends[2].url())
    .await;
    let mut client = client(proxy.address()).await;
    let mut picked = async |user: usize| {
        let request = Request::get("/").header("x-user", user.to_string()).body(full("")).unwrap();
        client.send(request).await.text()
    };
    let mut before = Vec::new();
    for user in 0..60 {
        before.push(picked(user).await);
        assert_eq!(picked(user).await, before[user], "always the same");
    }
    assert!(["a", "b", "c"].iter().all(|name| before.iter().any(|picked| picked == name)), "{before:?}");
    backends[1].die();
    for (user, before) in before.iter().enumerate().filter(|(_, before)| *before != "b") {
        assert_eq!(picked(user).await, *before);
    }
}

#[tokio::test]
async fn javascript_visitors_are_split_and_stay_where_they_were() {
    if !has("npm", "JavaScript") {
        return;
    }
    let (a, b) = (backend().says("a").await, backend().says("b").await);
    let proxy = proxy(&format!(
        "[plugin.split]\npath = \"$plugin\"\nconfig = {{ share = 30, b = \"$b\" }}\n{LIMITS}\n\
         [upstream.app]\nbackends = [\"$a\", \"$b\"]\nbalance = {{ plugin = \"split\" }}\n\
         [[route]]\nplugins = [\"split\"]\nupstream = \"app\"\n"
    ))
    .set("plugin", built("ab-split").display())
    .set("a", a.url())
    .set("b", b.url())
    .await;
    let mut client = client(proxy.address()).await;
    let mut seen = [0, 0];
    for _ in 0..200 {
        let answer = client.get("/").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let cookie = answer.header("set-cookie").unwrap().to_owned();
        assert!(cookie.starts_with(&format!("variant={}; ", answer.text())), "{cookie}: {answer:?}");
        seen[usize::from(answer.text() == "b")] += 1;
        let again = Request::get("/").header("cookie", cookie.split(';').next().unwrap()).body(full("")).unwrap();
        let again = client.send(again).await;
        assert_eq!((again.text(), again.header("set-cookie")), (answer.text(), None));
    }
    // 200 throws of a coin that falls on one side three times of ten: less than one in a million runs is outside.
    assert!((28..=95).contains(&seen[1]), "{seen:?}");
}

#[tokio::test]
async fn go_clients_are_limited_by_one_process_and_by_two_that_share_redis() {
    if !has("go", "Go") {
        return;
    }
    let plugin = built("rate-limit");
    let limited = |kv: &str| {
        let text = format!(
            "{kv}[server]\nworkers = 2\n[plugin.limit]\npath = \"{}\"\ngrants = {{ kv = true }}\n\
             config = {{ limit = 5, window = \"1000h\", by = \"x-user\" }}\n\
             limits = {{ cpu = \"2s\", wall = \"20s\", memory = \"32 MiB\" }}\n\
             [[route]]\nplugins = [\"limit\"]\nrespond = {{ body = \"hello\" }}\n",
            plugin.display()
        );
        async move { proxy(&text).await }
    };
    let redis = Redis::start().await;
    let shared = format!("[kv]\nredis = \"{}\"\ntimeout = \"15s\"\n", redis.url());
    for (proxies, name) in
        [(vec![limited("").await], "in memory"), (vec![limited(&shared).await, limited(&shared).await], "in Redis")]
    {
        let mut seen = Vec::new();
        for number in 0..8 {
            let proxy = &proxies[number % proxies.len()];
            let ask = |user: &str| Request::get("/").header("x-user", user).body(full("")).unwrap();
            let answer = client(proxy.address()).await.send(ask("a")).await;
            seen.push(answer.status.as_u16());
            assert_eq!(answer.header("retry-after").is_some(), answer.status == 429, "{answer:?}");
            if number == 7 {
                assert_eq!(client(proxy.address()).await.send(ask("b")).await.status, 200, "{name}");
            }
        }
        assert_eq!(seen, [200, 200, 200, 200, 200, 429, 429, 429], "{name}");
    }
}

#[tokio::test]
async fn python_bodies_are_redacted_while_they_stream() {
    if !has("componentize-py", "Python") {
        return;
    }
    let (hands, mut written) = mpsc::unbounded_channel();
    let backend = backend()
        .answers(move |_| {
            let (hand, body) = upload();
            hands.send(hand).unwrap();
            async move { Response::builder().header("content-type", "text/plain").body(body).unwrap() }
        })
        .await;
    let proxy = proxy(
        "[plugin.redact]\npath = \"$plugin\"\n\
         limits = { cpu = \"20s\", wall = \"30s\", memory = \"64 MiB\", compile = \"10m\" }\n\
         [upstream.app]\nbackends = [\"$app\"]\n[[route]]\nplugins = [\"redact\"]\nupstream = \"app\"\n",
    )
    .set("plugin", built("redact").display())
    .set("app", backend.url())
    .await;
    let response = client(proxy.address()).await.open(Request::get("/").body(full("")).unwrap()).await.unwrap();
    let hand = written.recv().await.unwrap();
    assert!(hand.send("mail jane.doe@exam").await);
    assert!(hand.send(format!("ple.com about it{}", " ".repeat(300))).await);
    let mut body = response.into_body();
    let mut seen = Vec::new();
    while seen.len() < 30 {
        let frame = within("what is known to be clean", body.frame()).await.unwrap().unwrap();
        seen.extend_from_slice(frame.data_ref().unwrap());
    }
    assert!(seen.starts_with(b"mail [redacted] about it"), "{seen:?}");
    assert!(hand.send("4111 1111 1111 1111").await);
    drop(hand);
    seen.extend_from_slice(&within("the rest", body.collect()).await.unwrap().to_bytes());
    assert!(seen.ends_with(b" [redacted]"), "{seen:?}");
}

#[tokio::test]
async fn typescript_bodies_that_a_schema_does_not_allow_are_refused() {
    if !has("npm", "TypeScript") {
        return;
    }
    let backend = backend().says("stored").await;
    let proxy = proxy(&format!(
        "[plugin.validate]\npath = \"$plugin\"\n{LIMITS}\n[plugin.validate.config]\nmax = 200\n\
         schema = {{ type = \"object\", required = [\"name\"], properties = {{ \
         name = {{ \"$ref\" = \"#/$defs/name\" }} }}, \"$defs\" = {{ name = {{ type = \"string\", minLength = 1 }} }} }}\n\
         [upstream.app]\nbackends = [\"$app\"]\n[[route]]\nplugins = [\"validate\"]\nupstream = \"app\"\n"
    ))
    .set("plugin", built("validate").display())
    .set("app", backend.url())
    .await;
    let long = format!("{{\"name\": \"{}\"}}", "x".repeat(300));
    for (kind, body, status, said) in [
        ("application/json", "{\"name\": \"a\"}", 200, "stored"),
        ("application/json; charset=utf-8", "{\"name\": \"ü\", \"more\": 1}", 200, "stored"),
        ("application/json", "{\"name\": \"\"}", 422, "#/name"),
        ("application/json", "{}", 422, "name"),
        ("application/json", "{\"name\": ", 400, "not JSON"),
        ("text/plain", "{\"name\": \"a\"}", 415, "application/json"),
        ("application/json", &long, 413, ""),
    ] {
        let request = Request::post("/").header("content-type", kind).body(full(body.to_owned())).unwrap();
        let answer = client(proxy.address()).await.send(request).await;
        assert_eq!(answer.status, status, "{body}: {answer:?}");
        assert!(answer.text().contains(said), "{body}: {answer:?}");
    }
    assert_eq!(backend.ledger.count(), 2);
    assert_eq!(get(proxy.address(), "/").await.status, 200, "nothing to look at");
}
