//! One trace as a tree of requests and calls, for analyses that look at whole traces.

mod calls;
mod requests;

use super::{
    skew,
    trace::{Above, Trace},
};
pub(crate) use calls::Call;

use crate::{
    facts::Facts,
    rollup::Table,
    span::{Kind, Side},
};

/// The spans of a trace, each once, with their relations; by index in canonical order.
pub(crate) struct Tree<'a> {
    pub(crate) spans: Vec<&'a Facts>,
    /// The service of each span: a node of the table given to [`Tree::new`].
    pub(crate) service: Vec<u32>,
    pub(crate) parent: Vec<Option<usize>>,
    /// Spans without a parent that arrived.
    pub(crate) tops: Vec<usize>,
    /// Parents before children.
    pub(crate) order: Vec<usize>,
    /// Start and end in nanoseconds since the Unix epoch, by the clock of the top (R10).
    pub(crate) times: Vec<(u64, u64)>,
    /// What was added to the times as sent, nanoseconds.
    pub(crate) shifts: Vec<i64>,
    /// The span with which the request begins that each span is a part of.
    pub(crate) request: Vec<usize>,
    /// The calls of one service to something else, in the order of `order`.
    pub(crate) calls: Vec<Call>,
    children: Children,
}

/// The children of each span, by start.
struct Children {
    first: Vec<usize>,
    items: Vec<usize>,
}

impl<'a> Tree<'a> {
    /// Sorts out a trace. Names go into the table, its cells are left alone. O(n log n).
    pub(crate) fn new(facts: &'a [Facts], table: &mut Table) -> Self {
        let Trace { spans, service, parent, call_above, up, .. } = Trace::new(facts, &[], table);
        let is_entry: Vec<bool> =
            parent.iter().zip(&spans).map(|(above, span)| is_entry(*above, span)).collect();
        let parent: Vec<Option<usize>> = parent
            .into_iter()
            .map(|above| match above {
                Above::Span(at) => Some(at),
                Above::Root | Above::Absent => None,
            })
            .collect();
        let children = Children::of(&parent, &spans);
        let tops: Vec<usize> = (0..spans.len()).filter(|&span| parent[span].is_none()).collect();
        let mut order = tops.clone();
        let mut next = 0;
        while let Some(&span) = order.get(next) {
            next += 1;
            order.extend_from_slice(children.of_span(span));
        }
        let shifts = skew::shifts(&spans, &parent, &order);
        let times = spans.iter().zip(&shifts).map(|(span, &by)| shifted(span, by)).collect();
        let mut tree = Self {
            request: (0..spans.len()).collect(),
            spans,
            service,
            parent,
            tops,
            order,
            times,
            shifts,
            calls: Vec::new(),
            children,
        };
        tree.find_requests();
        tree.find_calls(&call_above, &up, table);
        tree.tops.retain(|&top| is_entry[top]);
        tree
    }

    /// The children of a span, by start.
    pub(crate) fn children(&self, span: usize) -> &[usize] {
        self.children.of_span(span)
    }

    /// Does a span begin a request?
    pub(crate) fn is_request(&self, span: usize) -> bool {
        self.request[span] == span
    }

    pub(crate) fn side(&self, span: usize) -> Side {
        self.spans[span].kind.side()
    }

    /// Did the sender give a duration?
    pub(crate) fn is_timed(&self, span: usize) -> bool {
        self.spans[span].duration_ns.is_some()
    }
}

fn shifted(span: &Facts, by: i64) -> (u64, u64) {
    (span.start_ns.saturating_add_signed(by), span.end_ns().saturating_add_signed(by))
}

/// A request that entered the system: a root, or what may be one and has no known caller (analysis of entries).
fn is_entry(above: Above, span: &Facts) -> bool {
    match above {
        Above::Root => true,
        Above::Absent => span.kind.side() == Side::In || span.kind == Kind::Unspecified,
        Above::Span(_) => false,
    }
}

impl Children {
    fn of(parent: &[Option<usize>], spans: &[&Facts]) -> Self {
        let mut first = vec![0; parent.len() + 1];
        for &above in parent.iter().flatten() {
            first[above + 1] += 1;
        }
        for at in 0..parent.len() {
            first[at + 1] += first[at];
        }
        let mut free = first.clone();
        let mut items = vec![0; first[parent.len()]];
        for (span, above) in parent.iter().enumerate() {
            if let Some(above) = *above {
                items[free[above]] = span;
                free[above] += 1;
            }
        }
        for at in 0..parent.len() {
            // Stable: of equal starts the first in canonical order.
            items[first[at]..first[at + 1]].sort_by_key(|&span: &usize| spans[span].start_ns);
        }
        Self { first, items }
    }

    fn of_span(&self, span: usize) -> &[usize] {
        &self.items[self.first[span]..self.first[span + 1]]
    }
}

#[cfg(test)]
mod tests;
