//! Keys after they were made: rotation and use.

use super::{clock::Clock, id, open_at, tenants::new_key};
use crate::{Error, NewKey, Rotation, Store};

/// A rotation to the secret of this hash.
pub fn rotation(key: &str, hash: u8, grace_us: u64) -> Rotation {
    Rotation { key_id: key.to_owned(), hash: [hash; 32], grace_us, expires_us: None }
}

async fn store_with_key(url: &str, clock: &Clock) -> std::sync::Arc<dyn Store> {
    let store = open_at(url, clock).await;
    store.create_tenant(&id("acme"), "").await.unwrap();
    store.create_key(new_key("acme", "k1", 1)).await.unwrap();
    store
}

/// Until when a secret is good by itself: not known at all, without end, or until then.
async fn good(store: &dyn Store, hash: u8) -> Option<Option<u64>> {
    let found = store.find_key(&[hash; 32]).await.unwrap()?;
    assert_eq!((found.key.id.as_str(), found.tenant.id.as_str()), ("k1", "acme"));
    Some(found.replaced_until_us)
}

/// The new secret is found, the old one too for as long as it was granted, and the key stays the same.
pub async fn a_rotation_replaces_the_secret(url: &str) {
    let clock = Clock::default();
    let store = store_with_key(url, &clock).await;
    let (made, now) = (store.key(&id("acme"), "k1").await.unwrap(), clock.now_us());
    let rotated = store.rotate_key(rotation("k1", 2, 50)).await.unwrap();
    assert_eq!(rotated, crate::Key { grace_until_us: Some(now + 50), ..made.clone() });
    assert_eq!(good(&*store, 1).await, Some(Some(now + 50)));
    assert_eq!(good(&*store, 2).await, Some(None));
    // Without grace the old one is gone at once, and so is the one before it.
    let rotated =
        store.rotate_key(Rotation { expires_us: Some(now + 9), ..rotation("k1", 3, 0) }).await.unwrap();
    assert_eq!(rotated, crate::Key { expires_us: Some(now + 9), ..made });
    let all = [good(&*store, 1).await, good(&*store, 2).await, good(&*store, 3).await];
    assert_eq!(all, [None, None, Some(None)]);

    let unknown = store.rotate_key(rotation("k7", 4, 0)).await;
    assert!(matches!(unknown, Err(Error::NotFound(_))), "{unknown:?}");
    clock.set(now + 9);
    let expired = store.rotate_key(rotation("k1", 4, 0)).await;
    assert!(matches!(expired, Err(Error::Conflict(_))), "{expired:?}");
    store.create_key(new_key("acme", "k2", 8)).await.unwrap();
    store.revoke_key("k2").await.unwrap();
    let revoked = store.rotate_key(rotation("k2", 4, 0)).await;
    assert!(matches!(revoked, Err(Error::Conflict(_))), "{revoked:?}");
    assert_eq!(store.find_key(&[4; 32]).await.unwrap(), None, "a refused rotation changes nothing");
    // What goes with its tenant.
    store.create_key(new_key("acme", "k3", 10)).await.unwrap();
    store.rotate_key(rotation("k3", 11, 50)).await.unwrap();
    store.delete_tenant(&id("acme")).await.unwrap();
    for hash in [3, 10, 11] {
        assert_eq!(store.find_key(&[hash; 32]).await.unwrap(), None);
    }
}

/// When the grace of a rotation is over, no earlier secret is good, whatever was granted before; a longer one grants
/// nothing more to those that were replaced earlier.
pub async fn no_grace_outlives_a_shorter_one(url: &str) {
    let clock = Clock::default();
    let store = store_with_key(url, &clock).await;
    let now = clock.now_us();
    store.rotate_key(rotation("k1", 2, 1_000)).await.unwrap();
    store.rotate_key(rotation("k1", 3, 10)).await.unwrap();
    assert_eq!([good(&*store, 1).await, good(&*store, 2).await], [Some(Some(now + 10)); 2]);
    store.rotate_key(rotation("k1", 4, 500)).await.unwrap();
    let until =
        [good(&*store, 1).await, good(&*store, 2).await, good(&*store, 3).await, good(&*store, 4).await];
    assert_eq!(until, [Some(Some(now + 10)), Some(Some(now + 10)), Some(Some(now + 500)), Some(None)]);
}

/// A key has a bounded number of replaced secrets; those whose time is over make room.
pub async fn replaced_secrets_are_few(url: &str) {
    let clock = Clock::default();
    let store = store_with_key(url, &clock).await;
    let mut last = 1;
    let refused = loop {
        assert!(last < 100, "there is a limit");
        match store.rotate_key(rotation("k1", last + 1, 50)).await {
            Ok(_) => last += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, Error::Conflict(_)), "{refused:?}");
    assert_eq!(good(&*store, last).await, Some(None));
    clock.set(clock.now_us() + 50);
    store.rotate_key(rotation("k1", last + 1, 50)).await.unwrap();
    assert_eq!(good(&*store, 1).await, None, "forgotten");
    assert_eq!(good(&*store, last).await, Some(Some(clock.now_us() + 50)));
}

/// The latest use stays, whoever tells of an earlier one later; a key that is gone changes nothing.
pub async fn uses_are_remembered(url: &str) {
    let clock = Clock::default();
    let store = store_with_key(url, &clock).await;
    let used = async || store.key(&id("acme"), "k1").await.unwrap().last_used_us;
    assert_eq!(used().await, None);
    let tell = async |key: &str, at| store.note_uses(&[(key.to_owned(), at)]).await.unwrap();
    tell("k1", 70).await;
    assert_eq!(used().await, Some(70));
    tell("k1", 60).await;
    assert_eq!(used().await, Some(70), "never earlier");
    tell("k1", 80).await;
    tell("nobody", 90).await;
    store.note_uses(&[]).await.unwrap();
    assert_eq!(used().await, Some(80));
    let other = NewKey { expires_us: Some(1), ..new_key("acme", "k2", 2) };
    assert_eq!(store.create_key(other).await.unwrap().last_used_us, None);
    let found = store.find_key(&[1; 32]).await.unwrap().expect("the key");
    assert_eq!(found.key.last_used_us, Some(80));
}
