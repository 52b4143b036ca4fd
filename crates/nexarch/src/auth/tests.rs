use nexarch_store::{NewKey, Options, Role, Rotation};

use super::*;

const NOW_US: u64 = 1_800_000_000_000_000;

async fn store(folder: &tempfile::TempDir) -> Arc<dyn Store> {
    let url = format!("sqlite://{}", folder.path().join("a.db").display());
    let store = nexarch_store::open(&url, Options::new(Role::Owner, || NOW_US)).await.unwrap();
    store.create_tenant(&"acme".parse().unwrap(), "").await.unwrap();
    store
}

async fn make_key(store: &dyn Store, text: &str) {
    let key = NewKey {
        tenant: "acme".parse().unwrap(),
        hash: hash(text),
        id: format!("key_{text}"),
        name: String::new(),
        scopes: vec![Scope::Read],
        expires_us: None,
    };
    store.create_key(key).await.unwrap();
}

#[tokio::test]
async fn an_unknown_key_is_asked_for_once_until_something_changes_or_a_second_passed() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder).await;
    let auth = Authenticator::new(Arc::clone(&store));
    auth.observe(store.versions(&[]).await.unwrap().auth_version);
    for text in ["a", "b"] {
        assert!(matches!(auth.authenticate(text, NOW_US).await, Err(Refused::Unknown)));
    }
    make_key(&*store, "a").await;
    make_key(&*store, "b").await;
    // The database knows them now, and is not asked.
    assert!(matches!(auth.authenticate("a", NOW_US + UNKNOWN_US - 1).await, Err(Refused::Unknown)));
    assert!(auth.authenticate("a", NOW_US + UNKNOWN_US).await.is_ok(), "a second passed");
    assert!(matches!(auth.authenticate("b", NOW_US).await, Err(Refused::Unknown)));
    auth.observe(store.versions(&[]).await.unwrap().auth_version);
    assert!(auth.authenticate("b", NOW_US).await.is_ok(), "keys were made");
    store.close().await;
}

#[tokio::test]
async fn a_flood_of_unknown_keys_does_not_fill_the_memory() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder).await;
    let auth = Authenticator::new(Arc::clone(&store));
    for nth in 0..MAX_UNKNOWN + 10 {
        auth.note_unknown(hash(&nth.to_string()), 0, NOW_US);
    }
    assert_eq!(auth.unknown.lock().unwrap().until_us.len(), 10);
    store.close().await;
}

#[tokio::test]
async fn a_replaced_secret_is_good_until_its_grace_ends_and_not_a_moment_longer() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder).await;
    make_key(&*store, "a").await;
    let auth = Authenticator::new(Arc::clone(&store));
    let observe = async || auth.observe(store.versions(&[]).await.unwrap().auth_version);
    let rotate = async |hash, grace_us| {
        let key_id = "key_a".to_owned();
        store.rotate_key(Rotation { key_id, hash, grace_us, expires_us: Some(NOW_US + 90) }).await.unwrap();
    };
    observe().await;
    assert!(auth.authenticate("a", NOW_US).await.is_ok());
    rotate(hash("b"), 50).await;
    observe().await;
    for text in ["a", "b"] {
        assert!(auth.authenticate(text, NOW_US + 49).await.is_ok());
    }
    assert!(matches!(auth.authenticate("a", NOW_US + 50).await, Err(Refused::Replaced)));
    assert!(auth.authenticate("b", NOW_US + 89).await.is_ok());
    assert!(matches!(auth.authenticate("b", NOW_US + 90).await, Err(Refused::Expired)));
    rotate(hash("c"), 0).await;
    observe().await;
    assert!(matches!(auth.authenticate("b", NOW_US).await, Err(Refused::Unknown)));
    assert!(auth.authenticate("c", NOW_US).await.is_ok());
    store.close().await;
}

#[tokio::test]
async fn uses_wait_in_memory_and_the_store_is_told_once_of_many() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder).await;
    make_key(&*store, "a").await;
    let url = format!("sqlite://{}", folder.path().join("a.db").display());
    let watcher = nexarch_store::open(&url, Options::new(Role::Guest, || NOW_US)).await.unwrap();
    let auth = Authenticator::new(Arc::clone(&store));
    let stored = async || store.key(&"acme".parse().unwrap(), "key_a").await.unwrap().last_used_us;
    watcher.changed_by_others().await.unwrap();
    for later in 0..500 {
        assert!(auth.authenticate("a", NOW_US + later * 10_000).await.is_ok());
    }
    // The latest is 4.99 s later, noted to the second.
    let last = auth.uses.last_us("key_a").unwrap();
    assert!((NOW_US + 3_990_000..=NOW_US + 4_990_000).contains(&last), "{last}");
    assert!(!watcher.changed_by_others().await.unwrap(), "no request wrote to the database");
    assert_eq!(stored().await, None);
    auth.uses.tell(&*store).await.unwrap();
    assert_eq!(stored().await, Some(last));
    assert!(watcher.changed_by_others().await.unwrap());
    // A refused key is not used, and an earlier use is none.
    assert!(matches!(auth.authenticate("b", NOW_US + 9_000_000).await, Err(Refused::Unknown)));
    assert!(auth.authenticate("a", NOW_US).await.is_ok());
    auth.uses.tell(&*store).await.unwrap();
    assert!(!watcher.changed_by_others().await.unwrap(), "nothing to tell");
    // What is remembered of keys is dropped, and with it what was told of their uses; what was not told stays.
    auth.authenticate("a", NOW_US + 8_000_000).await.unwrap();
    auth.known.write().unwrap().keys.clear();
    auth.uses.tell(&*store).await.unwrap();
    assert_eq!((stored().await, auth.uses.last_us("key_a")), (Some(NOW_US + 8_000_000), None));
    watcher.close().await;
    store.close().await;
}

/// A file that is set back while it is open, as by a restore of `sqlite3`.
fn set_back(folder: &tempfile::TempDir) {
    let script = "import sqlite3; sqlite3.connect('backup.db').backup(sqlite3.connect('a.db'))";
    let made = std::process::Command::new("python3").args(["-c", script]).current_dir(folder.path()).output();
    let made = made.expect("python3 must be installed");
    assert!(made.status.success(), "{made:?}");
}

#[tokio::test]
async fn after_the_file_was_set_back_nothing_from_before_is_believed() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder).await;
    make_key(&*store, "a").await;
    let auth = Authenticator::new(Arc::clone(&store));
    let observe = async || auth.observe(store.versions(&[]).await.unwrap().auth_version);
    store.backup(&folder.path().join("backup.db")).await.unwrap();
    for text in ["b", "c", "d"] {
        make_key(&*store, text).await;
    }
    assert!(observe().await);
    for text in ["a", "b"] {
        auth.authenticate(text, NOW_US).await.unwrap();
    }
    set_back(&folder);
    assert!(observe().await, "it is another state");
    assert!(matches!(auth.authenticate("b", NOW_US).await, Err(Refused::Unknown)), "made after the backup");
    auth.authenticate("a", NOW_US).await.unwrap();
    store.revoke_key("key_a").await.unwrap();
    assert!(observe().await);
    assert!(matches!(auth.authenticate("a", NOW_US).await, Err(Refused::Revoked)));
    assert!(!observe().await, "nothing happened");
    store.close().await;
}
