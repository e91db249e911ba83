//! A new configuration takes the place of the old one, and nobody who is being served notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use http::Request;
use http_body_util::BodyExt as _;
use lockgate_tests::tls::Issued;
use lockgate_tests::{
    Certificates, Proxy, backend, client, empty, eventually, get, load, proxy, raw, upload, websocket, within,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

const ONE: &str = "[upstream.app]\nbackends = [\"$one\"]\n[[route]]\nupstream = \"app\"\n";
const TWO: &str = "[upstream.app]\nbackends = [\"$two\"]\n[[route]]\nupstream = \"app\"\n";

#[tokio::test]
async fn twenty_reloads_under_load_lose_nothing_and_close_no_connection() {
    let (one, two) = (backend().says("one").await, backend().says("two").await);
    let proxy = proxy(ONE).set("one", one.url()).set("two", two.url()).await;
    let work = [load(proxy.address(), "/", 8, false), load(proxy.address(), "/", 4, true)];
    for number in 0..20 {
        proxy.reload(if number % 2 == 0 { TWO } else { ONE }).await;
        work[0].progress(8).await;
    }
    for (work, clients) in work.into_iter().zip([8, 4]) {
        let tally = work.stop().await;
        assert!(tally.bad.is_empty() && tally.unanswered == 0 && tally.refused == 0, "{tally:?}");
        assert_eq!((tally.connections, tally.closed), (clients, 0), "no connection was closed: {tally:?}");
    }
    assert!(one.ledger.count() > 0 && two.ledger.count() > 0);
    proxy.stop().await;
}

#[tokio::test]
async fn the_next_exchange_on_an_old_connection_sees_the_new_configuration() {
    let (one, two) = (backend().says("one").await, backend().says("two").await);
    let proxy = proxy(ONE).set("one", one.url()).set("two", two.url()).await;
    for http2 in [false, true] {
        proxy.reload(ONE).await;
        let client = client(proxy.address());
        let mut client = if http2 { client.http2().await } else { client.await };
        assert_eq!(client.get("/").await.text(), "one");
        proxy.reload(TWO).await;
        assert_eq!(client.get("/").await.text(), "two");
    }
}

#[tokio::test]
async fn an_invalid_file_changes_nothing_and_is_reported() {
    let one = backend().says("one").await;
    let proxy = proxy(ONE).set("one", one.url()).await;
    let before = proxy.generation().await;
    for (number, (wrong, words)) in [
        ("[[route]]\nupstrem = \"app\"\n", "upstrem"),
        ("[[route]]\nupstream = \"nobody\"\n", "nobody"),
        ("this is not TOML", "lockgate.toml"),
        ("[[route]]\nrespond = {}\nplugins = [\"nothing\"]\n", "nothing"),
    ]
    .into_iter()
    .enumerate()
    {
        proxy.rewrite(wrong);
        proxy.signal("HUP").await;
        proxy.log.line(words).await;
        assert_eq!(get(proxy.address(), "/").await.text(), "one", "{number}");
        assert_eq!(proxy.generation().await, before);
    }
    assert_eq!(proxy.admin("/readyz").await.status, 200);
}

#[tokio::test]
async fn a_changed_file_is_enough() {
    let (one, two) = (backend().says("one").await, backend().says("two").await);
    let proxy = proxy(ONE).set("one", one.url()).set("two", two.url()).await;
    let before = proxy.generation().await;
    proxy.rewrite(TWO);
    proxy.generation_after(before).await;
    assert_eq!(get(proxy.address(), "/").await.text(), "two");
}

#[tokio::test]
async fn an_exchange_under_way_ends_on_the_configuration_that_it_began_with() {
    let (hands, mut written) = tokio::sync::mpsc::unbounded_channel();
    let one = backend()
        .answers(move |_| {
            let (hand, body) = upload();
            hands.send(hand).unwrap();
            async move { http::Response::new(body) }
        })
        .await;
    let two = backend().says("two").await;
    let proxy = proxy(ONE).set("one", one.url()).set("two", two.url()).await;
    let response = client(proxy.address()).await.open(Request::get("/").body(empty()).unwrap()).await.unwrap();
    let hand = within("the request", written.recv()).await.unwrap();
    proxy.reload(TWO).await;
    assert_eq!(get(proxy.address(), "/").await.text(), "two");
    assert!(hand.send("to the end").await);
    drop(hand);
    let body = within("the end", response.into_body().collect()).await.unwrap();
    assert_eq!(body.to_bytes(), "to the end");
}

#[tokio::test]
async fn connections_to_backends_that_stay_are_kept() {
    let one = backend().says("one").await;
    let proxy = proxy(&format!("[server]\nworkers = 1\ngrace = \"5s\"\n{ONE}")).set("one", one.url()).await;
    let mut client = client(proxy.address()).await;
    for number in 0..4 {
        assert_eq!(client.get("/").await.text(), "one");
        proxy.reload(&format!("[server]\nworkers = 1\ngrace = \"5s\"\n# {number}\n{ONE}")).await;
    }
    assert_eq!(one.ledger.connections(), 1);
}

#[tokio::test]
async fn tunnels_and_other_routes_outlive_a_reload() {
    let sockets = websocket::parrot().await;
    let one = backend().says("one").await;
    let proxy = proxy("[upstream.app]\nbackends = [\"$sockets\"]\n[[route]]\nupstream = \"app\"")
        .set("sockets", sockets.url())
        .set("one", one.url())
        .await;
    let (mut socket, _) = websocket::open(proxy.address()).await.unwrap();
    assert_eq!(websocket::ask(&mut socket, "before").await.unwrap(), "before");
    proxy.reload(ONE).await;
    assert_eq!(get(proxy.address(), "/").await.text(), "one");
    assert_eq!(websocket::ask(&mut socket, "after").await.unwrap(), "after");
}

#[tokio::test]
async fn listeners_come_and_go() {
    let proxy = proxy("[[listener]]\naddress = \"127.0.0.1:0\"\n[[route]]\nrespond = { body = \"hello\" }").await;
    let more = "[[listener]]\naddress = \"127.0.0.1:0\"\n[[listener]]\naddress = \"127.0.0.2:0\"\n[[route]]\nrespond = { body = \"hello\" }";
    let mut kept = client(proxy.address()).await;
    assert_eq!(kept.get("/").await.text(), "hello");
    proxy.reload(more).await;
    let line = proxy.log.line("127.0.0.2:").await;
    let port: u16 = line
        .rsplit("127.0.0.2:")
        .next()
        .unwrap()
        .chars()
        .take_while(char::is_ascii_digit)
        .collect::<String>()
        .parse()
        .unwrap();
    let address = std::net::SocketAddr::from(([127, 0, 0, 2], port));
    assert_eq!(get(address, "/").await.text(), "hello");
    let mut stays = client(address).await;
    assert_eq!(stays.get("/").await.text(), "hello");
    proxy.reload("[[listener]]\naddress = \"127.0.0.1:0\"\n[[route]]\nrespond = { body = \"hello\" }").await;
    let gone = async {
        while raw_connects(address).await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within("the listener's end", gone).await;
    assert_eq!(kept.get("/").await.text(), "hello", "the other listener's connection has felt nothing");
}

async fn raw_connects(address: std::net::SocketAddr) -> bool {
    tokio::net::TcpStream::connect(address).await.is_ok()
}

#[tokio::test]
async fn new_certificates_are_for_the_next_handshake_and_bad_ones_for_none() {
    let certificates = Certificates::new();
    let (first, second) = (certificates.issue("localhost"), certificates.issue("example.com"));
    let toml = "[[listener]]\naddress = \"127.0.0.1:0\"\n[[listener.certificate]]\ncertificate = \"$dir/tls.crt\"\nkey = \"$dir/tls.key\"\n[[route]]\nrespond = { body = \"hello\" }";
    let builder = proxy(toml);
    let folder = builder.folder().to_owned();
    let install = |issued: &Issued| {
        std::fs::copy(&issued.certificate, folder.join("tls.crt")).unwrap();
        std::fs::copy(&issued.key, folder.join("tls.key")).unwrap();
    };
    install(&first);
    let proxy = builder.await;
    let mut old = client(proxy.address()).tls(certificates.client(&[])).await;
    assert_eq!(old.get("/").await.text(), "hello");

    install(&second);
    proxy.reload(toml).await;
    let mut new = client(proxy.address()).name("example.com").tls(certificates.client(&[])).await;
    assert_eq!(new.get("/").await.text(), "hello");
    assert_eq!(old.get("/").await.text(), "hello", "the old connection goes on");

    std::fs::copy(&first.key, folder.join("tls.key")).unwrap();
    let before = proxy.generation().await;
    proxy.signal("HUP").await;
    proxy.log.line("tls.key").await;
    assert_eq!(proxy.generation().await, before);
    let mut new = client(proxy.address()).name("example.com").tls(certificates.client(&[])).await;
    assert_eq!(new.get("/").await.text(), "hello");
}

/// The certificate that the next handshake is shown.
async fn shown(proxy: &Proxy, certificates: &Certificates) -> CertificateDer<'static> {
    let stream = tokio::net::TcpStream::connect(proxy.address()).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(certificates.client(&[])));
    let handshake = connector.connect("localhost".try_into().unwrap(), stream);
    let stream = within("a handshake", handshake).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

#[tokio::test]
async fn no_handshake_fails_while_certificates_change() {
    let certificates = Arc::new(Certificates::new());
    let pairs = [certificates.issue("localhost"), certificates.issue("localhost")];
    let toml = "[limits]\nnew_connections_per_client = 1000000\n[[listener]]\naddress = \"127.0.0.1:0\"\n[[listener.certificate]]\ncertificate = \"$dir/tls.crt\"\nkey = \"$dir/tls.key\"\n[[route]]\nrespond = { body = \"hello\" }";
    let builder = proxy(toml);
    let folder = builder.folder().to_owned();
    let install = |certificate: &Issued, key: &Issued| {
        std::fs::copy(&certificate.certificate, folder.join("tls.crt")).unwrap();
        std::fs::copy(&key.key, folder.join("tls.key")).unwrap();
    };
    install(&pairs[0], &pairs[0]);
    let proxy = builder.await;
    let (done, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let load = (0..4).map(|_| {
        let (certificates, done, over) = (Arc::clone(&certificates), Arc::clone(&done), Arc::clone(&over));
        let address = proxy.address();
        tokio::spawn(async move {
            while !over.load(Ordering::Relaxed) {
                // Nobody remembers a session: each is a whole handshake.
                let mut client = client(address).tls(certificates.client(&[])).await;
                assert_eq!(client.get("/").await.text(), "hello");
                done.fetch_add(1, Ordering::Relaxed);
            }
        })
    });
    let load: Vec<_> = load.collect();
    for round in 1..=10 {
        let pair = &pairs[round % 2];
        install(pair, pair);
        proxy.reload(toml).await;
        let expected = CertificateDer::from_pem_file(&pair.certificate).unwrap();
        assert_eq!(shown(&proxy, &certificates).await, expected, "{round}");
        // A pair that does not fit changes nothing.
        let (before, refused) = (proxy.generation().await, proxy.log.count("not reloaded"));
        install(pair, &pairs[(round + 1) % 2]);
        proxy.signal("HUP").await;
        proxy.log.nth_line("not reloaded", refused + 1).await;
        assert_eq!(proxy.generation().await, before, "{round}");
        assert_eq!(shown(&proxy, &certificates).await, expected, "{round}");
        let enough = done.load(Ordering::Relaxed) + 20;
        eventually("handshakes", || done.load(Ordering::Relaxed) >= enough).await;
    }
    over.store(true, Ordering::Relaxed);
    for clients in load {
        within("the last handshake", clients).await.unwrap();
    }
    assert!(done.load(Ordering::Relaxed) >= 200);
    assert_eq!(proxy.metric("lockgate_connections_refused_total").await, 0.0);
}

#[tokio::test]
async fn how_much_is_logged_can_be_changed() {
    let one = backend().says("one").await;
    let log = |level: &str| format!("[log]\nlevel = \"{level}\"\n{ONE}");
    let proxy = proxy(&log("info")).set("one", one.url()).await;
    let before = proxy.generation().await;
    proxy.rewrite(&log("error"));
    proxy.signal("HUP").await;
    proxy.generation_after(before).await;
    proxy.rewrite(&log("debug").replace("[log]", "[log]\nformat = \"json\""));
    proxy.signal("HUP").await;
    // What was said before the level was raised is not there, what is said after it is.
    let line = proxy.log.line("generation 3").await;
    assert!(line.contains("log.format counts only from the next start on"), "{line}");
    assert_eq!(proxy.log.count("generation 2"), 0, "{:?}", proxy.log.lines());
    assert_eq!(get(proxy.address(), "/").await.text(), "one");
}

#[tokio::test]
async fn two_signals_at_once_are_one_reload_too_many_at_most() {
    let (one, two) = (backend().says("one").await, backend().says("two").await);
    let proxy = proxy(ONE).set("one", one.url()).set("two", two.url()).await;
    proxy.rewrite(TWO);
    for _ in 0..10 {
        proxy.signal("HUP").await;
    }
    let served = async {
        while get(proxy.address(), "/").await.text() != "two" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within("the new configuration", served).await;
    let mut client = raw(proxy.address()).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.answer().await.body, "two");
    proxy.stop().await;
}
