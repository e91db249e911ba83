#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use lockgate_plugin::{configured, testing};

fn profiler(config: &str) -> Profiler {
    configured(config).unwrap()
}

fn summary(status: u16, total_nanos: u64) -> Summary {
    Summary {
        method: Method::Get,
        route: 1,
        status,
        request_bytes: 0,
        response_bytes: 0,
        first_byte_nanos: 0,
        total_nanos,
        attempts: 1,
        end: End::Complete,
    }
}

fn log() -> Vec<(Level, String)> {
    testing::host(|host| std::mem::take(&mut host.log))
}

#[test]
fn every_exchange_gets_a_line() {
    testing::host(|host| host.path = "/x".to_owned());
    profiler("{}").on_response_finish(summary(200, 12_345_678));
    assert_eq!(log(), [(Level::Info, "Completed GET /x 200 12.3 ms".to_owned())]);
}

#[test]
fn a_broken_exchange_is_not_called_complete() {
    let summary = Summary { end: End::ClientGone, ..summary(0, 990_000) };
    profiler("{}").on_response_finish(summary);
    assert_eq!(log(), [(Level::Info, "Ended GET / 0 1.0 ms, client gone".to_owned())]);
}

#[test]
fn only_slow_ones_are_logged_if_so_configured() {
    let mut profiler = profiler(r#"{"log": "slow", "slow_threshold_ms": 100}"#);
    profiler.on_response_finish(summary(200, 99_999_999));
    assert_eq!(log(), []);
    profiler.on_response_finish(summary(200, 100_000_000));
    assert_eq!(log(), [(Level::Warn, "Completed GET / 200 100.0 ms".to_owned())]);
}

#[test]
fn off_logs_nothing_and_still_measures() {
    let mut profiler = profiler(r#"{"log": "off"}"#);
    profiler.on_response_finish(summary(200, 1));
    assert_eq!(log(), []);
    assert_eq!(testing::host(|host| host.series[0].values.len()), 1);
}

#[test]
fn a_series_is_opened_once_for_route_method_and_status_class() {
    let mut profiler = profiler(r#"{"log": "off"}"#);
    for (name, route, method, status) in [
        ("a", 1, Method::Get, 200),
        ("a", 1, Method::Get, 204),
        ("a", 1, Method::Get, 0),
        ("b", 2, Method::Post, 503),
        ("b", 2, Method::Other, 999),
    ] {
        testing::host(|host| host.route = name.to_owned());
        profiler.on_response_finish(Summary { route, method, ..summary(status, 500_000_000) });
    }
    let series = testing::host(|host| std::mem::take(&mut host.series));
    let told: Vec<_> =
        series.iter().map(|s| (s.labels.iter().map(|l| l.1.as_str()).collect(), s.values.len())).collect();
    let expected: [(Vec<_>, _); 4] = [
        (vec!["a", "GET", "2xx"], 2),
        (vec!["a", "GET", "none"], 1),
        (vec!["b", "POST", "5xx"], 1),
        (vec!["b", "other", "none"], 1),
    ];
    assert_eq!(told, expected);
    assert!(series.iter().all(|series| series.name == "request_duration_seconds" && series.values[0] == 0.5));
}

#[test]
fn wrong_configurations_are_told_in_a_sentence() {
    let error = |config| configured::<Profiler>(config).err().unwrap();
    assert_eq!(error(r#"{"log": "slow"}"#), r#"log: "slow" needs slow_threshold_ms, to tell what is slow"#);
    assert_eq!(error(r#"{"logs": "all"}"#), "unknown field `logs`, expected `log` or `slow_threshold_ms`");
    assert_eq!(error(r#"{"log": "some"}"#), "log: unknown variant `some`, expected one of `all`, `slow`, `off`");
}
