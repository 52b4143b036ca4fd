//! The span model: what OpenTelemetry calls a span, with its resource, events and links.

use std::sync::Arc;

use crate::{
    Text,
    ids::{SpanId, TraceId},
};

/// One finished operation of one service.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// The trace that it belongs to.
    pub trace_id: TraceId,
    /// Its own id, unique inside the trace but for shared client/server ids.
    pub span_id: SpanId,
    /// `None` for a root; an all-zero or self-referring parent is taken as a root.
    pub parent_span_id: Option<SpanId>,
    /// W3C flags in bits 0-7; bit 8: "is remote" is known; bit 9: the parent is remote.
    pub flags: u32,
    /// W3C `tracestate`, verbatim.
    pub trace_state: Text,
    /// The operation.
    pub name: Text,
    /// The role in a call.
    pub kind: Kind,
    /// Start, in nanoseconds since the Unix epoch.
    pub start_ns: u64,
    /// End, in nanoseconds since the Unix epoch, never before the start; `None` when the sender gave none.
    pub end_ns: Option<u64>,
    /// The status as sent; it is never recomputed.
    pub status: Status,
    /// The developer's words on the status.
    pub status_message: Text,
    /// The span's own attributes; of a repeated key the last wins.
    pub attributes: Attributes,
    /// Timed notes inside the span.
    pub events: Vec<Event>,
    /// Causal references to other spans, possibly of other traces.
    pub links: Vec<Link>,
    /// Who sent it; shared by all spans of one sender in a request.
    pub resource: Arc<Resource>,
    /// Which instrumentation made it.
    pub scope: Arc<Scope>,
}

/// Role of a span in a call, numbered as in OTLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[repr(u8)]
pub enum Kind {
    /// Not stated.
    #[default]
    Unspecified = 0,
    /// Inside one service.
    Internal = 1,
    /// Serves a request.
    Server = 2,
    /// Makes a request.
    Client = 3,
    /// Puts a message into a queue.
    Producer = 4,
    /// Takes a message from a queue.
    Consumer = 5,
}

/// Which half of a call a span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// CLIENT, PRODUCER.
    Out,
    /// SERVER, CONSUMER.
    In,
    /// INTERNAL, or not stated.
    Local,
}

impl Kind {
    /// From the OTLP number; an unknown one means INTERNAL.
    pub fn from_otlp(number: i32) -> Self {
        match number {
            0 => Self::Unspecified,
            2 => Self::Server,
            3 => Self::Client,
            4 => Self::Producer,
            5 => Self::Consumer,
            _ => Self::Internal,
        }
    }

    /// The half of a call.
    pub fn side(self) -> Side {
        match self {
            Self::Client | Self::Producer => Side::Out,
            Self::Server | Self::Consumer => Side::In,
            Self::Unspecified | Self::Internal => Side::Local,
        }
    }

    /// Lower-case name, as in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Internal => "internal",
            Self::Server => "server",
            Self::Client => "client",
            Self::Producer => "producer",
            Self::Consumer => "consumer",
        }
    }
}

/// Outcome of a span, as sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[repr(u8)]
pub enum Status {
    /// Not stated; no error.
    #[default]
    Unset = 0,
    /// Stated to be fine.
    Ok = 1,
    /// Failed.
    Error = 2,
}

/// Key and value pairs in the order sent.
pub type Attributes = Vec<(Text, Value)>;

/// Value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// An attribute without a value.
    Null,
    /// Text.
    Str(Text),
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A floating-point number.
    Double(f64),
    /// Opaque bytes.
    Bytes(bytes::Bytes),
    /// A list.
    Array(Vec<Value>),
    /// A nested map.
    Map(Attributes),
}

impl Value {
    /// The text, when it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }
}

/// Looks up a key; of a repeated one the last wins.
pub fn attribute<'a>(attributes: &'a Attributes, key: &str) -> Option<&'a Value> {
    attributes.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value)
}

/// The entity that sent spans.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Resource {
    /// `service.name` and the rest.
    pub attributes: Attributes,
}

/// The instrumentation that made spans.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scope {
    /// Name of the library.
    pub name: Text,
    /// Version of the library.
    pub version: Text,
    /// Further attributes.
    pub attributes: Attributes,
}

/// A timed note inside a span.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// When, in nanoseconds since the Unix epoch.
    pub time_ns: u64,
    /// What; may be empty.
    pub name: Text,
    /// Details.
    pub attributes: Attributes,
}

/// A causal reference to another span.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// Trace of the target.
    pub trace_id: TraceId,
    /// The target.
    pub span_id: SpanId,
    /// W3C `tracestate` of the target.
    pub trace_state: Text,
    /// As in [`Span::flags`].
    pub flags: u32,
    /// Details.
    pub attributes: Attributes,
}
