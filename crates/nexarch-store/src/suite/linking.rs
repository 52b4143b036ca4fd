//! Links between traces: both ends say what they say as one set of spans, whenever the other one comes.

use std::sync::Arc;

use nexarch_core::{
    diagnostics::Missing,
    graph::build,
    rollup::Rollup,
    span::{Kind, Link, Span, Value},
};

use super::{
    append,
    clock::Clock,
    folded, id, open_at, property, purge, spans,
    upkeep::{self, DAY_US, retain},
};
use crate::{Retention, Store, UNFOLLOWED_LINKS};

/// Microseconds of a second and of an hour.
const SECOND: u64 = 1_000_000;
const HOUR: u64 = 3_600 * SECOND;

/// A span that says what it does with messages of a queue.
pub fn message(kind: Kind, (trace, id): (u64, u64), service: &str, operation: &'static str) -> Span {
    let text = |text: &'static str| Value::Str(text.into());
    Span {
        kind,
        resource: spans::resource(service),
        attributes: vec![
            ("messaging.system".into(), text("kafka")),
            ("messaging.destination.name".into(), text("q")),
            ("messaging.operation.type".into(), text(operation)),
        ],
        ..spans::span(trace, id, id * 1_000_000)
    }
}

/// Links of a span, by trace and span.
pub fn linked(span: Span, links: &[(u64, u64)]) -> Span {
    let link = |(trace, span): &(u64, u64)| Link {
        trace_id: spans::trace_id(*trace),
        span_id: spans::span_id(*span),
        trace_state: "".into(),
        flags: 0,
        attributes: Vec::new(),
    };
    Span { links: links.iter().map(link).collect(), ..span }
}

/// Span 1 of a trace sends.
fn sent(trace: u64) -> Span {
    message(Kind::Producer, (trace, 1), "shop", "send")
}

/// Span 9 of trace 9 takes what these traces sent.
fn taken(traces: &[u64]) -> Span {
    let links: Vec<(u64, u64)> = traces.iter().map(|trace| (*trace, 1)).collect();
    linked(message(Kind::Consumer, (9, 9), "stock", "process"), &links)
}

fn truth(all: &[Span]) -> Vec<(u32, Vec<u8>)> {
    property::expected(all, usize::MAX)
}

/// How often a flow was counted, and how many links led nowhere.
async fn flows(store: &dyn Store, tenant: &str) -> (i64, u64) {
    let blobs = folded(store, &id(tenant)).await;
    let rollup = Rollup::fold(blobs.iter().map(|(minute, blob)| (*minute, &**blob))).unwrap();
    let flows = build(&rollup, None).flows.iter().map(|flow| flow.messages.count).sum();
    (flows, Missing::of(&rollup).unresolved_links)
}

async fn with_tenant(url: &str, clock: &Clock) -> Arc<dyn Store> {
    let store = open_at(url, clock).await;
    store.create_tenant(&id("acme"), "").await.unwrap();
    store
}

/// Whichever end comes first, hours before the other one, again, or in a better version: settled, the numbers are those of
/// the set of spans; and nothing is provisional for longer than new spans are.
pub async fn either_end_may_come_hours_later(url: &str) {
    let clock = Clock::default();
    let store = with_tenant(url, &clock).await;
    let acme = id("acme");
    let mut all = vec![taken(&[1, 2])];
    append(&*store, &acme, all.clone()).await.unwrap();
    assert_eq!(flows(&*store, "acme").await, (0, 2));
    property::settle_all(&*store).await;
    for (trace, expected) in [(1, (1, 1)), (2, (2, 0))] {
        clock.set(clock.now_us() + 5 * HOUR);
        let last = append(&*store, &acme, vec![sent(trace)]).await.unwrap().versions;
        all.push(sent(trace));
        assert_ne!(flows(&*store, "acme").await, expected, "it is settled later");
        // Twice as long with each settling, like late spans of a trace.
        let wait = if trace == 1 { 60 } else { 120 };
        store.settle(clock.now_us() + (wait - 1) * SECOND, None).await.unwrap();
        assert_ne!(flows(&*store, "acme").await, expected);
        let round = store.settle(clock.now_us() + wait * SECOND, None).await.unwrap();
        assert!(round.changed[0].1.data > last.data, "a number changed");
        assert_eq!(flows(&*store, "acme").await, expected);
        assert_eq!(folded(&*store, &acme).await, truth(&all));
    }
    let again = append(&*store, &acme, all.clone()).await.unwrap();
    assert_eq!((again.accepted, again.duplicates), (0, 3));
    let round = store.settle(u64::MAX, None).await.unwrap();
    assert!(round.changed.is_empty(), "what is known changes nothing: {round:?}");
    // The time in the queue is another one then.
    all[1].end_ns = all[1].end_ns.map(|end| end + 2_000_000);
    append(&*store, &acme, vec![all[1].clone()]).await.unwrap();
    property::settle_all(&*store).await;
    assert_eq!(folded(&*store, &acme).await, truth(&all));
    let (late, early) = (vec![sent(3)], linked(message(Kind::Consumer, (8, 8), "pay", "process"), &[(3, 1)]));
    append(&*store, &acme, late.clone()).await.unwrap();
    clock.set(clock.now_us() + 5 * HOUR);
    append(&*store, &acme, vec![early.clone()]).await.unwrap();
    property::settle_all(&*store).await;
    all.extend(late.into_iter().chain([early]));
    assert_eq!(folded(&*store, &acme).await, truth(&all));
}

/// Where nobody names a queue, the sender's own trace says that somebody took its message, once.
pub async fn a_sender_is_told_who_takes(url: &str) {
    let clock = Clock::default();
    let store = with_tenant(url, &clock).await;
    let acme = id("acme");
    let plain = |span: Span| Span { attributes: Vec::new(), ..span };
    let mut all = vec![plain(sent(1))];
    append(&*store, &acme, all.clone()).await.unwrap();
    for trace in [5, 6, 7] {
        let service = if trace == 7 { "pay" } else { "stock" };
        let takes = plain(linked(message(Kind::Consumer, (trace, 4), service, ""), &[(1, 1)]));
        append(&*store, &acme, vec![takes.clone()]).await.unwrap();
        all.push(takes);
        property::settle_all(&*store).await;
        assert_eq!(folded(&*store, &acme).await, truth(&all));
    }
    // A version that links to another span takes it back.
    let last = all.last_mut().unwrap();
    *last = Span { end_ns: last.end_ns.map(|end| end + 1), ..linked(last.clone(), &[(2, 1)]) };
    let update = last.clone();
    append(&*store, &acme, vec![update]).await.unwrap();
    property::settle_all(&*store).await;
    assert_eq!(folded(&*store, &acme).await, truth(&all));
}

/// Equal ids of another tenant are another tenant's, and a deleted one leaves nothing behind for the next of its name.
pub async fn links_stay_in_their_tenant(url: &str) {
    let store = with_tenant(url, &Clock::default()).await;
    store.create_tenant(&id("other"), "").await.unwrap();
    append(&*store, &id("acme"), vec![taken(&[1])]).await.unwrap();
    append(&*store, &id("other"), vec![sent(1)]).await.unwrap();
    property::settle_all(&*store).await;
    assert_eq!(flows(&*store, "acme").await, (0, 1));
    assert_eq!(folded(&*store, &id("other")).await, truth(&[sent(1)]));
    append(&*store, &id("acme"), vec![sent(1)]).await.unwrap();
    property::settle_all(&*store).await;
    assert_eq!(flows(&*store, "acme").await, (1, 0));
    store.delete_tenant(&id("acme")).await.unwrap();
    purge(&*store).await;
    store.create_tenant(&id("acme"), "").await.unwrap();
    append(&*store, &id("acme"), vec![sent(1)]).await.unwrap();
    property::settle_all(&*store).await;
    assert_eq!(folded(&*store, &id("acme")).await, truth(&[sent(1)]));
}

/// What a dropped day said of a message stays, also when the trace at the other end is settled again.
pub async fn an_end_outlives_its_day(url: &str) {
    let clock = upkeep::clock_at(60);
    let (store, tenant) = upkeep::owner_with(url, &clock).await;
    let later = |span: Span, days: u64| Span {
        start_ns: span.start_ns + days * DAY_US * 1_000,
        end_ns: span.end_ns.map(|end| end + days * DAY_US * 1_000),
        ..span
    };
    append(&*store, &tenant, vec![sent(1), later(taken(&[1, 2]), 2)]).await.unwrap();
    property::settle_all(&*store).await;
    assert_eq!(flows(&*store, tenant.as_str()).await, (1, 1));
    clock.set(clock.now_us() + 3 * DAY_US);
    let spans = std::time::Duration::from_micros(2 * DAY_US);
    retain(&*store, Retention { spans, rollups: 30 * spans }).await;
    assert_eq!(store.snapshot(&tenant).await.unwrap().totals().await.unwrap().spans, 2);
    append(&*store, &tenant, vec![later(sent(2), 2)]).await.unwrap();
    property::settle_all(&*store).await;
    assert_eq!(flows(&*store, tenant.as_str()).await, (2, 0), "the one of the dropped day, and the new one");
}

/// However many traces link to one, a bounded number of them wakes.
pub async fn followed_links_are_bounded(url: &str) {
    let clock = Clock::default();
    let store = with_tenant(url, &clock).await;
    let acme = id("acme");
    let takes = |trace: u64| linked(message(Kind::Consumer, (trace, 4), "stock", "process"), &[(1, 1)]);
    append(&*store, &acme, (2..1_000).map(takes).collect()).await.unwrap();
    append(&*store, &acme, (1_000..1_100).map(takes).collect()).await.unwrap();
    let mut snapshot = store.snapshot(&acme).await.unwrap();
    assert_eq!(snapshot.diagnostics().await.unwrap().count(UNFOLLOWED_LINKS), 74);
    drop(snapshot);
    property::settle_all(&*store).await;
    append(&*store, &acme, vec![sent(1)]).await.unwrap();
    property::settle_all(&*store).await;
    assert_eq!(flows(&*store, "acme").await, (1_024, 74));
    // Whoever is settled for another reason finds its ends all the same.
    let more: Vec<Span> = (2..1_100).map(|trace| spans::span(trace, 5, 0)).collect();
    append(&*store, &acme, more).await.unwrap();
    property::settle_all(&*store).await;
    assert_eq!(flows(&*store, "acme").await, (1_098, 0));
}
