//! `ExportTraceServiceRequest` as OTLP/JSON.

use base64::Engine as _;
use serde_json::{Map, Value as Json, json};

use super::{Group, groups};
use crate::span::{Attributes, Event, Link, Scope, Span, Status, Value};

/// Encodes spans as one request, grouped by resource and scope; the counterpart of
/// [`decode_json`](crate::otlp::decode_json), as [`encode_protobuf`](crate::otlp::encode_protobuf) is of its own.
pub fn encode_json(spans: &[Span]) -> Vec<u8> {
    let resource_spans: Vec<Json> = groups(spans).iter().map(resource_spans).collect();
    json!({ "resourceSpans": resource_spans }).to_string().into_bytes()
}

fn resource_spans(group: &Group<'_>) -> Json {
    let scope_spans: Vec<Json> = group
        .scopes
        .iter()
        .map(|(scope, spans)| {
            let spans: Vec<Json> = spans.iter().map(|one| span(one)).collect();
            json!({ "scope": scope_of(scope), "spans": spans })
        })
        .collect();
    json!({
        "resource": { "attributes": attributes(&group.resource.attributes) },
        "scopeSpans": scope_spans,
    })
}

fn scope_of(scope: &Scope) -> Json {
    let mut out = Map::new();
    text(&mut out, "name", &scope.name);
    text(&mut out, "version", &scope.version);
    list(&mut out, "attributes", attributes(&scope.attributes));
    out.into()
}

fn span(span: &Span) -> Json {
    let mut out = Map::new();
    out.insert("traceId".into(), span.trace_id.to_string().into());
    out.insert("spanId".into(), span.span_id.to_string().into());
    text(&mut out, "traceState", &span.trace_state);
    if let Some(parent) = span.parent_span_id {
        out.insert("parentSpanId".into(), parent.to_string().into());
    }
    number(&mut out, "flags", span.flags);
    text(&mut out, "name", &span.name);
    number(&mut out, "kind", span.kind as u32);
    out.insert("startTimeUnixNano".into(), span.start_ns.to_string().into());
    if let Some(end) = span.end_ns {
        out.insert("endTimeUnixNano".into(), end.to_string().into());
    }
    list(&mut out, "attributes", attributes(&span.attributes));
    list(&mut out, "events", span.events.iter().map(event).collect());
    list(&mut out, "links", span.links.iter().map(link).collect());
    if span.status != Status::Unset || !span.status_message.is_empty() {
        let mut status = Map::new();
        number(&mut status, "code", span.status as u32);
        text(&mut status, "message", &span.status_message);
        out.insert("status".into(), status.into());
    }
    out.into()
}

fn event(event: &Event) -> Json {
    let mut out = Map::new();
    out.insert("timeUnixNano".into(), event.time_ns.to_string().into());
    text(&mut out, "name", &event.name);
    list(&mut out, "attributes", attributes(&event.attributes));
    out.into()
}

fn link(link: &Link) -> Json {
    let mut out = Map::new();
    out.insert("traceId".into(), link.trace_id.to_string().into());
    out.insert("spanId".into(), link.span_id.to_string().into());
    text(&mut out, "traceState", &link.trace_state);
    number(&mut out, "flags", link.flags);
    list(&mut out, "attributes", attributes(&link.attributes));
    out.into()
}

fn attributes(list: &Attributes) -> Vec<Json> {
    list.iter().map(|(key, one)| json!({ "key": key.as_ref() as &str, "value": value(one) })).collect()
}

fn value(one: &Value) -> Json {
    match one {
        Value::Null => json!({}),
        Value::Str(text) => json!({ "stringValue": text.as_ref() as &str }),
        Value::Bool(truth) => json!({ "boolValue": truth }),
        Value::Int(number) => json!({ "intValue": number.to_string() }),
        Value::Double(number) => json!({ "doubleValue": double(*number) }),
        Value::Bytes(bytes) => {
            json!({ "bytesValue": base64::engine::general_purpose::STANDARD.encode(bytes) })
        }
        Value::Array(values) => {
            json!({ "arrayValue": { "values": values.iter().map(value).collect::<Vec<_>>() } })
        }
        Value::Map(list) => json!({ "kvlistValue": { "values": attributes(list) } }),
    }
}

/// JSON has no word for what is not finite; protobuf's mapping uses these.
fn double(number: f64) -> Json {
    if number.is_finite() {
        number.into()
    } else if number.is_nan() {
        "NaN".into()
    } else if number > 0.0 {
        "Infinity".into()
    } else {
        "-Infinity".into()
    }
}

fn text(out: &mut Map<String, Json>, key: &str, text: &str) {
    if !text.is_empty() {
        out.insert(key.into(), text.into());
    }
}

fn number(out: &mut Map<String, Json>, key: &str, number: u32) {
    if number != 0 {
        out.insert(key.into(), number.into());
    }
}

fn list(out: &mut Map<String, Json>, key: &str, list: Vec<Json>) {
    if !list.is_empty() {
        out.insert(key.into(), list.into());
    }
}
