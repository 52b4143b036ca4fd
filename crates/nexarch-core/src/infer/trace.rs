//! One trace as a forest: each span once (R1), its parent found (R1), and what lies above it.
//!
//! Everything is an array over the spans in a canonical order, filled in one pass from the roots down, so a chain of
//! any depth and a trace of any size take time in proportion (times a logarithm for sorting and for looking up
//! ids, which, unlike hashing, nobody can steer into collisions).

use std::sync::Arc;

use super::{family::Family, genai::role};
use crate::{
    facts::{Facts, GenAiRole, Messaging, RemoteKind},
    ids::SpanId,
    rollup::{Class, NodeKey, Table},
    span::Side,
};

/// What is above a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Above {
    /// Nothing: it is a root.
    Root,
    /// Something that did not arrive (or a cycle that had to be cut).
    Absent,
    /// This span.
    Span(usize),
}

/// The spans of a trace with their relations, by index in canonical order.
pub(super) struct Trace<'a> {
    /// Sorted by id, service, side, start, instance; behind them, from [`Trace::own`] on, spans of other traces at the
    /// other end of links, by trace and then alike, which have no relations here.
    pub(super) spans: Vec<&'a Facts>,
    /// How many spans are of this trace.
    pub(super) own: usize,
    /// The service node of each span, in the table given to [`Trace::new`].
    pub(super) service: Vec<u32>,
    /// The parent of each span.
    pub(super) parent: Vec<Above>,
    /// The nearest ancestor that is no `local` span of the span's own service.
    pub(super) up: Vec<Above>,
    /// The highest span of the run of `local` spans of one service that ends here.
    pub(super) top: Vec<usize>,
    /// The nearest call (see [`is_call`]) above, in the same service and inside the same request.
    pub(super) call_above: Vec<Option<usize>>,
    /// The nearest agent (R8) above, in any service; empty when the trace runs no agent and no tool.
    pub(super) agent: Vec<Option<usize>>,
}

/// Is the span a call to something else: an `out` span, or a `local` one that names a database (R6), a model (R8), or a
/// queue into which it sends (R7)?
pub(super) fn is_call(span: &Facts) -> bool {
    match span.kind.side() {
        Side::Out => true,
        Side::In => false,
        Side::Local => match span.remote_kind {
            RemoteKind::Database | RemoteKind::Cache | RemoteKind::Model => true,
            RemoteKind::Queue => matches!(span.messaging, Messaging::Create | Messaging::Send),
            RemoteKind::Service => false,
        },
    }
}

impl<'a> Trace<'a> {
    /// Sorts out a trace; repeated and superseded spans are dropped. `ends` are those that [`super::links::ends`] chose.
    pub(super) fn new(facts: &'a [Facts], ends: &'a [Facts], table: &mut Table) -> Self {
        let mut spans = distinct(facts);
        let own = spans.len();
        let mut parent = Family::new(&spans).parents();
        let order = from_roots(&mut parent);
        if !ends.is_empty() {
            spans.extend(ends);
            parent.resize(spans.len(), Above::Absent);
        }
        let service = services(&spans, table);
        let count = spans.len();
        let mut trace = Self {
            spans,
            own,
            service,
            up: parent.clone(),
            parent,
            top: (0..count).collect(),
            call_above: vec![None; count],
            agent: Vec::new(),
        };
        if trace.spans[..own].iter().any(|span| role(span) != GenAiRole::Other) {
            trace.find_agents(&order);
        }
        for span in order {
            trace.derive(span);
        }
        trace
    }

    /// From the roots down, as in [`Self::derive`].
    fn find_agents(&mut self, order: &[usize]) {
        self.agent = vec![None; self.own];
        for &span in order {
            let Above::Span(parent) = self.parent[span] else { continue };
            let is_agent = role(self.spans[parent]) == GenAiRole::Agent;
            self.agent[span] = if is_agent { Some(parent) } else { self.agent[parent] };
        }
    }

    /// Fills in what follows from the parent, which has been filled in before.
    fn derive(&mut self, span: usize) {
        let Above::Span(parent) = self.parent[span] else { return };
        if self.service[parent] != self.service[span] {
            return;
        }
        let side = self.side(parent);
        if side == Side::Local {
            self.up[span] = self.up[parent];
            self.top[span] = self.top[parent];
        }
        if side != Side::In {
            self.call_above[span] = if is_call(self.spans[parent]) {
                Some(parent)
            } else if role(self.spans[parent]) == GenAiRole::Other {
                self.call_above[parent]
            } else {
                // What an agent or a tool does is no layer of the call that it was started in.
                None
            };
        }
        if self.side(span) != Side::Local {
            self.top[span] = span;
        }
    }

    pub(super) fn side(&self, span: usize) -> Side {
        self.spans[span].kind.side()
    }

    /// The highest `local` span of its own service that a span hangs under, if any.
    pub(super) fn through(&self, span: usize) -> Option<usize> {
        let Above::Span(parent) = self.parent[span] else { return None };
        let inside = self.service[parent] == self.service[span] && self.side(parent) == Side::Local;
        inside.then(|| self.top[parent])
    }

    /// The call that a span is, or lies in: what was "answered" when something below the span is of another service.
    pub(super) fn call_at(&self, span: usize) -> Option<usize> {
        if is_call(self.spans[span]) {
            Some(span)
        } else if self.side(span) == Side::Local {
            self.call_above[span]
        } else {
            None
        }
    }
}

/// The identity (R1) inside a trace, in the order that everything here follows.
pub(super) fn canonical(span: &Facts) -> (SpanId, &str, Side, u64, u64) {
    (span.span_id, &span.service, span.kind.side(), span.start_ns, span.instance)
}

/// Each identity of one trace once, the superseding copy, in canonical order.
pub(super) fn distinct<'a>(facts: impl IntoIterator<Item = &'a Facts>) -> Vec<&'a Facts> {
    let mut spans: Vec<&Facts> = facts.into_iter().collect();
    // Nearly all ids are different, and the rest stands elsewhere in memory.
    spans.sort_unstable_by(|a, b| a.span_id.cmp(&b.span_id).then_with(|| canonical(a).cmp(&canonical(b))));
    // Equal in all that `supersedes` looks at, and yet different: then any fixed order will do.
    spans.dedup_by(|next, kept| {
        let same = next.span_id == kept.span_id && canonical(next) == canonical(kept);
        if same && (next.supersedes(kept) || (!kept.supersedes(next) && *next > *kept)) {
            *kept = *next;
        }
        same
    });
    spans
}

/// How many services of a trace are remembered while its spans are walked. Comparing a few names is cheaper than
/// hashing three texts with a hash that nobody can steer; traces of more services fall back to that.
const REMEMBERED: usize = 16;

/// The service node of each span.
fn services(spans: &[&Facts], table: &mut Table) -> Vec<u32> {
    let mut known: Vec<(&Facts, u32)> = Vec::with_capacity(REMEMBERED);
    let same = |a: &Facts, b: &Facts| {
        Arc::ptr_eq(&a.pattern, &b.pattern)
            || a.service == b.service && a.namespace == b.namespace && a.environment == b.environment
    };
    spans
        .iter()
        .map(|&span| {
            if let Some(&(_, node)) = known.iter().find(|(other, _)| same(other, span)) {
                return node;
            }
            let node = service_node(span, table);
            if known.len() < REMEMBERED {
                known.push((span, node));
            }
            node
        })
        .collect()
}

fn service_node(span: &Facts, table: &mut Table) -> u32 {
    let parts = [
        table.text(&span.environment),
        table.text(&span.namespace),
        table.text(&span.service),
        Table::EMPTY,
        Table::EMPTY,
    ];
    table.node(NodeKey { class: Class::Service, parts })
}

/// All spans, parents before children. A cycle of parents is cut at its first span in canonical order.
pub(super) fn from_roots(parent: &mut [Above]) -> Vec<usize> {
    const NEW: u8 = 0;
    const ON_PATH: u8 = 1;
    const DONE: u8 = 2;
    let mut state = vec![NEW; parent.len()];
    let mut order = Vec::with_capacity(parent.len());
    let mut path = Vec::new();
    for start in 0..parent.len() {
        let mut at = Above::Span(start);
        while let Above::Span(span) = at
            && state[span] != DONE
        {
            if state[span] == ON_PATH {
                // `span` closes a cycle: the path from its first occurrence. Cut it, and walk this path again:
                // a path meets at most one cycle, so no span is walked more than twice.
                let from = path.iter().position(|&seen| seen == span).unwrap_or(0);
                let cut = path[from..].iter().copied().min().unwrap_or(span);
                parent[cut] = Above::Absent;
                path.drain(..).for_each(|seen| state[seen] = NEW);
                at = Above::Span(start);
                continue;
            }
            state[span] = ON_PATH;
            path.push(span);
            at = parent[span];
        }
        while let Some(span) = path.pop() {
            state[span] = DONE;
            order.push(span);
        }
    }
    order
}
