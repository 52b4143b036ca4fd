//! The dashboard's first figures: about entry requests, so that one failed request of 60 spans is one failure.

use serde::Serialize;

use crate::{
    analysis::{Analysis, Options},
    rollup::{Cell, Key, Rollup},
    view::{Context, Figures},
    window::{WindowView, rfc3339},
};

/// The answer of `overview`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Overview {
    /// Services that sent a span in the window.
    pub total_services: u64,
    /// Entry requests (requests that entered the system), by sampling weight.
    pub total_requests: u64,
    /// Entry requests that were really observed.
    pub observed_requests: u64,
    /// Stored spans of the window.
    pub total_spans: u64,
    /// Entry requests per second; `null` for an empty window.
    pub requests_per_second: Option<f64>,
    /// Mean duration of an entry request; `null` when none is known, like the others.
    pub avg_latency_ms: Option<f64>,
    /// Median.
    pub p50_latency_ms: Option<f64>,
    /// 95 % are not slower.
    pub p95_latency_ms: Option<f64>,
    /// 99 % are not slower.
    pub p99_latency_ms: Option<f64>,
    /// The p99 stands on fewer than 100 durations.
    pub low_n: bool,
    /// Share of failed entry requests, 0…1; `null` without any.
    pub error_rate: Option<f64>,
    /// 100 − 30·errors − 20·slow requests − 10·critical causes, see [`crate::analysis::derived::health_score`]; `null`
    /// without requests.
    pub health_score: Option<u64>,
    /// Findings of severity critical, as `architecture/issues` lists them.
    pub critical_issues: usize,
    /// Findings of severity high or medium.
    pub warnings: usize,
    /// Mean number of other nodes that a node depends on, directly or not; `null` without nodes.
    pub architecture_complexity: Option<f64>,
    /// Incidents open at the end of the window, as `dashboard/health` lists them; `null` when nobody looks for any.
    pub active_incidents: Option<u64>,
    /// `100·up/(up + down)` over the minutes with requests: down are those in which over 5 % of the entry requests (at
    /// least 2) failed or took over four times the latency objective; `null` without requests.
    pub uptime_percentage: Option<f64>,
    /// Share of the minutes of the window that had requests, 0…1; `null` for an empty window.
    pub uptime_coverage: Option<f64>,
    /// Why figures are `null`.
    pub not_known: Vec<&'static str>,
    /// Where the data are, when they exist only outside the window or the environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Commit time of the newest data, RFC 3339; `null` without data.
    pub last_updated: Option<String>,
    /// What the figures are of.
    pub window: WindowView,
}

/// The overview of a window, of its cells alone.
pub fn overview(rollup: &Rollup, context: &Context<'_>, options: Options) -> Overview {
    overview_of(rollup, &Analysis::of(rollup, [], context, options), context)
}

/// The overview of a window, with its analysis.
pub fn overview_of(rollup: &Rollup, analysis: &Analysis<'_>, context: &Context<'_>) -> Overview {
    let mut services = 0;
    let mut spans: i64 = 0;
    let mut spans_elsewhere = false;
    let mut entries = Cell::default();
    for (key, cell) in rollup.cells() {
        let (Key::Spans(node) | Key::Entry(node)) = key else { continue };
        let environment = rollup.table.describe(node).1[0];
        match key {
            _ if !context.includes(environment) => spans_elsewhere = true,
            Key::Entry(_) => entries.merge(cell, 1),
            _ if cell.count > 0 => {
                services += 1;
                spans = spans.saturating_add(cell.count);
            }
            _ => {}
        }
    }
    let figures = Figures::of(&entries, context.range.seconds());
    let summary = analysis.summary();
    Overview {
        health_score: summary.health_score,
        critical_issues: summary.critical_issues,
        warnings: summary.warnings,
        architecture_complexity: summary.architecture_complexity,
        active_incidents: summary.active_incidents,
        uptime_percentage: summary.uptime_percentage,
        uptime_coverage: summary.uptime_coverage,
        not_known: summary.not_known,
        total_services: services,
        total_requests: figures.request_count,
        observed_requests: figures.observed_count,
        total_spans: u64::try_from(spans).unwrap_or(0),
        requests_per_second: figures.requests_per_second,
        avg_latency_ms: figures.avg_latency_ms,
        p50_latency_ms: figures.p50_latency_ms,
        p95_latency_ms: figures.p95_latency_ms,
        p99_latency_ms: figures.p99_latency_ms,
        low_n: figures.low_n,
        error_rate: figures.error_rate,
        hint: if spans > 0 { None } else { hint(context, spans_elsewhere) },
        last_updated: context.last_updated(),
        window: context.window(),
    }
}

/// Nothing to show, yet there is something: say where.
fn hint(context: &Context<'_>, in_other_environments: bool) -> Option<String> {
    if in_other_environments {
        return Some("There are spans in this window, but in other environments.".into());
    }
    let (oldest, newest) = context.stored_ns?;
    let shown = |ns: u64| rfc3339(u32::try_from(ns / 60_000_000_000).unwrap_or(0));
    Some(format!("No spans in this window. The stored ones are from {} to {}.", shown(oldest), shown(newest)))
}

#[cfg(test)]
mod tests;
