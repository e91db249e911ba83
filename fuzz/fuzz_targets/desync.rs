//! `cargo fuzz run desync`: raw bytes, through a proxy in this process, to the oracle's origin.
#![no_main]

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use lockgate::config::{Source, parse};
use lockgate::server;
use lockgate_tests::oracle::{Origin, Outcome, Trial};

static SCENE: LazyLock<(Trial, Origin)> = LazyLock::new(|| {
    let origin = Origin::start();
    let proxy = proxy_to(origin.address);
    (Trial { proxy, seed: 1, inputs: 1, clients: 1, words: 4 }, origin)
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let (trial, origin) = &*SCENE;
    let mut outcome = Outcome::default();
    trial.send(data, data.len() as u64, &mut outcome);
    assert!(outcome.differences.is_empty(), "{}", outcome.differences.join("\n"));
    let ledger = origin.ledger();
    assert!(ledger.differences.is_empty(), "{}", ledger.differences.join("\n"));
});

/// Starts a proxy that sends everything to that backend. It lasts as long as the process.
fn proxy_to(backend: SocketAddr) -> SocketAddr {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port");
    let text = format!(
        "[server]\nworkers = 1\n[log]\naccess = \"off\"\nlevel = \"error\"\n[[listener]]\naddress = \"{address}\"\n\
         [upstream.app]\nbackends = [\"http://{backend}\"]\n[[route]]\nupstream = \"app\"\n"
    );
    let config = parse(Source { path: "fuzz.toml".into(), text });
    let config = config.unwrap_or_else(|problems| panic!("{problems}"));
    thread::spawn(move || server::run_config(config).expect("the server starts"));
    let started = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(started.elapsed() < Duration::from_secs(60), "the proxy does not listen");
        thread::sleep(Duration::from_millis(10));
    }
    address
}
