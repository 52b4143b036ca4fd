//! `ExportTraceServiceRequest` as protobuf.

use super::{Group, groups};
use crate::{
    otlp::wire::Writer,
    span::{Attributes, Event, Link, Scope, Span, Status, Value},
};

/// Encodes spans as one request, grouped by resource and scope. A missing end is left out.
///
/// [`decode_protobuf`](crate::otlp::decode_protobuf) gives back the same spans, ordered by these groups, unless a span
/// is invalid by OTLP's rules or holds a repeated key.
pub fn encode_protobuf(spans: &[Span]) -> Vec<u8> {
    let mut out = Writer::default();
    for Group { resource, scopes } in groups(spans) {
        out.message(1, |out| {
            out.message(1, |out| attributes(out, 1, &resource.attributes));
            for (scope, spans) in scopes {
                out.message(2, |out| scope_spans(out, scope, &spans));
            }
        });
    }
    out.0
}

fn scope_spans(out: &mut Writer, scope: &Scope, spans: &[&Span]) {
    out.message(1, |out| {
        out.text(1, &scope.name);
        out.text(2, &scope.version);
        attributes(out, 3, &scope.attributes);
    });
    for one in spans {
        out.message(2, |out| span(out, one));
    }
}

fn span(out: &mut Writer, span: &Span) {
    out.bytes(1, &span.trace_id.to_bytes());
    out.bytes(2, &span.span_id.to_bytes());
    out.text(3, &span.trace_state);
    if let Some(parent) = span.parent_span_id {
        out.bytes(4, &parent.to_bytes());
    }
    out.text(5, &span.name);
    out.varint_field(6, span.kind as u64);
    out.fixed64(7, span.start_ns);
    out.fixed64(8, span.end_ns.unwrap_or(0));
    attributes(out, 9, &span.attributes);
    for Event { time_ns, name, attributes: list } in &span.events {
        out.message(11, |out| {
            out.fixed64(1, *time_ns);
            out.text(2, name);
            attributes(out, 3, list);
        });
    }
    for one in &span.links {
        out.message(13, |out| link(out, one));
    }
    if span.status != Status::Unset || !span.status_message.is_empty() {
        out.message(15, |out| {
            out.text(2, &span.status_message);
            out.varint_field(3, span.status as u64);
        });
    }
    out.fixed32(16, span.flags);
}

fn link(out: &mut Writer, link: &Link) {
    out.bytes(1, &link.trace_id.to_bytes());
    out.bytes(2, &link.span_id.to_bytes());
    out.text(3, &link.trace_state);
    attributes(out, 4, &link.attributes);
    out.fixed32(6, link.flags);
}

fn attributes(out: &mut Writer, number: u32, list: &Attributes) {
    for (key, one) in list {
        out.message(number, |out| {
            out.text(1, key);
            if *one != Value::Null {
                out.message(2, |out| value(out, one));
            }
        });
    }
}

/// The members of a `oneof` are written even when they are zero: presence is what they say.
fn value(out: &mut Writer, one: &Value) {
    match one {
        Value::Null => {}
        Value::Str(text) => out.bytes(1, text.as_bytes()),
        Value::Bool(truth) => out.varint_always(2, u64::from(*truth)),
        Value::Int(number) => out.varint_always(3, number.cast_unsigned()),
        Value::Double(number) => out.fixed64_always(4, number.to_bits()),
        Value::Array(values) => {
            out.message(5, |out| values.iter().for_each(|one| out.message(1, |out| value(out, one))));
        }
        Value::Map(list) => out.message(6, |out| attributes(out, 1, list)),
        Value::Bytes(bytes) => out.bytes(7, bytes),
    }
}
