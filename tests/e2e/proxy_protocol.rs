//! The PROXY protocol: whose connection it is, told by a proxy in front and to backends behind.

use lockgate_tests::{
    Certificates, Proxy, ProxyBuilder, Step, backend, client, command, curl, eventually, get, proxy, proxy_to, raw,
    run, script,
};
use xtask::guests::component;

/// A listener that wants to be told, in front of the plugin that tells where clients come from.
fn told(listener: &str) -> ProxyBuilder {
    proxy(&format!(
        "[server]\nworkers = 1\n[[listener]]\naddress = \"127.0.0.1:0\"\n{listener}\n\
         [plugin.who]\npath = \"$guest\"\n[[route]]\nplugins = [\"who\"]\nrespond = {{ body = \"hello\" }}\n"
    ))
    .set("guest", component("connections").display())
}

const LOOPBACK: &str = "proxy_protocol = { from = [\"127.0.0.0/8\"] }";

async fn refused(proxy: &Proxy, why: &str) -> f64 {
    proxy.metric(&format!("lockgate_connections_refused_total{{why=\"{why}\"}}")).await
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// What comes back for these pieces, each sent when the one before has left.
async fn say(proxy: &Proxy, pieces: &[&[u8]]) -> String {
    let mut client = raw(proxy.address()).await;
    for piece in pieces {
        client.send(piece).await;
        tokio::task::yield_now().await;
    }
    client.rest().await
}

fn v2(command: u8, kind: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), &[command, kind], &length, rest].concat()
}

#[tokio::test]
async fn plugins_and_the_log_see_the_client_that_is_told() {
    let proxy = told(LOOPBACK).await;
    let line = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n".as_slice();
    let four = v2(0x21, 0x11, &[192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x67, 1, 0xbb]);
    let with_more = v2(0x21, 0x11, &[192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x67, 1, 0xbb, 4, 0, 1, 0]);
    for header in [line, &four, &with_more] {
        // All at once, and in pieces that nobody would send.
        let whole = [header, GET.as_bytes()].concat();
        let bytes: Vec<&[u8]> = header.chunks(7).chain([GET.as_bytes()]).collect();
        for pieces in [vec![whole.as_slice()], bytes] {
            let answer = say(&proxy, &pieces).await;
            assert!(
                answer.contains("x-address: 192.0.2.7 192.0.2.7:4711\r\n") && answer.ends_with("hello"),
                "{answer}"
            );
        }
    }
    proxy.out.line("192.0.2.7").await;
    let six = b"PROXY TCP6 2001:db8::7 ::1 4711 443\r\n".as_slice();
    assert!(say(&proxy, &[six, GET.as_bytes()]).await.contains("x-address: 2001:db8::7 2001:db8::7:4711"));
}

#[tokio::test]
async fn backends_are_told_of_the_client_in_fields_too() {
    let app = backend().await;
    let proxy = proxy_to(app.url()).and(&format!("[[listener]]\naddress = \"127.0.0.1:0\"\n{LOOPBACK}")).await;
    let line = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 4443\r\n".as_slice();
    let answer = say(&proxy, &[line, GET.as_bytes()]).await;
    assert!(answer.contains("\"x-forwarded-for\":\"192.0.2.7\""), "{answer}");
    // What the client claims counts for nothing, because it is not the sender of the header who claims it.
    let claimed = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9\r\nConnection: close\r\n\r\n";
    let answer = say(&proxy, &[line, claimed.as_bytes()]).await;
    assert!(!answer.contains("203.0.113.9"), "{answer}");
}

#[tokio::test]
async fn where_nothing_is_told_it_is_the_senders_own_connection() {
    let proxy = told(LOOPBACK).await;
    for header in [
        b"PROXY UNKNOWN\r\n".to_vec(),
        v2(0x20, 0, &[]),
        v2(0x20, 0x11, &[192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x67, 1, 0xbb]),
        v2(0x21, 0, &[]),
        v2(0x21, 0x31, &[b'/'; 216]),
    ] {
        let answer = say(&proxy, &[&header, GET.as_bytes()]).await;
        assert!(answer.contains("x-address: 127.0.0.1 127.0.0.1:"), "{header:?}: {answer}");
    }
}

#[tokio::test]
async fn who_does_not_tell_or_tells_nonsense_is_not_answered() {
    let proxy = told(LOOPBACK).await;
    let mut wrong = vec![
        GET.as_bytes().to_vec(),
        b"PROXY TCP4 192.0.2.7 198.51.100.1 4711\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 70000\r\n".to_vec(),
        format!("PROXY UNKNOWN {}", "x".repeat(200)).into_bytes(),
        v2(0x31, 0x11, &[0; 12]),
        v2(0x21, 0x12, &[0; 12]),
        v2(0x21, 0x11, &[0; 11]),
        v2(0x21, 0x11, &[0; 5000]),
        // What stands behind the addresses does not fit; and a checksum that is none.
        v2(0x21, 0x11, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 9]),
        v2(0x21, 0x11, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 4, 1, 2, 3, 4]),
    ];
    let count = wrong.len();
    for bytes in wrong.drain(..) {
        let answer = say(&proxy, &[&bytes, GET.as_bytes()]).await;
        assert_eq!(answer, "", "{:?}", String::from_utf8_lossy(&bytes));
    }
    assert_eq!(refused(&proxy, "proxy_protocol").await, count as f64);
    let mut client = raw(proxy.address()).await;
    client.send("PROXY TCP4 ").await;
    client.finish().await;
    client.closed().await;
    assert_eq!(refused(&proxy, "proxy_protocol_closed").await, 1.0);
}

#[tokio::test]
async fn a_header_comes_within_its_time() {
    let proxy = told(LOOPBACK).and("[timeouts]\nheader = \"1s\"").await;
    let mut silent = raw(proxy.address()).await;
    let mut slow = raw(proxy.address()).await;
    slow.send("PROXY TCP4 192.").await;
    silent.closed().await;
    slow.closed().await;
    assert_eq!(refused(&proxy, "proxy_protocol_timeout").await, 2.0);
}

#[tokio::test]
async fn nobody_else_may_tell() {
    let proxy = told("proxy_protocol = { from = [\"192.0.2.0/24\"] }").await;
    assert_eq!(say(&proxy, &[b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n", GET.as_bytes()]).await, "");
    assert_eq!(refused(&proxy, "proxy_protocol_sender").await, 1.0);
}

#[tokio::test]
async fn limits_for_one_client_are_for_the_one_that_is_told() {
    let proxy = told(LOOPBACK).and("[limits]\nconnections_per_client = 2").await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut client = raw(proxy.address()).await;
        client.send("PROXY TCP4 192.0.2.7 198.51.100.1 1 443\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(client.answer().await.status, 200);
        held.push(client);
    }
    let line = |client: &str| format!("PROXY TCP4 {client} 198.51.100.1 1 443\r\n{GET}");
    assert_eq!(say(&proxy, &[line("192.0.2.7").as_bytes()]).await, "");
    assert!(say(&proxy, &[line("192.0.2.8").as_bytes()]).await.ends_with("hello"));
    assert_eq!(refused(&proxy, "connections_per_client").await, 1.0);
    drop(held);
}

#[tokio::test]
async fn curl_tells_in_the_clear_and_before_tls() {
    let certificates = Certificates::new();
    let issued = certificates.issue("localhost");
    let tls = format!(
        "{LOOPBACK}\n[[listener.certificate]]\ncertificate = \"{}\"\nkey = \"{}\"",
        issued.certificate.display(),
        issued.key.display()
    );
    for (scheme, listener) in [("http", LOOPBACK), ("https", &tls)] {
        let proxy = told(listener).await;
        let url = format!("{scheme}://localhost:{}/", proxy.address().port());
        let ca = certificates.authority();
        let arguments = ["--haproxy-protocol", "-4", "-i", "--http1.1", "--cacert", ca.to_str().unwrap(), &url];
        let said = curl(arguments).await;
        assert!(said.out.contains("x-address: 127.0.0.1") && said.out.ends_with("hello"), "{said:?}");
        // curl 7.88 has no say in the address; one without a header is not answered.
        let said = curl(["--cacert", ca.to_str().unwrap(), &url]).await;
        assert_ne!(said.code, 0, "{said:?}");
    }
}

#[tokio::test]
async fn a_listener_that_nobody_may_use_is_a_mistake() {
    let file = proxy("[[listener]]\naddress = \"127.0.0.1:0\"\nproxy_protocol = true\n[[route]]\nrespond = {}");
    let said = command::lockgate(["check", file.written().to_str().unwrap()]).await;
    assert!(
        said.code == 2 && said.err.contains("nobody could connect") && said.err.contains("trusted_proxies"),
        "{said:?}"
    );
    let file = proxy(
        "[server]\ntrusted_proxies = [\"10.0.0.0/8\"]\n[[listener]]\naddress = \"127.0.0.1:0\"\nproxy_protocol = true\n[[route]]\nrespond = {}",
    );
    assert_eq!(command::lockgate(["check", file.written().to_str().unwrap()]).await.code, 0);
    let file = proxy(
        "[upstream.app]\nbackends = [\"http://127.0.0.1:1\"]\nproxy_protocol = \"v2\"\nprotocol = \"http2\"\n[[route]]\nupstream = \"app\"",
    );
    let said = command::lockgate(["check", file.written().to_str().unwrap()]).await;
    assert!(said.code == 2 && said.err.contains("shared by many"), "{said:?}");
}

/// The headers of version 2 that a backend was sent, as ports of the clients.
fn ports(received: &[u8]) -> Vec<u16> {
    let signature = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c";
    let places = received.windows(signature.len()).enumerate().filter(|(_, window)| window == signature);
    places.map(|(at, _)| u16::from_be_bytes([received[at + 24], received[at + 25]])).collect()
}

#[tokio::test]
async fn a_backend_is_told_and_each_client_has_its_own_connections() {
    let app =
        script([Step::Read(28), Step::ReadHead, Step::ok("told"), Step::ReadHead, Step::ok("again"), Step::Close])
            .await;
    let proxy = proxy(
        "[server]\nworkers = 1\n[upstream.app]\nbackends = [\"$app\"]\nproxy_protocol = \"v2\"\n[[route]]\nupstream = \"app\"",
    )
    .set("app", app.url())
    .await;
    let mut one = raw(proxy.address()).await;
    let mut two = raw(proxy.address()).await;
    let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    one.send(request).await;
    assert_eq!(one.answer().await.body, "told");
    // The idle connection is the first client's: the second gets one of its own.
    two.send(request).await;
    assert_eq!(two.answer().await.body, "told");
    one.send(request).await;
    assert_eq!(one.answer().await.body, "again");
    two.send(request).await;
    assert_eq!(two.answer().await.body, "again");
    let mut expected = vec![one.stream.local_addr().unwrap().port(), two.stream.local_addr().unwrap().port()];
    let mut told = ports(&app.bytes());
    expected.sort_unstable();
    told.sort_unstable();
    assert_eq!(told, expected);
}

#[tokio::test]
async fn a_probe_says_that_it_is_nobodys_connection() {
    let app = script([Step::Read(16), Step::ReadHead, Step::ok("well"), Step::Close]).await;
    let _proxy = proxy(
        "[upstream.app]\nbackends = [\"$app\"]\nproxy_protocol = \"v2\"\nhealth = { path = \"/healthz\", interval = \"100ms\" }\n[[route]]\nupstream = \"app\"",
    )
    .set("app", app.url())
    .await;
    eventually("a probe comes", || app.received().contains("GET /healthz")).await;
    assert!(app.bytes().starts_with(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"));
}

#[tokio::test]
async fn what_one_of_us_tells_another_of_us_understands() {
    let app = backend().says("end").await;
    let second = proxy(&format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\n{LOOPBACK}\n[plugin.who]\npath = \"$guest\"\n\
         [upstream.app]\nbackends = [\"$app\"]\n[[route]]\nplugins = [\"who\"]\nupstream = \"app\"\n"
    ))
    .set("guest", component("connections").display())
    .set("app", app.url())
    .await;
    let first =
        proxy("[upstream.next]\nbackends = [\"$next\"]\nproxy_protocol = \"v2\"\n[[route]]\nupstream = \"next\"")
            .set("next", second.url(""))
            .await;
    for _ in 0..3 {
        let mut client = raw(first.address()).await;
        client.send(GET).await;
        let answer = client.answer().await;
        let port = client.stream.local_addr().unwrap().port();
        assert_eq!(answer.header("x-address"), Some(format!("127.0.0.1 127.0.0.1:{port}").as_str()));
    }
    let mut client = client(first.address()).await;
    assert_eq!(client.get("/").await.text(), "end");
    assert_eq!(get(first.address(), "/").await.text(), "end");
}

#[tokio::test]
async fn nginx_understands_what_it_is_told() {
    if run("sh", ["-c", "command -v nginx"]).await.code != 0 {
        eprintln!("there is no nginx on this machine");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let here = folder.path().display();
    let file = folder.path().join("nginx.conf");
    let config = format!(
        "daemon off; master_process off; pid {here}/pid; error_log stderr;\nevents {{}}\nhttp {{\n access_log off;\n\
         client_body_temp_path {here}/a; proxy_temp_path {here}/b; fastcgi_temp_path {here}/c; uwsgi_temp_path {here}/d; scgi_temp_path {here}/e;\n\
         server {{ listen 127.0.0.1:{port} proxy_protocol; location / {{ return 200 \"$proxy_protocol_addr:$proxy_protocol_port\"; }} }}\n}}\n"
    );
    std::fs::write(&file, config).unwrap();
    let mut nginx = tokio::process::Command::new("nginx")
        .arg("-c")
        .arg(&file)
        .arg("-p")
        .arg(folder.path())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    eventually("nginx listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()).await;
    let proxy = proxy("[upstream.app]\nbackends = [\"$app\"]\nproxy_protocol = \"v2\"\n[[route]]\nupstream = \"app\"")
        .set("app", format!("http://127.0.0.1:{port}"))
        .await;
    let mut client = raw(proxy.address()).await;
    client.send(GET).await;
    let expected = format!("127.0.0.1:{}", client.stream.local_addr().unwrap().port());
    assert_eq!(client.answer().await.body, expected);
    nginx.kill().await.unwrap();
}
