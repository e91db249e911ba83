//! Words for scenes: a house with plugins, a worker, an exchange.

use std::future::Future;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{HeaderValue, Request, StatusCode};
use lockgate::config::{At, Component, Kv, Located, Plugin, Registries};
use lockgate::exchange::{End, Exchange, Peer, Summary};
use lockgate::message::RequestId;
use lockgate::plugin::{Chain, Failure, Place, PluginUse, Plugins, Pools, Run, UseError, Verdict};
use serde_json::Value;

/// All tests share one engine, as one process does.
pub(crate) fn plugins() -> &'static Plugins {
    static PLUGINS: OnceLock<Plugins> = OnceLock::new();
    PLUGINS.get_or_init(|| Plugins::with_cache(None).unwrap())
}

/// The guest of that name, as a configuration has it.
pub(crate) fn guest(name: &str) -> Plugin {
    file(&xtask::guests::component(name))
}

/// A component in a file.
pub(crate) fn file(path: &Path) -> Plugin {
    plugin(Component::Path(located(path.to_owned())))
}

/// A bundled plugin.
pub(crate) fn bundled(name: &str) -> Plugin {
    plugin(Component::Bundled(located(name.to_owned())))
}

fn plugin(component: Component) -> Plugin {
    let mut plugin = Plugin::new(At::default(), component);
    plugin.limits.cpu = Duration::from_millis(1);
    // A busy machine is no reason to fail; where time itself is the scene, it says so.
    plugin.limits.wall = Duration::from_secs(30);
    plugin
}

pub(crate) fn located<T>(value: T) -> Located<T> {
    Located { value, at: At::default() }
}

/// The use of a plugin under that name, which tells it from all others of this process. Null is no configuration.
pub(crate) fn load(name: &str, plugin: &Plugin, config: Value) -> Result<Arc<PluginUse>, UseError> {
    let mut plugin = plugin.clone();
    if !config.is_null() {
        plugin.config = config;
    }
    let place = Place { folder: Path::new("/"), registries: &Registries::default(), kv: &Kv::default() };
    plugins().use_of(name, &plugin, place, None)
}

/// The guest that does what it is told, told that.
pub(crate) fn misbehave(test: &str, deed: &str) -> Arc<PluginUse> {
    misbehave_with(test, deed, |_| {})
}

/// The same with other settings.
pub(crate) fn misbehave_with(test: &str, deed: &str, settings: impl FnOnce(&mut Plugin)) -> Arc<PluginUse> {
    let mut plugin = guest("misbehave");
    settings(&mut plugin);
    load(test, &plugin, serde_json::json!({ "do": deed, "if_header": "x-now" })).unwrap()
}

/// What runs on one worker.
pub(crate) struct Worker {
    pub(crate) pools: Rc<Pools>,
}

impl Worker {
    /// A walk of `exchange` through that chain.
    pub(crate) fn run(&self, exchange: Box<Exchange>, chain: &[&Arc<PluginUse>]) -> Run {
        let chain = Chain::new(chain.iter().map(|plugin| Arc::clone(plugin)).collect());
        Run::new(exchange, Arc::new(chain), &self.pools)
    }

    /// A whole exchange with a chain of one plugin: what its `on-request` came to.
    pub(crate) async fn exchange(&self, plugin: &Arc<PluginUse>, header: &'static str) -> Verdict {
        let mut run = self.run(exchange(&[(header, "1")]), &[plugin]);
        let verdict = run.on_request().await;
        run.finish(summary(), |_| {});
        // A finish that a tick has met is put aside, and has its instance until it is over.
        while !self.pools.is_at_rest() {
            self.pools.at_rest().await;
        }
        verdict
    }
}

/// Runs a scene on a worker.
pub(crate) fn on_a_worker<T>(scene: impl AsyncFnOnce(Worker) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let worker = Worker { pools: Rc::default() };
    tokio::task::LocalSet::new().block_on(&runtime, within(Duration::from_secs(60), scene(worker)))
}

/// Every wait has an end.
pub(crate) async fn within<T>(time: Duration, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(time, future).await.unwrap()
}

/// `GET http://shop.example.com/a?b=c` with those fields.
pub(crate) fn exchange(headers: &[(&'static str, &'static str)]) -> Box<Exchange> {
    static NEXT_ID: AtomicU64 = AtomicU64::new(1);
    let mut request = Request::get("http://shop.example.com/a?b=c");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let peer = Peer {
        address: ([192, 0, 2, 7], 40_000).into(),
        local: ([192, 0, 2, 1], 80).into(),
        trusted: false,
        tls: None,
    };
    Box::new(Exchange::new(
        NEXT_ID.fetch_add(1, Ordering::Relaxed),
        Arc::new(peer),
        [192, 0, 2, 7].into(),
        "shop".into(),
        request.body(()).unwrap().into_parts().0,
        RequestId::Theirs(HeaderValue::from_static("test")),
    ))
}

/// How an exchange went that went well.
pub(crate) fn summary() -> Summary {
    Summary {
        status: 200,
        request_bytes: 0,
        response_bytes: 12,
        first_byte_nanos: 1000,
        total_nanos: 2000,
        attempts: 1,
        end: End::Complete,
    }
}

/// The failure that a verdict must be.
pub(crate) fn failure(verdict: Verdict) -> Failure {
    match verdict {
        Verdict::Failed(failure) => failure,
        other => panic!("not a failure: {other:?}"),
    }
}

/// The status that a verdict must answer with.
pub(crate) fn answered(verdict: Verdict) -> StatusCode {
    match verdict {
        Verdict::Answer(answer) => answer.status,
        other => panic!("not an answer: {other:?}"),
    }
}

/// A verdict that must be to go on.
pub(crate) fn proceeded(verdict: Verdict) {
    assert!(matches!(verdict, Verdict::Proceed), "{verdict:?}");
}
