// A guest that hands over whatever the input says: arguments of imports, places for what it is given, and answers of hooks.
// It runs twice, called directly and by way of the runtime of components, and both must see the same.

use std::fmt::Write as _;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use lockgate::config::{At, Component, Isolation, Kv, Located, Plugin, Registries};
use lockgate::exchange::{End, Summary};
use lockgate::message::RequestIds;
use lockgate::plugin::{Chain, Chunk, Place, PluginUse, Plugins, Pools, Run, Side, Verdict};
use lockgate::synthetic::Synthetic;
use tokio::runtime::Runtime;
use tokio::task::LocalSet;
use wit_parser::Resolve;

/// What is there for all inputs.
struct House {
    runtime: Runtime,
    pools: Rc<Pools>,
    synthetic: Synthetic,
    ids: RequestIds,
    direct: Arc<PluginUse>,
    runtime_of_components: Arc<PluginUse>,
    // Everything above is out of it.
    _plugins: Plugins,
}

thread_local! {
    static HOUSE: House = House::new();
}

/// One exchange with that guest.
pub(crate) fn guest(data: &[u8]) {
    if data.len() > LONGEST {
        return;
    }
    HOUSE.with(|house| {
        let ways = [&house.direct, &house.runtime_of_components];
        let [direct, component] = ways.map(|plugin| house.exchange(plugin, data));
        assert_eq!(direct, component, "called directly, and by the runtime");
        let [direct, component] = ways.map(|plugin| plugin.stats().failures);
        assert_eq!(direct, component, "called directly, and by the runtime");
    });
}

impl House {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let plugins = Plugins::with_cache(None).expect("an engine");
        let component = component(&wat::parse_str(module()).expect("the text is that of a module"));
        // A further module with a memory, of which nothing is made: no longer the one module that can be called directly.
        let other = wat::parse_str("(module (memory (export \"memory\") 1))").expect("this is one");
        let two = [&component[..], &[1, other.len() as u8], &other].concat();
        let (direct, runtime_of_components) = (used(&plugins, "direct", &component), used(&plugins, "component", &two));
        assert!(direct.is_called_directly() && !runtime_of_components.is_called_directly(), "they are two ways");
        Self {
            runtime,
            pools: Rc::default(),
            synthetic: Synthetic::new(),
            ids: RequestIds::new(1),
            direct,
            runtime_of_components,
            _plugins: plugins,
        }
    }

    /// All that can be seen of an exchange.
    fn exchange(&self, plugin: &Arc<PluginUse>, data: &[u8]) -> String {
        let mut exchange = self.synthetic.exchange(1, &self.ids);
        let letters = |byte: &u8| [b'a' + (byte >> 4), b'a' + (byte & 15)];
        let script = HeaderValue::from_bytes(&data.iter().flat_map(letters).collect::<Vec<u8>>()).expect("letters");
        exchange.request.headers.insert(HeaderName::from_static("x-script"), script);
        let walk = async {
            let run = Run::new(exchange, Arc::new(Chain::new(vec![Arc::clone(plugin)])), &self.pools);
            let seen = self.walk(run, plugin).await;
            while !self.pools.is_at_rest() {
                self.pools.at_rest().await;
            }
            seen
        };
        LocalSet::new().block_on(&self.runtime, walk)
    }

    async fn walk(&self, mut run: Run, plugin: &Arc<PluginUse>) -> String {
        let mut seen = String::new();
        let mut verdict = run.on_request().await;
        note(&mut seen, &verdict);
        if let Verdict::Hold(_) = verdict {
            verdict = match run.hold(5) {
                Ok(Some(())) => run.on_request_complete(b"hello").await,
                Ok(None) => run.pass_over().await,
                Err(failure) => Verdict::Failed(failure),
            };
            note(&mut seen, &verdict);
        }
        if let Verdict::Proceed = verdict {
            note(&mut seen, &body(&mut run, Side::Request).await);
            run.exchange_mut().candidates = Some(self.synthetic.candidates());
            note(&mut seen, &run.pick_backend(plugin).await);
            run.exchange_mut().candidates = None;
            run.exchange_mut().response = Some(self.synthetic.response());
            let before = run.passed();
            note(&mut seen, &run.on_response(before).await);
            note(&mut seen, &body(&mut run, Side::Response).await);
        }
        note(&mut seen, &run.exchange().request);
        note(&mut seen, &run.exchange().response.as_ref().map(|response| (response.status, &response.headers)));
        run.settle(false);
        run.finish(SUMMARY, |_| {});
        seen
    }
}

async fn body(run: &mut Run, side: Side) -> String {
    let mut seen = String::new();
    for place in run.body_places(side) {
        let mut chunk = Chunk { side, place, bytes: Bytes::from_static(b"hello"), last: Some(HeaderMap::new()) };
        note(&mut seen, &run.on_body(&mut chunk).await);
        note(&mut seen, &chunk.last);
    }
    seen
}

fn note(seen: &mut String, what: &impl std::fmt::Debug) {
    writeln!(seen, "{what:?}").expect("a string takes everything");
}

fn used(plugins: &Plugins, name: &str, component: &[u8]) -> Arc<PluginUse> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("guest.wasm");
    std::fs::write(&path, component).expect("a file");
    let mut plugin = Plugin::new(At::default(), Component::Path(Located { value: path, at: At::default() }));
    // Each input meets the guest as it was made, and is never put aside.
    plugin.isolation = Isolation::Exchange;
    plugin.quarantine.failures = 0;
    plugin.limits.cpu = Duration::from_secs(10);
    plugin.limits.wall = Duration::from_secs(60);
    let place = Place { folder: Path::new("/"), registries: &Registries::default(), kv: &Kv::default() };
    plugins.use_of(name, &plugin, place, None).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The component of that module.
fn component(module: &[u8]) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit");
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(folder).expect("the contract");
    let mut interfaces: Vec<_> = IMPORTS.iter().map(|import| import.0).collect();
    interfaces.dedup();
    let named = |keyword: &str, name: &str| format!("{keyword} lockgate:plugin/{name}@0.1.0; ");
    let imports: String = interfaces.iter().map(|name| named("import", name)).collect();
    let exports: String = HOOKS.iter().map(|(interface, ..)| named("export", interface)).collect();
    let world = format!("package test:test; world w {{ {imports} {exports} }}");
    assert_eq!(resolve.packages[package].name.name, "plugin");
    let world = resolve.push_str("world.wit", &world).expect("a world");
    let world = resolve.select_world(&[world], None).expect("the only one");
    xtask::component::of_module(&resolve, world, module.to_owned()).expect("the module fits")
}

/// The guest: its script is the request's field `x-script`. Byte by byte it says what to call, two bytes an argument; 0 ends
/// the script of a hook, and two more bytes are the answer's place.
fn module() -> String {
    let (mut imports, mut cases, mut hooks) = (String::new(), String::new(), String::new());
    for (index, (interface, name, params, result)) in IMPORTS.iter().enumerate() {
        let param: String = params.chars().map(|kind| format!(" {}", core_type(kind))).collect();
        let result_type: String = result.chars().map(|kind| format!("(result {})", core_type(kind))).collect();
        let import = format!("(import \"lockgate:plugin/{interface}@0.1.0\" \"{name}\"");
        let _ = writeln!(imports, "{import} (func $f{index} (param{param}) {result_type}))");
        let arguments: String = params.chars().map(argument).collect();
        let call = format!("(call $f{index} {arguments})");
        let call = if result.is_empty() { call } else { format!("(drop {call})") };
        let case = index + 2;
        let _ = writeln!(cases, "(if (i32.eq (local.get $op) (i32.const {case})) (then {call} (br $more)))");
    }
    for (interface, hook, params, body) in HOOKS {
        let param: String = params.chars().map(|kind| format!(" {}", core_type(kind))).collect();
        let export = format!("lockgate:plugin/{interface}@0.1.0#{hook}");
        let _ = writeln!(hooks, "(func (export \"{export}\") (param{param}) {body})");
        if !body.starts_with("(drop") {
            let _ = writeln!(hooks, "(func (export \"cabi_post_{export}\") (param i32) (call $after))");
        }
    }
    let kinds = IMPORTS.len() + 2;
    format!(
        r#"(module {imports}
        (memory (export "memory") 2)
        (data (i32.const 16) "x-script")
        (global $ip (mut i32) (i32.const 4096))
        (global $next (mut i32) (i32.const 65536))
        (global $place (mut i32) (i32.const 0))
        (func $byte (result i32)
            (if (i32.ge_u (global.get $ip) (i32.const 16384)) (then (return (i32.const 0))))
            (i32.load8_u (global.get $ip))
            (global.set $ip (i32.add (global.get $ip) (i32.const 1))))
        (func $two (result i32) (i32.or (call $byte) (i32.shl (call $byte) (i32.const 8))))
        (func $arg (result i32) (local $value i32)
            (if (i32.lt_u (local.tee $value (call $two)) (i32.const 0xff00)) (then (return (local.get $value))))
            (i32.or (call $two) (i32.shl (call $two) (i32.const 16))))
        (func $run (result i32) (local $op i32) (local $left i32)
            (local.set $left (i32.const 24))
            (loop $more
                (local.set $op (i32.rem_u (call $byte) (i32.const {kinds})))
                (local.set $left (i32.sub (local.get $left) (i32.const 1)))
                (if (i32.or (i32.eqz (local.get $op)) (i32.eqz (local.get $left))) (then (return (call $arg))))
                (if (i32.eq (local.get $op) (i32.const 1)) (then (global.set $place (call $arg)) (br $more)))
                {cases})
            unreachable)
        (func $after (if (i32.eq (global.get $place) (i32.const 9)) (then (drop (call $run)))))
        (func $decode (local $from i32) (local $to i32) (local $end i32)
            (call $f0 (i32.const 16) (i32.const 8) (i32.const 32))
            (local.set $from (i32.load (i32.const 36)))
            (local.set $to (i32.const 4096))
            (local.set $end (i32.add (local.get $from) (i32.load (i32.const 40))))
            (loop $next
                (if (i32.ge_u (local.get $from) (local.get $end)) (then return))
                (i32.store8 (local.get $to) (i32.or
                    (i32.shl (i32.sub (i32.load8_u (local.get $from)) (i32.const 97)) (i32.const 4))
                    (i32.sub (i32.load8_u offset=1 (local.get $from)) (i32.const 97))))
                (local.set $from (i32.add (local.get $from) (i32.const 2)))
                (local.set $to (i32.add (local.get $to) (i32.const 1)))
                (br $next)))
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
            (if (local.tee $at (global.get $place)) (then
                (global.set $place (i32.const 0))
                (if (i32.eq (local.get $at) (i32.const 7)) (then (return (call $run))))
                (return (local.get $at))))
            (local.set $at (i32.and
                (i32.add (global.get $next) (i32.sub (local.get 2) (i32.const 1)))
                (i32.sub (i32.const 0) (local.get 2))))
            (global.set $next (i32.add (local.get $at) (local.get 3)))
            (local.get $at))
        {hooks})"#
    )
}

fn core_type(kind: char) -> &'static str {
    match kind {
        'l' => "i64",
        'd' => "f64",
        _ => "i32",
    }
}

fn argument(kind: char) -> &'static str {
    match kind {
        'l' => "(i64.extend_i32_s (call $arg))",
        'd' => "(f64.convert_i32_s (call $arg))",
        _ => "(call $arg)",
    }
}

/// Functions that give the same in both ways: interface, name, parameters, result. The first is for the script itself.
const IMPORTS: &[(&str, &str, &str, &str)] = &[
    ("request", "header", "iii", ""),
    ("request", "header-bytes", "iii", ""),
    ("request", "headers", "i", ""),
    ("request", "method", "i", ""),
    ("request", "query", "i", ""),
    ("request", "set-header", "iiiii", ""),
    ("request", "append-header", "iiiii", ""),
    ("request", "remove-header", "iii", ""),
    ("request", "set-path", "iii", ""),
    ("request", "set-query", "iiii", ""),
    ("request", "set-body", "iii", ""),
    ("response", "status", "", "i"),
    ("response", "made-by", "", "i"),
    ("response", "headers", "i", ""),
    ("response", "set-status", "ii", ""),
    ("response", "set-header", "iiiii", ""),
    ("response", "remove-header", "iii", ""),
    ("trailers", "get", "iii", ""),
    ("trailers", "all", "i", ""),
    ("trailers", "set", "iiiii", ""),
    ("trailers", "remove", "iii", ""),
    ("exchange", "tenant", "i", ""),
    ("exchange", "client-certificate", "i", ""),
    ("exchange", "note", "iii", ""),
    ("exchange", "set-note", "iiii", ""),
    ("backends", "count", "", "i"),
    ("backends", "get", "ii", ""),
    ("log", "log", "iii", ""),
    ("log", "enabled", "i", "i"),
    ("config", "get", "i", ""),
    ("counters", "add", "iil", "l"),
    ("counters", "get", "ii", "l"),
    ("counters", "set", "iil", "l"),
    ("metrics", "counter", "iiii", "i"),
    ("metrics", "gauge", "iiii", "i"),
    ("metrics", "histogram", "iiiiii", "i"),
    ("metrics", "add", "il", ""),
    ("metrics", "set", "id", ""),
    ("metrics", "observe", "id", ""),
];

/// Interface, name, parameters, and what is done.
const HOOKS: [(&str, &str, &str, &str); 7] = [
    ("request-hook", "on-request", "", "(result i32) (call $decode) (call $run)"),
    ("request-complete-hook", "on-request-complete", "ii", "(result i32) (call $run)"),
    ("request-body-hook", "on-request-body", "iii", "(result i32) (call $run)"),
    ("pick-backend-hook", "pick-backend", "i", "(result i32) (call $run)"),
    ("response-hook", "on-response", "", "(result i32) (call $run)"),
    ("response-body-hook", "on-response-body", "iii", "(result i32) (call $run)"),
    ("response-finish-hook", "on-response-finish", "iiillllii", "(drop (call $run))"),
];

const SUMMARY: Summary = Summary {
    status: 200,
    request_bytes: 5,
    response_bytes: 5,
    first_byte_nanos: 1000,
    total_nanos: 2000,
    attempts: 1,
    end: End::Complete,
};

/// The guest has no room for longer scripts.
const LONGEST: usize = 4096;
