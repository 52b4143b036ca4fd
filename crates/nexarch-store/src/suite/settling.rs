//! Large traces: previewed by appends, settled in rounds.

use nexarch_core::span::{Span, Status};

use super::{append, clock::Clock, durability::give_up_after, folded, id, open_at, picture, property, spans};
use crate::{LATE, Store};

/// Spans of a trace that is larger than an append infers.
const LARGE: u64 = 2_200;

/// Microseconds of a second.
const SECOND: u64 = 1_000_000;

async fn large(url: &str, clock: &Clock, tenants: &[&str]) -> (std::sync::Arc<dyn Store>, Vec<Span>) {
    let store = open_at(url, clock).await;
    let all = spans::trace(1, LARGE + 300);
    for tenant in tenants {
        store.create_tenant(&id(tenant), "").await.unwrap();
        append(&*store, &id(tenant), all[..usize::try_from(LARGE).unwrap()].to_vec()).await.unwrap();
    }
    (store, all)
}

/// What was settled is a function of the set of spans.
fn truth(all: &[Span]) -> Vec<(u32, Vec<u8>)> {
    property::expected(all, usize::MAX)
}

/// A trace is settled 30 s after its last span, once, and announces a version only when a number changed.
pub async fn waits_for_quiet(url: &str) {
    let clock = Clock::default();
    let (store, all) = large(url, &clock, &["acme"]).await;
    let (acme, start) = (id("acme"), clock.now_us());
    assert_eq!(folded(&*store, &acme).await, truth(&all[..2_200]), "in one append: nothing is provisional");
    append(&*store, &acme, all[2_200..2_300].to_vec()).await.unwrap();
    clock.set(start + 20 * SECOND);
    let last = append(&*store, &acme, all[2_300..].to_vec()).await.unwrap().versions;
    let before = folded(&*store, &acme).await;
    assert_ne!(before, truth(&all), "calls to halves in other chunks are not seen yet");
    let seen = picture(&*store, &acme, &all).await;
    assert_eq!((seen.spans.len(), seen.totals.spans), (all.len(), all.len() as u64), "the spans are");

    let early = store.settle(start + 49 * SECOND, None).await.unwrap();
    assert!(early.changed.is_empty() && !early.more);
    assert_eq!(folded(&*store, &acme).await, before);
    let round = store.settle(start + 50 * SECOND, None).await.unwrap();
    assert_eq!(folded(&*store, &acme).await, truth(&all));
    let [(tenant, versions)] = &round.changed[..] else { panic!("{round:?}") };
    assert!(*tenant == acme && versions.data > last.data && !round.more && round.failed.is_empty());
    assert_eq!(store.versions(std::slice::from_ref(&acme)).await.unwrap().versions[0], *versions);
    let again = store.settle(u64::MAX, None).await.unwrap();
    assert!(again.changed.is_empty() && !again.more, "settled once");
}

/// After each settling late spans wait twice as long; a trace that never falls quiet is settled all the same.
pub async fn late_spans_wait_longer(url: &str) {
    let clock = Clock::default();
    let (store, all) = large(url, &clock, &["acme"]).await;
    let acme = id("acme");
    let mut rest = all[2_200..].iter();
    for wait in [30, 60, 120, 240] {
        let now = clock.now_us();
        append(&*store, &acme, vec![rest.next().unwrap().clone()]).await.unwrap();
        let early = store.settle(now + (wait - 1) * SECOND, None).await.unwrap();
        assert_eq!(unsettled(&*store).await, 1, "{early:?}");
        store.settle(now + wait * SECOND, None).await.unwrap();
        assert_eq!(unsettled(&*store).await, 0);
    }
    let first = clock.now_us();
    for step in 1..=40 {
        clock.set(first + step * 60 * SECOND);
        append(&*store, &acme, vec![rest.next().unwrap().clone()]).await.unwrap();
    }
    // The first of them came a minute after `first`; four times 480 s.
    store.settle(first + (60 + 4 * 480 - 1) * SECOND, None).await.unwrap();
    assert_eq!(unsettled(&*store).await, 1);
    store.settle(first + (60 + 4 * 480) * SECOND, None).await.unwrap();
    assert_eq!(unsettled(&*store).await, 0);
}

/// Times that a clock wrote which was far ahead mean nothing once it is set right.
pub async fn a_clock_that_was_ahead_delays_nothing(url: &str) {
    let clock = Clock::default();
    for only in [None, Some(id("other"))] {
        let tenant = only.clone().unwrap_or(id("acme"));
        let (store, all) = large(url, &clock, &[tenant.as_str()]).await;
        let right = clock.now_us();
        clock.jump(right + 400 * 86_400 * SECOND);
        append(&*store, &tenant, all[2_200..].to_vec()).await.unwrap();
        clock.jump(right);
        assert_eq!(store.unsettled().await.unwrap(), 1);
        while store.settle(right, only.as_ref()).await.unwrap().more {}
        assert_eq!(store.unsettled().await.unwrap(), 0);
        assert_eq!(folded(&*store, &tenant).await, truth(&all));
    }
}

async fn unsettled(store: &dyn Store) -> u64 {
    let mut snapshot = store.snapshot(&id("acme")).await.unwrap();
    let of_tenant = snapshot.diagnostics().await.unwrap().unsettled_traces;
    // The only tenant with spans here.
    assert_eq!(store.unsettled().await.unwrap(), of_tenant);
    of_tenant
}

/// Spans of a large trace are known by R1 in the answer's counts, whoever asks, before and after settling; updates win by
/// the fixed order.
pub async fn re_sends_are_known(url: &str) {
    let clock = Clock::default();
    let (store, mut all) = large(url, &clock, &["acme"]).await;
    let acme = id("acme");
    append(&*store, &acme, all[2_200..].to_vec()).await.unwrap();
    for settled in [false, true] {
        if settled {
            property::settle_all(&*store).await;
        }
        let other = open_at(url, &clock).await;
        for store in [&store, &other] {
            let again = append(&**store, &acme, all.clone()).await.unwrap();
            assert_eq!((again.accepted, again.duplicates), (0, 2_500));
        }
    }
    let data = picture(&*store, &acme, &[]).await.data;
    let (old, before) = (all[2_450].clone(), all[10].clone());
    all[10].end_ns = all[10].end_ns.map(|end| end + 9_000_000);
    all[2_450].status = Status::Error;
    let updates = vec![all[10].clone(), before, all[2_450].clone(), old, all[2_450].clone()];
    let answer = append(&*store, &acme, updates).await.unwrap();
    assert_eq!((answer.accepted, answer.duplicates), (0, 5));
    assert!(answer.versions.data > data, "a version that wins is news");
    property::settle_all(&*store).await;
    let seen = picture(&*store, &acme, &all).await;
    assert_eq!(seen.rollups, truth(&all));
    assert_eq!(seen.spans, all);
    assert_eq!(seen.totals.spans, 2_500);
}

/// A span that looks like an orphan until it is settled.
fn below_the_root(trace: u64) -> Span {
    Span { parent_span_id: Some(spans::span_id(1)), ..spans::span(trace, 9_999, 7) }
}

/// One round serves every tenant that is due, and only the one asked for.
pub async fn tenants_take_turns(url: &str) {
    let clock = Clock::default();
    let (store, all) = large(url, &clock, &["a", "b"]).await;
    for tenant in ["a", "b"] {
        append(&*store, &id(tenant), all[2_201..].to_vec()).await.unwrap();
        append(&*store, &id(tenant), vec![all[2_200].clone()]).await.unwrap();
    }
    let second: Vec<Span> = spans::trace(2, LARGE);
    append(&*store, &id("a"), second.clone()).await.unwrap();
    append(&*store, &id("a"), vec![below_the_root(2)]).await.unwrap();
    let round = store.settle(u64::MAX, Some(&id("b"))).await.unwrap();
    let changed =
        |round: &crate::Settling| round.changed.iter().map(|(id, _)| id.to_string()).collect::<Vec<_>>();
    assert_eq!((changed(&round), round.more), (vec!["b".to_owned()], false));
    assert_eq!(folded(&*store, &id("b")).await, truth(&all));
    append(&*store, &id("b"), vec![below_the_root(1)]).await.unwrap();
    let round = store.settle(u64::MAX, None).await.unwrap();
    let mut served = changed(&round);
    served.sort_unstable();
    assert_eq!((served, round.more), (vec!["a".to_owned(), "b".to_owned()], false));
    assert_eq!(
        folded(&*store, &id("a")).await,
        truth(&[all.clone(), second, vec![below_the_root(2)]].concat())
    );
    store.delete_tenant(&id("a")).await.unwrap();
    store.create_tenant(&id("a"), "").await.unwrap();
    append(&*store, &id("a"), all.clone()).await.unwrap();
    property::settle_all(&*store).await;
    assert_eq!(folded(&*store, &id("a")).await, truth(&all), "nothing is left of the deleted one");
}

/// A round that is given up, or whose process dies, at any step leaves everything to the next one.
pub async fn a_dropped_round_changes_nothing(url: &str) {
    let clock = Clock::default();
    let (store, all) = large(url, &clock, &["acme"]).await;
    let acme = id("acme");
    // A call's halves in two chunks: the preview is wrong until it is settled.
    append(&*store, &acme, all[2_201..].to_vec()).await.unwrap();
    append(&*store, &acme, vec![all[2_200].clone()]).await.unwrap();
    let (before, after) = (folded(&*store, &acme).await, truth(&all));
    let mut given_up = 0;
    for polls in 0.. {
        let round = give_up_after(polls, store.settle(u64::MAX, None)).await;
        let now = folded(&*store, &acme).await;
        assert!(now == before || now == after, "half a settling after {polls} steps");
        if round.is_some() {
            assert_eq!(now, after);
            break;
        }
        given_up += 1;
        // What is given up after its commit is done.
        let waits = unsettled(&*store).await == 1;
        assert_eq!(waits, now == before);
    }
    assert!(given_up > 5, "only {given_up} rounds were given up: the test tests nothing");
}

/// Counts by name add up, are seen by whoever looks, and go with their tenant. Late spans are counted by appends, once.
pub async fn counts_are_kept(url: &str) {
    let clock = Clock::default();
    let store = open_at(url, &clock).await;
    let (acme, gone) = (id("acme"), id("gone"));
    store.create_tenant(&acme, "").await.unwrap();
    store
        .note(vec![(acme.clone(), vec![("future", 2), ("expired", 1)]), (gone, vec![("future", 9)])])
        .await
        .unwrap();
    store.note(vec![(acme.clone(), vec![("future", 3)])]).await.unwrap();
    clock.set((spans::BASE_NS + 7_200_000_000_000) / 1_000);
    let all = [spans::span(1, 1, 0), spans::span(1, 2, 1), spans::span(1, 3, 2)];
    append(&*store, &acme, all[..2].to_vec()).await.unwrap();
    clock.set((spans::BASE_NS + 7_200_000_000_000) / 1_000 + 1);
    append(&*store, &acme, all.to_vec()).await.unwrap();
    let counts = open_at(url, &clock).await.snapshot(&acme).await.unwrap().diagnostics().await.unwrap();
    assert_eq!((counts.count("future"), counts.count("expired"), counts.count("none")), (5, 1, 0));
    assert_eq!(counts.count(LATE), 1, "the third alone starts over two hours before it came");
    store.delete_tenant(&acme).await.unwrap();
    store.create_tenant(&acme, "").await.unwrap();
    let counts = store.snapshot(&acme).await.unwrap().diagnostics().await.unwrap();
    assert_eq!(counts, crate::Diagnostics::default());
}
