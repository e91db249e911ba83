//! What a call of a bare HTTP client costs, for `bench/platform` to hold the calls of plugins against:
//! `bare_client HOST:PORT CALLS CONNECTIONS` asks for `/`, over and over on connections that are kept, one call after the other
//! on each, reads each body, and prints the CPU time of a call in microseconds.

use std::env;
use std::error::Error;
use std::time::Duration;

use cpu_time::ProcessTime;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::{JoinSet, LocalSet};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [address, calls, connections] = arguments.as_slice() else {
        return Err("usage: bare_client HOST:PORT CALLS CONNECTIONS".into());
    };
    let (calls, connections): (u32, u32) = (calls.parse()?, connections.parse()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let each = calls / connections.max(1);
    // Once to warm up, once to count.
    runtime.block_on(LocalSet::new().run_until(load(address, each / 10 + 1, connections)))?;
    let started = ProcessTime::now();
    runtime.block_on(LocalSet::new().run_until(load(address, each, connections)))?;
    println!("{:.2}", micros(started.elapsed()) / f64::from(each * connections));
    Ok(())
}

async fn load(address: &str, calls: u32, connections: u32) -> Result<()> {
    let mut clients = JoinSet::new();
    for _ in 0..connections {
        let address = address.to_owned();
        clients.spawn_local(async move { ask(&address, calls).await.map_err(|error| error.to_string()) });
    }
    while let Some(asked) = clients.join_next().await {
        asked??;
    }
    Ok(())
}

async fn ask(address: &str, calls: u32) -> Result<()> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::task::spawn_local(connection);
    for _ in 0..calls {
        sender.ready().await?;
        let request = Request::get("/").header("host", address).body(Empty::<Bytes>::new())?;
        let response = sender.send_request(request).await?;
        if !response.status().is_success() {
            return Err(format!("status {}", response.status()).into());
        }
        response.into_body().collect().await?;
    }
    drop(sender);
    Ok(connection.await??)
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
