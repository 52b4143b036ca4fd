//! Two processes on one file: neither loses a batch to the other, whatever upkeep does; and what deleting leaves.

use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::{Connection, SqliteConnection};

use super::{fresh, open};
use crate::{
    Options, Role, Store,
    sqlite::compact::Horizon,
    suite::{
        append, id, picture, property, purge, spans,
        upkeep::{DAY_US, RETENTION, clock_at, compact, open_owner, retain},
    },
};

/// A server that compacts, drops and purges while a command imports, purges and revokes: every append succeeds, and all
/// sums fit.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn upkeep_beside_another_writer_loses_nothing() {
    let (url, _dir) = fresh();
    let clock = clock_at(3 * 1_440);
    let server = open_owner(&url, &clock).await;
    let import = crate::open(&url, Options::new(Role::Guest, clock.reader())).await.unwrap();
    for tenant in ["server", "import"] {
        server.create_tenant(&id(tenant), "").await.unwrap();
    }
    let writing = AtomicBool::new(true);
    let write = async |store: &dyn Store, tenant: &str| {
        for number in 0..30 {
            let gone = id(&format!("{tenant}-{number}"));
            store.create_tenant(&gone, "").await.unwrap();
            append(store, &gone, spans::trace(number, 20)).await.unwrap();
            append(store, &id(tenant), spans::trace(number, 20)).await.unwrap();
            store.delete_tenant(&gone).await.unwrap();
        }
    };
    let both = async {
        tokio::join!(write(&*server, "server"), write(&*import, "import"));
        writing.store(false, Ordering::SeqCst);
    };
    let keep = crate::Retention { spans: std::time::Duration::from_hours(14 * 24), ..RETENTION };
    let upkeep = async {
        let (mut rounds, mut from) = (0, crate::Place::default());
        while writing.load(Ordering::SeqCst) {
            from = server.compact(from).await.unwrap().next.unwrap_or_default();
            server.retain(keep).await.unwrap();
            server.purge().await.unwrap();
            import.purge().await.unwrap();
            rounds += 1;
        }
        rounds
    };
    let ((), rounds) = tokio::join!(both, upkeep);
    assert!(rounds > 0, "upkeep ran beside the writers: {rounds} rounds");
    purge(&*import).await;
    let all: Vec<_> = (0..30).flat_map(|number| spans::trace(number, 20)).collect();
    compact(&*server).await;
    for tenant in ["server", "import"] {
        let seen = picture(&*server, &id(tenant), &all).await;
        assert_eq!((seen.spans.len(), seen.totals.spans), (600, 600));
        let truth = property::expected(&all, usize::MAX);
        let whole = nexarch_core::window::Minutes { from: spans::BASE_MINUTE, to: spans::BASE_MINUTE + 60 };
        crate::suite::upkeep::check(&*server, &id(tenant), &truth, whole).await;
    }
}

/// After purge and checkpoint no byte of a deleted tenant is in the file: not in tables, not in free pages, not in the
/// unused parts of pages. What stays is its id, with its clock. Its rows lie between those of others and move with them: two
/// days of minutes that are merged as they age, for `SQLite` leaves copies where cells were moved (a few, by chance: the next
/// test puts one there).
#[tokio::test]
async fn nothing_of_a_deleted_tenant_is_left_in_the_file() {
    const MINUTES: u64 = 2_880;
    let (url, dir) = fresh();
    let clock = clock_at(0);
    let store = open_owner(&url, &clock).await;
    let tenants = ["kept", "gone", "last"];
    for tenant in tenants {
        store.create_tenant(&id(tenant), &format!("display name of {tenant}")).await.unwrap();
        store.create_key(crate::suite::tenants::new_key(tenant, tenant, tenant.as_bytes()[0])).await.unwrap();
    }
    let span = |tenant: &str, minute: u64| {
        let mut span = spans::span(minute, 1, minute * spans::MINUTE_NS);
        // Of many lengths, as names are.
        let tail = "x".repeat((minute * 2_654_435_761 % 4_294_967_296 % 131) as usize);
        span.name = format!("{tenant}-operation-{minute}-{tail}").into();
        span.resource = spans::resource(&format!("{tenant}-service"));
        span
    };
    for round in 0..MINUTES / 20 {
        clock.set(clock_at(20 * (round + 1)).now_us());
        let minutes = 20 * round..20 * (round + 1);
        let batch = |tenant: &str| crate::Batch {
            created_us: None,
            tenant: id(tenant),
            spans: minutes.clone().map(|minute| span(tenant, minute)).collect(),
        };
        for stored in store.append(tenants.iter().map(|tenant| batch(tenant)).collect()).await.unwrap() {
            stored.unwrap();
        }
        if round % 3 == 2 {
            compact(&*store).await;
        }
    }
    let blobs = stored_blobs(&url, "gone").await;
    assert!(blobs.len() > 300, "{} blobs", blobs.len());
    store.delete_tenant(&id("gone")).await.unwrap();
    purge(&*store).await;
    store.close().await;
    let file = std::fs::read(dir.path().join("test.db")).unwrap();
    let holds = |needle: &[u8]| file.windows(needle.len()).any(|window| window == needle);
    for text in ["gone-operation", "gone-service", "display name of gone"] {
        assert!(!holds(text.as_bytes()), "{text} is left");
    }
    for text in ["display name of kept", "kept-service", "last-operation"] {
        assert!(holds(text.as_bytes()), "{text} is not found: the search proves nothing");
    }
    assert!(!holds(&[b'g'; 32]), "the hash of a key is left");
    // Every piece of 24 bytes of what was stored, looked up in a set of all such pieces of the file.
    let pieces: std::collections::HashSet<&[u8]> = file.windows(24).collect();
    let left = |blob: &Vec<u8>| blob.chunks_exact(24).any(|piece| pieces.contains(piece));
    let kept = [stored_blobs(&url, "kept").await, stored_blobs(&url, "last").await].concat();
    assert!(kept.iter().filter(|blob| blob.len() > 100).all(left), "what is stored is found");
    let common: std::collections::HashSet<&[u8]> = kept.iter().flat_map(|blob| blob.windows(24)).collect();
    let own =
        |blob: &Vec<u8>| blob.chunks_exact(24).any(|piece| pieces.contains(piece) && !common.contains(piece));
    assert_eq!(blobs.iter().filter(|blob| own(blob)).count(), 0, "bytes of blobs are left");
}

/// Bytes that are left of a cell that was moved, in an unused part of a page that is in use, go with the purge; and what a
/// purge did not come to, because the file is large or somebody wrote all the time, with the next start.
#[tokio::test]
async fn the_file_is_rewritten_after_a_purge() {
    const NEEDLE: &[u8] = b"bytes of a cell that moved";
    let (url, dir) = fresh();
    let store = open(&url, Role::Owner).await;
    for tenant in ["gone", "kept"] {
        store.create_tenant(&id(tenant), "").await.unwrap();
        append(&*store, &id(tenant), spans::trace(1, 30)).await.unwrap();
    }
    store.close().await;
    let path = dir.path().join("test.db");
    let holds = || std::fs::read(&path).unwrap().windows(NEEDLE.len()).any(|window| window == NEEDLE);
    let put = async |sql: &'static str| {
        let mut raw = SqliteConnection::connect(&url).await.unwrap();
        sqlx::raw_sql(sql).execute(&mut raw).await.unwrap();
        let sql = "SELECT rootpage FROM sqlite_schema WHERE name = 'partition'";
        let page: i64 = sqlx::query_scalar(sql).fetch_one(&mut raw).await.unwrap();
        sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut raw).await.unwrap();
        raw.close().await.unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = usize::try_from(page - 1).unwrap() * crate::PAGE_BYTES as usize + 2_000;
        assert!(bytes[middle..][..NEEDLE.len()].iter().all(|byte| *byte == 0), "unused");
        bytes[middle..][..NEEDLE.len()].copy_from_slice(NEEDLE);
        std::fs::write(&path, &bytes).unwrap();
    };
    put("").await;
    let store = open(&url, Role::Owner).await;
    assert!(holds(), "nobody asked for it");
    store.delete_tenant(&id("gone")).await.unwrap();
    purge(&*store).await;
    assert!(!holds(), "after a purge");
    store.close().await;
    // As it is when the last row of a tenant is gone.
    put("INSERT INTO purge (number) VALUES (-1)").await;
    open(&url, Role::Guest).await.close().await;
    assert!(holds(), "a command leaves it to the server");
    let store = open(&url, Role::Owner).await;
    assert!(!holds(), "after a start");
    assert_eq!(picture(&*store, &id("kept"), &spans::trace(1, 30)).await.spans.len(), 30);
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM purge")
        .fetch_one(&mut SqliteConnection::connect(&url).await.unwrap())
        .await
        .unwrap();
    assert_eq!(left, 0);
}

/// All blobs that are stored of a tenant.
async fn stored_blobs(url: &str, tenant: &str) -> Vec<Vec<u8>> {
    let mut raw = SqliteConnection::connect(url).await.unwrap();
    let days: Vec<i64> = sqlx::query_scalar("SELECT day FROM partition").fetch_all(&mut raw).await.unwrap();
    let chunks = days.iter().map(|day| {
        format!(
            "UNION ALL SELECT hot FROM chunk_{day} WHERE tenant = (SELECT number FROM n)
             UNION ALL SELECT cold FROM chunk_{day} WHERE tenant = (SELECT number FROM n)"
        )
    });
    let sql = format!(
        "WITH n AS (SELECT number FROM tenant WHERE id = ?1)
         SELECT blob FROM rollup WHERE tenant = (SELECT number FROM n) {}",
        chunks.collect::<Vec<_>>().join(" ")
    );
    let query = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).bind(tenant);
    let blobs = query.fetch_all(&mut raw).await.unwrap();
    raw.close().await.unwrap();
    blobs
}

/// Whatever tables there are: a row that names a tenant by number goes with it.
#[tokio::test]
async fn purging_asks_the_schema_which_tables_there_are() {
    let (url, _dir) = fresh();
    let store = open(&url, Role::Owner).await;
    store.create_tenant(&id("gone"), "").await.unwrap();
    append(&*store, &id("gone"), spans::trace(1, 3)).await.unwrap();
    let mut raw = SqliteConnection::connect(&url).await.unwrap();
    let sql = "CREATE TABLE later (a TEXT, tenant INTEGER NOT NULL, \"key\" BLOB, PRIMARY KEY (tenant, \"key\")) WITHOUT ROWID;
               CREATE TABLE rows (tenant INTEGER);
               INSERT INTO later SELECT 'x', number, x'00' FROM tenant; INSERT INTO rows SELECT number FROM tenant";
    sqlx::raw_sql(sql).execute(&mut raw).await.unwrap();
    store.delete_tenant(&id("gone")).await.unwrap();
    purge(&*store).await;
    let day = spans::BASE_NS / 86_400_000_000_000;
    for table in
        ["later", "rows", "rollup", "usage", "purge", &format!("chunk_{day}"), &format!("trace_{day}")]
    {
        let sql = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        let rows: i64 = sqlx::query_scalar(sql).fetch_one(&mut raw).await.unwrap();
        assert_eq!(rows, 0, "{table}");
    }
}

/// A dropped day frees its tables, also those of a day that came again meanwhile.
#[tokio::test]
async fn dropped_days_leave_no_tables() {
    let (url, _dir) = fresh();
    let clock = clock_at(0);
    let store = open_owner(&url, &clock).await;
    store.create_tenant(&id("acme"), "").await.unwrap();
    append(&*store, &id("acme"), spans::trace(1, 3)).await.unwrap();
    clock.set(clock.now_us() + 3 * DAY_US);
    assert!(store.retain(RETENTION).await.unwrap().next.is_some(), "it takes more than one step");
    append(&*store, &id("acme"), spans::trace(2, 3)).await.unwrap();
    drop(store);
    let store = open_owner(&url, &clock).await;
    retain(&*store, RETENTION).await;
    let mut raw = SqliteConnection::connect(&url).await.unwrap();
    let day = spans::BASE_NS / 86_400_000_000_000;
    let sql = format!("SELECT count(*) FROM sqlite_schema WHERE name GLOB 'left_*' OR name GLOB '*_{day}*'");
    let left: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&mut raw).await.unwrap();
    assert_eq!(left, 0);
}

/// A damaged cell is left alone; what lies around it, and other tenants, are compacted.
#[tokio::test]
async fn damaged_rollups_do_not_stop_compaction() {
    let (url, _dir) = fresh();
    let clock = clock_at(600);
    let store = open_owner(&url, &clock).await;
    for tenant in ["bad", "good"] {
        store.create_tenant(&id(tenant), "").await.unwrap();
        let spans = [0, 7].map(|minute| spans::span(minute, 1, minute * spans::MINUTE_NS));
        append(&*store, &id(tenant), spans.to_vec()).await.unwrap();
    }
    let mut raw = SqliteConnection::connect(&url).await.unwrap();
    let sql = "UPDATE rollup SET blob = x'00FF' WHERE tenant = 1 AND minute % 5 = 0";
    sqlx::raw_sql(sql).execute(&mut raw).await.unwrap();
    let (mut place, mut skipped) = (Some(crate::Place::default()), 0);
    while let Some(from) = place {
        let step = store.compact(from).await.unwrap();
        (place, skipped) = (step.next, skipped + step.skipped);
    }
    assert_eq!(skipped, 1);
    let sql = "SELECT tenant, grain, minute % 60 FROM rollup ORDER BY tenant, grain, minute";
    let rows: Vec<(i64, i64, i64)> = sqlx::query_as(sql).fetch_all(&mut raw).await.unwrap();
    assert_eq!(rows, [(1, 1, 0), (1, 5, 5), (1, 60, 0), (2, 5, 0), (2, 5, 5), (2, 60, 0)]);
}

/// A day that is not dropped after all, because a later step fails, still has its tables.
#[tokio::test]
async fn a_day_whose_drop_failed_is_still_known() {
    let (url, _dir) = fresh();
    let clock = clock_at(0);
    let store = open_owner(&url, &clock).await;
    store.create_tenant(&id("acme"), "").await.unwrap();
    append(&*store, &id("acme"), spans::trace(1, 3)).await.unwrap();
    let mut raw = SqliteConnection::connect(&url).await.unwrap();
    let sql = "CREATE TRIGGER broken BEFORE UPDATE OF oldest_ns ON tenant WHEN new.oldest_ns IS NULL
               BEGIN SELECT RAISE(ABORT, 'broken'); END";
    sqlx::raw_sql(sql).execute(&mut raw).await.unwrap();
    // What is seen for the first time forgets what was remembered; the drop is to find it remembered.
    append(&*store, &id("acme"), spans::trace(1, 4)).await.unwrap();
    clock.set(clock.now_us() + 3 * DAY_US);
    store.retain(RETENTION).await.unwrap_err();
    assert_eq!(append(&*store, &id("acme"), spans::trace(2, 3)).await.unwrap().accepted, 3);
    let all = [spans::trace(1, 4), spans::trace(2, 3)].concat();
    assert_eq!(picture(&*store, &id("acme"), &all).await.spans.len(), 7);
}

/// A tenant that is purged between the look at its cells and the transaction that merges them gets none anew.
#[tokio::test]
async fn no_hour_is_made_of_nothing() {
    let (url, _dir) = fresh();
    let clock = clock_at(600);
    let store = super::backend(&url, Options::new(Role::Owner, clock.reader())).await;
    store.create_tenant(&id("gone"), "").await.unwrap();
    append(&store, &id("gone"), spans::trace(1, 3)).await.unwrap();
    let fives = store.compact(crate::Place::default()).await.unwrap();
    let hours = fives.next.expect("hours are next");
    let horizon = Horizon::at(clock.now_us());
    let due = store.cells_due(hours, horizon).await.unwrap();
    assert!(!due.is_empty());
    store.delete_tenant(&id("gone")).await.unwrap();
    purge(&store).await;
    store.make_cells(hours, horizon, due).await.unwrap();
    let mut raw = SqliteConnection::connect(&url).await.unwrap();
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM rollup").fetch_one(&mut raw).await.unwrap();
    assert_eq!(rows, 0);
}
