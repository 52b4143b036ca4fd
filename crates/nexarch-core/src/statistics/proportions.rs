//! Do two groups fail equally often?

use super::{ln_gamma, rounded, two_sided};

/// Outcome of [`proportions`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Proportions {
    /// Standardised difference, positive when the second group has the larger share; `None` for the exact test.
    pub z: Option<f64>,
    /// Two-sided.
    pub p_value: f64,
}

/// Most terms of the exact test that are added up. Where it is used the number of possible tables is at most about
/// √(5·n), which is less for every n below 10^9.
const MAX_TERMS: u64 = 100_000;

/// Compares the share of failures of two groups, each `(failed, all)`; `None` where a group is empty.
///
/// The z-test with the pooled share, z = (p₂ − p₁)/√(p(1−p)(1/n₁ + 1/n₂)), where every expected count of the table is at
/// least 5 (Cochran 1954); where one is smaller the normal approximation finds differences that are not there, and
/// Fisher's exact test takes its place.
///
/// ```
/// use nexarch_core::statistics::proportions;
/// let many = proportions((50, 1000), (90, 1000)).unwrap();
/// assert!(many.p_value < 0.001 && many.z > Some(3.0));
/// assert_eq!(proportions((0, 20), (1, 20)).unwrap().p_value, 1.0);
/// assert_eq!(proportions((0, 0), (1, 20)), None);
/// ```
pub fn proportions(first: (u64, u64), second: (u64, u64)) -> Option<Proportions> {
    let ((failed1, all1), (failed2, all2)) = (first, second);
    if all1 == 0 || all2 == 0 || failed1 > all1 || failed2 > all2 {
        return None;
    }
    let (n1, n2) = (all1 as f64, all2 as f64);
    let failed = (failed1 + failed2) as f64;
    let good = n1 + n2 - failed;
    if failed == 0.0 || good == 0.0 {
        return Some(Proportions { z: None, p_value: 1.0 });
    }
    let smallest = n1.min(n2) * failed.min(good) / (n1 + n2);
    if smallest < 5.0
        && let Some(p_value) = fisher(first, second)
    {
        return Some(Proportions { z: None, p_value });
    }
    let pooled = failed / (n1 + n2);
    let deviation = (pooled * (1.0 - pooled) * (1.0 / n1 + 1.0 / n2)).sqrt();
    let z = (failed2 as f64 / n2 - failed1 as f64 / n1) / deviation;
    Some(Proportions { z: Some(z), p_value: rounded(two_sided(z)) })
}

/// Fisher's exact test of two groups `(failed, all)`: the probability of all tables with the same sums that are not more
/// likely than this one. `None` where that would take too long, or a group has more failures than members.
pub fn fisher(first: (u64, u64), second: (u64, u64)) -> Option<f64> {
    let ((failed1, all1), (failed2, all2)) = (first, second);
    if failed1 > all1 || failed2 > all2 {
        return None;
    }
    let failed = failed1 + failed2;
    // Of all failures, how many may be in the first group.
    let (least, most) = (failed.saturating_sub(all2), failed.min(all1));
    if most - least > MAX_TERMS {
        return None;
    }
    let choose =
        |n: u64, k: u64| ln_gamma(n as f64 + 1.0) - ln_gamma(k as f64 + 1.0) - ln_gamma((n - k) as f64 + 1.0);
    let whole = choose(all1 + all2, failed);
    let ln_probability = |k: u64| choose(all1, k) + choose(all2, failed - k) - whole;
    let seen = ln_probability(failed1);
    // Tables that are as likely may differ from it in the last digits.
    let limit = seen + 1e-7;
    let sum: f64 = (least..=most).map(ln_probability).filter(|&ln| ln <= limit).map(f64::exp).sum();
    Some(rounded(sum))
}
