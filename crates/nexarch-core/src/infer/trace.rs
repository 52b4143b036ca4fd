//! One trace as a forest: each span once (R1), its parent found (R1), and what lies above it.
//!
//! Everything is an array over the spans in a canonical order, filled in one pass from the roots down, so a chain of
//! any depth and a trace of any size take time in proportion (times a logarithm for sorting and for looking up
//! ids, which, unlike hashing, nobody can steer into collisions).

use crate::{
    facts::{Facts, RemoteKind},
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
    /// Sorted by id, service, side, start, instance.
    pub(super) spans: Vec<&'a Facts>,
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
}

/// Is the span a call to something else: an `out` span, or a `local` one that names a database (R6)?
pub(super) fn is_call(span: &Facts) -> bool {
    match span.kind.side() {
        Side::Out => true,
        Side::In => false,
        Side::Local => matches!(span.remote_kind, RemoteKind::Database | RemoteKind::Cache),
    }
}

impl<'a> Trace<'a> {
    /// Sorts out a trace; repeated and superseded spans are dropped.
    pub(super) fn new(facts: &'a [Facts], table: &mut Table) -> Self {
        let spans = distinct(facts);
        let service = services(&spans, table);
        let mut parent = Family::new(&spans).parents();
        let order = from_roots(&mut parent);
        let count = spans.len();
        let mut trace = Self {
            spans,
            service,
            up: parent.clone(),
            parent,
            top: (0..count).collect(),
            call_above: vec![None; count],
        };
        for span in order {
            trace.derive(span);
        }
        trace
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
            self.call_above[span] =
                if is_call(self.spans[parent]) { Some(parent) } else { self.call_above[parent] };
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

/// Each identity once, the superseding copy, in canonical order.
fn distinct(facts: &[Facts]) -> Vec<&Facts> {
    fn identity(span: &Facts) -> (SpanId, &str, Side, u64, u64) {
        (span.span_id, &span.service, span.kind.side(), span.start_ns, span.instance)
    }
    let mut spans: Vec<&Facts> = facts.iter().collect();
    spans.sort_unstable_by(|a, b| identity(a).cmp(&identity(b)));
    // Equal in all that `supersedes` looks at, and yet different: then any fixed order will do.
    spans.dedup_by(|next, kept| {
        let same = identity(next) == identity(kept);
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
        a.service == b.service && a.namespace == b.namespace && a.environment == b.environment
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

/// Spans by id, to find parents.
struct Family<'s, 'a> {
    spans: &'s [&'a Facts],
    groups: Vec<Group>,
}

/// The spans of one id: `start..end`, and the parent that an `in` child takes of them.
struct Group {
    id: SpanId,
    start: usize,
    end: usize,
    out: Option<usize>,
    of_in_child: usize,
    of_stranger: usize,
}

impl<'s, 'a> Family<'s, 'a> {
    fn new(spans: &'s [&'a Facts]) -> Self {
        let mut groups = Vec::with_capacity(spans.len());
        let mut start = 0;
        for group in spans.chunk_by(|a, b| a.span_id == b.span_id) {
            let first =
                |side| (0..group.len()).find(|&at| group[at].kind.side() == side).map(|at| start + at);
            let (out, entry) = (first(Side::Out), first(Side::In));
            groups.push(Group {
                id: group[0].span_id,
                start,
                end: start + group.len(),
                out,
                of_in_child: out.or(entry).unwrap_or(start),
                of_stranger: entry.or(out).unwrap_or(start),
            });
            start += group.len();
        }
        Self { spans, groups }
    }

    fn group(&self, id: SpanId) -> Option<&Group> {
        self.groups.binary_search_by_key(&id, |group| group.id).ok().map(|at| &self.groups[at])
    }

    fn parents(&self) -> Vec<Above> {
        self.spans.iter().map(|span| self.parent(span)).collect()
    }

    /// R1: with an ambiguous id, an `in` span whose own id exists as `out` has that as parent; else an `in` child
    /// takes the `out` half, another child the half of its own service, else the `in` half.
    ///
    /// A `local` span with the id of a half of its own service is a part of that half (Zipkin sends spans in parts, and
    /// its own model merges them), so it lies inside of it; else it would stand for a second call.
    fn parent(&self, span: &Facts) -> Above {
        let side = span.kind.side();
        let is_in = side == Side::In;
        if is_in && let Some(client) = self.group(span.span_id).and_then(|group| group.out) {
            return Above::Span(client);
        }
        if side == Side::Local
            && let Some(half) = self.group(span.span_id).and_then(|group| self.own_half(group, span))
            && self.spans[half].kind.side() != Side::Local
        {
            return Above::Span(half);
        }
        let Some(id) = span.parent_span_id.filter(|&id| id != span.span_id) else { return Above::Root };
        let Some(group) = self.group(id) else { return Above::Absent };
        if is_in {
            return Above::Span(group.of_in_child);
        }
        Above::Span(self.own_half(group, span).unwrap_or(group.of_stranger))
    }

    /// The span of a group that belongs to the child's service: its `in` half, else its `out` half.
    fn own_half(&self, group: &Group, child: &Facts) -> Option<usize> {
        let members = &self.spans[group.start..group.end];
        let from = members.partition_point(|span| span.service < child.service);
        let own = &members[from..];
        let own = &own[..own.partition_point(|span| span.service == child.service)];
        let entry = own.partition_point(|span| span.kind.side() < Side::In);
        match own.get(entry) {
            Some(span) if span.kind.side() == Side::In => Some(group.start + from + entry),
            _ => (!own.is_empty()).then_some(group.start + from),
        }
    }
}

/// All spans, parents before children. A cycle of parents is cut at its first span in canonical order.
fn from_roots(parent: &mut [Above]) -> Vec<usize> {
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
