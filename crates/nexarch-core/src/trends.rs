//! Figures over time: of the system (entry requests), or of one service (its requests).

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    rollup::{Cell, Corrupt, Key, Rollup, Table},
    view::{Context, milliseconds, ratio},
    window::{Minutes, Range, WindowView, rfc3339},
};

/// Most points of a series.
const POINTS: u32 = 120;
/// Lengths of a bucket, in minutes. Up to an hour they divide it; the first that needs at most [`POINTS`] is taken,
/// which leaves at least 30 for windows of an hour and more.
const BUCKETS: [u32; 11] = [1, 5, 15, 30, 60, 120, 360, 720, 1440, 2880, 7200];

/// The answer of `trends`, and of `services/{name}/metrics`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Series {
    /// Plain name of the service; absent for the whole system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Length of a bucket.
    pub bucket_seconds: u64,
    /// One point per bucket that touches the window, empty ones included, by time.
    pub points: Vec<Point>,
    /// Commit time of the newest data, RFC 3339; `null` without data.
    pub last_updated: Option<String>,
    /// What the figures are of.
    pub window: WindowView,
}

/// Figures of one bucket of time.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Point {
    /// Begin of the bucket, RFC 3339. Buckets begin at multiples of their length since 1970, so that points stay
    /// where they are when the window moves; the first and the last may be cut by the window.
    pub time: String,
    /// Requests, by sampling weight.
    pub request_count: u64,
    /// Requests per second of the part of the bucket that lies in the window.
    pub requests_per_second: Option<f64>,
    /// Share of failures, 0…1; `null` without requests.
    pub error_rate: Option<f64>,
    /// Mean; `null` when no duration is known, like the others.
    pub avg_latency_ms: Option<f64>,
    /// Median.
    pub p50_latency_ms: Option<f64>,
    /// 95 % are not slower.
    pub p95_latency_ms: Option<f64>,
    /// 99 % are not slower.
    pub p99_latency_ms: Option<f64>,
}

/// Entry requests over time.
pub fn trends<'a>(
    blobs: impl IntoIterator<Item = (u32, &'a [u8])>,
    context: &Context<'_>,
) -> Result<Series, Corrupt> {
    let wanted = |table: &Table, key: Key| match key {
        Key::Entry(node) => context.includes(table.describe(node).1[0]),
        _ => false,
    };
    series(blobs, context, None, wanted)
}

/// Requests of the services of a name over time; the points of an unknown name are empty.
pub fn service_series<'a>(
    blobs: impl IntoIterator<Item = (u32, &'a [u8])>,
    context: &Context<'_>,
    name: &str,
) -> Result<Series, Corrupt> {
    let wanted = |table: &Table, key: Key| match key {
        Key::Request(node) => {
            let [environment, _, service, ..] = table.describe(node).1;
            service == name && context.includes(environment)
        }
        _ => false,
    };
    series(blobs, context, Some(name.into()), wanted)
}

fn series<'a>(
    blobs: impl IntoIterator<Item = (u32, &'a [u8])>,
    context: &Context<'_>,
    name: Option<String>,
    wanted: impl Fn(&Table, Key) -> bool,
) -> Result<Series, Corrupt> {
    let window = context.range.minutes;
    let length = bucket_minutes(context.range);
    let inside = blobs.into_iter().filter(|(minute, _)| (window.from..window.to).contains(minute));
    let rollup = Rollup::fold_by(inside, |minute| minute / length, wanted)?;
    let mut buckets: BTreeMap<u32, Cell> = BTreeMap::new();
    if !window.is_empty() {
        buckets.extend(
            (window.from / length..=(window.to - 1) / length).map(|bucket| (bucket, Cell::default())),
        );
    }
    for (&(bucket, _), cell) in &rollup.table.cells {
        buckets.entry(bucket).or_default().merge(cell, 1);
    }
    Ok(Series {
        name,
        bucket_seconds: u64::from(length) * 60,
        points: buckets.iter().map(|(&bucket, cell)| point(bucket, length, window, cell)).collect(),
        last_updated: context.last_updated(),
        window: context.window(),
    })
}

/// The longest cell, in minutes, that a series over this range can be made of: more detail would be read for nothing.
pub fn longest_cell(range: Range) -> u32 {
    let length = bucket_minutes(range);
    [60, 5].into_iter().find(|cell| length.is_multiple_of(*cell)).unwrap_or(1)
}

/// The shortest bucket of whole cells that needs at most [`POINTS`] for a window.
fn bucket_minutes(Range { minutes, grain, .. }: Range) -> u32 {
    let points = |length: u32| minutes.to.div_ceil(length).saturating_sub(minutes.from / length);
    let fits = |length: &u32| points(*length) <= POINTS && length.is_multiple_of(grain.max(1));
    BUCKETS.into_iter().find(fits).unwrap_or(BUCKETS[BUCKETS.len() - 1])
}

fn point(bucket: u32, length: u32, window: Minutes, cell: &Cell) -> Point {
    let begin = bucket.saturating_mul(length);
    let from = begin.max(window.from);
    let to = begin.saturating_add(length).min(window.to);
    let seconds = u64::from(to.saturating_sub(from)) * 60;
    let calls = cell.calls();
    Point {
        time: rfc3339(begin),
        request_count: calls,
        requests_per_second: ratio((seconds > 0).then(|| calls as f64 / seconds as f64)),
        error_rate: ratio(cell.error_rate()),
        avg_latency_ms: milliseconds(cell.mean_us()),
        p50_latency_ms: milliseconds(cell.quantile_us(500)),
        p95_latency_ms: milliseconds(cell.quantile_us(950)),
        p99_latency_ms: milliseconds(cell.quantile_us(990)),
    }
}

#[cfg(test)]
mod tests;
