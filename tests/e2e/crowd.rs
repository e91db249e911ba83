//! Thousands who do nothing, or begin a TLS handshake and do not get on with it: others must not notice.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use lockgate_tests::tls::Issued;
use lockgate_tests::{Certificates, Proxy, client, eventually, get, proxy, run, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep};

const IDLE: usize = 10_000;
const SLOW: usize = 5_000;
/// Descriptors for other scenes.
const OTHERS: usize = 3_000;

/// How many of so many there can be, as the system allows this process and the proxy only so many descriptors.
async fn as_allowed(idle: usize, slow: usize) -> (usize, usize) {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let hard: usize = line.split_whitespace().nth(4).unwrap().parse().unwrap_or(usize::MAX);
    let (pid, hard_text) = (std::process::id().to_string(), hard.to_string());
    let said = run("prlimit", ["--pid", &pid, &format!("--nofile={hard_text}:{hard_text}")]).await;
    assert_eq!(said.code, 0, "{said:?}");
    let room = hard.saturating_sub(OTHERS);
    if room >= idle + slow {
        return (idle, slow);
    }
    println!("only {hard} descriptors are allowed");
    (room * idle / (idle + slow), room * slow / (idle + slow))
}

async fn quiet_proxy(issued: &Issued) -> Proxy {
    proxy(
        "[timeouts]\nheader = \"5m\"\ntls_handshake = \"5m\"\n\
         [limits]\nhandshakes = $slow\nconnections_per_client = 600\n\
         [[listener]]\naddress = \"127.0.0.1:0\"\n\
         [[listener]]\naddress = \"127.0.0.1:0\"\n[[listener.certificate]]\ncertificate = \"$crt\"\nkey = \"$key\"\n\
         [[route]]\nrespond = { body = \"hello\" }\n",
    )
    .set("slow", SLOW)
    .set("crt", issued.certificate.display())
    .set("key", issued.key.display())
    .await
}

/// Connections from as many addresses as it takes for each to have 500.
async fn connect(to: SocketAddr, net: u8, count: usize) -> Vec<TcpStream> {
    let mut streams = Vec::with_capacity(count);
    for number in 0..count {
        let from = Ipv4Addr::new(127, net, 0, u8::try_from(1 + number / 500).unwrap());
        streams.push(connect_from(to, from).await);
    }
    streams
}

async fn connect_from(to: SocketAddr, from: Ipv4Addr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(from.into(), 0)).unwrap();
    within("connecting", socket.connect(to)).await.unwrap()
}

/// The time within which 99 of 100 handshakes are through, and a request after each answered.
async fn handshakes(proxy: &Proxy, certificates: &Certificates) -> Duration {
    let mut times = Vec::new();
    for _ in 0..100 {
        let began = Instant::now();
        let mut client = client(proxy.tls_address()).tls(certificates.client(&[])).await;
        times.push(began.elapsed());
        assert_eq!(client.get("/").await.text(), "hello");
    }
    times.sort();
    times[98]
}

async fn open(proxy: &Proxy) -> usize {
    proxy.metric("lockgate_connections_open").await as usize
}

#[tokio::test]
async fn ten_thousand_idle_connections_and_five_thousand_slow_handshakes_delay_nobody() {
    let (idle, slow) = as_allowed(IDLE, SLOW).await;
    let certificates = Certificates::new();
    let issued = certificates.issue("localhost");
    let (proxy, empty) = (quiet_proxy(&issued).await, quiet_proxy(&issued).await);
    let mut crowd = connect(proxy.address(), 1, idle).await;
    let mut begun = connect(proxy.tls_address(), 2, slow).await;
    // The beginning of a hello that is never whole, byte by byte.
    for byte in [0x16, 3, 1, 2, 0, 1] {
        for stream in &mut begun {
            within("a byte", stream.write_all(&[byte])).await.unwrap();
        }
    }
    within("all are there", async {
        while open(&proxy).await < idle + slow {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let refused = async |why: &str| proxy.metric(&format!("lockgate_connections_refused_total{{why=\"{why}\"}}")).await;
    assert_eq!((refused("handshakes").await, refused("connections_per_client").await), (0.0, 0.0));
    // Beside a proxy that has no such crowd: this machine may have other things to do just now, but not each time.
    let mut rounds = 0;
    loop {
        rounds += 1;
        let (quiet, loud) = (handshakes(&empty, &certificates).await, handshakes(&proxy, &certificates).await);
        println!("p99 of handshakes: {quiet:?}, in the crowd {loud:?}");
        if loud < quiet * 2 {
            break;
        }
        assert!(rounds < 10, "quiet {quiet:?}, in the crowd {loud:?}");
    }
    // All places were taken, and whoever is let in takes that of a slow one.
    assert!(slow < SLOW || refused("handshakes").await >= 1.0);
    // One address cannot have them all.
    let last = Ipv4Addr::new(127, 3, 0, 1);
    for _ in 0..600 {
        crowd.push(connect_from(proxy.address(), last).await);
    }
    let mut one_more = connect_from(proxy.address(), last).await;
    let read = within("the end", one_more.read(&mut [0])).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    assert_eq!(refused("connections_per_client").await, 1.0);
    assert_eq!(get(proxy.address(), "/").await.text(), "hello");
    drop((crowd, begun));
    eventually("descriptors are given back", || proxy.open_files() < 100).await;
}
