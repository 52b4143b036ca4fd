//! A database that ages: compaction, retention, purging, quota, backup.

use std::{sync::Arc, time::Duration};

use nexarch_core::{ids::TenantId, rollup::merge, span::Span, window::Minutes};

use super::{append, clock::Clock, id, open_at, picture, property::expected, purge, spans};
use crate::{Error, Options, Place, Retention, Role, Store};

/// Microseconds of a minute.
pub const MINUTE_US: u64 = 60_000_000;

/// Microseconds of a day.
pub const DAY_US: u64 = 1_440 * MINUTE_US;

/// Spans for a day, rollups for three.
pub const RETENTION: Retention =
    Retention { spans: Duration::from_hours(24), rollups: Duration::from_hours(3 * 24) };

/// A clock that stands `minutes` after [`spans::BASE_NS`].
pub fn clock_at(minutes: u64) -> Clock {
    let clock = Clock::default();
    clock.set(spans::BASE_NS / 1_000 + minutes * MINUTE_US);
    clock
}

/// Opens a database as its server.
pub async fn open_owner(url: &str, clock: &Clock) -> Arc<dyn Store> {
    let options = Options::new(Role::Owner, clock.reader()).steady_clock(clock.steady());
    crate::open(url, options).await.expect("the database opens")
}

/// Opens a database as its server and makes tenant `acme`.
pub async fn owner_with(url: &str, clock: &Clock) -> (Arc<dyn Store>, TenantId) {
    let (store, tenant) = (open_owner(url, clock).await, id("acme"));
    store.create_tenant(&tenant, "a tenant").await.expect("the tenant is new");
    (store, tenant)
}

/// Compacts all that is due and returns the tenants that changed.
pub async fn compact(store: &dyn Store) -> Vec<TenantId> {
    let (mut place, mut changed) = (Some(Place::default()), Vec::new());
    while let Some(from) = place {
        let step = store.compact(from).await.expect("a step of compaction");
        assert_eq!(step.skipped, 0, "nothing is damaged");
        changed.extend(step.changed.into_iter().map(|(tenant, _)| tenant));
        place = step.next;
    }
    changed
}

/// Drops all that is too old and returns the tenants that changed.
pub async fn retain(store: &dyn Store, retention: Retention) -> Vec<TenantId> {
    let mut changed = Vec::new();
    loop {
        let step = store.retain(retention).await.expect("a step of retention");
        changed.extend(step.changed.into_iter().map(|(tenant, _)| tenant));
        if step.next.is_none() {
            return changed;
        }
    }
}

/// Adds up blobs of the minutes of a range into one.
pub fn total(minutes: &[(u32, Vec<u8>)], range: Minutes) -> Vec<u8> {
    let inside = minutes.iter().filter(|(minute, _)| (range.from..range.to).contains(minute));
    let blobs: Vec<&[u8]> = inside.map(|(_, blob)| blob.as_slice()).collect();
    merge(&blobs).expect("blobs can be merged")
}

/// Reads a range for cells of every length and checks it against the blobs of its minutes; returns its minutes and the
/// longest cell that has no shorter ones, as read for single minutes.
pub async fn check(
    store: &dyn Store,
    tenant: &TenantId,
    truth: &[(u32, Vec<u8>)],
    range: Minutes,
) -> (Minutes, u32) {
    let mut snapshot = store.snapshot(tenant).await.expect("a snapshot");
    let mut seen = (range, 1);
    for longest in crate::GRAINS.into_iter().rev() {
        let cells = snapshot.cells(range, longest).await.expect("cells");
        let minutes = cells.minutes;
        assert!(minutes.from <= range.from && minutes.to >= range.to, "{range:?} became {minutes:?}");
        assert!(range.from - minutes.from < 60 && minutes.to - range.to < 60, "{range:?}: {minutes:?}");
        assert_eq!(
            total(&cells.blobs, minutes),
            total(truth, minutes),
            "{range:?} by {longest}: {minutes:?}"
        );
        seen = (minutes, cells.grain);
    }
    seen
}

fn minutes(from: u32, to: u32) -> Minutes {
    Minutes { from: spans::BASE_MINUTE + from, to: spans::BASE_MINUTE + to }
}

/// Spans of traces of their own that start in certain minutes.
fn at_minutes(first_trace: u64, at: &[u64]) -> Vec<Span> {
    let numbered = (first_trace..).zip(at);
    numbered.map(|(trace, minute)| spans::span(trace, 1, minute * spans::MINUTE_NS)).collect()
}

/// Closed minutes are added up at once, and stay beside for 2 h: long ranges read few blobs, short ones detail.
pub async fn young_minutes_stay_beside(url: &str) {
    let clock = clock_at(70);
    let (store, tenant) = owner_with(url, &clock).await;
    let mut all = at_minutes(1, &[0, 1, 1, 4, 7, 58, 59, 61, 64, 66]);
    for span in &all {
        append(&*store, &tenant, vec![span.clone()]).await.unwrap();
    }
    let read = async |from, to, longest| {
        let mut snapshot = store.snapshot(&tenant).await.unwrap();
        let cells = snapshot.cells(minutes(from, to), longest).await.unwrap();
        let begins = cells.blobs.iter().map(|(minute, _)| minute - spans::BASE_MINUTE);
        (begins.collect::<Vec<_>>(), cells.minutes, cells.grain)
    };
    compact(&*store).await;
    assert_eq!(read(0, 70, 60).await, (vec![0, 60, 66], minutes(0, 70), 1), "66 is not closed for long");
    assert_eq!(read(0, 70, 5).await, (vec![0, 5, 55, 60, 66], minutes(0, 70), 1));
    assert_eq!(read(0, 70, 1).await, (vec![0, 1, 4, 7, 58, 59, 61, 64, 66], minutes(0, 70), 1));
    assert_eq!(
        read(1, 62, 60).await,
        (vec![1, 4, 5, 55, 61], minutes(1, 62), 1),
        "what a range cuts is detail"
    );
    let truth = expected(&all, usize::MAX);
    for range in [(0, 70), (1, 62), (4, 5), (0, 60), (58, 59), (60, 70)] {
        let range = minutes(range.0, range.1);
        assert_eq!(check(&*store, &tenant, &truth, range).await, (range, 1));
    }

    // Late ones join the minutes that are kept, and the longer cells.
    let late = at_minutes(20, &[1, 4, 30]);
    append(&*store, &tenant, late.clone()).await.unwrap();
    all.extend(late);
    let truth = expected(&all, usize::MAX);
    for _ in 0..2 {
        for range in [(0, 70), (1, 62), (4, 5), (0, 60), (30, 31)] {
            let range = minutes(range.0, range.1);
            assert_eq!(check(&*store, &tenant, &truth, range).await, (range, 1));
        }
        compact(&*store).await;
    }
    assert_eq!(read(0, 70, 60).await.0, [0, 60, 66]);
    assert_eq!(read(0, 30, 1).await.0, [0, 1, 4, 7]);

    clock.set(clock.now_us() + 2 * 60 * MINUTE_US);
    assert_eq!(compact(&*store).await.last(), Some(&tenant), "windows may be wider now");
    assert_eq!(read(1, 62, 1).await, (vec![0, 5, 30, 55, 60], minutes(0, 65), 5));
    assert!(compact(&*store).await.is_empty());
    // Nothing is left for them to be kept beside.
    append(&*store, &tenant, at_minutes(30, &[2])).await.unwrap();
    clock.set(clock.now_us() - 2 * 60 * MINUTE_US);
    compact(&*store).await;
    assert_eq!(
        read(2, 3, 1).await,
        (vec![0], minutes(0, 5), 5),
        "some minutes of 5 would say less than the 5"
    );
}

/// Minutes become 5 minutes, for good after 2 h, and hours after 48 h; no number changes, windows get wider, once.
pub async fn cells_grow_with_age(url: &str) {
    let clock = clock_at(600);
    let (store, tenant) = owner_with(url, &clock).await;
    let all = at_minutes(1, &[0, 1, 4, 7, 59, 61, 130, 475, 481, 600]);
    for span in &all {
        append(&*store, &tenant, vec![span.clone()]).await.unwrap();
    }
    let truth = expected(&all, usize::MAX);
    let at = async |from, to| check(&*store, &tenant, &truth, minutes(from, to)).await;
    assert_eq!(at(1, 8).await, (minutes(1, 8), 1), "nothing is merged yet");

    let before = picture(&*store, &tenant, &all).await;
    assert_eq!(compact(&*store).await.last(), Some(&tenant));
    assert_eq!(at(1, 8).await, (minutes(0, 10), 5));
    assert_eq!(at(2, 3).await, (minutes(0, 5), 5));
    assert_eq!(at(0, 60).await, (minutes(0, 60), 5));
    assert_eq!(at(10, 12).await, (minutes(10, 12), 1), "where nothing is, nothing is wider");
    assert_eq!(at(0, 600).await, (minutes(0, 600), 5));
    assert_eq!(at(476, 482).await, (minutes(475, 482), 5), "until 480 it is two hours old");
    assert_eq!(at(481, 482).await, (minutes(481, 482), 1));
    let after = picture(&*store, &tenant, &all).await;
    assert!(after.data > before.data, "windows are wider, so answers may be");
    assert_eq!((after.range, after.totals, &after.spans), (before.range, before.totals, &before.spans));
    let snapshot = store.snapshot(&tenant).await.unwrap();
    assert_eq!(snapshot.updated_us(), before.data, "no newer data");
    drop(snapshot);
    assert!(compact(&*store).await.is_empty(), "nothing is left to do");
    assert_eq!(picture(&*store, &tenant, &all).await, after);

    clock.set(clock.now_us() + 2 * DAY_US + 60 * MINUTE_US);
    compact(&*store).await;
    assert_eq!(at(2, 3).await, (minutes(0, 60), 60));
    assert_eq!(at(475, 482).await, (minutes(420, 540), 60));
    assert_eq!(at(121, 122).await, (minutes(120, 180), 60));
    assert_eq!(at(0, 601).await, (minutes(0, 660), 60));
    assert!(compact(&*store).await.is_empty());
}

/// Late spans, updates and what they take back add up with cells of any length.
pub async fn late_data_join_longer_cells(url: &str) {
    let clock = clock_at(600);
    let (store, tenant) = owner_with(url, &clock).await;
    let mut all = spans::trace(1, 12);
    append(&*store, &tenant, all[..5].to_vec()).await.unwrap();
    for (age, more) in [(0, 5..8), (1, 8..10), (3 * 1_440, 10..12)] {
        clock.set(clock.now_us() + age * MINUTE_US);
        compact(&*store).await;
        append(&*store, &tenant, all[more.clone()].to_vec()).await.unwrap();
        // A better version of a stored span: what it added before is taken back.
        all[1].end_ns = all[1].end_ns.map(|end| end + 40_000_000);
        append(&*store, &tenant, vec![all[1].clone()]).await.unwrap();
        let truth = expected(&all[..more.end], usize::MAX);
        for _ in 0..2 {
            for (from, to) in [(0, 60), (0, 1), (0, 5), (3, 4), (0, 600)] {
                check(&*store, &tenant, &truth, minutes(from, to)).await;
            }
            compact(&*store).await;
        }
    }
    let truth = expected(&all, usize::MAX);
    assert_eq!(check(&*store, &tenant, &truth, minutes(0, 1)).await, (minutes(0, 60), 60));
}

/// Only the server compacts and drops; a command beside it is refused.
pub async fn upkeep_is_the_owners(url: &str) {
    let store = open_at(url, &Clock::default()).await;
    assert!(matches!(store.compact(Place::default()).await, Err(Error::NotOwner(_))));
    assert!(matches!(store.retain(RETENTION).await, Err(Error::NotOwner(_))));
    assert_eq!(store.purge().await.unwrap().next, None, "everybody may, and there is nothing to do");
}

/// A day of spans goes when all of it is too old; its rollups stay, and those who had nothing in it see no change.
pub async fn old_days_go(url: &str) {
    let clock = clock_at(1_440 + 10);
    let (store, tenant) = owner_with(url, &clock).await;
    store.create_tenant(&id("later"), "").await.unwrap();
    let (old, new) = (at_minutes(1, &[0, 1_439]), at_minutes(3, &[1_441, 1_440, 1_505]));
    append(&*store, &tenant, old.clone()).await.unwrap();
    append(&*store, &tenant, new.clone()).await.unwrap();
    append(&*store, &id("later"), new.clone()).await.unwrap();
    let all = [old.clone(), new.clone()].concat();
    let (before, later) = (picture(&*store, &tenant, &all).await, picture(&*store, &id("later"), &all).await);
    assert!(retain(&*store, RETENTION).await.is_empty(), "a part of the day is not too old");

    clock.set(clock.now_us() + DAY_US);
    let mut open = store.snapshot(&tenant).await.unwrap();
    assert_eq!(retain(&*store, RETENTION).await.as_slice(), std::slice::from_ref(&tenant));
    assert_eq!(super::picture_of(&mut *open, &all).await, before, "an open snapshot stands still");
    drop(open);
    let after = picture(&*store, &tenant, &all).await;
    assert_eq!(after.spans, new);
    assert_eq!(after.range, (before.range.0, Some(new[1].start_ns)));
    assert_eq!((after.totals, &after.rollups), (before.totals, &before.rollups));
    assert!(after.data > before.data);
    assert_eq!(picture(&*store, &id("later"), &all).await, later);
    assert!(retain(&*store, RETENTION).await.is_empty(), "once");

    // The last one: nothing is stored, and yet windows end where the data ended.
    clock.set(clock.now_us() + DAY_US);
    retain(&*store, RETENTION).await;
    assert_eq!(picture(&*store, &tenant, &all).await.range, (before.range.0, None));
}

/// What is sent again of a dropped day counts once: nobody knows its spans any more, so they are refused, by whoever
/// writes, also after a restart and when more is kept from now on.
pub async fn dropped_days_stay_gone(url: &str) {
    let clock = clock_at(1_440 + 10);
    let (store, tenant) = owner_with(url, &clock).await;
    let beside = open_at(url, &clock).await;
    let all = at_minutes(1, &[0, 1_439, 1_441, 1_440]);
    for store in [&store, &beside] {
        append(&**store, &tenant, all.clone()).await.unwrap();
        assert_eq!(store.kept().await.unwrap().from_ns, 0);
    }
    clock.set(clock.now_us() + DAY_US);
    retain(&*store, RETENTION).await;
    let left = picture(&*store, &tenant, &all).await;
    assert_eq!(left.spans.len(), 2);
    let again = async |store: &dyn Store| {
        let appended = append(store, &tenant, all.clone()).await.unwrap();
        assert_eq!((appended.accepted, appended.duplicates, appended.expired), (0, 2, 2));
        let found = picture(store, &tenant, &all).await;
        assert_eq!((found.rollups, found.spans), (left.rollups.clone(), left.spans.clone()));
        let midnight = spans::BASE_NS + 1_440 * spans::MINUTE_NS;
        assert_eq!(store.kept().await.unwrap().from_ns, midnight);
    };
    again(&*store).await;
    again(&*beside).await;
    store.close().await;
    again(&*open_owner(url, &clock).await).await;
    // Of a day that was never stored, something may still come.
    let earlier = vec![spans::span(77, 1, 1_442 * spans::MINUTE_NS)];
    assert_eq!(append(&*beside, &tenant, earlier).await.unwrap().accepted, 1);
}

/// A database says how long it keeps spans, and only its server does.
pub async fn a_retention_is_told(url: &str) {
    let clock = clock_at(10);
    let (store, _) = owner_with(url, &clock).await;
    let beside = open_at(url, &clock).await;
    assert_eq!(beside.kept().await.unwrap().spans, None);
    store.note_retention(RETENTION).await.unwrap();
    assert_eq!(beside.kept().await.unwrap().spans, Some(RETENTION.spans));
    assert!(matches!(beside.note_retention(RETENTION).await, Err(Error::NotOwner(_))));
}

/// A wall clock that jumps ahead, with or without a restart, drops nothing; time that passes does, though nothing is sent.
pub async fn a_clock_that_jumps_drops_nothing(url: &str) {
    let clock = clock_at(1_440 + 10);
    let (store, tenant) = owner_with(url, &clock).await;
    let all = at_minutes(1, &[0, 1_430]);
    append(&*store, &tenant, all.clone()).await.unwrap();
    retain(&*store, RETENTION).await;
    let (before, right) = (picture(&*store, &tenant, &all).await, clock.now_us());
    clock.jump(right + 100 * DAY_US);
    assert!(retain(&*store, RETENTION).await.is_empty());
    assert!(store.retain(RETENTION).await.unwrap().held_back);
    store.close().await;
    let store = open_owner(url, &clock).await;
    clock.set(clock.now_us() + MINUTE_US);
    assert!(retain(&*store, RETENTION).await.is_empty(), "a start does not make it right");
    clock.jump(right + 2 * MINUTE_US);
    assert!(!store.retain(RETENTION).await.unwrap().held_back);
    assert_eq!(picture(&*store, &tenant, &all).await, before);
    clock.set(clock.now_us() + 4 * DAY_US);
    retain(&*store, RETENTION).await;
    let after = picture(&*store, &tenant, &all).await;
    assert_eq!((after.spans, after.rollups), (vec![], vec![]));
}

/// Rollups go by hours.
pub async fn old_rollups_go(url: &str) {
    let clock = clock_at(600);
    let (store, tenant) = owner_with(url, &clock).await;
    let all = at_minutes(1, &[0, 59, 60, 300]);
    append(&*store, &tenant, all.clone()).await.unwrap();
    clock.set(spans::BASE_NS / 1_000 + 3 * DAY_US + 119 * MINUTE_US);
    compact(&*store).await;
    assert!(retain(&*store, RETENTION).await.contains(&tenant));
    let truth = expected(&all[2..], usize::MAX);
    check(&*store, &tenant, &truth, minutes(0, 600)).await;
    clock.set(clock.now_us() + DAY_US);
    retain(&*store, RETENTION).await;
    check(&*store, &tenant, &[], minutes(0, 600)).await;
}

/// A deleted tenant is gone at once; purging goes on after a crash, by whoever comes.
pub async fn purging_is_finished_by_others(url: &str) {
    let clock = clock_at(600);
    let (store, tenant) = owner_with(url, &clock).await;
    store.create_tenant(&id("kept"), "").await.unwrap();
    for round in 0..5 {
        append(&*store, &tenant, spans::trace(round, 50)).await.unwrap();
        append(&*store, &id("kept"), spans::trace(round, 50)).await.unwrap();
    }
    let kept = picture(&*store, &id("kept"), &spans::trace(1, 50)).await;
    store.delete_tenant(&tenant).await.unwrap();
    assert!(matches!(store.snapshot(&tenant).await.map(|_| ()), Err(Error::NotFound(_))));
    assert!(store.purge().await.unwrap().next.is_some(), "it takes more than one step");
    // A new one of the name begins while the old one still goes.
    store.create_tenant(&tenant, "").await.unwrap();
    append(&*store, &tenant, spans::trace(1, 9)).await.unwrap();
    drop(store);
    let store = open_at(url, &clock).await;
    purge(&*store).await;
    assert_eq!(picture(&*store, &id("kept"), &spans::trace(1, 50)).await, kept);
    let new = picture(&*store, &tenant, &spans::trace(1, 50)).await;
    assert_eq!((new.spans.len(), new.totals.spans), (9, 9));
}

fn lengthen(spans: &mut [Span]) {
    for span in spans {
        span.end_ns = span.end_ns.map(|end| end + 1);
    }
}

/// A batch that could exceed the quota is refused whole, others of its group are not, and a new day begins at midnight.
pub async fn a_quota_holds_for_a_day(url: &str) {
    let clock = clock_at(1_430);
    let options = || Options::new(Role::Guest, clock.reader()).quota_spans_per_day(Some(10));
    let store = crate::open(url, options()).await.unwrap();
    let (tenant, other) = (id("acme"), id("other"));
    for tenant in [&tenant, &other] {
        store.create_tenant(tenant, "").await.unwrap();
    }
    let batch = |tenant: &TenantId, trace, count| crate::Batch {
        created_us: None,
        tenant: tenant.clone(),
        spans: spans::trace(trace, count),
    };
    let answers = store
        .append(vec![batch(&tenant, 1, 6), batch(&tenant, 2, 5), batch(&other, 1, 10), batch(&tenant, 3, 4)])
        .await
        .unwrap();
    let accepted: Vec<_> =
        answers.iter().map(|answer| answer.as_ref().map_or(0, |done| done.accepted)).collect();
    assert_eq!(accepted, [6, 0, 10, 4]);
    let refused = answers[1].as_ref().unwrap_err();
    let ten_minutes = Duration::from_mins(10);
    assert!(
        matches!(refused, Error::Quota { quota: 10, left: 4, retry_after } if *retry_after == ten_minutes),
        "{refused:?}"
    );
    let seen = picture(&*store, &tenant, &spans::trace(2, 5)).await;
    assert_eq!((seen.spans.len(), seen.totals.spans), (0, 10), "nothing of it was stored");
    assert!(matches!(append(&*store, &tenant, spans::trace(4, 1)).await, Err(Error::Quota { .. })));
    // Another process counts on.
    let next = crate::open(url, options()).await.unwrap();
    assert!(matches!(append(&*next, &other, spans::trace(4, 1)).await, Err(Error::Quota { .. })));
    assert_eq!(next.snapshot(&tenant).await.unwrap().used_today().await.unwrap(), 10);
    clock.set(clock.now_us() + 10 * MINUTE_US);
    assert_eq!(append(&*next, &tenant, spans::trace(2, 5)).await.unwrap().accepted, 5);
    // Known spans use up nothing, better versions of them do: they are stored.
    assert_eq!(append(&*next, &tenant, spans::trace(2, 5)).await.unwrap().duplicates, 5);
    let used = async || next.snapshot(&tenant).await.unwrap().used_today().await.unwrap();
    assert_eq!(used().await, 5);
    let mut longer = spans::trace(2, 5);
    lengthen(&mut longer);
    assert_eq!(append(&*next, &tenant, longer.clone()).await.unwrap().duplicates, 5);
    assert_eq!(used().await, 10);
    lengthen(&mut longer);
    assert!(matches!(append(&*next, &tenant, longer).await, Err(Error::Quota { .. })));
    // What no day has room for need not come back tomorrow.
    let never = append(&*next, &tenant, spans::trace(5, 11)).await.unwrap_err();
    assert!(matches!(never, Error::BeyondQuota { spans: 11, quota: 10 }), "{never:?}");
}
