//! What is said with `tracing` in one place, kept for whoever called for it instead of being written.

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::subscriber::Subscriber;
use tracing::{Event, Level};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// What was said, in order.
#[derive(Debug, Clone, Default)]
pub struct Overheard(Arc<Mutex<Vec<Line>>>);

/// One line of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// How loud.
    pub level: Level,
    /// Who.
    pub target: &'static str,
    /// What.
    pub message: String,
    /// And what else.
    pub fields: Vec<(&'static str, String)>,
}

impl Overheard {
    /// An empty one, and what fills it with what this process says from `level` on.
    #[must_use]
    pub fn new(level: Level) -> (Self, impl Subscriber + Send + Sync) {
        let overheard = Self::default();
        let filter = Targets::new().with_target("lockgate", level);
        let subscriber = tracing_subscriber::registry().with(filter).with(overheard.clone());
        (overheard, subscriber)
    }

    /// All that was said so far.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The same, which is then forgotten.
    #[must_use]
    pub fn take(&self) -> Vec<Line> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Line {
    /// What it says of `name`, if anything.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }
}

impl<S: Subscriber> Layer<S> for Overheard {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let mut line =
            Line { level: *metadata.level(), target: metadata.target(), message: String::new(), fields: Vec::new() };
        event.record(&mut line);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.push((field.name(), value.to_owned()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            // Writing to a String cannot fail.
            let _ = write!(self.message, "{value:?}");
        } else {
            self.fields.push((field.name(), format!("{value:?}")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_kept_with_their_fields_from_a_level_on() {
        let (overheard, subscriber) = Overheard::new(Level::WARN);
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(target: "lockgate::plugin", plugin = "a", times = 2, "it {}", "failed");
            tracing::info!(target: "lockgate::plugin", "quieter");
            tracing::error!(target: "other", "not ours");
        });
        let lines = overheard.take();
        assert_eq!(lines.len(), 1, "{lines:?}");
        let line = &lines[0];
        assert_eq!((line.level, line.message.as_str(), line.field("plugin")), (Level::WARN, "it failed", Some("a")));
        assert_eq!((line.field("times"), line.field("x")), (Some("2"), None));
        assert!(overheard.lines().is_empty());
    }
}
