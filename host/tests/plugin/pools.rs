//! How long instances live.

use serde_json::{Value, json};

use crate::scene::{exchange, guest, load, on_a_worker, proceeded, summary};

#[test]
fn an_instance_is_replaced_after_so_many_exchanges() {
    on_a_worker(async |worker| {
        let mut plugin = guest("canary");
        plugin.limits.exchanges = 3;
        let canary = load("worn", &plugin, Value::Null).unwrap();
        for _ in 0..7 {
            proceeded(worker.exchange(&canary, "x-any").await);
        }
        assert_eq!(canary.stats().instances_made, 3);
        assert_eq!(canary.stats().failures, []);
    });
}

#[test]
fn what_a_reload_has_given_up_is_dropped() {
    on_a_worker(async |worker| {
        let kept = load("kept", &guest("canary"), Value::Null).unwrap();
        let given_up = load("given-up", &guest("canary"), Value::Null).unwrap();
        let mut under_way = worker.run(exchange(&[]), &[&given_up]);
        proceeded(under_way.on_request().await);
        proceeded(worker.exchange(&kept, "x-any").await);
        proceeded(worker.exchange(&given_up, "x-any").await);
        assert_eq!((kept.stats().instances, given_up.stats().instances), (1, 2));
        worker.pools.retain(std::slice::from_ref(&kept));
        assert_eq!((kept.stats().instances, given_up.stats().instances), (1, 1), "one is lent");
        under_way.finish(summary(), |_| {});
        assert_eq!((kept.stats().instances, given_up.stats().instances), (1, 0));
        assert_eq!(given_up.stats().calls.iter().map(|(_, count)| count).sum::<u64>(), 2 + 2 + 2, "numbers are kept");
        assert_eq!(given_up.stats().failures, []);
    });
}

#[test]
fn nobody_need_say_so_for_a_forgotten_use_to_go() {
    on_a_worker(async |worker| {
        let forgotten = load("forgotten", &guest("canary"), Value::Null).unwrap();
        proceeded(worker.exchange(&forgotten, "x-any").await);
        let digest = forgotten.digest();
        drop(forgotten);
        let next = load("forgotten-next", &guest("echo-hooks"), json!({})).unwrap();
        proceeded(worker.exchange(&next, "x-any").await);
        // A use of that name is a new one: the old one could not be found again, and nothing of it is left.
        let again = load("forgotten", &guest("canary"), Value::Null).unwrap();
        assert_eq!((again.digest(), again.stats().instances_made), (digest, 0));
    });
}
