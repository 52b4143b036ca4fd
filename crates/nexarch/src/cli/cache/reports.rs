//! Answers as text.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::answers::{Health, Invalidated, LastInvalidated, Operation, Quantiles, Stats, Warmed, moment};
use crate::cli::{
    grid::{Cell, Column, Grid, Style, Tone},
    output::printable,
    units,
};

/// Columns that say nothing while all of it is zero.
const ONLY_WITH_FIGURES: [&str; 5] = ["REDIS", "JOINED", "STALE", "ERRORS", "INVALIDATED"];

/// `nexarch cache stats`; `now` is when the server answered.
pub(super) fn stats(stats: &Stats, now: Timestamp, style: Style, width: Option<usize>) -> String {
    let mut grid = Grid::new([
        Column::left("OPERATION"),
        Column::right("REQUESTS"),
        Column::right("HIT RATIO"),
        Column::right("MEMORY").expendable(3),
        Column::right("REDIS").expendable(3),
        Column::right("COMPUTED").expendable(3),
        Column::right("JOINED").expendable(4),
        Column::right("STALE").expendable(4),
        Column::right("ERRORS").expendable(2),
        Column::right("HIT P50"),
        Column::right("HIT P99").expendable(6),
        Column::right("COMPUTE P50").expendable(1),
        Column::right("COMPUTE P99").expendable(6),
        Column::right("FASTER").expendable(5),
        Column::right("TTL").expendable(7),
        Column::right("ENTRIES").expendable(5),
        Column::right("SIZE").expendable(5),
        Column::right("INVALIDATED").expendable(5),
        Column::left("LAST").expendable(2),
    ]);
    for (name, operation) in &stats.operations {
        grid.row(row(name, operation, now));
    }
    let table = grid.without_empty(&ONLY_WITH_FIGURES).lines(style, width);
    let mut text = head(stats, style);
    let _ = writeln!(text, "\n{}\n", table.lines.join("\n"));
    if !table.left_out.is_empty() {
        let left_out = table.left_out.join(", ").to_lowercase();
        let _ = writeln!(text, "{}\n", style.paint(Tone::Dim, &format!("No room for {left_out}.")));
    }
    text + &foot(stats)
}

fn row(name: &str, of: &Operation, now: Timestamp) -> Vec<Cell> {
    let count = |figure| Cell::figure(units::count(figure));
    let time = |ms| Cell::figure(units::time(ms));
    let faster = if of.reduction_percent > 0.0 {
        format!("{:.1} %", of.reduction_percent)
    } else {
        units::NOTHING.into()
    };
    let errors = if of.errors > 0 { Cell::new(units::count(of.errors), Tone::Bad) } else { count(0) };
    vec![
        Cell::new(name, Tone::Plain),
        count(of.requests),
        Cell::figure(units::percent(of.hit_ratio, of.requests)),
        count(of.hits_memory),
        count(of.hits_redis),
        count(of.misses),
        count(of.collapsed),
        count(of.stale),
        errors,
        time(of.hit_ms.p50),
        time(of.hit_ms.p99),
        time(of.compute_ms.p50),
        time(of.compute_ms.p99),
        Cell::figure(faster),
        Cell::figure(units::span(of.ttl_seconds)),
        count(of.entries),
        Cell::figure(units::bytes(of.bytes)),
        count(of.invalidations),
        Cell::figure(last(of.last_invalidated.as_ref(), now)),
    ]
}

/// When values were made old last, and why.
pub(super) fn last(last: Option<&LastInvalidated>, now: Timestamp) -> String {
    let Some(LastInvalidated { at, cause }) = last else { return units::NOTHING.to_owned() };
    let when = moment(at).map_or_else(|| at.clone(), |at| units::ago(at, now));
    format!("{cause}, {when}")
}

/// How the state of a cache is meant.
pub(super) fn tone(status: &str) -> Tone {
    match status {
        "connected" | "memory" => Tone::Good,
        "degraded" => Tone::Warning,
        _ => Tone::Bad,
    }
}

/// What holds the values, and whether it does: `memory`, `redis connected`.
pub(super) fn state(backend: &str, status: &str) -> String {
    printable(&if backend == status { backend.to_owned() } else { format!("{backend} {status}") })
}

fn head(stats: &Stats, style: Style) -> String {
    let since = moment(&stats.since).map_or_else(|| stats.since.clone(), units::moment);
    let tenant = style.paint(Tone::Bold, &printable(&stats.tenant_id));
    let cache = style.paint(tone(&stats.status), &state(&stats.backend, &stats.status));
    let (node, since) = (printable(&stats.node), printable(&since));
    format!("tenant {tenant} on node {node}, cache {cache} since {since}\n")
}

fn foot(stats: &Stats) -> String {
    let Stats { totals, memory, redis, .. } = stats;
    let hits = units::things(totals.hits, "hit", "hits");
    let requests = units::count(totals.requests);
    let ratio = units::percent(totals.hit_ratio, totals.requests);
    let mut text = format!("requests  {requests}, of which {hits} ({ratio})");
    if totals.time_saved_ms > 0.0 {
        let _ = write!(text, "; computing took {} less", units::time(totals.time_saved_ms));
    }
    let _ = write!(
        text,
        "\nmemory    {} with {} of {} for all tenants; {} evicted\n",
        units::things(memory.entries, "entry", "entries"),
        units::bytes(memory.bytes),
        units::bytes(memory.max_bytes),
        units::count(memory.evictions),
    );
    if stats.backend == "redis" || stats.status == "degraded" {
        let Quantiles { p50, p99 } = redis.round_trip_ms;
        let (p50, p99) = (units::time(p50), units::time(p99));
        let reconnects = units::things(redis.reconnects, "reconnect", "reconnects");
        let (breaker, coherence) = (printable(&redis.breaker), printable(&redis.coherence));
        let _ = writeln!(
            text,
            "redis     round trip p50 {p50}, p99 {p99}; breaker {breaker}, coherence {coherence}, {reconnects}"
        );
    }
    text
}

/// `nexarch cache health`.
pub(super) fn health(health: &Health, style: Style) -> String {
    let since = moment(&health.since).map_or_else(|| health.since.clone(), units::moment);
    let healthy = if health.healthy { style.paint(Tone::Good, "yes") } else { style.paint(Tone::Bad, "no") };
    let bound = match health.staleness_bound_ms {
        0 => "0: the only server of its database".to_owned(),
        ms => format!("{} until another node's changes are seen, at most", units::time(ms as f64)),
    };
    let mut text = format!(
        "healthy          {healthy}\ncache            {} since {}\nmode             {}\nstaleness bound  {bound}\n",
        style.paint(tone(&health.status), &state(&health.backend, &health.status)),
        printable(&since),
        printable(&health.mode),
    );
    if let Some(reason) = &health.reason {
        let _ = writeln!(text, "reason           {}", style.paint(Tone::Warning, &printable(reason)));
    }
    text
}

/// `nexarch cache invalidate`.
pub(super) fn invalidated(done: &Invalidated, pattern: Option<&str>) -> String {
    let tenant = printable(&done.tenant_id);
    let names = printable(&done.operations.join(", "));
    let what = match (done.scope.as_str(), pattern) {
        (_, Some(pattern)) if done.operations.is_empty() => {
            return format!(
                "nothing matches {pattern:?}; `nexarch cache stats` shows the operations that there are\n"
            );
        }
        ("tenant", _) => format!("everything of tenant {tenant}: {names}"),
        _ => format!("{names} of tenant {tenant}"),
    };
    let reach = match done.reach.as_str() {
        "cluster" => "every node was told",
        _ => "this node was told; others will learn of it within their staleness bound",
    };
    format!("invalidated {what}\nversion {}; {reach}\n", done.version)
}

/// `nexarch cache warm`.
pub(super) fn warmed(warmed: &Warmed, style: Style, width: Option<usize>) -> String {
    let operations = match warmed {
        Warmed::All { operations } => operations.as_slice(),
        Warmed::One(operation) => std::slice::from_ref(operation),
    };
    let mut grid = Grid::new([
        Column::left("OPERATION"),
        Column::right("ENTRIES"),
        Column::right("SIZE"),
        Column::right("COMPUTED IN"),
        Column::left("STORED IN"),
    ]);
    for of in operations {
        let nothing = of.entries == 0;
        let stored = match of.stored.join(", ") {
            _ if nothing => units::NOTHING.to_owned(),
            stored if stored.is_empty() => "nowhere".to_owned(),
            stored => stored,
        };
        let tone = if of.stored.is_empty() && !nothing { Tone::Warning } else { Tone::Plain };
        grid.row([
            Cell::new(&of.operation, Tone::Plain),
            Cell::figure(units::count(of.entries)),
            Cell::figure(units::bytes(of.bytes)),
            Cell::figure(units::time(of.compute_ms)),
            Cell::new(stored, tone),
        ]);
    }
    let sum =
        |figure: fn(&super::answers::WarmedOperation) -> u64| operations.iter().map(figure).sum::<u64>();
    let took = operations.iter().map(|of| of.compute_ms).sum();
    let table = grid.lines(style, width).lines.join("\n");
    let entries = units::things(sum(|of| of.entries), "entry", "entries");
    let size = units::bytes(sum(|of| of.bytes));
    format!("{table}\n\n{entries} with {size} computed in {}\n", units::time(took))
}
