//! Who may open a file, by which name, and what opening changes.

use std::{fs, io::Read, os::unix::fs::symlink, path::Path};

use sqlx::{Connection, SqliteConnection, raw_sql};

use super::{fresh, open, options};
use crate::{
    Error, OpenError, Role,
    suite::{append, id, spans},
};

fn file(url: &str) -> &Path {
    Path::new(url.trim_start_matches("sqlite://"))
}

/// Puts a database of the first schema there, and returns its bytes.
pub(super) fn put_first_schema(url: &str) -> Vec<u8> {
    let packed: &[u8] = include_bytes!("../../../fixtures/schema-1.db.gz");
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(packed).read_to_end(&mut bytes).unwrap();
    fs::write(file(url), &bytes).unwrap();
    bytes
}

#[tokio::test]
async fn one_owner_and_any_number_of_guests() {
    let (url, _dir) = fresh();
    let owner = open(&url, Role::Owner).await;
    assert!(owner.sole_owner());
    let second = crate::open(&url, options(Role::Owner)).await;
    assert!(matches!(second.as_ref().map(|_| ()), Err(OpenError::Owned(_))), "a second server");
    let guest = open(&url, Role::Guest).await;
    assert!(!guest.sole_owner());
    owner.create_tenant(&id("acme"), "").await.unwrap();
    assert_eq!(guest.tenants().await.unwrap().len(), 1);
    owner.close().await;
    assert!(open(&url, Role::Owner).await.sole_owner(), "the lock ends with its owner");
}

#[tokio::test]
async fn a_lock_ends_with_a_store_that_was_never_closed() {
    let (url, _dir) = fresh();
    drop(open(&url, Role::Owner).await);
    open(&url, Role::Owner).await;
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_a_foreign_file_too() {
    for sql in ["PRAGMA user_version = 999", "PRAGMA application_id = 7", "UPDATE meta SET rules = 777"] {
        let (url, _dir) = fresh();
        open(&url, Role::Guest).await.close().await;
        let mut raw = SqliteConnection::connect(&url).await.unwrap();
        raw_sql(sql).execute(&mut raw).await.unwrap();
        raw.close().await.unwrap();
        let refused = crate::open(&url, options(Role::Guest)).await.map(|_| ()).unwrap_err();
        match refused {
            OpenError::Newer { found: 999, known } => assert!(sql.contains("user_version") && known < 999),
            OpenError::Foreign(_) => assert!(sql.contains("application_id")),
            OpenError::NewerRules { found: 777, .. } => assert!(sql.contains("rules")),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let (url, dir) = fresh();
    std::fs::write(
        dir.path().join("test.db"),
        b"not a database, but long enough to have a header ".repeat(9),
    )
    .unwrap();
    let refused = crate::open(&url, options(Role::Guest)).await.map(|_| ()).unwrap_err();
    assert!(matches!(refused, OpenError::Database(Error::Internal(_))), "{refused:?}");
}

#[tokio::test]
async fn urls_are_checked_and_secrets_not_repeated() {
    for url in [
        "postgres://user:secret@host/db",
        "mysql://user:secret@host/db",
        "/a/secret",
        "sqlite::memory:",
        "sqlite:",
    ] {
        let refused = crate::open(url, options(Role::Guest)).await.map(|_| ()).unwrap_err();
        assert!(matches!(refused, OpenError::Url(_)), "{url}: {refused:?}");
        assert!(!refused.to_string().contains("secret"), "{refused}");
    }
}

#[tokio::test]
async fn a_directory_that_does_not_exist_is_unavailable() {
    for role in [Role::Owner, Role::Guest] {
        let refused =
            crate::open("sqlite:///does/not/exist/x.db", options(role)).await.map(|_| ()).unwrap_err();
        assert!(matches!(refused, OpenError::Database(Error::Unavailable { .. })), "{refused:?}");
    }
}

/// A link to the file, or to its folder, is no second file: a second server is refused by any name.
#[tokio::test]
async fn a_link_is_no_second_database() {
    let (url, dir) = fresh();
    let (link, folder) = (dir.path().join("link.db"), dir.path().join("folder"));
    symlink("test.db", &link).unwrap();
    symlink(".", &folder).unwrap();
    let names = [link, folder.join("test.db"), folder.join("link.db")];
    let urls: Vec<String> = names.iter().map(|name| format!("sqlite://{}", name.display())).collect();
    // Also when the file is not there yet.
    for first in [&urls[0], &url] {
        let owner = open(first, Role::Owner).await;
        for second in urls.iter().chain([&url]) {
            let refused = crate::open(second, options(Role::Owner)).await.map(drop);
            assert!(matches!(refused, Err(OpenError::Owned(_))), "{second} beside {first}: {refused:?}");
        }
        assert!(open(&urls[2], Role::Guest).await.ping().await.is_ok());
        owner.close().await;
    }
}

/// By two hard links it has two logs, which no lock makes up for.
#[tokio::test]
async fn a_file_with_two_names_is_not_served() {
    let (url, dir) = fresh();
    open(&url, Role::Owner).await.close().await;
    let second = dir.path().join("second.db");
    fs::hard_link(file(&url), &second).unwrap();
    let refused = crate::open(&url, options(Role::Owner)).await.map(drop).unwrap_err();
    assert!(matches!(refused, OpenError::Linked(_)), "{refused:?}");
    fs::remove_file(second).unwrap();
    open(&url, Role::Owner).await.close().await;
}

/// It holds hashes of keys and everybody's spans: its log, too, is for the owner alone.
#[tokio::test]
async fn a_new_file_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let (url, dir) = fresh();
    let store = open(&url, Role::Owner).await;
    store.create_tenant(&id("acme"), "").await.unwrap();
    for name in ["test.db", "test.db-wal"] {
        let mode = fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

/// Commands leave a file of an older version as it is, to the byte, whether its server runs or not: there is no way back.
#[tokio::test]
async fn only_a_server_upgrades() {
    let (url, dir) = fresh();
    let before = put_first_schema(&url);
    let lock = fs::File::create(dir.path().join("test.db.lock")).unwrap();
    lock.lock().unwrap();
    for running in [true, false] {
        if !running {
            lock.unlock().unwrap();
        }
        let refused = crate::open(&url, options(Role::Guest)).await.map(drop).unwrap_err();
        assert!(matches!(&refused, OpenError::Older(_)), "{refused:?}");
        assert!(refused.to_string().contains("backup"), "it says what to do: {refused}");
        let observer = open(&url, Role::Observer).await;
        assert!(observer.is_older());
        assert_eq!(observer.tenants().await.unwrap().len(), 2);
        assert!(append(&*observer, &id("acme"), spans::trace(1, 3)).await.is_err(), "it only looks");
        observer.close().await;
        assert_eq!(schema(&url).await, 1);
        assert!(fs::read(file(&url)).unwrap() == before, "not a byte differs");
    }
    open(&url, Role::Owner).await.close().await;
    assert!(schema(&url).await > 1);
    let observer = open(&url, Role::Observer).await;
    assert!(!observer.is_older());
}

/// A command that has the file open when a newer server upgrades it writes nothing more by its old rules.
#[tokio::test]
async fn a_command_ends_when_a_newer_server_upgraded() {
    for change in ["PRAGMA user_version = 99", "UPDATE meta SET rules = 99"] {
        let (url, _dir) = fresh();
        let guest = open(&url, Role::Guest).await;
        guest.create_tenant(&id("acme"), "").await.unwrap();
        append(&*guest, &id("acme"), spans::trace(1, 3)).await.unwrap();
        let mut raw = SqliteConnection::connect(&url).await.unwrap();
        sqlx::raw_sql(change).execute(&mut raw).await.unwrap();
        for _ in 0..2 {
            let refused = append(&*guest, &id("acme"), spans::trace(2, 3)).await.unwrap_err();
            assert!(matches!(refused, Error::Conflict(_)), "{refused:?}");
        }
    }
}

/// Rollups that are older than all spans are of days that were dropped; of those between nothing was ever stored, and a file
/// without such rollups never dropped a day.
#[tokio::test]
async fn an_upgrade_knows_which_days_were_dropped() {
    for (partitions, minutes, first_day) in [
        (&[100][..], &[78 * 1440, 80 * 1440 + 1439, 100 * 1440][..], 81),
        (&[100, 101], &[100 * 1440, 101 * 1440], 0),
        (&[], &[80 * 1440], 81),
        (&[], &[], 0),
    ] {
        let mut raw = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let before = "CREATE TABLE meta (one INTEGER); INSERT INTO meta VALUES (1);
                      CREATE TABLE partition (day INTEGER); CREATE TABLE rollup (minute INTEGER)";
        raw_sql(before).execute(&mut raw).await.unwrap();
        for (table, numbers) in [("partition", partitions), ("rollup", minutes)] {
            for number in numbers {
                let insert = format!("INSERT INTO {table} VALUES ({number})");
                raw_sql(sqlx::AssertSqlSafe(insert)).execute(&mut raw).await.unwrap();
            }
        }
        raw_sql(include_str!("../../../migrations/sqlite/0008_kept.sql")).execute(&mut raw).await.unwrap();
        let found: i64 = sqlx::query_scalar("SELECT first_day FROM meta").fetch_one(&mut raw).await.unwrap();
        assert_eq!(found, first_day, "{partitions:?} {minutes:?}");
    }
}

async fn schema(url: &str) -> i64 {
    let mut raw = SqliteConnection::connect(url).await.unwrap();
    let version = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut raw).await.unwrap();
    raw.close().await.unwrap();
    version
}

/// The backup that one makes before an upgrade is of the schema before it.
#[tokio::test]
async fn a_backup_before_an_upgrade_is_of_the_older_schema() {
    let (url, dir) = fresh();
    put_first_schema(&url);
    let epoch = open(&url, Role::Observer).await.versions(&[]).await.unwrap().epoch;
    let observer = open(&url, Role::Observer).await;
    let copy = dir.path().join("copy.db");
    observer.backup(&copy).await.unwrap();
    let copy = format!("sqlite://{}", copy.display());
    assert_eq!((schema(&url).await, schema(&copy).await), (1, 1));
    let restored = open(&copy, Role::Owner).await;
    assert_ne!(restored.versions(&[]).await.unwrap().epoch, epoch, "another database");
    assert_eq!(restored.tenants().await.unwrap().len(), 2);
}

/// Who only looks makes nothing.
#[tokio::test]
async fn a_look_makes_no_database() {
    let (url, _dir) = fresh();
    let refused = crate::open(&url, options(Role::Observer)).await.map(drop);
    assert!(matches!(refused, Err(OpenError::Database(Error::Unavailable { .. }))), "{refused:?}");
    assert!(!file(&url).exists());
    fs::write(file(&url), b"").unwrap();
    let refused = crate::open(&url, options(Role::Observer)).await.map(drop);
    assert!(matches!(refused, Err(OpenError::Foreign(_))), "{refused:?}");
    assert_eq!(fs::metadata(file(&url)).unwrap().len(), 0);
}
