//! Tenants and keys.

use super::{Clock, append, id, open, open_at, open_with, picture, spans};
use crate::{Batch, Error, Key, NewKey, Scope, TenantChange};

/// A key of a tenant.
pub fn new_key(tenant: &str, key: &str, hash: u8) -> NewKey {
    NewKey {
        tenant: id(tenant),
        hash: [hash; 32],
        id: key.to_owned(),
        name: format!("name of {key}"),
        scopes: vec![Scope::Ingest, Scope::Read],
        expires_us: None,
    }
}

/// Tenants come back as made, by id, and their ids are taken once.
pub async fn tenants_are_listed(url: &str) {
    let clock = Clock::default();
    let store = open_at(url, &clock).await;
    let zoo = store.create_tenant(&id("zoo"), "The Zoo").await.unwrap();
    let acme = store.create_tenant(&id("acme"), "Äcme").await.unwrap();
    assert_eq!((zoo.name.as_str(), zoo.enabled, zoo.created_us), ("The Zoo", true, clock.now_us()));
    assert_eq!(store.tenants().await.unwrap(), [acme.clone(), zoo.clone()]);
    let twice = store.create_tenant(&id("zoo"), "Another").await;
    assert!(matches!(twice, Err(Error::Exists(_))), "{twice:?}");
    store.set_tenant_enabled(&id("zoo"), false).await.unwrap();
    let disabled = crate::Tenant { enabled: false, ..zoo.clone() };
    assert_eq!(store.tenants().await.unwrap(), [acme.clone(), disabled]);
    store.set_tenant_enabled(&id("zoo"), true).await.unwrap();
    assert_eq!(store.tenants().await.unwrap(), [acme, zoo]);
    let unknown = store.set_tenant_enabled(&id("nobody"), true).await;
    assert!(matches!(unknown, Err(Error::NotFound(_))), "{unknown:?}");
    assert!(matches!(store.delete_tenant(&id("nobody")).await, Err(Error::NotFound(_))));
}

/// A change says what the tenant is then, and leaves alone what it does not name.
pub async fn tenants_are_changed(url: &str) {
    let (store, acme) = open_with(url, "acme").await;
    let made = store.tenant(&acme).await.unwrap();
    let name = TenantChange { name: Some("Äcme".to_owned()), enabled: None };
    let named = crate::Tenant { name: "Äcme".to_owned(), ..made };
    assert_eq!(store.change_tenant(&acme, name).await.unwrap(), named);
    let off = TenantChange { name: None, enabled: Some(false) };
    let off = store.change_tenant(&acme, off).await.unwrap();
    assert_eq!(off, crate::Tenant { enabled: false, ..named });
    assert_eq!(store.change_tenant(&acme, TenantChange::default()).await.unwrap(), off);
    assert_eq!(store.tenant(&acme).await.unwrap(), off);
    let unknown = store.change_tenant(&id("nobody"), TenantChange::default()).await;
    assert!(matches!(unknown, Err(Error::NotFound(_))), "{unknown:?}");
    assert!(matches!(store.tenant(&id("nobody")).await, Err(Error::NotFound(_))));
}

/// Page by page each tenant and each key comes once, in the order of the whole list.
pub async fn lists_have_pages(url: &str) {
    let clock = Clock::default();
    let store = open_at(url, &clock).await;
    for nth in [3_u8, 1, 4, 0, 2] {
        store.create_tenant(&id(&format!("t{nth}")), "").await.unwrap();
        store.create_key(new_key("t3", &format!("k{nth}"), nth)).await.err();
        clock.set(clock.now_us() + u64::from(nth % 2));
    }
    store.create_key(new_key("t1", "k9", 9)).await.unwrap();
    let (mut tenants, mut after) = (Vec::new(), None);
    while let Some(last) = { store.tenants_after(after.as_ref(), 2).await.unwrap() }.split_last() {
        assert!(last.1.len() < 2, "a page is full with two");
        tenants.extend(last.1.iter().chain([last.0]).cloned());
        after = Some(last.0.id.clone());
    }
    assert_eq!((tenants.len(), &tenants), (5, &store.tenants().await.unwrap()));
    let (mut keys, mut after): (Vec<Key>, Option<String>) = (Vec::new(), None);
    while let Some(last) = { store.keys_after(&id("t3"), after.as_deref(), 2).await.unwrap() }.split_last() {
        assert!(last.1.len() < 2, "a page is full with two");
        keys.extend(last.1.iter().chain([last.0]).cloned());
        after = Some(last.0.id.clone());
    }
    assert_eq!((keys.len(), &keys), (5, &store.keys(&id("t3")).await.unwrap()));
    assert_eq!(store.key(&id("t3"), "k4").await.unwrap().id, "k4");
    assert!(matches!(store.key(&id("t3"), "k9").await, Err(Error::NotFound(_))), "another tenant's");
    assert!(matches!(store.key(&id("t3"), "k7").await, Err(Error::NotFound(_))));
    assert!(matches!(store.keys_after(&id("nobody"), None, 2).await, Err(Error::NotFound(_))));
}

/// A key is found by its hash alone, with its tenant.
pub async fn keys_are_found_by_hash(url: &str) {
    let (store, tenant) = open_with(url, "acme").await;
    let key = store.create_key(new_key("acme", "k1", 1)).await.unwrap();
    let expected = Key {
        id: "k1".to_owned(),
        tenant: tenant.clone(),
        name: "name of k1".to_owned(),
        scopes: vec![Scope::Ingest, Scope::Read],
        created_us: Clock::default().now_us(),
        expires_us: None,
        revoked_us: None,
        last_used_us: None,
        grace_until_us: None,
    };
    assert_eq!(key, expected);
    let found = store.find_key(&[1; 32]).await.unwrap().expect("the key");
    assert_eq!((found.key, found.tenant.id, found.tenant.enabled), (expected, tenant.clone(), true));
    assert_eq!(found.replaced_until_us, None);
    assert!(store.find_key(&[2; 32]).await.unwrap().is_none());
    store.set_tenant_enabled(&tenant, false).await.unwrap();
    let found = store.find_key(&[1; 32]).await.unwrap().expect("the key");
    assert!(!found.tenant.enabled, "the caller must see that the tenant is disabled");

    let same_id = store.create_key(new_key("acme", "k1", 9)).await;
    assert!(matches!(same_id, Err(Error::Exists(_))), "{same_id:?}");
    let same_hash = store.create_key(new_key("acme", "k9", 1)).await;
    assert!(matches!(same_hash, Err(Error::Exists(_))), "{same_hash:?}");
    let of_nobody = store.create_key(new_key("nobody", "k2", 2)).await;
    assert!(matches!(of_nobody, Err(Error::NotFound(_))), "{of_nobody:?}");
    assert!(matches!(store.keys(&id("nobody")).await, Err(Error::NotFound(_))));
}

/// Revoked and expired keys stay listed and say so; the first revocation counts.
pub async fn keys_end(url: &str) {
    let clock = Clock::default();
    let store = open_at(url, &clock).await;
    store.create_tenant(&id("acme"), "").await.unwrap();
    let expiring = NewKey { expires_us: Some(77), scopes: vec![Scope::Admin], ..new_key("acme", "k1", 1) };
    let first = store.create_key(expiring).await.unwrap();
    assert_eq!((first.expires_us, first.scopes.as_slice()), (Some(77), [Scope::Admin].as_slice()));
    clock.set(clock.now_us() + 5);
    store.create_key(new_key("acme", "k0", 2)).await.unwrap();
    let revoked_us = clock.now_us() + 10;
    clock.set(revoked_us);
    assert_eq!(store.revoke_key("k0").await.unwrap().revoked_us, Some(revoked_us));
    clock.set(revoked_us + 10);
    assert_eq!(store.revoke_key("k0").await.unwrap().revoked_us, Some(revoked_us));
    let listed = store.keys(&id("acme")).await.unwrap();
    let listed: Vec<_> = listed.iter().map(|key| (key.id.as_str(), key.expires_us, key.revoked_us)).collect();
    assert_eq!(listed, [("k1", Some(77), None), ("k0", None, Some(revoked_us))], "oldest first");
    let found = store.find_key(&[2; 32]).await.unwrap().expect("the key");
    assert_eq!(found.key.revoked_us, Some(revoked_us));
    assert!(matches!(store.revoke_key("k7").await, Err(Error::NotFound(_))));
}

/// A deleted tenant leaves nothing to a new one of its name.
pub async fn deleting_purges(url: &str) {
    let (store, tenant) = open_with(url, "acme").await;
    let spans = spans::trace(1, 5);
    append(&*store, &tenant, spans.clone()).await.unwrap();
    store.create_key(new_key("acme", "k1", 1)).await.unwrap();
    store.delete_tenant(&tenant).await.unwrap();
    assert!(store.tenants().await.unwrap().is_empty());
    assert!(store.find_key(&[1; 32]).await.unwrap().is_none());
    assert!(matches!(store.revoke_key("k1").await, Err(Error::NotFound(_))));
    assert!(matches!(store.snapshot(&tenant).await.map(|_| ()), Err(Error::NotFound(_))));
    assert!(matches!(append(&*store, &tenant, spans.clone()).await, Err(Error::NotFound(_))));

    store.create_tenant(&tenant, "again").await.unwrap();
    assert!(store.keys(&tenant).await.unwrap().is_empty());
    let picture = super::picture(&*store, &tenant, &spans).await;
    assert_eq!((picture.spans.len(), picture.rollups.len(), picture.range), (0, 0, (None, None)));
    assert_eq!(picture.totals, crate::Totals::default());
    // Not a duplicate of what is gone.
    assert_eq!(append(&*store, &tenant, spans).await.unwrap().accepted, 5);
}

/// `auth_version` grows with every change of tenants and keys, and with nothing else.
pub async fn every_change_is_seen(url: &str) {
    let store = open(url).await;
    let tenant = id("acme");
    let auth = async || store.versions(&[]).await.unwrap().auth_version;
    let mut last = auth().await;
    let mut grew = async |what: &str| {
        let now = auth().await;
        assert!(now > last, "{what} is not seen");
        last = now;
    };
    store.create_tenant(&tenant, "").await.unwrap();
    grew("a new tenant").await;
    store.create_key(new_key("acme", "k1", 1)).await.unwrap();
    grew("a new key").await;
    store.rotate_key(super::secrets::rotation("k1", 9, 0)).await.unwrap();
    grew("a replaced secret").await;
    store.revoke_key("k1").await.unwrap();
    grew("a revoked key").await;
    store.set_tenant_enabled(&tenant, false).await.unwrap();
    grew("a disabled tenant").await;
    store.set_tenant_enabled(&tenant, true).await.unwrap();
    grew("an enabled tenant").await;
    store.delete_tenant(&tenant).await.unwrap();
    grew("a deleted tenant").await;
    store.create_tenant(&tenant, "").await.unwrap();
    grew("a re-created tenant").await;
    let before = auth().await;
    append(&*store, &tenant, vec![spans::span(1, 1, 0)]).await.unwrap();
    store.invalidate(&tenant, None).await.unwrap();
    assert_eq!(auth().await, before, "data is none of its business");
    store.create_key(new_key("acme", "k2", 2)).await.unwrap();
    let before = auth().await;
    store.note_uses(&[("k2".to_owned(), 5)]).await.unwrap();
    assert_eq!(auth().await, before, "a use makes nobody look again");
}

/// Spans that were sent to a tenant which was deleted meanwhile do not go to another one that got its id.
pub async fn a_successor_gets_no_spans(url: &str) {
    let clock = Clock::default();
    let store = open_at(url, &clock).await;
    let first = store.create_tenant(&id("acme"), "").await.unwrap();
    let send = async |created_us| {
        let batch =
            |created_us, trace| Batch { tenant: id("acme"), created_us, spans: spans::trace(trace, 2) };
        let batches = vec![batch(created_us, 1), batch(None, 2)];
        store
            .append(batches)
            .await
            .unwrap()
            .into_iter()
            .map(|outcome| outcome.map(|it| it.accepted))
            .collect::<Vec<_>>()
    };
    assert!(matches!(send(Some(first.created_us)).await[..], [Ok(2), Ok(2)]));
    store.delete_tenant(&id("acme")).await.unwrap();
    clock.set(clock.now_us() + 1);
    store.create_tenant(&id("acme"), "").await.unwrap();
    assert!(matches!(send(Some(first.created_us)).await[..], [Err(Error::NotFound(_)), Ok(2)]));
    assert_eq!(picture(&*store, &id("acme"), &[]).await.totals.spans, 2);
}
