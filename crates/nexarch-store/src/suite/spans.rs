//! Spans made by hand.

use std::sync::Arc;

use nexarch_core::{
    ids::{SpanId, TraceId},
    span::{Kind, Resource, Scope, Span, Status, Value},
};

/// Start of a minute, hour and day in 2025, nanoseconds.
pub const BASE_NS: u64 = 1_749_945_600_000_000_000;

/// Nanoseconds of a minute.
pub const MINUTE_NS: u64 = 60_000_000_000;

/// Minutes since the Unix epoch of [`BASE_NS`].
pub const BASE_MINUTE: u32 = 29_165_760;

/// A trace id that ends in a number.
pub fn trace_id(number: u64) -> TraceId {
    let mut bytes = [7; 16];
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    TraceId::from_bytes(bytes).expect("not zero")
}

/// A span id that ends in a number.
pub fn span_id(number: u64) -> SpanId {
    SpanId::from_bytes((number | 1 << 40).to_be_bytes()).expect("not zero")
}

/// A resource of a service.
pub fn resource(service: &str) -> Arc<Resource> {
    let service = Value::Str(service.into());
    Arc::new(Resource { attributes: vec![("service.name".into(), service)] })
}

/// A SERVER span of 5 ms of service `shop` that starts `at_ns` after [`BASE_NS`]; the root of its trace.
pub fn span(trace: u64, id: u64, at_ns: u64) -> Span {
    Span {
        trace_id: trace_id(trace),
        span_id: span_id(id),
        parent_span_id: None,
        flags: 0,
        trace_state: "".into(),
        name: "GET /cart".into(),
        kind: Kind::Server,
        start_ns: BASE_NS + at_ns,
        end_ns: Some(BASE_NS + at_ns + 5_000_000),
        status: Status::Unset,
        status_message: "".into(),
        attributes: vec![("http.request.method".into(), Value::Str("GET".into()))],
        events: Vec::new(),
        links: Vec::new(),
        resource: resource("shop"),
        scope: Arc::new(Scope::default()),
    }
}

/// `count` spans of one trace under a root: calls of `shop` to `stock`, halves side by side, one per millisecond.
pub fn trace(number: u64, count: u64) -> Vec<Span> {
    let (shop, stock) = (resource("shop"), resource("stock"));
    (0..count)
        .map(|index| {
            let mut span = span(number, index + 1, index * 1_000_000);
            span.resource = if index % 3 == 2 { Arc::clone(&stock) } else { Arc::clone(&shop) };
            span.kind = if index % 3 == 1 { Kind::Client } else { Kind::Server };
            span.parent_span_id = match index % 3 {
                _ if index == 0 => None,
                2 => Some(span_id(index)),
                _ => Some(span_id(1)),
            };
            if index > 0 && index.is_multiple_of(3) {
                span.kind = Kind::Internal;
            }
            span
        })
        .collect()
}
