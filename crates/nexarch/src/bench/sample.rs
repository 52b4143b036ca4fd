//! Figures of several rounds: the middle one, and how far they lie apart.

use std::fmt;

/// Figures of the same thing, one for each round.
///
/// ```
/// use nexarch::bench::sample::Sample;
///
/// let sample: Sample = [3.0, 1.0, 2.0].into_iter().collect();
/// assert_eq!((sample.median(), sample.min(), sample.max()), (2.0, 1.0, 3.0));
/// assert_eq!(sample.spread(), "1.00 to 3.00");
/// ```
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// Ascending.
    figures: Vec<f64>,
}

impl FromIterator<f64> for Sample {
    fn from_iter<I: IntoIterator<Item = f64>>(figures: I) -> Self {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        Self { figures }
    }
}

impl Sample {
    /// All of them, ascending.
    pub fn figures(&self) -> &[f64] {
        &self.figures
    }

    /// The figure that a share `q` of the figures does not exceed; NaN when there are none.
    pub fn quantile(&self, q: f64) -> f64 {
        let last = self.figures.len().saturating_sub(1);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to `last`")]
        let at = (last as f64 * q.clamp(0.0, 1.0)).round() as usize;
        self.figures.get(at).copied().unwrap_or(f64::NAN)
    }

    /// The middle figure.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The smallest figure.
    pub fn min(&self) -> f64 {
        self.quantile(0.0)
    }

    /// The largest figure.
    pub fn max(&self) -> f64 {
        self.quantile(1.0)
    }

    /// "smallest to largest".
    pub fn spread(&self) -> String {
        format!("{} to {}", Figure(self.min()), Figure(self.max()))
    }
}

/// A number with three digits that count, at least.
///
/// ```
/// use nexarch::bench::sample::Figure;
///
/// assert_eq!(Figure(1.234).to_string(), "1.23");
/// assert_eq!(Figure(12.34).to_string(), "12.3");
/// assert_eq!(Figure(123_456.0).to_string(), "123456");
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Figure(pub f64);

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = match self.0.abs() {
            size if size < 9.995 => 2,
            size if size < 99.95 => 1,
            _ => 0,
        };
        write!(f, "{:.digits$}", self.0)
    }
}
