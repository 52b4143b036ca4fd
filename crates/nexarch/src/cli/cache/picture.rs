//! What `nexarch cache watch` shows, as lines.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::{
    answers::{Health, Operation, Stats, moment},
    reports, screen,
};
use crate::cli::{
    grid::{Cell, Column, Grid, Style, Tone},
    output::printable,
    units,
};

/// What one look showed.
pub(super) struct Look {
    pub(super) stats: Stats,
    pub(super) health: Health,
    /// By the server's clock.
    pub(super) at: Timestamp,
    /// By ours.
    pub(super) seen: Instant,
}

/// All that is shown.
pub(super) struct View<'a> {
    pub(super) url: &'a str,
    pub(super) every: Duration,
    pub(super) last: Look,
    pub(super) before: Option<Look>,
    /// Why the latest look showed nothing.
    pub(super) failure: Option<String>,
}

/// The whole picture. `live`: it will be replaced by the next one.
pub(super) fn frame(view: &View<'_>, style: Style, size: Option<screen::Size>, live: bool) -> Vec<String> {
    let Look { stats, .. } = &view.last;
    let mut grid = Grid::new([
        Column::left("OPERATION"),
        Column::right("REQUESTS"),
        Column::right("RATE"),
        Column::right("HIT RATIO"),
        Column::right("LATELY").expendable(7),
        Column::right("HIT P50").expendable(2),
        Column::right("HIT P99").expendable(4),
        Column::right("COMPUTE P50").expendable(5),
        Column::right("COMPUTE P99").expendable(6),
        Column::right("ENTRIES").expendable(3),
        Column::right("SIZE").expendable(3),
        Column::left("LAST INVALIDATED").expendable(1),
    ]);
    for (name, operation) in &stats.operations {
        grid.row(row(view, name, operation));
    }
    let width = size.map(|size| size.columns);
    let table = grid.lines(style, width);
    let mut lines = head(view, style, width);
    lines.push(String::new());
    lines.extend(table.lines);
    lines.push(String::new());
    lines.extend(flow(&sum(view).map(|text| (Tone::Plain, text)), style, width));
    if live {
        let left_out = table.left_out.iter().map(|title| title.to_lowercase());
        let words = |(nth, title)| if nth == 0 { format!("no room for {title}") } else { title };
        let texts = ["Ctrl-C ends".to_owned()].into_iter().chain(left_out.enumerate().map(words));
        lines.extend(flow(&texts.map(|text| (Tone::Dim, text)).collect::<Vec<_>>(), style, width));
    }
    lines
}

fn row(view: &View<'_>, name: &str, of: &Operation) -> Vec<Cell> {
    let time = |ms| Cell::figure(units::time(ms));
    let before = view.before.as_ref().and_then(|look| look.stats.operations.get(name));
    let rate = rate(view, of.requests, before.map(|of| of.requests));
    // What somebody did since the look before catches the eye; data come all the time.
    let routine = |cause: &str| matches!(cause, "ingest" | "settle");
    let news = of.last_invalidated.as_ref().filter(|last| !routine(&last.cause));
    let recent = news.and_then(|last| moment(&last.at)).zip(view.before.as_ref());
    let recent = recent.is_some_and(|(at, before)| at >= before.at);
    let last = reports::last(of.last_invalidated.as_ref(), view.last.at);
    vec![
        Cell::new(name, Tone::Plain),
        Cell::figure(units::count(of.requests)),
        Cell::figure(rate),
        Cell::figure(units::percent(of.hit_ratio, of.requests)),
        Cell::figure(lately(view, of, before)),
        time(of.hit_ms.p50),
        time(of.hit_ms.p99),
        time(of.compute_ms.p50),
        time(of.compute_ms.p99),
        Cell::figure(units::count(of.entries)),
        Cell::figure(units::bytes(of.bytes)),
        if recent { Cell::new(last, Tone::Warning) } else { Cell::figure(last) },
    ]
}

/// Requests per second since the look before, if it was of the same node and nothing was counted anew.
fn rate(view: &View<'_>, requests: u64, before: Option<u64>) -> String {
    let since = view.before.as_ref().filter(|look| look.stats.node == view.last.stats.node);
    match since.zip(before.and_then(|before| requests.checked_sub(before))) {
        Some((since, more)) => units::rate(more, view.last.seen.duration_since(since.seen)),
        None => units::NOTHING.to_owned(),
    }
}

/// The hit ratio of the requests since the look before.
fn lately(view: &View<'_>, of: &Operation, before: Option<&Operation>) -> String {
    let same_node = view.before.as_ref().is_some_and(|look| look.stats.node == view.last.stats.node);
    let hits = |of: &Operation| of.hits_memory + of.hits_redis;
    let more = before.filter(|_| same_node).and_then(|before| {
        Some((of.requests.checked_sub(before.requests)?, hits(of).checked_sub(hits(before))?))
    });
    let (requests, hits) = more.unwrap_or_default();
    units::percent(hits as f64 / requests.max(1) as f64, requests)
}

fn head(view: &View<'_>, style: Style, width: Option<usize>) -> Vec<String> {
    let Look { stats, health, at, seen } = &view.last;
    let title = [
        (Tone::Bold, format!("tenant {} on node {}", printable(&stats.tenant_id), printable(&stats.node))),
        (Tone::Plain, view.url.to_owned()),
        (Tone::Plain, units::moment(*at)),
        (Tone::Plain, format!("every {}", units::span(view.every.as_secs()))),
    ];
    let since =
        moment(&health.since).map_or_else(String::new, |since| format!("since {}", units::moment(since)));
    let bound = match health.staleness_bound_ms {
        0 => "the only server of its database".to_owned(),
        ms => format!("others learn of changes within {}", units::time(ms as f64)),
    };
    let reason = health.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
    let state = reports::state(&health.backend, &health.status);
    let cache = [
        (reports::tone(&health.status), printable(&format!("cache {state}{reason}"))),
        (Tone::Plain, since),
        (Tone::Plain, format!("mode {}", printable(&health.mode))),
        (Tone::Plain, bound),
    ];
    let failure = view.failure.as_ref().map(|failure| {
        let old = units::span(seen.elapsed().as_secs());
        [failure.clone(), format!("this is {old} old"), "trying again".to_owned()]
            .map(|text| (Tone::Bad, text))
    });
    let failure = failure.iter().flat_map(|failure| flow(failure, style, width));
    [flow(&title, style, width), flow(&cache, style, width)].into_iter().flatten().chain(failure).collect()
}

fn sum(view: &View<'_>) -> [String; 4] {
    let Stats { totals, memory, .. } = &view.last.stats;
    let before = view.before.as_ref().map(|look| look.stats.totals.requests);
    let (bytes, most) = (units::bytes(memory.bytes), units::bytes(memory.max_bytes));
    [
        units::things(totals.requests, "request", "requests"),
        format!("rate {}", rate(view, totals.requests, before)),
        format!("hit ratio {}", units::percent(totals.hit_ratio, totals.requests)),
        format!(
            "{} with {bytes} of {most} for all tenants",
            units::things(memory.entries, "entry", "entries")
        ),
    ]
}

/// Texts between commas, on as many lines as they need.
fn flow(texts: &[(Tone, String)], style: Style, width: Option<usize>) -> Vec<String> {
    let (mut lines, mut line, mut used) = (Vec::new(), String::new(), 0);
    for (nth, (tone, text)) in texts.iter().enumerate() {
        let comma = if nth + 1 < texts.len() { "," } else { "" };
        let room = text.chars().count() + comma.len();
        let gap = usize::from(used > 0);
        if used > 0 && width.is_some_and(|width| used + gap + room > width) {
            lines.push(std::mem::take(&mut line));
            used = 0;
        } else if used > 0 {
            line.push(' ');
            used += gap;
        }
        line.extend([style.paint(*tone, text).as_str(), comma]);
        used += room;
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_flow_into_the_width_that_there_is() {
        let texts = ["one", "two", "longer than that", "x"].map(|text| (Tone::Plain, text.to_owned()));
        let flow = |width| flow(&texts, Style::PLAIN, width);
        assert_eq!(flow(None), ["one, two, longer than that, x"]);
        assert_eq!(flow(Some(9)), ["one, two,", "longer than that,", "x"]);
        assert_eq!(flow(Some(20)), ["one, two,", "longer than that, x"]);
    }
}
