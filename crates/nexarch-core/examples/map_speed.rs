//! How long the map of a large estate takes, with layout and exports.
//!
//! `map_speed [SERVICES [EDGES]]` (500 and 5,000): builds the rollup of that many services and edges once, then prints
//! the median and the range of 20 runs of each part, in milliseconds.

use std::{error::Error, time::Instant};

use nexarch_core::{
    diff::{Input, Sources, drift},
    export::{Format, render},
    facts::Facts,
    graph::architecture_map,
    infer::contribution,
    otlp::{Encoding, Rules, decode},
    rollup::{Delta, Rollup},
    view::{Context, Watched},
    window::{Minutes, Range},
};

const START_NS: u64 = 1_749_945_600_000_000_000;
const RUNS: usize = 20;

/// A stream of numbers that is the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap_or(0)
    }
}

/// Traces of one call each, for every edge of a layered estate.
fn rollup(services: usize, edges: usize) -> Result<Rollup, Box<dyn Error>> {
    let mut numbers = Numbers(88_172_645_463_325_252);
    let mut sum = Delta::default();
    for edge in 0..edges {
        let to = 1 + numbers.below(services - 1);
        let from = to.saturating_sub(1 + numbers.below(60));
        let span = |service: usize, id: u32, parent: &str, kind: u32| {
            serde_json::json!({
                "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": format!("service-{service:04}")}}]},
                "scopeSpans": [{"spans": [{
                    "traceId": format!("{:032x}", edge + 1), "spanId": format!("{id:016x}"), "parentSpanId": parent,
                    "name": "GET /things", "kind": kind, "startTimeUnixNano": START_NS.to_string(),
                    "endTimeUnixNano": (START_NS + 1_000_000 * (1 + edge as u64 % 90)).to_string(),
                }]}],
            })
        };
        let body = serde_json::json!({"resourceSpans": [
            span(from, 1, "", 3), span(to, 2, "0000000000000001", 2),
        ]});
        let spans = decode(&body.to_string().into(), Encoding::Json, &Rules::default())?.spans;
        sum.add(&contribution(&Facts::of_all(&spans)));
    }
    let blobs = sum.encode();
    Ok(Rollup::fold(blobs.iter().map(|(minute, blob)| (*minute, &**blob)))?)
}

#[expect(clippy::disallowed_methods, reason = "measuring needs a clock")]
fn timed<T>(name: &str, mut work: impl FnMut() -> T) -> T {
    let mut times = Vec::with_capacity(RUNS);
    let mut last = work();
    for _ in 0..RUNS {
        let start = Instant::now();
        last = work();
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    println!("{name:<28} {:>8.2} ms  ({:.2} to {:.2})", times[RUNS / 2], times[0], times[RUNS - 1]);
    last
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<usize>());
    let services = args.next().transpose()?.unwrap_or(500).max(2);
    let edges = args.next().transpose()?.unwrap_or(5_000);
    let rollup = rollup(services, edges)?;
    let minute = u32::try_from(START_NS / 60_000_000_000)?;
    let range = Range { name: "custom", minutes: Minutes { from: minute, to: minute + 1 }, grain: 1 };
    let context = Context {
        range,
        environment: None,
        last_updated_us: 0,
        stored_ns: None,
        latency_objective_ms: 1000.0,
        regressed: None,
        watched: Watched::default(),
    };
    let map = timed("map with layout", || architecture_map(&rollup, &context));
    println!("{} nodes, {} edges", map.nodes.len(), map.edges.len());
    let labels: Vec<&str> = map.nodes.iter().map(|node| node.name.as_str()).collect();
    let at = |id: &str| map.nodes.iter().position(|node| node.id == id).unwrap_or(0);
    let pairs: Vec<(usize, usize)> =
        map.edges.iter().map(|edge| (at(&edge.source), at(&edge.target))).collect();
    timed("layout alone", || nexarch_core::layout::arrange(&labels, &pairs, 16.0 / 9.0));
    for format in Format::ALL {
        let text = timed(format.as_str(), || render(&map, format))?;
        println!("{:<28} {:>8} bytes", "", text.len());
    }
    let side = Input { rollup: &rollup, range };
    let same = timed("drift against itself", || drift(side, side, Sources::TwoSets, &context));
    println!("{} tests", same.comparison.tests);
    Ok(())
}
