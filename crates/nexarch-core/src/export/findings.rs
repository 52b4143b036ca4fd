//! Findings and bottlenecks in words.

use std::fmt::Write;

use super::{
    plain::{Align, Table},
    text::{count, percent},
};
use crate::analysis::{Bottlenecks, Issues, Severity};

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
        let _ = writeln!(out, "\nNothing is wrong that was looked for");
    }
    let columns = [("SEVERITY", Left), ("FINDING", Left), ("TRACE", Left), ("TOUCHES", Right)];
    let mut table = Table::new("Findings", columns);
    for issue in &findings.issues {
        let trace = issue.example_trace_id.clone().unwrap_or_else(|| "–".into());
        table.row(&[name(issue.severity).into(), issue.title.clone(), trace, count(issue.affected_requests)]);
    }
    table.write(out);
    let columns = [("SHARE", Right), ("OF CRITICAL PATHS", Left), ("CALLERS", Right), ("SCORE", Right)];
    let mut table = Table::new("Where the time of requests goes", columns);
    for node in &time.bottlenecks {
        let share = percent(Some(node.critical_path_share));
        table.row(&[share, node.id.clone(), node.fan_in.to_string(), format!("{:.3}", node.score)]);
    }
    table.write(out);
}
