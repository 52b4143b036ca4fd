//! The decoder and the encoder against messages derived from the definition of OTLP by prost: a second, independent
//! reading of the wire format.

use proptest::prelude::*;
use prost::Message;

use super::arbitrary::spans;
use crate::{
    otlp::{Rules, decode_protobuf, encode_protobuf},
    span::{self, Attributes, Kind, Status as SpanStatus},
};

#[derive(Clone, PartialEq, Message)]
pub(super) struct Request {
    #[prost(message, repeated, tag = "1")]
    pub(super) resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    pub(super) resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    pub(super) scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Resource {
    #[prost(message, repeated, tag = "1")]
    pub(super) attributes: Vec<KeyValue>,
    #[prost(uint32, tag = "2")]
    pub(super) dropped: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    pub(super) scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    pub(super) spans: Vec<Span>,
    #[prost(string, tag = "3")]
    pub(super) schema_url: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Scope {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) version: String,
    #[prost(message, repeated, tag = "3")]
    pub(super) attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct KeyValue {
    #[prost(string, tag = "1")]
    pub(super) key: String,
    #[prost(message, optional, tag = "2")]
    pub(super) value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct AnyValue {
    #[prost(oneof = "Value", tags = "1, 2, 3, 4, 5, 6, 7")]
    pub(super) value: Option<Value>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Value {
    #[prost(string, tag = "1")]
    Str(String),
    #[prost(bool, tag = "2")]
    Bool(bool),
    #[prost(int64, tag = "3")]
    Int(i64),
    #[prost(double, tag = "4")]
    Double(f64),
    #[prost(message, tag = "5")]
    Array(ArrayValue),
    #[prost(message, tag = "6")]
    Map(KvList),
    #[prost(bytes, tag = "7")]
    Bytes(Vec<u8>),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ArrayValue {
    #[prost(message, repeated, tag = "1")]
    pub(super) values: Vec<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct KvList {
    #[prost(message, repeated, tag = "1")]
    pub(super) values: Vec<KeyValue>,
}

#[expect(clippy::struct_field_names, reason = "named as in the definition")]
#[derive(Clone, PartialEq, Message)]
pub(super) struct Span {
    #[prost(bytes, tag = "1")]
    pub(super) trace_id: Vec<u8>,
    #[prost(bytes, tag = "2")]
    pub(super) span_id: Vec<u8>,
    #[prost(string, tag = "3")]
    pub(super) trace_state: String,
    #[prost(bytes, tag = "4")]
    pub(super) parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    pub(super) name: String,
    #[prost(int32, tag = "6")]
    pub(super) kind: i32,
    #[prost(fixed64, tag = "7")]
    pub(super) start: u64,
    #[prost(fixed64, tag = "8")]
    pub(super) end: u64,
    #[prost(message, repeated, tag = "9")]
    pub(super) attributes: Vec<KeyValue>,
    #[prost(uint32, tag = "10")]
    pub(super) dropped_attributes: u32,
    #[prost(message, repeated, tag = "11")]
    pub(super) events: Vec<Event>,
    #[prost(message, repeated, tag = "13")]
    pub(super) links: Vec<Link>,
    #[prost(message, optional, tag = "15")]
    pub(super) status: Option<Status>,
    #[prost(fixed32, tag = "16")]
    pub(super) flags: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Event {
    #[prost(fixed64, tag = "1")]
    pub(super) time: u64,
    #[prost(string, tag = "2")]
    pub(super) name: String,
    #[prost(message, repeated, tag = "3")]
    pub(super) attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Link {
    #[prost(bytes, tag = "1")]
    pub(super) trace_id: Vec<u8>,
    #[prost(bytes, tag = "2")]
    pub(super) span_id: Vec<u8>,
    #[prost(string, tag = "3")]
    pub(super) trace_state: String,
    #[prost(message, repeated, tag = "4")]
    pub(super) attributes: Vec<KeyValue>,
    #[prost(fixed32, tag = "6")]
    pub(super) flags: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Status {
    #[prost(string, tag = "2")]
    pub(super) message: String,
    #[prost(int32, tag = "3")]
    pub(super) code: i32,
}

fn pairs(list: &Attributes) -> Vec<KeyValue> {
    let pair = |(key, one): &(crate::Text, span::Value)| KeyValue { key: key.to_string(), value: value(one) };
    list.iter().map(pair).collect()
}

/// `Null` inside a list is an empty `AnyValue`, of an attribute it is an absent one.
fn value(one: &span::Value) -> Option<AnyValue> {
    let value = match one {
        span::Value::Null => return None,
        span::Value::Str(text) => Value::Str(text.to_string()),
        span::Value::Bool(truth) => Value::Bool(*truth),
        span::Value::Int(number) => Value::Int(*number),
        span::Value::Double(number) => Value::Double(*number),
        span::Value::Bytes(bytes) => Value::Bytes(bytes.to_vec()),
        span::Value::Array(values) => Value::Array(ArrayValue {
            values: values.iter().map(|one| value(one).unwrap_or_default()).collect(),
        }),
        span::Value::Map(list) => Value::Map(KvList { values: pairs(list) }),
    };
    Some(AnyValue { value: Some(value) })
}

fn message(one: &span::Span) -> Span {
    let status = Status { message: one.status_message.to_string(), code: one.status as i32 };
    Span {
        trace_id: one.trace_id.to_bytes().to_vec(),
        span_id: one.span_id.to_bytes().to_vec(),
        trace_state: one.trace_state.to_string(),
        parent_span_id: one.parent_span_id.map(|id| id.to_bytes().to_vec()).unwrap_or_default(),
        name: one.name.to_string(),
        kind: one.kind as i32,
        start: one.start_ns,
        end: one.end_ns.unwrap_or(0),
        attributes: pairs(&one.attributes),
        dropped_attributes: 0,
        events: one
            .events
            .iter()
            .map(|event| Event {
                time: event.time_ns,
                name: event.name.to_string(),
                attributes: pairs(&event.attributes),
            })
            .collect(),
        links: one
            .links
            .iter()
            .map(|link| Link {
                trace_id: link.trace_id.to_bytes().to_vec(),
                span_id: link.span_id.to_bytes().to_vec(),
                trace_state: link.trace_state.to_string(),
                attributes: pairs(&link.attributes),
                flags: link.flags,
            })
            .collect(),
        status: (status != Status::default()).then_some(status),
        flags: one.flags,
    }
}

/// One `ResourceSpans` per span, with fields that Nexarch does not know.
pub(super) fn request(spans: &[span::Span]) -> Request {
    let resource_spans = |one: &span::Span| ResourceSpans {
        resource: Some(Resource { attributes: pairs(&one.resource.attributes), dropped: 3 }),
        scope_spans: vec![ScopeSpans {
            scope: Some(Scope {
                name: one.scope.name.to_string(),
                version: one.scope.version.to_string(),
                attributes: pairs(&one.scope.attributes),
            }),
            spans: vec![Span { dropped_attributes: 300, ..message(one) }],
            schema_url: "https://opentelemetry.io/schemas/1.44.0".into(),
        }],
    };
    Request { resource_spans: spans.iter().map(resource_spans).collect() }
}

proptest! {
    #[test]
    fn reads_what_a_second_implementation_writes(spans in spans()) {
        let body = request(&spans).encode_to_vec();
        let decoded = decode_protobuf(&body.into(), &Rules::default()).unwrap();
        prop_assert_eq!(decoded.spans, spans);
    }

    #[test]
    fn a_second_implementation_reads_what_is_written(spans in spans()) {
        let read = Request::decode(encode_protobuf(&spans).as_slice()).unwrap();
        let read: Vec<Span> = read
            .resource_spans
            .into_iter()
            .flat_map(|resource| resource.scope_spans)
            .flat_map(|scope| scope.spans)
            .collect();
        prop_assert_eq!(read, spans.iter().map(message).collect::<Vec<_>>());
    }

    /// Ours accepts more (any UTF-8, wider values), never less, and never counts another number of spans.
    #[test]
    fn accepts_what_a_second_implementation_accepts(
        spans in spans(),
        places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut body = encode_protobuf(&spans);
        prop_assume!(!body.is_empty());
        for (place, byte) in places {
            let at = place.index(body.len());
            body[at] = byte;
        }
        if let Ok(theirs) = Request::decode(body.as_slice()) {
            let count: usize = theirs
                .resource_spans
                .iter()
                .flat_map(|resource| &resource.scope_spans)
                .map(|scope| scope.spans.len())
                .sum();
            let ours = decode_protobuf(&body.into(), &Rules::default()).unwrap();
            prop_assert_eq!(ours.received, count);
        }
    }
}

#[test]
fn enums_are_numbered_as_in_the_definition() {
    let kinds =
        [Kind::Unspecified, Kind::Internal, Kind::Server, Kind::Client, Kind::Producer, Kind::Consumer];
    assert_eq!(kinds.map(|kind| kind as i32), [0, 1, 2, 3, 4, 5]);
    let statuses = [SpanStatus::Unset, SpanStatus::Ok, SpanStatus::Error];
    assert_eq!(statuses.map(|status| status as i32), [0, 1, 2]);
}
