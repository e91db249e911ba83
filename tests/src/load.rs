//! Many clients at once, who write down everything that is not as it should be.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use http::{Request, StatusCode};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::body::empty;
use crate::client::{Client, client};
use crate::wait::within;

/// How a load went.
#[derive(Debug, Default)]
pub struct Tally {
    /// Exchanges that ended with a whole response with status 200.
    pub good: usize,
    /// Connections that were opened.
    pub connections: usize,
    /// Connections that were closed in good order: after a whole response, before the next request.
    pub closed: usize,
    /// Attempts to connect that failed.
    pub refused: usize,
    /// Requests on a connection that had served others and closed without a byte of response: the client may not know
    /// whether they were executed, the backend's ledger does.
    pub unanswered: usize,
    /// Everything else, in words.
    pub bad: Vec<String>,
}

/// Clients at work.
#[derive(Debug)]
pub struct Load {
    clients: JoinSet<Tally>,
    good: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
}

/// Starts this many clients, each with a connection of its own, that GET this path over and over, with a short pause, until they are
/// stopped or can no longer connect.
#[must_use]
pub fn load(address: SocketAddr, path: &str, clients: usize, http2: bool) -> Load {
    let (good, over) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
    let mut set = JoinSet::new();
    for _ in 0..clients {
        set.spawn(one(address, path.to_owned(), http2, good.clone(), over.clone()));
    }
    Load { clients: set, good, over }
}

impl Load {
    /// Waits until there are this many good exchanges more than now.
    pub async fn progress(&self, more: usize) {
        let goal = self.good.load(Ordering::SeqCst) + more;
        let done = async {
            while self.good.load(Ordering::SeqCst) < goal {
                sleep(Duration::from_millis(1)).await;
            }
        };
        within("progress of the load", done).await;
    }

    /// Lets every client finish its exchange, and adds up.
    pub async fn stop(self) -> Tally {
        self.over.store(true, Ordering::SeqCst);
        self.ended().await
    }

    /// Waits until no client can connect any more, and adds up.
    pub async fn ended(self) -> Tally {
        let tallies = within("the load's end", self.clients.join_all()).await;
        tallies.into_iter().fold(Tally::default(), Tally::plus)
    }
}

impl Tally {
    fn plus(mut self, mut other: Self) -> Self {
        self.bad.append(&mut other.bad);
        Self {
            good: self.good + other.good,
            connections: self.connections + other.connections,
            closed: self.closed + other.closed,
            refused: self.refused + other.refused,
            unanswered: self.unanswered + other.unanswered,
            bad: self.bad,
        }
    }
}

async fn one(address: SocketAddr, path: String, http2: bool, good: Arc<AtomicUsize>, over: Arc<AtomicBool>) -> Tally {
    let mut tally = Tally::default();
    while !over.load(Ordering::SeqCst) {
        let builder = client(address);
        let builder = if http2 { builder.http2() } else { builder };
        let Ok(mut client) = builder.try_connect().await else {
            tally.refused += 1;
            return tally;
        };
        tally.connections += 1;
        exchanges(&mut client, &path, &mut tally, &good, &over).await;
    }
    tally
}

async fn exchanges(client: &mut Client, path: &str, tally: &mut Tally, good: &AtomicUsize, over: &AtomicBool) {
    for number in 0.. {
        if over.load(Ordering::SeqCst) {
            return;
        }
        if !client.ready().await {
            tally.closed += 1;
            return;
        }
        match client.try_send(Request::get(path).body(empty()).unwrap()).await {
            Ok(answer) if answer.status == StatusCode::OK && answer.broken.is_none() => {
                good.fetch_add(1, Ordering::SeqCst);
                tally.good += 1;
            }
            Ok(answer) => tally.bad.push(format!("{} {:?} {:?}", answer.status, answer.body, answer.broken)),
            Err(_) if number > 0 => {
                tally.unanswered += 1;
                return;
            }
            Err(error) => {
                tally.bad.push(format!("first request of a connection: {error:?}"));
                return;
            }
        }
        sleep(Duration::from_millis(1)).await;
    }
}
