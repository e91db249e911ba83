//! What was said with `tracing`, as lines. Spans are not shown: what belongs to a line is in its fields.

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::{Date, Spool, escape};
use crate::config::LogFormat;

/// Makes lines and queues them.
pub(super) struct Lines {
    spool: Arc<Spool>,
    format: LogFormat,
}

impl Lines {
    pub(super) fn new(spool: Arc<Spool>, format: LogFormat) -> Self {
        Self { spool, format }
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let now = SystemTime::now();
        self.spool.line(|out| match self.format {
            LogFormat::Text => text(out, event, now),
            LogFormat::Json => json(out, event, now),
        });
    }
}

/// `2026-11-22T16:12:18.123Z  INFO lockgate::server: the message field=value`
fn text(out: &mut Vec<u8>, event: &Event<'_>, now: SystemTime) {
    Date::default().iso(out, now);
    out.extend_from_slice(match *event.metadata().level() {
        Level::ERROR => b" ERROR ",
        Level::WARN => b"  WARN ",
        Level::INFO => b"  INFO ",
        Level::DEBUG => b" DEBUG ",
        Level::TRACE => b" TRACE ",
    });
    escape::message(out, event.metadata().target());
    out.push(b':');
    event.record(&mut Message(|message: &dyn fmt::Debug| {
        out.push(b' ');
        let _ = write!(Escaped(out), "{message:?}");
    }));
    event.record(&mut TextFields(out));
    out.push(b'\n');
}

/// `{"time":"2026-11-22T16:12:18.123Z","level":"info","target":"lockgate::server","message":"...","fields":{...}}`
fn json(out: &mut Vec<u8>, event: &Event<'_>, now: SystemTime) {
    out.extend_from_slice(b"{\"time\":\"");
    Date::default().iso(out, now);
    out.extend_from_slice(b"\",\"level\":\"");
    out.extend_from_slice(match *event.metadata().level() {
        Level::ERROR => b"error",
        Level::WARN => b"warn",
        Level::INFO => b"info",
        Level::DEBUG => b"debug",
        Level::TRACE => b"trace",
    });
    out.extend_from_slice(b"\",\"target\":");
    escape::json(out, event.metadata().target());
    event.record(&mut Message(|message: &dyn fmt::Debug| {
        out.extend_from_slice(b",\"message\":");
        escape::json(out, &format!("{message:?}"));
    }));
    let mut fields = JsonFields { out, any: false };
    event.record(&mut fields);
    let any = fields.any;
    out.extend_from_slice(if any { b"}}\n" } else { b"}\n" });
}

/// Finds the message, wherever it stands among the fields.
struct Message<F>(F);

impl<F: FnMut(&dyn fmt::Debug)> Visit for Message<F> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == MESSAGE {
            (self.0)(value);
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

struct TextFields<'a>(&'a mut Vec<u8>);

impl Visit for TextFields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() != MESSAGE {
            let _ = write!(Escaped(self.0), " {field}={value:?}");
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == MESSAGE {
            return;
        }
        let one_word = !value.is_empty() && !value.contains([' ', '"']);
        let quote = if one_word { "" } else { "\"" };
        let _ = write!(Escaped(self.0), " {field}={quote}{value}{quote}");
    }
}

struct JsonFields<'a> {
    out: &'a mut Vec<u8>,
    any: bool,
}

impl JsonFields<'_> {
    fn field(&mut self, field: &Field, value: impl FnOnce(&mut Vec<u8>)) {
        if field.name() == MESSAGE {
            return;
        }
        self.out.extend_from_slice(if self.any { b"," } else { b",\"fields\":{" });
        self.any = true;
        escape::json(self.out, field.name());
        self.out.push(b':');
        value(self.out);
    }
}

impl Visit for JsonFields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.field(field, |out| escape::json(out, &format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.field(field, |out| escape::json(out, value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.field(field, |out| escape::number(out, value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.field(field, |out| out.extend(value.to_string().bytes()));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        let text = if value.is_finite() { value.to_string() } else { "null".to_owned() };
        self.field(field, |out| out.extend(text.bytes()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.field(field, |out| out.extend(value.to_string().bytes()));
    }
}

/// Makes whatever is written into it fit for one line.
struct Escaped<'a>(&'a mut Vec<u8>);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        escape::message(self.0, text);
        Ok(())
    }
}

/// The field that `tracing` gives the message.
const MESSAGE: &str = "message";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::fs;
    use std::time::Duration;

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::log::{Counts, Output, Settings};
    use crate::metrics::LogCounts;

    fn said(format: LogFormat, say: impl FnOnce()) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let counts = Counts::Shared(Arc::new(LogCounts::default()));
        let settings = Settings { name: "test", delay: Duration::ZERO, counts, report: |_| {} };
        let spool = Arc::new(Spool::start(Output::append(&path).unwrap(), settings).unwrap());
        let subscriber = tracing_subscriber::registry().with(Lines::new(spool.clone(), format));
        tracing::subscriber::with_default(subscriber, say);
        assert!(spool.close(Duration::from_secs(10)));
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn a_line_for_people() {
        let line = said(LogFormat::Text, || {
            tracing::warn!(target: "lockgate::x", backend = "http://a:1", why = "two words", n = 3, "it \"is\"\nütter\x1b[31m");
        });
        let (time, rest) = line.split_at(24);
        assert!(time.starts_with("20") && time.ends_with('Z'), "{time}");
        assert_eq!(rest, "  WARN lockgate::x: it \"is\"\\nütter\\u{1b}[31m backend=http://a:1 why=\"two words\" n=3\n");
    }

    #[test]
    fn a_line_for_machines() {
        let line = said(LogFormat::Json, || {
            tracing::error!(target: "t\"", s = "q\"\n", n = -3, u = u64::MAX, f = 0.5, b = true, d = ?Some("x"), "it {}", "\x00is");
        });
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["level"], "error");
        assert_eq!(value["target"], "t\"");
        assert_eq!(value["message"], "it \0is");
        let fields = serde_json::json!({"s": "q\"\n", "n": -3, "u": u64::MAX, "f": 0.5, "b": true, "d": "Some(\"x\")"});
        assert_eq!(value["fields"], fields);
        assert_eq!(line.matches('\n').count(), 1);
    }

    #[test]
    fn a_line_without_fields_or_message_is_still_one() {
        let line = said(LogFormat::Json, || tracing::info!("only this"));
        assert!(serde_json::from_str::<serde_json::Value>(&line).unwrap().get("fields").is_none());
        let line = said(LogFormat::Json, || tracing::info!(only = "this"));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&line).unwrap()["fields"]["only"], "this");
    }
}
