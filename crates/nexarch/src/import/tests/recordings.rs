//! The project's recordings hold what their README counts.

use std::collections::HashSet;

use nexarch_core::{
    otlp::Rules,
    span::{Span, Value, attribute},
};

use super::{super::read, fixture};

fn spans(name: &str) -> Vec<Span> {
    read(&fixture(name), Rules::default())
        .unwrap()
        .flat_map(|request| {
            let decoded = request.unwrap().decoded;
            assert_eq!(decoded.rejected_total, 0, "{:?}", decoded.rejected);
            decoded.spans
        })
        .collect()
}

fn services(spans: &[Span]) -> HashSet<&str> {
    let names = spans.iter().map(|span| attribute(&span.resource.attributes, "service.name"));
    names.filter_map(|name| name.and_then(Value::as_str)).collect()
}

#[test]
fn the_fault_free_baseline() {
    let spans = spans("trainticket/2023-01-29-normal.jsonl.gz");
    let traces: HashSet<_> = spans.iter().map(|span| span.trace_id).collect();
    assert_eq!((spans.len(), traces.len(), services(&spans).len()), (4_890, 71, 25));
}

#[test]
fn a_minute_that_repeats_spans() {
    let spans = spans("trainticket/2023-01-29-15_44.jsonl.gz");
    let distinct: HashSet<_> = spans.iter().map(|span| format!("{span:?}")).collect();
    assert_eq!(spans.len() - distinct.len(), 136);
}

#[test]
fn small_files_over_many_lines() {
    for (name, count, services_count) in [
        ("otlp/trace.json", 1, 1),
        ("otlp/jaeger_default.json", 1, 1),
        ("otlp/jaeger_example_trace.json", 5, 3),
        ("otlp/jaeger_link_attributes_trace.json", 1, 1),
        ("otlp/jaeger_otel_traces_01.json", 4, 1),
        ("jaeger/genai_trace_ui.json", 57, 10),
        ("zipkin/ascend.json", 8, 3),
        ("zipkin/envoy.json", 1, 0),
        ("zipkin/messaging-kafka.json", 28, 2),
        ("zipkin/messaging.json", 4, 2),
        ("zipkin/messaging2.json", 11, 4),
        ("zipkin/simple-db-p6.json", 5, 1),
        ("zipkin/skew.json", 4, 2),
        ("zipkin/smartthings-mobile-web-install.json", 1_041, 16),
        ("zipkin/yelp.json", 16, 6),
    ] {
        let spans = spans(name);
        assert_eq!((spans.len(), services(&spans).len()), (count, services_count), "{name}");
    }
}
