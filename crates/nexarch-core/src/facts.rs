//! What inference needs of a span, derived once from its attributes and kept in the hot part of a chunk.

mod address;
mod content;
mod extra;
mod extract;
mod pattern;
#[cfg(test)]
mod tests;

use std::{ops::Deref, sync::Arc};

use rustc_hash::FxHashMap;

pub use extra::{Extra, GenAiRole, MAX_FAR_LINKS, MAX_NEAR_LINKS, Messaging};
pub use pattern::{Pattern, Patterns};

use crate::{
    Text,
    ids::{SpanId, TraceId},
    span::{Kind, Side, Span},
};

/// Longest text in [`Facts`], in bytes; longer ones are cut at a character. They name nodes, edges and operations, and
/// a hostile sender must not make those large.
pub const MAX_FACT_BYTES: usize = 256;

/// Bit of [`Facts::remote`]: the span says how many it stands for (`tracestate` with `ot=th`, rule R11).
pub const SAMPLING_KNOWN: u8 = 4;

/// The hot part of a span: everything that the map, the metrics and R1 look at, and nothing else.
///
/// A pure function of the span, so that a trace can be inferred again without reading attributes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Facts {
    /// See [`crate::span::Span`].
    pub trace_id: TraceId,
    /// See [`crate::span::Span`].
    pub span_id: SpanId,
    /// `None` for a root.
    pub parent_span_id: Option<SpanId>,
    /// Bits 8 and 9 of the OTLP flags (is the parent remote, and is that known), shifted to bits 0 and 1; and
    /// [`SAMPLING_KNOWN`].
    pub remote: u8,
    /// Role in a call.
    pub kind: Kind,
    /// Did the status say ERROR.
    pub error: bool,
    /// Start, nanoseconds since the Unix epoch.
    pub start_ns: u64,
    /// Duration, nanoseconds; `None` when the sender gave none (the call counts, its latency does not).
    pub duration_ns: Option<u64>,
    /// Sampling weight in 1/256: how many spans this one stands for (rule R11).
    pub weight: u32,
    /// What it says like many others. Its fields can be read as if they were fields of this.
    pub pattern: Arc<Pattern>,
    /// What few spans have; `None` when it would be empty.
    pub extra: Option<Arc<Extra>>,
    /// Hash over the whole span; tells a re-send from an update.
    pub content: u64,
}

impl Deref for Facts {
    type Target = Pattern;

    fn deref(&self) -> &Pattern {
        &self.pattern
    }
}

/// What the attributes say the other side is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[repr(u8)]
pub enum RemoteKind {
    /// A service, or nothing is known.
    #[default]
    Service = 0,
    /// A database (`db.system.name`).
    Database = 1,
    /// redis, valkey, memcached.
    Cache = 2,
    /// A messaging system.
    Queue = 3,
    /// A `GenAI` model.
    Model = 4,
}

/// Identity of a span by rule R1: two spans with one identity are one span sent twice, or updated.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// See [`Facts`].
    pub trace_id: TraceId,
    /// See [`Facts`].
    pub span_id: SpanId,
    /// Half of a call: client and server may share an id.
    pub side: Side,
    /// See [`Facts`].
    pub service: Text,
    /// See [`Facts`].
    pub instance: u64,
    /// See [`Facts`].
    pub start_ns: u64,
}

impl Facts {
    /// The same with another pattern.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Pattern)) -> Self {
        change(Arc::make_mut(&mut self.pattern));
        self
    }

    /// The identity by rule R1.
    pub fn identity(&self) -> Identity {
        Identity {
            trace_id: self.trace_id,
            span_id: self.span_id,
            side: self.kind.side(),
            service: self.service.clone(),
            instance: self.instance,
            start_ns: self.start_ns,
        }
    }

    /// End, nanoseconds since the Unix epoch.
    pub fn end_ns(&self) -> u64 {
        self.start_ns.saturating_add(self.duration_ns.unwrap_or(0))
    }

    /// Of two spans with one identity, is this the one to keep: later end, then ERROR, then content hash.
    /// A total order, so that the order of arrival cannot matter.
    pub fn supersedes(&self, other: &Self) -> bool {
        (self.end_ns(), self.error, self.content) > (other.end_ns(), other.error, other.content)
    }
}

/// One span by itself. For many use [`Facts::of_all`]: this reads the whole resource and scope for each.
impl From<&Span> for Facts {
    fn from(span: &Span) -> Self {
        let (sender, scope) = (extract::Sender::of(&span.resource), content::hash_scope(&span.scope));
        extract::extract(span, &sender, scope, &mut extract::Kept::default())
    }
}

impl Facts {
    /// The facts of many spans, in their order: the same as `Facts::from` of each, but a resource or scope that spans
    /// share is read once. (Else a large resource with many spans would cost the product of the two.)
    pub fn of_all(spans: &[Span]) -> Vec<Self> {
        let mut all = Vec::with_capacity(spans.len());
        Self::each_with(spans, &mut Patterns::default(), |facts| all.push(facts));
        all
    }

    /// As [`Self::of_all`], with the patterns that were kept of other spans, one after the other into `each`.
    pub fn each_with(spans: &[Span], patterns: &mut Patterns, mut each: impl FnMut(Self)) {
        let mut senders = FxHashMap::default();
        let mut scopes = FxHashMap::default();
        let mut kept = extract::Kept { patterns: std::mem::take(patterns), buffer: Vec::new() };
        for span in spans {
            let sender = senders
                .entry(Arc::as_ptr(&span.resource))
                .or_insert_with(|| extract::Sender::of(&span.resource));
            let scope =
                *scopes.entry(Arc::as_ptr(&span.scope)).or_insert_with(|| content::hash_scope(&span.scope));
            each(extract::extract(span, sender, scope, &mut kept));
        }
        *patterns = kept.patterns;
    }
}
