//! Accepts connections and hands them on, within the limits on how many there may be.

mod admission;
mod connection;
mod http1;
mod http2;
mod sessions;

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

pub use admission::Admission;
pub(crate) use sessions::Sessions;

use self::admission::Permit;
use crate::proxy::Local;

/// Accepts connections at `address`, the one that the configuration names, until it is dropped.
pub(crate) async fn accept(listener: TcpListener, address: SocketAddr, local: Rc<Local>, sessions: Rc<Sessions>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => admit(stream, peer, address, &local, &sessions),
            Err(error) => {
                // The system is out of something, or a client left between two packets. Neither may end the loop.
                local.metrics.connection_refused("accept");
                tracing::warn!(%address, %error, "cannot accept a connection");
                if !is_about_one_connection(&error) {
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

/// Starts to serve a connection, or closes it at once if there are too many.
fn admit(stream: TcpStream, peer: SocketAddr, address: SocketAddr, local: &Rc<Local>, sessions: &Rc<Sessions>) {
    let snapshot = local.snapshot();
    let permit = match Permit::take(&sessions.admission, peer.ip().to_canonical(), &snapshot.config.limits) {
        Ok(permit) => permit,
        Err(limit) => return local.metrics.connection_refused(limit),
    };
    // Small answers must not wait for the acknowledgement of others.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let serving = connection::serve(stream, peer, address, Rc::clone(local), Rc::clone(sessions), permit);
    tokio::task::spawn_local(serving);
}

fn is_about_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// How long accepting rests when the system has refused.
const PAUSE: Duration = Duration::from_millis(20);
