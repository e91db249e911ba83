//! A connection that has just come, in the hands of a plugin.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::core::Core;
use super::failure::failed;
use super::hand::{charge, passes, recovered};
use super::instance::Fault;
use super::pool::{Lent, Offer, Pool, Pools};
use super::quarantine::Pass;
use super::stats::{Cause, Hook};
use super::wit::WitConnection;
use super::{Failure, PluginUse, record};
use crate::exchange::Peer;
use crate::recording::Recording;

/// A connection whose handshakes are over, and on which nothing has been asked yet.
#[derive(Debug, Clone, Copy)]
pub struct Arriving<'a> {
    /// Both ends of it.
    pub peer: &'a Peer,
    /// Where it came in.
    pub listener: SocketAddr,
    /// What was agreed on by ALPN.
    pub alpn: Option<&'static str>,
    /// Whether HTTP/2 is spoken.
    pub http2: bool,
}

impl PluginUse {
    /// Calls `on-connect`: whether the connection may be. If the plugin fails and is to be skipped, it may.
    ///
    /// # Errors
    /// When it failed and its `on_failure` is `deny`.
    pub async fn on_connect(&self, arriving: Arriving<'_>, workers_pools: &Rc<Pools>) -> Result<bool, Failure> {
        let core = &self.core;
        let mut recording = record::connects(self, arriving);
        let called = match passes(core) {
            Ok(pass) => {
                call(core, arriving, workers_pools, &mut recording).await.map_err(|fault| (pass, fault)).inspect(|_| {
                    if pass == Pass::Probe {
                        recovered(core);
                    }
                })
            }
            Err(refused) => Err(refused),
        };
        let admitted = match called {
            Ok(true) => Ok(true),
            Ok(false) => {
                log_refusal(core, arriving);
                Ok(false)
            }
            Err((pass, mut fault)) => {
                if matches!(fault.cause, Cause::Capacity | Cause::Quarantined) {
                    fault.hook = Hook::OnConnect;
                }
                Err(failed(core, pass, &fault, None))
            }
        };
        if let Some(recording) = recording {
            record::connected(*recording, &admitted);
        }
        admitted.or_else(|failure| failure.map_or(Ok(true), Err))
    }
}

/// So many lines a second and no more: it may be a flood that is kept out.
#[cold]
fn log_refusal(core: &Core, arriving: Arriving<'_>) {
    let Some(suppressed) = core.log_limit.line() else { return };
    let (client, listener, plugin) = (arriving.peer.address, arriving.listener, &*core.name);
    let server_name = arriving.peer.tls.as_ref().and_then(|tls| tls.server_name.as_deref());
    let suppressed = (suppressed > 0).then_some(suppressed);
    tracing::info!(target: "lockgate::plugin", plugin, %client, %listener, server_name, suppressed, "the plugin refused a connection");
}

/// What is recorded is with the instance meanwhile.
async fn call(
    core: &Arc<Core>,
    arriving: Arriving<'_>,
    workers_pools: &Rc<Pools>,
    recording: &mut Option<Box<Recording>>,
) -> Result<bool, Fault> {
    let mut lent = lend(&workers_pools.of(core)).await?;
    let time = lent.pool.tally.call(Hook::OnConnect).then(Instant::now);
    lent.instance().record_apart(recording);
    let answer = lent.instance().on_connect(WitConnection::from(&arriving), core).await;
    lent.instance().record_apart(recording);
    charge(&mut lent, time);
    answer
}

async fn lend(pool: &Rc<Pool>) -> Result<Lent, Fault> {
    let offer = match pool.offer() {
        Offer::Busy => pool.wait().await?,
        offer => offer,
    };
    match offer {
        Offer::Warm(lent) => Ok(lent),
        Offer::Room(room) if pool.core.plain => room.fill(),
        Offer::Room(room) => room.fill_on_fiber().await,
        Offer::Busy => Err(pool.exhausted()),
    }
}
