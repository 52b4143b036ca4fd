//! Traces that are drawn to be looked at as a whole.

use std::collections::BTreeMap;

use nexarch_core::{
    analysis::sample::KEPT,
    facts::Facts,
    ids::TraceId,
    span::{Span, Status},
    window::Minutes,
};

use super::{append, id, open, open_with, purge, spans};
use crate::{Budget, Sampled, Store};

const AMPLE: Budget = Budget { traces: 10_000, spans: 1_000_000 };

/// The hour of the spans.
const HOUR: Minutes = Minutes { from: spans::BASE_MINUTE, to: spans::BASE_MINUTE + 60 };

async fn sample(store: &dyn Store, tenant: &str, range: Minutes, budget: Budget) -> Sampled {
    store.snapshot(&id(tenant)).await.unwrap().sample(range, budget).await.unwrap()
}

/// By trace its number of spans and its weight.
fn shape(sampled: &Sampled) -> BTreeMap<TraceId, (usize, u32)> {
    let shape = |trace: &Vec<Facts>| (trace[0].trace_id, (trace.len(), trace[0].weight));
    sampled.traces.iter().map(shape).collect()
}

fn all(store: &[Vec<Span>]) -> Vec<Span> {
    store.iter().flatten().cloned().collect()
}

/// A trace whose root has a name, and may have failed.
fn named(number: u64, name: &str, failed: bool) -> Vec<Span> {
    let mut trace = spans::trace(number, 4);
    trace[0].name = name.into();
    trace[0].status = if failed { Status::Error } else { Status::Unset };
    trace
}

/// The sample is a function of the set of spans: batches, their order, re-sends and the life of the process do not matter.
pub async fn the_same_traces_are_drawn_in_any_order(url: &str) {
    let (store, tenant) = open_with(url, "acme").await;
    let other = id("other");
    store.create_tenant(&other, "").await.unwrap();
    let mut traces: Vec<Vec<Span>> = (0..300).map(|at| named(at, "GET /", at % 10 == 0)).collect();
    traces.extend((300..303).map(|at| named(at, "GET /rare", false)));
    append(&*store, &tenant, all(&traces)).await.unwrap();
    // The other one gets them backwards, in parts, roots last, and once more after a restart.
    traces.reverse();
    for (from, to) in [(1, 4), (0, 1), (0, 2)] {
        if to == 2 {
            store.close().await;
        }
        let again = open(url).await;
        for part in traces.chunks(70) {
            let part: Vec<Span> = part.iter().flat_map(|trace| trace[from..to].to_vec()).collect();
            append(&*again, &other, part).await.unwrap();
        }
        again.close().await;
    }
    let store = open(url).await;
    let [mine, its] =
        [sample(&*store, "acme", HOUR, AMPLE).await, sample(&*store, "other", HOUR, AMPLE).await];
    assert_eq!(shape(&mine), shape(&its));
    let strata = [KEPT, 30, 3].iter().sum::<usize>();
    assert_eq!(
        (mine.traces.len(), mine.hours),
        (strata, 1),
        "32 of 270, all 30 that failed, all 3 rare ones"
    );
    assert!(mine.traces.iter().all(|trace| trace.len() == 4), "whole traces");
    let weight: u64 = mine.traces.iter().map(|trace| u64::from(trace[0].weight)).sum();
    assert!((weight as f64 / 256.0 - mine.estimated).abs() < 1.0, "{weight}");
    assert!((mine.estimated / 303.0 - 1.0).abs() < 0.5, "{}", mine.estimated);
}

/// A sampled trace that grows is sampled as it is then; one that gets a root goes to its operation.
pub async fn a_drawn_trace_grows(url: &str) {
    let (store, tenant) = open_with(url, "acme").await;
    let trace = spans::trace(1, 7);
    for (upto, from) in [(4, 1), (7, 4), (1, 0)] {
        append(&*store, &tenant, trace[from..upto].to_vec()).await.unwrap();
    }
    let found = sample(&*store, "acme", HOUR, AMPLE).await;
    assert_eq!(shape(&found), BTreeMap::from([(spans::trace_id(1), (7, 256))]));
    let mut facts: Vec<Facts> = trace.iter().map(Facts::from).collect();
    facts.sort_by_key(|facts| facts.start_ns);
    assert_eq!(found.traces, [facts], "as it was sent");
}

/// No answer reads more than its budget; windows, tenants and deletion are respected.
pub async fn samples_have_borders(url: &str) {
    let (store, tenant) = open_with(url, "acme").await;
    let other = id("other");
    store.create_tenant(&other, "").await.unwrap();
    let late = |number: u64, minutes: u64| {
        let mut trace = spans::trace(number, 4);
        for span in &mut trace {
            span.start_ns += minutes * spans::MINUTE_NS;
            span.end_ns = span.end_ns.map(|end| end + minutes * spans::MINUTE_NS);
        }
        trace
    };
    for minute in 0..90 {
        append(&*store, &tenant, late(minute, minute)).await.unwrap();
    }
    let small = sample(&*store, "acme", HOUR, Budget { traces: 5, spans: 1_000 }).await;
    assert_eq!(small.traces.len(), 5);
    let few = sample(&*store, "acme", HOUR, Budget { traces: 50, spans: 11 }).await;
    assert_eq!(few.traces.len(), 2, "of four spans each");
    let part = Minutes { from: HOUR.from + 60, to: HOUR.from + 70 };
    let found = sample(&*store, "acme", part, AMPLE).await;
    let mut numbers: Vec<TraceId> = shape(&found).into_keys().collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (60..70).map(spans::trace_id).collect::<Vec<_>>());
    let nothing = Minutes { from: 7, to: 7 };
    for (tenant, range) in [("other", HOUR), ("acme", nothing), ("acme", Minutes { from: 0, to: 9 })] {
        assert_eq!(sample(&*store, tenant, range, AMPLE).await, Sampled::default());
    }
    let whole = sample(&*store, "acme", super::ALL, AMPLE).await;
    assert!(!whole.traces.is_empty(), "all of time is a window like others");
    store.delete_tenant(&tenant).await.unwrap();
    purge(&*store).await;
    store.create_tenant(&tenant, "").await.unwrap();
    assert_eq!(sample(&*store, "acme", HOUR, AMPLE).await, Sampled::default());
}
