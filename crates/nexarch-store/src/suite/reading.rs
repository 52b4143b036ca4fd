//! Snapshots.

use super::{append, fold, folded, id, open_with, picture, picture_of, spans};
use crate::Error;
use nexarch_core::{
    span::Status,
    trace::{Excerpt, Extent, size},
    window::Minutes,
};

/// An open snapshot sees nothing that comes after it.
pub async fn snapshots_stand_still(url: &str) {
    let (store, tenant) = open_with(url, "acme").await;
    let all = spans::trace(1, 30);
    append(&*store, &tenant, all[..10].to_vec()).await.unwrap();
    let before = picture(&*store, &tenant, &all).await;
    let mut snapshot = store.snapshot(&tenant).await.unwrap();
    append(&*store, &tenant, all[10..].to_vec()).await.unwrap();
    assert_eq!(picture_of(&mut *snapshot, &all).await, before);
    let after = picture(&*store, &tenant, &all).await;
    assert!(after.data > before.data && after.spans.len() == 30 && after.rollups != before.rollups);
    // Even after the tenant is gone.
    store.delete_tenant(&tenant).await.unwrap();
    assert_eq!(picture_of(&mut *snapshot, &all).await, before);
}

/// Unknown traces are empty, unknown tenants an error, disabled ones another.
pub async fn unknown_things(url: &str) {
    let (store, tenant) = open_with(url, "acme").await;
    let mut snapshot = store.snapshot(&tenant).await.unwrap();
    assert_eq!((snapshot.newest_ns(), snapshot.oldest_ns(), snapshot.data_version()), (None, None, 0));
    assert!(snapshot.trace(spans::trace_id(1), Extent::ALL).await.unwrap() == Excerpt::default());
    assert!(snapshot.cells(super::ALL, 1).await.unwrap().blobs.is_empty());
    drop(snapshot);
    assert!(matches!(store.snapshot(&id("nobody")).await.map(|_| ()), Err(Error::NotFound(_))));
    store.set_tenant_enabled(&tenant, false).await.unwrap();
    assert!(matches!(store.snapshot(&tenant).await.map(|_| ()), Err(Error::Disabled(_))));
    store.ping().await.unwrap();
}

/// `cells(from..to)` has `from` in it and `to` not, and gives minutes in order.
pub async fn ranges_are_half_open(url: &str) {
    let (store, tenant) = open_with(url, "acme").await;
    for minute in [4, 0, 2, 1, 3] {
        let span = spans::span(minute, 1, minute * spans::MINUTE_NS);
        append(&*store, &tenant, vec![span]).await.unwrap();
    }
    let all = folded(&*store, &tenant).await;
    let base = spans::BASE_MINUTE;
    assert_eq!(all.iter().map(|(minute, _)| *minute).collect::<Vec<_>>(), [0, 1, 2, 3, 4].map(|m| base + m));
    let mut snapshot = store.snapshot(&tenant).await.unwrap();
    for (from, to) in [(0, 5), (1, 3), (2, 2), (4, 9), (5, 9)] {
        let part = fold(snapshot.cells(Minutes { from: base + from, to: base + to }, 1).await.unwrap().blobs);
        let within = |minute: &u32| (base + from..base + to).contains(minute);
        let expected: Vec<_> = all.iter().filter(|(minute, _)| within(minute)).cloned().collect();
        assert_eq!(part, expected, "{from}..{to}");
    }
}

/// A trace that lies in many chunks, hours and days is found whole and ordered.
pub async fn many_chunks_one_trace(url: &str) {
    let (store, tenant) = open_with(url, "acme").await;
    let mut all = spans::trace(1, 2_500);
    for (index, span) in (0..).zip(&mut all) {
        let shift = (index % 5) * 8 * 60 * spans::MINUTE_NS;
        (span.start_ns, span.end_ns) = (span.start_ns + shift, None);
    }
    for spans in all.chunks(700) {
        append(&*store, &tenant, spans.to_vec()).await.unwrap();
        append(&*store, &tenant, spans::trace(2, 20)).await.unwrap();
    }
    let found = picture(&*store, &tenant, &all).await.spans;
    all.sort_by_key(|span| span.start_ns);
    assert_eq!(found, all);
}

/// As much of a trace as is asked for, from its beginning, with the figures of all of it: of small and of large traces, in
/// many chunks, with spans that were updated, settled or not.
pub async fn a_part_of_a_trace_says_what_the_whole_is(url: &str) {
    let (store, tenant) = open_with(url, "acme").await;
    for (number, count) in [(1, 90), (2, 2_600)] {
        let mut all = spans::trace(number, count);
        // In any order over the chunks.
        let arrival = |step: usize| (0..all.len()).map(move |index| index * 7 % step).enumerate();
        let mut order: Vec<usize> = Vec::new();
        for part in 0..7 {
            order.extend(arrival(7).filter(|(_, other)| *other == part).map(|(index, _)| index));
        }
        for indexes in order.chunks(all.len() / 6) {
            append(&*store, &tenant, indexes.iter().map(|index| all[*index].clone()).collect())
                .await
                .unwrap();
        }
        for index in [0, 3, all.len() - 1] {
            all[index].status = Status::Error;
            all[index].end_ns = all[index].end_ns.map(|end| end + 1_000_000_000);
            append(&*store, &tenant, vec![all[index].clone()]).await.unwrap();
        }
        let mut snapshot = store.snapshot(&tenant).await.unwrap();
        let bytes: usize = all[..40].iter().map(size).sum();
        for (extent, listed) in [
            (Extent::ALL, all.len()),
            (Extent { spans: 50, ..Extent::ALL }, 50),
            (Extent { bytes, ..Extent::ALL }, 40),
            (Extent { bytes: bytes - 1, ..Extent::ALL }, 39),
            (Extent { spans: 50, bytes }, 40),
            (Extent { spans: 30, bytes }, 30),
            (Extent { spans: 30, bytes: 1 }, 0),
        ] {
            let found = snapshot.trace(spans::trace_id(number), extent).await.unwrap();
            assert_eq!(found.spans, all[..listed], "{extent:?}");
            let whole = Excerpt::of(all.clone(), extent);
            assert_eq!(
                found,
                Excerpt { services: whole.services.iter().take(extent.spans).cloned().collect(), ..whole }
            );
            assert_eq!((found.span_count, found.error_count), (count, 3));
        }
        let one = snapshot.trace(spans::trace_id(number), Extent { spans: 1, ..Extent::ALL }).await.unwrap();
        assert_eq!(one.services.into_iter().collect::<Vec<_>>(), ["shop"], "no more names than spans");
    }
}
