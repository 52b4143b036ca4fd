//! One part on both sides: is it more than chance, and does it matter?

use serde::Serialize;

use super::{ALPHA, Change, PartDrift};
use crate::{
    rollup::Cell,
    statistics::{Proportions, Ranks, SMALLEST_GROUP, adjust, mann_whitney, proportions, quantile_range},
    view::{Figures, milliseconds, ratio},
};

/// A change of the error rate matters from this many points of 1 on …
const POINT: f64 = 0.01;
/// … or when it is at least this many times the other: rare failures that double are worth a look.
const TIMES: f64 = 2.0;
/// A change of p50 or p95 matters from this share of the smaller on: buckets alone are 6 % wide.
const SLOWER: f64 = 0.10;

/// How failures compare.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = DriftErrors))]
pub struct Errors {
    /// `z` (two proportions), or `fisher` (exact) where a count of the table is expected to be below 5.
    pub test: &'static str,
    /// Standardised difference, positive when the head fails more often; `null` for the exact test.
    pub z: Option<f64>,
    /// Two-sided, before correction.
    pub p_value: f64,
    /// After correction for all tests of the comparison.
    pub q_value: f64,
    /// Head minus base, −1…1.
    pub difference: Option<f64>,
    /// Significant after correction, and by a point or twofold.
    pub changed: bool,
}

/// How durations compare.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = DriftLatency))]
pub struct Latency {
    /// Standardised, positive when the head takes longer.
    pub z: f64,
    /// Two-sided, before correction.
    pub p_value: f64,
    /// After correction for all tests of the comparison.
    pub q_value: f64,
    /// The probability that a duration of the head is longer than one of the base, 0…1; 0.5 when they are alike.
    pub superiority: f64,
    /// Medians.
    pub p50: Quantile,
    /// 95th percentiles.
    pub p95: Quantile,
    /// Significant after correction, and p50 or p95 differ by a tenth in its direction.
    pub changed: bool,
}

/// A quantile on both sides, each with its 95 % confidence interval.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = DriftQuantile))]
pub struct Quantile {
    /// Of the base.
    pub base_ms: Option<f64>,
    /// Where that of the base lies.
    pub base_interval: Interval,
    /// Of the head.
    pub head_ms: Option<f64>,
    /// Where that of the head lies.
    pub head_interval: Interval,
    /// Head over base; `null` where one is unknown or 0.
    pub ratio: Option<f64>,
}

/// A confidence interval of 95 %, from order statistics.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = QuantileInterval))]
pub struct Interval {
    /// Lower end; `null` where too few were observed for one.
    pub low_ms: Option<f64>,
    /// Upper end; `null` where too few were observed for one.
    pub high_ms: Option<f64>,
}

/// A part, with its cells on the sides on which it is.
pub(super) struct Pair<'a> {
    pub(super) base: Option<&'a Cell>,
    pub(super) head: Option<&'a Cell>,
    errors: Option<(Proportions, f64)>,
    latency: Option<(Ranks, f64)>,
}

impl<'a> Pair<'a> {
    pub(super) fn new(base: Option<&'a Cell>, head: Option<&'a Cell>) -> Self {
        Self { base, head, errors: None, latency: None }
    }

    /// Makes the tests that its figures allow.
    pub(super) fn test(&mut self) {
        let (Some(base), Some(head)) = (self.base, self.head) else { return };
        let count = |number: i64| u64::try_from(number).unwrap_or(0);
        let counts = |cell: &Cell| (count(cell.errors), count(cell.count));
        self.errors = proportions(counts(base), counts(head)).map(|test| (test, 1.0));
        let times = |cell: &'a Cell| (&cell.histogram, count(cell.timed));
        self.latency = mann_whitney(times(base), times(head)).map(|test| (test, 1.0));
    }

    /// Numbers of durations of both sides, when a side has some, but too few to compare them.
    pub(super) fn too_few(&self) -> Option<[u64; 2]> {
        let timed = [self.base?, self.head?].map(|cell| u64::try_from(cell.timed).unwrap_or(0));
        let [least, most] = [timed[0].min(timed[1]), timed[0].max(timed[1])];
        (least < SMALLEST_GROUP && most > 0).then_some(timed)
    }

    /// What became of it; `None` when nothing worth telling did.
    pub(super) fn describe(&self, seconds: [u64; 2]) -> Option<PartDrift> {
        let figures = |cell: Option<&Cell>, seconds| cell.map(|cell| Figures::of(cell, seconds));
        let (errors, latency) = (self.errors(), self.latency());
        let mut verdicts: Vec<bool> = Vec::new();
        verdicts.extend(errors.iter().filter(|it| it.changed).map(|it| it.difference > Some(0.0)));
        for quantile in latency.iter().filter(|it| it.changed).flat_map(|it| [&it.p50, &it.p95]) {
            verdicts.extend([true, false].into_iter().filter(|&longer| quantile.moved(longer)));
        }
        let change = match (self.base, self.head) {
            (None, None) => return None,
            (None, Some(_)) => Change::New,
            (Some(_), None) => Change::Gone,
            _ => match (verdicts.contains(&true), verdicts.contains(&false)) {
                (true, true) => Change::Mixed,
                (true, false) => Change::Worse,
                (false, true) => Change::Better,
                (false, false) => return None,
            },
        };
        let (base, head) = (figures(self.base, seconds[0]), figures(self.head, seconds[1]));
        Some(PartDrift { change, base, head, errors, latency })
    }

    fn errors(&self) -> Option<Errors> {
        let (test, q_value) = self.errors.as_ref()?;
        let (base, head) = (observed_rate(self.base?)?, observed_rate(self.head?)?);
        let difference = head - base;
        let matters = difference.abs() >= POINT || head.max(base) >= TIMES * head.min(base);
        Some(Errors {
            test: if test.z.is_some() { "z" } else { "fisher" },
            z: test.z.map(two_digits),
            p_value: test.p_value,
            q_value: *q_value,
            difference: ratio(Some(difference)),
            changed: *q_value <= ALPHA && difference != 0.0 && matters,
        })
    }

    fn latency(&self) -> Option<Latency> {
        let (test, q_value) = self.latency.as_ref()?;
        let (base, head) = (self.base?, self.head?);
        let (p50, p95) = (Quantile::of(base, head, 500), Quantile::of(base, head, 950));
        let longer = test.superiority > 0.5;
        let moved = [&p50, &p95].iter().any(|quantile| quantile.moved(longer));
        Some(Latency {
            z: two_digits(test.z),
            p_value: test.p_value,
            q_value: *q_value,
            superiority: ratio(Some(test.superiority)).unwrap_or(0.5),
            changed: *q_value <= ALPHA && moved,
            p50,
            p95,
        })
    }
}

impl Quantile {
    fn of(base: &Cell, head: &Cell, per_mille: u16) -> Self {
        let interval = |cell: &Cell| {
            let observed = u64::try_from(cell.timed).unwrap_or(0);
            let range = quantile_range(&cell.histogram, observed, per_mille);
            Interval { low_ms: milliseconds(range.low_us), high_ms: milliseconds(range.high_us) }
        };
        let (old, new) = (base.quantile_us(per_mille), head.quantile_us(per_mille));
        Self {
            base_ms: milliseconds(old),
            base_interval: interval(base),
            head_ms: milliseconds(new),
            head_interval: interval(head),
            ratio: old.zip(new).filter(|(old, _)| *old > 0.0).and_then(|(old, new)| ratio(Some(new / old))),
        }
    }

    /// Did it move by enough in a direction?
    fn moved(&self, longer: bool) -> bool {
        let Some((old, new)) = self.base_ms.zip(self.head_ms) else { return false };
        if longer {
            new >= old * (1.0 + SLOWER) && new > old
        } else {
            old >= new * (1.0 + SLOWER) && old > new
        }
    }
}

/// The share that the test is about: of what was really observed.
fn observed_rate(cell: &Cell) -> Option<f64> {
    (cell.count > 0).then(|| cell.errors as f64 / cell.count as f64)
}

fn two_digits(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// How many tests were made, and what came of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tested {
    pub(super) tests: usize,
    pub(super) significant: usize,
}

/// Corrects all tests together.
pub(super) fn correct<'p, 'c: 'p>(pairs: impl Iterator<Item = &'p mut Pair<'c>>) -> Tested {
    let mut pairs: Vec<&mut Pair<'c>> = pairs.collect();
    let mut p_values = Vec::new();
    for pair in &pairs {
        p_values.extend(pair.errors.as_ref().map(|(test, _)| test.p_value));
        p_values.extend(pair.latency.as_ref().map(|(test, _)| test.p_value));
    }
    let adjusted = adjust(&p_values);
    let mut next = adjusted.iter().copied();
    for pair in &mut pairs {
        if let Some((_, q_value)) = &mut pair.errors {
            *q_value = next.next().unwrap_or(1.0);
        }
        if let Some((_, q_value)) = &mut pair.latency {
            *q_value = next.next().unwrap_or(1.0);
        }
    }
    Tested { tests: adjusted.len(), significant: adjusted.iter().filter(|q| **q <= ALPHA).count() }
}
