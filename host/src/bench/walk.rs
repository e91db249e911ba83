//! One exchange after another through a chain, in the order in which `proxy` calls it.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;

use super::stopwatch::Stopwatch;
use crate::exchange::{End, Peer, Summary};
use crate::message::RequestIds;
use crate::plugin::{Arriving, Chain, Chunk, Hook, Pools, Run, Side, Verdict};
use crate::synthetic::Synthetic;

/// Walks exchanges through a chain.
pub(super) struct Walker<'a, S> {
    synthetic: &'a Synthetic,
    chain: Arc<Chain>,
    pools: Rc<Pools>,
    ids: RequestIds,
    watch: S,
}

impl<'a, S: Stopwatch> Walker<'a, S> {
    pub(super) fn new(synthetic: &'a Synthetic, chain: Arc<Chain>, watch: S) -> Self {
        Self::with_pools(synthetic, chain, watch, Rc::default())
    }

    pub(super) fn with_pools(synthetic: &'a Synthetic, chain: Arc<Chain>, watch: S, pools: Rc<Pools>) -> Self {
        Self { synthetic, chain, pools, ids: RequestIds::new(1), watch }
    }

    pub(super) fn watch(&self) -> &S {
        &self.watch
    }

    pub(super) async fn walk_times(&self, times: u64) {
        for _ in 0..times {
            self.walk().await;
        }
    }

    /// One exchange from its first hook to its last.
    pub(super) async fn walk(&self) {
        let exchange = self.synthetic.exchange(self.ids.next(), &self.ids);
        if self.chain.has(Hook::OnConnect) {
            self.connection(&exchange.peer).await;
        }
        let mut run = Run::new(exchange, Arc::clone(&self.chain), &self.pools);
        if self.request(&mut run).await {
            self.body(&mut run, Side::Request, &self.synthetic.body).await;
            self.pick(&mut run).await;
            self.response(&mut run).await;
        }
        run.settle(false);
        self.finish(run).await;
    }

    /// The connection that the exchange comes on: one for each.
    async fn connection(&self, peer: &Peer) {
        let arriving = Arriving { peer, listener: peer.local, alpn: None, http2: false };
        for plugin in self.chain.uses.iter().filter(|plugin| plugin.has(Hook::OnConnect)) {
            let mark = self.watch.start();
            // What became of it is told by the plugin's numbers.
            let _ = plugin.on_connect(arriving, &self.pools).await;
            self.stop(Hook::OnConnect, mark);
        }
    }

    /// Whether the exchange goes on to a backend.
    async fn request(&self, run: &mut Run) -> bool {
        let mark = self.watch.start();
        let mut verdict = run.on_request().await;
        self.stop(Hook::OnRequest, mark);
        while let Verdict::Hold(_) = verdict {
            verdict = match run.hold(self.synthetic.body.len() as u64) {
                Ok(Some(())) => {
                    let mark = self.watch.start();
                    let verdict = run.on_request_complete(&self.synthetic.body).await;
                    self.stop(Hook::OnRequestComplete, mark);
                    verdict
                }
                Ok(None) => run.pass_over().await,
                Err(failure) => Verdict::Failed(failure),
            };
        }
        matches!(verdict, Verdict::Proceed)
    }

    async fn body(&self, run: &mut Run, side: Side, bytes: &Bytes) {
        if !run.wants_body(side) || (side == Side::Request && bytes.is_empty()) {
            return;
        }
        for place in run.body_places(side) {
            let mut chunk = Chunk { side, place, bytes: bytes.clone(), last: Some(HeaderMap::new()) };
            let mark = self.watch.start();
            if run.on_body_now(&mut chunk).is_none() {
                // What became of it is told by the plugin's numbers.
                let _ = run.on_body(&mut chunk).await;
            }
            self.stop(side.hook(), mark);
        }
    }

    async fn pick(&self, run: &mut Run) {
        for place in 0..self.chain.uses.len() {
            let plugin = &self.chain.uses[place];
            if plugin.has(Hook::PickBackend) {
                run.exchange_mut().candidates = Some(self.synthetic.candidates());
                let mark = self.watch.start();
                // As above.
                let _ = run.pick_backend(plugin).await;
                self.stop(Hook::PickBackend, mark);
                run.exchange_mut().candidates = None;
            }
        }
        run.exchange_mut().backend = self.synthetic.upstream.backends.first().cloned();
    }

    async fn response(&self, run: &mut Run) {
        let mut response = self.synthetic.response();
        for edit in std::mem::take(&mut run.exchange_mut().response_edits) {
            edit.apply(&mut response.headers);
        }
        // It stays there, as for plugins that look at it when all is over.
        run.exchange_mut().response = Some(response);
        if run.wants_response() {
            let before = run.passed();
            let mark = self.watch.start();
            let _ = run.on_response(before).await;
            self.stop(Hook::OnResponse, mark);
        }
        self.body(run, Side::Response, &self.synthetic.response_body).await;
    }

    /// The clock stops when the last hook has returned, before the exchange is dropped.
    async fn finish(&self, run: Run) {
        let done = Rc::new(Cell::new(false));
        let (told, watch) = (Rc::clone(&done), self.watch.clone());
        let counts = self.chain.has(Hook::OnResponseFinish);
        let mark = self.watch.start();
        run.finish(SUMMARY, move |_| {
            if counts {
                watch.stop(Hook::OnResponseFinish, mark);
            }
            told.set(true);
        });
        while !done.get() {
            tokio::task::yield_now().await;
        }
    }

    /// Calls that were not made are not counted.
    fn stop(&self, hook: Hook, mark: S::Mark) {
        if self.chain.has(hook) {
            self.watch.stop(hook, mark);
        }
    }
}

const SUMMARY: Summary = Summary {
    status: 200,
    request_bytes: 0,
    response_bytes: 12,
    first_byte_nanos: 1_000_000,
    total_nanos: 2_000_000,
    attempts: 1,
    end: End::Complete,
};
