//! Connections from a proxy in front, which tells in a PROXY header whose each is.

use std::io;
use std::net::SocketAddr;

use ipnet::IpNet;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::admission::Permit;
use super::is_one_client;
use crate::proxy::Local;
use crate::proxy_protocol::{Header, LONGEST_HEADER, parse};
use crate::snapshot::Snapshot;

/// Reads the header, and nothing behind it, from a new connection whose ends are `ends`; then those are what it says. The
/// error is what is counted.
pub(super) async fn read(
    stream: &mut TcpStream,
    ends: &mut (SocketAddr, SocketAddr),
    senders: &[IpNet],
    snapshot: &Snapshot,
    (local, permit): (&Local, &mut Permit),
) -> Result<(), &'static str> {
    let sender = ends.0;
    let ip = sender.ip().to_canonical();
    if !senders.iter().any(|net| net.contains(&ip)) {
        tracing::debug!(%sender, "a connection from somebody who is no proxy of ours");
        return Err("proxy_protocol_sender");
    }
    let deadline = local.clock.deadline();
    deadline.set(snapshot.config.timeouts.header);
    match deadline.limit(header(stream)).await {
        Ok(Ok(header)) => {
            *ends = header.ends.unwrap_or(*ends);
            let client = ends.0.ip().to_canonical();
            if is_one_client(client, snapshot) { permit.is_for(client, &snapshot.config.limits) } else { Ok(()) }
        }
        Ok(Err(error)) => {
            tracing::debug!(%sender, %error, "no PROXY header");
            Err(if error.kind() == io::ErrorKind::InvalidData { "proxy_protocol" } else { "proxy_protocol_closed" })
        }
        Err(_) => {
            tracing::debug!(%sender, "no PROXY header in time");
            Err("proxy_protocol_timeout")
        }
    }
}

async fn header(stream: &mut TcpStream) -> io::Result<Header> {
    let mut bytes = Vec::with_capacity(128);
    loop {
        // Only looked at, because what comes behind the header is for others.
        let mut seen = [0; LONGEST_HEADER];
        let count = stream.peek(&mut seen).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let taken = bytes.len();
        bytes.extend_from_slice(&seen[..count]);
        let found = parse(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let own = found.map_or(count, |header| header.length - taken);
        stream.read_exact(&mut seen[..own]).await?;
        if let Some(header) = found {
            return Ok(header);
        }
    }
}
