//! R7 across traces: which spans of other traces a trace has to be told of.
//!
//! A receiving span links to its senders, which may stand in other traces and come hours later, or earlier. Both traces
//! then say something of one message: the receiver's counts the delivery and whose messages it took, the sender's counts
//! that it sent, and where it names no queue only those that link to it can tell where to. So each of the two is inferred
//! with the span at the other end of the link, its *end*, beside it. An end is known there and counts where it is.
//!
//! Which ends a trace has is a function of the set of all spans of a tenant: the best version of each, and where there are
//! more than are taken, the first in a fixed order.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    contribute, contribute_linked,
    linked::SHARING,
    messages::{Flow, flow, may_send, takes_in},
    target::names_queue,
    trace::distinct,
};
use crate::{
    facts::{Extra, Facts, Messaging},
    ids::{SpanId, TraceId},
    rollup::Delta,
    span::Side,
};

/// Most ends of a trace that are looked for: of the spans that it links to the first by trace and id, and as many of those
/// that link to it. Facts of ends are kept with the trace, some 100 bytes each.
pub const MAX_ENDS: usize = 1_024;

/// What a trace has to be told of others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wants {
    /// Spans of other traces that it links to; at most [`MAX_ENDS`].
    pub targets: BTreeSet<(TraceId, SpanId)>,
    /// It sends what only those that link to it can tell the way of.
    pub linkers: bool,
}

impl Wants {
    /// What some spans of one trace have to be told; versions of a span may be among them.
    pub fn of<'a>(trace: impl IntoIterator<Item = &'a Facts>) -> Self {
        let mut wants = Self::default();
        for facts in trace {
            wants.linkers |= is_asked(facts);
            if let Some(extra) = &facts.extra {
                wants.targets.extend(extra.far.iter().copied());
                while wants.targets.len() > MAX_ENDS {
                    wants.targets.pop_last();
                }
            }
        }
        wants
    }
}

/// Do those that link to a span tell something of it? Where it sends to, when it names no queue; and whether another span
/// sends what this one only made. (They could tell as well which of two layers of one call that send is reached, and so counts.
/// They are not asked: one of the two counts either way.)
fn is_asked(span: &Facts) -> bool {
    span.messaging == Messaging::Create || may_send(span) && !names_queue(span)
}

/// Does a span that links to senders say something of them?
pub(super) fn delivers(span: &Facts) -> bool {
    takes_in(span) || span.kind.side() != Side::In && flow(span) == Some(Flow::Takes)
}

/// The ends of a trace, out of spans of other traces: of each span that it links to the first that sends, else the first;
/// and those that link to it and say something of its senders. Candidates may be too many, in any order, and come in
/// several versions.
pub fn ends(trace: &[Facts], candidates: &[Facts]) -> Vec<Facts> {
    let Some(own) = trace.first().map(|facts| facts.trace_id) else { return Vec::new() };
    let wants = Wants::of(trace);
    let asked: BTreeSet<SpanId> =
        trace.iter().filter(|span| is_asked(span)).map(|span| span.span_id).collect();
    let tells = |span: &Facts| {
        let links = |extra: &Extra| extra.far.iter().any(|(trace, id)| *trace == own && asked.contains(id));
        (delivers(span) || span.messaging == Messaging::Send) && span.extra.as_deref().is_some_and(links)
    };
    let (mut chosen, mut telling) = (Vec::new(), 0);
    for group in winners(candidates).chunk_by(|a, b| (a.trace_id, a.span_id) == (b.trace_id, b.span_id)) {
        let Some(first) = group.first().filter(|first| first.trace_id != own) else { continue };
        let sender = wants
            .targets
            .contains(&(first.trace_id, first.span_id))
            .then(|| group.iter().take(SHARING).position(|span| may_send(span)).unwrap_or(0));
        for (at, span) in group.iter().enumerate() {
            let told = telling < MAX_ENDS && tells(span);
            telling += usize::from(told);
            if told || sender == Some(at) {
                chosen.push(with_links_into(span, own));
            }
        }
    }
    chosen
}

/// Each identity once, by trace and then in canonical order.
fn winners(candidates: &[Facts]) -> Vec<&Facts> {
    let mut by_trace: BTreeMap<TraceId, Vec<&Facts>> = BTreeMap::new();
    for candidate in candidates {
        by_trace.entry(candidate.trace_id).or_default().push(candidate);
    }
    by_trace.into_values().flat_map(distinct).collect()
}

/// The same without links that do not concern a trace.
fn with_links_into(span: &Facts, trace: TraceId) -> Facts {
    let mut span = span.clone();
    if let Some(extra) = &mut span.extra
        && extra.far.iter().any(|(other, _)| *other != trace)
    {
        let extra = std::sync::Arc::make_mut(extra);
        extra.far.retain(|(other, _)| *other == trace);
    }
    span
}

/// By what ends are found.
pub(super) fn key(span: &Facts) -> (TraceId, SpanId) {
    (span.trace_id, span.span_id)
}

/// Adds what many whole traces contribute, told of each other: the same as a store that has all of them.
pub fn contributions(delta: &mut Delta, traces: &BTreeMap<TraceId, Vec<Facts>>) {
    let net = Net::of(traces);
    for (id, trace) in traces {
        if net.concerns(*id, trace) {
            contribute_linked(delta, trace, &net.ends(*id, trace));
        } else {
            contribute(delta, trace);
        }
    }
}

/// The links between traces that are all in memory.
#[derive(Default)]
struct Net<'a> {
    /// Spans that links lead to, where they are known; some in several versions.
    targets: BTreeMap<(TraceId, SpanId), Vec<&'a Facts>>,
    /// By trace, what links to it.
    linkers: BTreeMap<TraceId, Vec<&'a Facts>>,
}

impl<'a> Net<'a> {
    fn of(traces: &'a BTreeMap<TraceId, Vec<Facts>>) -> Self {
        let mut net = Self::default();
        for trace in traces.values().filter(|trace| trace.iter().any(|span| far(span).next().is_some())) {
            for span in distinct(trace) {
                let mut last = None;
                for target in far(span) {
                    net.targets.entry(target).or_default();
                    // They stand in order.
                    if last.replace(target.0) != Some(target.0) {
                        net.linkers.entry(target.0).or_default().push(span);
                    }
                }
            }
        }
        let linked: Vec<&Vec<Facts>> = net.linkers.keys().filter_map(|id| traces.get(id)).collect();
        for span in linked.into_iter().flatten() {
            if let Some(found) = net.targets.get_mut(&key(span)) {
                found.push(span);
            }
        }
        net
    }

    fn concerns(&self, id: TraceId, trace: &[Facts]) -> bool {
        !self.targets.is_empty()
            && (self.linkers.contains_key(&id) || trace.iter().any(|span| far(span).next().is_some()))
    }

    fn ends(&self, id: TraceId, trace: &[Facts]) -> Vec<Facts> {
        let wants = Wants::of(trace);
        let targets = wants.targets.iter().filter_map(|target| self.targets.get(target)).flatten();
        let linkers = self.linkers.get(&id).filter(|_| wants.linkers).into_iter().flatten();
        let candidates: Vec<Facts> = targets.chain(linkers).map(|span| (*span).clone()).collect();
        ends(trace, &candidates)
    }
}

fn far(span: &Facts) -> impl Iterator<Item = (TraceId, SpanId)> + '_ {
    span.extra.iter().flat_map(|extra| extra.far.iter().copied())
}
