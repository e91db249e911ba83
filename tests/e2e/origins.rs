//! The oracle with servers behind it that others have written; `.ci/install` brings them.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use lockgate_tests::oracle::{Trial, seeds};
use lockgate_tests::{eventually, installed, proxy_to};
use tempfile::TempDir;

/// How many inputs for each, unless `LOCKGATE_ORIGINS` says otherwise.
const INPUTS: u64 = 1000;

/// A server of somebody else's.
struct Origin {
    child: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Origin {
    /// Starts the program, in whose arguments `$port`, `$dir` and `$here` stand for what they say; `$conf` for `configuration`
    /// with the same filled in.
    async fn start(program: &Path, arguments: &[&str], configuration: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Given back at once, for the server to take.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("origins");
        let conf = folder.path().join("conf");
        let fill = |text: &str| {
            let text = text.replace("$port", &address.port().to_string());
            let text = text.replace("$dir", &folder.path().display().to_string());
            text.replace("$here", &here.display().to_string()).replace("$conf", &conf.display().to_string())
        };
        if !configuration.is_empty() {
            let text = std::fs::read_to_string(here.join(configuration)).unwrap();
            std::fs::write(&conf, fill(&text)).unwrap();
        }
        let mut command = Command::new(program);
        command.args(arguments.iter().map(|argument| fill(argument))).current_dir(&here);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let origin = Self { child, address, _folder: folder };
        eventually("the origin listens", || std::net::TcpStream::connect(address).is_ok()).await;
        origin
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends the inputs through a proxy to that program. `words` are those of `x-seen` that it can say.
async fn holds(name: &str, arguments: &[&str], configuration: &str, words: usize) {
    let program = installed(name).unwrap_or_else(|| panic!("{name} is not installed: .ci/install does that"));
    let origin = Origin::start(&program, arguments, configuration).await;
    let proxy = proxy_to(format!("http://{}", origin.address)).and("[log]\naccess = \"off\"").await;
    let inputs = std::env::var("LOCKGATE_ORIGINS").map_or(INPUTS, |text| text.parse().expect("a number"));
    let trial = Trial { proxy: proxy.address(), seed: 3, inputs, clients: 8, words };
    let outcome = tokio::task::spawn_blocking(move || trial.run(&seeds())).await.unwrap();
    let sums = (outcome.forwarded, outcome.answered, outcome.unanswered);
    println!("{name}: {inputs} inputs: {sums:?} requests forwarded, answered here, unanswered");
    assert!(outcome.differences.is_empty(), "{name}: {}", outcome.differences.join("\n"));
    assert!(outcome.forwarded > inputs / 25, "{name}: {outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn apache_sees_what_was_sent() {
    holds("apache2", &["-X", "-f", "$conf"], "apache.conf", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_sees_what_was_sent() {
    holds("nginx", &["-p", "$dir", "-e", "$dir/nginx-error.log", "-c", "$conf"], "nginx.conf", 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_sees_what_was_sent() {
    holds("node", &["$here/node.js", "$port"], "", 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uvicorn_sees_what_was_sent() {
    for parser in ["h11", "httptools"] {
        holds("uvicorn", &["app:asgi", "--port", "$port", "--http", parser, "--no-access-log"], "", 4).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn gunicorn_sees_what_was_sent() {
    let arguments = ["app:wsgi", "-b", "127.0.0.1:$port", "-k", "gthread", "--threads", "8", "--keep-alive", "60"];
    holds("gunicorn", &arguments, "", 4).await;
}
