//! How much memory spans take, beside the bytes of their request.

use std::{collections::HashSet, mem::size_of, sync::Arc};

use nexarch_core::{
    hash::Seeded,
    span::{Attributes, Resource, Span, Value},
};

const HOUR_NS: u64 = 3_600_000_000_000;

/// What the store makes of a span while it is stored (facts, columns), bytes, roughly.
const STORING_BYTES: usize = 200;

/// Bytes that spans take: what their lists have room for, and what the store copies. Their texts are slices of the body,
/// and counted with it.
pub(super) fn of(spans: &[Span]) -> usize {
    let (mut bytes, mut last): (usize, Option<&Arc<Resource>>) = (0, None);
    let mut copies = Copies::default();
    for span in spans {
        bytes += size_of::<Span>() + STORING_BYTES + attributes(&span.attributes);
        bytes +=
            list(&span.events) + span.events.iter().map(|event| attributes(&event.attributes)).sum::<usize>();
        bytes +=
            list(&span.links) + span.links.iter().map(|link| attributes(&link.attributes)).sum::<usize>();
        // Spans of one sender come in a row and share it.
        if last.is_none_or(|last| !Arc::ptr_eq(last, &span.resource)) {
            bytes += size_of::<Resource>() + attributes(&span.resource.attributes);
            last = Some(&span.resource);
        }
        bytes += copies.of(span);
    }
    bytes
}

/// What the store writes of resources and scopes: once for each hour in which their spans start. A small request with a
/// large resource and a span in each hour of the retention becomes hundreds of times as large.
#[derive(Default)]
struct Copies {
    last: (usize, usize, u64),
    seen: HashSet<(usize, usize, u64), Seeded>,
}

impl Copies {
    fn of(&mut self, span: &Span) -> usize {
        let (resource, scope) = (Arc::as_ptr(&span.resource).addr(), Arc::as_ptr(&span.scope).addr());
        let copy = (resource, scope, span.start_ns / HOUR_NS);
        if copy == self.last || !self.seen.insert(copy) {
            self.last = copy;
            return 0;
        }
        self.last = copy;
        written(&span.resource.attributes) + written(&span.scope.attributes)
    }
}

fn written(pairs: &Attributes) -> usize {
    pairs.iter().map(|(key, content)| key.len() + written_value(content)).sum()
}

fn written_value(content: &Value) -> usize {
    match content {
        Value::Str(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::Array(values) => values.iter().map(written_value).sum(),
        Value::Map(pairs) => written(pairs),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Double(_) => size_of::<i64>(),
    }
}

fn list<T>(list: &Vec<T>) -> usize {
    list.capacity() * size_of::<T>()
}

fn attributes(pairs: &Attributes) -> usize {
    list(pairs) + pairs.iter().map(|(_, content)| value(content)).sum::<usize>()
}

/// Beside the value itself. Nesting is bounded by the decoders.
fn value(content: &Value) -> usize {
    match content {
        Value::Array(values) => list(values) + values.iter().map(value).sum::<usize>(),
        Value::Map(pairs) => attributes(pairs),
        Value::Null | Value::Str(_) | Value::Bool(_) | Value::Int(_) | Value::Double(_) | Value::Bytes(_) => {
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use nexarch_core::otlp;

    use super::*;

    #[test]
    fn a_resource_counts_for_each_hour_of_its_spans() {
        let of = |hour_of: fn(u64) -> u64| {
            let value = "v".repeat(100_000);
            let spans: Vec<String> = (1..=300_u64)
                .map(|nth| {
                    format!(r#"{{"traceId":"{nth:032x}","spanId":"{nth:016x}","name":"x","startTimeUnixNano":{}}}"#, hour_of(nth) * HOUR_NS)
                })
                .collect();
            let body = format!(
                r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"k","value":{{"stringValue":"{value}"}}}}]}},"scopeSpans":[{{"spans":[{}]}}]}}]}}"#,
                spans.join(",")
            );
            let decoded = otlp::decode(&body.into(), otlp::Encoding::Json, &otlp::Rules::default()).unwrap();
            assert_eq!(decoded.spans.len(), 300);
            super::of(&decoded.spans)
        };
        let value = nexarch_core::limits::MAX_VALUE_BYTES;
        let (together, in_two, apart) = (of(|_| 1), of(|nth| 1 + nth % 2), of(|nth| nth));
        assert!((value..2 * value).contains(&(in_two - together)), "{together}, {in_two}");
        assert!(apart - together >= 299 * value, "{together}, {apart}");
    }
}
