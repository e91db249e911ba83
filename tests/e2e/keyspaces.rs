//! Key spaces in Redis: a real server, on a socket in a folder of the scene's own.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use http::Request;
use lockgate_tests::{Proxy, ProxyBuilder, client, command, empty, get, proxy, within};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use xtask::guests::component;

/// A server. Dropping it kills the process.
pub(crate) struct Redis {
    folder: TempDir,
    child: Child,
}

impl Redis {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let child = serve(folder.path()).await;
        Self { folder, child }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis+unix://{}/redis.sock", self.folder.path().display())
    }

    async fn stop(&mut self) {
        self.child.kill().await.unwrap();
    }

    async fn restart(&mut self) {
        self.child = serve(self.folder.path()).await;
    }

    /// Stops or continues the process without ending it.
    async fn signal(&self, name: &str) {
        command::signal(self.child.id().unwrap(), name).await;
    }
}

async fn serve(folder: &Path) -> Child {
    let mut server = Command::new("redis-server");
    server.args(["--port", "0", "--unixsocket", "redis.sock", "--save", "", "--appendonly", "no"]);
    server.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    let child = server.spawn().expect("redis-server is installed by .ci/install");
    let up = async {
        while tokio::net::UnixStream::connect(folder.join("redis.sock")).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within("the start of Redis", up).await;
    child
}

fn guest(redis: &str, more: &str) -> ProxyBuilder {
    proxy(&format!(
        "[kv]\nredis = \"{redis}\"\n{more}\n\
         [plugin.guest]\npath = \"$guest\"\ngrants = {{ http = [\"http://a.test\"], kv = true }}\n\
         limits = {{ wall = \"50s\" }}\n\
         [[route]]\npath = \"/guest\"\nplugins = [\"guest\"]\nrespond = {{}}\n\
         [[route]]\npath = \"/other\"\nrespond = {{ body = \"other\" }}\n"
    ))
    .set("guest", component("outbound").display())
}

async fn kv(proxy: &Proxy, operations: &str) -> String {
    let request = Request::get("/guest").header("x-kv", operations).body(empty()).unwrap();
    client(proxy.address()).await.send(request).await.text()
}

const PATIENT: &str = "timeout = \"15s\"";

#[tokio::test]
async fn what_holds_in_memory_holds_in_redis() {
    let redis = Redis::start().await;
    let proxy = guest(&redis.url(), PATIENT).await;
    for (operations, told) in [
        (
            "get a; set a 1; get a; delete a; delete a; get a",
            "Ok(None)\nOk(())\nOk(Some(\"1\"))\nOk(true)\nOk(false)\nOk(None)",
        ),
        (
            "swap a x 1; swap a - 1; swap a - 2; swap a 1 2; get a",
            "Ok(false)\nOk(true)\nOk(false)\nOk(true)\nOk(Some(\"2\"))",
        ),
        (
            "increment n 5; increment n -7; get n; set n x; increment n 1",
            "Ok(5)\nOk(-2)\nOk(Some(\"-2\"))\nOk(())\nErr(Error::NotANumber)",
        ),
        (
            "set m 9223372036854775806; increment m 1; increment m 1; get m",
            "Ok(())\nOk(9223372036854775807)\nErr(Error::NotANumber)\nOk(Some(\"9223372036854775807\"))",
        ),
        ("large a 262145; set short 1 1; set long 1 60000", "Err(Error::TooLarge)\nOk(())\nOk(())"),
        ("increment window 1 3000; increment window 1 60000", "Ok(1)\nOk(2)"),
    ] {
        assert_eq!(kv(&proxy, operations).await, told, "{operations}");
    }
    within("the end of its time", async { while kv(&proxy, "get short").await != "Ok(None)" {} }).await;
    within("the end of the window", async { while kv(&proxy, "get window").await != "Ok(None)" {} }).await;
    assert_eq!(kv(&proxy, "get long").await, "Ok(Some(\"1\"))");
}

#[tokio::test]
async fn two_processes_share_a_key_space_and_other_prefixes_do_not() {
    let redis = Redis::start().await;
    let (one, two) = (guest(&redis.url(), PATIENT).await, guest(&redis.url(), PATIENT).await);
    let clients = (0..4).map(|number| {
        let proxy = if number % 2 == 0 { &one } else { &two };
        async move {
            for _ in 0..25 {
                assert!(kv(proxy, "increment n 1").await.starts_with("Ok("));
            }
        }
    });
    futures_util::future::join_all(clients).await;
    assert_eq!(kv(&one, "get n").await, "Ok(Some(\"100\"))");
    let other = guest(&redis.url(), "timeout = \"15s\"\nprefix = \"other\"").await;
    assert_eq!(kv(&other, "get n").await, "Ok(None)");
}

#[tokio::test]
async fn a_server_that_is_gone_is_an_error_and_one_that_returns_is_used_again() {
    let mut redis = Redis::start().await;
    let proxy = guest(&redis.url(), PATIENT).await;
    assert_eq!(kv(&proxy, "set a 1").await, "Ok(())");
    redis.stop().await;
    for _ in 0..5 {
        let told = kv(&proxy, "get a").await;
        assert!(told.starts_with("Err(Error::Unavailable(") && !told.contains("kv.timeout"), "{told}");
    }
    let outcome = "lockgate_kv_operations_total{plugin=\"guest\",outcome=\"unavailable\"}";
    assert_eq!(proxy.metric(outcome).await, 5.0);
    assert!(proxy.log.line("reason=unavailable").await.contains("kv.get failed"));
    redis.restart().await;
    let back = async {
        while kv(&proxy, "set a 2").await != "Ok(())" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("its return", back).await;
    assert_eq!(proxy.metric("lockgate_hook_failures_total").await, 0.0);
}

#[tokio::test]
async fn a_server_that_hangs_costs_its_time_and_holds_up_nobody() {
    let redis = Redis::start().await;
    let proxy = guest(&redis.url(), "timeout = \"3s\"\nqueue = 2").and("[server]\nworkers = 1").await;
    assert_eq!(kv(&proxy, "set a 1").await, "Ok(())");
    redis.signal("STOP").await;
    let hangs = std::cell::Cell::new(true);
    let (told, other) = tokio::join!(
        async {
            let told = kv(&proxy, "get a").await;
            hangs.set(false);
            told
        },
        async { (get(proxy.address(), "/other").await.text(), hangs.get()) }
    );
    assert!(told.contains("kv.timeout"), "{told}");
    assert_eq!(other, ("other".to_owned(), true), "the other one was served meanwhile");
    let told = futures_util::future::join_all((0..6).map(|_| kv(&proxy, "get a"))).await;
    assert!(told.iter().any(|told| told.contains("kv.queue")), "{told:?}");
    redis.signal("CONT").await;
    within("its return", async { while kv(&proxy, "get a").await != "Ok(Some(\"1\"))" {} }).await;
}
