//! WebSocket: an exchange that ends HTTP on both connections and joins them (RFC 6455, RFC 9110 §7.8).
//!
//! Nothing of what the client sends behind its request reaches the backend before the backend has agreed.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode, request};
use sha1::{Digest, Sha1};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::body::Source;
use super::finish::Finish;
use super::forward::Tried;
use super::{Failure, Handling, Outcome};
use crate::clock::{Clock, Deadline};
use crate::message::{Framing, clean_response};
use crate::plugin::PluginUse;
use crate::reason::Reason;
use crate::tenant::Admitted;
use crate::upstream::{BackendStream, InFlight, Outgoing, Upgraded, Upstream};

/// A backend's side of a connection that has left HTTP.
#[derive(Debug)]
pub struct Tunnel {
    backend: BackendStream,
    /// What came behind the backend's head.
    early: Bytes,
    /// The backend's place stays taken.
    _in_flight: Option<InFlight>,
    /// And the tenant's.
    _admitted: Option<Admitted>,
}

/// Whether a request with `Upgrade: websocket` is a whole opening handshake (RFC 6455 §4.1).
pub(super) fn is_websocket(head: &request::Parts, framing: Framing) -> bool {
    let key = head.headers.get(header::SEC_WEBSOCKET_KEY);
    head.method == Method::GET
        && head.version == http::Version::HTTP_11
        && framing == Framing::None
        && head.headers.get(header::SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13")
        && key.is_some_and(|key| STANDARD.decode(key.as_bytes()).is_ok_and(|key| key.len() == 16))
}

impl Handling<'_> {
    /// Asks a backend to switch; any answer but a right 101 is an ordinary response.
    pub(super) async fn switch(
        &self,
        upstream: &Arc<Upstream>,
        picker: Option<&Arc<PluginUse>>,
        finish: &mut Finish,
    ) -> Result<Outcome, Failure> {
        upstream.exchange_started();
        let (backend, in_flight) = self.pick(upstream, picker, &mut Tried::new(), finish).await?;
        finish.attempts = 1;
        finish.exchange_mut().backend = Some(Arc::clone(&backend));
        let head = &finish.exchange().request;
        let request =
            Outgoing { websocket: true, ..self.outgoing(&backend, head, finish.exchange().added(), finish.attempts) };
        let local = &self.connection.local;
        let asked = finish.elapsed();
        let deadline = local.clock.deadline();
        deadline.set(upstream.settings.response_timeout.min(self.route.timeout));
        let answer = deadline.limit(local.connections.upgrade(&backend, &request, &self.snapshot.config.limits)).await;
        let answer = answer.map_err(|_| Failure::from(Reason::UpstreamTimeout))?;
        match answer {
            Err(error) => {
                if error.blames_the_backend() {
                    backend.failed();
                }
                Err(Failure { reason: error.reason, cause: Some(error.cause) })
            }
            Ok(Upgraded::Refused(sent)) => {
                finish.in_flight = Some(in_flight);
                Ok(self.accept(*sent, &backend, finish, asked))
            }
            Ok(Upgraded::Switched(mut head, stream, early)) => {
                if !agrees(&head.headers, &finish.exchange().request.headers) {
                    return Err(Reason::BadResponse.into());
                }
                backend.succeeded(finish.elapsed().saturating_sub(asked));
                clean_response(&mut head.headers);
                head.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
                head.headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
                head.status = StatusCode::SWITCHING_PROTOCOLS;
                let (in_flight, admitted) = (Some(in_flight), finish.admitted.take());
                let tunnel = Tunnel { backend: stream, early, _in_flight: in_flight, _admitted: admitted };
                *self.connection.tunnel.borrow_mut() = Some(tunnel);
                Ok((head, Source::Whole(Bytes::new())))
            }
        }
    }
}

/// Whether a 101 switches to what was asked for (RFC 6455 §4.2.2).
fn agrees(answer: &HeaderMap, request: &HeaderMap) -> bool {
    let Some(key) = request.get(header::SEC_WEBSOCKET_KEY) else { return false };
    let mut hash = Sha1::new();
    hash.update(key.as_bytes());
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let expected = STANDARD.encode(hash.finalize());
    let upgrade = answer.get(header::UPGRADE);
    upgrade.is_some_and(|token| token.as_bytes().eq_ignore_ascii_case(b"websocket"))
        && answer.get(header::SEC_WEBSOCKET_ACCEPT).is_some_and(|accept| accept.as_bytes() == expected.as_bytes())
}

/// Carries bytes both ways until both sides have closed, one fails, or none moves for `idle`. `early` is what the client
/// sent behind its head.
pub async fn run_tunnel<C>(client: C, early: Bytes, tunnel: Tunnel, clock: &Clock, idle: std::time::Duration)
where
    C: AsyncRead + AsyncWrite + Unpin,
{
    let deadline = clock.deadline();
    deadline.set(idle);
    let (mut client_read, mut client_write) = tokio::io::split(client);
    let (mut backend_read, mut backend_write) = tokio::io::split(tunnel.backend);
    let up = carry(&mut client_read, &mut backend_write, early, &deadline, idle);
    let down = carry(&mut backend_read, &mut client_write, tunnel.early, &deadline, idle);
    let both = async { tokio::try_join!(up, down) };
    // However it ends, both sides are closed by being dropped.
    let _ = deadline.limit(both).await;
}

async fn carry<R, W>(
    from: &mut R,
    to: &mut W,
    early: Bytes,
    deadline: &Deadline,
    idle: std::time::Duration,
) -> std::io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    to.write_all(&early).await?;
    to.flush().await?;
    let mut buffer = BytesMut::with_capacity(BUFFER);
    while from.read_buf(&mut buffer).await? > 0 {
        deadline.set(idle);
        to.write_all_buf(&mut buffer).await?;
        to.flush().await?;
        deadline.set(idle);
        buffer.reserve(BUFFER);
    }
    to.shutdown().await
}

const BUFFER: usize = 16 * 1024;
