//! Durations by powers of two, each in four parts: 12 % apart, no lock, a fixed size.

use crate::stats::Distribution;
use std::sync::OnceLock;
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
    /// Half the size of what they may reach: a scope has two histograms for each operation. What does not fit is carried.
    counts: [AtomicU32; BUCKETS],
    carried: OnceLock<Box<[AtomicU64]>>,
    count: AtomicU64,
    sum_ns: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: [const { AtomicU32::new(0) }; BUCKETS],
            carried: OnceLock::new(),
            count: AtomicU64::new(0),
            sum_ns: AtomicU64::new(0),
        }
    }
}

impl Histogram {
    pub(crate) fn record(&self, duration: Duration) {
        let ns = crate::clock::nanos(duration);
        let bucket = bucket(ns);
        if self.counts[bucket].fetch_add(1, Ordering::Relaxed) == u32::MAX {
            self.carry(bucket);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        self.sum_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// A bucket has begun anew, as it does after some weeks of a busy node.
    #[cold]
    fn carry(&self, bucket: usize) {
        let carried = self.carried.get_or_init(|| (0..BUCKETS).map(|_| AtomicU64::new(0)).collect());
        carried[bucket].fetch_add(1 << 32, Ordering::Relaxed);
    }

    fn counts(&self) -> Vec<u64> {
        let carried = |i: usize| self.carried.get().map_or(0, |carried| carried[i].load(Ordering::Relaxed));
        let counts = self.counts.iter().enumerate();
        counts.map(|(i, count)| u64::from(count.load(Ordering::Relaxed)) + carried(i)).collect()
    }

    /// Milliseconds below which a share `q` of the durations lies: the middle of its bucket; 0 when there are none.
    pub(crate) fn quantile_ms(&self, q: f64) -> f64 {
        let counts = self.counts();
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
        let counts = self.counts();
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
    fn a_bucket_counts_beyond_four_billion() {
        let histogram = Histogram::default();
        let [short, long] = [1_000, 1_000_000].map(Duration::from_nanos);
        histogram.counts[bucket(1_000)].store(u32::MAX - 1, Ordering::Relaxed);
        (0..3).for_each(|_| histogram.record(short));
        (0..3).for_each(|_| histogram.record(long));
        let found = histogram.distribution();
        assert_eq!(found.count, (1 << 32) + 1 + 3);
        assert_eq!(found.buckets.iter().find(|(le, _)| *le >= 2e-6).unwrap().1, (1 << 32) + 1);
        assert!(histogram.quantile_ms(0.5) < 0.002, "half of them are short");
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
