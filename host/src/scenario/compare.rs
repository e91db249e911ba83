//! What was expected, held against what happened.

use std::fmt;

use bytes::Bytes;
use http::HeaderMap;

use super::fields::Wanted;
use super::file::Expectation;
use super::outcome::Outcome;

/// Something that was otherwise than expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Where: `response.headers.location`.
    pub what: String,
    /// What was expected.
    pub expected: String,
    /// What there was.
    pub found: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}\n  - {}\n  + {}", self.what, self.expected, self.found)
    }
}

/// All differences, in the order in which things happen.
pub(super) fn compare(expect: &Expectation, outcome: &Outcome) -> Vec<Difference> {
    let mut found = Differences(Vec::new());
    found.failures(expect, outcome);
    found.equal("verdict", expect.verdict, outcome.verdict);
    found.equal("request.method", expect.method.as_deref(), &outcome.method);
    found.equal("request.target", expect.target.as_deref(), &outcome.target);
    found.headers("request", &expect.request_headers, &outcome.request.headers);
    found.body("request.body", expect.request_body.as_ref(), &outcome.request.body);
    if let Some(expected) = &expect.backend {
        // The last one is where the exchange went.
        let picked = outcome.picks.last().and_then(Option::as_ref);
        found.shown("backend", pick(expected.as_ref()), pick(picked));
    }
    if let Some(expected) = &expect.picks {
        let shown = |picks: &[Option<String>]| match picks {
            [] => "none".to_owned(),
            picks => picks.iter().map(|picked| pick(picked.as_ref())).collect::<Vec<_>>().join(", "),
        };
        found.shown("picks", shown(expected), shown(&outcome.picks));
    }
    if let Some(next) = &expect.next {
        found.shown("next", list(next), list(&outcome.next));
    }
    if let Some(status) = expect.status {
        found.shown("response.status", status.to_string(), outcome.status.as_u16().to_string());
    }
    found.headers("response", &expect.response_headers, &outcome.response.headers);
    if expect.response_body.is_some() && outcome.cut {
        found.shown("response.body", "a whole body".to_owned(), "one that is cut short".to_owned());
    }
    found.body("response.body", expect.response_body.as_ref(), &outcome.response.body);
    for (name, expected) in &expect.notes {
        let note = outcome.notes.iter().find(|(known, _)| known == name).map(|(_, value)| value);
        found.option(format!("notes.{name}"), expected.as_ref(), note);
    }
    if let Some(lines) = &expect.log {
        found.log(lines, &outcome.log);
    }
    for (key, expected) in &expect.kv {
        let value = outcome.kv(key).map(|value| text(&value));
        found.option(format!("kv.{key}"), expected.as_ref().map(|value| text(value)).as_ref(), value.as_ref());
    }
    for (name, expected) in &expect.counters {
        let count = outcome.counters.get(name).copied().unwrap_or_default();
        found.shown(&format!("counters.{name}"), expected.to_string(), count.to_string());
    }
    for (series, expected) in &expect.metrics {
        let value = outcome.metrics.get(series).map_or_else(|| "nothing".to_owned(), f64::to_string);
        found.shown(&format!("metrics.{series}"), expected.to_string(), value);
    }
    if let Some(calls) = &expect.http {
        found.shown("http", list(calls), list(&outcome.http));
    }
    found.0
}

struct Differences(Vec<Difference>);

impl Differences {
    fn shown(&mut self, what: &str, expected: String, found: String) {
        if expected != found {
            self.0.push(Difference { what: what.to_owned(), expected, found });
        }
    }

    fn equal(&mut self, what: &str, expected: Option<&str>, found: &str) {
        if let Some(expected) = expected {
            self.shown(what, format!("{expected:?}"), format!("{found:?}"));
        }
    }

    fn option(&mut self, what: String, expected: Option<&String>, found: Option<&String>) {
        let shown = |value: Option<&String>| value.map_or_else(|| "nothing".to_owned(), |value| format!("{value:?}"));
        self.shown(&what, shown(expected), shown(found));
    }

    fn body(&mut self, what: &str, expected: Option<&Bytes>, found: &Bytes) {
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            self.shown(what, format!("{:?}", text(expected)), format!("{:?}", text(found)));
        }
    }

    fn headers(&mut self, message: &str, expected: &[(String, Wanted)], found: &HeaderMap) {
        for (name, wanted) in expected {
            let values: Vec<_> = found.get_all(name).iter().map(|value| text(value.as_bytes())).collect();
            let (right, expected) = match wanted {
                Wanted::Values(wanted) => (*wanted == values, list(wanted)),
                Wanted::Any => (!values.is_empty(), "any".to_owned()),
                Wanted::None => (values.is_empty(), "none".to_owned()),
            };
            if !right {
                let found = if values.is_empty() { "none".to_owned() } else { list(&values) };
                self.0.push(Difference { what: format!("{message}.headers.{name}"), expected, found });
            }
        }
    }

    /// Each line that is expected is sought behind the one before it.
    fn log(&mut self, expected: &[String], found: &[String]) {
        let mut rest = found.iter();
        for line in expected {
            let (level, words) = line.split_once(": ").unwrap_or(("", line));
            let meant = |said: &&String| said.contains(words) && said.starts_with(level);
            if !rest.any(|said| meant(&said)) {
                let found = if found.is_empty() { "none".to_owned() } else { list(found) };
                self.0.push(Difference { what: "log".to_owned(), expected: format!("{line:?}"), found });
                return;
            }
        }
        if expected.is_empty() {
            self.shown("log", "none".to_owned(), if found.is_empty() { "none".to_owned() } else { list(found) });
        }
    }

    /// What nobody expects is a failure whatever else is looked at.
    fn failures(&mut self, expect: &Expectation, outcome: &Outcome) {
        let failures: Vec<_> = outcome.failures.iter().map(|(failure, _)| failure.clone()).collect();
        let any = expect.failures == ["any"] && !failures.is_empty();
        if !any && failures != expect.failures {
            let shown = |all: &[String]| if all.is_empty() { "none".to_owned() } else { list(all) };
            let why: Vec<_> = outcome.failures.iter().map(|(failure, why)| format!("{failure} ({why})")).collect();
            self.shown("failures", shown(&expect.failures), shown(&why));
            // A trap says little; what the plugin itself has said of it before, more.
            let errors = outcome.log.iter().filter(|line| line.starts_with("error: "));
            // The log escapes the ends of lines, which a stack has.
            let errors: Vec<_> = errors.map(|line| line.replace("\\n", "\n    ").replace("\\t", "    ")).collect();
            if !errors.is_empty() {
                self.shown("log", "no errors".to_owned(), errors.join("\n    "));
            }
        }
        if !outcome.unanswered.is_empty() {
            let expected = "an answer to each call, in [[scenario.http]]".to_owned();
            self.shown("http", expected, format!("none to {}", list(&outcome.unanswered)));
        }
    }
}

fn pick(backend: Option<&String>) -> String {
    backend.map_or_else(|| "none".to_owned(), |backend| format!("{backend:?}"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn list(all: &[String]) -> String {
    all.iter().map(|one| format!("{one:?}")).collect::<Vec<_>>().join(", ")
}
