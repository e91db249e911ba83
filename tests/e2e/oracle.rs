//! What backends take for requests is what the bytes said, whatever the bytes.

use lockgate_tests::oracle::{Origin, Trial, fingerprint, forwarded_target, seeds};
use lockgate_tests::{Proxy, eventually, proxy_to};

/// How many inputs, unless `LOCKGATE_ORACLE` says otherwise: `LOCKGATE_ORACLE=1000000 cargo test --workspace --test e2e oracle`.
const INPUTS: u64 = 5000;

#[tokio::test(flavor = "multi_thread")]
async fn no_bytes_are_forwarded_otherwise_than_they_read() {
    let setting = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().expect("a number"));
    let inputs = setting("LOCKGATE_ORACLE", INPUTS);
    let origin = Origin::start();
    let proxy = proxy_to(format!("http://{}", origin.address))
        .and("[log]\naccess = \"$dir/access.log\"\nformat = \"json\"\n[limits]\nnew_connections_per_client = 10000000")
        .await;
    let seed = setting("LOCKGATE_ORACLE_SEED", 1);
    let trial = Trial { proxy: proxy.address(), seed, inputs, clients: 16, words: 4 };
    let outcome = tokio::task::spawn_blocking(move || trial.run(&seeds())).await.unwrap();
    let ledger = origin.ledger();
    let sums = (outcome.forwarded, outcome.answered, outcome.unanswered);
    println!("{inputs} inputs: {sums:?} requests forwarded, answered here, unanswered; {} reached it", ledger.requests);
    assert!(outcome.differences.is_empty(), "{}", outcome.differences.join("\n"));
    assert!(ledger.differences.is_empty(), "{}", ledger.differences.join("\n"));
    // Neither all nor nothing: the inputs are worth something.
    assert!(outcome.forwarded > inputs / 20 && outcome.answered > inputs / 20, "{outcome:?}");
    eventually("the log has it all", || logged(&proxy).0 >= ledger.requests).await;
    assert_eq!(logged(&proxy), (ledger.requests, ledger.fingerprints), "what is logged is what the backend was sent");
}

/// How many requests were forwarded according to the access log, and the sum of their fingerprints.
fn logged(proxy: &Proxy) -> (u64, u64) {
    let text = std::fs::read_to_string(proxy.folder().join("access.log")).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let lines = whole.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let forwarded = lines.filter(|line| !line["backend"].is_null() && line["reason"].is_null());
    forwarded.fold((0, 0), |(count, sum): (u64, u64), line| {
        let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        let length = usize::try_from(line["request_bytes"].as_u64().unwrap()).unwrap();
        let (id, target) = (text("request_id"), forwarded_target(&text("target")));
        (count + 1, sum.wrapping_add(fingerprint(id.as_bytes(), &text("method"), &target, length)))
    })
}
