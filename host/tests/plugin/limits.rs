//! Guests that want more than they may have.

use std::time::{Duration, Instant};

use lockgate::config::OnFailure;
use lockgate::plugin::{Cause, Hook};
use lockgate::reason::Reason;

use crate::scene::{exchange, failure, misbehave_with, on_a_worker, proceeded, summary, within};

/// Each misbehaviour, the hook that it happens in and the cause that is counted; with a budget that runs on the worker's
/// stack and with one that does not.
#[test]
fn each_misbehaviour_ends_its_own_exchange_only() {
    let deeds = [
        ("trap", Cause::Trap),
        ("panic", Cause::Trap),
        ("spin", Cause::Cpu),
        ("grow", Cause::Memory),
        ("recurse", Cause::Trap),
        ("status-999", Cause::BadAnswer),
        ("header-crlf", Cause::BadAnswer),
        ("flood-notes", Cause::Trap),
        ("flood-counters", Cause::Trap),
        ("flood-random", Cause::Trap),
        ("flood-host", Cause::HostCalls),
        ("many-labels", Cause::Trap),
        ("many-bounds", Cause::Trap),
        ("long-counter", Cause::Trap),
        ("long-series", Cause::Trap),
        ("long-note", Cause::Trap),
        ("response-status", Cause::Trap),
        ("count-backends", Cause::Trap),
    ];
    on_a_worker(async |worker| {
        for cpu in [Duration::from_millis(1), Duration::from_millis(200)] {
            for (deed, cause) in deeds {
                if deed.starts_with("flood-") && cpu < Duration::from_millis(20) {
                    continue; // It takes its time.
                }
                let plugin = misbehave_with(&format!("{deed}-{cpu:?}"), deed, |plugin| {
                    plugin.limits.cpu = cpu;
                    plugin.limits.wall = Duration::from_secs(30);
                    plugin.limits.memory = 2 << 20;
                });
                proceeded(worker.exchange(&plugin, "x-else").await);
                assert_eq!(failure(worker.exchange(&plugin, "x-now").await).reason, Reason::PluginFailed, "{deed}");
                assert_eq!(plugin.stats().failures, [(Hook::OnRequest, cause, 1)], "{deed}");
                proceeded(worker.exchange(&plugin, "x-else").await);
                // Two, if a tick came in the middle of `on-response-finish`: it then ends beside the next exchange.
                assert!(matches!(plugin.stats().instances, 1 | 2), "{deed}: {}", plugin.stats().instances);
            }
        }
    });
}

#[test]
fn misbehaviour_at_finish_is_counted_and_harms_nobody() {
    on_a_worker(async |worker| {
        for cpu in [Duration::from_millis(1), Duration::from_millis(20)] {
            for (deed, cause) in
                [("trap-in-finish", Cause::Trap), ("spin-in-finish", Cause::Cpu), ("edit-at-finish", Cause::Trap)]
            {
                let plugin = misbehave_with(&format!("{deed}-{cpu:?}"), deed, |plugin| plugin.limits.cpu = cpu);
                let mut run = worker.run(exchange(&[("x-now", "1")]), &[&plugin]);
                proceeded(run.on_request().await);
                let (done, is_done) = tokio::sync::oneshot::channel();
                run.finish(summary(), |exchange| _ = done.send(exchange.id));
                within(Duration::from_secs(5), is_done).await.unwrap();
                assert_eq!(plugin.stats().failures, [(Hook::OnResponseFinish, cause, 1)], "{deed}");
                proceeded(worker.exchange(&plugin, "x-else").await);
            }
        }
    });
}

#[test]
fn a_spinning_guest_is_stopped_in_time() {
    on_a_worker(async |worker| {
        for cpu in [Duration::from_millis(1), Duration::from_millis(2), Duration::from_millis(20)] {
            let plugin = misbehave_with(&format!("in-time-{cpu:?}"), "spin", |plugin| {
                plugin.limits.cpu = cpu;
                plugin.quarantine.failures = 0;
            });
            proceeded(worker.exchange(&plugin, "x-else").await);
            // A machine that has no time for the clock stops it late, but not each time.
            let mut quickest = Duration::MAX;
            for _ in 0..50 {
                let before = cpu_time::ThreadTime::now();
                failure(worker.exchange(&plugin, "x-now").await);
                let took = before.elapsed();
                assert!(took >= cpu, "{took:?} of {cpu:?}");
                quickest = quickest.min(took);
                if quickest < cpu + Duration::from_millis(5) {
                    break;
                }
            }
            assert!(quickest < cpu + Duration::from_millis(5), "{quickest:?} of {cpu:?}");
        }
    });
}

/// Not only do others have turns while a guest computes: one of them has one at each tick, whatever the guest is busy with.
#[test]
fn a_worker_goes_on_while_a_guest_computes() {
    on_a_worker(async |worker| {
        for deed in ["spin", "fill"] {
            let plugin = misbehave_with(&format!("beside-{deed}"), deed, |plugin| {
                plugin.limits.cpu = Duration::from_millis(200);
                plugin.limits.wall = Duration::from_secs(30);
            });
            let before = plugin.stats().interruptions;
            let mut turns = 0;
            let beside = async {
                loop {
                    tokio::task::yield_now().await;
                    turns += 1;
                }
            };
            tokio::select! {
                verdict = worker.exchange(&plugin, "x-now") => assert_eq!(failure(verdict).reason, Reason::PluginFailed),
                () = beside => {}
            }
            let ticks = plugin.stats().interruptions - before;
            // On a machine that has no time for the clock there are fewer, but never so few.
            assert!(ticks >= 10, "{deed}: {ticks} ticks");
            // The last one ends the call, and the making of the instance may have met one.
            assert!(turns + 3 >= ticks, "{deed}: the worker had {turns} turns in {ticks} ticks");
        }
    });
}

#[test]
fn wall_time_ends_a_call_that_shares_its_worker() {
    on_a_worker(async |worker| {
        let plugin = misbehave_with("wall", "spin", |plugin| {
            plugin.limits.cpu = Duration::from_secs(30);
            plugin.limits.wall = Duration::from_millis(30);
        });
        failure(worker.exchange(&plugin, "x-now").await);
        assert_eq!(plugin.stats().failures, [(Hook::OnRequest, Cause::Wall, 1)]);
        proceeded(worker.exchange(&plugin, "x-else").await);
    });
}

#[test]
fn a_client_who_leaves_in_the_middle_of_a_call_leaves_the_exchange_behind() {
    on_a_worker(async |worker| {
        let first = crate::scene::load("left-first", &crate::scene::guest("canary"), serde_json::Value::Null).unwrap();
        let spin = misbehave_with("left-spin", "spin", |plugin| plugin.limits.cpu = Duration::from_secs(30));
        for _ in 0..20 {
            let mut run = worker.run(exchange(&[("x-now", "1")]), &[&first, &spin]);
            let id = run.exchange().id;
            let left = tokio::time::timeout(Duration::from_millis(5), run.on_request()).await;
            assert!(left.is_err(), "it does not return by itself");
            assert_eq!(run.exchange().id, id);
            let (done, is_done) = tokio::sync::oneshot::channel();
            run.finish(summary(), |exchange| _ = done.send(exchange.id));
            assert_eq!(within(Duration::from_secs(5), is_done).await.unwrap(), id);
        }
        let finished = |plugin: &lockgate::plugin::PluginUse| {
            plugin.stats().calls.iter().find(|(hook, _)| *hook == Hook::OnResponseFinish).unwrap().1
        };
        assert_eq!((finished(&first), finished(&spin)), (20, 0));
        assert_eq!((first.stats().instances, spin.stats().instances), (1, 0));
        assert_eq!(spin.stats().failures, [], "a client who leaves is not the plugin's fault");
        proceeded(worker.exchange(&spin, "x-else").await);
    });
}

#[test]
fn an_exchange_waits_for_an_instance_but_not_for_ever() {
    on_a_worker(async |worker| {
        for cpu in [Duration::from_millis(1), Duration::from_millis(20)] {
            let plugin = misbehave_with(&format!("busy-{cpu:?}"), "nothing", |plugin| {
                plugin.limits.instances = 1;
                plugin.limits.cpu = cpu;
            });
            let mut holder = worker.run(exchange(&[]), &[&plugin]);
            proceeded(holder.on_request().await);
            let asked = Instant::now();
            let refused = failure(worker.exchange(&plugin, "x-any").await);
            assert_eq!(refused.reason, Reason::PluginCapacity);
            assert!(asked.elapsed() >= Duration::from_millis(90));

            // By now the other one waits: they take turns.
            let (next, ()) = tokio::join!(worker.exchange(&plugin, "x-any"), async {
                holder.finish(summary(), |_| {});
            });
            proceeded(next);
            assert_eq!((plugin.stats().instances, plugin.stats().instances_made), (1, 1));
        }
    });
}

#[test]
fn a_flood_of_log_lines_is_cut_and_counted() {
    on_a_worker(async |worker| {
        let plugin = misbehave_with("flood-log", "flood-log", |plugin| {
            plugin.limits.cpu = Duration::from_secs(10);
            plugin.limits.host_calls = 1_000_000;
        });
        let subscriber = tracing_subscriber::fmt().with_writer(std::io::sink).finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        proceeded(worker.exchange(&plugin, "x-now").await);
        assert_eq!(plugin.stats().log_lines_dropped, 100_000 - 64);
    });
}

#[test]
fn a_plugin_that_keeps_failing_is_set_aside_and_comes_back() {
    on_a_worker(async |worker| {
        let plugin = misbehave_with("quarantine", "trap", |plugin| plugin.on_failure = OnFailure::Deny);
        for _ in 0..10 {
            assert_eq!(failure(worker.exchange(&plugin, "x-now").await).reason, Reason::PluginFailed);
        }
        assert_eq!(failure(worker.exchange(&plugin, "x-else").await).reason, Reason::PluginQuarantined);
        assert_eq!(plugin.stats().quarantined, Some(Duration::from_secs(1)));
        assert!(plugin.stats().failures.contains(&(Hook::OnRequest, Cause::Quarantined, 1)));
        tokio::time::sleep(Duration::from_millis(1050)).await;
        assert_eq!(failure(worker.exchange(&plugin, "x-now").await).reason, Reason::PluginFailed, "one may try");
        assert_eq!(plugin.stats().quarantined, Some(Duration::from_secs(2)));
        tokio::time::sleep(Duration::from_millis(2050)).await;
        proceeded(worker.exchange(&plugin, "x-else").await);
        assert_eq!(plugin.stats().quarantined, None);
        proceeded(worker.exchange(&plugin, "x-else").await);
    });
}

#[test]
fn counters_are_exact_across_workers() {
    let plugin = crate::scene::load("exact", &crate::scene::guest("echo-hooks"), serde_json::json!({})).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                on_a_worker(async |worker| {
                    for _ in 0..500 {
                        proceeded(worker.exchange(&plugin, "x-any").await);
                    }
                });
            });
        }
    });
    let calls = plugin.stats().calls;
    assert!(calls.contains(&(Hook::OnRequest, 2000)) && calls.contains(&(Hook::OnResponseFinish, 2000)), "{calls:?}");
    assert_eq!(plugin.stats().instances, 0, "the workers are gone, and their instances with them");
}

#[test]
fn bytes_that_are_logged_are_limited_too() {
    on_a_worker(async |worker| {
        let plugin = misbehave_with("flood-log-bytes", "flood-log", |plugin| {
            plugin.limits.cpu = Duration::from_secs(10);
            plugin.limits.host_calls = 1_000_000;
            plugin.limits.log = 100;
        });
        let subscriber = tracing_subscriber::fmt().with_writer(std::io::sink).finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        proceeded(worker.exchange(&plugin, "x-now").await);
        // "line 0 of a flood" and so on: five of them are 85 bytes.
        assert_eq!(plugin.stats().log_lines_dropped, 100_000 - 5);
    });
}

#[test]
fn a_call_may_call_the_host_so_often_and_the_next_call_again() {
    on_a_worker(async |worker| {
        let plugin = misbehave_with("host-calls", "nothing", |plugin| plugin.limits.host_calls = 1);
        // It looks for one header in each of its hooks.
        for _ in 0..3 {
            proceeded(worker.exchange(&plugin, "x-any").await);
        }
        assert_eq!(plugin.stats().failures, []);
    });
}

#[test]
fn what_is_handed_over_in_one_call_is_limited() {
    on_a_worker(async |worker| {
        let plugin = misbehave_with("hand-over", "hand-over", |plugin| plugin.limits.cpu = Duration::from_secs(1));
        failure(worker.exchange(&plugin, "x-now").await);
        assert_eq!(plugin.stats().failures, [(Hook::OnRequest, Cause::Trap, 1)]);
        proceeded(worker.exchange(&plugin, "x-else").await);
    });
}
