//! Hostile and large traces through the front door: they end, are answered, and count what they should.

use crate::support::{
    client::Client,
    encode::otlp_protobuf,
    home::Home,
    spans::{CLIENT, INTERNAL, SERVER, Span},
};

/// Spans of the largest trace: rule R13.
const LARGE: u64 = 100_000;

fn send(client: &Client, spans: &[Span]) {
    let answer = client.otlp_protobuf(&otlp_protobuf(spans)).expect(200);
    assert!(answer.body.is_empty(), "everything is accepted");
}

/// Calls of ten services to each other, three below each.
fn tree(trace: u128, count: u64) -> Vec<Span> {
    let start_ns = Span::new(1, 1, "", SERVER).start_ns;
    let span = |id: u64| {
        let kind = if id % 2 == 1 { SERVER } else { CLIENT };
        let mut span = Span::new(trace, id, &format!("s{}", id / 2 % 10), kind).child_of((id + 1) / 3);
        span.start_ns = start_ns + id * 1_000;
        span
    };
    (1..=count).map(span).collect()
}

#[test]
fn a_trace_of_100_000_spans_in_100_batches() {
    let home = Home::new();
    let mut server = home.serve();
    let client = server.first_client();
    let spans = tree(7, LARGE);
    for batch in spans.chunks(1_000) {
        send(&client, batch);
    }
    assert_eq!(client.total_spans(), LARGE);
    send(&client, &spans[50_000..51_000]);
    let stats = client.get("/api/v1/ingest/stats").ok();
    assert_eq!((&stats["total_spans"], &stats["duplicates"]), (&LARGE.into(), &1_000.into()));
    let trace = client.get(&format!("/api/v1/traces/{:032x}", 7)).ok();
    assert_eq!((&trace["truncated"], &trace["span_count"]), (&true.into(), &LARGE.into()));
    assert_eq!(trace["spans"].as_array().map(Vec::len), Some(10_000));
    assert_eq!(client.get("/api/v1/ingest/diagnostics").ok()["unsettled_traces"], 1);
}

#[test]
fn cycles_self_parents_and_deep_chains_end() {
    let home = Home::new();
    let mut server = home.serve();
    let client = server.first_client();
    let count = 10_000;
    let chain: Vec<Span> = (1..=count).map(|id| Span::new(1, id, "chain", CLIENT).child_of(id - 1)).collect();
    let ring: Vec<Span> = (1..=count)
        .map(|id| Span::new(2, id, "ring", SERVER).child_of(if id == 1 { count } else { id - 1 }))
        .collect();
    let selves: Vec<Span> = (1..=count).map(|id| Span::new(3, id, "self", INTERNAL).child_of(id)).collect();
    for spans in [&chain, &ring, &selves] {
        send(&client, spans);
    }
    assert_eq!(client.total_spans(), 3 * count);
    let answer = client.get("/api/v1/ingest/diagnostics").ok();
    assert_eq!(answer["missing"]["orphans"], 1, "the ring is cut once: {answer}");
    assert_eq!(answer["since_creation"]["odd"]["self_parent"], count);
    let services = client.get("/api/v1/dashboard/services").ok();
    let requests = |name: &str| {
        let services = services["services"].as_array().or(services.as_array()).unwrap();
        services
            .iter()
            .find(|service| service["name"] == name)
            .map(|service| service["request_count"].clone())
    };
    assert_eq!(requests("ring"), Some(count.into()));
    assert_eq!(requests("self"), Some(count.into()), "each is a root");
}
