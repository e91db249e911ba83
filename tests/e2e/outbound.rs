//! Plugins that reach outside: HTTP requests of their own, and key spaces.

use std::time::Duration;

use http::{Request, Response};
use lockgate_tests::{
    Answer, Certificates, Gate, Proxy, ProxyBuilder, Step, backend, client, command, empty, eventually, full, get,
    proxy, raw, script, upload, within,
};
use tokio::time::Instant;
use xtask::guests::component;

/// A proxy with the guest that reaches outside on `/guest`, and a route `/other` without plugins; one worker.
fn guest(grants: &str, more: &str) -> ProxyBuilder {
    // A busy machine takes its time.
    let limits = if more.contains("limits") { "" } else { "limits = { http_timeout = \"30s\", wall = \"50s\" }" };
    proxy(&format!(
        "[server]\nworkers = 1\n\
         [plugin.guest]\npath = \"$guest\"\ngrants = {grants}\n{limits}\n{more}\n\
         [[route]]\npath = \"/guest\"\nplugins = [\"guest\"]\nrespond = {{ body = \"fine\" }}\n\
         [[route]]\npath = \"/other\"\nrespond = {{ body = \"other\" }}\n"
    ))
    .set("guest", component("outbound").display())
}

/// One that may ask that URL's host, and has a key space.
fn granted(url: &str, more: &str) -> ProxyBuilder {
    guest(&format!("{{ http = [\"{url}\"], kv = true }}"), more)
}

async fn tell(proxy: &Proxy, fields: &[(&str, &str)]) -> Answer {
    let mut request = Request::get("/guest");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    client(proxy.address()).await.send(request.body(empty()).unwrap()).await
}

async fn told(proxy: &Proxy, fields: &[(&str, &str)]) -> String {
    tell(proxy, fields).await.text()
}

async fn kv(proxy: &Proxy, operations: &str) -> String {
    told(proxy, &[("x-kv", operations)]).await
}

async fn ask(proxy: &Proxy, calls: &str) -> String {
    told(proxy, &[("x-http", calls)]).await
}

async fn outcome(proxy: &Proxy, outcome: &str) -> f64 {
    proxy.metric(&format!("lockgate_http_client_calls_total{{plugin=\"guest\",outcome=\"{outcome}\"}}")).await
}

#[tokio::test]
async fn what_a_plugin_needs_must_be_granted() {
    for (grants, code, word) in [
        ("{}", 2, "needs the grants `http` and `kv`, and is given none"),
        ("{ kv = true }", 2, "needs the grants `http` and `kv`, and is given `kv`"),
        ("{ http = [\"http://a.test\"] }", 2, "needs the grants `http` and `kv`, and is given `http`"),
        ("{ http = [\"http://a.test\"], kv = true }", 0, "granted http and kv"),
    ] {
        let builder = guest(grants, "");
        let said = command::lockgate(["check", builder.written().to_str().unwrap()]).await;
        assert_eq!(said.code, code, "{grants}: {said:?}");
        assert!((said.out + &said.err).contains(word), "{grants}");
        if code == 2 {
            let said = command::lockgate(["run", builder.written().to_str().unwrap()]).await;
            assert_eq!(said.code, 2, "it does not start either");
        }
    }
    let idle =
        proxy("[plugin.a]\nbundled = \"profiler\"\ngrants = { kv = true }\n[[route]]\nplugins = [\"a\"]\nrespond = {}");
    let said = command::lockgate(["check", idle.written().to_str().unwrap()]).await;
    assert!(said.code == 0 && said.out.contains("granted kv without need"), "{said:?}");
    assert!(idle.await.log.line("which it does not need").await.contains("granted `kv`"));
}

#[tokio::test]
async fn outside_is_not_to_be_reached_in_configure() {
    let builder = granted("http://a.test", "config = { in_configure = true }");
    let said = command::lockgate(["check", builder.written().to_str().unwrap()]).await;
    assert_eq!(said.code, 2);
    assert!(said.err.contains("kv.get is not available in configure"), "{said:?}");
}

#[tokio::test]
async fn a_key_space_keeps_what_it_is_told() {
    let proxy = granted("http://a.test", "").await;
    assert_eq!(
        kv(&proxy, "get a; set a 1; get a; delete a; delete a; get a").await,
        "Ok(None)\nOk(())\nOk(Some(\"1\"))\nOk(true)\nOk(false)\nOk(None)"
    );
    assert_eq!(
        kv(&proxy, "swap a x 1; swap a - 1; swap a - 2; swap a 1 2; get a").await,
        "Ok(false)\nOk(true)\nOk(false)\nOk(true)\nOk(Some(\"2\"))"
    );
    assert_eq!(
        kv(&proxy, "increment n 5; increment n -7; get n; set n x; increment n 1").await,
        "Ok(5)\nOk(-2)\nOk(Some(\"-2\"))\nOk(())\nErr(Error::NotANumber)"
    );
    assert_eq!(
        kv(&proxy, &format!("get {}; large a 262145", "k".repeat(513))).await,
        "Err(Error::InvalidKey)\nErr(Error::TooLarge)"
    );
    assert_eq!(kv(&proxy, "set short 1 1; set long 1 60000").await, "Ok(())\nOk(())");
    within("the end of its time", async { while kv(&proxy, "get short").await != "Ok(None)" {} }).await;
    assert_eq!(kv(&proxy, "get long").await, "Ok(Some(\"1\"))");
    let metric = |outcome: &str| format!("lockgate_kv_operations_total{{plugin=\"guest\",outcome=\"{outcome}\"}}");
    assert_eq!(proxy.metric(&metric("not_a_number")).await, 1.0);
    assert_eq!(proxy.metric(&metric("invalid_key")).await, 1.0);
    assert_eq!(proxy.metric(&metric("too_large")).await, 1.0);
}

#[tokio::test]
async fn increments_from_all_workers_add_up_and_the_space_outlives_a_reload() {
    let proxy = granted("http://a.test", "").and("[limits]\nuri_length = 4096").await;
    let toml = std::fs::read_to_string(proxy.folder().join("lockgate.toml")).unwrap();
    proxy.reload(&toml.replace("workers = 1", "workers = 1\nvia = \"x\"")).await;
    let clients = (0..8).map(|_| async {
        for _ in 0..50 {
            kv(&proxy, "increment n 1").await;
        }
    });
    futures_util::future::join_all(clients).await;
    assert_eq!(kv(&proxy, "get n").await, "Ok(Some(\"400\"))");
    assert!(toml.contains("wall = \"50s\""));
    proxy.reload(&toml.replace("wall = \"50s\"", "wall = \"40s\"")).await;
    assert_eq!(kv(&proxy, "get n").await, "Ok(Some(\"400\"))");
}

#[tokio::test]
async fn each_plugin_has_a_key_space_of_its_own() {
    let proxy = granted("http://a.test", "")
        .and(
            "[plugin.twin]\npath = \"$guest\"\ngrants = { http = [\"http://a.test\"], kv = true }\n\
             [[route]]\npath = \"/guest/twin\"\nplugins = [\"twin\"]\nrespond = {}\n\
             [[route]]\npath = \"/guest/again\"\nplugins = [{ name = \"guest\", config = { at_finish = \"kv\" } }]\nrespond = {}\n",
        )
        .await;
    kv(&proxy, "set a mine").await;
    let at = async |path: &str| {
        let request = Request::get(path).header("x-kv", "get a").body(empty()).unwrap();
        client(proxy.address()).await.send(request).await.text()
    };
    assert_eq!(at("/guest/twin").await, "Ok(None)");
    assert_eq!(at("/guest/again").await, "Ok(Some(\"mine\"))", "all uses of a plugin share it");
}

#[tokio::test]
async fn a_full_key_space_lets_the_least_recently_used_go() {
    let proxy = granted("http://a.test", "limits = { kv = \"64 KiB\", cpu = \"1s\" }").await;
    kv(&proxy, "set used 1").await;
    for number in 0..40 {
        let told = kv(&proxy, &format!("large k{number} 10000; get used")).await;
        assert_eq!(told, "Ok(())\nOk(Some(\"1\"))", "{number}");
    }
    assert_eq!(kv(&proxy, "get k0; large all 70000").await, "Ok(None)\nErr(Error::TooLarge)");
    assert_eq!(proxy.metric("lockgate_kv_operations_total{plugin=\"guest\",outcome=\"too_large\"}").await, 1.0);
    let line = proxy.log.line("reason=too_large").await;
    assert!(line.contains("plugin=guest") && line.contains("kv.set failed"), "{line}");
    let bytes = proxy.metric("lockgate_kv_bytes{plugin=\"guest\"}").await;
    assert!((20_000.0..=65_536.0).contains(&bytes), "{bytes}");
    assert!(proxy.metric("lockgate_kv_evicted_total{plugin=\"guest\"}").await >= 30.0);
    assert!(proxy.metric("lockgate_kv_keys{plugin=\"guest\"}").await >= 2.0);
}

#[tokio::test]
async fn a_plugin_makes_requests_of_its_own() {
    let auth = backend().await;
    let proxy = granted(&auth.url(), "").await;
    let url = format!("{}/check?user=a", auth.url());
    let call = format!("POST {url}");
    let fields = [("x-http", &*call), ("x-http-header", "X-Who: me"), ("x-http-body", "hello")];
    let text = told(&proxy, &fields).await;
    let json = text.strip_prefix("200 application/json ").unwrap_or_else(|| panic!("{text}"));
    let seen: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!(
        (&seen["method"], &seen["target"], &seen["body"]),
        (&"POST".into(), &"/check?user=a".into(), &"hello".into())
    );
    assert_eq!((&seen["headers"]["x-who"], &seen["headers"]["content-length"]), (&"me".into(), &"5".into()));
    assert_eq!(seen["headers"]["host"], auth.address.to_string());
    for _ in 0..5 {
        assert!(ask(&proxy, &format!("GET {url}; GET {url}")).await.starts_with("200 "));
    }
    assert_eq!(auth.ledger.connections(), 1, "connections are used again");
    assert_eq!(outcome(&proxy, "answered").await, 11.0);
    assert_eq!(get(proxy.address(), "/guest").await.text(), "fine");
}

#[tokio::test]
async fn what_frames_or_routes_a_request_is_not_for_plugins() {
    let auth = backend().await;
    let proxy = granted(&auth.url(), "").await;
    for field in ["Host: evil.test", "Content-Length: 1", "Transfer-Encoding: chunked", "Connection: x", "Upgrade: x"] {
        let call = format!("GET {}/", auth.url());
        let text = told(&proxy, &[("x-http", &call), ("x-http-header", field)]).await;
        assert!(text.starts_with("Error::InvalidRequest") && text.contains("Forbidden"), "{field}: {text}");
    }
    for (method, word) in [("CONNECT", "CONNECT"), ("G@T", "token")] {
        let text = ask(&proxy, &format!("{method} {}/", auth.url())).await;
        assert!(text.starts_with("Error::InvalidRequest") && text.contains(word), "{text}");
    }
    assert_eq!(auth.ledger.count(), 0);
    assert_eq!(outcome(&proxy, "invalid_request").await, 7.0);
}

#[tokio::test]
async fn only_what_is_granted_is_asked() {
    let (auth, other) = (backend().await, backend().await);
    let proxy = granted(&format!("{}/check", auth.url()), "").await;
    assert!(ask(&proxy, &format!("GET {}/check/x", auth.url())).await.starts_with("200"));
    for url in [
        format!("{}/checks", auth.url()),
        format!("{}/", auth.url()),
        format!("{}/check", other.url()),
        format!("https://{}/check", auth.address),
        format!("http://localhost:{}/check", auth.address.port()),
    ] {
        assert_eq!(ask(&proxy, &format!("GET {url}")).await, "Error::NotGranted", "{url}");
    }
    let text = ask(&proxy, &format!("GET {}/check/../admin", auth.url())).await;
    assert!(text.starts_with("Error::InvalidRequest"), "{text}");
    assert_eq!((auth.ledger.lines(), other.ledger.count()), (vec!["GET /check/x".to_owned()], 0));
    assert_eq!(outcome(&proxy, "not_granted").await, 5.0);
    let line = proxy.log.line("not_granted").await;
    assert!(line.contains("guest") && line.contains("/checks"), "{line}");
}

#[tokio::test]
async fn names_that_lead_to_private_addresses_are_refused_unless_granted() {
    let auth = backend().says("hello").await;
    let url = format!("http://localhost:{}", auth.address.port());
    let refused = granted(&url, "").await;
    assert_eq!(ask(&refused, &format!("GET {url}/")).await, "Error::PrivateAddress");
    assert_eq!((outcome(&refused, "private_address").await, auth.ledger.connections()), (1.0, 0));
    let allowed = guest(&format!("{{ http = [\"{url}\"], private = true, kv = true }}"), "").await;
    assert_eq!(ask(&allowed, &format!("GET {url}/")).await, "200  hello");
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let auth = backend()
        .answers(|_| async { Response::builder().status(302).header("location", "/secret").body(empty()).unwrap() })
        .await;
    let proxy = granted(&auth.url(), "").await;
    assert_eq!(ask(&proxy, &format!("GET {}/", auth.url())).await, "302  ");
    assert_eq!(auth.ledger.lines(), ["GET /"]);
}

#[tokio::test]
async fn certificates_are_verified() {
    let certificates = Certificates::new();
    for alpn in [&["http/1.1"][..], &["h2", "http/1.1"]] {
        let auth = backend().says("hello").tls(&certificates.issue("localhost"), alpn).await;
        let url = format!("https://localhost:{}", auth.address.port());
        let other = backend().says("hello").tls(&certificates.issue("other.test"), alpn).await;
        let other_url = format!("https://localhost:{}", other.address.port());
        let grants = |ca: &str| format!("{{ http = [\"{url}\", \"{other_url}\"], private = true, kv = true{ca} }}");
        let proxy = guest(&grants(""), "").await;
        let text = ask(&proxy, &format!("GET {url}/")).await;
        assert!(text.starts_with("Error::Connect") && text.contains("TLS"), "{text}");
        assert_eq!(outcome(&proxy, "connect").await, 1.0);
        let ca = format!(", ca = \"{}\"", certificates.authority().display());
        let proxy = guest(&grants(&ca), "").await;
        assert_eq!(ask(&proxy, &format!("GET {url}/; GET {url}/")).await, "200  hello\n200  hello");
        let text = ask(&proxy, &format!("GET {other_url}/")).await;
        assert!(text.starts_with("Error::Connect"), "a certificate of another name: {text}");
    }
}

#[tokio::test]
async fn a_response_is_read_as_it_comes() {
    let (hand, body) = upload();
    let body = std::sync::Mutex::new(Some(body));
    let slow = backend()
        .answers(move |_| {
            let body = body.lock().unwrap().take().unwrap();
            async move { Response::new(body) }
        })
        .await;
    let proxy = granted(&slow.url(), "").await;
    let call = format!("GET {}/", slow.url());
    let asking = async { told(&proxy, &[("x-http", &call), ("x-http-most", "4")]).await };
    let sending = async {
        assert!(hand.send("abcdef").await);
        eventually("the head has arrived", || slow.ledger.count() == 1).await;
        assert!(hand.send("gh").await);
        drop(hand);
    };
    let (text, ()) = tokio::join!(asking, sending);
    assert!(text.starts_with("200 abcd|"), "{text}");
    assert_eq!(text.replace(['|', ' '], ""), "200abcdefgh");
}

#[tokio::test]
async fn a_response_is_there_for_the_hook_that_received_it() {
    let auth =
        backend().answers(|_| async { Response::builder().header("x-kind", "a").body(full("hello")).unwrap() }).await;
    let proxy = granted(&auth.url(), "quarantine = { failures = 0 }").await;
    let send = format!("send {}/", auth.url());
    let responses = async |operations: &str| tell(&proxy, &[("x-response", operations)]).await;
    let failed = async || proxy.metric("lockgate_hook_failures_total").await;

    // The head outlasts the body, however that ended.
    let operations = format!(
        "{send}; {send}; {send}; read-all 0; close 1; close 1; close 7; header 0 X-Kind; header 1 x-kind; header 2 x-none"
    );
    assert_eq!(
        responses(&operations).await.text(),
        "Ok(0)\nOk(1)\nOk(2)\nOk(\"hello\")\n()\n()\n()\nSome(\"a\")\nSome(\"a\")\nNone"
    );
    assert_eq!(failed().await, 0.0);

    let (unknown, closed) = ("this hook has received no response", "no body of a response");
    for (operations, why) in [
        (format!("{send}; header 1 x-kind"), unknown),
        (format!("{send}; headers 1"), unknown),
        (format!("{send}; headers 4294967295"), unknown),
        (format!("{send}; read 1"), closed),
        (format!("{send}; read-all 0; read 0"), closed),
        (format!("{send}; close 0; read-all 0"), closed),
        // The exchange before has one of that number, and left its body open.
        ("header 0 x-kind".to_owned(), unknown),
        ("headers 0".to_owned(), unknown),
        ("read 0".to_owned(), closed),
        ("read-all 0".to_owned(), closed),
    ] {
        let before = (failed().await, proxy.log.count(why));
        let mut served = Vec::new();
        for _ in 0..2 {
            let answer = responses(&format!("{send}; served")).await.text();
            served.push(answer.strip_prefix("Ok(0)\n").map(|number| number.parse::<u32>().unwrap()).unwrap());
        }
        assert_eq!(served[1], served[0] + 1, "exchanges have the same instance, one after the other");
        assert_eq!(responses(&operations).await.status, 503, "{operations}");
        assert_eq!(failed().await, before.0 + 1.0, "{operations}");
        eventually(why, || proxy.log.count(why) == before.1 + 1).await;
    }
}

#[tokio::test]
async fn a_response_that_breaks_off_is_an_error() {
    let cut =
        script([Step::ReadHead, Step::say("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"), Step::Close]).await;
    let proxy = granted(&cut.url(), "").await;
    let text = ask(&proxy, &format!("GET {}/", cut.url())).await;
    assert!(text.starts_with("Error::Failed"), "{text}");
    let nonsense = script([Step::ReadHead, Step::say("nonsense\r\n\r\n"), Step::Close]).await;
    let proxy = granted(&nonsense.url(), "").await;
    let text = ask(&proxy, &format!("GET {}/", nonsense.url())).await;
    assert!(text.starts_with("Error::Failed"), "{text}");
    assert_eq!(outcome(&proxy, "failed").await, 1.0);
    let gone = backend().await;
    gone.die();
    let proxy = granted(&gone.url(), "").await;
    let text = ask(&proxy, &format!("GET {}/", gone.url())).await;
    assert!(text.starts_with("Error::Connect") || text.starts_with("Error::Failed"), "{text}");
}

#[tokio::test]
async fn an_exchange_makes_so_many_requests() {
    let auth = backend().says("a").await;
    let proxy = granted(&auth.url(), "limits = { http_requests = 3 }").await;
    let call = format!("GET {}/", auth.url());
    let calls = [&*call; 5].join(";");
    for _ in 0..2 {
        let text = ask(&proxy, &calls).await;
        assert_eq!(text, "200  a\n200  a\n200  a\nError::TooMany\nError::TooMany", "each exchange has its own");
    }
    assert_eq!((outcome(&proxy, "too_many").await, auth.ledger.count()), (4.0, 6));
}

#[tokio::test]
async fn a_response_may_be_so_long() {
    let auth = backend().answers(|request| async move {
        let length = request.uri().path()[1..].parse().unwrap();
        Response::new(full(vec![b'a'; length]))
    });
    let auth = auth.await;
    let proxy = granted(&auth.url(), "limits = { http_response = 1000 }").await;
    let url = auth.url();
    assert_eq!(ask(&proxy, &format!("GET {url}/1000")).await.len(), "200  ".len() + 1000);
    assert_eq!(ask(&proxy, &format!("GET {url}/1001")).await, "Error::TooLarge");
    let part = told(&proxy, &[("x-http", &format!("GET {url}/100000")), ("x-http-most", "10")]).await;
    assert_eq!(part, "Error::TooLarge");
    assert_eq!(outcome(&proxy, "too_large").await, 2.0);
}

/// A server that answers when it is let.
async fn slow() -> (lockgate_tests::Backend, Gate) {
    let gate = Gate::default();
    (backend().says_past(&gate, "slow").await, gate)
}

#[tokio::test]
async fn so_many_requests_are_under_way_at_once() {
    let (auth, gate) = slow().await;
    let limits = "limits = { http_concurrent = 2, http_timeout = \"30s\", wall = \"50s\" }";
    let proxy = granted(&auth.url(), limits).await;
    let call = format!("GET {}/", auth.url());
    let calls = futures_util::future::join_all((0..6).map(|_| ask(&proxy, &call)));
    let all_asked = async {
        within("refusals", async { while outcome(&proxy, "busy").await < 4.0 {} }).await;
        (0..6).for_each(|_| gate.open());
    };
    let (calls, ()) = tokio::join!(calls, all_asked);
    let served = calls.iter().filter(|text| *text == "200  slow").count();
    assert_eq!((served, calls.iter().filter(|text| *text == "Error::Busy").count()), (2, 4), "{calls:?}");
    assert_eq!(outcome(&proxy, "busy").await, 4.0);
    assert_eq!(ask(&proxy, &call).await, "200  slow", "there is room again");
    let left = told(&proxy, &[("x-http", &[&*call; 2].join(";")), ("x-http-open", "1")]).await;
    assert_eq!(left, "200 unread\n200 unread");
    assert_eq!(ask(&proxy, &call).await, "200  slow", "what a guest leaves open is closed after the hook");
}

#[tokio::test]
async fn a_request_ends_in_time() {
    let (auth, _gate) = slow().await;
    let call = format!("GET {}/", auth.url());
    let proxy = granted(&auth.url(), "limits = { http_timeout = \"200ms\", wall = \"50s\" }").await;
    for more in [&[][..], &[("x-http-timeout", "60000")]] {
        let began = Instant::now();
        assert_eq!(told(&proxy, &[&[("x-http", &*call)], more].concat()).await, "Error::TimedOut");
        let took = began.elapsed();
        assert!((Duration::from_millis(195)..Duration::from_secs(30)).contains(&took), "{more:?}: {took:?}");
    }
    assert_eq!(outcome(&proxy, "timed_out").await, 2.0);
    let proxy = granted(&auth.url(), "limits = { http_timeout = \"50s\", wall = \"50s\" }").await;
    let began = Instant::now();
    assert_eq!(told(&proxy, &[("x-http", &call), ("x-http-timeout", "20")]).await, "Error::TimedOut");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());

    let proxy = granted(&auth.url(), "limits = { http_timeout = \"50s\", wall = \"100ms\" }").await;
    let answer = tell(&proxy, &[("x-http", &call)]).await;
    assert_eq!(answer.status, 503, "wall ends the hook itself");
    assert!(proxy.log.line("limits.wall").await.contains("cause=wall"));
}

#[tokio::test]
async fn a_guest_that_waits_holds_up_nobody_and_is_not_charged() {
    let (auth, gate) = slow().await;
    // Its computing takes less than 20 ms; were its waiting computing, it would be stopped.
    let limits = "limits = { cpu = \"20ms\", http_timeout = \"30s\", wall = \"50s\" }";
    let proxy = granted(&auth.url(), limits).await;
    let call = format!("GET {}/", auth.url());
    let waiting = ask(&proxy, &call);
    let others = async {
        eventually("the guest waits", || auth.ledger.count() == 1).await;
        let mut client = client(proxy.address()).await;
        for _ in 0..20 {
            assert_eq!(client.get("/other").await.text(), "other");
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        // Only now.
        gate.open();
    };
    let (text, ()) = tokio::join!(waiting, others);
    assert_eq!(text, "200  slow");
    assert_eq!(proxy.metric("lockgate_hook_failures_total").await, 0.0);
}

#[tokio::test]
async fn a_guest_that_waits_is_not_taken_for_one_that_computes() {
    let slow = backend()
        .answers(|_| async {
            // The plugins' clock ticks meanwhile.
            tokio::time::sleep(Duration::from_millis(5)).await;
            Response::new(empty())
        })
        .await;
    let proxy = granted(&slow.url(), "").await;
    let calls = vec![format!("GET {}/", slow.url()); 8].join(";");
    for _ in 0..10 {
        assert!(ask(&proxy, &calls).await.starts_with("200 "));
    }
    // A machine that is busy may stop a guest in the middle now and then.
    let interrupted = proxy.metric("lockgate_hook_interruptions_total").await;
    assert!(interrupted < 40.0, "{interrupted} of 80 waits");
}

#[tokio::test]
async fn a_client_who_leaves_cancels_the_request() {
    let silent = script([Step::ReadHead, Step::ReadToEnd]).await;
    let proxy = granted(&silent.url(), "limits = { http_timeout = \"1m\", wall = \"1m\" }").await;
    let mut leaving = raw(proxy.address()).await;
    leaving.send(format!("GET /guest HTTP/1.1\r\nHost: a\r\nX-Http: GET {}/slow\r\n\r\n", silent.url())).await;
    eventually("the guest asks", || silent.received().contains("/slow")).await;
    leaving.reset();
    eventually("the request is given up", || silent.ledger.open() == 0).await;
    assert_eq!(proxy.metric("lockgate_hook_failures_total").await, 0.0, "that is not the plugin's fault");
    assert_eq!(get(proxy.address(), "/guest").await.text(), "fine");
}

#[tokio::test]
async fn what_waits_at_finish_delays_no_client() {
    let (auth, gate) = slow().await;
    let proxy = granted(&auth.url(), &format!("config = {{ at_finish = \"{}\" }}", auth.url())).await;
    assert_eq!(get(proxy.address(), "/guest").await.text(), "fine");
    eventually("the guest waits", || auth.ledger.count() == 1).await;
    assert_eq!(proxy.log.count("finished "), 0);
    gate.open();
    assert!(proxy.log.line("finished ").await.contains("Ok(\"slow\")"));
}
