//! A damaged chunk costs what is in it, and nothing that comes after it.

use std::sync::Arc;

use nexarch_core::trace::Extent;
use sqlx::{AssertSqlSafe, Connection, SqliteConnection, raw_sql};

use super::{fresh, open, options};
use crate::{
    Batch, Error, Options, Role, Store, UNREADABLE,
    plan::Limits,
    suite::{append, folded, id, picture, property, spans},
};

/// Makes the hot block of a chunk of the first day unreadable.
async fn damage(url: &str, chunk: i64) {
    let mut raw = SqliteConnection::connect(url).await.unwrap();
    let day = spans::BASE_NS / 86_400_000_000_000;
    let sql = format!("UPDATE chunk_{day} SET hot = zeroblob(40) WHERE id = {chunk}");
    assert_eq!(raw_sql(AssertSqlSafe(sql)).execute(&mut raw).await.unwrap().rows_affected(), 1);
    raw.close().await.unwrap();
}

async fn unreadable(store: &dyn Store, tenant: &str) -> u64 {
    store.snapshot(&id(tenant)).await.unwrap().diagnostics().await.unwrap().count(UNREADABLE)
}

/// Appends to its trace go on, whoever else is in the group, and are counted; who asks for the trace is told.
#[tokio::test]
async fn a_damaged_chunk_does_not_keep_new_spans_out() {
    let (url, _dir) = fresh();
    let store = open(&url, Role::Guest).await;
    for tenant in ["bad", "good"] {
        store.create_tenant(&id(tenant), "").await.unwrap();
        append(&*store, &id(tenant), spans::trace(1, 3)).await.unwrap();
    }
    store.close().await;
    damage(&url, 1).await;
    let store = open(&url, Role::Guest).await;
    let batch = |tenant| Batch {
        created_us: None,
        tenant: id(tenant),
        spans: [spans::trace(1, 5), spans::trace(2, 4)].concat(),
    };
    let answers = store.append(vec![batch("bad"), batch("good")]).await.unwrap();
    let counts = |place: usize| {
        let answer = answers[place].as_ref().unwrap();
        (answer.accepted, answer.duplicates)
    };
    assert_eq!(counts(0), (9, 0), "what was lost is new when it comes again");
    assert_eq!(counts(1), (6, 3));
    assert_eq!((unreadable(&*store, "bad").await, unreadable(&*store, "good").await), (1, 0));
    let mut snapshot = store.snapshot(&id("bad")).await.unwrap();
    assert!(matches!(snapshot.trace(spans::trace_id(1), Extent::ALL).await, Err(Error::Internal(_))));
    assert_eq!(snapshot.trace(spans::trace_id(2), Extent::ALL).await.unwrap().spans, spans::trace(2, 4));
    // And again, to one that remembers nothing: known spans are known.
    let store = open(&url, Role::Guest).await;
    let again = store.append(vec![batch("bad")]).await.unwrap().remove(0).unwrap();
    assert_eq!((again.accepted, again.duplicates), (0, 9));
}

/// Settling passes over what it cannot read, once, and says so; the trace is not tried again for ever.
#[tokio::test]
async fn a_damaged_chunk_does_not_keep_a_trace_unsettled() {
    let (url, _dir) = fresh();
    let limits = Limits { inline_trace: 3, ..Limits::default() };
    let open = async || -> Arc<dyn Store> {
        crate::open(&url, Options { limits, ..options(Role::Guest) }).await.unwrap()
    };
    let (store, tenant) = (open().await, id("bad"));
    store.create_tenant(&tenant, "").await.unwrap();
    let all = spans::trace(1, 12);
    for range in [0..6, 6..9, 9..12] {
        append(&*store, &tenant, all[range].to_vec()).await.unwrap();
    }
    append(&*store, &tenant, spans::trace(2, 4)).await.unwrap();
    append(&*store, &tenant, spans::trace(2, 5)[4..].to_vec()).await.unwrap();
    damage(&url, 2).await;
    let store = open().await;
    let round = store.settle(u64::MAX, None).await.unwrap();
    assert_eq!((&round.unreadable, round.failed.len(), round.more), (&vec![(tenant.clone(), 1)], 0, false));
    assert_eq!(unreadable(&*store, "bad").await, 1);
    let seen = store.snapshot(&tenant).await.unwrap().diagnostics().await.unwrap();
    assert_eq!(seen.unsettled_traces, 0);
    // What the lost chunk contributed by its preview stays; the rest is settled together.
    let rest = [&all[..6], &all[9..], &spans::trace(2, 5)].concat();
    let mut sum = property::delta(&rest, usize::MAX);
    sum.add(&property::delta(&all[6..9], usize::MAX));
    assert_eq!(folded(&*store, &tenant).await, crate::suite::fold(sum.encode()));
    // Nobody tries again.
    let round = store.settle(u64::MAX, None).await.unwrap();
    assert!(round.unreadable.is_empty() && round.changed.is_empty());
    append(&*store, &tenant, spans::trace(1, 15)[12..].to_vec()).await.unwrap();
    property::settle_all(&*store).await;
    assert_eq!(picture(&*store, &tenant, &spans::trace(2, 5)).await.spans, spans::trace(2, 5));
}
