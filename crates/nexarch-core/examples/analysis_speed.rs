//! Milliseconds that the analysis takes: of a graph of 500 services and 5,000 edges, of hostile graphs, and of large
//! traces. `cargo run --release -p nexarch-core --example analysis_speed`

use std::{hint::black_box, time::Instant};

use nexarch_core::{
    analysis::{
        Analysis, Options,
        sample::Budget,
        structure::{Components, Cuts, Dominators, Net, Reach, betweenness, cycles, page_rank},
    },
    facts::Facts,
    graph::architecture_map,
    ids::{SpanId, TraceId},
    infer::contribution,
    rollup::{Delta, Rollup},
    span::{Kind, Resource, Scope, Span, Status, Value},
    view::{Context, Watched},
    window::Window,
};

const START_NS: u64 = 1_769_860_800_000_000_000;

/// Milliseconds of the best of several rounds.
#[expect(clippy::disallowed_methods, reason = "a measurement needs a clock")]
fn measure<T>(what: &str, rounds: u32, work: impl Fn() -> T) {
    let round = |_| {
        let start = Instant::now();
        black_box(work());
        start.elapsed().as_secs_f64() * 1e3
    };
    let best = (0..rounds).map(round).fold(f64::INFINITY, f64::min);
    println!("{what:<58} {best:>9.2} ms");
}

fn span(trace: u64, service: u64, kind: Kind, id: u64, parent: u64, (from, length): (u64, u64)) -> Facts {
    let name = Value::Str(format!("service-{service}").into());
    Facts::from(&Span {
        trace_id: TraceId::from_bytes(u128::from(trace + 1).to_be_bytes()).expect("not zero"),
        span_id: SpanId::from_bytes(id.to_be_bytes()).expect("not zero"),
        parent_span_id: SpanId::from_bytes(parent.to_be_bytes()),
        flags: 0,
        trace_state: "".into(),
        name: format!("GET /{}", service % 7).into(),
        kind,
        start_ns: START_NS + from,
        end_ns: Some(START_NS + from + length),
        status: if (trace + id).is_multiple_of(97) { Status::Error } else { Status::Unset },
        status_message: "".into(),
        attributes: Vec::new(),
        events: Vec::new(),
        links: Vec::new(),
        resource: Resource { attributes: vec![("service.name".into(), name)] }.into(),
        scope: Scope { name: "".into(), version: "".into(), attributes: Vec::new() }.into(),
    })
}

/// Each trace is one request that calls ten others: 500 services, 5,000 edges.
fn traces(services: u64, fan_out: u64, rounds: u64) -> Vec<Vec<Facts>> {
    let trace = |at: u64| {
        let from = at % services;
        let mut spans = vec![span(at, from, Kind::Server, 1, 0, (0, 90_000_000))];
        for call in 0..fan_out {
            let (to, id) = ((from * 7 + call * 31 + 1) % services, 2 + 2 * call);
            let time = 1_000_000 + call * 8_000_000;
            spans.push(span(at, from, Kind::Client, id, 1, (time, 7_000_000)));
            spans.push(span(at, to, Kind::Server, id + 1, id, (time + 500_000, 6_000_000)));
        }
        spans
    };
    (0..services * rounds).map(trace).collect()
}

fn rollup(traces: &[Vec<Facts>]) -> Rollup {
    let mut all = Delta::default();
    for trace in traces {
        all.add(&contribution(trace));
    }
    let blobs = all.encode();
    Rollup::fold(blobs.iter().map(|(minute, blob)| (*minute, &blob[..]))).expect("own blobs")
}

fn main() {
    let context = Context {
        range: Window::default().range(Some(START_NS)),
        environment: None,
        last_updated_us: 0,
        stored_ns: None,
        latency_objective_ms: 1000.0,
        regressed: None,
        watched: Watched::default(),
    };
    let sample = traces(500, 10, 4);
    let cells = rollup(&sample);
    let of = |traces: &[Vec<Facts>]| {
        Analysis::of(&cells, traces.iter().map(Vec::as_slice), &context, Options::default())
            .issues()
            .total_issues
    };
    let map = architecture_map(&cells, &context).graph_stats;
    println!("{} nodes, {} edges", map.total_nodes, map.total_edges);
    measure("graph::build alone", 20, || nexarch_core::graph::build(&cells, None));
    measure("analysis of the graph", 20, || of(&[]));
    let answer = &sample[..Budget::ANSWER.traces];
    measure("analysis of the graph and of the traces of an answer", 20, || of(answer));
    measure("map with layout, bottlenecks and critical paths of those", 10, || {
        let traces = answer.iter().map(Vec::as_slice);
        Analysis::of(&cells, traces, &context, Options::default()).architecture_map()
    });
    measure("map with layout alone", 10, || architecture_map(&cells, &context));
    measure("analysis of the graph and 2,000 traces (42,000 spans)", 10, || of(&sample));
    let analysis = Analysis::of(&cells, [], &context, Options::default());
    measure("dependencies (centrality)", 20, || analysis.dependencies());

    for (name, net) in hostile(50_000) {
        measure(&format!("50,000 nodes, {name}: linear part"), 1, || {
            let parts = Components::of(&net);
            (cycles(&net, &parts), Cuts::of(&net), Dominators::of(&net, &[0]), page_rank(&net))
        });
        measure(&format!("50,000 nodes, {name}: reach"), 1, || Reach::of(&net, &Components::of(&net)));
        measure(&format!("50,000 nodes, {name}: betweenness, sampled"), 1, || betweenness(&net));
    }
    for count in [12_500u64, 25_000, 50_000, 100_000] {
        let chain: Vec<Facts> = (1..=count)
            .map(|id| span(0, id % 3, Kind::Server, id, id - 1, (id, 4 * count - 2 * id)))
            .collect();
        let star: Vec<Facts> =
            (1..=count).map(|id| span(0, id % 3, Kind::Client, id, u64::from(id > 1), (id * 9, 7))).collect();
        for (name, trace) in [("chain", chain), ("star", star)] {
            let traces = [trace];
            let cells = rollup(&traces);
            measure(&format!("a trace of {count} spans, {name}"), 2, || {
                let traces = traces.iter().map(Vec::as_slice);
                Analysis::of(&cells, traces, &context, Options::default()).issues().total_issues
            });
        }
    }
}

fn hostile(n: usize) -> [(&'static str, Net); 4] {
    [
        ("chain", Net::new(n, (1..n).map(|at| (at - 1, at, 1)))),
        ("ring", Net::new(n, (0..n).map(|at| (at, (at + 1) % n, 1)))),
        ("back edges", Net::new(n, (1..n).flat_map(|at| [(at - 1, at, 1), (at, at / 2, 1)]))),
        (
            "scattered, 4 each",
            Net::new(n, (0..4 * n).map(|at| (at % n, (at.wrapping_mul(2_654_435_761) >> 9) % n, 1))),
        ),
    ]
}
