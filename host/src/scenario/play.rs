//! One scenario, played: an exchange on its way through a chain of one plugin, in the order in which `proxy` calls it.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use tracing::Level;

use super::attempts::{Ended, attempts};
use super::file::{Connection, Scenario, Script};
use super::outcome::{Message, Outcome};
use crate::config::{Kv, Registries};
use crate::exchange::{End, Origin, ResponseHead, Summary};
use crate::log::Overheard;
use crate::message::RequestIds;
use crate::outbound::StandIn;
use crate::plugin::{
    Answer, Arriving, BodyAction, Chain, Chunk, Hook, LoadError, Place, PluginUse, Plugins, Pools, Run, Side, Ticker,
    UseError, Verdict,
};
use crate::reason::Reason;

/// Where scenarios are played.
pub(super) struct Stage {
    plugins: Plugins,
    world: Arc<StandIn>,
    ids: RequestIds,
}

/// What one scenario leaves for the next, if that goes on from there.
pub(super) struct Scene {
    used: Arc<PluginUse>,
    pools: Rc<Pools>,
    ticker: Ticker,
}

/// A response on its way to the client.
struct Response {
    head: ResponseHead,
    body: Bytes,
    cut: bool,
}

impl Stage {
    pub(super) fn new() -> Result<Self, LoadError> {
        let world = Arc::new(StandIn::default());
        Ok(Self { plugins: Plugins::for_scenarios(world.clone())?, world, ids: RequestIds::new(1) })
    }

    /// Plays a scenario; `scene` is where the one before it ended, and then where this one did.
    pub(super) async fn play(
        &self,
        script: &Script,
        scenario: &Scenario,
        scene: &mut Option<Scene>,
    ) -> Result<Outcome, UseError> {
        self.world.arrange(scenario.time, scenario.seed, scenario.http.clone());
        // What the plugin says when it is configured is a part of its first exchange.
        let (overheard, subscriber) = Overheard::new(Level::DEBUG);
        let dispatch = tracing::Dispatch::new(subscriber);
        let mut begun = match scene.take().filter(|_| scenario.goes_on) {
            Some(scene) => scene,
            None => self.begin(script.source.folder(), scenario)?,
        };
        if let Some(space) = begun.used.key_space() {
            for (key, value) in &scenario.kv {
                // A key that cannot be is missed by whoever expects it.
                let _ = space.set(key, value, None);
            }
        }
        for (name, value) in &scenario.counters {
            begun.used.set_counter(name, *value);
        }
        let mut outcome = Outcome::default();
        for _ in 0..scenario.times {
            let _ = overheard.take();
            let _ = self.world.take_calls();
            // For all of this thread: a hook that meets a tick of the clock goes on in a task of its own.
            let _listening = tracing::dispatcher::set_default(&dispatch);
            let ticks = begun.used.has(Hook::OnTick);
            for _ in 0..if ticks { scenario.ticks } else { 0 } {
                begun.ticker.tick().await;
            }
            outcome = self.exchange(&begun, scenario).await;
            if !ticks && scenario.ticks > 0 {
                let missing = ("on-tick: none".to_owned(), "the plugin has no such hook".to_owned());
                outcome.failures.push(missing);
            }
        }
        outcome.logged(overheard.take());
        (outcome.http, outcome.unanswered) = self.world.take_calls();
        outcome.counters = begun.used.counters();
        let mut exposed = String::new();
        self.plugins.expose(&mut exposed);
        outcome.exposed(&exposed, &begun.used.name);
        outcome.used = Some(begun.used.clone());
        *scene = Some(begun);
        Ok(outcome)
    }

    fn begin(&self, folder: &Path, scenario: &Scenario) -> Result<Scene, UseError> {
        // A name that nobody had before: its keys, counters and series are new.
        let name = format!("scenario-{}", self.ids.next());
        let used = self.plugins.use_of(
            &name,
            &scenario.plugin,
            Place { folder, registries: &Registries::default(), kv: &Kv::default() },
            None,
        )?;
        Ok(Scene { ticker: Ticker::of(&used), used, pools: Rc::default() })
    }

    async fn exchange(&self, scene: &Scene, scenario: &Scenario) -> Outcome {
        let synthetic = &scenario.synthetic;
        let Connection { only, listener, alpn, http2 } = scenario.connection;
        if scene.used.has(Hook::OnConnect) {
            let peer = &*synthetic.peer;
            let arriving = Arriving { peer, listener: listener.unwrap_or(peer.local), alpn, http2 };
            let verdict = match scene.used.on_connect(arriving, &scene.pools).await {
                Ok(true) => only.then_some("proceed"),
                Ok(false) => Some("refuse"),
                Err(_) => Some("fail"),
            };
            if let Some(verdict) = verdict {
                return Outcome { verdict, ..Outcome::default() };
            }
        } else if only {
            let missing = ("on-connect: none".to_owned(), "the plugin has no such hook".to_owned());
            return Outcome { failures: vec![missing], ..Outcome::default() };
        }
        let mut exchange = synthetic.exchange(self.ids.next(), &self.ids);
        exchange.notes.clone_from(&scenario.notes);
        let chain = Arc::new(Chain::new(vec![scene.used.clone()]));
        let mut run = Run::new(exchange, chain, &scene.pools);
        let mut outcome = Outcome::default();
        let verdict = on_request(&mut run, &synthetic.body).await;
        let mut response = match verdict {
            Verdict::Proceed | Verdict::Hold(_) => {
                outcome.verdict = "proceed";
                forward(&mut run, scene, scenario, &mut outcome).await
            }
            Verdict::Answer(answer) => {
                outcome.verdict = "answer";
                Response::of(answer)
            }
            Verdict::Failed(failure) => {
                outcome.verdict = "fail";
                Response::refusal(failure.reason.status())
            }
        };
        respond(&mut run, &mut response).await;
        // Plugins may look at it until all is over.
        let ResponseHead { status, headers, origin } = &response.head;
        let shown = ResponseHead { status: *status, headers: headers.clone(), origin: *origin };
        run.exchange_mut().response = Some(shown);
        if run.wants_body(Side::Response) {
            match body(&mut run, Side::Response, response.body.clone(), scenario.chunk).await {
                Ok(changed) => response.body = changed,
                Err(_) => response.cut = true,
            }
        }
        run.settle(false);
        let nanos = u64::try_from(scenario.took.as_nanos()).unwrap_or(u64::MAX);
        let summary = Summary {
            status: response.head.status.as_u16(),
            request_bytes: synthetic.body.len() as u64,
            response_bytes: response.body.len() as u64,
            first_byte_nanos: nanos / 2,
            total_nanos: nanos,
            attempts: outcome.attempts,
            end: if response.cut { End::Aborted } else { scenario.end },
        };
        outcome.notes = finish(run, summary).await;
        outcome.status = response.head.status;
        outcome.cut = response.cut;
        outcome.response = Message { headers: response.head.headers, body: response.body };
        outcome
    }
}

async fn on_request(run: &mut Run, body: &Bytes) -> Verdict {
    let mut verdict = run.on_request().await;
    while let Verdict::Hold(most) = verdict {
        let length = body.len() as u64;
        if length > most {
            return Verdict::Answer(Answer {
                status: StatusCode::PAYLOAD_TOO_LARGE,
                headers: HeaderMap::new(),
                body: Bytes::new(),
            });
        }
        verdict = match run.hold(length) {
            Ok(Some(())) => run.on_request_complete(body).await,
            Ok(None) => run.pass_over().await,
            Err(failure) => Verdict::Failed(failure),
        };
    }
    verdict
}

/// The request on its way to a backend, and what that answers.
async fn forward(run: &mut Run, scene: &Scene, scenario: &Scenario, outcome: &mut Outcome) -> Response {
    let synthetic = &scenario.synthetic;
    let request = run.exchange().request.clone();
    outcome.method = request.method.to_string();
    outcome.target = request.uri.to_string();
    let sent = run.exchange_mut().new_body.take().unwrap_or_else(|| synthetic.body.clone());
    outcome.request = Message { headers: request.headers, body: sent.clone() };
    match attempts(run, &scene.used, scenario, outcome).await {
        Ok(None) => {}
        Ok(Some(Ended::Refused(status))) => return Response::refusal(status),
        Ok(Some(Ended::Answered(status))) => {
            let head = ResponseHead { status, ..synthetic.response() };
            return Response { head, body: synthetic.response_body.clone(), cut: false };
        }
        Err(failure) => {
            outcome.verdict = "fail";
            return Response::refusal(failure.reason.status());
        }
    }
    if !sent.is_empty() && run.wants_body(Side::Request) {
        match body(run, Side::Request, sent, scenario.chunk).await {
            Ok(changed) => outcome.request.body = changed,
            Err(status) => return Response::refusal(status),
        }
    }
    Response { head: synthetic.response(), body: synthetic.response_body.clone(), cut: false }
}

/// A response's head on its way through `on-response`.
async fn respond(run: &mut Run, response: &mut Response) {
    for edit in std::mem::take(&mut run.exchange_mut().response_edits) {
        edit.apply(&mut response.head.headers);
    }
    if !run.wants_response() {
        return;
    }
    let empty = ResponseHead { status: StatusCode::OK, headers: HeaderMap::new(), origin: Origin::Host };
    run.exchange_mut().response = Some(std::mem::replace(&mut response.head, empty));
    let before = run.passed();
    let (_, verdict) = run.on_response(before).await;
    if let Some(head) = run.exchange_mut().response.take() {
        response.head = head;
    }
    match verdict {
        Verdict::Proceed | Verdict::Hold(_) => {}
        Verdict::Answer(answer) => *response = Response::of(answer),
        Verdict::Failed(failure) => *response = Response::refusal(failure.reason.status()),
    }
}

/// A body on its way through the plugin. An error is what the client is told if there is nothing yet.
async fn body(run: &mut Run, side: Side, whole: Bytes, chunk: usize) -> Result<Bytes, u16> {
    let Some(place) = run.body_places(side).into_iter().next() else { return Ok(whole) };
    let (mut rest, mut made) = (whole, BytesMut::new());
    loop {
        let bytes = rest.split_to(rest.len().min(chunk));
        let last = rest.is_empty().then(HeaderMap::new);
        let over = last.is_some();
        let mut piece = Chunk { side, place, bytes, last };
        let called = match run.on_body_now(&mut piece) {
            Some(called) => called,
            None => run.on_body(&mut piece).await,
        };
        match called {
            Ok(BodyAction::Pass) | Err(None) => made.extend_from_slice(&piece.bytes),
            Ok(BodyAction::Replace(bytes)) => made.extend_from_slice(&bytes),
            Ok(BodyAction::Abort) => return Err(Reason::PluginAborted.status()),
            Err(Some(failure)) => return Err(failure.reason.status()),
        }
        if over {
            return Ok(made.freeze());
        }
    }
}

/// The end of the exchange, with its notes.
async fn finish(run: Run, summary: Summary) -> Vec<(String, String)> {
    let notes = Rc::new(RefCell::new(None));
    let told = Rc::clone(&notes);
    run.finish(summary, move |exchange| {
        told.replace(Some(exchange.notes.clone()));
    });
    loop {
        if let Some(notes) = notes.take() {
            return notes;
        }
        tokio::task::yield_now().await;
    }
}

impl Response {
    fn of(answer: Answer) -> Self {
        let head = ResponseHead { status: answer.status, headers: answer.headers, origin: Origin::Plugin };
        Self { head, body: answer.body, cut: false }
    }

    /// The host's own.
    fn refusal(status: u16) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let head = ResponseHead { status, headers: HeaderMap::new(), origin: Origin::Host };
        Self { head, body: Bytes::new(), cut: false }
    }
}
