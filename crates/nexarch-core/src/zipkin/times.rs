//! Starts for spans that have none.

use std::collections::HashMap;

use crate::{
    ids::{SpanId, TraceId},
    otlp::{Draft, Parent},
};

/// How many spans are remembered with their times: about 64 MB. A larger file is looked at in parts.
const MAX_KNOWN: usize = 1 << 20;

/// How many spans above one are looked at for a start. Real traces are below 100 deep; a chain of untimed spans must not
/// take the square of its length.
const MAX_STEPS: usize = 1_000;

/// What was read of times so far.
#[derive(Debug, Default)]
pub(super) struct Times {
    spans: HashMap<(TraceId, SpanId), Known>,
    /// The first start of each trace.
    first: HashMap<TraceId, u64>,
}

/// What the spans of one id say. Of several the smallest counts, so that their order does not.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    start_ns: Option<u64>,
    parent: Option<SpanId>,
}

/// The smaller of what is there.
fn least<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

impl Times {
    /// Remembers a span.
    pub(super) fn note(&mut self, span: &Draft) {
        let (Some(trace), Some(id)) = (span.trace_id, span.span_id) else { return };
        let start_ns = (span.start_ns != 0).then_some(span.start_ns);
        let known = self.spans.entry((trace, id)).or_default();
        known.start_ns = least(known.start_ns, start_ns);
        known.parent = least(known.parent, parent(span));
        if let Some(start_ns) = start_ns {
            let first = self.first.entry(trace).or_insert(start_ns);
            *first = (*first).min(start_ns);
        }
    }

    /// Is it time to forget?
    pub(super) fn is_full(&self) -> bool {
        self.spans.len() >= MAX_KNOWN
    }

    /// The start of the other spans of this id, else of the nearest one above, else of the trace.
    pub(super) fn start_of(&self, span: &Draft) -> Option<u64> {
        let trace = span.trace_id?;
        let mut at = span.span_id;
        for _ in 0..MAX_STEPS {
            let Some(known) = at.and_then(|id| self.spans.get(&(trace, id))) else { break };
            if known.start_ns.is_some() {
                return known.start_ns;
            }
            at = known.parent;
        }
        self.first.get(&trace).copied()
    }
}

fn parent(span: &Draft) -> Option<SpanId> {
    match span.parent {
        Parent::Id(id) if Some(id) != span.span_id => Some(id),
        _ => None,
    }
}
