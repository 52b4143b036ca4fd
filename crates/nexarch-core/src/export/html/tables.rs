//! All figures of a map as tables.

use std::fmt::Write;

use crate::{
    export::{
        mood::Mood,
        text::{count, escape, latency, percent},
        words,
    },
    graph::ArchitectureMap,
    view::Health,
};

/// Services and what they use.
pub(super) fn nodes(out: &mut String, map: &ArchitectureMap) {
    let rows = words::worst_nodes(map);
    begin(
        out,
        "Services and what they use",
        &[
            ("Name", false),
            ("Type", false),
            ("State", false),
            ("Requests", true),
            ("p50", true),
            ("p95", true),
            ("p99", true),
            ("Errors", true),
        ],
    );
    for node in &rows {
        let metrics = &node.metrics;
        let mood = Mood::of_node(node).class();
        let _ = write!(
            out,
            "<tr><th scope=\"row\">{}</th><td class=\"soft\">{}</td>",
            escape(&words::name(&node.id)),
            node.kind.as_str()
        );
        let _ = match node.health_status {
            Some(Health::Unknown) | None => write!(out, "<td class=\"soft\">–</td>"),
            Some(health) => write!(out, "<td class=\"state {mood}\">{}</td>", words::health(health)),
        };
        figures(
            out,
            metrics.call_count,
            [metrics.p50_latency_ms, metrics.p95_latency_ms, metrics.p99_latency_ms],
        );
        errors(out, metrics.error_rate);
    }
    end(out, rows.is_empty(), "No spans in this window.");
}

/// Who calls whom.
pub(super) fn edges(out: &mut String, map: &ArchitectureMap) {
    let rows = words::worst_edges(map);
    begin(
        out,
        "Connections",
        &[
            ("From", false),
            ("To", false),
            ("Over", false),
            ("Calls", true),
            ("p50", true),
            ("p95", true),
            ("p99", true),
            ("Errors", true),
        ],
    );
    for edge in &rows {
        let over = edge.protocol.as_deref().map_or_else(|| "–".into(), words::name);
        let how = edge.inferred.map(|how| format!(" <span title=\"{0}\">({0})</span>", how.in_words()));
        let _ = write!(
            out,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td class=\"soft\">{}{}</td>",
            escape(&words::name(&edge.source)),
            escape(&words::name(&edge.target)),
            escape(&over),
            how.unwrap_or_default()
        );
        figures(out, edge.call_count, [edge.p50_latency_ms, edge.p95_latency_ms, edge.p99_latency_ms]);
        errors(out, edge.error_rate);
    }
    end(out, rows.is_empty(), "No calls in this window.");
}

fn begin(out: &mut String, title: &str, columns: &[(&str, bool)]) {
    let _ = write!(
        out,
        "<section>\n<h2>{title}</h2>\n<p class=\"note\">Failing ones first, then the busiest.</p>\n<div \
         class=\"rows\"><table>\n<thead><tr>"
    );
    for (name, number) in columns {
        let class = if *number { " class=\"n\"" } else { "" };
        let _ = write!(out, "<th scope=\"col\"{class}>{name}</th>");
    }
    out.push_str("</tr></thead>\n<tbody>\n");
}

fn end(out: &mut String, empty: bool, nothing: &str) {
    if empty {
        let _ = writeln!(out, "<tr><td class=\"empty\" colspan=\"8\">{nothing}</td></tr>");
    }
    out.push_str("</tbody></table></div>\n</section>\n");
}

fn figures(out: &mut String, calls: u64, latencies: [Option<f64>; 3]) {
    let _ = write!(out, "<td class=\"n\">{}</td>", count(calls));
    for ms in latencies {
        let _ = write!(out, "<td class=\"n\">{}</td>", latency(ms));
    }
}

fn errors(out: &mut String, rate: Option<f64>) {
    let class = match Mood::of(rate) {
        Mood::Good => "",
        mood => mood.class(),
    };
    let _ = writeln!(out, "<td class=\"n {class}\">{}</td></tr>", escape(&percent(rate)));
}
