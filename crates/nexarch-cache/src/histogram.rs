//! Durations by powers of two, each in four parts: 12 % apart, no lock, a fixed size.

use crate::stats::Distribution;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Parts of each power of two.
const PARTS: usize = 4;
/// The lowest bucket is below 2^6 ns, the highest above 2^38 ns (4.6 minutes).
const LOWEST: u32 = 6;
const BUCKETS: usize = (38 - LOWEST as usize) * PARTS + 1;
/// What is shown to others of it: the powers of two between 128 ns and 34 s.
const SHOWN: std::ops::RangeInclusive<u32> = 7..=35;

#[derive(Debug)]
pub(crate) struct Histogram {
    counts: [AtomicU32; BUCKETS],
    count: AtomicU64,
    sum_ns: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: [const { AtomicU32::new(0) }; BUCKETS],
            count: AtomicU64::new(0),
            sum_ns: AtomicU64::new(0),
        }
    }
}

impl Histogram {
    pub(crate) fn record(&self, duration: Duration) {
        let ns = crate::clock::nanos(duration);
        self.counts[bucket(ns)].fetch_add(1, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
        self.sum_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// Milliseconds below which a share `q` of the durations lies: the middle of its bucket; 0 when there are none.
    pub(crate) fn quantile_ms(&self, q: f64) -> f64 {
        let counts: Vec<u64> = self.counts.iter().map(|c| u64::from(c.load(Ordering::Relaxed))).collect();
        let total: u64 = counts.iter().sum();
        let mut left = total as f64 * q;
        for (i, &count) in counts.iter().enumerate() {
            left -= count as f64;
            if count > 0 && left <= 0.0 {
                return middle_ns(i) / 1e6;
            }
        }
        0.0
    }

    /// How many took how long. A duration of exactly a bound counts as longer: one nanosecond in the figures.
    pub(crate) fn distribution(&self) -> Distribution {
        let counts: Vec<u64> = self.counts.iter().map(|c| u64::from(c.load(Ordering::Relaxed))).collect();
        let below = |power: u32| counts[..=(power - LOWEST) as usize * PARTS].iter().sum();
        Distribution {
            buckets: SHOWN.map(|power| (f64::from(power).exp2() / 1e9, below(power))).collect(),
            // Not the counter: it may be ahead of the buckets for a moment, and the last bucket is all of them.
            count: counts.iter().sum(),
            sum: self.sum_ns.load(Ordering::Relaxed) as f64 / 1e9,
        }
    }

    /// The mean in milliseconds; 0 when there are none.
    pub(crate) fn mean_ms(&self) -> f64 {
        let count = self.count.load(Ordering::Relaxed).max(1);
        self.sum_ns.load(Ordering::Relaxed) as f64 / count as f64 / 1e6
    }
}

fn bucket(ns: u64) -> usize {
    if ns < 1 << LOWEST {
        return 0;
    }
    let power = ns.ilog2();
    let part = (ns >> (power - 2)) & 3;
    let at = 1 + (power - LOWEST) as usize * PARTS + usize::try_from(part).unwrap_or(0);
    at.min(BUCKETS - 1)
}

fn middle_ns(bucket: usize) -> f64 {
    if bucket == 0 {
        return f64::from(1u32 << (LOWEST - 1));
    }
    let (power, part) = ((bucket - 1) / PARTS, (bucket - 1) % PARTS);
    let base = (power as f64 + f64::from(LOWEST)).exp2();
    base * (1.0 + (part as f64 + 0.5) / PARTS as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_single_duration_is_found_within_an_eighth(ns in 64u64..250_000_000_000) {
            let histogram = Histogram::default();
            histogram.record(Duration::from_nanos(ns));
            let found = histogram.quantile_ms(0.5) * 1e6;
            prop_assert!((found / ns as f64 - 1.0).abs() <= 0.125, "{found} for {ns}");
        }
    }

    #[test]
    fn a_distribution_adds_up_and_keeps_its_bounds() {
        let histogram = Histogram::default();
        for ns in [0, 127, 129, 1_000_000, u64::MAX] {
            histogram.record(Duration::from_nanos(ns));
        }
        let found = histogram.distribution();
        assert_eq!(found.count, 5);
        assert_eq!(found.buckets.first(), Some(&(128e-9, 2)));
        assert_eq!(found.buckets[1], (256e-9, 3));
        let of = |seconds: f64| found.buckets.iter().find(|(le, _)| *le >= seconds).unwrap().1;
        assert_eq!((of(0.0005), of(0.002)), (3, 4));
        assert_eq!(found.buckets.last().unwrap().1, 4, "the longest is longer than the last bound");
        assert!(found.buckets.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1));
    }

    #[test]
    fn quantiles_and_extremes() {
        let histogram = Histogram::default();
        assert!(histogram.quantile_ms(0.5).abs() < f64::EPSILON);
        for ms in 1..=100 {
            histogram.record(Duration::from_millis(ms));
        }
        assert!((histogram.quantile_ms(0.5) / 50.0 - 1.0).abs() < 0.13);
        assert!((histogram.quantile_ms(0.99) / 99.0 - 1.0).abs() < 0.13);
        assert!((histogram.mean_ms() - 50.5).abs() < 1e-9);
        histogram.record(Duration::ZERO);
        histogram.record(Duration::MAX);
    }
}
