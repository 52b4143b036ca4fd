//! Verdicts on minutes, and incidents.

use nexarch_core::{
    ids::TenantId,
    incident::{Change, Happened, Incident, Watch},
    span::{Span, Status, Value},
    uptime::{limit_us, uptime},
    window::Minutes,
};

use super::{
    append, id, purge, spans,
    upkeep::{DAY_US, MINUTE_US, RETENTION, clock_at, compact, owner_with, retain},
};
use crate::{Looked, Noted, Store};

/// Requests of a minute after [`spans::BASE_MINUTE`]: so many, of which the first fail; each a trace of its own.
fn requests(environment: &str, minute: u64, count: u64, failed: u64) -> Vec<Span> {
    (0..count)
        .map(|nth| {
            let mut span = spans::span(1_000 * (minute + 1) + nth, nth + 1, minute * spans::MINUTE_NS + nth);
            if nth < failed {
                span.status = Status::Error;
            }
            let mut resource = (*span.resource).clone();
            let name = Value::Str(environment.into());
            resource.attributes.push(("deployment.environment.name".into(), name));
            span.resource = resource.into();
            span
        })
        .collect()
}

fn minutes(from: u32, to: u32) -> Minutes {
    Minutes { from: spans::BASE_MINUTE + from, to: spans::BASE_MINUTE + to }
}

/// Percentage and coverage of a range of minutes, as a long window is told them.
async fn told(
    store: &dyn Store,
    tenant: &TenantId,
    range: Minutes,
    environment: Option<&str>,
) -> (Option<f64>, Option<f64>) {
    let mut snapshot = store.snapshot(tenant).await.expect("a snapshot");
    let kept = snapshot.verdicts(range, environment).await.expect("verdicts");
    let new = kept.minutes.iter().map(|(minute, blob)| (*minute, blob.as_slice()));
    let found = uptime(&kept.hours, new, range, environment, limit_us(1_000.0)).expect("they can be read");
    (found.percentage, found.coverage)
}

/// The same before the minutes are merged, beside their longer cells, and long after they went; until they go as rollups
/// do. Each environment has its own.
pub async fn verdicts_outlive_minutes(url: &str) {
    let clock = clock_at(58);
    let (store, tenant) = owner_with(url, &clock).await;
    for minute in 0..50 {
        // Down in minutes 7 and 8; of `test` as well in minute 20, where `prod` is busy enough to hide it.
        let failed = if minute == 7 || minute == 8 { 10 } else { 0 };
        append(&*store, &tenant, requests("prod", minute, 50, failed)).await.unwrap();
    }
    let mut test = requests("test", 20, 10, 2);
    for span in &mut test {
        span.trace_id = spans::trace_id(500_000 + u64::from(span.span_id.to_bytes()[7]));
    }
    append(&*store, &tenant, test).await.unwrap();
    let hour = minutes(0, 60);
    let all = (Some(96.0), Some(0.8333));
    for step in ["new", "compacted", "3 hours old", "3 days old"] {
        match step {
            "compacted" => drop(compact(&*store).await),
            "3 hours old" => clock.set(clock.now_us() + 3 * 60 * MINUTE_US),
            "3 days old" => clock.set(spans::BASE_NS / 1_000 + 3 * DAY_US),
            _ => {}
        }
        compact(&*store).await;
        assert_eq!(told(&*store, &tenant, hour, None).await, all, "{step}");
        assert_eq!(told(&*store, &tenant, hour, Some("prod")).await, all, "{step}");
        assert_eq!(told(&*store, &tenant, hour, Some("test")).await, (Some(0.0), Some(0.0167)), "{step}");
        assert_eq!(told(&*store, &tenant, hour, Some("")).await, (None, Some(0.0)), "{step}");
        assert_eq!(told(&*store, &tenant, minutes(5, 9), None).await, (Some(50.0), Some(1.0)), "{step}");
    }
    let mut snapshot = store.snapshot(&tenant).await.unwrap();
    assert_eq!(snapshot.minutes(hour).await.unwrap(), [], "only the hour is left");
    drop(snapshot);
    clock.set(clock.now_us() + DAY_US);
    retain(&*store, RETENTION).await;
    assert_eq!(told(&*store, &tenant, hour, None).await, (None, Some(0.0)));
}

/// As long as minutes are kept, what comes late changes verdicts as if it had been in time, and what is settled takes them
/// back; later they stand, and minutes without any get theirs.
pub async fn late_data_are_judged(url: &str) {
    let clock = clock_at(20);
    let (store, tenant) = owner_with(url, &clock).await;
    append(&*store, &tenant, requests("", 2, 38, 0)).await.unwrap();
    compact(&*store).await;
    let block = minutes(0, 5);
    assert_eq!(told(&*store, &tenant, block, None).await, (Some(100.0), Some(0.2)));
    // Two of 40 are 5 %, a third is more.
    append(&*store, &tenant, requests("", 3, 2, 2)).await.unwrap();
    for step in ["new", "compacted"] {
        assert_eq!(told(&*store, &tenant, block, None).await, (Some(50.0), Some(0.4)), "{step}");
        compact(&*store).await;
    }
    // The failures of minute 3 were none: better versions of the same spans.
    let mut better = requests("", 3, 2, 0);
    for span in &mut better {
        span.end_ns = span.end_ns.map(|end| end + 1_000_000);
    }
    append(&*store, &tenant, better).await.unwrap();
    for step in ["new", "compacted"] {
        assert_eq!(told(&*store, &tenant, block, None).await, (Some(100.0), Some(0.4)), "{step}");
        compact(&*store).await;
    }
    clock.set(clock.now_us() + 3 * 60 * MINUTE_US);
    compact(&*store).await;
    let mut late = requests("", 2, 38, 38);
    for span in &mut late {
        span.trace_id = spans::trace_id(900_000 + u64::from(span.span_id.to_bytes()[7]));
    }
    append(&*store, &tenant, [late, requests("", 4, 20, 20)].concat()).await.unwrap();
    compact(&*store).await;
    assert_eq!(
        told(&*store, &tenant, block, None).await,
        (Some(66.6667), Some(0.6)),
        "minute 4 alone is new"
    );
}

fn incident(name: &str, from: u32, to: Option<u32>) -> Incident {
    Incident {
        id: name.to_owned(),
        from: spans::BASE_MINUTE + from,
        to: to.map(|to| spans::BASE_MINUTE + to),
        root: "shop".to_owned(),
        services: vec![("shop".to_owned(), String::new())],
        signals: Vec::new(),
    }
}

fn change(happened: Happened, incident: Incident) -> Change {
    Change { happened, minute: incident.from + 2, incident, into: None }
}

async fn names(store: &dyn Store, tenant: &TenantId, range: Minutes) -> Vec<String> {
    let mut snapshot = store.snapshot(tenant).await.expect("a snapshot");
    snapshot.incidents(range).await.expect("incidents").into_iter().map(|incident| incident.id).collect()
}

/// Incidents are told as they are now, to their tenant; who looked at an older state is too late.
pub async fn incidents_are_kept(url: &str) {
    let clock = clock_at(60);
    let (store, tenant) = owner_with(url, &clock).await;
    store.create_tenant(&id("other"), "").await.unwrap();
    let data =
        || async { store.versions(std::slice::from_ref(&tenant)).await.unwrap().versions.remove(0).data };
    let look = |revision, changes| Looked { revision, watch: Watch::default(), changes };

    assert_eq!(store.snapshot(&tenant).await.unwrap().watch().await.unwrap(), (0, Watch::default()));
    assert_eq!(store.note_incidents(&tenant, look(0, Vec::new())).await.unwrap(), Noted::Quiet);
    assert_eq!(data().await, 0, "nothing that is told changed");
    let opened = vec![
        change(Happened::Opened, incident("a", 10, None)),
        change(Happened::Opened, incident("b", 20, Some(30))),
    ];
    let overtaken = store.note_incidents(&tenant, look(0, opened.clone())).await.unwrap();
    assert_eq!((overtaken, names(&*store, &tenant, minutes(0, 60)).await.len()), (Noted::Overtaken, 0));
    let noted = store.note_incidents(&tenant, look(1, opened)).await.unwrap();
    let Noted::Changed(versions) = noted else { panic!("{noted:?}") };
    assert_eq!(versions.data, data().await);
    let mut snapshot = store.snapshot(&tenant).await.unwrap();
    assert_eq!((snapshot.watch().await.unwrap().0, snapshot.updated_us()), (2, 0), "no newer data");
    assert_eq!(snapshot.incidents(minutes(0, 60)).await.unwrap()[1], incident("a", 10, None));
    drop(snapshot);

    for (range, expected) in [
        (minutes(0, 10), vec![]),
        (minutes(0, 11), vec!["a"]),
        (minutes(0, 60), vec!["b", "a"]),
        (minutes(29, 60), vec!["b", "a"]),
        (minutes(30, 60), vec!["a"]),
    ] {
        assert_eq!(names(&*store, &tenant, range).await, expected, "{range:?}");
    }
    assert_eq!(names(&*store, &id("other"), minutes(0, 60)).await, [""; 0]);
    let merged = vec![
        change(Happened::Merged, incident("b", 20, Some(30))),
        change(Happened::Closed, incident("a", 10, Some(40))),
    ];
    store.note_incidents(&tenant, look(2, merged)).await.unwrap();
    assert_eq!(names(&*store, &tenant, minutes(0, 60)).await, ["a"]);
    assert_eq!(names(&*store, &tenant, minutes(40, 60)).await, [""; 0]);
    assert_eq!(store.note_incidents(&id("nobody"), look(0, Vec::new())).await.unwrap(), Noted::Overtaken);
}

/// They go with the rollups of their time, and with their tenant.
pub async fn incidents_go(url: &str) {
    let clock = clock_at(60);
    let (store, tenant) = owner_with(url, &clock).await;
    append(&*store, &tenant, requests("", 5, 3, 0)).await.unwrap();
    let changes = [("old", Some(9)), ("newer", Some(75)), ("open", None)];
    let changes = changes.map(|(name, to)| change(Happened::Opened, incident(name, 5, to))).to_vec();
    store.note_incidents(&tenant, Looked { revision: 0, watch: Watch::default(), changes }).await.unwrap();
    clock.set(spans::BASE_NS / 1_000 + 3 * DAY_US + 70 * MINUTE_US);
    compact(&*store).await;
    retain(&*store, RETENTION).await;
    assert_eq!(names(&*store, &tenant, minutes(0, 100)).await, ["newer", "open"]);
    store.delete_tenant(&tenant).await.unwrap();
    purge(&*store).await;
    store.create_tenant(&tenant, "").await.unwrap();
    assert_eq!(names(&*store, &tenant, minutes(0, 100)).await, [""; 0]);
    assert_eq!(store.snapshot(&tenant).await.unwrap().watch().await.unwrap().0, 0);
    assert_eq!(told(&*store, &tenant, minutes(0, 60), None).await, (None, Some(0.0)));
}
