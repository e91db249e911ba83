//! Prometheus' text format (exposition format 0.0.4).

use std::fmt::Write as _;

/// Writes families and their samples. A family is announced once and its samples follow it.
#[derive(Debug)]
pub struct Text<'a> {
    out: &'a mut String,
    family: String,
}

/// What kind of family it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows; its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// `_bucket`, `_sum` and `_count`.
    Histogram,
}

impl<'a> Text<'a> {
    /// Appends to `out`.
    #[must_use]
    pub fn new(out: &'a mut String) -> Self {
        Self { out, family: String::new() }
    }

    /// Announces a family; the samples that follow are its.
    pub fn family(&mut self, name: &str, kind: Kind, help: &str) {
        name.clone_into(&mut self.family);
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        self.out.push_str("# HELP ");
        self.out.push_str(name);
        self.out.push(' ');
        for c in help.chars() {
            match c {
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                c => self.out.push(c),
            }
        }
        let _ = writeln!(self.out, "\n# TYPE {name} {kind}");
    }

    /// One sample of the family announced last. `suffix` is `_bucket`, `_sum`, `_count` or nothing.
    pub fn sample(&mut self, suffix: &str, labels: &[(&str, &str)], value: f64) {
        self.series(suffix, labels);
        let _ = match value {
            f64::INFINITY => writeln!(self.out, "+Inf"),
            f64::NEG_INFINITY => writeln!(self.out, "-Inf"),
            value => writeln!(self.out, "{value}"),
        };
    }

    /// One sample that is a whole number.
    pub fn count(&mut self, suffix: &str, labels: &[(&str, &str)], value: u64) {
        self.series(suffix, labels);
        let _ = writeln!(self.out, "{value}");
    }

    fn series(&mut self, suffix: &str, labels: &[(&str, &str)]) {
        self.out.push_str(&self.family);
        self.out.push_str(suffix);
        for (place, (name, value)) in labels.iter().enumerate() {
            self.out.push(if place == 0 { '{' } else { ',' });
            self.out.push_str(name);
            self.out.push_str("=\"");
            for c in value.chars() {
                match c {
                    '\\' => self.out.push_str("\\\\"),
                    '"' => self.out.push_str("\\\""),
                    '\n' => self.out.push_str("\\n"),
                    c => self.out.push(c),
                }
            }
            self.out.push('"');
        }
        self.out.push_str(if labels.is_empty() { " " } else { "} " });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_cannot_break_out_of_their_quotes() {
        let mut out = String::new();
        let mut text = Text::new(&mut out);
        text.family("x_total", Kind::Counter, "a \\ and\na line");
        text.count("", &[("a", "q\"\\\n}"), ("b", "ä")], 7);
        assert_eq!(
            out,
            "# HELP x_total a \\\\ and\\na line\n# TYPE x_total counter\nx_total{a=\"q\\\"\\\\\\n}\",b=\"ä\"} 7\n"
        );
    }

    #[test]
    fn numbers_are_written_as_prometheus_reads_them() {
        let mut out = String::new();
        let mut text = Text::new(&mut out);
        text.family("x", Kind::Gauge, "x");
        for value in [0.0, 1.5, 1e-9, f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
            text.sample("", &[], value);
        }
        assert!(out.ends_with("\nx 0\nx 1.5\nx 0.000000001\nx +Inf\nx -Inf\nx NaN\n"), "{out}");
    }
}
