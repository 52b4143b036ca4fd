//! Appending.

use nexarch_core::{
    facts::Facts,
    infer::contribution,
    span::{Span, Status},
};

use super::{append, fold, folded, id, open_with, picture, spans};
use crate::{Batch, Error, Totals};

/// New and known spans add up per batch, inside a group and against what is stored.
pub async fn counts_add_up_per_batch(url: &str) {
    let (store, tenant) = open_with(url, "acme").await;
    let all = spans::trace(1, 8);
    let batch = |range: std::ops::Range<usize>| Batch {
        created_us: None,
        tenant: tenant.clone(),
        spans: all[range].to_vec(),
    };
    let mut twice = batch(6..8);
    twice.spans.extend(batch(6..8).spans);
    let answers = store.append(vec![batch(0..4), batch(2..6), twice, batch(0..0)]).await.unwrap();
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    let counts: Vec<_> = answers.iter().map(|answer| (answer.accepted, answer.duplicates)).collect();
    assert_eq!(counts, [(4, 0), (2, 2), (2, 2), (0, 0)]);
    assert!(
        answers.iter().all(|answer| answer.versions == answers[0].versions),
        "one transaction, one version"
    );
    let again = append(&*store, &tenant, all.clone()).await.unwrap();
    assert_eq!((again.accepted, again.duplicates), (0, 8));
    let picture = picture(&*store, &tenant, &all).await;
    assert_eq!(picture.totals, Totals { spans: 8, duplicates: 12, traces: 1 });
    assert_eq!(picture.spans, all);
    assert_eq!(picture.range, (Some(all[7].start_ns), Some(all[0].start_ns)));
}

/// Of two versions of a span the later end wins, then ERROR, in any order of arrival; nothing counts twice.
pub async fn an_update_replaces(url: &str) {
    let (store, acme) = open_with(url, "acme").await;
    let short = spans::span(1, 1, 0);
    let mut long = short.clone();
    long.end_ns = Some(short.start_ns + 8_000_000);
    let mut failed = long.clone();
    failed.status = Status::Error;
    for (tenant, order) in [("acme", [&short, &long, &failed]), ("b", [&failed, &short, &long])] {
        let tenant = id(tenant);
        if tenant != acme {
            store.create_tenant(&tenant, "").await.unwrap();
        }
        let mut versions = Vec::new();
        for span in order {
            versions.push(append(&*store, &tenant, vec![span.clone()]).await.unwrap().versions.data);
        }
        let picture = picture(&*store, &tenant, std::slice::from_ref(&short)).await;
        assert_eq!(picture.spans, std::slice::from_ref(&failed));
        assert_eq!(picture.totals, Totals { spans: 1, duplicates: 2, traces: 1 });
        assert_eq!(picture.rollups, fold(contribution(&[Facts::from(&failed)]).encode()));
        let grew = [versions[1] > versions[0], versions[2] > versions[1]];
        let wins = tenant == acme;
        assert_eq!(grew, [wins, wins], "a version that wins changes data, one that loses does not");
    }
}

/// Of versions of a span that come together the best is stored, and no other: of a new span and of a known one, in small
/// traces and in large ones.
pub async fn the_best_of_a_group_is_stored(url: &str) {
    let (store, acme) = open_with(url, "acme").await;
    store.create_tenant(&id("large"), "").await.unwrap();
    append(&*store, &id("large"), spans::trace(1, 2_100)).await.unwrap();
    for (tenant, all) in [(acme, spans::trace(1, 3)), (id("large"), spans::trace(1, 2_100))] {
        let longer = |span: &Span, by: u64| Span { end_ns: span.end_ns.map(|end| end + by), ..span.clone() };
        let new = spans::span(1, 5_000, 7_000_000);
        let known = &all[1];
        append(&*store, &tenant, all.clone()).await.unwrap();
        let better = [longer(known, 1_000), longer(known, 3_000), longer(known, 2_000)];
        let fresh = [new.clone(), longer(&new, 3_000), longer(&new, 2_000)];
        // In one batch, and in three of one group.
        let group = [
            vec![better[0].clone(), better[1].clone(), fresh[0].clone()],
            vec![fresh[1].clone()],
            vec![better[2].clone(), fresh[2].clone()],
        ];
        let batches = group.map(|spans| Batch { tenant: tenant.clone(), created_us: None, spans }).into();
        let answers: Vec<_> =
            store.append(batches).await.unwrap().into_iter().map(|answer| answer.unwrap()).collect();
        let counts: Vec<_> = answers.iter().map(|answer| (answer.accepted, answer.duplicates)).collect();
        assert_eq!(counts, [(1, 2), (0, 1), (0, 2)], "{tenant}");
        // Read anew: what is stored counts, not what this process remembers.
        let seen = picture(&*super::open(url).await, &tenant, &all).await.spans;
        let stored =
            |like: &Span| -> Vec<&Span> { seen.iter().filter(|it| it.span_id == like.span_id).collect() };
        assert_eq!((stored(known), stored(&new)), (vec![&better[1]], vec![&fresh[1]]), "{tenant}");
    }
}

/// Of one span only so many versions are stored, in small traces and in large ones, whoever remembers what; what is dropped
/// is counted, as a duplicate and by name, and changes nothing.
pub async fn versions_of_a_span_are_bounded(url: &str) {
    const MOST: u64 = 16;
    let (store, acme) = open_with(url, "acme").await;
    store.create_tenant(&id("large"), "").await.unwrap();
    let large = spans::trace(1, 2_100);
    append(&*store, &id("large"), large.clone()).await.unwrap();
    for (tenant, all) in [(acme, spans::trace(1, 3)), (id("large"), large)] {
        append(&*store, &tenant, all.clone()).await.unwrap();
        let other = super::open(url).await;
        for round in 1..=MOST + 4 {
            let mut better = all[1].clone();
            better.end_ns = better.end_ns.map(|end| end + round * 1_000_000);
            // Two better ones at once are one row: the best of them.
            let worse = crate::Batch {
                created_us: None,
                tenant: tenant.clone(),
                spans: vec![all[1].clone(), better.clone()],
            };
            let before = picture(&*store, &tenant, &all).await;
            let writer = if round % 3 == 0 { &other } else { &store };
            let answer = writer.append(vec![worse]).await.unwrap().remove(0).unwrap();
            assert_eq!((answer.accepted, answer.duplicates), (0, 2));
            super::property::settle_all(&**writer).await;
            let mut now = all.clone();
            now[1] = better;
            let seen = picture(&*store, &tenant, &all).await;
            if round < MOST {
                assert!(seen.data > before.data, "version {round} of {tenant} was not stored");
                assert_eq!(seen.spans, now);
                assert_eq!(seen.rollups, super::property::expected(&now, usize::MAX));
            } else {
                assert_eq!(
                    (seen.data, &seen.spans, &seen.rollups),
                    (before.data, &before.spans, &before.rollups)
                );
            }
        }
        let kept = store.snapshot(&tenant).await.unwrap().diagnostics().await.unwrap();
        assert_eq!(kept.count(crate::DROPPED_UPDATES), 5);
    }
}

/// A span that comes late changes what its trace contributed, also when another process has forgotten the trace.
pub async fn late_spans_join_their_trace(url: &str) {
    let (store, tenant) = open_with(url, "acme").await;
    let all = spans::trace(1, 9);
    append(&*store, &tenant, all[3..6].to_vec()).await.unwrap();
    append(&*store, &tenant, all[6..].to_vec()).await.unwrap();
    let reopened = super::open(url).await;
    append(&*reopened, &tenant, all[..3].to_vec()).await.unwrap();
    let facts: Vec<Facts> = all.iter().map(Facts::from).collect();
    assert_eq!(folded(&*store, &tenant).await, fold(contribution(&facts).encode()));
}

/// Unknown and disabled tenants fail their own batches and nobody else's.
pub async fn refused_batches_fail_alone(url: &str) {
    let (store, good) = open_with(url, "good").await;
    store.create_tenant(&id("off"), "").await.unwrap();
    store.set_tenant_enabled(&id("off"), false).await.unwrap();
    let batch =
        |tenant: &str, number| Batch { created_us: None, tenant: id(tenant), spans: spans::trace(number, 2) };
    let group = vec![batch("off", 1), batch("good", 1), batch("nobody", 1), batch("good", 2)];
    let answers = store.append(group).await.unwrap();
    assert!(matches!(&answers[0], Err(Error::Disabled(tenant)) if tenant.as_str() == "off"), "{answers:?}");
    assert!(matches!(answers[2], Err(Error::NotFound(_))), "{answers:?}");
    assert_eq!(answers[1].as_ref().unwrap().accepted, 2);
    assert_eq!(answers[3].as_ref().unwrap().accepted, 2);
    assert_eq!(store.append(Vec::new()).await.unwrap().len(), 0);
    store.set_tenant_enabled(&id("off"), true).await.unwrap();
    assert_eq!(append(&*store, &id("off"), spans::trace(1, 2)).await.unwrap().accepted, 2);
    assert_eq!(picture(&*store, &good, &[]).await.totals.spans, 4);
}

/// Known spans and empty batches leave all versions as they are.
pub async fn nothing_new_keeps_the_version(url: &str) {
    let (store, tenant) = open_with(url, "acme").await;
    store.invalidate(&tenant, Some(&["x".to_owned()])).await.unwrap();
    let first = append(&*store, &tenant, spans::trace(1, 4)).await.unwrap().versions;
    assert_eq!(append(&*store, &tenant, spans::trace(1, 4)).await.unwrap().versions, first);
    assert_eq!(append(&*store, &tenant, Vec::new()).await.unwrap().versions, first);
    assert_eq!(store.versions(&[tenant]).await.unwrap().versions[0], first);
}

/// The ends of the range of time are stored and found like any other.
pub async fn spans_of_any_time(url: &str) {
    let (store, tenant) = open_with(url, "acme").await;
    let mut all = spans::trace(1, 4);
    for (span, start) in all.iter_mut().zip([0, u64::MAX, 1 << 63, (1 << 63) - 1]) {
        (span.start_ns, span.end_ns) = (start, Some(start));
    }
    append(&*store, &tenant, all.clone()).await.unwrap();
    let picture = picture(&*store, &tenant, &all).await;
    assert_eq!(picture.range, (Some(u64::MAX), Some(0)));
    all.sort_by_key(|span| span.start_ns);
    assert_eq!(picture.spans, all);
}

/// However many appends touch a minute, few blobs are kept, and they say the same.
pub async fn many_blobs_are_merged(url: &str) {
    let (store, tenant) = open_with(url, "acme").await;
    let all: Vec<_> = (0..60).map(|number| spans::span(number, 1, number * 1_000_000)).collect();
    for span in &all {
        append(&*store, &tenant, vec![span.clone()]).await.unwrap();
    }
    let mut snapshot = store.snapshot(&tenant).await.unwrap();
    let blobs = snapshot.cells(super::ALL, 1).await.unwrap().blobs;
    assert!(blobs.len() <= 8, "{} blobs", blobs.len());
    let parts = all.iter().flat_map(|span| contribution(&[Facts::from(span)]).encode()).collect();
    assert_eq!(fold(blobs), fold(parts));
}
