//! Durations in buckets that double: fine where answers are fast, and found without a search.

use std::time::Duration;

use super::{Counter, Kind, Text};

/// How often each duration was seen. One thread writes it.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    /// `buckets[n]` holds what is at most `2^n` times `SMALLEST`; the last holds the rest.
    buckets: [Counter; BUCKETS + 1],
    nanos: Counter,
}

/// The smallest bucket's bound in microseconds; a power of two.
const SMALLEST: u64 = 32;

/// Bounds from 32 us to 67 s.
const BUCKETS: usize = 22;

impl Histogram {
    pub(super) fn observe(&self, duration: Duration) {
        self.buckets[bucket(duration)].add(1);
        self.nanos.add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }
}

/// Writes the sum of `histograms` as one family.
pub(super) fn render<'a>(
    text: &mut Text<'_>,
    name: &'static str,
    help: &str,
    histograms: impl Iterator<Item = &'a Histogram> + Clone,
) {
    text.family(name, Kind::Histogram, help);
    let mut count = 0;
    for place in 0..BUCKETS {
        count += histograms.clone().map(|histogram| histogram.buckets[place].read()).sum::<u64>();
        text.count("_bucket", &[("le", &bound(place).to_string())], count);
    }
    count += histograms.clone().map(|histogram| histogram.buckets[BUCKETS].read()).sum::<u64>();
    text.count("_bucket", &[("le", "+Inf")], count);
    let nanos = histograms.map(|histogram| histogram.nanos.read()).fold(0, u64::wrapping_add);
    text.sample("_sum", &[], nanos as f64 / 1e9);
    text.count("_count", &[], count);
}

/// The place of the smallest bound that is not below `duration`.
fn bucket(duration: Duration) -> usize {
    // Rounded up, so that a bound takes in its own value and not a nanosecond more.
    let part = u64::from(duration.subsec_nanos().div_ceil(1000));
    let micros = duration.as_secs().saturating_mul(1_000_000).saturating_add(part);
    let exponent = u64::BITS - micros.saturating_sub(1).leading_zeros();
    (exponent.saturating_sub(SMALLEST.ilog2()) as usize).min(BUCKETS)
}

/// In seconds.
fn bound(place: usize) -> f64 {
    (SMALLEST << place) as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_smallest_bucket_that_holds_it() {
        for place in 0..BUCKETS {
            let at = Duration::from_micros(SMALLEST << place);
            assert_eq!(bucket(at), place, "{at:?}");
            assert_eq!(bucket(at + Duration::from_nanos(1)), place + 1, "just over {at:?}");
            assert!((bound(place) - at.as_secs_f64()).abs() < 1e-12);
        }
        assert_eq!(bucket(Duration::ZERO), 0);
        assert_eq!(bucket(Duration::from_nanos(1)), 0);
        assert_eq!(bucket(Duration::MAX), BUCKETS);
    }

    #[test]
    fn buckets_are_shown_cumulated() {
        let (one, two) = (Histogram::default(), Histogram::default());
        one.observe(Duration::from_micros(20));
        two.observe(Duration::from_micros(33));
        two.observe(Duration::from_secs(3600));
        let mut out = String::new();
        render(&mut Text::new(&mut out), "d_seconds", "d", [&one, &two].into_iter());
        assert!(out.contains("d_seconds_bucket{le=\"0.000032\"} 1\n"), "{out}");
        assert!(out.contains("d_seconds_bucket{le=\"0.000064\"} 2\n"), "{out}");
        assert!(out.contains("d_seconds_bucket{le=\"67.108864\"} 2\n"), "{out}");
        assert!(out.contains("d_seconds_bucket{le=\"+Inf\"} 3\n"), "{out}");
        assert!(out.contains("d_seconds_sum 3600.000053\n"), "{out}");
        assert!(out.ends_with("d_seconds_count 3\n"), "{out}");
    }
}
