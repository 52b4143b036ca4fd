//! Durations in one fixed log-linear histogram, so that merging is adding and taking back is subtracting.
//!
//! The unit is 1 µs. Values below 16 have a bucket each; above, every octave has 16 equal buckets: for
//! `e = ⌊log2 v⌋` the index is `16·(e−3) + ((v >> (e−4)) & 15)`. 528 buckets reach 2^36 µs (19 hours); what is
//! longer falls into the last. A bucket is at most 1/16 of its lower edge wide, so its middle is within 3.2 % of
//! every value in it.
//!
//! A bucket holds a *weight* (1/256 of a span, see [`crate::facts::Facts::weight`]), signed, because a
//! contribution to a rollup may be taken back. Weights wrap on overflow: addition stays a group, so a retraction
//! is exact whatever came between. Smallest and largest value are not kept: they cannot be taken back.

/// Number of buckets.
pub const BUCKETS: u16 = 528;

/// The longest duration that keeps its own bucket, in microseconds.
pub const LONGEST_US: u64 = (1 << 36) - 1;

/// The bucket of a duration in microseconds.
pub fn bucket(us: u64) -> u16 {
    let v = us.min(LONGEST_US);
    if v < 16 {
        return u16::try_from(v).unwrap_or(0);
    }
    let e = v.ilog2();
    let index = 16 * u64::from(e - 3) + ((v >> (e - 4)) & 15);
    u16::try_from(index).unwrap_or(BUCKETS - 1)
}

/// The middle of a bucket, in microseconds: the mean of the whole numbers in it.
pub fn middle_us(bucket: u16) -> f64 {
    let (low, width) = bounds(bucket);
    low as f64 + (width - 1) as f64 / 2.0
}

/// Lower edge and width of a bucket, in microseconds.
pub fn bounds(bucket: u16) -> (u64, u64) {
    let index = u64::from(bucket.min(BUCKETS - 1));
    if index < 16 {
        return (index, 1);
    }
    let shift = index / 16 - 1;
    ((16 + index % 16) << shift, 1 << shift)
}

/// Weights by bucket, sparse and sorted; buckets without weight are absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    bins: Vec<(u16, i64)>,
}

impl Histogram {
    /// Adds a weight to the bucket of a duration in microseconds.
    pub fn record(&mut self, us: u64, weight: i64) {
        self.add_bin(bucket(us), weight);
    }

    /// Adds a weight to a bucket; a bucket whose weights cancel out vanishes.
    pub fn add_bin(&mut self, bucket: u16, weight: i64) {
        match self.bins.binary_search_by_key(&bucket, |bin| bin.0) {
            Ok(at) => {
                let sum = self.bins[at].1.wrapping_add(weight);
                if sum == 0 {
                    self.bins.remove(at);
                } else {
                    self.bins[at].1 = sum;
                }
            }
            Err(_) if weight == 0 => {}
            Err(at) => self.bins.insert(at, (bucket, weight)),
        }
    }

    /// Appends a bucket above all that have weight; for decoding.
    pub(crate) fn push(&mut self, bucket: u16, weight: i64) {
        debug_assert!(self.bins.last().is_none_or(|last| last.0 < bucket));
        if weight != 0 {
            self.bins.push((bucket, weight));
        }
    }

    /// Removes all weight, keeping the room.
    pub(crate) fn clear(&mut self) {
        self.bins.clear();
    }

    /// Adds all weights of another histogram, times `sign` (1 or −1).
    pub fn merge(&mut self, other: &Self, sign: i64) {
        if self.bins.is_empty() {
            self.bins.extend(other.bins.iter().map(|&(b, w)| (b, w.wrapping_mul(sign))));
            return;
        }
        let mut at = 0;
        let mut cancelled = false;
        for &(bucket, weight) in &other.bins {
            let weight = weight.wrapping_mul(sign);
            // Both are sorted and mostly alike: the next place is one or two further.
            while self.bins.get(at).is_some_and(|bin| bin.0 < bucket) {
                at += 1;
            }
            match self.bins.get_mut(at) {
                Some(bin) if bin.0 == bucket => {
                    bin.1 = bin.1.wrapping_add(weight);
                    cancelled |= bin.1 == 0;
                }
                _ => self.bins.insert(at, (bucket, weight)),
            }
        }
        if cancelled {
            self.bins.retain(|bin| bin.1 != 0);
        }
    }

    /// Is there no weight in any bucket?
    pub fn is_empty(&self) -> bool {
        self.bins.is_empty()
    }

    /// Bucket and weight, by bucket.
    pub fn bins(&self) -> &[(u16, i64)] {
        &self.bins
    }

    /// The sum of all weights.
    pub fn total(&self) -> i64 {
        self.bins.iter().fold(0, |sum, bin| sum.wrapping_add(bin.1))
    }

    /// The duration below which `per_mille`/1000 of the weight lies, in microseconds: the middle of the bucket of
    /// rank `⌈q·N⌉` (interpolating inside a bucket would double the worst error). `None` without weight.
    pub fn quantile_us(&self, per_mille: u16) -> Option<f64> {
        let positive = || self.bins.iter().filter(|bin| bin.1 > 0);
        let total: i128 = positive().map(|bin| i128::from(bin.1)).sum();
        let rank = (total * i128::from(per_mille.min(1000)) + 999) / 1000;
        let mut seen = 0;
        for &(bucket, weight) in positive() {
            seen += i128::from(weight);
            if seen >= rank {
                return Some(middle_us(bucket));
            }
        }
        None
    }

    /// The weight of durations longer than `us` microseconds, counting the bucket that holds the limit as not longer.
    pub fn weight_above(&self, us: u64) -> i64 {
        let limit = bucket(us);
        self.bins.iter().filter(|bin| bin.0 > limit).fold(0, |sum, bin| sum.wrapping_add(bin.1))
    }
}

#[cfg(test)]
mod tests;
