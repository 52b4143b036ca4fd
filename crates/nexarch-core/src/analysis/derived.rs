//! Figures and scores of a window. Ratios without a denominator are `None`.

use serde::Serialize;

use crate::{
    rollup::{Cell, Corrupt, Key, Rollup, Table},
    view::ratio,
};

/// Why `uptime_percentage` and `uptime_coverage` are `null`.
pub const NO_UPTIME: &str = "uptime: nobody judged the minutes of this window";

/// Why `active_incidents` is `null`.
pub const NO_INCIDENTS: &str = "incidents are found by a server, minute by minute; this is no server";

/// Share of failures from which the error part of [`health_score`] is used up.
const WORST_ERRORS: f64 = 0.05;
/// Share of slow requests from which its latency part is.
const WORST_SLOW: f64 = 0.20;

/// Microseconds in a limit of milliseconds.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates, which is what a limit means"
)]
fn limit_us(ms: f64) -> u64 {
    (ms * 1000.0) as u64
}

/// Share of the timed requests of a cell that took longer than a limit in milliseconds, 0…1; `None` when no duration is
/// known. The bucket that holds the limit counts as not longer.
pub fn slow_share(requests: &Cell, limit_ms: f64) -> Option<f64> {
    let all = requests.histogram.total();
    let slow = requests.histogram.weight_above(limit_us(limit_ms));
    (all > 0).then(|| (slow as f64 / all as f64).clamp(0.0, 1.0))
}

/// Health of the whole, 0…100: `100 − 30·E − 20·L − 10·min(C, 5)`, with `E = (e − e₀)/(0.05 − e₀)` for an error rate e
/// and `e₀ = min(1 − SLO, 0.04)`, `L = s/0.20` for a share s of requests slower than the objective, both cut to 0…1, and
/// C open critical causes. `None` without requests.
///
/// ```
/// use nexarch_core::{analysis::derived::health_score, rollup::Cell};
/// let mut requests = Cell::default();
/// (0..100).for_each(|at| requests.observe(256, at < 3, Some(5_000_000)));
/// assert_eq!(health_score(&requests, 1000.0, 0.99, 0), Some(85), "3 % is half way from 1 % to 5 %");
/// assert_eq!(health_score(&requests, 1000.0, 0.99, 9), Some(35), "at most five causes count");
/// assert_eq!(health_score(&Cell::default(), 1000.0, 0.99, 0), None);
/// ```
pub fn health_score(
    entries: &Cell,
    latency_objective_ms: f64,
    availability_objective: f64,
    critical_causes: usize,
) -> Option<u64> {
    let errors = entries.error_rate()?;
    let free = (1.0 - availability_objective).clamp(0.0, 0.04);
    let e = ((errors - free) / (WORST_ERRORS - free)).clamp(0.0, 1.0);
    let l = (slow_share(entries, latency_objective_ms).unwrap_or(0.0) / WORST_SLOW).clamp(0.0, 1.0);
    let causes = critical_causes.min(5) as f64;
    Some(whole(100.0 - 30.0 * e - 20.0 * l - 10.0 * causes))
}

/// A score as a whole number, never below 0.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 100")]
fn whole(score: f64) -> u64 {
    score.max(0.0).round() as u64
}

/// Apdex, 0…1: `(satisfied + tolerating/2)/total`, satisfied up to the objective, tolerating up to four times of it.
/// `None` when no duration is known.
///
/// ```
/// use nexarch_core::{analysis::derived::apdex, rollup::Cell};
/// let mut requests = Cell::default();
/// for ms in [100, 100, 2_000, 9_000] {
///     requests.observe(256, false, Some(ms * 1_000_000));
/// }
/// assert_eq!(apdex(&requests, 1000.0), Some(0.625));
/// ```
pub fn apdex(requests: &Cell, latency_objective_ms: f64) -> Option<f64> {
    let frustrated = slow_share(requests, 4.0 * latency_objective_ms)?;
    let not_satisfied = slow_share(requests, latency_objective_ms)?;
    ratio(Some(1.0 - not_satisfied + (not_satisfied - frustrated) / 2.0))
}

/// How fast the error budget burns: error rate over `1 − SLO`; 1 uses it up exactly. `None` without requests, or when
/// the objective leaves no budget.
pub fn burn_rate(requests: &Cell, availability_objective: f64) -> Option<f64> {
    let budget = 1.0 - availability_objective;
    ratio((budget > 0.0).then_some(requests.error_rate()? / budget))
}

/// Is it an alarm by the Site Reliability Workbook (multi-window, multi-burn-rate, 30-day objective): 14.4 over an hour
/// and 5 minutes, or 6 over 6 hours and 30 minutes, long and short both? The rates are of the last 1 h, 5 min, 6 h and
/// 30 min; `None` counts as 0.
///
/// ```
/// use nexarch_core::analysis::derived::burns_too_fast;
/// assert!(burns_too_fast([Some(15.0), Some(20.0), Some(3.0), Some(20.0)]));
/// assert!(!burns_too_fast([Some(15.0), Some(0.0), Some(7.0), Some(5.0)]), "it is over");
/// ```
pub fn burns_too_fast([hour, minutes5, hours6, minutes30]: [Option<f64>; 4]) -> bool {
    let over = |rate: Option<f64>, limit: f64| rate.is_some_and(|rate| rate >= limit);
    (over(hour, 14.4) && over(minutes5, 14.4)) || (over(hours6, 6.0) && over(minutes30, 6.0))
}

/// Lengths of the windows of [`SloBurn`], in minutes, in the order of [`burns_too_fast`].
const BURN_WINDOWS: [u32; 4] = [60, 5, 360, 30];
/// The longest of them.
pub const LONGEST_BURN: u32 = 360;

/// How fast the error budget burns at the end of a window.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SloBurn {
    /// Is it an alarm: at least 14.4 over the last hour and the last 5 minutes, or at least 6 over the last 6 hours and
    /// the last 30 minutes?
    pub alarm: bool,
    /// Error rate of the entry requests of the last hour over `1 − availability objective`; 1 uses the budget up exactly.
    /// `null` without requests, like the others.
    pub burn_rate_1h: Option<f64>,
    /// Of the last 5 minutes, which begin at a multiple of 5 minutes.
    pub burn_rate_5m: Option<f64>,
    /// Of the last 6 hours.
    pub burn_rate_6h: Option<f64>,
    /// Of the last 30 minutes.
    pub burn_rate_30m: Option<f64>,
}

/// The burn rates of the entry requests of an environment, or of all (`None`), at the end of the data: `cells` by begin,
/// which cover the last 6 hours before `end` (minutes since the Unix epoch, a multiple of 5) in cells of at most 5 minutes.
pub fn slo_burn<'a>(
    cells: impl IntoIterator<Item = (u32, &'a [u8])>,
    end: u32,
    environment: Option<&str>,
    availability_objective: f64,
) -> Result<SloBurn, Corrupt> {
    let wanted = |table: &Table, key: Key| match key {
        Key::Entry(node) => environment.is_none_or(|name| **table.describe(node).1[0] == *name),
        _ => false,
    };
    let rollup = Rollup::fold_by(cells, |minute| minute, wanted)?;
    let rates = BURN_WINDOWS.map(|length| {
        let mut sum = Cell::default();
        for ((minute, _), cell) in &rollup.table.cells {
            if (end.saturating_sub(length)..end).contains(minute) {
                sum.merge_counts(cell);
            }
        }
        burn_rate(&sum, availability_objective)
    });
    let [hour, minutes, quarter_day, half_hour] = rates;
    Ok(SloBurn {
        alarm: burns_too_fast(rates),
        burn_rate_1h: hour,
        burn_rate_5m: minutes,
        burn_rate_6h: quarter_day,
        burn_rate_30m: half_hour,
    })
}

/// Points of a score, joined by lines; after the last it goes on as between the last two, down to 0.
type Points = [(f64, f64); 4];

const LATENCY: Points = [(0.0, 100.0), (500.0, 85.0), (1000.0, 70.0), (2000.0, 50.0)];
const ERRORS: Points = [(0.0, 100.0), (0.02, 85.0), (0.05, 70.0), (0.1, 50.0)];

fn score(points: &Points, value: f64) -> f64 {
    let last = points.len() - 2;
    let at = points[1..].iter().position(|point| value <= point.0).unwrap_or(last).min(last);
    let ((x0, y0), (x1, y1)) = (points[at], points[at + 1]);
    (y0 + (value - x0) * (y1 - y0) / (x1 - x0)).clamp(0.0, 100.0)
}

/// Score of a p95 in milliseconds, 0…100: 85 at 500 ms, 70 at 1 s, 50 at 2 s, straight between, 0 from 4.5 s on.
pub fn latency_score(p95_ms: f64) -> f64 {
    score(&LATENCY, p95_ms)
}

/// Score of an error rate, 0…100: 85 at 2 %, 70 at 5 %, 50 at 10 %, straight between, 0 from 22.5 % on.
pub fn error_score(rate: f64) -> f64 {
    score(&ERRORS, rate)
}

/// Score of the findings, 0…100: `100 − 15·critical − 10·high`.
pub fn architecture_score(critical: usize, high: usize) -> f64 {
    (100.0 - 15.0 * critical as f64 - 10.0 * high as f64).max(0.0)
}

/// Score of what hinders growth, 0…100: 20 less for each cycle, 15 less for more than two bottlenecks.
pub fn scale_score(cycles: usize, bottlenecks: usize) -> f64 {
    (100.0 - 20.0 * cycles as f64 - if bottlenecks > 2 { 15.0 } else { 0.0 }).max(0.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        facts::Facts,
        infer::{contribution, testing::server},
        rollup::Delta,
    };

    fn requests(good: u32, bad: u32, slow: u32) -> Cell {
        let mut cell = Cell::default();
        for at in 0..good + bad + slow {
            let ms = if at < slow { 2_000 } else { 10 };
            cell.observe(256, at >= good + slow, Some(ms * 1_000_000));
        }
        cell
    }

    #[test]
    fn the_points_of_the_scores() {
        for (ms, points) in
            [(0.0, 100.0), (500.0, 85.0), (750.0, 77.5), (2000.0, 50.0), (3000.0, 30.0), (9e9, 0.0)]
        {
            assert!((latency_score(ms) - points).abs() < 1e-9, "{ms}");
        }
        for (rate, points) in
            [(0.0, 100.0), (0.01, 92.5), (0.05, 70.0), (0.1, 50.0), (0.15, 30.0), (1.0, 0.0)]
        {
            assert!((error_score(rate) - points).abs() < 1e-9, "{rate}");
        }
        assert!((architecture_score(1, 2) - 65.0).abs() < 1e-9 && architecture_score(9, 0) <= 0.0);
        assert!((scale_score(1, 3) - 65.0).abs() < 1e-9 && (scale_score(0, 2) - 100.0).abs() < 1e-9);
    }

    #[test]
    fn health_has_no_cliffs_and_a_floor() {
        let of = |cell: &Cell, causes| health_score(cell, 1000.0, 0.99, causes).unwrap();
        assert_eq!(of(&requests(1000, 0, 0), 0), 100);
        assert_eq!(of(&requests(990, 10, 0), 0), 100, "what the objective allows is free");
        assert_eq!(of(&requests(950, 50, 0), 0), 70);
        assert_eq!(of(&requests(949, 51, 0), 0), 70, "5.1 % is not another world than 5 %");
        assert_eq!(of(&requests(900, 0, 100), 0), 90, "10 % slow is half of 20 points");
        assert_eq!(of(&requests(0, 500, 500), 5), 0);
        // An objective of 90 % leaves at least one point between free and worst.
        assert_eq!(health_score(&requests(96, 4, 0), 1000.0, 0.9, 0), Some(100));
        assert_eq!(health_score(&requests(0, 9, 0), 1000.0, 1.5, 0), Some(70));
    }

    #[test]
    fn budgets_and_shares() {
        assert_eq!(burn_rate(&requests(90, 10, 0), 0.99), Some(10.0));
        assert_eq!((burn_rate(&requests(90, 10, 0), 1.0), burn_rate(&Cell::default(), 0.99)), (None, None));
        assert_eq!((apdex(&Cell::default(), 1000.0), slow_share(&Cell::default(), 1.0)), (None, None));
        assert!(burns_too_fast([None, None, Some(6.0), Some(6.0)]));
        assert!(!burns_too_fast([Some(14.4), None, None, None]));
    }

    #[test]
    fn burn_rates_are_of_the_last_minutes_of_an_environment() {
        const END: u32 = 1_000_200;
        let request = |environment: &str, minute: u32, error: bool, id: u64| {
            contribution(&[Facts {
                error,
                start_ns: u64::from(minute) * 60_000_000_000,
                ..server("a", id, 0)
            }
            .with(|it| it.environment = environment.into())])
        };
        let mut sum = Delta::default();
        // 10 requests 6 h, 1 h, 30 min and 5 min ago and a minute before each; of the newest 10 half fail.
        for (nth, ago) in (0u64..).zip([361, 360, 61, 60, 31, 30, 6, 5]) {
            for id in 0..10 {
                sum.add(&request("prod", END - ago, ago == 5 && id < 5, 100 * nth + id + 1));
            }
        }
        sum.add(&request("test", END - 1, true, 9_999));
        let blobs = sum.encode();
        let cells = || blobs.iter().map(|(minute, blob)| (*minute, &**blob));
        let burn = slo_burn(cells(), END, Some("prod"), 0.9).unwrap();
        assert_eq!(burn.burn_rate_5m, Some(5.0));
        assert_eq!(burn.burn_rate_30m, Some(1.666_667), "5 of 30");
        assert_eq!(burn.burn_rate_1h, Some(1.0), "5 of 50");
        assert_eq!(burn.burn_rate_6h, Some(0.714_286), "5 of 70");
        assert!(!burn.alarm);
        let burn = slo_burn(cells(), END, Some("prod"), 0.99).unwrap();
        assert!(burn.alarm, "7 over 6 hours, 17 over 30 minutes: {burn:?}");
        assert_eq!(slo_burn(cells(), END, Some("moon"), 0.99).unwrap().burn_rate_6h, None);
        assert_eq!(slo_burn(cells(), END, None, 0.9).unwrap().burn_rate_5m, Some(5.454_545));
    }

    proptest! {
        #[test]
        fn worse_is_never_better(good in 1u32..200, bad in 0u32..50, slow in 0u32..50, causes in 0usize..7) {
            let score = |bad, slow, causes| health_score(&requests(good, bad, slow), 1000.0, 0.99, causes).unwrap();
            prop_assert!(score(bad, slow, causes) >= score(bad, slow, causes + 1));
            prop_assert!(score(bad, slow, causes) >= score(bad + 1, slow, causes).saturating_sub(1));
            prop_assert!((0.0..=1.0).contains(&apdex(&requests(good, bad, slow), 1000.0).unwrap()));
        }
    }
}
