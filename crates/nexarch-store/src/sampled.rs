//! Traces that were drawn to be looked at as a whole.

use nexarch_core::facts::Facts;

/// A sample of the traces of a range.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sampled {
    /// Each by all its spans, whose weights say how many the trace stands for.
    pub traces: Vec<Vec<Facts>>,
    /// How many traces begin in the hours that were looked at, as the sample tells.
    pub estimated: f64,
    /// Hours with traces that were looked at.
    pub hours: u64,
}
