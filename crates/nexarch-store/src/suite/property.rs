//! The same set of spans gives the same numbers, however it arrives.

use std::collections::HashMap;

use nexarch_core::{facts::Facts, ids::TenantId, infer::contribution, rollup::Delta, span::Span};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use super::{append, fold, id, picture, strategy};
use crate::{Options, Store};

/// Databases per run: each is made, synced and thrown away.
const CASES: u32 = 48;

/// How a set of spans arrives: by pairs of a place in the queue and "end of the transaction here".
fn arrivals() -> impl Strategy<Value = (Vec<Span>, Vec<(u32, bool)>)> {
    (strategy::crowded(), proptest::collection::vec((any::<u32>(), any::<bool>()), 24))
}

/// What a set of spans must add up to when traces of more than `whole` spans are taken span by span.
pub fn expected(spans: &[Span], whole: usize) -> Vec<(u32, Vec<u8>)> {
    let mut traces: HashMap<_, HashMap<_, Facts>> = HashMap::new();
    for facts in spans.iter().map(Facts::from) {
        let trace = traces.entry(facts.trace_id).or_default();
        match trace.get(&facts.identity()) {
            Some(other) if !facts.supersedes(other) => {}
            _ => {
                trace.insert(facts.identity(), facts);
            }
        }
    }
    let mut delta = Delta::default();
    for trace in traces.into_values() {
        let facts: Vec<Facts> = trace.into_values().collect();
        let parts = if facts.len() > whole { facts.chunks(1) } else { facts.chunks(usize::MAX) };
        parts.for_each(|part| delta.add(&contribution(part)));
    }
    fold(delta.encode())
}

/// Any order, any split, anything twice: rollups, traces and totals are those of the set.
///
/// `fresh` gives a URL and whatever keeps it; the stores infer traces of up to `whole` spans as a whole.
pub fn order_and_split_do_not_matter<K>(
    fresh: impl Fn() -> (String, K),
    options: impl Fn() -> Options,
    whole: usize,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&arrivals(), |(spans, order)| {
        let (url, _keep) = fresh();
        runtime.block_on(async {
            let store = crate::open(&url, options()).await.expect("the database opens");
            let tenant = id("acme");
            store.create_tenant(&tenant, "").await.expect("the tenant is new");
            // Two at once: what one remembers, the other makes old.
            let other = crate::open(&url, options()).await.expect("the database opens");
            arrive([&*store, &*other], &tenant, &spans, &order).await;
            let picture = picture(&*store, &tenant, &spans).await;
            let once: Vec<Facts> = picture.spans.iter().map(Facts::from).collect();
            prop_assert_eq!(picture.rollups, expected(&spans, whole));
            let mut best: HashMap<_, Facts> = HashMap::new();
            for facts in spans.iter().map(Facts::from) {
                let known = best.entry(facts.identity()).or_insert_with(|| facts.clone());
                if facts.supersedes(known) {
                    *known = facts;
                }
            }
            prop_assert_eq!(once.len(), best.len());
            prop_assert!(once.iter().all(|facts| best.get(&facts.identity()) == Some(facts)));
            prop_assert_eq!(picture.totals.spans, best.len() as u64);
            prop_assert_eq!(picture.totals.spans + picture.totals.duplicates, 2 * spans.len() as u64);
            Ok(())
        })
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

/// Sends all spans twice, in the given order, cut into transactions of this store or that.
async fn arrive(stores: [&dyn Store; 2], tenant: &TenantId, spans: &[Span], order: &[(u32, bool)]) {
    let mut queue: Vec<(u32, bool, &Span)> = Vec::new();
    for (index, span) in spans.iter().chain(spans).enumerate() {
        let (place, end) = order[index % order.len()];
        queue.push((place.rotate_left(u32::try_from(index).unwrap_or(0)), end, span));
    }
    queue.sort_by_key(|(place, ..)| *place);
    let mut batch = Vec::new();
    for (place, end, span) in queue {
        batch.push(span.clone());
        if end {
            let store = stores[usize::from(place.is_multiple_of(2))];
            append(store, tenant, std::mem::take(&mut batch)).await.expect("stored");
        }
    }
    append(stores[0], tenant, batch).await.expect("stored");
}
