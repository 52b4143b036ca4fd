//! A large architecture: so many services in layers, each calling a few of the next, and a database below.

use std::sync::Arc;

use nexarch_core::{
    Text,
    ids::{SpanId, TraceId},
    span::{Kind, Resource, Span, Status, Value},
};

/// Layers of services: gateways, then what they need.
const LAYERS: usize = 6;
/// Services of the next layer that one calls.
const CALLS: usize = 3;
/// How much of a caller's time its call takes off at either end, nanoseconds.
const STEP_NS: u64 = 1_000_000;
/// How long the first service takes, nanoseconds.
const WHOLE_NS: u64 = 80_000_000;

/// Traces through an architecture of `services` services, until each of their calls was made once. `turn` makes other
/// traces of the same calls; `start_ns` is when they begin (nanoseconds since the Unix epoch).
pub fn traces(services: usize, turn: u64, start_ns: u64) -> Vec<Span> {
    let width = services.div_ceil(LAYERS).max(1);
    let resources: Vec<_> = (0..services).map(resource).collect();
    let mut spans = Vec::new();
    for first in 0..width {
        for call in 0..CALLS {
            let number = turn * (width * CALLS) as u64 + (first * CALLS + call) as u64 + 1;
            let path = (0..LAYERS).map(|layer| {
                // Every layer turns a little further, so that calls fan out.
                layer * width + (first + layer * call) % width
            });
            let path: Vec<usize> = path.filter(|service| *service < services).collect();
            trace(&path, &resources, number, start_ns + number % 1_000 * STEP_NS, &mut spans);
        }
    }
    spans
}

fn trace(path: &[usize], resources: &[Arc<Resource>], number: u64, start_ns: u64, spans: &mut Vec<Span>) {
    let Some(trace_id) = TraceId::from_bytes(u128::from(number).to_be_bytes()) else { return };
    let (mut parent, mut start_ns, mut length_ns) = (None, start_ns, WHOLE_NS);
    let mut span = |resource: &Arc<Resource>, kind, name: &str, attributes| {
        let id = SpanId::from_bytes((number << 8 | (spans.len() as u64 & 0xff)).to_be_bytes());
        let span_id = id?;
        spans.push(Span {
            trace_id,
            span_id,
            parent_span_id: parent,
            flags: 0,
            trace_state: Text::from_static(""),
            name: name.into(),
            kind,
            start_ns,
            end_ns: Some(start_ns + length_ns),
            status: Status::Unset,
            status_message: Text::from_static(""),
            attributes,
            events: Vec::new(),
            links: Vec::new(),
            resource: Arc::clone(resource),
            scope: Arc::default(),
        });
        (parent, start_ns, length_ns) = (Some(span_id), start_ns + STEP_NS, length_ns - 2 * STEP_NS);
        Some(())
    };
    for (place, service) in path.iter().enumerate() {
        let resource = &resources[*service];
        span(resource, Kind::Server, "GET /items/{id}", Vec::new());
        if place + 1 < path.len() {
            span(resource, Kind::Client, "GET", Vec::new());
        } else {
            let text = |key: &'static str, value: &str| (key.into(), Value::Str(value.into()));
            let database = vec![text("db.system.name", "postgresql"), text("db.namespace", "items")];
            span(resource, Kind::Client, "SELECT items", database);
        }
    }
}

fn resource(service: usize) -> Arc<Resource> {
    let name = format!("service-{service:04}");
    Arc::new(Resource { attributes: vec![("service.name".into(), Value::Str(name.as_str().into()))] })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_service_and_several_calls_of_it_occur() {
        let spans = traces(500, 0, 1_790_000_000_000_000_000);
        let services: HashSet<_> = spans.iter().map(|span| Arc::as_ptr(&span.resource)).collect();
        assert_eq!(services.len(), 500);
        let ids: HashSet<_> = spans.iter().map(|span| (span.trace_id, span.span_id)).collect();
        assert_eq!(ids.len(), spans.len(), "ids repeat");
    }
}
