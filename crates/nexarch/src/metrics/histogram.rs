//! Counts by size with bounds that people read, raised by any thread.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use nexarch_cache::Distribution;

/// Bounds of times, in nanoseconds: from a hit to what nobody waits for.
const TIMES: &[u64] = &[
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];
/// Bounds of numbers of spans: up to the most of one transaction, and one request beyond it.
const SPANS: &[u64] = &[1, 10, 100, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000];

/// Counts of times or of numbers.
#[derive(Debug)]
pub(crate) struct Histogram {
    bounds: &'static [u64],
    /// What one is, in the unit that is shown.
    one: f64,
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Histogram {
    /// Of times.
    pub(crate) fn of_times() -> Self {
        Self::new(TIMES, 1e-9)
    }

    /// Of numbers of spans.
    pub(crate) fn of_spans() -> Self {
        Self::new(SPANS, 1.0)
    }

    fn new(bounds: &'static [u64], one: f64) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, one, counts, sum: AtomicU64::new(0) }
    }

    pub(crate) fn record(&self, value: u64) {
        let at = self.bounds.partition_point(|bound| *bound < value);
        self.counts[at].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    pub(crate) fn record_time(&self, time: Duration) {
        self.record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Nothing was recorded yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.counts.iter().all(|count| count.load(Ordering::Relaxed) == 0)
    }

    pub(crate) fn distribution(&self) -> Distribution {
        let mut count = 0;
        let mut sums = self.counts.iter().map(|bucket| {
            count += bucket.load(Ordering::Relaxed);
            count
        });
        let buckets = self.bounds.iter().map(|bound| *bound as f64 * self.one).zip(&mut sums).collect();
        let count = sums.next().unwrap_or(0);
        Distribution { buckets, count, sum: self.sum.load(Ordering::Relaxed) as f64 * self.one }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_in_its_bucket_and_the_last_holds_all() {
        let times = Histogram::of_times();
        assert!(times.is_empty());
        times.record_time(Duration::from_micros(100));
        times.record_time(Duration::from_nanos(100_001));
        times.record_time(Duration::from_mins(1));
        let found = times.distribution();
        assert_eq!((found.buckets[0].1, found.buckets[1].1, found.count), (1, 2, 3));
        assert_eq!(format!("{:?}", found.buckets[0].0), "0.0001");
        assert!((found.sum - 60.000_200_001).abs() < 1e-9);
        let spans = Histogram::of_spans();
        spans.record(1_000);
        assert_eq!(spans.distribution().buckets[4], (1_000.0, 1));
    }
}
