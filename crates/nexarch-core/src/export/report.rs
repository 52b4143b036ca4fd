//! A whole report in words.

use std::fmt::Write;

use super::{drift, findings, html, plain, text::count};
use crate::report::Report;

/// For a terminal.
pub(crate) fn plain(report: &Report) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{} spans, {} traces", count(report.spans), count(report.traces as u64));
    plain::head(&mut out, &report.map);
    if let Some(drift) = &report.drift {
        out.push_str(&drift::plain(drift));
    }
    findings::plain(&mut out, &report.findings, &report.bottlenecks);
    plain::tables(&mut out, &report.map);
    out
}

/// For a browser.
pub(crate) fn page(report: &Report) -> String {
    let mut sections = findings::section(&report.findings);
    if let Some(drift) = &report.drift {
        sections.push_str(&drift::section(drift));
    }
    html::page(&report.map, &sections)
}
