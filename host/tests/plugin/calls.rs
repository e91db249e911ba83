//! The walk of an exchange through its chain.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use lockgate::config::{Isolation, OnFailure};
use lockgate::exchange::HeaderEdit;
use lockgate::plugin::{Cause, Hook, Verdict};
use lockgate::reason::Reason;
use serde_json::{Value, json};

use crate::scene::{
    answered, exchange, failure, guest, load, misbehave, misbehave_with, on_a_worker, plugins, proceeded, summary,
};

#[test]
fn hooks_run_in_order_and_the_first_answer_wins() {
    on_a_worker(async |worker| {
        let a = load("order-a", &guest("echo-hooks"), json!({ "name": "a" })).unwrap();
        let b = load("order-b", &guest("echo-hooks"), json!({ "name": "b" })).unwrap();
        let mut run = worker.run(exchange(&[]), &[&a, &b]);
        proceeded(run.on_request().await);
        assert_eq!(run.exchange().notes, [("hooks".to_owned(), "a:on-request b:on-request ".to_owned())]);
        assert_eq!(run.exchange().response_edits.len(), 2);
        assert!(matches!(&run.exchange().response_edits[0], HeaderEdit::Append(_, value) if value == "a"));
        run.finish(summary(), |_| {});

        let mut run = worker.run(exchange(&[("x-answer", "403"), ("x-answer-by", "a")]), &[&a, &b]);
        assert_eq!(answered(run.on_request().await), 403);
        assert_eq!(run.exchange().notes[0].1, "a:on-request ");
        run.finish(summary(), |_| {});
        let calls = |plugin: &lockgate::plugin::PluginUse, hook| {
            plugin.stats().calls.iter().find(|(known, _)| *known == hook).unwrap().1
        };
        assert_eq!((calls(&a, Hook::OnResponseFinish), calls(&b, Hook::OnResponseFinish)), (2, 1));
        assert_eq!((calls(&a, Hook::OnRequest), calls(&b, Hook::OnRequest)), (2, 1));
    });
}

#[test]
fn finish_runs_done_once_with_the_exchange() {
    on_a_worker(async |worker| {
        let plugin = load("done", &guest("echo-hooks"), json!({ "name": "a" })).unwrap();
        let mut run = worker.run(exchange(&[]), &[&plugin]);
        proceeded(run.on_request().await);
        let id = run.exchange().id;
        let seen = Rc::new(Cell::new(0));
        let told = seen.clone();
        run.finish(summary(), move |exchange| told.set(exchange.id));
        assert_eq!(seen.get(), id, "it ran at once");
    });
}

#[test]
fn an_exchange_keeps_its_instance_and_the_next_one_reuses_it() {
    on_a_worker(async |worker| {
        let canary = load("reuse", &guest("canary"), Value::Null).unwrap();
        for _ in 0..3 {
            proceeded(worker.exchange(&canary, "x-any").await);
        }
        assert_eq!((canary.stats().instances, canary.stats().instances_made), (1, 1));
        let mut first = worker.run(exchange(&[]), &[&canary]);
        let mut second = worker.run(exchange(&[]), &[&canary]);
        proceeded(first.on_request().await);
        proceeded(second.on_request().await);
        assert_eq!(canary.stats().instances, 2);
        first.finish(summary(), |_| {});
        second.finish(summary(), |_| {});
        assert_eq!(canary.stats().failures, []);
    });
}

#[test]
fn isolation_by_exchange_makes_an_instance_each() {
    on_a_worker(async |worker| {
        let mut plugin = guest("canary");
        plugin.isolation = Isolation::Exchange;
        let canary = load("isolated", &plugin, Value::Null).unwrap();
        for _ in 0..5 {
            proceeded(worker.exchange(&canary, "x-any").await);
        }
        assert_eq!((canary.stats().instances, canary.stats().instances_made), (0, 5));
        assert_eq!(canary.stats().failures, []);
    });
}

#[test]
fn a_failure_denies_or_is_skipped_as_configured_and_the_next_exchange_is_well() {
    on_a_worker(async |worker| {
        let deny = misbehave("deny", "trap");
        assert_eq!(failure(worker.exchange(&deny, "x-now").await).reason, Reason::PluginFailed);
        proceeded(worker.exchange(&deny, "x-else").await);
        assert_eq!(deny.stats().failures, [(Hook::OnRequest, Cause::Trap, 1)]);
        assert_eq!(deny.stats().instances_made, 2, "the one that trapped was not used again");

        let skip = misbehave_with("skip", "trap", |plugin| plugin.on_failure = OnFailure::Skip);
        proceeded(worker.exchange(&skip, "x-now").await);
        assert_eq!(skip.stats().failures, [(Hook::OnRequest, Cause::Trap, 1)]);
    });
}

#[test]
fn finish_is_for_those_whose_on_request_ran_well() {
    on_a_worker(async |worker| {
        let first = load("ran-first", &guest("echo-hooks"), json!({ "name": "a" })).unwrap();
        let trap = misbehave("ran-trap", "trap");
        let last = load("ran-last", &guest("echo-hooks"), json!({ "name": "b" })).unwrap();
        let mut run = worker.run(exchange(&[("x-now", "1")]), &[&first, &trap, &last]);
        failure(run.on_request().await);
        run.finish(summary(), |_| {});
        let finishes = |plugin: &lockgate::plugin::PluginUse| {
            let calls = plugin.stats().calls;
            calls.iter().find(|(hook, _)| *hook == Hook::OnResponseFinish).map(|(_, count)| *count)
        };
        assert_eq!((finishes(&first), finishes(&trap), finishes(&last)), (Some(1), Some(0), Some(0)));
    });
}

#[test]
fn edits_pass_the_gate_of_the_network() {
    on_a_worker(async |worker| {
        let plugin = misbehave("gate", "forbidden-edits");
        let Verdict::Answer(answer) = worker.exchange(&plugin, "x-now").await else { panic!("no answer") };
        let told = String::from_utf8(answer.body.to_vec()).unwrap();
        assert!(told.contains("request x split: Err(EditError::InvalidName)"), "{told}");
        assert!(told.contains("response x-split: Err(EditError::InvalidValue)"), "{told}");
        assert!(told.contains("path: Err(EditError::InvalidValue)"), "{told}");
    });
}

#[test]
fn a_plugin_without_configure_or_finish_works() {
    on_a_worker(async |worker| {
        let bare = load("bare-call", &guest("bare"), Value::Null).unwrap();
        assert_eq!(answered(worker.exchange(&bare, "x-any").await), 200);
        assert_eq!(bare.stats().hooks, [Hook::OnRequest]);
        assert!(!bare.picks_backends());
    });
}

#[test]
fn series_show_up_for_prometheus() {
    on_a_worker(async |worker| {
        let plugin = misbehave_with("series", "flood-series", |plugin| plugin.limits.cpu = Duration::from_secs(1));
        proceeded(worker.exchange(&plugin, "x-now").await);
        let mut text = String::new();
        plugins().expose(&mut text);
        assert!(text.contains("# TYPE lockgate_plugin_flood counter\n"), "{text}");
        assert!(text.contains("lockgate_plugin_flood{plugin=\"series\",name=\"7\"} 1\n"), "{text}");
        assert!(text.contains("lockgate_plugin_flood{plugin=\"series\",overflow=\"true\"} 1000\n"), "{text}");
    });
}
