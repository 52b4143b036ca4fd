//! What inference needs of a span, derived once from its attributes and kept in the hot part of a chunk.

mod address;
mod content;
mod extra;
mod extract;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use rustc_hash::FxHashMap;

pub use extra::{Extra, GenAiRole, MAX_NEAR_LINKS, Messaging};

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
    /// Operation.
    pub name: Text,
    /// `service.name`, or `unknown_service`.
    pub service: Text,
    /// `service.namespace`, or empty.
    pub namespace: Text,
    /// `deployment.environment.name`, or empty.
    pub environment: Text,
    /// Hash of the instance or host that sent it; part of the identity of R1. 0 when unknown.
    /// The first of `service.instance.id`, `k8s.pod.name`, `host.id`, `host.name` of the resource.
    pub instance: u64,
    /// Name of the remote service as the sender knows it: `service.peer.name`, `peer.service`. Empty when unknown.
    pub peer: Text,
    /// Host of the remote side: lower case, without port, brackets or scheme. Empty when unknown.
    /// To a SERVER span that is its caller, to all others whom they call.
    pub address: Text,
    /// What is spoken: a database system, a messaging system, the provider of a model, an RPC system (`grpc`), `http`,
    /// or empty; of several the first of this list.
    pub protocol: Text,
    /// What kind of remote part the attributes name.
    pub remote_kind: RemoteKind,
    /// Database namespace, messaging destination (a template where there is one; temporary and anonymous ones are all
    /// `(temporary)`), or model; empty otherwise.
    pub target: Text,
    /// What the span does with messages, as its sender says.
    pub messaging: Messaging,
    /// What few spans have; `None` when it would be empty.
    pub extra: Option<Arc<Extra>>,
    /// Hash over the whole span; tells a re-send from an update.
    pub content: u64,
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
        extract::extract(span, &sender, scope, &mut Vec::new())
    }
}

impl Facts {
    /// The facts of many spans, in their order: the same as `Facts::from` of each, but a resource or scope that spans
    /// share is read once. (Else a large resource with many spans would cost the product of the two.)
    pub fn of_all(spans: &[Span]) -> Vec<Self> {
        let mut senders = FxHashMap::default();
        let mut scopes = FxHashMap::default();
        let mut buffer = Vec::new();
        let facts = |span: &Span| {
            let sender = senders
                .entry(Arc::as_ptr(&span.resource))
                .or_insert_with(|| extract::Sender::of(&span.resource));
            let scope =
                *scopes.entry(Arc::as_ptr(&span.scope)).or_insert_with(|| content::hash_scope(&span.scope));
            extract::extract(span, sender, scope, &mut buffer)
        };
        spans.iter().map(facts).collect()
    }
}
