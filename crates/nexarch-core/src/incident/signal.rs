//! Is a minute worse than usual?

use serde::{Deserialize, Serialize};

use crate::{
    rollup::Cell,
    statistics::{proportions, quantile_range, two_sided},
};

/// Robust standard deviations from which a minute is anomalous …
const ANOMALOUS: f64 = 4.0;
/// … and under which it is calm.
const CALM: f64 = 2.5;
/// Least change, of the p95 and of the rate …
const LEAST_CHANGE: f64 = 0.10;
/// … and of the error ratio.
const LEAST_POINTS: f64 = 0.01;
/// Least number of requests in five minutes: fewer prove nothing.
pub(super) const LEAST_REQUESTS: u64 = 30;
/// A median absolute deviation of a normal distribution is this part of its standard deviation.
const NORMAL: f64 = 1.4826;
/// Least deviation, as a share of the median: three alike are no proof of none.
const LEAST_DEVIATION: f64 = 0.02;
/// Share of failures that is too many, and least number of them, when nothing is known of what is usual.
const LIMIT_ERRORS: (f64, u64) = (0.05, 2);

/// A figure that is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Signal {
    /// Share of requests that failed.
    ErrorRatio,
    /// The duration that 95 % of requests do not exceed.
    P95,
    /// Fewer requests than usual.
    RateDrop,
}

impl Signal {
    /// All.
    pub const ALL: [Self; 3] = [Self::ErrorRatio, Self::P95, Self::RateDrop];

    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ErrorRatio => "error_ratio",
            Self::P95 => "p95",
            Self::RateDrop => "rate_drop",
        }
    }
}

/// What is usual.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) enum Expected {
    /// Nothing is known: fixed limits hold.
    #[default]
    Unknown,
    /// So many of so many requests fail.
    Share { failed: u64, all: u64 },
    /// A level with its median absolute deviation; of a rate also how many requests one that was observed stands for.
    Level { median: f64, deviation: f64, each: f64 },
}

/// A minute beside what is usual.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Reading {
    pub(super) value: f64,
    pub(super) expected: Option<f64>,
    pub(super) z: Option<f64>,
    pub(super) is_anomalous: bool,
    pub(super) is_calm: bool,
}

/// Median, and median of the distances from it; `None` of nothing.
pub(super) fn level(mut values: Vec<f64>, each: f64) -> Option<Expected> {
    let median = median(&mut values)?;
    for value in &mut values {
        *value = (*value - median).abs();
    }
    let deviation = self::median(&mut values)?;
    Some(Expected::Level { median, deviation, each })
}

fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = values[(values.len() - 1) / 2];
    Some(f64::midpoint(lower, upper))
}

/// The requests of a minute beside what is usual; `in_five` is how many there were in the five minutes that end with it.
/// `None` where the minute says nothing.
pub(super) fn read(
    signal: Signal,
    minute: &Cell,
    in_five: u64,
    expected: Expected,
    objective_ms: f64,
) -> Option<Reading> {
    let reading = match signal {
        Signal::ErrorRatio => error_ratio(minute, expected),
        Signal::P95 => p95(minute, expected, objective_ms),
        Signal::RateDrop => return rate(minute, expected),
    }?;
    Some(Reading { is_anomalous: reading.is_anomalous && in_five >= LEAST_REQUESTS, ..reading })
}

fn error_ratio(minute: &Cell, expected: Expected) -> Option<Reading> {
    let all = u64::try_from(minute.count).ok().filter(|&all| all > 0)?;
    let failed = u64::try_from(minute.errors).unwrap_or(0).min(all);
    let value = failed as f64 / all as f64;
    let Expected::Share { failed: usually, all: of } = expected else {
        let (share, least) = LIMIT_ERRORS;
        let over = value > share && failed >= least;
        return Some(Reading { value, expected: None, z: None, is_anomalous: over, is_calm: !over });
    };
    let usual = usually as f64 / of as f64;
    let test = proportions((usually, of), (failed, all))?;
    let z = if value > usual { test.z.unwrap_or_else(|| deviations(test.p_value)) } else { 0.0 };
    Some(Reading {
        value,
        expected: Some(usual),
        z: Some(z),
        is_anomalous: z >= ANOMALOUS && value - usual >= LEAST_POINTS,
        is_calm: z < CALM,
    })
}

/// How far a standard normal variable is off that is at least so far off with this probability, two-sided.
fn deviations(p_value: f64) -> f64 {
    let (mut low, mut high) = (0.0, 40.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if two_sided(middle) > p_value { low = middle } else { high = middle }
    }
    low
}

/// What counts is the lower end of the p95's 95 % interval: of few requests a slow one or two are no news.
fn p95(minute: &Cell, expected: Expected, objective_ms: f64) -> Option<Reading> {
    let ms = |us: f64| us / 1000.0;
    let observed = u64::try_from(minute.timed).ok().filter(|&timed| timed > 0)?;
    let value = ms(minute.quantile_us(950)?);
    let surely = || quantile_range(&minute.histogram, observed, 950).low_us.map_or(0.0, ms);
    let Expected::Level { median, deviation, .. } = expected else {
        let over = value > objective_ms && surely() > objective_ms;
        return Some(Reading { value, expected: None, z: None, is_anomalous: over, is_calm: !over });
    };
    let scale = NORMAL * deviation.max(LEAST_DEVIATION * median).max(f64::MIN_POSITIVE);
    let off = (value - median) / scale;
    // The interval takes time to find, and is below the value.
    let low = if off < CALM { value } else { surely() };
    let z = (low - median) / scale;
    Some(Reading {
        value,
        expected: Some(median),
        z: Some(z),
        is_anomalous: z >= ANOMALOUS && low >= median * (1.0 + LEAST_CHANGE),
        is_calm: z < CALM,
    })
}

/// Chance alone moves a count by its root; and what is usual must be at least [`LEAST_REQUESTS`] in five minutes.
fn rate(minute: &Cell, expected: Expected) -> Option<Reading> {
    let Expected::Level { median, deviation, each } = expected else { return None };
    if 5.0 * median < LEAST_REQUESTS as f64 * each {
        return None;
    }
    let value = requests(minute);
    let scale = (NORMAL * deviation.max(LEAST_DEVIATION * median)).max((median * each).sqrt());
    let z = (median - value) / scale;
    Some(Reading {
        value,
        expected: Some(median),
        z: Some(z),
        is_anomalous: z >= ANOMALOUS && value <= median * (1.0 - LEAST_CHANGE),
        is_calm: z < CALM,
    })
}

/// How many requests a cell stands for.
pub(super) fn requests(cell: &Cell) -> f64 {
    cell.weight.max(0) as f64 / 256.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(good: u32, failed: u32, slow: u32) -> Cell {
        let mut cell = Cell::default();
        for nth in 0..good + failed + slow {
            let ms = if nth < slow { 900 } else { 100 };
            cell.observe(256, nth >= good + slow, Some(ms * 1_000_000));
        }
        cell
    }

    fn verdict(signal: Signal, minute: &Cell, expected: Expected) -> (bool, bool) {
        let reading = read(signal, minute, 30, expected, 500.0).unwrap();
        (reading.is_anomalous, reading.is_calm)
    }

    #[test]
    fn medians_and_their_deviations() {
        let Some(Expected::Level { median, deviation, .. }) = level(vec![5.0, 1.0, 3.0, 100.0], 1.0) else {
            panic!("a level")
        };
        assert_eq!((median, deviation), (4.0, 2.0));
        assert_eq!(level(Vec::new(), 1.0), None);
        assert!((deviations(0.05) - 1.959_964).abs() < 1e-5 && deviations(1e-300) < 40.0);
    }

    #[test]
    fn errors_are_compared_as_two_shares() {
        let usual = Expected::Share { failed: 60, all: 6_000 };
        assert_eq!(verdict(Signal::ErrorRatio, &cell(99, 1, 0), usual), (false, true));
        assert_eq!(verdict(Signal::ErrorRatio, &cell(90, 10, 0), usual), (true, false));
        assert_eq!(verdict(Signal::ErrorRatio, &cell(95, 5, 0), usual), (false, false), "z is 2.8");
        // Very many requests prove half a point; it is not worth an incident.
        let usual = Expected::Share { failed: 1_000, all: 1_000_000 };
        assert_eq!(verdict(Signal::ErrorRatio, &cell(99_400, 600, 0), usual), (false, false));
        // Better than usual is calm.
        let usual = Expected::Share { failed: 3_000, all: 6_000 };
        assert_eq!(verdict(Signal::ErrorRatio, &cell(100, 0, 0), usual), (false, true));
        let reading = read(Signal::ErrorRatio, &cell(0, 29, 0), 29, usual, 500.0).unwrap();
        assert!(!reading.is_anomalous, "29 requests in five minutes");
    }

    #[test]
    fn a_p95_has_to_be_surely_higher() {
        let usual = Expected::Level { median: 100.0, deviation: 0.0, each: 1.0 };
        assert_eq!(verdict(Signal::P95, &cell(100, 0, 0), usual), (false, true));
        assert_eq!(verdict(Signal::P95, &cell(80, 0, 20), usual), (true, false));
        // The p95 of these is slow; by chance, perhaps.
        assert_eq!(verdict(Signal::P95, &cell(28, 0, 2), usual), (false, true));
        let wide = Expected::Level { median: 100.0, deviation: 500.0, each: 1.0 };
        assert_eq!(verdict(Signal::P95, &cell(0, 0, 100), wide), (false, true));
    }

    #[test]
    fn a_rate_drops_by_more_than_chance() {
        let usual = Expected::Level { median: 100.0, deviation: 1.0, each: 1.0 };
        assert_eq!(verdict(Signal::RateDrop, &cell(61, 0, 0), usual), (false, false), "3.9 roots");
        assert_eq!(verdict(Signal::RateDrop, &cell(60, 0, 0), usual), (true, false));
        assert_eq!(verdict(Signal::RateDrop, &cell(200, 0, 0), usual), (false, true), "more is no drop");
        assert_eq!(verdict(Signal::RateDrop, &Cell::default(), usual), (true, false));
        let few = Expected::Level { median: 5.9, deviation: 0.0, each: 1.0 };
        assert_eq!(read(Signal::RateDrop, &Cell::default(), 0, few, 500.0), None);
        // Each of these stands for 16: 100 requests are six that were seen.
        let sampled = Expected::Level { median: 100.0, deviation: 1.0, each: 16.0 };
        assert_eq!(verdict(Signal::RateDrop, &cell(20, 0, 0), sampled), (false, true));
    }

    #[test]
    fn without_anything_known_fixed_limits_hold() {
        let unknown = Expected::Unknown;
        assert_eq!(
            verdict(Signal::ErrorRatio, &cell(95, 5, 0), unknown),
            (false, true),
            "5 % is not over 5 %"
        );
        assert_eq!(verdict(Signal::ErrorRatio, &cell(94, 6, 0), unknown), (true, false));
        assert_eq!(verdict(Signal::P95, &cell(50, 0, 50), unknown), (true, false));
        assert_eq!(verdict(Signal::P95, &cell(100, 0, 0), unknown), (false, true));
        assert_eq!(read(Signal::RateDrop, &Cell::default(), 0, unknown, 500.0), None);
    }
}
