//! What a group of batches changes: the pure part of an append, the same for every backend.
//!
//! [`Incoming`] is prepared before the transaction; [`decide()`] runs inside it, wave by wave, on what is stored of the
//! touched traces; [`pack()`] turns the outcome into chunks.
//!
//! **Cost of large traces.** A trace is inferred again as a whole when it gains a span, so a trace of `n` spans that
//! arrives in `b` transactions costs `n·b/2` inferences. That is bounded twice: batches that wait are grouped into one
//! transaction, and beyond [`WHOLE_TRACE`] spans a trace (an endless loop under one id) is no longer inferred as a
//! whole: each of its spans then contributes as if it were alone. Services, operations and durations still count,
//! its calls do not. As both forms are functions of the *set* of spans, order and batch split cannot matter. (Rejected:
//! keeping the state of the inference, which would be a second truth; cutting by time, which breaks calls that cross a
//! cut for traces that are merely long.)

mod decide;
mod index;
mod intern;
mod known;
mod pack;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use nexarch_core::{
    facts::Facts,
    ids::{SpanId, TraceId},
    rollup::Delta,
    span::Span,
};

use crate::{
    Error,
    chunk::{self, Seeded},
};

pub(crate) use decide::decide;
pub(crate) use intern::{Interner, Last};
pub(crate) use known::Known;
pub(crate) use pack::{Chunk, pack};

/// Largest trace that is inferred as a whole, spans: room for the trace of 100,000 spans of rule R13.
const WHOLE_TRACE: u64 = 1 << 17;

/// Most stored facts held in memory at once while deciding, unless a single trace is larger (about 64 MiB).
const WAVE: u64 = 1 << 18;

/// Bounds of the work on large traces; arguments, so that tests can meet them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// See [`WHOLE_TRACE`].
    pub(crate) whole_trace: u64,
    /// See [`WAVE`].
    pub(crate) wave: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { whole_trace: WHOLE_TRACE, wave: WAVE }
    }
}

/// Nanoseconds of an hour.
pub(crate) const HOUR_NS: u64 = 3_600_000_000_000;

/// Hours of a day.
pub(crate) const DAY_HOURS: u64 = 24;

/// All spans of one tenant in a group.
pub(crate) struct Incoming {
    /// The spans with the place of their batch in the group; `None` once a decision has taken or dropped it.
    spans: Vec<Option<Arrived>>,
    /// Which spans belong to which trace, by index.
    pub(crate) traces: Vec<(TraceId, Vec<usize>)>,
    /// Outcome by place of the batch in the group; batches that cannot be stored are errors from the start.
    pub(crate) batches: Vec<(usize, Result<Tally, Error>)>,
}

struct Arrived {
    batch: usize,
    span: Span,
    facts: Facts,
}

/// What became of the spans of a batch.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    /// New.
    pub(crate) accepted: u64,
    /// Known by R1, from the database or from earlier in the group.
    pub(crate) duplicates: u64,
}

impl Incoming {
    /// Derives the facts and gathers traces; `batches` are those of one tenant, with their place in the group.
    pub(crate) fn prepare(batches: Vec<(usize, Vec<Span>)>, interner: &mut Interner) -> Self {
        let mut this = Self { spans: Vec::new(), traces: Vec::new(), batches: Vec::new() };
        let mut index: HashMap<TraceId, usize, Seeded> = HashMap::default();
        let mut last = Last::default();
        for (place, spans) in batches {
            let batch = this.batches.len();
            if spans.iter().any(unstorable) {
                let cause =
                    Error::Internal("a span nests attributes deeper than the store can keep".to_owned());
                this.batches.push((place, Err(cause)));
                continue;
            }
            this.batches.push((place, Ok(Tally::default())));
            let facts = Facts::of_all(&spans);
            for (span, mut facts) in spans.into_iter().zip(facts) {
                interner.intern(&mut facts, &mut last);
                let trace = *index.entry(facts.trace_id).or_insert_with(|| {
                    this.traces.push((facts.trace_id, Vec::new()));
                    this.traces.len() - 1
                });
                if let Some((_, members)) = this.traces.get_mut(trace) {
                    members.push(this.spans.len());
                }
                this.spans.push(Some(Arrived { batch, span, facts }));
            }
        }
        this
    }

    /// The span ids that arrive for a trace: all that deduplication looks at when a trace is too large to load.
    pub(crate) fn span_ids(&self, members: &[usize]) -> Vec<SpanId> {
        let arrived = members.iter().filter_map(|index| self.spans.get(*index)?.as_ref());
        arrived.map(|arrived| arrived.facts.span_id).collect()
    }
}

fn unstorable(span: &Span) -> bool {
    use chunk::too_deep;
    too_deep(&span.attributes)
        || too_deep(&span.resource.attributes)
        || too_deep(&span.scope.attributes)
        || span.events.iter().any(|event| too_deep(&event.attributes))
        || span.links.iter().any(|link| too_deep(&link.attributes))
}

/// What is stored of one trace, and which spans arrived for it.
pub(crate) struct Touched {
    /// The trace.
    pub(crate) trace: TraceId,
    /// Indexes into [`Incoming`].
    pub(crate) members: Vec<usize>,
    /// How many different spans are stored.
    pub(crate) count: u64,
    /// The stored facts: all of them up to [`Limits::whole_trace`], beyond it at least those with arriving span ids.
    /// A span that was updated may occur in several versions.
    pub(crate) stored: Vec<Facts>,
}

/// A span to be stored.
pub(crate) struct Row {
    span: Span,
    facts: Facts,
    /// Its trace, by number within the group, and the earliest start of that trace's rows.
    trace: usize,
    /// A span that was not known; else a better version of a known one.
    fresh: bool,
}

/// What a tenant gains; grows over the waves.
#[derive(Default)]
pub(crate) struct Gain {
    /// What to store.
    pub(crate) rows: Vec<Row>,
    /// What changes in the rollups.
    pub(crate) delta: Delta,
    /// Traces of which nothing was stored.
    pub(crate) new_traces: u64,
    /// Earliest and latest start of the rows.
    pub(crate) range: Option<(u64, u64)>,
    /// Touched traces as they now stand, for [`Known`].
    pub(crate) known: Vec<(TraceId, Vec<Facts>)>,
    traces: usize,
}
