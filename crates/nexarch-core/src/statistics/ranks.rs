//! Are the durations of one group longer than those of another?

use super::{rounded, two_sided};
use crate::histogram::Histogram;

/// Outcome of [`mann_whitney`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ranks {
    /// The probability that a duration of the second group is longer than one of the first, ties counted half: 0.5 for
    /// equal groups, 1 when all are longer.
    pub superiority: f64,
    /// Standardised, with correction for ties and continuity; positive when the second group is longer.
    pub z: f64,
    /// Two-sided.
    pub p_value: f64,
}

/// Smallest group for which the normal approximation is used.
pub(crate) const SMALLEST_GROUP: u64 = 10;

/// The test of Mann and Whitney on two histograms with the numbers of durations that were really observed; `None` where
/// a group has fewer than ten, or nothing varies.
///
/// Durations of one bucket (up to 6 % apart) are ties; the variance is corrected for them (Lehmann 1975, 1.20), and the
/// difference for continuity. Weights of sampled durations count as shares of their group: they shift its distribution,
/// and give it no more members than were seen.
pub fn mann_whitney(first: (&Histogram, u64), second: (&Histogram, u64)) -> Option<Ranks> {
    let ((first, n1), (second, n2)) = (first, second);
    if n1 < SMALLEST_GROUP || n2 < SMALLEST_GROUP {
        return None;
    }
    let (scale1, scale2) = (scale(first, n1)?, scale(second, n2)?);
    let (n1, n2) = (n1 as f64, n2 as f64);
    let all = n1 + n2;
    let (mut below, mut wins, mut ties) = (0.0, 0.0, 0.0);
    for (in_first, in_second) in both(first, second) {
        let (in_first, in_second) = (in_first as f64 * scale1, in_second as f64 * scale2);
        wins += in_second * (below + in_first / 2.0);
        below += in_first;
        let equal = in_first + in_second;
        ties += equal * equal * equal - equal;
    }
    let mean = n1 * n2 / 2.0;
    let variance = n1 * n2 / 12.0 * (all + 1.0 - ties / (all * (all - 1.0)));
    // All in one bucket; what is left is the rounding of sums.
    if variance <= mean * 1e-9 {
        return None;
    }
    let distance = ((wins - mean).abs() - 0.5).max(0.0);
    let z = (distance / variance.sqrt()).copysign(wins - mean);
    Some(Ranks { superiority: (wins / (n1 * n2)).clamp(0.0, 1.0), z, p_value: rounded(two_sided(z)) })
}

/// What one unit of weight is worth in observed durations.
fn scale(histogram: &Histogram, observed: u64) -> Option<f64> {
    let total: i128 = histogram.bins().iter().map(|bin| i128::from(bin.1.max(0))).sum();
    (total > 0).then(|| observed as f64 / total as f64)
}

/// Weights of both groups by bucket.
fn both(first: &Histogram, second: &Histogram) -> impl Iterator<Item = (i64, i64)> {
    let (mut first, mut second) = (first.bins().iter().peekable(), second.bins().iter().peekable());
    std::iter::from_fn(move || {
        let bucket = match (first.peek(), second.peek()) {
            (Some(a), Some(b)) => a.0.min(b.0),
            (Some(bin), None) | (None, Some(bin)) => bin.0,
            (None, None) => return None,
        };
        let weight = |bin: Option<&(u16, i64)>| bin.map_or(0, |bin| bin.1.max(0));
        Some((weight(first.next_if(|bin| bin.0 == bucket)), weight(second.next_if(|bin| bin.0 == bucket))))
    })
}
