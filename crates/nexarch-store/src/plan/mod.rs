//! What a group of batches changes: the pure part of an append, the same for every backend.
//!
//! [`Incoming`] is prepared before the transaction; [`decide()`] runs inside it, wave by wave, on what is stored of the
//! touched traces; [`pack()`] turns the outcome into chunks.
//!
//! **Cost of large traces.** A trace that gains a span is inferred again as a whole, so one of `n` spans that arrives in
//! `b` transactions costs `n·b/2` inferences. Therefore only traces of up to [`Limits::inline_trace`] stored spans, and
//! of all those that an append touches only [`Limits::inline_append`] stored spans, are inferred inside it. A larger
//! trace is not loaded at all: an index of identities says which of its spans are new ([`identity`]), each chunk of new
//! spans contributes by a preview, and later the trace is settled ([`worth`]): previews out, truth in. All three forms
//! are functions of what is stored, so whatever crashes, and in whichever order spans came, once a trace is settled its
//! contribution is that of the *set* of its spans. (Rejected: keeping the state of the inference, which would be a second
//! truth; settling all traces later, which would make every number provisional for half a minute.)
//!
//! **Versions.** A better version of a known span is stored as a row of its own; rows are never rewritten. An order of
//! arrival stores at most as many versions of a span as there are different ones, so as long as a span has no more than
//! [`Limits::versions`], all of them could be stored, none is dropped, and the best one wins in whichever order they come.
//! Of a span with more, those that come when the limit is met are dropped and counted: it keeps the best of those that
//! were stored, which then depends on the order. (Rejected: putting the better version in the place of the other: the
//! chunk would have to be written anew for each, and previews point at chunks.)

mod admit;
mod decide;
mod distinct;
mod identity;
mod index;
mod known;
mod limits;
mod pack;
#[cfg(test)]
mod tests;
mod worth;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use nexarch_core::{
    facts::{Facts, Patterns},
    ids::TraceId,
    rollup::Delta,
    span::Span,
};

use crate::{
    Error,
    chunk::{self, Seeded},
};

pub(crate) use decide::{Terms, Versions, decide};
pub(crate) use distinct::Distinct;
pub(crate) use identity::{Key, Stamp};
pub(crate) use known::Known;
pub(crate) use limits::Limits;
pub(crate) use pack::{Chunk, pack};
pub(crate) use worth::{Form, Linked, Unsettled, add_worth, distinct};

/// Nanoseconds of an hour.
pub(crate) const HOUR_NS: u64 = 3_600_000_000_000;

/// Hours of a day.
pub(crate) const DAY_HOURS: u64 = 24;

/// Nanoseconds of a day.
pub(crate) const DAY_NS: u64 = DAY_HOURS * HOUR_NS;

/// All spans of one tenant in a group.
pub(crate) struct Incoming {
    /// The spans of each batch, as they were decoded; none of those that cannot be stored. They stay where they are:
    /// moving them costs.
    sources: Vec<Vec<Span>>,
    /// What is made of them.
    spans: Vec<Arrived>,
    /// Which spans belong to which trace, by index.
    pub(crate) traces: Vec<(TraceId, Vec<usize>)>,
    /// Outcome by place of the batch in the group; batches that cannot be stored are errors from the start.
    pub(crate) batches: Vec<(usize, Result<Tally, Error>)>,
}

struct Arrived {
    /// Its batch.
    batch: usize,
    /// Its place there.
    at: usize,
    /// See [`chunk::weight`].
    weight: usize,
    facts: Facts,
}

/// What became of the spans of a batch.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    /// New.
    pub(crate) accepted: u64,
    /// Known by R1, from the database or from earlier in the group: the same, a worse version or a better one.
    pub(crate) duplicates: u64,
    /// Of days that were dropped.
    pub(crate) expired: u64,
}

impl Incoming {
    /// Derives the facts and gathers traces; `batches` are those of one tenant, with their place in the group.
    pub(crate) fn prepare(batches: Vec<(usize, Vec<Span>)>, patterns: &mut Patterns) -> Self {
        let mut this =
            Self { sources: Vec::new(), spans: Vec::new(), traces: Vec::new(), batches: Vec::new() };
        let mut index: HashMap<TraceId, usize, Seeded> = HashMap::default();
        this.spans.reserve(batches.iter().map(|(_, spans)| spans.len()).sum());
        for (place, spans) in batches {
            let Some(weights) = weights(&spans) else {
                let cause =
                    Error::Internal("a span nests attributes deeper than the store can keep".to_owned());
                this.batches.push((place, Err(cause)));
                this.sources.push(Vec::new());
                continue;
            };
            let (batch, mut weights) = (this.batches.len(), weights.into_iter().enumerate());
            this.batches.push((place, Ok(Tally::default())));
            Facts::each_with(&spans, patterns, |facts| {
                let Some((at, weight)) = weights.next() else { return };
                let trace = *index.entry(facts.trace_id).or_insert_with(|| {
                    this.traces.push((facts.trace_id, Vec::new()));
                    this.traces.len() - 1
                });
                if let Some((_, members)) = this.traces.get_mut(trace) {
                    members.push(this.spans.len());
                }
                this.spans.push(Arrived { batch, at, weight, facts });
            });
            this.sources.push(spans);
        }
        this
    }

    /// The span that something was made of.
    fn span(&self, arrived: &Arrived) -> Option<&Span> {
        self.sources.get(arrived.batch)?.get(arrived.at)
    }

    /// The identities that arrive for a trace, with their day.
    pub(crate) fn keys(&self, members: &[usize], seed: u64) -> Vec<(u64, Key)> {
        let arrived = members.iter().filter_map(|index| self.spans.get(*index));
        arrived.map(|Arrived { facts, .. }| (facts.start_ns / DAY_NS, identity::key(seed, facts))).collect()
    }
}

/// The weights of spans ([`chunk::weight`]); `None` when a chunk cannot hold one of them.
fn weights(spans: &[Span]) -> Option<Vec<usize>> {
    let mut last = None;
    let weight = |span: &Span| {
        // Neighbours mostly share both.
        let shared = (Arc::as_ptr(&span.resource), Arc::as_ptr(&span.scope));
        if last != Some(shared) && !chunk::is_shallow(&span.resource, &span.scope) {
            return None;
        }
        last = Some(shared);
        chunk::weight(span)
    };
    spans.iter().map(weight).collect()
}

/// What is stored of one trace, and which spans arrived for it.
pub(crate) struct Touched {
    /// The trace.
    pub(crate) trace: TraceId,
    /// Indexes into [`Incoming`].
    pub(crate) members: Vec<usize>,
    /// What is known of the stored ones.
    pub(crate) stored: Stored,
}

/// What is known of the stored spans of a trace.
pub(crate) enum Stored {
    /// Everything.
    All {
        /// The spans.
        facts: Distinct,
        /// Is the trace to be inferred now? Else its new spans get a preview.
        infer: bool,
    },
    /// The trace is large: the versions of arriving identities are in [`Versions`].
    Index,
}

/// What an append says of a trace that is large, or that has to wait to be inferred.
pub(crate) struct Large {
    /// The trace.
    pub(crate) trace: TraceId,
    /// The newest day of its spans.
    pub(crate) newest: u64,
    /// It is too large to be loaded: all its spans are in the index of identities.
    pub(crate) indexed: bool,
    /// New entries of that index, with their day.
    pub(crate) index: Vec<(u64, Key, Stamp)>,
    /// How many of its spans contribute as one trace, when it was not among these traces before.
    pub(crate) settled: u64,
    /// It has spans that contribute by a preview.
    pub(crate) waits: bool,
}

/// What the stored spans of a trace link to in others.
pub(crate) struct Links {
    /// The trace.
    pub(crate) trace: TraceId,
    /// The newest day of those spans.
    pub(crate) day: u64,
    /// The other traces.
    pub(crate) targets: BTreeSet<TraceId>,
}

/// A span to be stored.
pub(crate) struct Row {
    /// Which, by its index into [`Incoming`].
    arrived: usize,
    /// Its trace, by number within the group, and the earliest start of that trace's rows.
    trace: usize,
    /// A span that was not known; else a better version of a known one.
    fresh: bool,
    /// Its trace is settled later.
    preview: bool,
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
    pub(crate) known: Vec<(TraceId, Distinct)>,
    /// Large traces, and those that wait.
    pub(crate) large: Vec<Large>,
    /// Traces that link into others.
    pub(crate) links: Vec<Links>,
    /// Better versions of spans that are stored in as many versions as may be; see [`Limits::versions`].
    pub(crate) dropped: u64,
    /// New spans that started long before they came; see [`Limits::late_ns`].
    pub(crate) late: u64,
    traces: usize,
}
