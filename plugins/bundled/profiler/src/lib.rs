//! Tells how long requests take: a line in the log and a histogram.

use std::collections::BTreeMap;

use lockgate_plugin::log::{self, Level};
use lockgate_plugin::{End, Method, OnResponseFinish, Plugin, Summary, exchange, metrics, request};
use serde::Deserialize;

struct Profiler {
    config: Config,
    /// By the route's number, the series that have been opened: one for each method and status class.
    series: BTreeMap<u32, [[Option<metrics::Series>; CLASSES.len()]; METHODS.len()]>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default)]
    log: Log,
    slow_threshold_ms: Option<u64>,
}

/// Which exchanges get a line.
#[derive(Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Log {
    #[default]
    All,
    Slow,
    Off,
}

impl Plugin for Profiler {
    type Config = Config;

    fn new(config: Config) -> Result<Self, String> {
        if config.log == Log::Slow && config.slow_threshold_ms.is_none() {
            return Err("log: \"slow\" needs slow_threshold_ms, to tell what is slow".to_owned());
        }
        Ok(Self { config, series: BTreeMap::new() })
    }
}

impl OnResponseFinish for Profiler {
    fn on_response_finish(&mut self, summary: Summary) {
        #[expect(clippy::cast_precision_loss, reason = "exact up to 104 days")]
        metrics::observe(self.series(&summary), summary.total_nanos as f64 / 1e9);

        let slow = self.config.slow_threshold_ms.is_some_and(|limit| summary.total_nanos / 1_000_000 >= limit);
        let level = if slow { Level::Warn } else { Level::Info };
        let wanted = match self.config.log {
            Log::All => true,
            Log::Slow => slow,
            Log::Off => false,
        };
        if wanted && log::enabled(level) {
            log::log(level, &line(&request::method(), &request::path(), &summary));
        }
    }
}

impl Profiler {
    /// The series for this route, method and status, opened if it is the first of its kind in this instance.
    fn series(&mut self, summary: &Summary) -> metrics::Series {
        // Clients can send any method, and each label would be a series: the contract's list ends with "other".
        let method = summary.method as usize;
        let hundreds = usize::from(summary.status / 100);
        let class = if hundreds < CLASSES.len() { hundreds } else { 0 };
        *self.series.entry(summary.route).or_default()[method][class].get_or_insert_with(|| {
            let labels = [("route", &*exchange::route()), ("method", METHODS[method]), ("status", CLASSES[class])];
            metrics::histogram("request_duration_seconds", &labels, &BOUNDS)
        })
    }
}

/// `Completed GET /x 200 12.3 ms`
fn line(method: &str, path: &str, summary: &Summary) -> String {
    let (verb, reason) = match summary.end {
        End::Complete => ("Completed", ""),
        End::ClientGone => ("Ended", ", client gone"),
        End::UpstreamTruncated => ("Ended", ", cut short by the backend"),
        End::TimedOut => ("Ended", ", timed out"),
        End::Aborted => ("Ended", ", aborted"),
    };
    let tenths = (summary.total_nanos + 50_000) / 100_000;
    let mut line = String::with_capacity(64 + path.len());
    for word in [verb, " ", method, " ", path, " "] {
        line.push_str(word);
    }
    push_number(&mut line, summary.status.into());
    line.push(' ');
    push_number(&mut line, tenths / 10);
    line.push('.');
    push_number(&mut line, tenths % 10);
    line.push_str(" ms");
    line.push_str(reason);
    line
}

/// Writes a number. `write!` would make the whole hook an eighth slower, and it runs for each request.
fn push_number(line: &mut String, number: u64) {
    if number >= 10 {
        push_number(line, number / 10);
    }
    line.push(char::from(b'0' + (number % 10) as u8));
}

/// In the order of the contract.
const METHODS: [&str; 1 + Method::Other as usize] =
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "other"];

/// By the hundreds of the status, 0 being no response at all.
const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// In seconds.
const BOUNDS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

lockgate_plugin::config_schema!("../config.schema.json");
lockgate_plugin::export!(Profiler: OnResponseFinish);

#[cfg(test)]
mod tests;
