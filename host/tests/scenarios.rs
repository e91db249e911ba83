//! `lockgate plugin test` and `lockgate plugin replay` from outside, and the scenarios of the plugins that are bundled.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

#[test]
fn the_bundled_plugins_do_as_their_scenarios_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/bundled");
    let (code, out, err) = lockgate(&folder, &["plugin", "test"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    for plugin in ["https-enforcer", "profiler", "round-robin"] {
        assert!(out.contains(&format!("(./{plugin}/tests/")), "{out}");
    }
}

#[test]
fn what_a_plugin_reaches_outside_is_arranged() {
    let scene = Scene::new("outbound");
    scene.write(
        "grants = { kv = true, http = [\"https://auth.internal/\"] }\n\
         [[scenario]]\nname = \"calls\"\n\
         request = { headers = { x-http = \"GET https://auth.internal/a;GET https://auth.internal/b;GET https://else.internal/\" } }\n\
         [[scenario.http]]\nrequest = \"GET https://auth.internal/a\"\nstatus = 418\nbody = \"tea\"\n\
         headers = { content-type = \"text/x\" }\n\
         [[scenario.http]]\nrequest = \"https://auth.internal/b\"\nerror = \"timed-out\"\n\
         [scenario.expect]\nverdict = \"answer\"\nresponse = { body = \"418 text/x tea\\nError::TimedOut\\nError::NotGranted\" }\n\
         http = [\"GET https://auth.internal/a\", \"GET https://auth.internal/b\"]\n\
         [[scenario]]\nname = \"keys\"\nkv = { a = \"1\", b = { base64 = \"/w==\" } }\n\
         request = { headers = { x-kv = \"increment a 4;delete b;set c x\" } }\n\
         expect = { kv = { a = \"5\", b = false, c = \"x\" } }\n\
         [[scenario]]\nname = \"keys stay\"\ncontinues = true\ntimes = 3\n\
         request = { headers = { x-kv = \"increment a 1\" } }\n\
         expect = { kv = { a = \"8\" }, response = { body = \"Ok(8)\" } }\n\
         [[scenario]]\nname = \"keys are new\"\nexpect = { kv = { a = false }, verdict = \"proceed\", response = { status = 200 } }\n",
    );
    let (code, out, err) = scene.test(&[]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.ends_with("4 passed, 0 failed\n"), "{out}");

    scene.write(
        "grants = { kv = true, http = [\"https://auth.internal/\"] }\n\
         [[scenario]]\nrequest = { headers = { x-http = \"GET https://auth.internal/a\" } }\n",
    );
    let (code, out, _) = scene.test(&[]);
    assert_eq!(code, 1);
    assert!(out.contains("+ none to \"GET https://auth.internal/a\""), "{out}");
}

#[test]
fn attempts_fail_as_the_scenario_says() {
    let scene = Scene::new("attempts");
    let wanted =
        |deed: &str, rest: &str| format!("[[scenario]]\nconfig = {{ do = \"{deed}\", name = \"it\" }}\n{rest}\n");
    let heard =
        |number, rest| format!("info: it heard number={number} backend=http://10.0.0.{number}:8080 same=true {rest}");
    scene.write(
        &[
            "config = { do = \"look\" }\n".to_owned(),
            wanted("look", "expect = { backend = \"http://192.0.2.11:3000\", next = [] }"),
            wanted(
                "look",
                &format!(
                    "failed = [{{}}, {{ status = 503 }}]\nbackends = [\"http://10.0.0.1:8080\", \"http://10.0.0.2:8080\", \"http://10.0.0.3:8080\"]\n\
                     [scenario.expect]\nnext = [\"proceed\", \"proceed\"]\nbackend = \"http://10.0.0.3:8080\"\n\
                     response = {{ status = 200, headers = {{ x-failed = [\"connect_failed\", \"bad_response\"] }} }}\n\
                     log = [\"info: it picks the first of 3\", {:?}, \"info: it picks the first of 2\", {:?}]",
                    heard(1, "reason=connect_failed status=0 may_retry=true others=http://10.0.0.2:8080,http://10.0.0.3:8080"),
                    heard(2, "reason=bad_response status=503 may_retry=true others=http://10.0.0.3:8080")
                ),
            ),
            wanted(
                "pick-last",
                "failed = [{ reason = \"upstream_timeout\" }]\nexpect = { next = [\"http://192.0.2.12:3000\"], response = { status = 200 } }",
            ),
            wanted("give-up", "failed = [{}]\nexpect = { next = [\"give-up\"], response = { status = 502 } }"),
            wanted(
                "look",
                "failed = [{ status = 503, may_retry = false }, {}]\nexpect = { next = [\"proceed\"], response = { status = 503 } }",
            ),
            // All have failed, so all are tried again.
            wanted("look", "failed = [{}, {}, {}]\nexpect = { next = [\"proceed\", \"proceed\", \"proceed\"], response = { status = 200 } }"),
            wanted("look", "failed = [{}, {}, { may_retry = false }]\nexpect = { next = [\"proceed\", \"proceed\", \"proceed\"], response = { status = 502 } }"),
            wanted(
                "look",
                "failed = [{ backend = \"http://192.0.2.12:3000\" }]\nexpect = { picks = [\"http://192.0.2.11:3000\", \"http://192.0.2.12:3000\"] }",
            ),
            wanted(
                "look",
                "picker = false\nfailed = [{ backend = \"http://192.0.2.12:3000\" }]\nexpect = { picks = [], log = [\"backend=http://192.0.2.12:3000\"] }",
            ),
            // What is no better than what the backend says is not said instead.
            wanted(
                "look",
                "failed = [{ status = 503, may_retry = false }]\nresponse = { body = \"busy\" }\nexpect = { response = { status = 503, body = \"busy\" } }",
            ),
            wanted("trap", "failed = [{}]\nexpect = { verdict = \"fail\", failures = [\"on-attempt-failed: trap\"] }"),
        ]
        .concat(),
    );
    let (code, out, err) = scene.test(&[]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.ends_with("11 passed, 0 failed\n"), "{out}");

    scene.write("config = { do = \"look\" }\n[[scenario]]\nfailed = [{ reason = \"connect_faild\" }]\n");
    let (code, _, err) = scene.test(&[]);
    assert!(code == 2 && err.contains("did you mean \"connect_failed\"?"), "{err}");
    scene.write("config = { do = \"give-up\" }\n[[scenario]]\nfailed = [{}]\nexpect = { next = [\"proceed\"] }\n");
    let (code, out, _) = scene.test(&[]);
    assert!(code == 1 && out.contains("next\n         - \"proceed\"\n         + \"give-up\"\n"), "{out}");
}

#[test]
fn ticks_come_before_the_exchange_and_go_on_in_one_instance() {
    let scene = Scene::new("ticks");
    scene.write(
        "config = { name = \"a\", do = \"ask\", url = \"https://auth.internal/keys\" }\n\
         grants = { http = [\"https://auth.internal/\"] }\n\
         [[scenario]]\nticks = 2\nhttp = [{ request = \"GET https://auth.internal/keys\", status = 418 }]\n\
         [scenario.expect]\ncounters = { ticks = 2 }\nresponse = { headers = { x-ticks = \"2\" } }\n\
         log = [\"info: a tick 1 1\", \"info: a asked Ok(418)\", \"info: a tick 2 2\"]\n\
         http = [\"GET https://auth.internal/keys\", \"GET https://auth.internal/keys\"]\n\
         [[scenario]]\ncontinues = true\nticks = 1\nhttp = [{ request = \"GET https://auth.internal/keys\", error = \"timed-out\" }]\n\
         expect = { log = [\"info: a tick 3 3\", \"info: a asked Err\"] }\n\
         [[scenario]]\nexpect = { counters = { ticks = 0 }, response = { headers = { x-ticks = \"0\" } } }\n\
         [[scenario]]\nconfig = { do = \"trap\" }\nticks = 1\nexpect = { failures = [\"on-tick: trap\"], response = { status = 200 } }\n",
    );
    let (code, out, err) = scene.test(&[]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.ends_with("4 passed, 0 failed\n"), "{out}");

    // Nobody should believe to have seen a tick.
    let scene = Scene::new("attempts");
    scene.write("config = { do = \"look\" }\n[[scenario]]\nticks = 1\n");
    let (code, out, _) = scene.test(&[]);
    assert!(code == 1 && out.contains("+ \"on-tick: none (the plugin has no such hook)\""), "{out}");
}

#[test]
fn the_connection_comes_first_and_may_be_refused() {
    let scene = Scene::new("connections");
    scene.write(
        "config = { refuse = \"192.0.2.7\" }\n\
         [[scenario]]\nrequest = { client = \"192.0.2.7\" }\nexpect = { verdict = \"refuse\", backend = false }\n\
         [[scenario]]\nrequest = { client = \"192.0.2.8\", server_name = \"shop.example.com\" }\n\
         [scenario.expect]\nverdict = \"proceed\"\nresponse = { status = 200, headers = { x-client = \"nobody\" } }\n\
         log = [\"tls=true name=shop.example.com alpn=- http2=false shown=nobody\"]\n\
         [[scenario]]\nconfig = { refuse = \"\", do = \"trap\" }\nexpect = { verdict = \"fail\", failures = [\"on-connect: trap\"] }\n\
         [[scenario]]\nrequest = { certificate = { subject = \"CN=a\", names = [\"DNS:a\"], fingerprint = \"0a\", serial = \"0b\", not_after = 7 } }\n\
         connection = { only = true, listener = \"0.0.0.0:8443\", port = 5, alpn = \"h2\", http2 = true }\n\
         config = { refuse = \"CN=a DNS:a 0a 0b 7\" }\n[scenario.expect]\nverdict = \"refuse\"\n\
         log = [\"192.0.2.7:5 at 0.0.0.0:8443 tls=true name=- alpn=h2 http2=true shown=CN=a DNS:a 0a 0b 7\"]\n\
         [[scenario]]\nconfig = {}\nconnection = { only = true }\nexpect = { verdict = \"proceed\", response = { headers = { x-client = false } } }\n",
    );
    let (code, out, err) = scene.test(&[]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.ends_with("5 passed, 0 failed\n"), "{out}");

    // Nobody should believe to have seen a connection.
    let scene = Scene::new("attempts");
    scene.write("config = { do = \"look\" }\n[[scenario]]\nconnection = { only = true }\n");
    let (code, out, _) = scene.test(&[]);
    assert!(code == 1 && out.contains("+ \"on-connect: none (the plugin has no such hook)\""), "{out}");
}

#[test]
fn time_and_chance_are_the_same_each_time_also_in_wasi() {
    let scene = Scene::new("wasi-guest");
    scene.write("[[scenario]]\ntime = \"2026-01-31T12:00:00Z\"\nexpect = { response = { status = 0 } }\n");
    let (code, _, err) = scene.test(&[]);
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("0 is not between 100 and 599"), "{err}");
    scene.write("[[scenario]]\ntime = \"2026-01-31T12:00:00Z\"\nseed = 7\nexpect = { response = { body = \"\" } }\n");
    let (_, first, _) = scene.test(&[]);
    let (_, second, _) = scene.test(&[]);
    assert_eq!(first, second);
}

#[test]
fn bodies_are_shown_in_pieces() {
    let scene = Scene::new("bodies");
    scene.write(
        "config = { do = \"grow\", side = \"both\" }\n\
         [[scenario]]\nchunk = 2\nrequest = { method = \"POST\", body = \"abc\" }\nresponse = { body = \"xyz\" }\n\
         [scenario.expect]\nrequest = { method = \"POST\", body = \"aaaaaaaaaabbbbbbbbbbcccccccccc\" }\n\
         response = { body = \"xxxxxxxxxxyyyyyyyyyyzzzzzzzzzz\" }\n",
    );
    let (code, out, err) = scene.test(&[]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
}

#[test]
fn what_is_otherwise_than_expected_is_shown_and_reported() {
    let scene = Scene::new("echo-hooks");
    scene.write(
        "config = { name = \"a\" }\n\
         [[scenario]]\nname = \"all <wrong>\"\n\
         [scenario.expect]\nverdict = \"answer\"\n\
         request = { headers = { x-hooks = [\"b\"], host = false, x-none = true } }\n\
         response = { status = 404, headers = { x-hooks = \"b\" }, body = \"bye\\n\" }\n\
         notes = { hooks = \"b\", other = \"c\" }\nlog = [\"info: nothing of the kind\"]\n\
         counters = { finished = 2 }\nmetrics = { hits = 1 }\nfailures = [\"on-request: trap\"]\n",
    );
    let (code, out, err) = scene.test(&["--junit", "results.xml"]);
    assert_eq!(code, 1, "{out}");
    assert_eq!(err, "lockgate: 1 of the scenarios failed\n");
    for told in [
        "FAIL all <wrong> (./a.scenario.toml:2:1)",
        "verdict\n         - \"answer\"\n         + \"proceed\"",
        "request.headers.x-hooks\n         - \"b\"\n         + \"a\"",
        "request.headers.host\n         - none\n         + \"shop.example.com\"",
        "request.headers.x-none\n         - any\n         + none",
        "response.status\n         - 404\n         + 200",
        "response.body\n         - \"bye\\n\"\n         + \"hello world\\n\"",
        "notes.hooks\n         - \"b\"\n         + \"a:on-request \"",
        "notes.other\n         - \"c\"\n         + nothing",
        "log\n         - \"info: nothing of the kind\"\n         + \"info: a finished status=200",
        "counters.finished\n         - 2\n         + 1",
        "metrics.hits\n         - 1\n         + nothing",
        "failures\n         - \"on-request: trap\"\n         + none",
        "0 passed, 1 failed\n",
    ] {
        assert!(out.contains(told), "{told}\n{out}");
    }
    let junit = fs::read_to_string(scene.folder.path().join("results.xml")).unwrap();
    assert!(junit.contains("tests=\"1\" failures=\"1\"") && junit.contains("name=\"all &lt;wrong&gt;\""), "{junit}");
}

#[test]
fn a_failing_plugin_is_told_with_its_reason() {
    let scene = Scene::new("misbehave");
    scene.write("config = { do = \"trap\" }\n[[scenario]]\nname = \"well\"\n");
    let (code, out, _) = scene.test(&[]);
    assert_eq!(code, 1);
    assert!(
        out.contains("failures\n         - none\n         + \"on-request: trap (plugin failed: wasm trap:"),
        "{out}"
    );
    scene.write(
        "config = { do = \"trap\" }\n[[scenario]]\n\
         expect = { verdict = \"fail\", failures = [\"on-request: trap\"], response = { status = 503 } }\n",
    );
    assert_eq!(scene.test(&[]).0, 0);
}

#[test]
fn mistakes_in_a_scenario_have_their_places() {
    let scene = Scene::new("echo-hooks");
    scene.write(
        "[[scenario]]\nnam = \"a\"\nrequest = { target = \"a\", method = \"G T\", headers = { \"a b\" = \"c\" } }\n\
         backends = [\"ftp://a\"]\ntime = \"noon\"\n[[scenario.http]]\nrequest = \"GET\"\n\
         [scenario.expect]\nverdict = \"anser\"\nresponse = { body = 7 }\n",
    );
    let (code, out, err) = scene.test(&[]);
    assert_eq!((code, out.as_str()), (2, ""));
    for told in [
        "a.scenario.toml:2:1: scenario[0].nam: unknown key \"nam\"\n  help: did you mean `name`?",
        "a.scenario.toml:3:22: scenario[0].request.target: \"a\" is not what a request asks for",
        "a.scenario.toml:3:36: scenario[0].request.method: \"G T\" is not a method",
        "\"a b\" cannot be the name of a field",
        "a.scenario.toml:4:12: scenario[0].backends: ",
        "a.scenario.toml:5:8: scenario[0].time: \"noon\" is not a time",
        "a.scenario.toml:7:11: scenario[0].http[0].request: \"GET\" names no URL",
        "scenario[0].expect.verdict: \"anser\" is not \"proceed\", \"answer\", \"fail\" or \"refuse\"\n  help: did you mean \"answer\"?",
        "expected a text, or { base64 = \"..\" }, found a whole number",
        "9 problems",
    ] {
        assert!(err.contains(told), "{told}\n{err}");
    }
    let (code, _, err) = lockgate(scene.folder.path(), &["plugin", "test", "."]);
    assert!(code == 2 && err.contains("it is not said which plugin this is about"), "{err}");
    let empty = tempfile::tempdir().unwrap();
    let (code, _, err) = lockgate(empty.path(), &["plugin", "test"]);
    assert_eq!(
        (code, err.as_str()),
        (1, "lockgate: there are no scenarios in .: they are files whose names end with .scenario.toml\n")
    );
}

#[test]
fn a_replay_says_what_a_new_version_decides_otherwise() {
    let scene = Scene::new("echo-hooks");
    scene.write("[[scenario]]\nname = \"one\"\nexpect = { verdict = \"proceed\", response = { status = 200 } }\n");
    let replay = |guest: &str| {
        let component = xtask::guests::component(guest);
        lockgate(scene.folder.path(), &["plugin", "replay", ".", "--plugin", component.to_str().unwrap()])
    };
    assert_eq!(replay("echo-hooks"), (0, "1 exchanges replayed, 0 decided otherwise\n".to_owned(), String::new()));
    let (code, out, err) = replay("bare");
    assert_eq!((code, err.as_str()), (1, "lockgate: 1 of the exchanges were decided otherwise\n"));
    assert!(out.starts_with("CHANGED one (./a.scenario.toml:1:1)\n          verdict\n"), "{out}");
}

#[test]
fn scenarios_are_played_again_when_one_is_saved() {
    let scene = Scene::new("echo-hooks");
    let write = |scenarios: &str| scene.write(&format!("path = {:?}\n{scenarios}", scene.component));
    write("[[scenario]]\nexpect = { verdict = \"answer\" }\n");
    let mut child = Command::new(env!("CARGO_BIN_EXE_lockgate"))
        .args(["plugin", "test", "--watch"])
        .current_dir(scene.folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (tell, told) = mpsc::channel();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let reader = thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| tell.send(line)));
    let said = |wanted: &str| loop {
        let line = told.recv_timeout(Duration::from_secs(120)).unwrap();
        if line.contains(wanted) {
            return;
        }
    };
    said("0 passed, 1 failed");
    said("waiting for changes");
    write("[[scenario]]\nexpect = { verdict = \"anwser\" }\n");
    said("did you mean \"answer\"?");
    said("waiting for changes");
    write("[[scenario]]\nexpect = { verdict = \"proceed\" }\n[[scenario]]\n");
    said("2 passed, 0 failed");
    child.kill().unwrap();
    child.wait().unwrap();
    drop(told);
    drop(reader);
}

/// A folder with scenarios for one guest.
struct Scene {
    folder: tempfile::TempDir,
    component: String,
}

impl Scene {
    fn new(guest: &str) -> Self {
        let component = xtask::guests::component(guest).to_str().unwrap().to_owned();
        Self { folder: tempfile::tempdir().unwrap(), component }
    }

    fn write(&self, text: &str) {
        fs::write(self.folder.path().join("a.scenario.toml"), text).unwrap();
    }

    fn test(&self, more: &[&str]) -> (i32, String, String) {
        lockgate(self.folder.path(), &[&["plugin", "test", "--plugin", &self.component], more].concat())
    }
}

fn lockgate(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_lockgate")).args(arguments).current_dir(folder).output().unwrap();
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    (output.status.code().unwrap(), out, err)
}
