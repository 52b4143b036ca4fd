//! A hash over a whole span, whichever way it arrived.
//!
//! Every part is written in one canonical form (numbers little-endian, texts and lists led by their length, each value
//! by its type) and hashed by XXH3-64. Repeated keys are resolved before; attributes keep the order in which they were
//! sent, which every encoding preserves; all NaNs are one, since JSON can write only one.

use xxhash_rust::xxh3::xxh3_64;

use crate::{
    attributes::resolved,
    ids::SpanId,
    span::{Attributes, Resource, Scope, Span, Value},
};

/// Room for a typical span, so that the buffer grows rarely.
const TYPICAL_BYTES: usize = 1024;

/// The hash of a resource.
pub(super) fn hash_resource(resource: &Resource) -> u64 {
    let mut out = Canonical(Vec::with_capacity(TYPICAL_BYTES));
    out.attributes(&resource.attributes);
    xxh3_64(&out.0)
}

/// The hash of a scope.
pub(super) fn hash_scope(scope: &Scope) -> u64 {
    let mut out = Canonical(Vec::new());
    out.text(&scope.name);
    out.text(&scope.version);
    out.attributes(&scope.attributes);
    xxh3_64(&out.0)
}

/// The hash of a span; `resource` and `scope` are the hashes of its own. `buffer` only saves making one.
pub(super) fn hash_span(span: &Span, resource: u64, scope: u64, buffer: &mut Vec<u8>) -> u64 {
    buffer.clear();
    let mut out = Canonical(std::mem::take(buffer));
    out.number(resource);
    out.number(scope);
    out.0.extend_from_slice(&span.trace_id.to_bytes());
    out.0.extend_from_slice(&span.span_id.to_bytes());
    // A parent is never all zero.
    out.0.extend_from_slice(&span.parent_span_id.map_or([0; 8], SpanId::to_bytes));
    out.number(u64::from(span.flags));
    out.text(&span.trace_state);
    out.text(&span.name);
    out.0.extend_from_slice(&[span.kind as u8, span.status as u8, u8::from(span.end_ns.is_some())]);
    out.number(span.start_ns);
    out.number(span.end_ns.unwrap_or(0));
    out.text(&span.status_message);
    out.attributes(&span.attributes);
    out.number(span.events.len() as u64);
    for event in &span.events {
        out.number(event.time_ns);
        out.text(&event.name);
        out.attributes(&event.attributes);
    }
    out.number(span.links.len() as u64);
    for link in &span.links {
        out.0.extend_from_slice(&link.trace_id.to_bytes());
        out.0.extend_from_slice(&link.span_id.to_bytes());
        out.number(u64::from(link.flags));
        out.text(&link.trace_state);
        out.attributes(&link.attributes);
    }
    let hash = xxh3_64(&out.0);
    *buffer = out.0;
    hash
}

struct Canonical(Vec<u8>);

impl Canonical {
    fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn blob(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn text(&mut self, text: &str) {
        self.blob(text.as_bytes());
    }

    fn attributes(&mut self, list: &Attributes) {
        let list = resolved(list);
        self.number(list.len() as u64);
        for (key, value) in list.iter() {
            self.text(key);
            self.value(value);
        }
    }

    /// Depth is bounded by the decoders.
    fn value(&mut self, value: &Value) {
        self.0.push(tag(value));
        match value {
            Value::Null => {}
            Value::Str(text) => self.text(text),
            Value::Bool(truth) => self.0.push(u8::from(*truth)),
            Value::Int(number) => self.number(number.cast_unsigned()),
            Value::Double(number) if number.is_nan() => self.number(f64::NAN.to_bits()),
            Value::Double(number) => self.number(number.to_bits()),
            Value::Bytes(bytes) => self.blob(bytes),
            Value::Array(values) => {
                self.number(values.len() as u64);
                for value in values {
                    self.value(value);
                }
            }
            Value::Map(list) => self.attributes(list),
        }
    }
}

/// Tells an empty text from empty bytes, and 1 from true.
fn tag(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Str(_) => 1,
        Value::Bool(_) => 2,
        Value::Int(_) => 3,
        Value::Double(_) => 4,
        Value::Bytes(_) => 5,
        Value::Array(_) => 6,
        Value::Map(_) => 7,
    }
}
