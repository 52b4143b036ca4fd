//! Tests of significance on counts and histograms: is a difference more than chance?
//!
//! All two-sided. A p-value is what the data would look like if nothing had changed; with many comparisons at once some
//! are small by luck, which [`adjust`] corrects for. All are rounded to four digits, because the last digits depend on the
//! order of sums and on the machine's `exp`.

mod intervals;
mod normal;
mod proportions;
mod ranks;

pub use intervals::{QuantileRange, quantile_range};
pub use normal::{ln_gamma, two_sided};
pub use proportions::{Proportions, fisher, proportions};
pub(crate) use ranks::SMALLEST_GROUP;
pub use ranks::{Ranks, mann_whitney};

/// Adjusted p-values ("q-values") by Benjamini and Hochberg, in the order given: calling those up to `a` significant
/// leaves an expected share of at most `a` of them false (Journal of the Royal Statistical Society B 57, 1995, 289–300;
/// also under positive dependence, Benjamini and Yekutieli 2001).
///
/// ```
/// use nexarch_core::statistics::adjust;
/// assert_eq!(adjust(&[0.01, 0.04, 0.03]), [0.03, 0.04, 0.04]);
/// ```
pub fn adjust(p_values: &[f64]) -> Vec<f64> {
    let count = p_values.len();
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let mut adjusted = vec![1.0; count];
    let mut least = 1.0f64;
    for (rank, &at) in order.iter().enumerate().rev() {
        least = least.min(p_values[at] * count as f64 / (rank + 1) as f64);
        adjusted[at] = rounded(least);
    }
    adjusted
}

/// A probability with four significant digits, never above 1; what is below the smallest number with that many digits is
/// that number, because no test proves the impossible.
fn rounded(p: f64) -> f64 {
    const SMALLEST: f64 = 1e-300;
    if p <= SMALLEST {
        return SMALLEST;
    }
    if p >= 1.0 {
        return 1.0;
    }
    format!("{p:.3e}").parse().unwrap_or(p)
}

#[cfg(test)]
mod tests;
