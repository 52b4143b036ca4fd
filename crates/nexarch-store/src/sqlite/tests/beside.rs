//! Two processes on one file: neither loses a batch to the other, whatever upkeep does; and what deleting leaves.

use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::{Connection, SqliteConnection};

use super::{fresh, open};
use crate::{
    Options, Role, Store,
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
/// unused parts of pages. What stays is its id, with its clock.
#[tokio::test]
async fn nothing_of_a_deleted_tenant_is_left_in_the_file() {
    let (url, dir) = fresh();
    let clock = clock_at(600);
    let store = open_owner(&url, &clock).await;
    for tenant in ["gone", "kept"] {
        store.create_tenant(&id(tenant), &format!("display name of {tenant}")).await.unwrap();
        store.create_key(crate::suite::tenants::new_key(tenant, tenant, tenant.as_bytes()[0])).await.unwrap();
    }
    for round in 0..120_u64 {
        for tenant in ["gone", "kept"] {
            let mut spans = spans::trace(round, 7);
            for span in &mut spans {
                let shift = (round % 8) * 7 * spans::MINUTE_NS;
                (span.start_ns, span.end_ns) = (span.start_ns + shift, span.end_ns.map(|end| end + shift));
                span.name = format!("{tenant}-operation-{}", round % 5).into();
                span.resource = spans::resource(&format!("{tenant}-service"));
            }
            append(&*store, &id(tenant), spans).await.unwrap();
        }
        // Rows come, go and move between pages all the time.
        if round % 40 == 20 {
            clock.set(clock.now_us() + 60 * 60_000_000);
            compact(&*store).await;
        }
    }
    let blobs = stored_blobs(&url, "gone").await;
    assert!(blobs.len() > 100, "{} blobs", blobs.len());
    store.delete_tenant(&id("gone")).await.unwrap();
    purge(&*store).await;
    store.close().await;
    let file = std::fs::read(dir.path().join("test.db")).unwrap();
    let holds = |needle: &[u8]| file.windows(needle.len()).any(|window| window == needle);
    for text in ["gone-operation", "gone-service", "display name of gone"] {
        assert!(!holds(text.as_bytes()), "{text} is left");
    }
    for text in ["display name of kept", "kept-service"] {
        assert!(holds(text.as_bytes()), "{text} is not found: the search proves nothing");
    }
    assert!(!holds(&[b'g'; 32]), "the hash of a key is left");
    // Every piece of 24 bytes of what was stored, looked up in a set of all such pieces of the file.
    let pieces: std::collections::HashSet<&[u8]> = file.windows(24).collect();
    let left = |blob: &Vec<u8>| blob.chunks_exact(24).any(|piece| pieces.contains(piece));
    let kept = stored_blobs(&url, "kept").await;
    assert!(kept.iter().filter(|blob| blob.len() > 100).all(left), "what is stored is found");
    let common: std::collections::HashSet<&[u8]> = kept.iter().flat_map(|blob| blob.windows(24)).collect();
    let own =
        |blob: &Vec<u8>| blob.chunks_exact(24).any(|piece| pieces.contains(piece) && !common.contains(piece));
    assert_eq!(blobs.iter().filter(|blob| own(blob)).count(), 0, "bytes of blobs are left");
}

/// All blobs that are stored of a tenant.
async fn stored_blobs(url: &str, tenant: &str) -> Vec<Vec<u8>> {
    let mut raw = SqliteConnection::connect(url).await.unwrap();
    let day = spans::BASE_NS / 86_400_000_000_000;
    let sql = format!(
        "WITH n AS (SELECT number FROM tenant WHERE id = ?1)
         SELECT blob FROM rollup WHERE tenant = (SELECT number FROM n)
         UNION ALL SELECT hot FROM chunk_{day} WHERE tenant = (SELECT number FROM n)
         UNION ALL SELECT cold FROM chunk_{day} WHERE tenant = (SELECT number FROM n)"
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
