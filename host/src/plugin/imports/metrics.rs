//! `lockgate:plugin/metrics`

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use smallvec::SmallVec;

use super::super::host::{Host, Misuse};
use super::{Cx, LinkerInstance};

type Labels = Vec<(String, String)>;

pub(super) fn link(metrics: &mut LinkerInstance<'_, Host>) -> wasmtime::Result<()> {
    metrics.func_wrap("counter", |mut cx: Cx<'_>, (name, labels): (String, Labels)| {
        open(&mut cx, name, labels, Kind::Counter)
    })?;
    metrics.func_wrap("gauge", |mut cx: Cx<'_>, (name, labels): (String, Labels)| {
        open(&mut cx, name, labels, Kind::Gauge)
    })?;
    metrics.func_wrap("histogram", |mut cx: Cx<'_>, (name, labels, bounds): (String, Labels, Vec<f64>)| {
        if bounds.len() > MOST_BUCKETS || !bounds.is_sorted_by(|low, high| low < high) {
            return Err(Misuse::Bound(format!("bounds are ascending, and at most {MOST_BUCKETS}")).into());
        }
        open(&mut cx, name, labels, Kind::Histogram(bounds))
    })?;
    metrics.func_wrap("add", |cx: Cx<'_>, (series, by): (u32, u64)| match cx.data().series.get(series)? {
        Value::Counter(count) => {
            count.fetch_add(by, Ordering::Relaxed);
            Ok(())
        }
        _ => Err(other_kind(series, "counter")),
    })?;
    metrics.func_wrap("set", |cx: Cx<'_>, (series, value): (u32, f64)| match cx.data().series.get(series)? {
        Value::Gauge(gauge) => {
            gauge.store(value.to_bits(), Ordering::Relaxed);
            Ok(())
        }
        _ => Err(other_kind(series, "gauge")),
    })?;
    metrics.func_wrap("observe", |cx: Cx<'_>, (series, value): (u32, f64)| match cx.data().series.get(series)? {
        Value::Histogram(histogram) => {
            histogram.observe(value);
            Ok(())
        }
        _ => Err(other_kind(series, "histogram")),
    })
}

fn open(cx: &mut Cx<'_>, name: String, labels: Labels, kind: Kind) -> wasmtime::Result<(u32,)> {
    let too_long = |text: &str| text.len() > LONGEST_NAME;
    if too_long(&name)
        || labels.len() > MOST_LABELS
        || labels.iter().any(|(name, value)| too_long(name) || too_long(value))
    {
        let bounds =
            format!("a series has at most {MOST_LABELS} labels, and no text of more than {LONGEST_NAME} bytes");
        return Err(Misuse::Bound(bounds).into());
    }
    let host = cx.data_mut();
    let series = host.core.series.open(name, labels, kind);
    Ok((host.series.keep(series),))
}

fn other_kind(series: u32, kind: &str) -> wasmtime::Error {
    Misuse::Bound(format!("series {series} is not a {kind}")).into()
}

/// The series of one use, shared by all workers.
#[derive(Debug, Default)]
pub(in super::super) struct Registry {
    series: Mutex<HashMap<Key, Arc<Series>>>,
}

/// Name, labels and kind.
type Key = (String, Labels, &'static str);

#[derive(Debug)]
pub(in super::super) struct Series {
    /// What instances call it.
    number: u32,
    pub(in super::super) name: String,
    pub(in super::super) labels: Labels,
    pub(in super::super) value: Value,
}

/// What a series holds.
#[derive(Debug)]
pub(in super::super) enum Value {
    Counter(AtomicU64),
    /// The bits of a float.
    Gauge(AtomicU64),
    Histogram(Histogram),
}

#[derive(Debug)]
enum Kind {
    Counter,
    Gauge,
    Histogram(Vec<f64>),
}

impl Registry {
    /// All series.
    pub(in super::super) fn all(&self) -> Vec<Arc<Series>> {
        let mut all: Vec<_> = self.series.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        all.sort_by_key(|series| series.number);
        all
    }

    fn open(&self, name: String, labels: Labels, kind: Kind) -> Arc<Series> {
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let mut key = (name, labels, kind.name());
        if let Some(series) = series.get(&key) {
            return series.clone();
        }
        if series.len() >= MOST_SERIES {
            key.1 = vec![("overflow".into(), "true".into())];
            // Names can be made up without end as well: then even the overflow has one.
            if series.len() >= MOST_SERIES + MOST_OVERFLOWS {
                key.0 = "other".into();
            }
        }
        // Places are never taken away, so the number of the next one is how many there are.
        let number = u32::try_from(series.len()).unwrap_or(u32::MAX);
        let made = || Arc::new(Series { number, name: key.0.clone(), labels: key.1.clone(), value: kind.into() });
        series.entry((key.0.clone(), key.1.clone(), key.2)).or_insert_with(made).clone()
    }
}

impl Kind {
    fn name(&self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

impl From<Kind> for Value {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Counter => Self::Counter(AtomicU64::new(0)),
            Kind::Gauge => Self::Gauge(AtomicU64::new(0)),
            Kind::Histogram(bounds) => Self::Histogram(Histogram::new(bounds)),
        }
    }
}

impl Value {
    /// As Prometheus calls it.
    pub(in super::super) fn kind(&self) -> &'static str {
        match self {
            Self::Counter(_) => "counter",
            Self::Gauge(_) => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// A distribution.
#[derive(Debug)]
pub(in super::super) struct Histogram {
    pub(in super::super) bounds: Vec<f64>,
    /// One more than there are bounds.
    pub(in super::super) buckets: Vec<AtomicU64>,
    /// The bits of a float.
    pub(in super::super) sum: AtomicU64,
}

impl Histogram {
    fn new(bounds: Vec<f64>) -> Self {
        let buckets = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, buckets, sum: AtomicU64::new(0) }
    }

    fn observe(&self, value: f64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        let mut sum = self.sum.load(Ordering::Relaxed);
        loop {
            let added = (f64::from_bits(sum) + value).to_bits();
            match self.sum.compare_exchange_weak(sum, added, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(other) => sum = other,
            }
        }
    }
}

/// The series that one instance has opened, by number.
#[derive(Debug, Default)]
pub(in super::super) struct SeriesTable {
    /// A few of them in place, where the instance is looked at anyway.
    opened: SmallVec<[Option<Arc<Series>>; 4]>,
}

impl SeriesTable {
    #[inline]
    fn get(&self, number: u32) -> Result<&Value, Misuse> {
        let series = usize::try_from(number).ok().and_then(|number| self.opened.get(number)?.as_ref());
        series
            .map(|series| &series.value)
            .ok_or_else(|| Misuse::Bound(format!("this instance has opened no series {number}")))
    }

    fn keep(&mut self, series: Arc<Series>) -> u32 {
        let number = series.number;
        let place = number as usize;
        if self.opened.len() <= place {
            self.opened.resize(place + 1, None);
        }
        self.opened[place] = Some(series);
        number
    }
}

/// Series of one use, beside those for what is over.
const MOST_SERIES: usize = 1000;

/// Names that may have a series for what is over.
const MOST_OVERFLOWS: usize = 32;

const MOST_BUCKETS: usize = 32;
const MOST_LABELS: usize = 16;

/// Bytes of a name, or of a label's value.
const LONGEST_NAME: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_name_and_labels_are_the_same_series() {
        let registry = Registry::default();
        let labels = vec![("route".to_owned(), "a".to_owned())];
        let first = registry.open("seen".into(), labels.clone(), Kind::Counter);
        let again = registry.open("seen".into(), labels, Kind::Counter);
        assert!(Arc::ptr_eq(&first, &again));
        let gauge = registry.open("seen".into(), Vec::new(), Kind::Gauge);
        assert_ne!(first.number, gauge.number);
    }

    #[test]
    fn what_is_over_is_counted_in_one_series() {
        let registry = Registry::default();
        for number in 0..5000 {
            registry.open("seen".into(), vec![("n".into(), number.to_string())], Kind::Counter);
        }
        let all = registry.all();
        assert_eq!(all.len(), MOST_SERIES + 1);
        assert_eq!(all[MOST_SERIES].labels, [("overflow".to_owned(), "true".to_owned())]);
        for number in 0..5000 {
            registry.open(format!("seen_{number}"), Vec::new(), Kind::Counter);
        }
        assert_eq!(registry.all().len(), MOST_SERIES + MOST_OVERFLOWS + 1);
    }

    #[test]
    fn an_observation_falls_into_the_first_bucket_that_holds_it() {
        let histogram = Histogram::new(vec![1.0, 2.0]);
        for value in [0.5, 1.0, 1.5, 3.0, f64::NAN] {
            histogram.observe(value);
        }
        let counts: Vec<u64> = histogram.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        // What is not a number is below every bound.
        assert_eq!(counts, [3, 1, 1]);
    }
}
