//! What the spans of a trace add to the rollups, also when they are too many to be inferred together, and what
//! settling changes.

use std::collections::HashMap;

use nexarch_core::{
    facts::Facts,
    ids::TraceId,
    infer::{Wants, contribute_linked, contribution},
    rollup::Delta,
};

use super::{
    HOUR_NS,
    index::{Index, Place},
};

/// How the spans of a trace, or of a part of it, contribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As one trace.
    Whole,
    /// Too many for that: each hour as a trace of its own, and an hour that is too large span by span.
    Hours,
    /// Span by span.
    Alone,
}

impl Form {
    /// Of a trace of so many spans, when `most` are inferred together.
    pub(crate) fn of_trace(spans: u64, most: u64) -> Self {
        if spans <= most { Self::Whole } else { Self::Hours }
    }

    /// Of one hour of a trace that contributes by [`Form::Hours`].
    pub(crate) fn of_hour(spans: u64, most: u64) -> Self {
        if spans <= most { Self::Whole } else { Self::Alone }
    }
}

/// Adds the contribution of different spans of one trace: a function of their set, and of that of its `ends` (spans of other
/// traces at the other ends of its links). Parts of a trace are not told of ends.
pub(crate) fn add_worth(delta: &mut Delta, facts: &[Facts], ends: &[Facts], form: Form, most: u64) {
    match form {
        Form::Whole => contribute_linked(delta, facts, ends),
        Form::Alone => facts.chunks(1).for_each(|one| contribute_linked(delta, one, &[])),
        Form::Hours => {
            let mut hours: HashMap<u64, Vec<Facts>> = HashMap::new();
            for facts in facts {
                hours.entry(facts.start_ns / HOUR_NS).or_default().push(facts.clone());
            }
            for hour in hours.into_values() {
                add_worth(delta, &hour, &[], Form::of_hour(hour.len() as u64, most), most);
            }
        }
    }
}

/// What a trace, or a part of it, has to be settled.
pub(crate) struct Unsettled {
    /// Versions that were settled before: all of the part, or, where it contributes span by span, at least those of
    /// identities that occur in `previews`.
    pub(crate) settled: Vec<Facts>,
    /// How the part contributes now.
    pub(crate) before: Form,
    /// What came since, one entry per chunk, in the order of storing.
    pub(crate) previews: Vec<Vec<Facts>>,
    /// How it is to contribute.
    pub(crate) after: Form,
    /// Its ends, if it is a trace with links.
    pub(crate) linked: Option<Linked>,
}

/// The ends of a trace with links.
pub(crate) struct Linked {
    /// The trace.
    pub(crate) trace: TraceId,
    /// Those with which it contributes.
    pub(crate) before: Vec<Facts>,
    /// Those with which it is to contribute.
    pub(crate) after: Vec<Facts>,
}

impl Unsettled {
    /// The change that takes the previews back and puts what is true in their place.
    ///
    /// A chunk's preview is the contribution of the spans in it whose identity no earlier one holds, as if they were a
    /// trace ([`preview`]).
    pub(crate) fn settle(self, most: u64) -> Delta {
        let Self { settled, before, previews, after, linked } = self;
        let (ends_before, ends_after) =
            linked.map_or_else(Default::default, |linked| (linked.before, linked.after));
        let mut winners = Winners::default();
        for facts in settled {
            winners.add(facts);
        }
        let mut delta = Delta::default();
        let mut old = Delta::default();
        add_worth(&mut old, &winners.facts, &ends_before, before, most);
        for chunk in previews {
            let mut fresh = Vec::new();
            for facts in chunk {
                if winners.add(facts.clone()) {
                    fresh.push(facts);
                }
            }
            delta.subtract(&preview(&fresh));
        }
        delta.subtract(&old);
        add_worth(&mut delta, &winners.facts, &ends_after, after, most);
        delta
    }

    /// All stored versions of its spans.
    pub(crate) fn versions(&self) -> impl Iterator<Item = &Facts> {
        self.settled.iter().chain(self.previews.iter().flatten())
    }

    /// What of other traces it has to be told.
    pub(crate) fn wants(&self) -> Wants {
        Wants::of(self.versions())
    }
}

/// What new spans of a large trace add until it is settled: those of one chunk are taken as a trace. Most calls have
/// both halves side by side, so most of it is right already.
pub(crate) fn preview(fresh: &[Facts]) -> Delta {
    if fresh.is_empty() { Delta::default() } else { contribution(fresh) }
}

/// Each identity once, the superseding version.
pub(crate) fn distinct(versions: Vec<Facts>) -> Vec<Facts> {
    let mut winners = Winners::default();
    for version in versions {
        winners.add(version);
    }
    winners.facts
}

/// Each identity once, the superseding version.
#[derive(Default)]
struct Winners {
    index: Index,
    facts: Vec<Facts>,
}

impl Winners {
    /// Adds a version; is it of a new identity?
    fn add(&mut self, version: Facts) -> bool {
        match self.index.find(&self.facts, &version) {
            Place::At(at) => {
                if let Some(known) = self.facts.get_mut(at)
                    && version.supersedes(known)
                {
                    *known = version;
                }
                false
            }
            Place::Free(key) => {
                self.index.put(key, self.facts.len());
                self.facts.push(version);
                true
            }
        }
    }
}
