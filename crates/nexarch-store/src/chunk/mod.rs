//! The layout of a chunk: up to [`MAX_SPANS`] spans of one tenant and hour, columns together.
//!
//! Two blocks, each compressed and checked on its own: the **hot** block holds [`Facts`] (all that inference and
//! R1 look at), the **cold** block what only a reader of a single trace wants (attributes, events, links). The same
//! bytes serve every backend. Decoding never trusts: a wrong length, a cut, a flipped bit or a foreign version is
//! [`Corrupt`], never a panic and never memory beyond a fixed multiple of the block.

mod bytes;
mod cold;
mod columns;
mod detach;
mod extra;
mod frame;
mod hot;
#[cfg(test)]
mod tests;
mod texts;
mod value;

use std::{collections::HashSet, sync::Arc};

use nexarch_core::{
    facts::Facts,
    ids::TraceId,
    span::{Resource, Scope, Span},
};

pub(crate) use detach::detach;
pub(crate) use frame::{open, seal};
pub(crate) use nexarch_core::hash::Seeded;

/// Most spans of one chunk: beyond about a thousand the ratio hardly grows, while a trace by id has more to skip.
pub(crate) const MAX_SPANS: usize = 1_000;

/// A chunk is closed when it weighs more than this (see [`Scale`]), bytes; keeps one read small.
pub(crate) const MAX_WEIGHT: usize = 4 << 20;

/// The two blocks of a chunk, compressed.
pub(crate) struct Encoded {
    /// See the module.
    pub(crate) hot: Vec<u8>,
    /// See the module.
    pub(crate) cold: Vec<u8>,
}

/// Encodes spans with their facts. They compress best, and are told apart fastest, sorted by trace and start.
pub(crate) fn encode(rows: &[(&Span, &Facts)]) -> Result<Encoded, Corrupt> {
    let hot = frame::seal(&hot::encode(rows.iter().map(|(_, facts)| *facts)))?;
    let cold = frame::seal(&cold::encode(rows)?)?;
    Ok(Encoded { hot, cold })
}

/// Encodes facts alone, as a hot block that [`decode_facts`] reads.
pub(crate) fn encode_facts(facts: &[Facts]) -> Result<Vec<u8>, Corrupt> {
    frame::seal(&hot::encode(facts.iter()))
}

/// The facts of the wanted traces, in stored order.
pub(crate) fn decode_facts(hot: &[u8], wanted: &dyn Fn(&TraceId) -> bool) -> Result<Vec<Facts>, Corrupt> {
    Ok(hot::decode(&frame::open(hot)?, wanted)?.into_iter().map(|(_, facts)| facts).collect())
}

/// The facts of the wanted traces with their row numbers, in stored order.
pub(crate) fn decode_rows(
    hot: &[u8],
    wanted: &dyn Fn(&TraceId) -> bool,
) -> Result<Vec<(usize, Facts)>, Corrupt> {
    hot::decode(&frame::open(hot)?, wanted)
}

/// The spans of the wanted traces with their facts, in stored order.
pub(crate) fn decode_spans(
    hot: &[u8],
    cold: &[u8],
    wanted: &dyn Fn(&TraceId) -> bool,
) -> Result<Vec<(Span, Facts)>, Corrupt> {
    let facts = decode_rows(hot, wanted)?;
    if facts.is_empty() {
        return Ok(Vec::new());
    }
    cold::decode(frame::open(cold)?, facts)
}

/// The spans in certain rows of the wanted traces, in stored order; `rows` are numbers of [`decode_rows`], ascending.
pub(crate) fn decode_chosen(
    hot: &[u8],
    cold: &[u8],
    wanted: &dyn Fn(&TraceId) -> bool,
    rows: &[usize],
) -> Result<Vec<Span>, Corrupt> {
    let mut facts = decode_rows(hot, wanted)?;
    facts.retain(|(row, _)| rows.binary_search(row).is_ok());
    if facts.len() != rows.len() {
        return Err(Corrupt("a row is gone"));
    }
    Ok(cold::decode(frame::open(cold)?, facts)?.into_iter().map(|(span, _)| span).collect())
}

/// Weighs what goes into a chunk: about how many bytes it takes before compression.
#[derive(Default)]
pub(crate) struct Scale {
    /// Of the spans themselves.
    own: usize,
    /// Of resources and scopes, which a chunk holds once.
    shared: usize,
    /// Their addresses.
    held: HashSet<usize, Seeded>,
    /// Those of the span before, which mostly has the same.
    last: (usize, usize),
}

impl Scale {
    /// Puts a span on it that weighs so much by itself ([`weight`]). Spans live on while they are weighed.
    pub(crate) fn add(&mut self, span: &Span, weight: usize) {
        self.own += weight;
        self.shared += self.brings(span);
        let addresses = addresses(span);
        if self.last != addresses {
            self.held.extend(<[usize; 2]>::from(addresses));
            self.last = addresses;
        }
    }

    /// Is it time to close the chunk before this span? A heavy resource is no reason while its spans go on: each chunk of
    /// them would hold it again.
    pub(crate) fn is_full_for(&self, span: &Span) -> bool {
        self.own > MAX_WEIGHT || (self.own + self.shared > MAX_WEIGHT && self.brings(span) > 0)
    }

    /// What resource and scope of a span weigh, as far as they are not in the chunk already.
    fn brings(&self, span: &Span) -> usize {
        let addresses = addresses(span);
        if self.last == addresses {
            return 0;
        }
        let is_new = |address| !self.held.contains(&address);
        let resource = if is_new(addresses.0) { value::weight_of(&span.resource.attributes) } else { None };
        let scope = if is_new(addresses.1) { scope_weight(&span.scope) } else { None };
        resource.unwrap_or(0) + scope.unwrap_or(0)
    }

    /// What the resources and scopes of the chunk weigh, each once.
    pub(crate) fn shared(&self) -> usize {
        self.shared
    }
}

/// Of what a span shares with others of its sender: resource and scope.
pub(crate) fn addresses(span: &Span) -> (usize, usize) {
    (Arc::as_ptr(&span.resource).addr(), Arc::as_ptr(&span.scope).addr())
}

/// About how many bytes a span takes without its resource and scope. `None` when a value is nested deeper than a chunk
/// can hold.
pub(crate) fn weight(span: &Span) -> Option<usize> {
    let mut sum = 64 + span.name.len() + span.trace_state.len() + span.status_message.len();
    sum += value::weight_of(&span.attributes)?;
    for event in &span.events {
        sum += 16 + event.name.len() + value::weight_of(&event.attributes)?;
    }
    for link in &span.links {
        sum += 32 + value::weight_of(&link.attributes)?;
    }
    Some(sum)
}

/// Can a chunk hold the values of a resource and a scope?
pub(crate) fn is_shallow(resource: &Resource, scope: &Scope) -> bool {
    value::weight_of(&resource.attributes).is_some() && scope_weight(scope).is_some()
}

fn scope_weight(Scope { name, version, attributes }: &Scope) -> Option<usize> {
    Some(name.len() + version.len() + value::weight_of(attributes)?)
}

/// A block that cannot be read, or, when encoding, one that could never be read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("corrupt chunk: {0}")]
pub(crate) struct Corrupt(pub(crate) &'static str);
