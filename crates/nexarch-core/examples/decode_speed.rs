//! Spans per second that one thread decodes and derives facts from, for a request as an HTTP service sends it:
//! 1,000 spans of 12 attributes. `cargo run --release -p nexarch-core --example decode_speed`

use std::{hint::black_box, sync::Arc, time::Instant};

use bytes::Bytes;
use nexarch_core::{
    facts::Facts,
    ids::{SpanId, TraceId},
    otlp::{Encoding, Rules, decode, encode_json, encode_protobuf},
    span::{Kind, Resource, Scope, Span, Status, Value},
};

/// Requests per round: few, so that some of the [`ROUNDS`] meet no other work on the machine. The best one is shown.
const REQUESTS: u32 = 5;
const ROUNDS: u32 = 300;

fn request() -> Vec<Span> {
    let resource = Arc::new(Resource {
        attributes: vec![
            ("service.name".into(), Value::Str("checkout".into())),
            ("service.namespace".into(), Value::Str("shop".into())),
            ("deployment.environment.name".into(), Value::Str("production".into())),
            ("k8s.pod.name".into(), Value::Str("checkout-7f8d7d756d-k7b9j".into())),
            ("telemetry.sdk.name".into(), Value::Str("opentelemetry".into())),
        ],
    });
    let scope = Arc::new(Scope {
        name: "io.opentelemetry.http".into(),
        version: "2.1.0".into(),
        attributes: Vec::new(),
    });
    (0..1000u64).map(|nth| span(nth, &resource, &scope)).collect()
}

fn span(nth: u64, resource: &Arc<Resource>, scope: &Arc<Scope>) -> Span {
    let text = |text: &str| Value::Str(text.into());
    let order = format!("https://orders.example.com:8443/api/v2/orders/{nth}?expand=items");
    Span {
        trace_id: TraceId::from_bytes((u128::from(nth / 10) + 1).to_be_bytes()).expect("not zero"),
        span_id: SpanId::from_bytes((nth + 1).to_be_bytes()).expect("not zero"),
        parent_span_id: SpanId::from_bytes(nth.to_be_bytes()),
        flags: 0x101,
        trace_state: "".into(),
        name: "GET /api/v2/orders/{id}".into(),
        kind: if nth.is_multiple_of(2) { Kind::Client } else { Kind::Server },
        start_ns: 1_769_860_800_000_000_000 + nth,
        end_ns: Some(1_769_860_800_004_000_000 + nth),
        status: Status::Unset,
        status_message: "".into(),
        attributes: vec![
            ("http.request.method".into(), text("GET")),
            ("http.route".into(), text("/api/v2/orders/{id}")),
            ("http.response.status_code".into(), Value::Int(200)),
            ("url.full".into(), text(&order)),
            ("url.scheme".into(), text("https")),
            ("server.address".into(), text("orders.example.com")),
            ("server.port".into(), Value::Int(8443)),
            ("network.protocol.version".into(), text("1.1")),
            ("network.peer.address".into(), text("10.244.3.17")),
            ("user_agent.original".into(), text("okhttp/4.12.0")),
            ("thread.id".into(), Value::Int(47)),
            ("thread.name".into(), text("http-nio-8080-exec-3")),
        ],
        events: Vec::new(),
        links: Vec::new(),
        resource: resource.clone(),
        scope: scope.clone(),
    }
}

/// Thousands of spans per second, the best of several rounds.
#[expect(clippy::disallowed_methods, reason = "a measurement needs a clock")]
fn measure(what: &str, bytes: usize, work: impl Fn()) {
    let best = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            (0..REQUESTS).for_each(|_| work());
            start.elapsed()
        })
        .min()
        .expect("at least one round");
    let per_span = best.as_secs_f64() / f64::from(REQUESTS) / 1000.0;
    println!(
        "{what:<28} {:>6.0} thousand spans/s {:>6.0} ns/span {:>5} bytes/span",
        1e-3 / per_span,
        per_span * 1e9,
        bytes / 1000
    );
}

fn main() {
    let spans = request();
    let rules = Rules {
        now_ns: Some(1_769_860_900_000_000_000),
        retention_ns: Some(86_400_000_000_000),
        ..Rules::default()
    };
    for (name, encoding, body) in [
        ("protobuf", Encoding::Protobuf, encode_protobuf(&spans)),
        ("json", Encoding::Json, encode_json(&spans)),
    ] {
        let body = Bytes::from(body);
        let read = || decode(&body, encoding, &rules).expect("a valid request");
        assert_eq!(read().spans.len(), 1000, "all spans are valid");
        measure(&format!("{name}: decode"), body.len(), || drop(black_box(read())));
        measure(&format!("{name}: decode + facts"), body.len(), || {
            drop(black_box(Facts::of_all(&read().spans)));
        });
    }
    measure("facts alone", 0, || drop(black_box(Facts::of_all(&spans))));
    measure("encode protobuf", 0, || drop(black_box(encode_protobuf(&spans))));
}
