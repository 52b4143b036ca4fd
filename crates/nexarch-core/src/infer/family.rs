//! Which span of an id is the parent of another (R1).

use super::trace::Above;
use crate::{facts::Facts, ids::SpanId, span::Side};

/// Spans by id, to find parents.
pub(super) struct Family<'s, 'a> {
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
    pub(super) fn new(spans: &'s [&'a Facts]) -> Self {
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

    pub(super) fn parents(&self) -> Vec<Above> {
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
