//! The plugins' own metrics, as Prometheus reads them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::Ordering;

use super::imports::metrics::{Histogram, Series, Value};

/// Series of all uses, put together: two uses of one plugin share its name, so what they count is added up.
#[derive(Debug, Default)]
pub(super) struct Exposition {
    families: BTreeMap<(String, &'static str), BTreeMap<String, Sum>>,
}

#[derive(Debug)]
enum Sum {
    Count(u64),
    Level(f64),
    Histogram { bounds: Vec<f64>, buckets: Vec<u64>, sum: f64 },
}

impl Exposition {
    /// Adds one series of that plugin.
    pub(super) fn add(&mut self, tenant: Option<&str>, plugin: &str, series: &Series) {
        let name = format!("lockgate_plugin_{}", sanitised(&series.name));
        let mut labels = tenant.map(|tenant| format!("tenant=\"{}\",", escaped(tenant))).unwrap_or_default();
        let _ = write!(labels, "plugin=\"{}\"", escaped(plugin));
        for (name, value) in &series.labels {
            // What the host says of a series is not for plugins to say.
            let name = match sanitised(name) {
                taken if ["tenant", "plugin", "le"].contains(&taken.as_str()) => format!("label_{taken}"),
                name => name,
            };
            let _ = write!(labels, ",{name}=\"{}\"", escaped(value));
        }
        let family = self.families.entry((name, series.value.kind())).or_default();
        match family.get_mut(&labels) {
            Some(sum) => sum.add(&series.value),
            None => {
                family.insert(labels, Sum::of(&series.value));
            }
        }
    }

    /// Appends everything.
    pub(super) fn write(&self, out: &mut String) {
        let mut written = "";
        for ((name, kind), family) in &self.families {
            // One name cannot be of two kinds.
            let other = if written == name { format!("_{kind}") } else { String::new() };
            written = name;
            let _ = writeln!(out, "# TYPE {name}{other} {kind}");
            for (labels, sum) in family {
                sum.write(out, &format!("{name}{other}"), labels);
            }
        }
    }
}

impl Sum {
    fn of(value: &Value) -> Self {
        match value {
            Value::Counter(count) => Self::Count(count.load(Ordering::Relaxed)),
            Value::Gauge(level) => Self::Level(f64::from_bits(level.load(Ordering::Relaxed))),
            Value::Histogram(Histogram { bounds, buckets, sum }) => Self::Histogram {
                bounds: bounds.clone(),
                buckets: buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect(),
                sum: f64::from_bits(sum.load(Ordering::Relaxed)),
            },
        }
    }

    fn add(&mut self, value: &Value) {
        match (self, Self::of(value)) {
            (Self::Count(sum), Self::Count(count)) => *sum = sum.wrapping_add(count),
            (Self::Level(sum), Self::Level(level)) => *sum += level,
            (
                Self::Histogram { bounds, buckets, sum },
                Self::Histogram { bounds: other_bounds, buckets: other_buckets, sum: other_sum },
            ) if *bounds == other_bounds => {
                buckets.iter_mut().zip(other_buckets).for_each(|(bucket, other)| *bucket += other);
                *sum += other_sum;
            }
            // Two uses that do not agree on the bounds cannot be added up; the first is shown.
            _ => {}
        }
    }

    fn write(&self, out: &mut String, name: &str, labels: &str) {
        let _ = match self {
            Self::Count(count) => writeln!(out, "{name}{{{labels}}} {count}"),
            Self::Level(level) => writeln!(out, "{name}{{{labels}}} {}", number(*level)),
            Self::Histogram { bounds, buckets, sum } => {
                let mut below = 0;
                for (place, count) in buckets.iter().enumerate() {
                    below += count;
                    let bound = bounds.get(place).copied().unwrap_or(f64::INFINITY);
                    let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{}\"}} {below}", number(bound));
                }
                writeln!(out, "{name}_sum{{{labels}}} {}\n{name}_count{{{labels}}} {below}", number(*sum))
            }
        };
    }
}

fn number(value: f64) -> String {
    match value {
        f64::INFINITY => "+Inf".into(),
        f64::NEG_INFINITY => "-Inf".into(),
        value => value.to_string(),
    }
}

/// A name of which nothing but letters, digits and underscores is left.
fn sanitised(name: &str) -> String {
    let mut clean: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if clean.starts_with(|c: char| c.is_ascii_digit()) || clean.is_empty() {
        clean.insert(0, '_');
    }
    clean
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
