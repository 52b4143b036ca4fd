//! The same set of spans gives the same numbers, however it arrives.

use std::collections::HashMap;

use nexarch_core::{
    facts::Facts,
    ids::TenantId,
    infer::{contribute_linked, contribution, ends},
    rollup::Delta,
    span::Span,
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use super::{append, fold, id, picture, strategy};
use crate::{Options, Store};

/// Databases per run: each is made, synced and thrown away.
const CASES: u32 = 48;

/// Nanoseconds of an hour.
const HOUR_NS: u64 = 3_600_000_000_000;

/// A place in the queue, "end of the transaction here", and "settle a round after it".
type Step = (u32, bool, bool);

/// How a set of spans arrives.
fn arrivals() -> impl Strategy<Value = (Vec<Span>, Vec<Step>)> {
    let step = (any::<u32>(), any::<bool>(), prop::bool::weighted(0.3));
    (prop_oneof![strategy::crowded(), strategy::linked()], proptest::collection::vec(step, 24))
}

/// What a set of spans must add up to when traces of more than `most` spans are taken hour by hour, and hours of more
/// span by span.
pub fn expected(spans: &[Span], most: usize) -> Vec<(u32, Vec<u8>)> {
    fold(delta(spans, most).encode())
}

/// See [`expected`].
pub fn delta(spans: &[Span], most: usize) -> Delta {
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
    let traces: HashMap<_, Vec<Facts>> =
        traces.into_iter().map(|(id, trace)| (id, trace.into_values().collect())).collect();
    let mut delta = Delta::default();
    for (id, facts) in &traces {
        if facts.len() <= most {
            let others: Vec<Facts> = traces
                .iter()
                .filter(|(other, _)| *other != id)
                .flat_map(|(_, facts)| facts.clone())
                .collect();
            contribute_linked(&mut delta, facts, &ends(facts, &others));
            continue;
        }
        for part in parts(facts.clone(), most) {
            delta.add(&contribution(&part));
        }
    }
    delta
}

fn parts(facts: Vec<Facts>, most: usize) -> Vec<Vec<Facts>> {
    let mut hours: HashMap<u64, Vec<Facts>> = HashMap::new();
    for facts in facts {
        hours.entry(facts.start_ns / HOUR_NS).or_default().push(facts);
    }
    let split = |hour: Vec<Facts>| match hour.len() {
        count if count <= most => vec![hour],
        _ => hour.into_iter().map(|facts| vec![facts]).collect(),
    };
    hours.into_values().flat_map(split).collect()
}

/// Settles until there is nothing left to settle.
pub async fn settle_all(store: &dyn Store) {
    while store.settle(u64::MAX, None).await.expect("settled").more {}
}

/// Any order, any split, anything twice, settled in between or not: rollups, traces and totals are those of the set.
///
/// `fresh` gives a URL and whatever keeps it; the stores infer traces of up to `most` spans as a whole.
pub fn order_and_split_do_not_matter<K>(
    fresh: impl Fn() -> (String, K),
    options: impl Fn() -> Options,
    most: usize,
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
            settle_all(&*store).await;
            let picture = picture(&*store, &tenant, &spans).await;
            let once: Vec<Facts> = picture.spans.iter().map(Facts::from).collect();
            prop_assert_eq!(picture.rollups, expected(&spans, most));
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

/// Sends all spans twice, in the given order, cut into transactions of this store or that, with rounds of settling.
async fn arrive(stores: [&dyn Store; 2], tenant: &TenantId, spans: &[Span], order: &[Step]) {
    let mut queue: Vec<(Step, &Span)> = Vec::new();
    for (index, span) in spans.iter().chain(spans).enumerate() {
        let (place, end, settle) = order[index % order.len()];
        queue.push(((place.rotate_left(u32::try_from(index).unwrap_or(0)), end, settle), span));
    }
    queue.sort_by_key(|((place, ..), _)| *place);
    let mut batch = Vec::new();
    for ((place, end, settle), span) in queue {
        batch.push(span.clone());
        if end {
            let store = stores[usize::from(place.is_multiple_of(2))];
            append(store, tenant, std::mem::take(&mut batch)).await.expect("stored");
            if settle {
                stores[usize::from(place.is_multiple_of(3))]
                    .settle(u64::MAX, Some(tenant))
                    .await
                    .expect("settled");
            }
        }
    }
    append(stores[0], tenant, batch).await.expect("stored");
}
