//! Was the system up, minute by minute?
//!
//! An entry request is *bad* when it failed, or took over four times the latency objective: of the cells of a minute that
//! is `failed + slow(all) − slow(failed)`, for any limit. Minutes are judged in *slots* inside of each 5 minutes of the
//! clock: a minute with fewer than [`LEAST_REQUESTS`] is joined with those after it, up to the end of the 5. A slot is down
//! when over 5 % of its requests were bad, and at least [`LEAST_BAD`]. A minute without requests says nothing.
//!
//! The 5 minutes of the clock are those into which minutes are merged, so what a reader of minutes and what a merger finds
//! is the same.

use std::collections::BTreeMap;

use crate::{
    limits::MAX_ENVIRONMENTS,
    rollup::{Corrupt, Key, Rollup},
    window::Minutes,
};

/// Fewer requests in a minute are judged together with those after it.
const LEAST_REQUESTS: i64 = 10;
/// One bad request of three is no outage.
const LEAST_BAD: i64 = 2;
/// More bad ones than one of so many.
const ONE_OF: i64 = 20;
/// A request is bad when it took over so many times the latency objective: Apdex calls it frustrated.
const FRUSTRATED: f64 = 4.0;
/// Longest slot, minutes.
const BLOCK: u32 = 5;
const HOUR: u32 = 60;

/// The duration from which a request is bad, microseconds.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates, which is what a limit means"
)]
pub fn limit_us(latency_objective_ms: f64) -> u64 {
    (FRUSTRATED * latency_objective_ms * 1000.0) as u64
}

/// Verdicts on the minutes of an hour, one bit each; bit 0 is its first minute.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Masks {
    /// There were requests.
    pub seen: u64,
    /// They were bad.
    pub down: u64,
}

impl Masks {
    /// The bits of the 5 minutes that hold a minute (since the Unix epoch).
    pub fn block(minute: u32) -> u64 {
        0b1_1111 << (minute % HOUR / BLOCK * BLOCK)
    }

    /// Puts what is found about some minutes, given by their bits, in the place of what was known.
    #[must_use]
    pub fn replaced(self, bits: u64, by: Self) -> Self {
        Self { seen: self.seen & !bits | by.seen, down: self.down & !bits | by.down }
    }

    /// Adds verdicts on minutes about which nothing was known.
    #[must_use]
    pub fn completed(self, by: Self) -> Self {
        Self { seen: self.seen | by.seen, down: self.down | (by.down & !self.seen) }
    }

    /// The minutes of a window, when the hour begins at `hour`.
    fn within(self, hour: u32, window: Minutes) -> Self {
        let at = |minute: u32| minute.saturating_sub(hour).min(HOUR);
        let below = |minutes: u32| (1u64 << minutes) - 1;
        let bits = below(at(window.to)) & !below(at(window.from));
        Self { seen: self.seen & bits, down: self.down & bits }
    }
}

/// Verdicts on one hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdicts {
    /// The environment that they are about; `None` for all together.
    pub environment: Option<String>,
    /// Begin of the hour, minutes since the Unix epoch.
    pub hour: u32,
    /// The verdicts.
    pub masks: Masks,
}

/// Entry requests of a minute or more.
#[derive(Debug, Clone, Copy, Default)]
struct Traffic {
    /// Observed ones.
    requests: i64,
    /// What they stand for, in 1/256.
    weight: i64,
    /// What the bad ones stand for, in 1/256.
    bad: i64,
}

impl Traffic {
    fn add(&mut self, other: Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.weight = self.weight.saturating_add(other.weight);
        self.bad = self.bad.saturating_add(other.bad);
    }

    /// Histograms hold weights, so the bad ones that were observed are as many as their share of the weight says.
    fn is_down(self) -> bool {
        let observed = i128::from(self.bad) * i128::from(self.requests);
        let over = i128::from(self.bad) * i128::from(ONE_OF) > i128::from(self.weight);
        over && observed >= i128::from(LEAST_BAD) * i128::from(self.weight)
    }
}

/// Judges minutes by their cells: hours with at least one request, for all environments together (first) and for each of
/// them (at most [`MAX_ENVIRONMENTS`], the busiest), by hour. `limit_us` is that of [`limit_us`]. The 5 minutes of the clock
/// should be there as a whole.
pub fn judge<'a>(
    minutes: impl IntoIterator<Item = (u32, &'a [u8])>,
    limit_us: u64,
) -> Result<Vec<Verdicts>, Corrupt> {
    let wanted = |key: Key| matches!(key, Key::Entry(_) | Key::Failed(_));
    let rollup = Rollup::fold_by(minutes, |minute| minute, |_, key| wanted(key))?;
    let mut all: BTreeMap<u32, Traffic> = BTreeMap::new();
    let mut of_each: BTreeMap<&str, BTreeMap<u32, Traffic>> = BTreeMap::new();
    for (&(minute, key), cell) in &rollup.table.cells {
        let slow = cell.histogram.weight_above(limit_us);
        let (node, traffic) = match key {
            Key::Entry(node) => {
                let bad = cell.error_weight.saturating_add(slow);
                (node, Traffic { requests: cell.count, weight: cell.weight, bad })
            }
            // Both slow and failed: counted twice above.
            Key::Failed(node) => (node, Traffic { bad: slow.saturating_neg(), ..Traffic::default() }),
            _ => continue,
        };
        let environment: &str = rollup.table.describe(node).1[0];
        all.entry(minute).or_default().add(traffic);
        of_each.entry(environment).or_default().entry(minute).or_default().add(traffic);
    }
    let mut found = hours(None, &all);
    let mut busiest: Vec<_> = of_each.into_iter().collect();
    let requests = |minutes: &BTreeMap<u32, Traffic>| minutes.values().map(|it| it.requests).sum::<i64>();
    busiest.sort_by_cached_key(|(name, minutes)| (std::cmp::Reverse(requests(minutes)), *name));
    for (environment, minutes) in busiest.into_iter().take(MAX_ENVIRONMENTS) {
        found.extend(hours(Some(environment), &minutes));
    }
    Ok(found)
}

fn hours(environment: Option<&str>, minutes: &BTreeMap<u32, Traffic>) -> Vec<Verdicts> {
    let with_requests: Vec<(u32, Traffic)> =
        minutes.iter().filter(|(_, it)| it.requests > 0).map(|(minute, it)| (*minute, *it)).collect();
    let mut hours: BTreeMap<u32, Masks> = BTreeMap::new();
    for block in with_requests.chunk_by(|a, b| a.0 / BLOCK == b.0 / BLOCK) {
        let masks = hours.entry(block[0].0 / HOUR * HOUR).or_default();
        let mut slot = (Traffic::default(), 0u64);
        for (nth, (minute, traffic)) in block.iter().enumerate() {
            slot.0.add(*traffic);
            slot.1 |= 1 << (minute % HOUR);
            if slot.0.requests >= LEAST_REQUESTS || nth + 1 == block.len() {
                masks.seen |= slot.1;
                masks.down |= if slot.0.is_down() { slot.1 } else { 0 };
                slot = (Traffic::default(), 0);
            }
        }
    }
    let environment = environment.map(str::to_owned);
    hours
        .into_iter()
        .map(|(hour, masks)| Verdicts { environment: environment.clone(), hour, masks })
        .collect()
}

/// What is known of the minutes of a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Uptime {
    /// `100·up/(up + down)` over the minutes with requests, four digits; `None` without any.
    pub percentage: Option<f64>,
    /// Share of the minutes of the window that had requests, 0…1; `None` for an empty window.
    pub coverage: Option<f64>,
}

/// Adds up verdicts that were kept, by hour, and judges the minutes that are given (whose verdicts take the place of those
/// kept of their 5 minutes), of one environment or of all together.
pub fn uptime<'a>(
    kept: &[(u32, Masks)],
    minutes: impl IntoIterator<Item = (u32, &'a [u8])>,
    window: Minutes,
    environment: Option<&str>,
    limit_us: u64,
) -> Result<Uptime, Corrupt> {
    let mut hours: BTreeMap<u32, Masks> = kept.iter().copied().collect();
    let minutes: Vec<(u32, &[u8])> = minutes.into_iter().collect();
    for &(minute, _) in &minutes {
        let masks = hours.entry(minute / HOUR * HOUR).or_default();
        *masks = masks.replaced(Masks::block(minute), Masks::default());
    }
    let judged = judge(minutes, limit_us)?;
    for Verdicts { hour, masks, .. } in judged.iter().filter(|it| it.environment.as_deref() == environment) {
        let known = hours.entry(*hour).or_default();
        *known = known.completed(*masks);
    }
    let (mut seen, mut down) = (0, 0);
    for (hour, masks) in hours {
        let masks = masks.within(hour, window);
        seen += masks.seen.count_ones();
        down += masks.down.count_ones();
    }
    let digits = |value: f64| (value * 1e4).round() / 1e4;
    let length = window.len();
    Ok(Uptime {
        percentage: (seen > 0).then(|| digits(100.0 * f64::from(seen - down) / f64::from(seen))),
        coverage: (length > 0).then(|| digits(f64::from(seen) / f64::from(length))),
    })
}

#[cfg(test)]
mod tests;
