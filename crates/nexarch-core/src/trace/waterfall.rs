//! A trace as rows under each other: who called whom, when, and where the time went.

use std::collections::HashMap;

use serde::Serialize;

use super::{milliseconds, moment};
use crate::{
    analysis::{critical_path, self_time},
    facts::Facts,
    ids::{SpanId, TraceId},
    infer::tree::Tree,
    limits::MAX_TRACE_SPANS,
    rollup::Table,
    span::Kind,
};

/// So many equal siblings become one row: as many as make a loop of calls worth a finding.
const FOLDED: usize = 5;

/// The rows of a trace, callers above what they call.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Waterfall {
    /// 32 hex digits.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub trace_id: TraceId,
    /// Start of the earliest span by the clock of its top, RFC 3339.
    pub start: String,
    /// From the earliest start to the latest end, milliseconds.
    pub duration_ms: f64,
    /// Number of spans.
    pub span_count: usize,
    /// Number of failed spans.
    pub error_count: usize,
    /// Spans that were moved because their clock disagreed with their caller's.
    pub moved_spans: usize,
    /// Not all rows are listed.
    pub truncated: bool,
    /// The rows.
    pub rows: Vec<Row>,
}

/// A span, or several equal ones.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = WaterfallRow))]
pub struct Row {
    /// 16 hex digits; of several the first one's.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub span_id: SpanId,
    /// Number of the row above that it belongs to; `null` at the top.
    pub parent: Option<usize>,
    /// How far it is indented.
    pub depth: usize,
    /// It has a parent that did not arrive.
    pub orphan: bool,
    /// `service.name`.
    pub service_name: String,
    /// The span's name.
    pub operation: String,
    /// `internal`, `server`, …
    pub kind: &'static str,
    /// Did it fail (of several: any)?
    pub error: bool,
    /// Start, milliseconds from the start of the trace.
    pub offset_ms: f64,
    /// Milliseconds, of several from the first start to the last end; `null` when the sender gave no end.
    pub duration_ms: Option<f64>,
    /// Time in which no child ran, milliseconds; of several the sum, with that of all below them.
    pub self_ms: f64,
    /// Its part of the critical path: what would make the request shorter if it were shorter. Milliseconds.
    pub critical_ms: f64,
    /// Where on it that part lies, milliseconds from the start of the trace.
    pub critical: Vec<Piece>,
    /// By how much it was moved because its clock disagreed with its caller's, milliseconds: later when the clock is
    /// behind, negative when it is ahead; absent when it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moved_ms: Option<f64>,
    /// Its children, those in one row included.
    pub children: usize,
    /// Present on a row of several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeats: Option<Repeats>,
}

/// From here to there, milliseconds from the start of the trace.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = WaterfallPiece))]
pub struct Piece {
    /// Begin.
    pub from_ms: f64,
    /// End.
    pub to_ms: f64,
}

/// Equal siblings in one row: one service, operation and kind below one parent.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = WaterfallRepeats))]
pub struct Repeats {
    /// How many.
    pub count: usize,
    /// How many of them failed.
    pub error_count: usize,
    /// Sum of their durations.
    pub total_ms: f64,
    /// Longest of their durations.
    pub longest_ms: f64,
    /// Spans below them that have no row.
    pub hidden_spans: usize,
}

impl Waterfall {
    /// Of the spans of one trace; `fold` puts equal siblings into one row. O(n log n).
    pub fn new(trace_id: TraceId, facts: &[Facts], fold: bool) -> Self {
        let mut table = Table::default();
        let tree = Tree::new(facts, &mut table);
        let mut drawing = Drawing::new(&tree, fold);
        drawing.draw();
        let end = tree.times.iter().map(|time| time.1).max().unwrap_or(drawing.zero);
        Self {
            trace_id,
            start: moment(drawing.zero),
            duration_ms: milliseconds(end - drawing.zero),
            span_count: tree.spans.len(),
            error_count: tree.spans.iter().filter(|span| span.error).count(),
            moved_spans: tree.shifts.iter().filter(|&&shift| shift != 0).count(),
            truncated: drawing.truncated,
            rows: drawing.rows,
        }
    }
}

/// What is to be drawn next: one span, or several in one row.
struct Next {
    spans: Vec<usize>,
    depth: usize,
    parent: Option<usize>,
}

struct Drawing<'t, 'a> {
    tree: &'t Tree<'a>,
    fold: bool,
    /// Earliest start, nanoseconds since the Unix epoch.
    zero: u64,
    /// Pieces of the critical path by span, in time order.
    critical: Vec<Vec<(u64, u64)>>,
    rows: Vec<Row>,
    truncated: bool,
}

impl<'t, 'a> Drawing<'t, 'a> {
    fn new(tree: &'t Tree<'a>, fold: bool) -> Self {
        let mut critical = vec![Vec::new(); tree.spans.len()];
        for &top in &tree.tops {
            for segment in critical_path(tree, top) {
                critical[segment.span].push((segment.from, segment.to));
            }
        }
        let zero = tree.times.iter().map(|time| time.0).min().unwrap_or(0);
        Self { tree, fold, zero, critical, rows: Vec::new(), truncated: false }
    }

    fn draw(&mut self) {
        let tops: Vec<usize> = {
            let mut tops: Vec<usize> =
                (0..self.tree.spans.len()).filter(|&span| self.tree.parent[span].is_none()).collect();
            tops.sort_by_key(|&span| (self.tree.times[span].0, span));
            tops
        };
        let mut waiting: Vec<Next> =
            tops.into_iter().rev().map(|span| Next { spans: vec![span], depth: 0, parent: None }).collect();
        while let Some(next) = waiting.pop() {
            if self.rows.len() == MAX_TRACE_SPANS {
                self.truncated = true;
                return;
            }
            let row = self.row(&next);
            let (number, depth) = (self.rows.len(), next.depth + 1);
            self.rows.push(row);
            if let [span] = next.spans[..] {
                let groups = self.groups(span).into_iter().rev();
                waiting.extend(groups.map(|spans| Next { spans, depth, parent: Some(number) }));
            }
        }
    }

    /// The children of a span by start, equal ones together where the first of them is.
    fn groups(&self, span: usize) -> Vec<Vec<usize>> {
        let mut children = self.tree.children(span).to_vec();
        children.sort_by_key(|&child| (self.tree.times[child].0, child));
        if !self.fold || children.len() < FOLDED {
            return children.into_iter().map(|child| vec![child]).collect();
        }
        // Names are a sender's: a hash that cannot be steered.
        let mut place: HashMap<(u32, &str, Kind), usize> = HashMap::new();
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for child in children {
            let facts = self.tree.spans[child];
            let at = *place.entry((self.tree.service[child], &facts.name, facts.kind)).or_insert_with(|| {
                groups.push(Vec::new());
                groups.len() - 1
            });
            groups[at].push(child);
        }
        let mut rows: Vec<Vec<usize>> = groups
            .into_iter()
            .flat_map(|group| {
                if group.len() < FOLDED {
                    group.into_iter().map(|child| vec![child]).collect()
                } else {
                    vec![group]
                }
            })
            .collect();
        rows.sort_by_key(|group| (self.tree.times[group[0]].0, group[0]));
        rows
    }

    fn row(&self, next: &Next) -> Row {
        let first = next.spans[0];
        let facts = self.tree.spans[first];
        let below = if next.spans.len() > 1 { self.below(&next.spans) } else { Vec::new() };
        let all = || next.spans.iter().chain(&below).copied();
        let (from, to) = next.spans.iter().fold(self.tree.times[first], |(from, to), &span| {
            let (start, end) = self.tree.times[span];
            (from.min(start), to.max(end))
        });
        let timed = next.spans.iter().all(|&span| self.tree.is_timed(span));
        let mut critical: Vec<(u64, u64)> =
            all().flat_map(|span| self.critical[span].iter().copied()).collect();
        critical.sort_unstable();
        let moved = self.tree.shifts[first];
        Row {
            span_id: facts.span_id,
            parent: next.parent,
            depth: next.depth,
            orphan: next.parent.is_none() && facts.parent_span_id.is_some(),
            service_name: facts.service.to_string(),
            operation: facts.name.to_string(),
            kind: if facts.kind == Kind::Unspecified { "internal" } else { facts.kind.as_str() },
            error: next.spans.iter().any(|&span| self.tree.spans[span].error),
            offset_ms: milliseconds(from - self.zero),
            duration_ms: timed.then(|| milliseconds(to - from)),
            self_ms: milliseconds(all().map(|span| self_time(self.tree, span)).sum()),
            critical_ms: milliseconds(critical.iter().map(|(from, to)| to - from).sum()),
            critical: self.joined(critical),
            moved_ms: (moved != 0).then(|| moved as f64 / 1e6),
            children: next.spans.iter().map(|&span| self.tree.children(span).len()).sum(),
            repeats: (next.spans.len() > 1).then(|| self.repeats(&next.spans, below.len())),
        }
    }

    /// Pieces that touch are one.
    fn joined(&self, pieces: Vec<(u64, u64)>) -> Vec<Piece> {
        let mut joined: Vec<(u64, u64)> = Vec::new();
        for (from, to) in pieces {
            match joined.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(to),
                _ => joined.push((from, to)),
            }
        }
        let ms = |ns: u64| milliseconds(ns.saturating_sub(self.zero));
        joined.into_iter().map(|(from, to)| Piece { from_ms: ms(from), to_ms: ms(to) }).collect()
    }

    /// All spans below some.
    fn below(&self, spans: &[usize]) -> Vec<usize> {
        let mut found: Vec<usize> =
            spans.iter().flat_map(|&span| self.tree.children(span)).copied().collect();
        let mut next = 0;
        while let Some(&span) = found.get(next) {
            next += 1;
            found.extend_from_slice(self.tree.children(span));
        }
        found
    }

    fn repeats(&self, spans: &[usize], hidden_spans: usize) -> Repeats {
        let durations = || {
            spans.iter().map(|&span| {
                let (start, end) = self.tree.times[span];
                end - start
            })
        };
        Repeats {
            count: spans.len(),
            error_count: spans.iter().filter(|&&span| self.tree.spans[span].error).count(),
            total_ms: milliseconds(durations().sum()),
            longest_ms: milliseconds(durations().max().unwrap_or(0)),
            hidden_spans,
        }
    }
}

#[cfg(test)]
mod tests;
