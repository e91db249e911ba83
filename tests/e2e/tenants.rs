//! Tenants: files of their own, hosts of their own, and nothing in common.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Request;
use lockgate_tests::{
    Answer, Certificates, Proxy, ProxyBuilder, Step, backend, client, empty, eventually, full, get, proxy, raw, script,
    within,
};
use xtask::guests::component;

/// A proxy with these tenants' files; each tenant `NAME` has the host `NAME.test`.
fn tenants(operators: &str, files: &[(&str, &str)]) -> ProxyBuilder {
    let include =
        "include = \"tenants/*.toml\"\n[tenants]\nhosts = [\"{tenant}.test\"]\nbackends = [\"127.0.0.0/8\"]\n";
    let builder = proxy(&format!("{include}{operators}"));
    std::fs::create_dir(builder.folder().join("tenants")).unwrap();
    for (name, text) in files {
        std::fs::write(builder.folder().join(format!("tenants/{name}.toml")), text).unwrap();
    }
    builder
}

/// What a tenant's file says that has one backend.
fn with_backend(url: &str) -> String {
    format!("[upstream.app]\nbackends = [\"{url}\"]\n[[route]]\nupstream = \"app\"\n")
}

async fn ask(proxy: &Proxy, host: &str, path: &str) -> Answer {
    client(proxy.address()).name(host).await.get(path).await
}

const HELLO: &str = "[[route]]\nrespond = { body = \"hello\" }\n";

#[tokio::test]
async fn names_are_a_tenants_own_and_hosts_too() {
    let (one, two) = (backend().says("one").await, backend().says("two").await);
    let proxy = tenants(
        "[[route]]\nrespond = { body = \"operator\" }\n",
        &[("one", &with_backend(&one.url())), ("two", &with_backend(&two.url()))],
    )
    .await;
    assert_eq!(ask(&proxy, "one.test", "/").await.text(), "one");
    assert_eq!(ask(&proxy, "two.test", "/x").await.text(), "two");
    assert_eq!(ask(&proxy, "three.test", "/").await.text(), "operator");
    assert_eq!(get(proxy.address(), "/").await.text(), "operator");
}

#[tokio::test]
async fn a_broken_file_is_refused_alone() {
    let one = backend().says("one").await;
    let (good, broken) = (with_backend(&one.url()), "[[route]]\nupstrem = \"app\"\n");
    let proxy = tenants(HELLO, &[("good", &good), ("broken", broken)]).await;
    assert_eq!(ask(&proxy, "good.test", "/").await.text(), "one");
    let refused = ask(&proxy, "broken.test", "/").await;
    assert_eq!(refused.status, 503);
    assert!(refused.text().contains("tenant_unavailable"), "{}", refused.text());
    assert_eq!(refused.headers["retry-after"], "1");
    let line = proxy.log.line("upstrem").await;
    assert!(line.contains("tenants/broken.toml:2:1"), "{line}");
}

#[tokio::test]
async fn files_come_change_break_and_go_without_anybody_else_noticing() {
    let one = backend().says("one").await;
    let proxy = tenants(HELLO, &[("stays", &with_backend(&one.url()))]).await;
    let file = |name: &str| proxy.folder().join(format!("tenants/{name}.toml"));
    let says = |text: &str| format!("[[route]]\nrespond = {{ body = \"{text}\" }}\n");
    let mut stays = client(proxy.address()).name("stays.test").await;

    assert_eq!(ask(&proxy, "new.test", "/").await.text(), "hello", "a host without a tenant is the operator's");
    // At once, as careful programs do: half a file is a file with something else in it.
    let write = |text: String| {
        std::fs::write(proxy.folder().join("next"), text).unwrap();
        std::fs::rename(proxy.folder().join("next"), file("new")).unwrap();
    };
    for text in ["first", "second"] {
        let before = proxy.generation().await;
        write(says(text));
        proxy.generation_after(before).await;
        assert_eq!(ask(&proxy, "new.test", "/").await.text(), text);
        assert_eq!(stays.get("/").await.text(), "one");
    }

    let before = proxy.generation().await;
    write("[[route]]\nrespond = { bdy = \"third\" }\n".to_owned());
    proxy.generation_after(before).await;
    assert_eq!(ask(&proxy, "new.test", "/").await.text(), "second", "what was right stays");
    assert!(proxy.log.line("bdy").await.contains("tenants/new.toml:2:13"));
    let tenant = &proxy.admin("/status").await.json()["tenants"]["new"];
    assert_eq!((tenant["refused"].as_bool(), tenant["serving"].as_bool()), (Some(true), Some(true)));

    let before = proxy.generation().await;
    std::fs::remove_file(file("new")).unwrap();
    proxy.generation_after(before).await;
    assert_eq!(ask(&proxy, "new.test", "/").await.text(), "hello");
    assert_eq!(stays.get("/").await.text(), "one");
    assert_eq!(one.ledger.connections(), 1, "its connection to the backend outlived all of it");
}

#[tokio::test]
async fn this_machine_is_no_place_for_a_tenants_backends_unless_the_operator_says_so() {
    let app = backend().says("inside").await;
    let by_name = format!("http://localhost:{}", app.address.port());
    let scene = async |backends: &str| {
        let include = "include = \"tenants/*.toml\"\n[tenants]\nhosts = [\"{tenant}.test\"]\n";
        let builder = proxy(&format!("{include}{backends}{HELLO}"));
        std::fs::create_dir(builder.folder().join("tenants")).unwrap();
        for (name, url) in [("named", by_name.clone()), ("numbered", app.url())] {
            let probed = with_backend(&url).replacen(
                "[[route]]",
                "health = { path = \"/\", interval = \"50ms\" }\n[[route]]",
                1,
            );
            std::fs::write(builder.folder().join(format!("tenants/{name}.toml")), probed).unwrap();
        }
        builder.await
    };
    for backends in ["", "backends = [\"10.0.0.0/8\"]\n"] {
        let proxy = scene(backends).await;
        let answer = ask(&proxy, "named.test", "/").await;
        assert!([502, 503].contains(&answer.status.as_u16()), "{answer:?}");
        assert_eq!(ask(&proxy, "numbered.test", "/").await.status, 503, "its file is refused");
        assert!(proxy.log.line("may have no backend at").await.contains("tenants/numbered.toml:2:13"));
        assert!(proxy.log.line("probes in a row failed").await.contains("not to 127.0.0.1:"));
        assert_eq!(app.ledger.connections(), 0);
    }
    let proxy = scene("backends = [\"127.0.0.1\", \"::1\"]\n").await;
    assert_eq!(ask(&proxy, "named.test", "/").await.text(), "inside");
    assert_eq!(ask(&proxy, "numbered.test", "/").await.text(), "inside");
}

#[tokio::test]
async fn a_tenants_plugin_has_no_more_of_a_limit_than_the_operator_allows() {
    let app = backend().says("fine").await;
    let asks = |limits: &str| with_plugin(&app.url(), "misbehave", "{ do = \"flood-host\" }", limits);
    let terms = |most: u32| format!("limits = {{ host_calls = {most} }}\n{}", quotas(""));
    let files = [("silent", &*asks("")), ("modest", &*asks("limits = { host_calls = 9 }"))];
    let greedy = asks("limits = { host_calls = 1000001 }");
    let proxy = tenants(&terms(500), &[files[0], files[1], ("greedy", &greedy)]).await;
    for (tenant, most) in [("silent", 500), ("modest", 9)] {
        assert_eq!(ask(&proxy, &format!("{tenant}.test"), "/").await.status, 503);
        assert!(proxy.log.line(&format!("limits.host_calls ({most})")).await.contains(&format!("tenant={tenant}")));
    }
    assert!(ask(&proxy, "greedy.test", "/").await.text().contains("tenant_unavailable"));
    assert!(proxy.log.line("may have 500").await.contains("tenants/greedy.toml"));
}

#[tokio::test]
async fn bodies_that_are_held_for_a_tenants_plugins_come_out_of_its_memory() {
    let app = backend().says("fine").await;
    let file = with_plugin(&app.url(), "holder", "{ most = 100000000 }", "limits = { body_held = \"1 TiB\" }");
    let proxy = tenants(&quotas("memory = \"8 MiB\""), &[("a", &file)]).await;
    let post = async || {
        let request = Request::post("/").header("host", "a.test").body(full("some words")).unwrap();
        client(proxy.address()).await.send(request).await
    };
    assert_eq!(post().await.text(), "fine");
    // What is announced is counted, before any of it is read.
    let mut large = raw(proxy.address()).await;
    large.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9000000\r\n\r\n").await;
    let refused = large.answer().await;
    assert_eq!((refused.status, refused.body.contains("plugin_capacity")), (503, true), "{refused:?}");
    assert_eq!(refusals(&proxy, "a", "memory").await, 1);
    assert_eq!(post().await.text(), "fine");
}

#[tokio::test]
async fn a_tenants_plugin_is_reloaded_alone() {
    let app = backend().says("fine").await;
    let bare = std::fs::read(component("bare")).unwrap();
    let file = |name: &str| {
        format!(
            "[upstream.app]\nbackends = [\"{}\"]\n[plugin.guest]\npath = \"plugin.wasm\"\n\
             [[route]]\nplugins = [\"guest\"]\nupstream = \"app\"\n# {name}\n",
            app.url()
        )
    };
    let builder = tenants(HELLO, &[("one", &file("one")), ("two", &file("two"))]);
    for tenant in ["one", "two"] {
        std::fs::create_dir(builder.folder().join("tenants").join(tenant)).unwrap();
        std::fs::copy(component("canary"), builder.folder().join("tenants").join(tenant).join("plugin.wasm")).unwrap();
    }
    let proxy = builder.await;
    assert_eq!(ask(&proxy, "one.test", "/").await.header("x-canary"), Some("1"));
    std::fs::write(proxy.folder().join("next"), bare).unwrap();
    std::fs::rename(proxy.folder().join("next"), proxy.folder().join("tenants/one/plugin.wasm")).unwrap();
    let reload = async |path: &str| {
        let request = Request::post(path).body(empty()).unwrap();
        client(proxy.admin_address()).await.send(request).await
    };
    let answer = reload("/plugins/one/guest/reload").await;
    assert_eq!((answer.status.as_u16(), answer.json()["tenant"].as_str()), (200, Some("one")), "{answer:?}");
    assert_eq!(ask(&proxy, "one.test", "/").await.text(), "bare\n");
    assert_eq!(ask(&proxy, "two.test", "/").await.header("x-canary"), Some("1"));
    for path in ["/plugins/guest/reload", "/plugins/three/guest/reload", "/plugins/one/other/reload"] {
        assert_eq!(reload(path).await.status, 404, "{path}");
    }
    std::fs::write(proxy.folder().join("next"), "broken").unwrap();
    std::fs::rename(proxy.folder().join("next"), proxy.folder().join("tenants/one/plugin.wasm")).unwrap();
    assert_eq!(reload("/plugins/one/guest/reload").await.status, 422);
    assert_eq!(ask(&proxy, "one.test", "/").await.text(), "bare\n");
}

#[tokio::test]
async fn what_the_operator_takes_back_is_served_no_more() {
    let wide = "[tenant.a]\nhosts = [\"a.test\", \"b.test\"]\n[[route]]\nrespond = { body = \"operator\" }\n";
    let narrow = wide.replace(", \"b.test\"", "");
    let routes = "[[route]]\nhosts = [\"a.test\", \"b.test\"]\nrespond = { body = \"tenant\" }\n";
    let proxy = tenants(wide, &[("a", routes)]).await;
    assert_eq!(ask(&proxy, "b.test", "/").await.text(), "tenant");
    let include =
        "include = \"tenants/*.toml\"\n[tenants]\nhosts = [\"{tenant}.test\"]\nbackends = [\"127.0.0.0/8\"]\n";
    proxy.reload(&format!("{include}{narrow}")).await;
    assert_eq!(ask(&proxy, "b.test", "/").await.text(), "operator");
    assert_eq!(ask(&proxy, "a.test", "/").await.status, 503, "its last good file does not fit any more either");
    assert!(proxy.log.line("was not given the host").await.contains("tenants/a.toml:2:20"));
}

/// What a tenant's file says that has one backend and a plugin of that guest.
fn with_plugin(url: &str, guest: &str, config: &str, more: &str) -> String {
    let path = component(guest).display().to_string();
    format!(
        "[upstream.app]\nbackends = [\"{url}\"]\n[plugin.guest]\npath = \"{path}\"\nconfig = {config}\n{more}\n\
         [[route]]\nplugins = [\"guest\"]\nupstream = \"app\"\n"
    )
}

/// Lets tenants name the tests' guests, which are not in their own folders.
fn guests_for_all() -> String {
    let guests = component("canary");
    format!("paths = [\"{}\"]\n", guests.parent().unwrap().display())
}

#[tokio::test]
async fn the_same_plugin_of_two_tenants_has_nothing_in_common_but_its_code() {
    let app = backend().says("fine").await;
    let file = with_plugin(&app.url(), "canary", "{}", "");
    let one_worker = "[server]\nworkers = 1\ngrace = \"5s\"\n";
    let operators = format!("{}{one_worker}{HELLO}", guests_for_all());
    let proxy = tenants(&operators, &[("one", &file), ("two", &file)]).await;
    let mut client = client(proxy.address()).await;
    for (host, expected) in
        [("one.test", "1"), ("one.test", "2"), ("two.test", "1"), ("one.test", "3"), ("two.test", "2")]
    {
        let answer = client.send(Request::get("/").header("host", host).body(empty()).unwrap()).await;
        assert_eq!(answer.header("x-canary"), Some(expected), "{host}");
        assert_eq!(answer.header("x-canary-instances"), Some("2"), "{host}: with the one that was its proof");
    }
    assert_eq!(app.ledger.connections(), 2, "each tenant has connections of its own to the same address");
    // An exchange is counted when it is over, which may be a moment after its answer is there.
    let counted = "lockgate_tenant_exchanges_total{tenant=\"two\",class=\"2xx\"}";
    within("the last one to be counted", async { while proxy.metric(counted).await < 2.0 {} }).await;
    let metrics = proxy.admin("/metrics").await.text();
    for tenant in ["one", "two"] {
        let calls = format!("lockgate_hook_calls_total{{tenant=\"{tenant}\",plugin=\"guest\",hook=\"on-request\"}} ");
        assert!(metrics.contains(&calls), "{calls}: {metrics}");
    }
    assert!(metrics.contains("lockgate_tenant_exchanges_total{tenant=\"one\",class=\"2xx\"} 3"), "{metrics}");
    let status = proxy.admin("/status").await.json();
    assert_eq!(status["tenants"]["two"]["exchanges"]["2xx"], 2);
    assert_eq!(status["tenants"]["two"]["plugins"][0]["digest"], status["tenants"]["one"]["plugins"][0]["digest"]);
    assert!(status["tenants"]["two"]["plugin_memory_bytes"].as_u64().unwrap() >= 64 << 10, "{status}");
}

#[tokio::test]
async fn plugins_and_logs_know_whose_an_exchange_is() {
    let app = backend().says("fine").await;
    let file = with_plugin(&app.url(), "echo-hooks", "{ name = \"e\" }", "");
    let proxy = tenants(&format!("{}{HELLO}", guests_for_all()), &[("one", &file)]).await;
    assert_eq!(ask(&proxy, "one.test", "/x").await.text(), "fine");
    let line = proxy.log.line("finished status=200").await;
    assert!(line.contains("tenant=one") && line.contains("tenant=Some("), "{line}");
    assert!(proxy.out.line("GET /x").await.contains(" tenant=one "));
    ask(&proxy, "elsewhere.test", "/y").await;
    assert!(!proxy.out.line("GET /y").await.contains("tenant="));
}

fn quotas(quotas: &str) -> String {
    format!("quotas = {{ {quotas} }}\n{}{HELLO}", guests_for_all())
}

async fn refusals(proxy: &Proxy, tenant: &str, quota: &str) -> u64 {
    proxy.admin("/status").await.json()["tenants"][tenant]["refusals"][quota].as_u64().unwrap_or(0)
}

fn assert_refused(answer: &Answer, status: u16, reason: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert!(answer.text().contains(reason), "{}", answer.text());
    assert_eq!(answer.headers["retry-after"], "1");
}

#[tokio::test]
async fn a_tenant_gets_no_more_requests_than_its_rate() {
    let proxy = tenants(&quotas("rate = 1, burst = 5"), &[("a", HELLO), ("b", HELLO)]).await;
    let mut client = client(proxy.address()).name("a.test").await;
    let began = std::time::Instant::now();
    let mut served = 0;
    for _ in 0..50 {
        let answer = client.get("/").await;
        if answer.status == 200 {
            served += 1;
        } else {
            assert_refused(&answer, 429, "tenant_rate");
        }
    }
    let most = 5 + began.elapsed().as_secs() + 1;
    assert!((5..=most).contains(&served), "{served} of at most {most}");
    assert_eq!(ask(&proxy, "b.test", "/").await.status, 200, "another tenant has a rate of its own");
    assert_eq!(refusals(&proxy, "a", "rate").await, 50 - served);
    let metrics = proxy.admin("/metrics").await.text();
    assert!(metrics.contains("lockgate_tenant_refusals_total{tenant=\"a\",quota=\"rate\"}"), "{metrics}");
}

#[tokio::test]
async fn a_tenant_has_no_more_exchanges_under_way_than_it_may() {
    let silent = script([Step::ReadHead, Step::Stall]).await;
    let file = with_backend(&silent.url());
    let proxy = tenants(&quotas("exchanges = 2"), &[("a", &file), ("b", HELLO)]).await;
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let mut client = raw(proxy.address()).await;
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        waiting.push(client);
    }
    eventually("both are under way", || silent.received().matches("GET").count() == 2).await;
    assert_refused(&ask(&proxy, "a.test", "/").await, 503, "tenant_exchanges");
    assert_eq!(ask(&proxy, "b.test", "/").await.status, 200);
    assert_eq!(refusals(&proxy, "a", "exchanges").await, 1);
    waiting.into_iter().for_each(lockgate_tests::Raw::reset);
    let free = async {
        while proxy.admin("/status").await.json()["tenants"]["a"]["exchanges_in_flight"] != 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within("the places are free again", free).await;
    assert_eq!(refusals(&proxy, "a", "exchanges").await, 1);
}

#[tokio::test]
async fn the_instances_of_a_tenant_have_no_more_memory_than_it_may() {
    let app = backend().says("fine").await;
    let limits = "limits = { memory = \"64 MiB\", cpu = \"1s\" }";
    let grows = with_plugin(&app.url(), "misbehave", "{ do = \"grow\", if_header = \"x-now\" }", limits);
    let proxy = tenants(&quotas("memory = \"6 MiB\""), &[("a", &grows), ("b", &grows)]).await;
    assert_eq!(ask(&proxy, "a.test", "/").await.text(), "fine");
    let request = || Request::get("/").header("host", "a.test").header("x-now", "1").body(empty()).unwrap();
    assert_refused(&client(proxy.address()).await.send(request()).await, 503, "tenant_memory");
    assert_eq!(ask(&proxy, "a.test", "/").await.text(), "fine", "what the failed one had is free again");
    assert_eq!(ask(&proxy, "b.test", "/").await.text(), "fine");
    assert!(refusals(&proxy, "a", "memory").await >= 1);
    assert!(proxy.log.line("quotas.memory").await.contains("tenant=a"));
}

#[tokio::test]
async fn a_tenant_that_computes_more_than_its_share_stands_back_on_a_busy_worker() {
    let app = backend().says("fine").await;
    let limits = "limits = { cpu = \"10s\", wall = \"50s\" }";
    let works = with_plugin(&app.url(), "misbehave", "{ do = \"work\", millis = 30 }", limits);
    let operators =
        format!("{}[server]\nworkers = 1\ngrace = \"5s\"\n", quotas("cpu = \"20ms\", rate = \"unlimited\""));
    let proxy = tenants(&operators, &[("a", &works), ("b", &with_backend(&app.url()))]).await;
    assert_eq!(ask(&proxy, "a.test", "/").await.text(), "fine", "on an idle worker it may have what nobody else wants");
    let works = || {
        let address = proxy.address();
        tokio::spawn(async move {
            let mut client = client(address).name("a.test").await;
            loop {
                let answer = client.get("/").await;
                if answer.status != 200 {
                    return answer;
                }
            }
        })
    };
    let mut work = vec![works()];
    let mut innocent = client(proxy.address()).name("b.test").await;
    while !work.iter().any(tokio::task::JoinHandle::is_finished) {
        for _ in 0..20 {
            assert_eq!(within("the other tenant's answer", innocent.get("/")).await.text(), "fine");
        }
        // Those that are there when it is too much are put aside, so it takes one that comes then to be refused.
        if work.len() < 40 {
            work.push(works());
        }
    }
    for work in work {
        if work.is_finished() {
            assert_refused(&work.await.unwrap(), 503, "tenant_cpu");
        } else {
            work.abort();
        }
    }
    assert!(refusals(&proxy, "a", "cpu").await >= 1);
    let used = proxy.admin("/status").await.json()["tenants"]["a"]["plugin_cpu_seconds"].as_f64().unwrap();
    assert!(used > 0.02, "{used} s");
}

#[tokio::test]
async fn a_connection_made_with_a_tenants_certificate_is_for_that_tenant_alone() {
    let certificates = Certificates::new();
    let operators = format!(
        "{HELLO}[[listener]]\naddress = \"127.0.0.1:0\"\n[[listener.certificate]]\n\
         certificate = \"$dir/operator.crt\"\nkey = \"$dir/operator.key\"\n"
    );
    let file =
        "[[certificate]]\ncertificate = \"own.crt\"\nkey = \"own.key\"\n[[route]]\nrespond = { body = \"own\" }\n";
    let builder = tenants(&operators, &[("one", file), ("two", HELLO)]);
    let install = |name: &str, folder: &str, file: &str| {
        let issued = certificates.issue(name);
        let folder = builder.folder().join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::copy(&issued.certificate, folder.join(format!("{file}.crt"))).unwrap();
        std::fs::copy(&issued.key, folder.join(format!("{file}.key"))).unwrap();
    };
    install("two.test", "", "operator");
    install("one.test", "tenants/one", "own");
    let proxy = builder.await;
    for alpn in ["http/1.1", "h2"] {
        let mut one = client(proxy.address()).name("one.test").tls(certificates.client(&[alpn])).await;
        assert_eq!(one.get("/").await.text(), "own");
        for other in ["two.test", "elsewhere.test"] {
            let request = Request::get(format!("https://{other}/")).header("host", other);
            let answer = one.send(request.body(empty()).unwrap()).await;
            assert_eq!(answer.status, 421, "{other}: {answer:?}");
            assert!(answer.text().contains("misdirected"), "{}", answer.text());
        }
        let mut two = client(proxy.address()).name("two.test").tls(certificates.client(&[alpn])).await;
        assert_eq!(two.get("/").await.text(), "hello", "the operator's certificate is for whatever it names");
    }
}

/// Exchanges of two tenants, mixed on a few connections, whose plugins look for each other's marks. `LOCKGATE_CANARY` says how
/// many; the full measure is a million.
#[tokio::test]
async fn a_canary_finds_nothing_that_is_another_tenants() {
    let exchanges: usize = std::env::var("LOCKGATE_CANARY").map_or(2000, |count| count.parse().unwrap());
    let mut operators = format!("{}quotas = {{ rate = \"unlimited\", cpu = \"unlimited\" }}\n", guests_for_all());
    operators.push_str("[log]\naccess = \"off\"\n");
    let mut files = Vec::new();
    let mut apps = Vec::new();
    for (own, other) in [("one", "two"), ("two", "one")] {
        let app = backend().answers(move |_| async move {
            let answer = http::Response::builder().header("x-mark", format!("mark-of-{own};"));
            answer.body(full("fine")).unwrap()
        });
        let app = app.await;
        let config = format!("{{ search = 8, others = [\"{other}\"] }}");
        let picks = "balance = { plugin = \"guest\" }\n[plugin.guest]";
        files.push((own, with_plugin(&app.url(), "canary", &config, "").replace("[plugin.guest]", picks)));
        apps.push(app);
    }
    let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let proxy = tenants(&operators, &files).await;
    let address = proxy.address();

    // A mark that is brought to the wrong one is found: the search can find what there is.
    let planted = tenants(&operators, &files).await;
    for _ in 0..16 {
        marked(&mut client(planted.address()).await, "one", "two").await;
    }
    let (hits, searches) = marked(&mut client(planted.address()).await, "one", "one").await;
    assert!(searches > 0 && hits > 16 + searches, "{hits} hits in {searches} searches");
    planted.stop().await;

    let clients = 8;
    let work = (0..clients).map(|number| {
        tokio::spawn(async move {
            let mut client = client(address).await;
            let mut searched = [0, 0];
            for exchange in 0..exchanges.div_ceil(clients) {
                let place = (exchange + number + exchange / 7) % 2;
                let own = ["one", "two"][place];
                if !client.ready().await {
                    client = lockgate_tests::client(address).await;
                }
                let (hits, searches) = marked(&mut client, own, own).await;
                assert_eq!(hits, 0, "exchange {exchange} of {own}");
                searched[place] = searches;
            }
            searched
        })
    });
    let mut searched = [0, 0];
    for work in work.collect::<Vec<_>>() {
        let some = work.await.unwrap();
        searched = [searched[0].max(some[0]), searched[1].max(some[1])];
    }
    assert!(searched.iter().all(|searches| *searches as usize > exchanges / 40), "{searched:?}");
    println!("{exchanges} exchanges, {searched:?} searches of memory, 0 hits");
}

/// One exchange of that tenant, with a mark that says whose it is: hits and searches so far.
async fn marked(client: &mut lockgate_tests::Client, tenant: &str, mark: &str) -> (u64, u64) {
    let request = Request::get(format!("/path?mark-of-{mark};"))
        .header("host", format!("{tenant}.test"))
        .header("x-mark", format!("mark-of-{mark};"))
        .header("authorization", format!("Bearer mark-of-{mark};"));
    let answer = client.send(request.body(empty()).unwrap()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let told = |name: &str| answer.header(name).unwrap().parse().unwrap();
    (told("x-canary-hits"), told("x-canary-searches"))
}

/// What a's plugin does at a fifth of the requests, by turns.
const DEEDS: [&str; 4] = ["spin", "trap", "grow", "work"];

#[tokio::test]
async fn one_tenant_is_served_while_another_does_its_worst() {
    let app = backend().says("fine").await;
    let mut bad = format!("[upstream.app]\nbackends = [\"{}\"]\n", app.url());
    for deed in DEEDS {
        bad.push_str(&format!(
            "[plugin.{deed}]\npath = \"{}\"\nconfig = {{ do = \"{deed}\", millis = 20 }}\n\
             [[route]]\npath = \"/{deed}\"\nplugins = [\"{deed}\"]\nupstream = \"app\"\n",
            component("misbehave").display()
        ));
    }
    let good = with_plugin(&app.url(), "canary", "{}", "");
    let operators = format!("{}[log]\naccess = \"off\"\n", guests_for_all());
    let proxy = tenants(&operators, &[("a", &bad), ("b", &good)]).await;

    let address = proxy.address();
    let attack = Arc::new(AtomicBool::new(false));
    let attacks = Arc::clone(&attack);
    let hostile = tokio::spawn(async move {
        let mut done = 0_usize;
        loop {
            let mut client = client(address).name("a.test").await;
            while client.ready().await {
                let deed = DEEDS[done % DEEDS.len()];
                let status = client.get(&format!("/{deed}")).await.status;
                // What is not wrong may still be over the tenant's share.
                assert!(status == 503 || (deed == "work" && status == 200), "{deed}: {status}");
                done += 1;
                while !attacks.load(Ordering::SeqCst) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                tokio::time::sleep(Duration::from_millis(4)).await;
            }
        }
    });
    // This machine may have other things to do just now, but not each time.
    let mut rounds = 0;
    loop {
        rounds += 1;
        let quiet = measured(&proxy, 100).await;
        attack.store(true, Ordering::SeqCst);
        let loud = measured(&proxy, 200).await;
        attack.store(false, Ordering::SeqCst);
        assert!(!hostile.is_finished(), "{:?}", hostile.await);
        println!("p99 of the innocent tenant: quiet {quiet:?}, beside the other {loud:?}");
        // A tenth of a second would be two calls of the other's that nobody put aside.
        if loud < quiet * 4 + Duration::from_millis(100) {
            break;
        }
        assert!(rounds < 10, "quiet {quiet:?}, beside the other {loud:?}");
    }
    hostile.abort();
    let status = proxy.admin("/status").await.json();
    let failures = status["tenants"]["a"]["plugins"].as_array().unwrap().iter();
    let causes: Vec<_> = failures.flat_map(|it| it["failures"].as_array().unwrap()).map(|it| &it["cause"]).collect();
    for cause in ["cpu", "trap", "memory"] {
        assert!(causes.iter().any(|it| *it == cause), "{cause}: {causes:?}");
    }
}

/// The time within which 99 of 100 of the innocent tenant's requests are answered; each must be answered well.
async fn measured(proxy: &Proxy, requests: usize) -> Duration {
    let mut times = Vec::new();
    let mut client = client(proxy.address()).name("b.test").await;
    for _ in 0..requests {
        let began = std::time::Instant::now();
        assert_eq!(client.get("/").await.text(), "fine");
        times.push(began.elapsed());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    times.sort();
    times[requests * 99 / 100]
}

/// What the guest `outbound` says to a field that tells it what to do.
async fn told(proxy: &Proxy, tenant: &str, field: &str, value: &str) -> String {
    let request = Request::get("/").header("host", format!("{tenant}.test")).header(field, value);
    client(proxy.address()).await.send(request.body(empty()).unwrap()).await.text()
}

#[tokio::test]
async fn key_spaces_of_two_tenants_have_nothing_in_common_and_outbound_calls_have_a_rate() {
    let app = backend().says("fine").await;
    let url = app.url();
    let operators = format!("grants = {{ http = [\"{url}\"], kv = true }}\n{}", quotas("calls = 3"));
    let file = with_plugin(&url, "outbound", "{}", &format!("grants = {{ http = [\"{url}/below\"], kv = true }}"));
    let proxy = tenants(&operators, &[("a", &file), ("b", &file)]).await;
    assert_eq!(told(&proxy, "a", "x-kv", "set key a").await, "Ok(())");
    assert_eq!(told(&proxy, "b", "x-kv", "get key").await, "Ok(None)");
    assert_eq!(told(&proxy, "a", "x-kv", "get key").await, "Ok(Some(\"a\"))");

    let calls = vec![format!("GET {url}/below"); 8].join(";");
    let began = std::time::Instant::now();
    let mut answers = String::new();
    while !answers.contains("Busy") {
        answers = told(&proxy, "a", "x-http", &calls).await;
        let most = 3 + 3 * (began.elapsed().as_secs() as usize + 1);
        let made = app.ledger.count();
        assert!((3..=most).contains(&made), "three at once, and three in a second: {:?}", app.ledger.lines());
        assert!(began.elapsed() < lockgate_tests::wait::LONG, "it is never refused");
    }
    assert!(refusals(&proxy, "a", "calls").await >= 1);
    assert!(told(&proxy, "b", "x-http", &format!("GET {url}/below")).await.contains("fine"), "b has a rate of its own");
    assert_eq!(refusals(&proxy, "b", "calls").await, 0);
}
