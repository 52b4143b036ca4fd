//! Backup, and what a server makes of a file that was put in its place.

use std::{fs, path::Path};

use sqlx::{Connection, SqliteConnection, raw_sql};

use super::{fresh, open, opening::put_first_schema};
use crate::{
    Error, Role,
    suite::{append, id, picture, spans},
};

async fn epoch(url: &str, role: Role) -> u128 {
    let store = open(url, role).await;
    let epoch = store.versions(&[]).await.unwrap().epoch;
    store.close().await;
    epoch
}

fn file(url: &str) -> &Path {
    Path::new(url.trim_start_matches("sqlite://"))
}

/// A backup holds one state, is never written over a file, and is another database each time a server starts on it.
#[tokio::test]
async fn a_backup_is_whole_and_another_database() {
    let (url, dir) = fresh();
    let store = open(&url, Role::Owner).await;
    let (tenant, all) = (id("acme"), spans::trace(1, 30));
    store.create_tenant(&tenant, "").await.unwrap();
    append(&*store, &tenant, all.clone()).await.unwrap();
    let before = picture(&*store, &tenant, &all).await;
    let made = dir.path().join("backup.db");
    store.backup(&made).await.unwrap();
    append(&*store, &tenant, spans::trace(2, 30)).await.unwrap();
    assert!(matches!(store.backup(&made).await, Err(Error::Exists(_))), "it was replaced");
    let names = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let backups: Vec<_> = names.filter(|name| name.to_string_lossy().starts_with("backup")).collect();
    assert_eq!(backups, ["backup.db"], "a part is left");
    store.close().await;

    let mut epochs = vec![epoch(&url, Role::Owner).await];
    for _ in 0..2 {
        fs::copy(&made, file(&url)).unwrap();
        assert_eq!(epoch(&url, Role::Guest).await, epochs[0], "a look at a copy does not use its mark up");
        epochs.push(epoch(&url, Role::Owner).await);
        assert_eq!(epoch(&url, Role::Owner).await, *epochs.last().unwrap(), "once");
        let store = open(&url, Role::Owner).await;
        assert_eq!(picture(&*store, &tenant, &all).await, before);
        assert_eq!(append(&*store, &tenant, spans::trace(3, 3)).await.unwrap().accepted, 3);
        store.close().await;
    }
    epochs.sort_unstable();
    epochs.dedup();
    assert_eq!(epochs.len(), 3, "an epoch came twice");
}

/// While somebody writes, a backup is a state that was: whole batches, sums that fit.
#[tokio::test]
async fn a_backup_beside_a_writer_is_one_state() {
    let (url, dir) = fresh();
    let (store, tenant) = (open(&url, Role::Owner).await, id("acme"));
    store.create_tenant(&tenant, "").await.unwrap();
    let guest = open(&url, Role::Guest).await;
    let write = async {
        for number in 0..20 {
            append(&*store, &tenant, spans::trace(number, 10)).await.unwrap();
        }
    };
    let made = dir.path().join("backup.db");
    let (copied, ()) = tokio::join!(guest.backup(&made), write);
    copied.unwrap();
    let copy = open(&format!("sqlite://{}", made.display()), Role::Guest).await;
    let all: Vec<_> = (0..20).flat_map(|number| spans::trace(number, 10)).collect();
    let seen = picture(&*copy, &tenant, &all).await;
    assert_eq!(seen.spans.len() as u64, seen.totals.spans);
    assert_eq!(seen.spans.len() % 10, 0);
    assert_eq!(seen.rollups, crate::suite::property::expected(&seen.spans, usize::MAX));
    // And the database that it came from goes on with its own epoch.
    assert_eq!(picture(&*store, &tenant, &all).await.totals.spans, 200);
}

/// A backup that cannot be made leaves nothing that looks like one.
#[tokio::test]
async fn a_failed_backup_leaves_nothing() {
    let (url, dir) = fresh();
    let store = open(&url, Role::Owner).await;
    let nowhere = dir.path().join("no/such/place.db");
    assert!(matches!(store.backup(&nowhere).await, Err(Error::Unavailable { .. })));
    let cut = dir.path().join("cut.db");
    fs::write(dir.path().join("cut.db.part"), "half").unwrap();
    let refused = store.backup(&cut).await.unwrap_err();
    assert!(matches!(&refused, Error::Exists(what) if what.contains("cut.db.part")), "{refused}");
    assert!(!cut.exists() && dir.path().join("cut.db.part").exists());
}

/// A copy made by other means, put back while the server stood still, is noticed by its clock.
#[tokio::test]
async fn a_file_that_was_set_back_is_noticed() {
    let (url, dir) = fresh();
    let (store, tenant) = (open(&url, Role::Owner).await, id("acme"));
    store.create_tenant(&tenant, "").await.unwrap();
    store.close().await;
    let first = epoch(&url, Role::Owner).await;
    let kept = dir.path().join("kept.db");
    fs::copy(file(&url), &kept).unwrap();
    assert_eq!(epoch(&url, Role::Owner).await, first, "nothing happened");
    let store = open(&url, Role::Owner).await;
    append(&*store, &tenant, spans::trace(1, 3)).await.unwrap();
    store.close().await;
    assert_eq!(epoch(&url, Role::Owner).await, first, "it only went on");
    fs::copy(&kept, file(&url)).unwrap();
    let second = epoch(&url, Role::Owner).await;
    assert_ne!(second, first, "it was set back");
    assert_eq!(epoch(&url, Role::Owner).await, second);
    // A lock file that holds anything else is no witness, and no reason not to start.
    fs::write(dir.path().join("test.db.lock"), "\u{0}garbage 99999999999999999999999 \n").unwrap();
    assert_eq!(epoch(&url, Role::Owner).await, second);
}

/// A file of the first schema becomes one of today with every number it had.
#[tokio::test]
async fn the_first_schema_is_upgraded_with_all_numbers() {
    let (url, _dir) = fresh();
    put_first_schema(&url);
    let store = open(&url, Role::Owner).await;
    let (acme, beta) = (id("acme"), id("beta"));
    let mut all: Vec<_> = (0..12).flat_map(|number| spans::trace(number, 5)).collect();
    all.extend([0, 3, 61, 1_500].map(|minute| spans::span(100 + minute, 1, minute * spans::MINUTE_NS)));
    all.extend_from_slice(&spans::trace(1, 7)[5..]);
    let seen = picture(&*store, &acme, &all).await;
    assert_eq!((seen.spans.len(), seen.totals.spans, seen.totals.duplicates), (66, 66, 5));
    assert_eq!(seen.rollups, crate::suite::property::expected(&all, usize::MAX));
    assert_eq!(seen.totals.traces, 16);
    assert!(seen.data > 1_750_000_000_000_017, "its figures were made anew");
    assert_eq!(store.snapshot(&acme).await.unwrap().updated_us(), 1_750_000_000_000_017);
    let versions = store.versions(&[acme.clone(), beta.clone()]).await.unwrap();
    assert_eq!(versions.epoch, 32_098_270_125_806_551_482_245_875_947_569_228_137);
    assert_eq!(versions.versions[0].operations, [("services".to_owned(), 1_750_000_000_000_018)]);
    let names: Vec<_> = store.tenants().await.unwrap().into_iter().map(|t| (t.id, t.enabled)).collect();
    assert_eq!(names, [(acme.clone(), true), (beta.clone(), false)]);
    assert!(store.find_key(&[1; 32]).await.unwrap().is_some_and(|found| found.key.revoked_us.is_none()));
    assert!(store.find_key(&[2; 32]).await.unwrap().is_some_and(|found| found.key.revoked_us.is_some()));
    // And it goes on: known spans are known, an update replaces.
    assert_eq!(append(&*store, &acme, all.clone()).await.unwrap().duplicates, 66);
    append(&*store, &acme, spans::trace(1, 9)).await.unwrap();
    all.extend_from_slice(&spans::trace(1, 9)[7..]);
    assert_eq!(
        picture(&*store, &acme, &all).await.rollups,
        crate::suite::property::expected(&all, usize::MAX)
    );
}

/// A step that fails leaves the file as it was.
#[tokio::test]
async fn a_failed_upgrade_changes_nothing() {
    let (url, _dir) = fresh();
    put_first_schema(&url);
    let mut raw = SqliteConnection::connect(&url).await.unwrap();
    // In the way of the very last thing that the step makes.
    raw_sql("CREATE TABLE diagnostic (other)").execute(&mut raw).await.unwrap();
    let refused = crate::open(&url, super::options(Role::Owner)).await.map(|_| ());
    assert!(matches!(refused, Err(crate::OpenError::Database(Error::Internal(_)))), "{refused:?}");
    let version: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut raw).await.unwrap();
    let rollups: i64 =
        sqlx::query_scalar("SELECT count(minute) FROM rollup").fetch_one(&mut raw).await.unwrap();
    assert_eq!((version, rollups), (1, 10));
    raw_sql("DROP TABLE diagnostic").execute(&mut raw).await.unwrap();
    raw.close().await.unwrap();
    assert_eq!(open(&url, Role::Owner).await.tenants().await.unwrap().len(), 2);
}
