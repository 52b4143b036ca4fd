//! What differs between two windows, in words: for a terminal and for a page.

use std::fmt::Write;

use super::{
    plain::{Align, Table},
    text::{count, escape, latency, percent},
    words,
};
use crate::{
    diff::{Change, Drift, Latency, PartDrift},
    view::Figures,
};

/// Parts that are named of those with too few durations, and their width in characters.
const NAMED: usize = 10;
const NAME: usize = 48;

/// One difference.
struct Line {
    change: Change,
    /// Kind of part.
    part: &'static str,
    what: String,
    base: String,
    head: String,
    why: String,
}

/// Plain text; nothing when nothing differs but a line that says so.
pub fn plain(drift: &Drift) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "\n{}", headline(drift));
    let lines = lines(drift);
    if lines.is_empty() {
        out.extend(too_few(drift).map(|text| text + "\n"));
        return out;
    }
    out.pop();
    let mut table = Table::new(
        "",
        [
            ("CHANGE", Align::Left),
            ("PART", Align::Left),
            ("WHAT", Align::Left),
            ("BASE", Align::Left),
            ("HEAD", Align::Left),
            ("WHY", Align::Left),
        ],
    );
    for line in lines {
        table.row(&[word(line.change).into(), line.part.into(), line.what, line.base, line.head, line.why]);
    }
    table.write(&mut out);
    out.extend(too_few(drift).map(|text| text + "\n"));
    out
}

/// A section of a page.
pub(super) fn section(drift: &Drift) -> String {
    let mut out = String::new();
    let _ = write!(out, "<section>\n<h2>Changes</h2>\n<p class=\"note\">{}</p>\n", escape(&headline(drift)));
    let lines = lines(drift);
    if !lines.is_empty() {
        out.push_str(
            "<div class=\"rows\"><table>\n<thead><tr><th scope=\"col\">Change</th><th scope=\"col\">Part</th><th \
             scope=\"col\">What</th><th scope=\"col\">Base</th><th scope=\"col\">Head</th><th scope=\"col\">Why</th></tr>\
             </thead>\n<tbody>\n",
        );
        for line in &lines {
            let class = match line.change {
                Change::Worse => "bad",
                Change::Better => "good",
                Change::New | Change::Gone | Change::Mixed => "fair",
            };
            let _ = writeln!(
                out,
                "<tr><td class=\"state {class}\">{}</td><td class=\"soft\">{}</td><th scope=\"row\">{}</th><td>{}</td>\
                 <td>{}</td><td class=\"soft\">{}</td></tr>",
                word(line.change),
                line.part,
                escape(&line.what),
                escape(&line.base),
                escape(&line.head),
                escape(&line.why)
            );
        }
        out.push_str("</tbody></table></div>\n");
    }
    if let Some(text) = too_few(drift) {
        let _ = writeln!(out, "<p class=\"note\">{}</p>", escape(&text));
    }
    out.push_str("</section>\n");
    out
}

/// Of whose durations nothing can be said.
fn too_few(drift: &Drift) -> Option<String> {
    let comparison = &drift.comparison;
    let named: Vec<String> =
        comparison.too_few.iter().take(NAMED).map(|it| words::short(&it.name, NAME)).collect();
    let more = comparison.too_few_parts.saturating_sub(named.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!named.is_empty()).then(|| {
        format!(
            "Too few durations to tell whether they changed (under 10 on a side): {}{more}",
            named.join(", ")
        )
    })
}

fn headline(drift: &Drift) -> String {
    let lists = [
        drift.nodes.iter().map(|it| it.drift.change).collect::<Vec<_>>(),
        drift.edges.iter().map(|it| it.drift.change).collect(),
        drift.operations.iter().map(|it| it.drift.change).collect(),
    ];
    let of = |change: Change| lists.iter().flatten().filter(|it| **it == change).count();
    let mut text = match lists.iter().map(Vec::len).sum::<usize>() + drift.more {
        0 => "Nothing differs from the base".to_owned(),
        _ => format!(
            "Compared with the base: {} new, {} gone, {} worse, {} better",
            of(Change::New),
            of(Change::Gone),
            of(Change::Worse),
            of(Change::Better)
        ),
    };
    let mixed = of(Change::Mixed);
    if mixed > 0 {
        let _ = write!(text, ", {mixed} mixed");
    }
    if drift.more > 0 {
        let _ = write!(text, ", {} more not listed", drift.more);
    }
    let comparison = &drift.comparison;
    let _ = match comparison.untested {
        Some(reason) => write!(text, ". Not tested: {reason}."),
        None => write!(
            text,
            ". {} tests, {} significant (false discoveries held at {}).",
            comparison.tests,
            comparison.significant,
            percent(Some(comparison.alpha))
        ),
    };
    text
}

fn lines(drift: &Drift) -> Vec<Line> {
    let line = |part: &'static str, what: String, drift: &PartDrift| Line {
        change: drift.change,
        part,
        what,
        base: figures(drift.base.as_ref()),
        head: figures(drift.head.as_ref()),
        why: why(drift),
    };
    let nodes = drift.nodes.iter().map(|it| line(it.kind.as_str(), words::name(&it.id), &it.drift));
    let edges = drift.edges.iter().map(|it| {
        let over = it.protocol.as_ref().map(|over| format!(" ({})", words::name(over))).unwrap_or_default();
        let what = format!("{} → {}{over}", words::name(&it.source), words::name(&it.target));
        line("connection", what, &it.drift)
    });
    let operations = drift.operations.iter().map(|it| {
        let what = format!("{}: {}", words::name(&it.service), words::name(&it.operation));
        line("operation", what, &it.drift)
    });
    let mut lines: Vec<Line> = nodes.chain(edges).chain(operations).collect();
    // Stable: nodes before edges before operations, each in its order.
    lines.sort_by_key(|line| match line.change {
        Change::Worse => 0,
        Change::Mixed => 1,
        Change::New => 2,
        Change::Gone => 3,
        Change::Better => 4,
    });
    lines
}

fn word(change: Change) -> &'static str {
    match change {
        Change::New => "new",
        Change::Gone => "gone",
        Change::Worse => "worse",
        Change::Better => "better",
        Change::Mixed => "mixed",
    }
}

fn figures(figures: Option<&Figures>) -> String {
    figures.map_or_else(
        || "–".into(),
        |it| {
            format!(
                "{}, p95 {}, err {}",
                count(it.request_count),
                latency(it.p95_latency_ms),
                percent(it.error_rate)
            )
        },
    )
}

/// What the verdict rests on.
fn why(drift: &PartDrift) -> String {
    let mut reasons = Vec::new();
    if let Some(errors) = drift.errors.as_ref().filter(|errors| errors.changed) {
        let points = errors.difference.unwrap_or(0.0) * 100.0;
        reasons.push(format!("errors {points:+.1} points (q {})", small(errors.q_value)));
    }
    if let Some(latency) = drift.latency.as_ref().filter(|latency| latency.changed) {
        reasons.push(format!("{} (q {})", slower(latency), small(latency.q_value)));
    }
    reasons.join("; ")
}

/// How far the quantiles moved; the whole distribution decides, so they may move apart.
fn slower(latency: &Latency) -> String {
    let moved = |name: &str, ratio: Option<f64>| ratio.map(|ratio| format!("{name} ×{ratio:.2}"));
    let quantiles = [moved("p50", latency.p50.ratio), moved("p95", latency.p95.ratio)];
    quantiles.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// `0.012`, `<0.001`.
fn small(q: f64) -> String {
    if q < 0.001 { "<0.001".into() } else { format!("{q:.3}") }
}
