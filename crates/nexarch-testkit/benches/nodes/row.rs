//! Lines of the table of targets, and what goes into them.

use std::time::Duration;

/// Prints `| what | figure | spread | target | verdict |`; `cargo xtask bench` gathers lines that begin like this.
pub(crate) fn print(what: &str, figure: &str, spread: &str, target: &str, met: bool) {
    let verdict = if met { "met" } else { "MISSED" };
    println!("| {what} | {figure} | {spread} | {target} | {verdict} |");
}

/// Times, to be asked for their quantiles.
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// Of a share of 0 to 1, the nearest of those that are there.
    pub(crate) fn at(&self, share: f64) -> Duration {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in a list")]
        let at = ((self.0.len() - 1) as f64 * share).round() as usize;
        self.0[at]
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// How many took longer.
    pub(crate) fn above(&self, limit: Duration) -> usize {
        self.0.iter().filter(|time| **time > limit).count()
    }
}

pub(crate) fn ms(time: Duration) -> String {
    if time < Duration::from_micros(100) {
        return format!("{:.1} µs", time.as_secs_f64() * 1e6);
    }
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}
