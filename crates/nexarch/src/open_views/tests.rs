use super::*;
use crate::view::Range;

const TICK: Duration = Duration::from_millis(100);

fn id(tenant: &str) -> TenantId {
    tenant.parse().unwrap()
}

fn note(views: &OpenViews, tenant: &str, name: &str, now: Instant) {
    let view = View::Service(Range::default(), name.to_owned());
    views.note(&id(tenant), &Scope::new(tenant).unwrap(), &view, &view.key(), now);
}

/// Takes everything that is due at a version, as computed.
fn take(views: &OpenViews, version: u64, now: Instant) -> Vec<String> {
    let mut taken = Vec::new();
    loop {
        let due = views.due(now, false, |_| Some(version));
        if due.is_empty() {
            return taken;
        }
        for one in due {
            views.done(&one, Some(now));
            let View::Service(_, name) = one.view else { panic!() };
            taken.push(format!("{}/{name}", one.tenant));
        }
    }
}

#[test]
fn what_is_open_is_due_once_after_a_quiet_moment() {
    let (views, start) = (OpenViews::default(), Instant::now());
    note(&views, "acme", "a", start);
    note(&views, "acme", "b", start + TICK);
    note(&views, "zoo", "c", start);
    assert!(take(&views, 7, start + TICK).is_empty(), "just changed");
    assert!(take(&views, 7, start + QUIET).is_empty(), "not quiet for long enough");
    assert_eq!(take(&views, 7, start + QUIET + TICK), ["acme/b", "zoo/c", "acme/a"], "tenants take turns");
    assert!(take(&views, 7, start + SPACING * 3).is_empty(), "nothing changed");
    views.forget(&id("acme"));
    assert!(views.due(start, false, |_| Some(8)).is_empty() && take(&views, 8, start + OPEN).is_empty());
}

/// A change every 100 ms for an hour, while somebody reads every second, computes nothing ahead.
#[test]
fn what_changes_faster_than_it_is_read_is_left_to_its_readers() {
    let (views, start) = (OpenViews::default(), Instant::now());
    for nth in 0..36_000u32 {
        let now = start + TICK * nth;
        if nth % 10 == 0 {
            note(&views, "acme", "a", now);
        }
        assert!(take(&views, u64::from(nth) + 1, now).is_empty(), "after {nth} changes");
    }
}

/// A change every 100 ms for an hour; in the first half of it one view is read three times between them, and another five
/// times. Each change is answered by one computation of both at once, and none is for nobody but the last.
#[test]
fn what_is_read_faster_than_it_changes_is_due_at_once_and_once_for_each_change() {
    let (views, start) = (OpenViews::default(), Instant::now());
    let (mut taken, mut unread) = (0, 0);
    for nth in 0..36_000u32 {
        let now = start + TICK * nth;
        let is_read = nth < 18_000;
        let due = take(&views, u64::from(nth) + 1, now);
        assert!(take(&views, u64::from(nth) + 1, now + TICK / 2).is_empty(), "twice for one change");
        match due.as_slice() {
            [often, rarely] => assert_eq!([&**often, &**rarely], ["acme/often", "acme/rarely"]),
            // A habit takes some changes.
            other => assert!(nth < 5 || !is_read, "change {nth}: {other:?}"),
        }
        taken += due.len();
        if is_read {
            (0..3).for_each(|_| note(&views, "acme", "rarely", now));
            (0..5).for_each(|_| note(&views, "acme", "often", now));
        } else {
            unread += due.len();
        }
    }
    assert!(taken > 35_900 && unread <= 2, "{taken} computations, {unread} for nobody");
}

#[test]
fn who_rests_is_told_only_of_what_is_due_at_once() {
    let (views, start) = (OpenViews::default(), Instant::now());
    let due = |now, resting, version| -> Vec<(String, bool)> {
        let due = views.due(now, resting, |_| Some(version));
        due.into_iter().map(|one| (one.key.into_string(), one.at_once)).collect()
    };
    let [slow, fast] = ["slow", "fast"].map(|name| View::Service(Range::default(), name.to_owned()).key());
    for version in 1..5 {
        (0..4).for_each(|_| note(&views, "acme", "fast", start));
        due(start, true, version);
    }
    note(&views, "acme", "slow", start);
    assert_eq!(due(start + QUIET, true, 4), [(fast.clone(), true)], "still not done");
    for one in views.due(start + QUIET, true, |_| Some(4)) {
        views.done(&one, Some(start));
    }
    assert!(due(start + QUIET, true, 4).is_empty(), "the other one has time");
    assert_eq!(due(start + QUIET, false, 4), [(slow, false)]);
}

/// Changes that leave quiet moments: as often as somebody reads, never closer than the spacing, once for nobody.
#[test]
fn each_computation_was_asked_for_and_has_its_distance() {
    let (views, start) = (OpenViews::default(), Instant::now());
    note(&views, "acme", "a", start);
    let mut taken = Vec::new();
    for nth in 0..600u32 {
        let now = start + TICK * nth;
        // Every two seconds something changes; for half a minute somebody reads, not twice between two changes.
        if nth % 15 == 0 && nth < 300 {
            note(&views, "acme", "a", now);
        }
        taken.extend(take(&views, u64::from(nth / 20) + 1, now).iter().map(|_| now));
    }
    assert!(taken.windows(2).all(|two| two[1] - two[0] >= SPACING), "{taken:?}");
    assert!((5..=7).contains(&taken.len()), "{} computations", taken.len());
    let unread = taken.iter().filter(|at| **at > start + TICK * 300).count();
    assert!(unread <= 1, "{unread} for nobody");
}

#[test]
fn what_was_closed_is_forgotten_and_memory_is_bounded() {
    let (views, start) = (OpenViews::default(), Instant::now());
    note(&views, "acme", "a", start);
    views.close(start + OPEN);
    assert!(views.shards.iter().all(|shard| shard.lock().unwrap().is_empty()));
    for nth in 0..2_000u32 {
        note(&views, "acme", &nth.to_string(), start + TICK * nth);
        note(&views, &format!("t{nth}"), "x", start);
    }
    let tenants: usize = views.shards.iter().map(|shard| shard.lock().unwrap().len()).sum();
    assert!(tenants <= SHARDS * MAX_TENANTS, "{tenants}");
    let shard = views.shard(&id("acme"));
    let kept: Vec<&str> = shard[&id("acme")].views.iter().map(|open| &*open.key).collect();
    assert_eq!(kept.len(), MAX_VIEWS);
    assert!(kept.iter().any(|key| key.contains("1999")), "the latest is kept: {kept:?}");
}
