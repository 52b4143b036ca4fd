//! One cell: counts, errors and durations of spans that share a key. Everything in it can be subtracted.

use crate::histogram::{Histogram, LONGEST_US, bucket};

/// Counts and durations that add up.
///
/// All sums wrap on overflow, so that taking back is exact. There is no minimum and no maximum: neither survives
/// a retraction. A quantile therefore is the middle of its bucket (within 3.2 %), except where the cell holds
/// exactly one duration: then it is that duration, from the exact sum.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cell {
    /// Observed spans (or calls), the n of significance tests.
    pub count: i64,
    /// What they stand for, in 1/256 (rule R11).
    pub weight: i64,
    /// Observed failures.
    pub errors: i64,
    /// What the failures stand for, in 1/256.
    pub error_weight: i64,
    /// How many of `count` had a duration.
    pub timed: i64,
    /// Σ weight · duration, in 1/256 µs; of [`super::Key::Amount`] Σ weight · amount, in 1/256. 128 bits: one span may weigh 2^32 and last 2^36.
    pub time: i128,
    /// Weights by duration.
    pub histogram: Histogram,
}

/// Whole microseconds of a duration in nanoseconds, rounded to the nearest and cut at the histogram's end.
pub fn microseconds(ns: u64) -> u64 {
    (ns / 1000 + u64::from(ns % 1000 >= 500)).min(LONGEST_US)
}

impl Cell {
    /// Adds one span, or call. Without a duration it counts, its latency does not.
    pub fn observe(&mut self, weight: u32, error: bool, duration_ns: Option<u64>) {
        let w = i64::from(weight);
        self.count = self.count.wrapping_add(1);
        self.weight = self.weight.wrapping_add(w);
        if error {
            self.errors = self.errors.wrapping_add(1);
            self.error_weight = self.error_weight.wrapping_add(w);
        }
        if let Some(ns) = duration_ns {
            let us = microseconds(ns);
            self.timed = self.timed.wrapping_add(1);
            self.time = self.time.wrapping_add(i128::from(w) * i128::from(us));
            self.histogram.record(us, w);
        }
    }

    /// Adds one call that carries an amount, which is summed where durations are.
    pub fn carry(&mut self, weight: u32, amount: i64) {
        let w = i64::from(weight);
        self.count = self.count.wrapping_add(1);
        self.weight = self.weight.wrapping_add(w);
        self.time = self.time.wrapping_add(i128::from(w) * i128::from(amount));
    }

    /// Adds another cell, times `sign` (1 or −1).
    pub fn merge(&mut self, other: &Self, sign: i64) {
        let add = |mine: &mut i64, its: i64| *mine = mine.wrapping_add(its.wrapping_mul(sign));
        add(&mut self.count, other.count);
        add(&mut self.weight, other.weight);
        add(&mut self.errors, other.errors);
        add(&mut self.error_weight, other.error_weight);
        add(&mut self.timed, other.timed);
        self.time = self.time.wrapping_add(other.time.wrapping_mul(i128::from(sign)));
        self.histogram.merge(&other.histogram, sign);
    }

    /// Adds only the counts and failures of another cell.
    pub fn merge_counts(&mut self, other: &Self) {
        self.count = self.count.wrapping_add(other.count);
        self.weight = self.weight.wrapping_add(other.weight);
        self.errors = self.errors.wrapping_add(other.errors);
        self.error_weight = self.error_weight.wrapping_add(other.error_weight);
    }

    /// Adds only the durations of another cell.
    pub fn merge_times(&mut self, other: &Self) {
        self.timed = self.timed.wrapping_add(other.timed);
        self.time = self.time.wrapping_add(other.time);
        self.histogram.merge(&other.histogram, 1);
    }

    /// Empties it, keeping the room of the histogram.
    pub(super) fn clear(&mut self) {
        let mut histogram = std::mem::take(&mut self.histogram);
        histogram.clear();
        *self = Self { histogram, ..Self::default() };
    }

    /// Has everything cancelled out?
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }

    /// How many spans the cell stands for: the weight, rounded to the nearest whole number.
    pub fn calls(&self) -> u64 {
        let weight = u64::try_from(self.weight).unwrap_or(0);
        weight / 256 + u64::from(weight % 256 >= 128)
    }

    /// Share of failures by weight, 0…1; `None` when nothing was called.
    pub fn error_rate(&self) -> Option<f64> {
        (self.weight > 0).then(|| (self.error_weight as f64 / self.weight as f64).clamp(0.0, 1.0))
    }

    /// Mean duration in microseconds; `None` when no duration is known.
    pub fn mean_us(&self) -> Option<f64> {
        let weight = self.histogram.total();
        (weight > 0 && self.timed > 0).then(|| (self.time as f64 / weight as f64).max(0.0))
    }

    /// Quantile of the durations in microseconds, `per_mille` of 1000; `None` when no duration is known.
    pub fn quantile_us(&self, per_mille: u16) -> Option<f64> {
        if self.timed == 1 { self.mean_us() } else { self.histogram.quantile_us(per_mille) }
    }

    /// The histogram that a single duration would leave, if this cell is the trace of exactly one.
    /// The codec leaves it out then.
    pub(super) fn single(&self) -> Option<u64> {
        let &[(index, weight)] = self.histogram.bins() else { return None };
        let us = u64::try_from(self.time.checked_div(i128::from(weight))?).ok()?;
        let exact = i128::from(us).checked_mul(i128::from(weight)) == Some(self.time);
        (exact && us <= LONGEST_US && self.timed == 1 && self.weight == weight && bucket(us) == index)
            .then_some(us)
    }
}
