//! How much memory spans take, beside the bytes of their request.

use std::{mem::size_of, sync::Arc};

use nexarch_core::span::{Attributes, Resource, Span, Value};

/// What the store makes of a span while it is stored (facts, columns), bytes, roughly.
const STORING_BYTES: usize = 200;

/// Bytes that spans take: what their lists have room for. Their texts are slices of the body, and counted with it.
pub(super) fn of(spans: &[Span]) -> usize {
    let (mut bytes, mut last): (usize, Option<&Arc<Resource>>) = (0, None);
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
    }
    bytes
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
