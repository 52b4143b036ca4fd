//! OTLP in and out: requests of `TraceService/Export`, as protobuf and as JSON.
//!
//! A request is decoded in one pass into [`Span`]s whose texts are slices of the body. What is valid follows
//! `trace.proto` and the OTLP specification 1.11: one bad span costs itself and nothing else, only a body that cannot
//! be read at all is a [`DecodeError`]. Both encodings go through the same gate (`accept.rs`), so that the same spans
//! decode equal whichever way they came.

mod accept;
mod budget;
mod encode;
mod json;
mod protobuf;
pub mod status;
#[cfg(test)]
pub(crate) mod tests;
mod wire;

use bytes::Bytes;

use crate::span::Span;
pub(crate) use accept::{Draft, Gate, Parent, Sender};
pub(crate) use budget::Budget;
pub use budget::max_memory;
pub use encode::{json::encode_json, protobuf::encode_protobuf};
pub use json::decode_json;
pub use protobuf::decode_protobuf;

/// Deepest nesting of an attribute's value: a plain value is level 1, an element of its list level 2.
/// Real values (messages of a `GenAI` call) reach 6; a deeper one rejects its span.
pub const MAX_VALUE_DEPTH: usize = 16;

/// How many rejections keep their index and reason; all are counted.
pub const MAX_KEPT_REJECTIONS: usize = 16;

/// Decoded spans may take this many times the size of the body (plus [`EXPANSION_BASE`]), before spans are rejected.
/// Honest requests stay below 6; a body of empty attributes (two bytes each) would reach 36.
pub const MAX_EXPANSION: usize = 12;

/// Bytes that any body may expand to, however small.
pub const EXPANSION_BASE: usize = 1 << 20;

/// How far in the future a span may start: clocks differ, but not by more than this (nanoseconds; one hour).
pub const MAX_FUTURE_NS: u64 = 3_600_000_000_000;

/// How a request is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// `application/x-protobuf`, and the message of a gRPC call.
    Protobuf,
    /// `application/json`.
    Json,
}

/// What is valid beyond the shape of a span. The default has no limits (`analyze`: files may be of any age).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rules {
    /// The present, nanoseconds since the Unix epoch; `None` = times are not looked at.
    pub now_ns: Option<u64>,
    /// Spans that started longer ago than this (nanoseconds) are rejected; needs `now_ns`.
    pub retention_ns: Option<u64>,
    /// Room in memory (bytes), where there is less than [`max_memory`]: spans beyond it are rejected, and counted in
    /// [`Flags::too_many_elements`].
    pub max_memory: Option<usize>,
}

/// What a request held.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Decoded {
    /// The valid spans, in the order sent.
    pub spans: Vec<Span>,
    /// All spans sent, valid or not.
    pub received: usize,
    /// The first [`MAX_KEPT_REJECTIONS`] invalid spans.
    pub rejected: Vec<Rejected>,
    /// All invalid spans: `received` = `spans.len()` + `rejected_total`.
    pub rejected_total: usize,
    /// What was odd but accepted.
    pub flags: Flags,
}

impl Decoded {
    /// Adds what another request held. Indexes of its rejected spans are kept as they are.
    pub(crate) fn append(&mut self, other: Self) {
        self.spans.extend(other.spans);
        self.received += other.received;
        self.rejected_total += other.rejected_total;
        self.rejected.extend(other.rejected);
        self.rejected.truncate(MAX_KEPT_REJECTIONS);
        self.flags.add(&other.flags);
    }

    /// One span, invalid.
    pub(crate) fn of_rejected(index: usize, reason: Reason) -> Self {
        let rejected = vec![Rejected { index, reason }];
        Self { received: 1, rejected_total: 1, rejected, ..Self::default() }
    }

    /// An English sentence about the rejected spans for `partial_success.error_message`; `None` when there are none.
    pub fn message(&self) -> Option<String> {
        use std::fmt::Write as _;
        if self.rejected_total == 0 {
            return None;
        }
        let mut text = format!("{} of {} spans rejected", self.rejected_total, self.received);
        for (nth, Rejected { index, reason }) in self.rejected.iter().enumerate() {
            let sign = if nth == 0 { ": " } else { "; " };
            // Writing to a string cannot fail.
            let _ = write!(text, "{sign}span {index}: {reason}");
        }
        if self.rejected_total > self.rejected.len() {
            text.push_str("; …");
        }
        Some(text)
    }
}

/// A span that was not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Its place among all spans of the request, from 0.
    pub index: usize,
    /// Why.
    pub reason: Reason,
}

/// Why a span was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// See the text.
    #[error("trace_id must be 16 bytes (32 hex digits in JSON) and not all zero")]
    TraceId,
    /// See the text.
    #[error("span_id must be 8 bytes (16 hex digits in JSON) and not all zero")]
    SpanId,
    /// See the text.
    #[error("parent_span_id must be empty or 8 bytes (16 hex digits in JSON)")]
    ParentSpanId,
    /// See the text.
    #[error("it starts more than 1 h in the future; check the sender's clock")]
    Future,
    /// See the text.
    #[error("it is older than the retention of spans; shift old data to the present")]
    Expired,
    /// See [`MAX_VALUE_DEPTH`].
    #[error("an attribute is nested deeper than {MAX_VALUE_DEPTH} levels")]
    TooDeep,
    /// See [`MAX_EXPANSION`].
    #[error("the request holds too many elements for its size")]
    TooManyElements,
    /// A field of a JSON form is missing, or of another type than the format says.
    #[error("{0}")]
    Field(String),
    /// The resource or scope of the span is invalid.
    #[error("its {part} is invalid: {reason}")]
    Sender {
        /// `resource` or `scope`.
        part: &'static str,
        /// What is wrong with it.
        reason: Box<Reason>,
    },
}

/// How often something odd was seen, mostly accepted all the same; what the sender's owner should know (rule R12).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags {
    /// Spans without a name.
    pub no_name: u64,
    /// Spans without a service name, or with the `unknown_service` of an SDK.
    pub no_service_name: u64,
    /// Spans that end before they start; their duration is 0.
    pub end_before_start: u64,
    /// Spans without a kind.
    pub no_kind: u64,
    /// Spans of a kind that OTLP does not know; taken as INTERNAL.
    pub unknown_kind: u64,
    /// Spans that name themselves as parent; taken as roots.
    pub self_parent: u64,
    /// Spans without a sampling threshold: how many they stand for is unknown (rule R11).
    pub no_sampling: u64,
    /// Attribute lists with a repeated key; the last value won.
    pub repeated_key: u64,
    /// Events without a name.
    pub unnamed_event: u64,
    /// Links without valid ids; dropped.
    pub invalid_link: u64,
    /// Texts that are not UTF-8; the bad bytes were replaced.
    pub replaced_text: u64,
    /// Attributes, events and links left out and texts shortened, because they were beyond [`crate::limits`].
    pub cut: u64,
    /// Spans rejected: an id is none.
    pub rejected_id: u64,
    /// Spans rejected: they start more than an hour from now.
    pub rejected_future: u64,
    /// Spans rejected: they are older than the retention.
    pub rejected_expired: u64,
    /// Spans rejected for anything else about them.
    pub rejected_malformed: u64,
    /// Of these, those that hold more elements than there is room for.
    pub too_many_elements: u64,
}

impl Flags {
    /// Adds the counts of another request.
    pub fn add(&mut self, other: &Self) {
        self.no_name += other.no_name;
        self.no_service_name += other.no_service_name;
        self.end_before_start += other.end_before_start;
        self.no_kind += other.no_kind;
        self.unknown_kind += other.unknown_kind;
        self.self_parent += other.self_parent;
        self.no_sampling += other.no_sampling;
        self.repeated_key += other.repeated_key;
        self.unnamed_event += other.unnamed_event;
        self.invalid_link += other.invalid_link;
        self.replaced_text += other.replaced_text;
        self.cut += other.cut;
        self.rejected_id += other.rejected_id;
        self.rejected_future += other.rejected_future;
        self.rejected_expired += other.rejected_expired;
        self.rejected_malformed += other.rejected_malformed;
        self.too_many_elements += other.too_many_elements;
    }

    /// Counts a rejected span by its reason.
    pub(crate) fn reject(&mut self, reason: &Reason) {
        match reason {
            Reason::TraceId | Reason::SpanId | Reason::ParentSpanId => self.rejected_id += 1,
            Reason::Future => self.rejected_future += 1,
            Reason::Expired => self.rejected_expired += 1,
            Reason::TooManyElements => {
                self.rejected_malformed += 1;
                self.too_many_elements += 1;
            }
            Reason::Sender { reason, .. } => self.reject(reason),
            Reason::TooDeep | Reason::Field(_) => self.rejected_malformed += 1,
        }
    }

    /// Those counts that are kept for the tenant, by name.
    pub fn counts(&self) -> [(&'static str, u64); 13] {
        [
            ("rejected_id", self.rejected_id),
            ("rejected_future", self.rejected_future),
            ("rejected_expired", self.rejected_expired),
            ("rejected_malformed", self.rejected_malformed),
            ("cut", self.cut),
            ("no_name", self.no_name),
            ("end_before_start", self.end_before_start),
            ("unknown_kind", self.unknown_kind),
            ("self_parent", self.self_parent),
            ("repeated_key", self.repeated_key),
            ("unnamed_event", self.unnamed_event),
            ("invalid_link", self.invalid_link),
            ("replaced_text", self.replaced_text),
        ]
    }
}

/// A body that is no OTLP request: 400, `INVALID_ARGUMENT`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not protobuf, or not of this message type.
    #[error("the body is not an ExportTraceServiceRequest in protobuf: {0}")]
    Protobuf(&'static str),
    /// Not JSON, or not of this shape.
    #[error("the body is not an ExportTraceServiceRequest in JSON: {0}")]
    Json(String),
}

/// Decodes a request; an empty one (also an empty protobuf body) is valid and holds no spans.
pub fn decode(body: &Bytes, encoding: Encoding, rules: &Rules) -> Result<Decoded, DecodeError> {
    match encoding {
        Encoding::Protobuf => decode_protobuf(body, rules),
        Encoding::Json => decode_json(body, rules),
    }
}
