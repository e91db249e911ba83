//! What Lockgate does when there is not enough of something: descriptors, memory, time for slow clients.

use std::time::Duration;

use lockgate_tests::{Certificates, Proxy, backend, client, eventually, proxy_to, raw, run, within};
use tokio::time::{Instant, sleep};

const REFUSED: &str = "lockgate_connections_refused_total";

#[tokio::test]
async fn descriptors_that_run_out_stop_neither_those_who_are_served_nor_those_who_come_after() {
    let app = backend().says("hello").await;
    let proxy = proxy_to(app.url()).and("[server]\nworkers = 1").await;
    let mut innocent = client(proxy.address()).await;
    assert_eq!(innocent.get("/").await.text(), "hello");
    // For the admin listener, and a few more.
    let limit = proxy.open_files() + 20;
    run("prlimit", ["--pid", &proxy.pid().to_string(), &format!("--nofile={limit}:{limit}")]).await;
    let mut idle = Vec::new();
    for _ in 0..100 {
        idle.push(raw(proxy.address()).await);
    }
    proxy.log.line("cannot accept a connection").await;
    let (ticks, began) = (proxy.processor_ticks(), Instant::now());
    for _ in 0..50 {
        assert_eq!(innocent.get("/").await.text(), "hello");
        sleep(Duration::from_millis(10)).await;
    }
    // A tick is 10 ms: a loop that spins takes one for every 10 ms that pass.
    let (spent, passed) = (proxy.processor_ticks() - ticks, began.elapsed().as_millis() / 10);
    assert!(u128::from(spent) < passed / 2, "{spent} of {passed} ticks");
    // Who does nothing is let go, so that others can come in even while those try to stay.
    assert_eq!(within("a place", client(proxy.address()).await.get("/")).await.text(), "hello");
    drop(idle);
    assert_eq!(within("a place", client(proxy.address()).await.get("/")).await.text(), "hello");
    assert!(proxy.metric(&format!("{REFUSED}{{why=\"accept\"}}")).await > 0.0);
    assert!(proxy.log.count("cannot accept a connection") < 20, "said once a second at most");
}

#[tokio::test]
async fn memory_that_runs_out_costs_new_work_and_nothing_else() {
    // A backend that answers when it is told to.
    let (tell, told) = tokio::sync::watch::channel(false);
    let app = backend()
        .answers(move |request| {
            let mut told = told.clone();
            async move {
                if request.uri().path() == "/slow" {
                    let _ = told.wait_for(|told| *told).await;
                }
                http::Response::new(lockgate_tests::full("hello"))
            }
        })
        .await;
    // Every process has more than that.
    let proxy = proxy_to(app.url()).and("[limits]\nmemory = \"16 MiB\"").and("[server]\nworkers = 1").await;
    proxy.log.line("memory is tight").await;
    // One at a time is served: or it would never be better.
    let mut first = client(proxy.address()).await;
    let slow = first.start(http::Request::get("/slow").body(lockgate_tests::empty()).unwrap());
    eventually("it is under way", || app.ledger.count() == 1).await;
    for http2 in [false, true] {
        let client = client(proxy.address());
        let mut client = if http2 { client.http2().await } else { client.await };
        let answer = client.get("/").await;
        assert_eq!((answer.status.as_u16(), answer.text().contains("overloaded")), (503, true), "{answer:?}");
    }
    tell.send_replace(true);
    assert_eq!(slow.await.unwrap().status(), 200);
    drop(first);
    // Few connections are held, and no idle ones.
    let mut others = Vec::new();
    for _ in 0..40 {
        others.push(raw(proxy.address()).await);
    }
    let metric = format!("{REFUSED}{{why=\"memory\"}}");
    within("connections are refused", async {
        while proxy.metric(&metric).await == 0.0 {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    for other in &mut others {
        other.closed().await;
    }
    let roomy = "[upstream.app]\nbackends = [\"$app\"]\n[[route]]\nupstream = \"app\"\n\
                 [limits]\nmemory = \"unlimited\"\n[server]\nworkers = 1\n";
    proxy.reload(roomy).await;
    proxy.log.line("memory is no longer tight").await;
    assert_eq!(client(proxy.address()).await.get("/").await.text(), "hello");
}

/// A proxy with TLS that has no patience.
async fn impatient(app: &str, certificates: &Certificates) -> Proxy {
    let issued = certificates.issue("localhost");
    proxy_to(app)
        .and("[timeouts]\nheader = \"1s\"\nbody_idle = \"1s\"\nkeepalive = \"1s\"\ntls_handshake = \"1s\"")
        .and("[limits]\nhandshakes = 64\nconnections_per_client = 16000")
        .and("[[listener]]\naddress = \"127.0.0.1:0\"")
        .and(
            "[[listener]]\naddress = \"127.0.0.1:0\"\n[[listener.certificate]]\ncertificate = \"$crt\"\nkey = \"$key\"",
        )
        .set("crt", issued.certificate.display())
        .set("key", issued.key.display())
        .await
}

/// How many silent clients, unless `LOCKGATE_CROWD` says otherwise.
fn crowd() -> usize {
    std::env::var("LOCKGATE_CROWD").map_or(200, |text| text.parse().expect("a number"))
}

#[tokio::test]
async fn a_crowd_of_slow_handshakes_and_silent_connections_goes_away_and_others_are_served_meanwhile() {
    let certificates = Certificates::new();
    let app = backend().says("hello").await;
    let proxy = impatient(&app.url(), &certificates).await;
    let plain = proxy.address();
    let (mut silent, mut slow) = (Vec::new(), Vec::new());
    for number in 0..crowd() {
        silent.push(raw(proxy.tls_address()).await);
        silent.push(raw(plain).await);
        slow.push(raw(proxy.tls_address()).await);
        if number % 50 == 0 {
            assert_eq!(client(plain).await.get("/").await.text(), "hello");
        }
    }
    // The beginning of a hello that is never whole, byte by byte: that something comes is no reason to wait longer.
    for byte in [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc] {
        for client in &mut slow {
            client.send([byte]).await;
        }
        assert_eq!(client(plain).await.get("/").await.text(), "hello");
    }
    let served = async {
        loop {
            let client = client(proxy.tls_address()).tls(certificates.client(&[]));
            if let Ok(mut client) = client.try_connect().await {
                return client.get("/").await;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    assert_eq!(within("a handshake", served).await.text(), "hello");
    for client in silent.iter_mut().chain(&mut slow) {
        client.closed().await;
    }
}

#[tokio::test]
async fn slowhttptest_finds_the_service_available() {
    let certificates = Certificates::new();
    let app = backend().says(&"hello".repeat(100_000)).await;
    let proxy = impatient(&app.url(), &certificates).await;
    let url = format!("http://{}/", proxy.address());
    for (what, arguments) in [
        ("headers", "-H -i 1 -t GET -x 24"),
        ("body", "-B -i 1 -s 8192 -t POST -x 10"),
        ("reading", "-X -w 1 -y 10 -n 1 -z 5 -k 3"),
    ] {
        let common = format!("{arguments} -c 100 -r 100 -l 4 -p 10 -u {url}");
        let attack = tokio::spawn(async move {
            let words: Vec<&str> = common.split(' ').collect();
            run("slowhttptest", words).await
        });
        let mut innocent = 0;
        while !attack.is_finished() {
            assert_eq!(client(proxy.address()).await.get("/").await.status, 200, "{what}");
            innocent += 1;
        }
        let said = attack.await.unwrap();
        assert!(innocent > 0 && !said.out.contains("service available:   NO"), "{what}: {}", said.out);
        eventually("the backend is let go", || app.ledger.open() <= 64).await;
    }
    assert_eq!(client(proxy.address()).await.get("/").await.status, 200);
}
