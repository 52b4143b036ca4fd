//! Spans on the wire. The protobuf writer is a second, tiny implementation on purpose: encoder and decoder from one
//! definition would agree on a mistake.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::spans::Span;

/// An OTLP/JSON request; one resource per span keeps it simple and is allowed.
pub(crate) fn otlp_json(spans: &[Span]) -> Value {
    let of_resources: Vec<Value> = spans.iter().map(resource_spans_json).collect();
    json!({ "resourceSpans": of_resources })
}

fn resource_spans_json(span: &Span) -> Value {
    json!({
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": span.service}}]},
        "scopeSpans": [{"spans": [{
            "traceId": span.trace_hex(),
            "spanId": span.id_hex(),
            "parentSpanId": span.parent_hex(),
            "name": span.name,
            "kind": span.kind,
            "startTimeUnixNano": span.start_ns.to_string(),
            "endTimeUnixNano": (span.start_ns + span.duration_ns).to_string(),
            "status": if span.error { json!({"code": 2}) } else { json!({}) },
        }]}],
    })
}

/// An OTLP protobuf request (`opentelemetry/proto/trace/v1/trace.proto`).
pub(crate) fn otlp_protobuf(spans: &[Span]) -> Vec<u8> {
    spans.iter().flat_map(|span| field(1, &resource_spans(span))).collect()
}

fn resource_spans(span: &Span) -> Vec<u8> {
    let value = field(1, span.service.as_bytes());
    let attribute = [field(1, b"service.name"), field(2, &value)].concat();
    let resource = field(1, &attribute);
    let scope_spans = field(2, &span_message(span));
    [field(1, &resource), field(2, &scope_spans)].concat()
}

fn span_message(span: &Span) -> Vec<u8> {
    let mut message = [
        field(1, &span.trace.to_be_bytes()),
        field(2, &span.id.to_be_bytes()),
        field(5, span.name.as_bytes()),
        number(6, u64::from(span.kind)),
        fixed64(7, span.start_ns),
        fixed64(8, span.start_ns + span.duration_ns),
    ]
    .concat();
    if span.parent != 0 {
        message.extend(field(4, &span.parent.to_be_bytes()));
    }
    if span.error {
        message.extend(field(15, &number(3, 2)));
    }
    message
}

/// A length-delimited field.
pub(crate) fn field(tag: u64, content: &[u8]) -> Vec<u8> {
    let mut out = varint(tag << 3 | 2);
    out.extend(varint(content.len() as u64));
    out.extend(content);
    out
}

fn number(tag: u64, value: u64) -> Vec<u8> {
    [varint(tag << 3), varint(value)].concat()
}

fn fixed64(tag: u64, value: u64) -> Vec<u8> {
    [varint(tag << 3 | 1), value.to_le_bytes().to_vec()].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
    out
}

/// An array for `ingest/batch`.
pub(crate) fn native(spans: &[Span]) -> Value {
    spans.iter().map(native_one).collect()
}

/// One span for `ingest`.
pub(crate) fn native_one(span: &Span) -> Value {
    let kind = ["unspecified", "internal", "server", "client", "producer", "consumer"][span.kind as usize];
    let mut value = json!({
        "trace_id": span.trace_hex(),
        "span_id": span.id_hex(),
        "service_name": span.service,
        "operation": span.name,
        "kind": kind,
        "start_time": rfc3339(span.start_ns),
        "end_time": rfc3339(span.start_ns + span.duration_ns),
    });
    if span.parent != 0 {
        value["parent_span_id"] = span.parent_hex().into();
    }
    value
}

/// Nanoseconds since the Unix epoch as text.
pub(crate) fn rfc3339(ns: u64) -> String {
    Timestamp::from_nanosecond(i128::from(ns)).unwrap().to_string()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 0).unwrap()
}
