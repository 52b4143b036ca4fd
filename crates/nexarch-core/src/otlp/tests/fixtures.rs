//! Real requests, against numbers counted in the files by other means.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{BufRead as _, BufReader},
    path::PathBuf,
};

use bytes::Bytes;

use crate::{
    facts::Facts,
    otlp::{Decoded, Flags, Rules, decode_json, encode_protobuf},
    span::{Kind, Span, Status, Value, attribute},
};

fn path(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures")).join(name)
}

fn decode(name: &str) -> Decoded {
    let body = std::fs::read(path(name)).unwrap();
    decode_json(&body.into(), &Rules::default()).unwrap()
}

/// The one span of OpenTelemetry's own example.
pub(super) fn one_span() -> Span {
    decode("otlp/trace.json").spans.remove(0)
}

#[test]
fn the_example_of_opentelemetry() {
    let Decoded { spans, received, rejected_total, flags, .. } = decode("otlp/trace.json");
    assert_eq!((received, rejected_total), (1, 0));
    assert_eq!(flags, Flags { no_sampling: 1, ..Flags::default() });
    let span = &spans[0];
    assert_eq!(span.trace_id.to_string(), "5b8efff798038103d269b633813fc60c");
    assert_eq!(span.span_id.to_string(), "eee19b7ec3c1b174");
    assert_eq!(span.parent_span_id.unwrap().to_string(), "eee19b7ec3c1b173");
    assert_eq!(span.name, "I'm a server span");
    assert_eq!(span.kind, Kind::Server);
    assert_eq!((span.start_ns, span.end_ns), (1_544_712_660_000_000_000, Some(1_544_712_661_000_000_000)));
    assert_eq!(span.attributes, [("my.span.attr".into(), Value::Str("some value".into()))]);
    assert_eq!(span.resource.attributes, [("service.name".into(), Value::Str("my.service".into()))]);
    assert_eq!((&*span.scope.name, &*span.scope.version), ("my.library", "1.0.0"));
    let own = attribute(&span.scope.attributes, "my.scope.attribute");
    assert_eq!(own.and_then(Value::as_str), Some("some scope attribute"));
}

#[test]
fn events_without_a_name_are_kept_and_counted() {
    let decoded = decode("otlp/jaeger_default.json");
    assert_eq!((decoded.spans.len(), decoded.spans[0].events.len()), (1, 2));
    let expected = Flags { unnamed_event: 2, no_kind: 1, no_sampling: 1, ..Flags::default() };
    assert_eq!(decoded.flags, expected);
}

#[test]
fn three_services_in_one_request() {
    let decoded = decode("otlp/jaeger_example_trace.json");
    let seen: Vec<_> = decoded
        .spans
        .iter()
        .map(|span| (Facts::from(span).service.to_string(), span.span_id.to_string(), span.kind))
        .collect();
    let row = |service: &str, id: &str, kind| (service.to_owned(), id.to_owned(), kind);
    assert_eq!(
        seen,
        [
            row("example-service-2", "0000000000000004", Kind::Unspecified),
            row("example-service-3", "0000000000000005", Kind::Unspecified),
            row("example-service-1", "0000000000000003", Kind::Unspecified),
            row("example-service-1", "0000000000000006", Kind::Server),
            row("example-service-1", "0000000000000007", Kind::Client),
        ]
    );
    assert_eq!(decoded.spans.iter().map(|span| span.events.len()).sum::<usize>(), 10);
}

#[test]
fn links_with_typed_attributes() {
    let decoded = decode("otlp/jaeger_link_attributes_trace.json");
    let links = &decoded.spans[0].links;
    assert_eq!(links.len(), 3);
    assert_eq!(links[0].span_id.to_string(), "00000000000000ff");
    let of = |key| attribute(&links[0].attributes, key);
    assert_eq!(links[0].attributes.len(), 6);
    assert_eq!(of("sameplacelinkattribute2"), Some(&Value::Int(123)));
    assert_eq!(of("sameplacelinkattribute4"), Some(&Value::Bool(true)));
    assert_eq!(of("sameplacelinkattribute3"), Some(&Value::Double(72.5)));
    assert_eq!(of("linkblob"), Some(&Value::Bytes(Bytes::from_static(&[0, 0, 0x30, 0x39]))));
}

#[test]
fn kinds_states_and_scopes() {
    let decoded = decode("otlp/jaeger_otel_traces_01.json");
    let kinds: Vec<_> = decoded.spans.iter().map(|span| span.kind).collect();
    assert_eq!(kinds, [Kind::Server, Kind::Client, Kind::Producer, Kind::Consumer]);
    let states: Vec<_> = decoded.spans.iter().map(|span| span.trace_state.to_string()).collect();
    assert_eq!(states, ["state.2", "state.3", "state.4", "state.5"]);
    let scopes: BTreeSet<_> = decoded.spans.iter().map(|span| span.scope.name.to_string()).collect();
    assert_eq!(scopes.len(), 2);
    for span in &decoded.spans {
        assert_eq!((span.status, span.flags), (Status::Error, 1));
        assert!(span.parent_span_id.is_some());
        assert_eq!((span.attributes.len(), span.events.len(), span.links.len()), (4, 2, 2));
        let facts = Facts::from(span);
        assert!(facts.error);
        assert_eq!((&*facts.service, &*facts.peer), ("service-x", "service-y"));
        assert_eq!(facts.duration_ns, Some(5000));
    }
    assert_eq!(decoded.flags.unnamed_event, 4);
}

/// What was counted in a minute of `trainticket/`.
struct Minute {
    lines: usize,
    spans: usize,
    /// Spans that differ.
    distinct: usize,
    traces: usize,
    services: usize,
    instances: usize,
    roots: usize,
    events: usize,
    errors_logged: usize,
    duration_ns: u64,
}

fn minute(name: &str, expected: &Minute) {
    let file = File::open(path(name)).unwrap();
    let lines = BufReader::new(flate2::read::GzDecoder::new(file)).split(b'\n');
    let bodies: Vec<Bytes> = lines.map(|line| Bytes::from(line.unwrap())).collect();
    assert_eq!(bodies.len(), expected.lines);
    let decoded: Vec<_> = bodies.iter().map(|body| decode_json(body, &Rules::default()).unwrap()).collect();
    assert!(decoded.iter().all(|decoded| decoded.rejected_total == 0));
    let spans: Vec<Span> = decoded.into_iter().flat_map(|decoded| decoded.spans).collect();
    let facts = Facts::of_all(&spans);
    assert_eq!(facts.len(), expected.spans);
    let count = |facts: BTreeSet<String>| facts.len();
    let contents: BTreeSet<u64> = facts.iter().map(|facts| facts.content).collect();
    assert_eq!(contents.len(), expected.distinct);
    assert_eq!(count(facts.iter().map(|facts| facts.trace_id.to_string()).collect()), expected.traces);
    assert_eq!(count(facts.iter().map(|facts| facts.service.to_string()).collect()), expected.services);
    assert_eq!(count(facts.iter().map(|facts| facts.instance.to_string()).collect()), expected.instances);
    assert_eq!(facts.iter().filter(|facts| facts.parent_span_id.is_none()).count(), expected.roots);
    assert_eq!(facts.iter().filter_map(|facts| facts.duration_ns).sum::<u64>(), expected.duration_ns);
    assert!(facts.iter().all(|facts| facts.kind == Kind::Unspecified && !facts.error));
    let events: Vec<_> = spans.iter().flat_map(|span| &span.events).collect();
    assert_eq!(events.len(), expected.events);
    let severity = |event: &&&crate::span::Event| {
        attribute(&event.attributes, "log.severity").and_then(Value::as_str) == Some("ERROR")
    };
    assert_eq!(events.iter().filter(severity).count(), expected.errors_logged);

    let again = crate::otlp::decode_protobuf(&encode_protobuf(&spans).into(), &Rules::default()).unwrap();
    let contents_again: BTreeSet<u64> =
        Facts::of_all(&again.spans).iter().map(|facts| facts.content).collect();
    assert_eq!(contents_again, contents);
}

#[test]
fn a_fault_free_minute_of_train_ticket() {
    let expected = Minute {
        lines: 28,
        spans: 4890,
        distinct: 4890,
        traces: 71,
        services: 25,
        instances: 25,
        roots: 71,
        events: 2489,
        errors_logged: 27,
        duration_ns: 122_130_319_307,
    };
    minute("trainticket/2023-01-29-normal.jsonl.gz", &expected);
}

#[test]
fn a_minute_of_train_ticket_with_136_repeated_spans() {
    let expected = Minute {
        lines: 33,
        spans: 6293,
        distinct: 6293 - 136,
        traces: 96,
        services: 28,
        instances: 28,
        roots: 97,
        events: 3380,
        errors_logged: 17,
        duration_ns: 240_707_752_773,
    };
    minute("trainticket/2023-01-29-15_44.jsonl.gz", &expected);
}
