//! Findings and bottlenecks in words.

use std::fmt::Write;

use super::{
    plain::{Align, Table},
    text::{count, escape, latency, percent},
    words,
};
use crate::analysis::{Bottlenecks, Issue, Issues, Severity};

/// Most parts that are named of a finding.
const NAMED: usize = 8;

fn name(severity: Severity) -> &'static str {
    match severity {
        Severity::Low => "low",
        Severity::Medium => "medium",
        Severity::High => "high",
        Severity::Critical => "critical",
    }
}

/// For a terminal: one row for each finding, and for each part on critical paths.
pub(super) fn plain(out: &mut String, findings: &Issues, time: &Bottlenecks) {
    use Align::{Left, Right};
    if findings.issues.is_empty() && findings.sample.spans > 0 {
        let _ = writeln!(out, "\nNo findings");
    }
    let columns = [("SEVERITY", Left), ("FINDING", Left), ("TRACE", Left), ("TOUCHES", Right)];
    let mut table = Table::new("Findings", columns);
    for issue in &findings.issues {
        let trace = issue.example_trace_id.clone().unwrap_or_else(|| "–".into());
        table.row(&[name(issue.severity).into(), issue.title.clone(), trace, count(issue.affected_requests)]);
    }
    table.write(out);
    // In the order of the score, which stands before what it is made of.
    let columns = [
        ("PART", Left),
        ("SCORE", Right),
        ("SHARE OF CRITICAL PATHS", Right),
        ("REQUESTS/S", Right),
        ("CALLERS", Right),
    ];
    let mut table = Table::new("Where the time of requests goes", columns);
    for node in &time.bottlenecks {
        let rate = node.requests_per_second.map_or_else(|| "–".into(), |rate| format!("{rate:.2}"));
        table.row(&[
            node.id.clone(),
            format!("{:.3}", node.score),
            percent(Some(node.critical_path_share)),
            rate,
            node.fan_in.to_string(),
        ]);
    }
    table.write(out);
}

/// A section of a page.
pub(super) fn section(issues: &Issues) -> String {
    let mut out = String::new();
    let _ =
        write!(out, "<section>\n<h2>Findings</h2>\n<p class=\"note\">{}</p>\n", escape(&headline(issues)));
    if !issues.issues.is_empty() {
        out.push_str("<ol class=\"findings\">\n");
        for issue in &issues.issues {
            let _ = write!(
                out,
                "<li class=\"{}\"><h3><span class=\"state {0}\">{}</span> {}</h3><p>{}</p><p class=\"soft\">{}</p>",
                class(issue.severity),
                name(issue.severity),
                escape(&words::short(&issue.title, 160)),
                escape(&words::short(&issue.description, 400)),
                escape(&words::short(&issue.severity_reason, 200))
            );
            for line in details(issue) {
                let _ = write!(out, "<p class=\"soft\">{}</p>", escape(&line));
            }
            out.push_str("</li>\n");
        }
        out.push_str("</ol>\n");
    }
    for missing in &issues.not_checked {
        let _ = writeln!(
            out,
            "<p class=\"note\">Not checked: {} ({}).</p>",
            missing.kind.as_str(),
            escape(missing.reason)
        );
    }
    out.push_str("</section>\n");
    out
}

fn headline(issues: &Issues) -> String {
    let of = |severity| issues.issues.iter().filter(|issue| issue.severity == severity).count();
    match issues.issues.len() {
        0 => "No findings".to_owned(),
        1 => "1 finding".to_owned(),
        many => format!(
            "{many} findings: {} critical, {} high, {} medium, {} low",
            of(Severity::Critical),
            of(Severity::High),
            of(Severity::Medium),
            of(Severity::Low)
        ),
    }
}

/// Evidence, affected parts and an example, a line each.
fn details(issue: &Issue) -> Vec<String> {
    let mut lines = Vec::new();
    let numbers: Vec<String> = issue.evidence.iter().map(|(name, value)| evidence(name, *value)).collect();
    if !numbers.is_empty() {
        lines.push(format!("evidence: {}", numbers.join(", ")));
    }
    if !issue.affected.is_empty() {
        let named: Vec<String> = issue.affected.iter().take(NAMED).map(|id| words::short(id, 64)).collect();
        let more = issue.affected.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        lines.push(format!("affected: {}{more}", named.join(", ")));
    }
    if let Some(trace) = &issue.example_trace_id {
        lines.push(format!("example trace: {trace}"));
    }
    lines.push(format!(
        "{} · {} requests · confidence {} · id {}",
        issue.kind.as_str(),
        count(issue.affected_requests),
        percent(Some(issue.confidence)),
        issue.id
    ));
    lines
}

/// A number with its unit, which is the end of its name.
fn evidence(name: &str, value: f64) -> String {
    let said = name.trim_end_matches("_ms").replace('_', " ");
    if name.ends_with("_ms") {
        format!("{said} {}", latency(Some(value)))
    } else if value.fract() == 0.0 {
        format!("{said} {value:.0}")
    } else {
        format!("{said} {value:.3}")
    }
}

fn class(severity: Severity) -> &'static str {
    match severity {
        Severity::Low => "good",
        Severity::Medium => "fair",
        Severity::High | Severity::Critical => "bad",
    }
}
