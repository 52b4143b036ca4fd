//! The suite on this backend, and what only it promises.

use std::sync::Arc;

use nexarch_core::trace::Extent;
use sqlx::{Connection, SqliteConnection};
use tempfile::TempDir;

use crate::{
    Error, Options, Role, Store,
    plan::Limits,
    suite::{self, append, clock::Clock, id, picture, property, spans},
};

mod anew;
mod beside;
mod damage;
mod linked;
mod opening;
mod restore;
mod sampled;
mod waiting;

/// A URL in a directory that lives as long as the second part.
fn fresh() -> (String, TempDir) {
    let dir = tempfile::tempdir().expect("a directory");
    (format!("sqlite://{}", dir.path().join("test.db").display()), dir)
}

crate::conformance!(fresh());

fn options(role: Role) -> Options {
    Options::new(role, Clock::default().reader())
}

async fn open(url: &str, role: Role) -> Arc<dyn Store> {
    crate::open(url, options(role)).await.expect("it opens")
}

/// The backend itself, for what happens between two steps of it.
async fn backend(url: &str, options: Options) -> super::Sqlite {
    super::connect::connect(url.trim_start_matches("sqlite:"), options).await.expect("it opens")
}

#[test]
fn order_and_split_do_not_matter() {
    property::order_and_split_do_not_matter(fresh, || options(Role::Guest), usize::MAX);
}

#[test]
fn order_and_split_do_not_matter_to_traces_beyond_the_limit() {
    let limits = Limits {
        inline_trace: 2,
        inline_append: 3,
        settle_trace: 4,
        settle_spans: 2,
        wave: 5,
        ..Limits::default()
    };
    let options = || Options { limits, ..options(Role::Guest) };
    property::order_and_split_do_not_matter(fresh, options, 4);
}

#[test]
fn order_and_split_do_not_matter_to_traces_that_are_settled() {
    let limits = Limits { inline_trace: 2, inline_append: 6, settle_spans: 3, wave: 5, ..Limits::default() };
    let options = || Options { limits, ..options(Role::Guest) };
    property::order_and_split_do_not_matter(fresh, options, usize::MAX);
}

#[test]
fn any_life_adds_up() {
    suite::aging::any_life_adds_up(fresh);
}

#[tokio::test]
async fn writes_of_others_are_noticed_and_own_ones_are_not() {
    let (url, _dir) = fresh();
    let owner = open(&url, Role::Owner).await;
    let tenant = id("acme");
    let changed = async || owner.changed_by_others().await.unwrap();
    assert!(!changed().await);
    owner.create_tenant(&tenant, "").await.unwrap();
    append(&*owner, &tenant, spans::trace(1, 6)[..2].to_vec()).await.unwrap();
    owner.invalidate(&tenant, None).await.unwrap();
    picture(&*owner, &tenant, &spans::trace(1, 6)).await;
    assert!(!changed().await, "its own writes");

    let guest = open(&url, Role::Guest).await;
    guest.versions(&[]).await.unwrap();
    assert!(!changed().await, "reading is not writing");
    append(&*guest, &tenant, spans::trace(1, 6)[2..4].to_vec()).await.unwrap();
    assert!(changed().await, "an import beside it");
    assert!(!changed().await, "told once");
    // Noticed by a transaction in between, and still told.
    guest.create_key(suite::tenants::new_key("acme", "k", 1)).await.unwrap();
    append(&*owner, &tenant, spans::trace(1, 6)[4..].to_vec()).await.unwrap();
    assert!(changed().await, "a new key beside it");
    // The trace that the owner remembered had grown meanwhile.
    let found = picture(&*owner, &tenant, &spans::trace(1, 6)).await;
    assert_eq!(found.spans.len(), 6);
    assert_eq!(found.rollups, property::expected(&found.spans, usize::MAX));
    assert_eq!(append(&*owner, &tenant, spans::trace(1, 6)).await.unwrap().duplicates, 6);
}

#[tokio::test]
async fn a_full_database_refuses_and_recovers() {
    let (url, _dir) = fresh();
    let store = crate::open(&url, options(Role::Owner).max_pages(120)).await.unwrap();
    let (keep, fill) = (id("keep"), id("fill"));
    store.create_tenant(&keep, "").await.unwrap();
    store.create_tenant(&fill, "").await.unwrap();
    append(&*store, &keep, spans::trace(1, 10)).await.unwrap();
    let mut number = 1;
    let refused = loop {
        number += 1;
        assert!(number < 1_000, "the limit is not reached");
        match append(&*store, &fill, spans::trace(number, 100)).await {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(
        matches!(&refused, Error::Unavailable { retry_after, .. } if !retry_after.is_zero()),
        "{refused:?}"
    );
    let before = picture(&*store, &fill, &spans::trace(number, 100)).await;
    assert!(before.spans.is_empty(), "a refused batch left spans");
    assert_eq!(before.totals.spans, (number - 2) * 100);
    // Readers and small writers go on; a batch of spans is refused again, without a trace.
    let group = vec![
        crate::Batch { created_us: None, tenant: keep.clone(), spans: spans::trace(2, 1) },
        crate::Batch { created_us: None, tenant: fill.clone(), spans: spans::trace(number, 100) },
    ];
    assert!(matches!(store.append(group).await, Err(Error::Unavailable { .. })));
    assert_eq!(picture(&*store, &fill, &spans::trace(number, 100)).await, before);
    assert_eq!(picture(&*store, &keep, &[]).await.totals.spans, 10);
    // Room is made, without a restart.
    store.delete_tenant(&fill).await.unwrap();
    suite::purge(&*store).await;
    store.create_tenant(&fill, "").await.unwrap();
    assert_eq!(append(&*store, &fill, spans::trace(number, 100)).await.unwrap().accepted, 100);
    let found = picture(&*store, &fill, &spans::trace(number, 100)).await;
    assert_eq!(found.rollups, property::expected(&found.spans, usize::MAX));
}

#[tokio::test]
async fn commits_are_synced() {
    let (url, _dir) = fresh();
    let store = open(&url, Role::Owner).await;
    let settings = store.settings().await.unwrap();
    let value =
        |name: &str| settings.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str());
    assert_eq!(value("journal_mode"), Some("wal"));
    assert_eq!(value("synchronous"), Some("2"), "FULL");
    assert_eq!(value("foreign_keys"), Some("1"));
    assert_eq!(value("page_size"), Some(crate::PAGE_BYTES.to_string().as_str()));
}

#[tokio::test]
async fn two_databases_have_two_epochs() {
    let ((one, _one), (two, _two)) = (fresh(), fresh());
    let one = open(&one, Role::Owner).await.versions(&[]).await.unwrap().epoch;
    assert_ne!(one, open(&two, Role::Owner).await.versions(&[]).await.unwrap().epoch);
}

/// How large a trace is, is asked of its own tenant alone.
#[tokio::test]
async fn a_large_trace_of_one_tenant_is_not_large_for_another() {
    let (url, _dir) = fresh();
    let limits = Limits { inline_trace: 5, settle_trace: 5, wave: 5, ..Limits::default() };
    let open = async || crate::open(&url, Options { limits, ..options(Role::Guest) }).await.unwrap();
    let store = open().await;
    for (tenant, spans) in [("large", spans::trace(1, 9)), ("small", spans::trace(1, 2))] {
        store.create_tenant(&id(tenant), "").await.unwrap();
        append(&*store, &id(tenant), spans).await.unwrap();
    }
    // One that remembers nothing has to look.
    append(&*open().await, &id("small"), spans::trace(1, 4)).await.unwrap();
    append(&*open().await, &id("large"), spans::trace(1, 12)).await.unwrap();
    property::settle_all(&*store).await;
    let rollups = async |tenant| suite::folded(&*store, &id(tenant)).await;
    assert_eq!(rollups("small").await, property::expected(&spans::trace(1, 4), 5));
    assert_eq!(rollups("large").await, property::expected(&spans::trace(1, 12), 5));
    assert_ne!(property::expected(&spans::trace(1, 4), 5), property::expected(&spans::trace(1, 4), 1));
}

/// Nothing of a deleted tenant stays in the file's tables, seen or unseen.
#[tokio::test]
async fn deleting_leaves_no_rows() {
    let (url, _dir) = fresh();
    let store = open(&url, Role::Guest).await;
    for tenant in ["gone", "kept"] {
        store.create_tenant(&id(tenant), "").await.unwrap();
        append(&*store, &id(tenant), spans::trace(1, 30)).await.unwrap();
        store.create_key(suite::tenants::new_key(tenant, tenant, tenant.as_bytes()[0])).await.unwrap();
    }
    store.delete_tenant(&id("gone")).await.unwrap();
    suite::purge(&*store).await;
    store.close().await;
    let mut raw = SqliteConnection::connect(&url).await.unwrap();
    let day = spans::BASE_NS / 86_400_000_000_000;
    for table in ["tenant", "api_key", "rollup", &format!("chunk_{day}"), &format!("trace_{day}")] {
        let sql = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        let rows: i64 = sqlx::query_scalar(sql).fetch_one(&mut raw).await.unwrap();
        assert_eq!(rows, 1, "{table}: one of the tenant that stays");
    }
}

/// Nor does anything of it stay in the log of a database that is in use; who reads an old state is not waited for.
#[tokio::test]
async fn deleting_leaves_nothing_in_the_log() {
    let (url, dir) = fresh();
    let store = open(&url, Role::Owner).await;
    let log = || std::fs::read(dir.path().join("test.db-wal")).unwrap();
    let needle = b"the needle in the log";
    let is_left = || log().windows(needle.len()).any(|window| window == needle);
    for tenant in ["gone", "kept"] {
        let name = if tenant == "gone" { std::str::from_utf8(needle).unwrap() } else { "" };
        store.create_tenant(&id(tenant), name).await.unwrap();
        append(&*store, &id(tenant), spans::trace(1, 30)).await.unwrap();
    }
    store.delete_tenant(&id("gone")).await.unwrap();
    let mut reader = store.snapshot(&id("kept")).await.unwrap();
    suite::purge(&*store).await;
    assert!(is_left(), "the reader needs it; else this tests nothing");
    assert_eq!(reader.trace(spans::trace_id(1), Extent::ALL).await.unwrap().span_count, 30);
    drop(reader);
    // The connection of a dropped snapshot is given back in its own time.
    let busy = async || {
        suite::purge(&*store).await;
        is_left()
    };
    for _ in 0..1_000 {
        if !busy().await {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert!(!is_left());
    append(&*store, &id("kept"), spans::trace(2, 3)).await.unwrap();
    assert_eq!(store.purge().await.unwrap().next, None, "done");
}

/// A new version of a span does not make its trace larger.
#[tokio::test]
async fn updates_do_not_count_towards_the_limit() {
    let (url, _dir) = fresh();
    let limits = Limits { inline_trace: 3, settle_trace: 3, wave: 5, ..Limits::default() };
    let tenant = id("acme");
    let mut all = spans::trace(1, 3);
    for round in 0..4 {
        // Each opened anew, so that the number comes from the index.
        let store = crate::open(&url, Options { limits, ..options(Role::Guest) }).await.unwrap();
        if round == 0 {
            store.create_tenant(&tenant, "").await.unwrap();
        }
        all[1].end_ns = all[1].end_ns.map(|end| end + round * 40_000_000);
        append(&*store, &tenant, all.clone()).await.unwrap();
        assert!(!store.settle(u64::MAX, None).await.unwrap().more);
        assert_eq!(suite::folded(&*store, &tenant).await, property::expected(&all, 3));
        assert_ne!(property::expected(&all, 3), property::expected(&all, 1));
    }
}

/// Chunks are settled in the order of storing, also when a later one would still have room: the first that holds a span
/// is the one in whose preview it counts.
#[tokio::test]
async fn chunks_are_settled_in_order() {
    let (url, _dir) = fresh();
    let limits = Limits { inline_trace: 1, settle_spans: 3, ..Limits::default() };
    let store = crate::open(&url, Options { limits, ..options(Role::Guest) }).await.unwrap();
    let tenant = id("acme");
    store.create_tenant(&tenant, "").await.unwrap();
    let mut all = spans::trace(1, 8);
    for range in [0..2, 2..3, 3..6] {
        append(&*store, &tenant, all[range].to_vec()).await.unwrap();
    }
    // A request: its duration is in its preview, so it matters which version was counted.
    all[5].end_ns = all[5].end_ns.map(|end| end + 70_000_000);
    append(&*store, &tenant, vec![all[5].clone(), all[6].clone()]).await.unwrap();
    append(&*store, &tenant, vec![all[7].clone()]).await.unwrap();
    let mut rounds = 1;
    while store.settle(u64::MAX, None).await.unwrap().more {
        rounds += 1;
    }
    assert_eq!(rounds, 3, "one of the first, three of the second, the rest");
    assert_eq!(suite::folded(&*store, &tenant).await, property::expected(&all, usize::MAX));
}

/// However many snapshots there are, and however long they stay.
#[tokio::test]
async fn keys_are_found_while_all_readers_are_busy() {
    let (url, _dir) = fresh();
    let (store, tenant) = (open(&url, Role::Owner).await, id("acme"));
    store.create_tenant(&tenant, "").await.unwrap();
    let mut snapshots = Vec::new();
    let none_left = std::time::Duration::from_millis(50);
    while let Ok(snapshot) = tokio::time::timeout(none_left, store.snapshot(&tenant)).await {
        snapshots.push(snapshot.unwrap());
    }
    assert!(!snapshots.is_empty());
    let found = tokio::time::timeout(std::time::Duration::from_secs(2), store.find_key(&[7; 32])).await;
    assert!(found.expect("no reader is needed").unwrap().is_none());
    drop(snapshots);
    store.close().await;
}
