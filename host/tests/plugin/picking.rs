//! Plugins that pick backends.

use std::sync::Arc;
use std::time::Duration;

use lockgate::config::{OnFailure, Problems, Source, parse};
use lockgate::exchange::Candidates;
use lockgate::plugin::{Cause, Hook, PluginUse, Run};
use lockgate::reason::Reason;
use lockgate::upstream::{Live, Upstream};
use serde_json::{Value, json};

use crate::scene::{Worker, bundled, exchange, guest, load, misbehave_with, on_a_worker, summary};

#[test]
fn round_robin_takes_each_in_turn_on_all_workers_together() {
    let plugin = load("turns", &bundled("round-robin"), Value::Null).unwrap();
    let picked: Vec<usize> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    on_a_worker(async |worker| {
                        let mut picked = Vec::new();
                        for _ in 0..300 {
                            let mut run = picking(&worker, &[], Live::from_slice(&[0, 2]));
                            picked.push(run.pick_backend(&plugin).await.unwrap().unwrap());
                            run.finish(summary(), |_| {});
                        }
                        picked
                    })
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    assert_eq!(picked.iter().filter(|place| **place == 0).count(), 600);
    assert_eq!(picked.iter().filter(|place| **place == 1).count(), 600);
}

#[test]
fn a_picker_sees_the_live_backends_only() {
    on_a_worker(async |worker| {
        let plugin = load("sees-live", &guest("echo-hooks"), json!({})).unwrap();
        let pick = async |wanted, live: &[u16]| {
            let mut run = picking(&worker, &[("x-backend", wanted)], Live::from_slice(live));
            run.pick_backend(&plugin).await.unwrap()
        };
        assert_eq!(pick(":3002", &[0, 1, 2]).await, Some(2));
        assert_eq!(pick(":3002", &[0, 2]).await, Some(1));
        assert_eq!(pick(":3001", &[0, 2]).await, None);
    });
}

#[test]
fn a_bad_pick_is_a_failure_of_the_plugin() {
    // Compiled once: what is in use is known.
    let _known = misbehave_with("known", "nothing", |_| {});
    on_a_worker(async |worker| {
        let deeds = [
            ("index-out-of-range", Cause::BadAnswer),
            ("backend-out-of-range", Cause::Trap),
            ("trap-in-pick", Cause::Trap),
            ("spin-in-pick", Cause::Cpu),
        ];
        for cpu in [Duration::from_millis(1), Duration::from_millis(20)] {
            for (deed, cause) in deeds {
                let deny = misbehave_with(&format!("deny-{deed}-{cpu:?}"), deed, |plugin| plugin.limits.cpu = cpu);
                assert_eq!(pick_now(&worker, &deny).await.unwrap_err(), Reason::PluginFailed, "{deed}");
                assert_eq!(deny.stats().failures, [(Hook::PickBackend, cause, 1)], "{deed}");
                assert_eq!(deny.stats().instances, 0, "{deed}");

                let skip = misbehave_with(&format!("skip-{deed}-{cpu:?}"), deed, |plugin| {
                    plugin.limits.cpu = cpu;
                    plugin.on_failure = OnFailure::Skip;
                });
                assert_eq!(pick_now(&worker, &skip).await, Ok(None), "{deed}");
            }
        }
    });
}

#[test]
fn a_picker_is_kept_for_the_next_attempt_but_not_for_the_response() {
    on_a_worker(async |worker| {
        let plugin = load("settles", &guest("attempts"), json!({ "do": "look" })).unwrap();
        let mut run = picking(&worker, &[], Live::from_slice(&[0, 1]));
        let mut other = picking(&worker, &[], Live::from_slice(&[0, 1]));
        run.pick_backend(&plugin).await.unwrap();
        other.pick_backend(&plugin).await.unwrap();
        run.pick_backend(&plugin).await.unwrap();
        assert_eq!(plugin.stats().instances_made, 2, "each has one of its own");
        run.settle(false);
        let mut third = picking(&worker, &[], Live::from_slice(&[0, 1]));
        third.pick_backend(&plugin).await.unwrap();
        assert_eq!(plugin.stats().instances_made, 2, "the first one's instance was free again");
    });
}

#[test]
fn one_that_does_nothing_but_pick_serves_the_next_exchange_at_once() {
    on_a_worker(async |worker| {
        let plugin = load("shared", &bundled("round-robin"), Value::Null).unwrap();
        let mut runs: Vec<_> = (0..9).map(|_| picking(&worker, &[], Live::from_slice(&[0, 1]))).collect();
        for run in &mut runs {
            run.pick_backend(&plugin).await.unwrap();
        }
        assert_eq!(plugin.stats().instances_made, 1);
    });
}

async fn pick_now(worker: &Worker, plugin: &Arc<PluginUse>) -> Result<Option<usize>, Reason> {
    let mut run = picking(worker, &[("x-now", "1")], Live::from_slice(&[0, 1]));
    run.pick_backend(plugin).await.map_err(|failure| failure.reason)
}

fn picking(worker: &Worker, headers: &[(&'static str, &'static str)], live: Live) -> Run {
    let mut run = worker.run(exchange(headers), &[]);
    run.exchange_mut().candidates = Some(Candidates { upstream: upstream(), live });
    run
}

fn upstream() -> Arc<Upstream> {
    let text = "
        [[listener]]
        address = '127.0.0.1:0'
        [upstream.app]
        backends = ['http://127.0.0.1:3000', 'http://127.0.0.1:3001', 'http://127.0.0.1:3002']
        [[route]]
        upstream = 'app'
    ";
    let config = parse(Source { path: "lockgate.toml".into(), text: text.to_owned() }).unwrap();
    let mut problems = Problems::new(&config.source);
    Upstream::build("app", &config.upstreams["app"], None, &config.source, &mut problems).unwrap()
}
