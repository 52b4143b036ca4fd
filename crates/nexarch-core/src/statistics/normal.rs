//! The normal distribution and the gamma function, to about 14 digits.

/// The probability that a standard normal variable is at least as far from 0 as `z`: erfc(|z|/√2).
///
/// ```
/// use nexarch_core::statistics::two_sided;
/// assert!((two_sided(1.959_963_984_540_054) - 0.05).abs() < 1e-12);
/// assert_eq!(two_sided(0.0), 1.0);
/// ```
pub fn two_sided(z: f64) -> f64 {
    if z.is_nan() { 1.0 } else { erfc(z.abs() / std::f64::consts::SQRT_2) }
}

/// The complementary error function for x ≥ 0.
fn erfc(x: f64) -> f64 {
    if x < 2.0 { 1.0 - erf_series(x) } else { erfc_fraction(x) }
}

/// erf by its power series with positive terms only: 2/√π · e^(−x²) · Σ 2ⁿ x^(2n+1) / (1·3·…·(2n+1))
/// (Abramowitz and Stegun 7.1.6).
fn erf_series(x: f64) -> f64 {
    let mut term = x;
    let mut sum = x;
    let mut odd = 1.0;
    while term > sum * 1e-17 {
        odd += 2.0;
        term *= 2.0 * x * x / odd;
        sum += term;
    }
    std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

/// erfc by its continued fraction, from the inside out: √π e^(x²) erfc(x) = 1/(x + (1/2)/(x + 1/(x + (3/2)/(x + …))))
/// (Abramowitz and Stegun 7.1.14). For x ≥ 2 this many levels are enough for every digit.
fn erfc_fraction(x: f64) -> f64 {
    const LEVELS: u32 = 120;
    let mut fraction = x;
    for level in (1..=LEVELS).rev() {
        fraction = x + f64::from(level) / 2.0 / fraction;
    }
    (-x * x).exp() / fraction / std::f64::consts::PI.sqrt()
}

/// ln Γ(x) for x > 0 by Stirling's series after shifting x above 10 (Abramowitz and Stegun 6.1.41).
pub fn ln_gamma(x: f64) -> f64 {
    let (mut x, mut shift) = (x, 0.0);
    while x < 10.0 {
        shift += x.ln();
        x += 1.0;
    }
    let y = 1.0 / (x * x);
    let series = (1.0 / 12.0 - y * (1.0 / 360.0 - y * (1.0 / 1260.0 - y * (1.0 / 1680.0 - y / 1188.0)))) / x;
    (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + series - shift
}
