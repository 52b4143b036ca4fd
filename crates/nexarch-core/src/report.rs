//! What a set of spans says about an architecture, all at once: for files, without a server or a store.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    analysis::{Analysis, Bottlenecks, Issues, Options, Severity, saturation::knees},
    diff::{Drift, Input, Sources, drift},
    export::{self, Format},
    facts::Facts,
    graph::ArchitectureMap,
    ids::TraceId,
    infer::contributions,
    rollup::{Corrupt, Delta, Rollup},
    span::Span,
    view::{Context, Watched},
    window::{Minutes, Range},
};

const MINUTE_NS: u64 = 60_000_000_000;

/// Spans by trace, as far as inference looks at them: attributes are read once and not kept.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    traces: BTreeMap<TraceId, Vec<Facts>>,
    spans: u64,
    oldest_ns: Option<u64>,
    newest_ns: Option<u64>,
}

impl Evidence {
    /// Adds spans, of any traces and in any order; sent twice they count once (R1).
    pub fn add(&mut self, spans: &[Span]) {
        for facts in Facts::of_all(spans) {
            self.spans += 1;
            self.oldest_ns = Some(self.oldest_ns.map_or(facts.start_ns, |oldest| oldest.min(facts.start_ns)));
            self.newest_ns = self.newest_ns.max(Some(facts.start_ns));
            self.traces.entry(facts.trace_id).or_default().push(facts);
        }
    }

    /// Spans that were added.
    pub fn spans(&self) -> u64 {
        self.spans
    }

    /// Traces, each by all its spans, in the order of their ids.
    pub fn traces(&self) -> impl Iterator<Item = &[Facts]> {
        self.traces.values().map(Vec::as_slice)
    }

    /// Number of traces.
    pub fn trace_count(&self) -> usize {
        self.traces.len()
    }

    /// The minutes from the first span to the last.
    pub fn range(&self) -> Range {
        let minute = |ns: u64| u32::try_from(ns / MINUTE_NS).unwrap_or(u32::MAX - 1);
        let minutes = match (self.oldest_ns, self.newest_ns) {
            (Some(oldest), Some(newest)) => Minutes { from: minute(oldest), to: minute(newest) + 1 },
            _ => Minutes { from: 0, to: 0 },
        };
        Range { name: "custom", minutes, grain: 1 }
    }

    /// What its traces add up to, by minute.
    fn cells(&self) -> Vec<(u32, Vec<u8>)> {
        let mut sum = Delta::default();
        contributions(&mut sum, &self.traces);
        sum.bound();
        sum.encode()
    }

    /// What its traces add up to.
    pub fn rollup(&self) -> Result<Rollup, Corrupt> {
        fold(&self.cells())
    }

    fn context(&self, latency_objective_ms: f64) -> Context<'static> {
        Context {
            range: self.range(),
            environment: None,
            last_updated_us: 0,
            stored_ns: self.oldest_ns.zip(self.newest_ns),
            latency_objective_ms,
            regressed: None,
            watched: Watched::default(),
        }
    }
}

fn blobs(cells: &[(u32, Vec<u8>)]) -> impl Iterator<Item = (u32, &[u8])> {
    cells.iter().map(|(minute, blob)| (*minute, &blob[..]))
}

fn fold(cells: &[(u32, Vec<u8>)]) -> Result<Rollup, Corrupt> {
    Rollup::fold(blobs(cells))
}

/// What a set of spans says, and what differs from another one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Spans that were read.
    pub spans: u64,
    /// Their traces.
    pub traces: usize,
    /// The architecture, with figures and positions.
    pub map: ArchitectureMap,
    /// What is wrong, the worst first.
    pub findings: Issues,
    /// Where the time of requests goes.
    pub bottlenecks: Bottlenecks,
    /// What differs from the baseline; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
}

/// Form of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Tables for a terminal.
    Text,
    /// A format of the map; HTML and JSON have the whole report.
    Export(Format),
}

impl Report {
    /// Looks at spans, beside those of a baseline if there is one; slower than the objective counts as slow.
    ///
    /// ```
    /// use nexarch_core::report::{Evidence, Report};
    /// let report = Report::of(&Evidence::default(), None, 1000.0).unwrap();
    /// assert_eq!((report.spans, report.map.nodes.len()), (0, 0));
    /// ```
    pub fn of(
        head: &Evidence,
        baseline: Option<&Evidence>,
        latency_objective_ms: f64,
    ) -> Result<Self, Corrupt> {
        let cells = head.cells();
        let rollup = fold(&cells)?;
        let context = head.context(latency_objective_ms);
        let drift = match baseline {
            None => None,
            Some(base) => {
                let old = base.rollup()?;
                let side = Input { rollup: &old, range: base.range() };
                let head = Input { rollup: &rollup, range: head.range() };
                // Two sets of files: even of one minute they are other spans.
                Some(drift(side, head, Sources::TwoSets, &context))
            }
        };
        let knees = knees(blobs(&cells), &context)?;
        let analysis = Analysis::of(&rollup, head.traces(), &context, Options::default()).with_knees(knees);
        Ok(Self {
            findings: analysis.issues(),
            bottlenecks: analysis.bottlenecks(),
            spans: head.spans(),
            traces: head.trace_count(),
            map: analysis.architecture_map(),
            drift,
        })
    }

    /// Findings of a severity, or worse.
    pub fn findings_from(&self, severity: Severity) -> usize {
        self.findings.issues.iter().filter(|issue| issue.severity >= severity).count()
    }

    /// The report in a form; the formats of pictures show the map alone.
    pub fn render(&self, form: Form) -> Result<String, serde_json::Error> {
        match form {
            Form::Text => Ok(export::report::plain(self)),
            Form::Export(Format::Html) => Ok(export::report::page(self)),
            Form::Export(Format::Json) => serde_json::to_string_pretty(self).map(|text| text + "\n"),
            Form::Export(format) => export::render(&self.map, format),
        }
    }
}

#[cfg(test)]
mod tests;
