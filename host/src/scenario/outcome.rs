//! What a plugin did in a scenario.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::log::Line;
use crate::plugin::PluginUse;

/// What a plugin did in a scenario.
#[derive(Debug, Default)]
pub struct Outcome {
    /// `proceed`, `answer` or `fail`: of its `on-request`, and of `on-request-complete` if it held the request; `refuse`
    /// where its `on-connect` would not have the connection.
    pub verdict: &'static str,
    /// The request as the backend sees it.
    pub request: Message,
    /// Its method.
    pub method: String,
    /// Its target.
    pub target: String,
    /// The response as the client sees it.
    pub response: Message,
    /// Its status.
    pub status: StatusCode,
    /// Whether it was cut short.
    pub cut: bool,
    /// The address of the backend that it picked, or none, for each attempt that it was asked about.
    pub picks: Vec<Option<String>>,
    /// Attempts that were made.
    pub attempts: u32,
    /// What it wanted after each that failed: `proceed`, `give-up`, or the address of a backend.
    pub next: Vec<String>,
    /// Its notes, and those of plugins before it.
    pub notes: Vec<(String, String)>,
    /// Lines that it logged: `info: ..`.
    pub log: Vec<String>,
    /// Its counters.
    pub counters: BTreeMap<String, u64>,
    /// Its series, by name and labels: `requests{status="200"}`.
    pub metrics: BTreeMap<String, f64>,
    /// The calls that it made, `METHOD URL` each.
    pub http: Vec<String>,
    /// Those of them that nothing was arranged for.
    pub unanswered: Vec<String>,
    /// How it failed: `on-request: trap`, and what the log says of it.
    pub failures: Vec<(String, String)>,
    /// The use that was played, for what is in its key space.
    pub(super) used: Option<std::sync::Arc<PluginUse>>,
}

/// Fields and a body.
#[derive(Debug, Default)]
pub struct Message {
    /// The fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Outcome {
    /// What is there in the key space.
    pub(super) fn kv(&self, key: &str) -> Option<Vec<u8>> {
        self.used.as_ref()?.key_space()?.get(key)
    }

    /// Takes in what was logged.
    pub(super) fn logged(&mut self, lines: Vec<Line>) {
        for line in lines.into_iter().filter(|line| line.target == "lockgate::plugin") {
            if let (Some(hook), Some(cause)) = (line.field("hook"), line.field("cause")) {
                self.failures.push((format!("{hook}: {cause}"), line.message));
            } else {
                self.log.push(format!("{}: {}", line.level.as_str().to_ascii_lowercase(), line.message));
            }
        }
    }

    /// Takes in what is exposed of the plugin of that name, as Prometheus reads it.
    pub(super) fn exposed(&mut self, text: &str, plugin: &str) {
        let own = format!("plugin=\"{plugin}\"");
        for line in text.lines() {
            let Some(rest) = line.strip_prefix("lockgate_plugin_") else { continue };
            let Some((series, value)) = rest.rsplit_once(' ') else { continue };
            let Some((name, labels)) = series.split_once('{') else { continue };
            let labels = labels.trim_end_matches('}');
            let Some(labels) = labels.strip_prefix(&own) else { continue };
            let labels = labels.trim_start_matches(',');
            let series = if labels.is_empty() { name.to_owned() } else { format!("{name}{{{labels}}}") };
            if let Ok(value) = value.parse() {
                self.metrics.insert(series, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_series_are_seen_by_their_own_names() {
        let mut outcome = Outcome::default();
        outcome.exposed(
            "# TYPE lockgate_plugin_hits counter\nlockgate_plugin_hits{plugin=\"a\"} 3\n\
             lockgate_plugin_hits{plugin=\"a\",kind=\"x y\"} 4\nlockgate_plugin_hits{plugin=\"ab\"} 5\n\
             lockgate_requests 6\n",
            "a",
        );
        let all: Vec<_> = outcome.metrics.into_iter().collect();
        assert_eq!(all, [("hits".to_owned(), 3.0), ("hits{kind=\"x y\"}".to_owned(), 4.0)]);
    }
}
