//! How sure is a quantile?

use super::ln_gamma;
use crate::histogram::{Histogram, bounds};

/// Where a quantile of the population lies with 95 % confidence, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QuantileRange {
    /// Lower end; `None` where the group is too small to have one.
    pub low_us: Option<f64>,
    /// Upper end; `None` where the group is too small to have one.
    pub high_us: Option<f64>,
}

/// Largest group whose ranks are found exactly; beyond, the normal approximation is off by less than a rank in a
/// hundred.
const EXACT: u64 = 2_000;
/// What may lie beyond either end.
const TAIL: f64 = 0.025;
/// The standard normal quantile of 1 − [`TAIL`].
const Z: f64 = 1.959_963_984_540_054;

/// The interval between two order statistics that holds the quantile `per_mille`/1000 with at least 95 % confidence,
/// whatever the distribution: ranks l and u with P(B < l) ≤ 2.5 % and P(B ≥ u) ≤ 2.5 % for B binomial with n and q
/// (David and Nagaraja, Order Statistics, 7.1). `observed` is n; the ends are the outer edges of the buckets of those ranks.
pub fn quantile_range(histogram: &Histogram, observed: u64, per_mille: u16) -> QuantileRange {
    let quantile = f64::from(per_mille.min(1000)) / 1000.0;
    let (low, high) = ranks(observed, quantile);
    let total: i128 = histogram.bins().iter().map(|bin| i128::from(bin.1.max(0))).sum();
    let bucket = |rank: Option<u64>| {
        let rank = rank.filter(|_| total > 0 && observed > 0)?;
        // The rank among the observed as a rank in weight, rounded up.
        let wanted = (total * i128::from(rank)).div_euclid(i128::from(observed)).max(1);
        let mut seen = 0;
        let holds = |bin: &&(u16, i64)| {
            seen += i128::from(bin.1.max(0));
            seen >= wanted
        };
        histogram.bins().iter().find(holds).map(|bin| bounds(bin.0))
    };
    QuantileRange {
        low_us: bucket(low).map(|(edge, _)| edge as f64),
        high_us: bucket(high).map(|(edge, width)| (edge + width) as f64),
    }
}

/// Ranks from 1 to n of the two ends; `None` where none is far enough out.
fn ranks(n: u64, q: f64) -> (Option<u64>, Option<u64>) {
    if n == 0 || q <= 0.0 || q >= 1.0 {
        return (None, None);
    }
    let (low, high) = if n <= EXACT { exact(n, q) } else { approximate(n, q) };
    (Some(low).filter(|&rank| rank >= 1), Some(high).filter(|&rank| rank <= n))
}

/// The largest l with P(B < l) ≤ 2.5 %, and the smallest u with P(B ≥ u) ≤ 2.5 %.
fn exact(n: u64, q: f64) -> (u64, u64) {
    let (ln_q, ln_not) = (q.ln(), (1.0 - q).ln());
    let whole = ln_gamma(n as f64 + 1.0);
    let probability = |k: u64| {
        let (k, rest) = (k as f64, (n - k) as f64);
        (whole - ln_gamma(k + 1.0) - ln_gamma(rest + 1.0) + k * ln_q + rest * ln_not).exp()
    };
    let (mut low, mut below) = (0, 0.0);
    while low < n && below + probability(low) <= TAIL {
        below += probability(low);
        low += 1;
    }
    let (mut high, mut above) = (n + 1, 0.0);
    while high > 0 && above + probability(high - 1) <= TAIL {
        above += probability(high - 1);
        high -= 1;
    }
    (low, high)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "both are between 0 and n + 1")]
fn approximate(n: u64, q: f64) -> (u64, u64) {
    let (mean, spread) = (n as f64 * q, Z * (n as f64 * q * (1.0 - q)).sqrt());
    ((mean - spread).floor().max(0.0) as u64, (mean + spread).ceil().min(n as f64) as u64 + 1)
}
