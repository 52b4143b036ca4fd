//! Looking for traces.

use std::sync::Arc;

use nexarch_core::{
    ids::TraceId,
    span::{Span, Status, Value, attribute},
};

use super::{append, id, open_with, spans};
use crate::{Found, Search, Store, search::Place};

const HOUR_NS: u64 = 60 * spans::MINUTE_NS;

/// All of time, everything, many.
fn everything() -> Search {
    Search { from_ns: 0, to_ns: u64::MAX, after: None, limit: 1_000, fits: Arc::new(|_| true), whole: None }
}

async fn page(store: &dyn Store, tenant: &str, search: Search) -> Found {
    store.snapshot(&id(tenant)).await.unwrap().search(search).await.unwrap()
}

/// All pages, and how many there were.
async fn pages(store: &dyn Store, tenant: &str, mut search: Search) -> (Vec<TraceId>, usize) {
    let (mut found, mut count) = (Vec::new(), 0);
    loop {
        let page = page(store, tenant, search.clone()).await;
        count += 1;
        assert!(page.traces.len() <= search.limit);
        found.extend(page.traces.iter().map(|trace| trace.trace));
        match page.next {
            Some(next) => search.after = Some(next),
            None => return (found, count),
        }
        assert!(count < 10_000, "pages without end");
    }
}

fn numbers(found: &Found) -> Vec<u64> {
    found.traces.iter().map(|trace| number(trace.trace)).collect()
}

fn number(trace: TraceId) -> u64 {
    u64::from_be_bytes(trace.to_bytes()[8..].try_into().unwrap())
}

/// A span, a name and a duration make a difference; a trace comes once, with all its spans, the newest first.
pub async fn traces_are_found_by_their_spans(url: &str) {
    let (store, tenant) = open_with(url, "acme").await;
    for number in 0..4 {
        let mut trace = spans::trace(number, 6);
        for span in &mut trace {
            span.start_ns += number * HOUR_NS;
            span.end_ns = Some(span.start_ns + 1_000_000 * (number + 1));
        }
        if number == 2 {
            trace[5].status = Status::Error;
            trace[5].attributes.push(("user".into(), Value::Str("ada".into())));
        }
        append(&*store, &tenant, trace).await.unwrap();
    }
    let all = page(&*store, "acme", everything()).await;
    assert_eq!((numbers(&all), all.next, all.scanned), (vec![3, 2, 1, 0], None, 24));
    assert!(all.traces.iter().all(|it| it.spans.len() == 6 && it.fitting == 6 && !it.partial));
    let starts: Vec<u64> = all.traces[0].spans.iter().map(|facts| facts.start_ns).collect();
    assert!(starts.is_sorted(), "by start");

    let failed = Search { fits: Arc::new(|facts| facts.error), ..everything() };
    let found = page(&*store, "acme", failed.clone()).await;
    assert_eq!((numbers(&found), found.traces[0].fitting, found.traces[0].spans.len()), (vec![2], 1, 6));
    let slow = Search { fits: Arc::new(|facts| facts.duration_ns >= Some(3_000_000)), ..everything() };
    assert_eq!(numbers(&page(&*store, "acme", slow).await), [3, 2]);
    let stock = Search { fits: Arc::new(|facts| &*facts.service == "stock"), ..everything() };
    assert_eq!(page(&*store, "acme", stock).await.traces.iter().map(|it| it.fitting).sum::<usize>(), 8);
    // One span must fit in all ways.
    let of = |user: &'static str| -> Option<crate::SpanFits> {
        Some(Arc::new(move |span: &Span| {
            attribute(&span.attributes, "user").and_then(Value::as_str) == Some(user)
        }))
    };
    assert_eq!(numbers(&page(&*store, "acme", Search { whole: of("ada"), ..failed.clone() }).await), [2]);
    assert!(page(&*store, "acme", Search { whole: of("bob"), ..failed.clone() }).await.traces.is_empty());
    let fine = Search { fits: Arc::new(|facts| !facts.error), whole: of("ada"), ..everything() };
    assert!(page(&*store, "acme", fine).await.traces.is_empty());
    // The range is half open, and of starts.
    let from = |from: u64, to: u64| Search {
        from_ns: spans::BASE_NS + from,
        to_ns: spans::BASE_NS + to,
        ..everything()
    };
    assert_eq!(numbers(&page(&*store, "acme", from(HOUR_NS, 3 * HOUR_NS)).await), [2, 1]);
    assert!(page(&*store, "acme", from(0, 0)).await.traces.is_empty());
    assert_eq!(numbers(&page(&*store, "acme", from(0, 1)).await), [0]);
    assert!(page(&*store, "acme", from(5 * HOUR_NS, u64::MAX - spans::BASE_NS)).await.traces.is_empty());
}

/// Page by page the same traces come as at once, each once, wherever their spans lie.
pub async fn pages_have_each_trace_once(url: &str) {
    let (store, tenant) = open_with(url, "acme").await;
    // Traces whose spans lie in up to three hours, in days apart, and in several chunks of an hour.
    for round in 0..3 {
        let mut batch = Vec::new();
        for number in 0..40u64 {
            for span in spans::trace(number, 9).into_iter().skip(3 * round).take(3) {
                let hour = (number * 7 + round as u64 * (number % 3)) % 40;
                batch.push(Span { start_ns: span.start_ns + hour * HOUR_NS, end_ns: None, ..span });
            }
        }
        append(&*store, &tenant, batch).await.unwrap();
    }
    let (at_once, one) = pages(&*store, "acme", everything()).await;
    assert_eq!((at_once.len(), one), (40, 1));
    for limit in [1, 3, 7] {
        let (found, count) = pages(&*store, "acme", Search { limit, ..everything() }).await;
        assert_eq!(found, at_once, "{limit}");
        assert!(count >= 40 / limit, "{limit}");
    }
    let mut distinct = at_once;
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), 40);
    // Nothing of others, and nothing for nobody.
    store.create_tenant(&id("other"), "").await.unwrap();
    assert_eq!(page(&*store, "other", everything()).await, Found::default());
}

/// Of several copies of a span only the one that counts is asked (R1).
pub async fn superseded_copies_do_not_fit(url: &str) {
    let (store, tenant) = open_with(url, "acme").await;
    let mut span = spans::span(1, 1, 0);
    append(&*store, &tenant, vec![span.clone()]).await.unwrap();
    span.end_ns = Some(span.start_ns + 9_000_000_000);
    append(&*store, &tenant, vec![span.clone()]).await.unwrap();
    let short = Search { fits: Arc::new(|facts| facts.duration_ns < Some(1_000_000_000)), ..everything() };
    assert!(page(&*store, "acme", short).await.traces.is_empty(), "the first copy was superseded");
    let long = Search { fits: Arc::new(|facts| facts.duration_ns > Some(1_000_000_000)), ..everything() };
    let found = page(&*store, "acme", long).await;
    assert_eq!((found.traces.len(), found.traces[0].spans.len()), (1, 1));
}

/// A page has a bounded amount of work, says where the next begins, and a search for nothing ends.
pub async fn work_is_bounded(url: &str) {
    let (store, tenant) = open_with(url, "acme").await;
    for number in 0..250u64 {
        append(&*store, &tenant, vec![spans::span(number, 1, number * spans::MINUTE_NS)]).await.unwrap();
    }
    let nothing = Search { fits: Arc::new(|_| false), ..everything() };
    let first = page(&*store, "acme", nothing.clone()).await;
    assert!(first.traces.is_empty() && first.scanned < 250, "{first:?}");
    let next = first.next.unwrap();
    let second = page(&*store, "acme", Search { after: Some(next), ..nothing.clone() }).await;
    assert_eq!((second.next, first.scanned + second.scanned), (None, 250), "each span once");
    let (found, _) = pages(&*store, "acme", everything()).await;
    assert_eq!(found.len(), 250);
    // A place that no page gave is a place all the same.
    for place in [
        Place { hour: u64::MAX, chunk: i64::MAX, passed: 0 },
        Place { hour: 0, chunk: i64::MIN, passed: u32::MAX },
    ] {
        page(&*store, "acme", Search { after: Some(place), ..everything() }).await;
    }
}
