//! The machine's date is set, forwards and back, while Lockgate runs: only what is about dates may notice.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Request;
use lockgate_tests::tls::Issued;
use lockgate_tests::{Certificates, Gate, Proxy, backend, client, empty, eventually, get, proxy, run, within};
use tokio::time::{Instant, sleep};

const HOUR: i64 = 3600;

/// A date that can be set for one process, by a library below it.
struct Dated {
    file: PathBuf,
}

impl Dated {
    fn in_folder(folder: &Path) -> Self {
        let dated = Self { file: folder.join("date") };
        dated.set(0);
        dated
    }

    /// So many seconds from the real date.
    fn set(&self, offset: i64) {
        let next = self.file.with_extension("next");
        std::fs::write(&next, format!("{offset:+}\n")).unwrap();
        std::fs::rename(next, &self.file).unwrap();
    }
}

/// Where the library is that `faketime` puts below programs.
async fn library() -> String {
    let said = run("faketime", ["now", "printenv", "LD_PRELOAD"]).await;
    let path = said.out.trim().to_owned();
    assert!(!path.is_empty(), ".ci/install puts it there: {said:?}");
    path
}

/// How many seconds off the date is that the proxy writes into its responses.
async fn date_is_off_by(proxy: &Proxy) -> i64 {
    let answer = get(proxy.address(), "/own").await;
    let date = answer.header("date").expect("a date").to_owned();
    let seconds: i64 = run("date", ["--date", &date, "+%s"]).await.out.trim().parse().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    seconds - now.as_secs() as i64
}

async fn until_the_date_is_off_by(proxy: &Proxy, offset: i64) {
    within("the date", async {
        while (date_is_off_by(proxy).await - offset).abs() > 60 {
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

/// Two listeners, one of which asks for certificates; a backend that answers late, and one that never does.
const SCENE: &str = "
    [server]
    workers = 1
    [timeouts]
    keepalive = \"10m\"
    [[listener]]
    address = \"127.0.0.1:0\"
    [[listener]]
    address = \"127.0.0.1:0\"
    client_auth = { ca = \"$ca\" }
    [[listener.certificate]]
    certificate = \"$crt\"
    key = \"$key\"
    [upstream.slow]
    backends = [\"$slow\"]
    response_timeout = \"10m\"
    [upstream.silent]
    backends = [\"$silent\"]
    response_timeout = \"300ms\"
    retry = { attempts = 0 }
    [[route]]
    path = \"/slow\"
    timeout = \"10m\"
    upstream = \"slow\"
    [[route]]
    path = \"/silent\"
    upstream = \"silent\"
    [[route]]
    path = \"/own\"
    respond = { body = \"own\" }
";

/// Whether a client gets in that shows this certificate.
async fn gets_in(proxy: &Proxy, certificates: &Certificates, shown: &Issued) -> bool {
    let connecting = client(proxy.tls_address()).tls(certificates.client_with(shown, &[])).try_connect();
    let Ok(mut client) = within("a handshake", connecting).await else { return false };
    // With TLS 1.3 the client hears of it when it reads.
    client.try_send(Request::get("/own").body(empty()).unwrap()).await.is_ok()
}

#[tokio::test]
async fn a_date_that_is_set_by_an_hour_moves_dates_and_no_timer() {
    let (gate, certificates) = (Gate::default(), Certificates::new());
    let slow = backend().says_past(&gate, "slow").await;
    let silent = backend().says_past(&Gate::default(), "never").await;
    let server = certificates.issue("localhost");
    let builder = proxy(SCENE)
        .set("slow", slow.url())
        .set("silent", silent.url())
        .set("ca", certificates.authority().display())
        .set("crt", server.certificate.display())
        .set("key", server.key.display())
        .variable("LD_PRELOAD", &library().await)
        .variable("FAKETIME_NO_CACHE", "1")
        .variable("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let date = Dated::in_folder(builder.folder());
    let proxy = builder.variable("FAKETIME_TIMESTAMP_FILE", &date.file.display().to_string()).await;
    let began = Instant::now();
    // Good for half an hour more, and since half an hour ago.
    let shown = certificates.issue_around_now("alice", Duration::from_secs(1800));
    assert!(gets_in(&proxy, &certificates, &shown).await);
    let mut kept = client(proxy.address()).await;
    for offset in [HOUR, -HOUR] {
        let mut waiting = client(proxy.address()).await;
        let before = slow.ledger.count();
        let under_way = tokio::spawn(waiting.start(Request::get("/slow").body(empty()).unwrap()));
        eventually("it is under way", || slow.ledger.count() > before).await;
        assert_eq!(kept.get("/own").await.text(), "own");
        date.set(offset);
        until_the_date_is_off_by(&proxy, offset).await;
        assert!(!gets_in(&proxy, &certificates, &shown).await, "{offset}: certificates are good by the date");
        // What waits is neither late nor waits an hour longer.
        let asked = Instant::now();
        assert_eq!(get(proxy.address(), "/silent").await.status, 504);
        assert!(asked.elapsed() >= Duration::from_millis(250), "{offset}: {:?}", asked.elapsed());
        assert!(!under_way.is_finished(), "{offset}");
        gate.open();
        let answer = within("the answer", under_way).await.unwrap().unwrap();
        assert_eq!(answer.status(), 200, "{offset}");
        assert_eq!(kept.get("/own").await.text(), "own", "{offset}: the connection has not been idle for too long");
        let uptime = proxy.admin("/status").await.json()["uptime_seconds"].as_f64().unwrap();
        assert!(uptime > 0.0 && uptime < began.elapsed().as_secs_f64() + 60.0, "{offset}: {uptime}");
        date.set(0);
        until_the_date_is_off_by(&proxy, 0).await;
        assert!(gets_in(&proxy, &certificates, &shown).await, "{offset}");
    }
    proxy.stop().await;
}
