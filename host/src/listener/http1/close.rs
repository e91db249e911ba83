//! The end of an HTTP/1 connection, or of HTTP on it.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Ending;
use super::wire::Wire;
use crate::proxy::{Connection, log_refusal, refusal, run_tunnel};
use crate::socket::ClientStream;

/// Says what is left to be said and closes; or hands the connection on to its tunnel.
pub(super) async fn end(connection: &Connection, wire: &Wire, ending: Ending) {
    let Some((stream, early)) = wire.take() else { return };
    match ending {
        Ending::Quiet => close(stream, &[]).await,
        Ending::Switched => {
            let tunnel = connection.tunnel.borrow_mut().take();
            if let Some(tunnel) = tunnel {
                let idle = connection.watch.timeouts().tunnel_idle;
                run_tunnel(stream, early, tunnel, &connection.local.clock, idle).await;
            }
        }
        Ending::Refused(reason) => {
            let id = format!("{:032x}", connection.local.ids.next());
            log_refusal(connection, reason, &id);
            close(stream, &refusal(reason, &id)).await;
        }
        Ending::Broken => {}
    }
}

/// Sends what is left to be said and closes, reading on for a moment: bytes that come in after a close reset the
/// connection, and the client may lose what it was sent (RFC 9112 §9.6).
async fn close(mut stream: ClientStream, last_words: &[u8]) {
    let farewell = async {
        stream.write_all(last_words).await?;
        stream.shutdown().await?;
        let mut left = LINGER_BYTES;
        let mut buffer = [0; 4096];
        while left > 0 {
            let n = stream.read(&mut buffer).await?;
            if n == 0 {
                break;
            }
            left = left.saturating_sub(n);
        }
        Ok::<_, std::io::Error>(())
    };
    let _ = tokio::time::timeout(LINGER, farewell).await;
}

/// How long, and how many bytes, a closed connection is still listened to.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 64 * 1024;
