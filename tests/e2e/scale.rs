//! One worker or sixty-four.

use std::collections::HashSet;

use lockgate_tests::{backend, client, load, proxy};

#[tokio::test]
async fn one_worker_or_sixty_four_serve_alike_and_share_one_round_robin() {
    for workers in [1, 64] {
        for balance in ["\"round-robin\"", "{ plugin = \"rr\" }"] {
            let (one, two, three) = (backend().says("x").await, backend().says("x").await, backend().says("x").await);
            let proxy = proxy(&format!(
                "[server]\nworkers = {workers}\ngrace = \"5s\"\n[upstream.app]\nbackends = [\"$one\", \"$two\", \"$three\"]\n\
                 balance = {balance}\n[plugin.rr]\nbundled = \"round-robin\"\n[[route]]\nupstream = \"app\"\n"
            ))
            .set("one", one.url())
            .set("two", two.url())
            .set("three", three.url())
            .await;
            // Each client is on a connection of its own, so on any of the workers.
            for _ in 0..30 {
                assert_eq!(client(proxy.address()).await.get("/").await.text(), "x");
            }
            let counts = [one.ledger.count(), two.ledger.count(), three.ledger.count()];
            assert_eq!(counts, [10; 3], "{workers} workers, {balance}");
            let work = load(proxy.address(), "/", 16, false);
            work.progress(300).await;
            let tally = work.stop().await;
            assert!(tally.bad.is_empty() && tally.unanswered == 0, "{tally:?}");
            proxy.stop().await;
        }
    }
}

#[tokio::test]
async fn weights_are_exact() {
    let (one, two) = (backend().says("x").await, backend().says("x").await);
    let proxy = proxy(
        "[upstream.app]\nbackends = [{ address = \"$one\", weight = 3 }, \"$two\"]\n[[route]]\nupstream = \"app\"",
    )
    .set("one", one.url())
    .set("two", two.url())
    .await;
    for _ in 0..40 {
        assert_eq!(client(proxy.address()).await.get("/").await.text(), "x");
    }
    assert_eq!([one.ledger.count(), two.ledger.count()], [30, 10]);
}

/// Of each of which the code is there once, however many load it at the same time.
#[tokio::test]
async fn hundreds_of_uses_share_one_plugins_code() {
    let one = |number: usize| {
        format!(
            "[plugin.p{number}]\nbundled = \"profiler\"\n[[route]]\npath = \"/{number}\"\nplugins = [\"p{number}\"]\n\
             respond = {{ body = \"{number}\" }}\n"
        )
    };
    let proxy = proxy(&(0..USES).map(one).collect::<String>()).await;
    let mut client = client(proxy.address()).await;
    for number in [0, USES / 2, USES - 1] {
        assert_eq!(client.get(&format!("/{number}")).await.text(), number.to_string());
    }
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", proxy.pid())).unwrap();
    let images = maps.lines().filter(|line| line.contains("wasm-memory-image"));
    // The fifth column is the number of the file that is mapped.
    let images: HashSet<_> = images.filter_map(|line| line.split_whitespace().nth(4)).collect();
    assert_eq!(images.len(), 1, "{images:?}");
}

const USES: usize = 300;
