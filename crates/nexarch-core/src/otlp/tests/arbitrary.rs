//! Any valid spans, as a decoder can return them.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use crate::{
    Text, attributes,
    ids::{SpanId, TraceId},
    span::{Attributes, Event, Kind, Link, Resource, Scope, Span, Status, Value},
};

pub(crate) fn text() -> impl Strategy<Value = Text> {
    prop_oneof!["", "[a-z.]{1,12}", "\\PC{0,8}", "[\u{0}-\u{1f}\"\\\\]{0,4}"].prop_map(Text::from)
}

/// No NaN: it does not equal itself. Negative zero, infinities and subnormal numbers occur.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        text().prop_map(Value::Str),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        (-3i64..300).prop_map(Value::Int),
        prop::num::f64::ANY.prop_filter("NaN", |number| !number.is_nan()).prop_map(Value::Double),
        prop::collection::vec(any::<u8>(), 0..9).prop_map(|bytes| Value::Bytes(Bytes::from(bytes))),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::vec((text(), inner), 0..4).prop_map(|list| Value::Map(unique(list))),
        ]
    })
}

fn unique(mut list: Attributes) -> Attributes {
    attributes::resolve(&mut list);
    list
}

pub(crate) fn list() -> impl Strategy<Value = Attributes> {
    prop::collection::vec((text(), value()), 0..6).prop_map(unique)
}

fn trace_id() -> impl Strategy<Value = TraceId> {
    any::<[u8; 16]>().prop_filter_map("zero", TraceId::from_bytes)
}

fn span_id() -> impl Strategy<Value = SpanId> {
    any::<[u8; 8]>().prop_filter_map("zero", SpanId::from_bytes)
}

fn kind() -> impl Strategy<Value = Kind> {
    (0..6).prop_map(Kind::from_otlp)
}

fn event() -> impl Strategy<Value = Event> {
    (any::<u64>(), text(), list()).prop_map(|(time_ns, name, attributes)| Event { time_ns, name, attributes })
}

fn link() -> impl Strategy<Value = Link> {
    (trace_id(), span_id(), text(), any::<u32>(), list()).prop_map(
        |(trace_id, span_id, trace_state, flags, attributes)| Link {
            trace_id,
            span_id,
            trace_state,
            flags,
            attributes,
        },
    )
}

pub(crate) fn span() -> impl Strategy<Value = Span> {
    let ids = (trace_id(), span_id(), prop::option::of(span_id()), any::<u32>(), kind());
    let status = prop_oneof![Just(Status::Unset), Just(Status::Ok), Just(Status::Error)];
    let texts = (text(), text(), status, text());
    let times = (any::<u32>(), prop::option::of(1..u64::from(u32::MAX)));
    let lists = (list(), prop::collection::vec(event(), 0..3), prop::collection::vec(link(), 0..3));
    (ids, texts, times, lists).prop_map(|(ids, texts, (start, duration), (attributes, events, links))| {
        let (trace_id, span_id, parent, flags, kind) = ids;
        let (trace_state, name, status, status_message) = texts;
        Span {
            trace_id,
            span_id,
            parent_span_id: parent.filter(|parent| *parent != span_id),
            flags,
            trace_state,
            name,
            kind,
            start_ns: start.into(),
            end_ns: duration.map(|duration| u64::from(start) + duration),
            status,
            status_message,
            attributes,
            events,
            links,
            resource: Arc::default(),
            scope: Arc::default(),
        }
    })
}

/// Up to a dozen spans of up to three senders with up to two scopes each, ordered by sender and scope.
pub(crate) fn spans() -> impl Strategy<Value = Vec<Span>> {
    let resources = prop::collection::vec(list(), 3);
    let scopes = prop::collection::vec((text(), text(), list()), 2);
    let placed = prop::collection::vec((0..3usize, 0..2usize, span()), 0..12);
    (resources, scopes, placed).prop_map(|(resources, scopes, mut placed)| {
        let resources: Vec<_> =
            resources.into_iter().map(|attributes| Arc::new(Resource { attributes })).collect();
        let scopes: Vec<_> = scopes
            .into_iter()
            .map(|(name, version, attributes)| Arc::new(Scope { name, version, attributes }))
            .collect();
        placed.sort_by_key(|(resource, scope, _)| (*resource, *scope));
        placed
            .into_iter()
            .map(|(resource, scope, span)| Span {
                resource: resources[resource].clone(),
                scope: scopes[scope].clone(),
                ..span
            })
            .collect()
    })
}
