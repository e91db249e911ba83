//! What a call into a plugin costs, host side and all: `cargo bench --workspace --bench plugin`. CPU time, because it holds
//! on a busy machine; the best of ten rounds.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a benchmark has no better way to fail")]

use std::hint::black_box;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use cpu_time::{ProcessTime, ThreadTime};
use futures_util::FutureExt;
use http::{HeaderValue, Request};
use lockgate::config::{At, Component, Isolation, Kv, Located, Plugin, Problems, Source, parse};
use lockgate::exchange::{Candidates, End, Exchange, Peer, Summary};
use lockgate::plugin::{Chain, Place, PluginUse, Plugins, Pools, Run, Verdict};
use lockgate::upstream::Upstream;
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let started = ProcessTime::now();
    let plugins = Plugins::with_cache(None).unwrap();
    println!("{:<44}{:>10} us", "engine", started.elapsed().as_micros());
    idle();
    for name in ["https-enforcer", "profiler", "round-robin"] {
        let started = ProcessTime::now();
        let config = if name == "https-enforcer" { json!({ "hosts": ["a"] }) } else { Value::Null };
        drop(load(&plugins, bundled(name), config));
        println!("{:<44}{:>10} us", format!("load {name}"), started.elapsed().as_micros());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let bench = Bench { plugins, pools: Rc::default(), upstream: upstream() };
        bench.bundled();
        bench.stacks();
        bench.fresh();
    });
}

/// What the clock of the plugins uses, while nothing happens.
fn idle() {
    let started = ProcessTime::now();
    std::thread::sleep(Duration::from_secs(1));
    println!("{:<44}{:>10} us", "one second of doing nothing", started.elapsed().as_micros());
}

struct Bench {
    plugins: Plugins,
    pools: Rc<Pools>,
    upstream: Arc<Upstream>,
}

impl Bench {
    fn bundled(&self) {
        let https = load(&self.plugins, bundled("https-enforcer"), json!({ "hosts": ["shop.example.com"] }));
        let trusting = json!({ "hosts": ["shop.example.com"], "hsts": { "max_age": 31_536_000 } });
        let hsts = load(&self.plugins, bundled("https-enforcer"), trusting);
        let quiet = load(&self.plugins, bundled("profiler"), json!({ "log": "off" }));
        let profiler = load(&self.plugins, bundled("profiler"), Value::Null);
        let robin = load(&self.plugins, bundled("round-robin"), Value::Null);
        self.on_request("https-enforcer on-request (redirects)", &https);
        self.on_request("https-enforcer on-request (hsts in config)", &hsts);
        self.finish("profiler on-response-finish (log off)", &quiet);
        self.finish("profiler on-response-finish (no subscriber)", &profiler);
        self.pick("round-robin pick-backend", &robin);
    }

    fn stacks(&self) {
        for (stack, cpu) in [("worker's stack", 2), ("own stack", 50)] {
            let mut bare = guest("bare");
            bare.limits.cpu = Duration::from_millis(cpu);
            self.on_request(&format!("bare on-request, {stack}"), &load(&self.plugins, bare, Value::Null));
            let mut echo = guest("misbehave");
            echo.limits.cpu = Duration::from_millis(cpu);
            let config = json!({ "do": "trap", "if_header": "x-now" });
            self.on_request(&format!("one header looked up, {stack}"), &load(&self.plugins, echo, config));
        }
    }

    fn fresh(&self) {
        let mut plugin = guest("bare");
        plugin.isolation = Isolation::Exchange;
        plugin.limits.cpu = Duration::from_millis(2);
        self.on_request("bare on-request, fresh instance", &load(&self.plugins, plugin, Value::Null));
        let mut plugin = bundled("https-enforcer");
        plugin.isolation = Isolation::Exchange;
        self.on_request(
            "https-enforcer on-request, fresh instance",
            &load(&self.plugins, plugin, json!({ "hosts": ["a"] })),
        );
    }

    fn on_request(&self, what: &str, plugin: &Arc<PluginUse>) {
        let mut run = self.run(plugin);
        measure(what, 2_000, || {
            let verdict = run.on_request().now_or_never().unwrap();
            assert!(!matches!(verdict, Verdict::Failed(_)));
            run.exchange_mut().response_edits.clear();
        });
    }

    fn pick(&self, what: &str, plugin: &Arc<PluginUse>) {
        let mut run = self.run(plugin);
        let live = self.upstream.live(&[]);
        run.exchange_mut().candidates = Some(Candidates { upstream: self.upstream.clone(), live });
        measure(what, 2_000, || {
            black_box(run.pick_backend(plugin).now_or_never().unwrap().unwrap());
        });
    }

    fn finish(&self, what: &str, plugin: &Arc<PluginUse>) {
        let mut best = Duration::MAX;
        for _ in 0..ROUNDS {
            let runs: Vec<_> = (0..2_000).map(|_| self.run(plugin)).collect();
            let started = ThreadTime::now();
            for run in runs {
                run.finish(summary(), |exchange| _ = black_box(exchange.id));
            }
            best = best.min(started.elapsed() / 2_000);
        }
        println!("{what:<44}{:>10} ns (with the exchange's end)", best.as_nanos());
    }

    fn run(&self, plugin: &Arc<PluginUse>) -> Run {
        let chain = Chain::new(vec![plugin.clone()]);
        Run::new(exchange(), Arc::new(chain), &self.pools)
    }
}

fn measure(what: &str, times: u32, mut call: impl FnMut()) {
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let started = ThreadTime::now();
        (0..times).for_each(|_| call());
        best = best.min(started.elapsed() / times);
    }
    println!("{what:<44}{:>10} ns", best.as_nanos());
}

const ROUNDS: u32 = 10;

fn load(plugins: &Plugins, mut plugin: Plugin, config: Value) -> Arc<PluginUse> {
    if !config.is_null() {
        plugin.config = config;
    }
    let place = Place { folder: Path::new("/"), kv: &Kv::default() };
    plugins.use_of("bench", &plugin, place, None).unwrap()
}

fn bundled(name: &str) -> Plugin {
    Plugin::new(At::default(), Component::Bundled(Located { value: name.to_owned(), at: At::default() }))
}

fn guest(name: &str) -> Plugin {
    let path = Located { value: xtask::guests::component(name), at: At::default() };
    Plugin::new(At::default(), Component::Path(path))
}

fn upstream() -> Arc<Upstream> {
    let text = "
        [[listener]]
        address = '127.0.0.1:0'
        [upstream.app]
        backends = ['http://127.0.0.1:3000', 'http://127.0.0.1:3001']
        [[route]]
        upstream = 'app'
    ";
    let config = parse(Source { path: "lockgate.toml".into(), text: text.to_owned() }).unwrap();
    let mut problems = Problems::new(&config.source);
    Upstream::build("app", &config.upstreams["app"], None, &config.source, &mut problems).unwrap()
}

fn exchange() -> Box<Exchange> {
    let request = Request::get("/products/7?colour=red")
        .header("host", "shop.example.com")
        .header("user-agent", "curl/8.5.0")
        .header("accept", "*/*")
        .header("x-forwarded-for", "192.0.2.7")
        .header("x-forwarded-proto", "http");
    Box::new(Exchange {
        id: 1,
        peer: Arc::new(Peer {
            address: ([192, 0, 2, 7], 40_000).into(),
            local: ([192, 0, 2, 1], 80).into(),
            trusted: false,
            tls: None,
        }),
        client: [192, 0, 2, 7].into(),
        route: "shop".into(),
        host_is_named: false,
        tenant: None,
        request: request.body(()).unwrap().into_parts().0,
        plain: None,
        request_id: lockgate::message::RequestId::Theirs(HeaderValue::from_static("bench")),
        response: None,
        response_edits: Default::default(),
        trailers: None,
        new_body: None,
        notes: Vec::new(),
        candidates: None,
        backend: None,
        logged: Default::default(),
    })
}

fn summary() -> Summary {
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
