//! Two tenants with equal ids, method by method.

use super::{Picture, append, id, open_with, picture, spans, tenants::new_key};
use crate::{Batch, Key, Store, Tenant, Versions};

/// All that the store knows of a tenant.
#[derive(Debug, PartialEq)]
struct Everything {
    picture: Picture,
    versions: Versions,
    keys: Vec<Key>,
    tenant: Option<Tenant>,
}

async fn everything(store: &dyn Store) -> Everything {
    let other = id("other");
    Everything {
        picture: picture(store, &other, &spans::trace(1, 6)).await,
        versions: store.versions(&[id("acme"), other.clone()]).await.unwrap().versions.remove(1),
        keys: store.keys(&other).await.unwrap(),
        tenant: store.tenants().await.unwrap().into_iter().find(|tenant| tenant.id == other),
    }
}

/// Spans of one tenant are not spans of another: not when stored, deduplicated, counted, added up or read.
pub async fn data(url: &str) {
    let (store, acme) = open_with(url, "acme").await;
    let other = id("other");
    store.create_tenant(&other, "").await.unwrap();
    append(&*store, &acme, spans::trace(1, 3)).await.unwrap();
    // Equal ids in one transaction, too.
    let batch = |tenant: &_, count| Batch {
        created_us: None,
        tenant: Clone::clone(tenant),
        spans: spans::trace(1, count),
    };
    let answers = store.append(vec![batch(&other, 6), batch(&acme, 6), batch(&other, 2)]).await.unwrap();
    let counts: Vec<_> =
        answers.iter().map(|a| a.as_ref().map(|a| (a.accepted, a.duplicates)).unwrap()).collect();
    assert_eq!(counts, [(6, 0), (3, 3), (0, 2)]);

    let before = everything(&*store).await;
    assert_eq!(
        (before.picture.spans.len(), before.picture.totals.spans, before.picture.totals.traces),
        (6, 6, 1)
    );
    let mut louder = spans::trace(1, 6);
    for span in &mut louder {
        span.end_ns = Some(span.start_ns + 9_000_000);
    }
    louder.extend(spans::trace(2, 50));
    append(&*store, &acme, louder).await.unwrap();
    assert_eq!(everything(&*store).await, before);
    let mut snapshot = store.snapshot(&other).await.unwrap();
    assert!(
        snapshot.trace(spans::trace_id(2), nexarch_core::trace::Extent::ALL).await.unwrap().spans.is_empty(),
        "a trace of the other tenant"
    );
    drop(snapshot);
    store.delete_tenant(&acme).await.unwrap();
    assert_eq!(everything(&*store).await, before);
}

/// What one tenant raises, another does not see.
pub async fn versions(url: &str) {
    let (store, acme) = open_with(url, "acme").await;
    store.create_tenant(&id("other"), "").await.unwrap();
    append(&*store, &id("other"), spans::trace(1, 6)).await.unwrap();
    let before = everything(&*store).await;
    store.invalidate(&acme, None).await.unwrap();
    store.invalidate(&acme, Some(&["overview".to_owned()])).await.unwrap();
    append(&*store, &acme, spans::trace(1, 6)).await.unwrap();
    assert_eq!(everything(&*store).await, before);
}

/// Changes of one tenant and its keys leave another's alone.
pub async fn tenants_and_keys(url: &str) {
    let (store, acme) = open_with(url, "acme").await;
    store.create_tenant(&id("other"), "").await.unwrap();
    append(&*store, &id("other"), spans::trace(1, 6)).await.unwrap();
    store.create_key(new_key("other", "k1", 1)).await.unwrap();
    let before = everything(&*store).await;
    store.create_key(new_key("acme", "k2", 2)).await.unwrap();
    store.rotate_key(super::secrets::rotation("k2", 3, 5)).await.unwrap();
    store.note_uses(&[("k2".to_owned(), 5)]).await.unwrap();
    store.revoke_key("k2").await.unwrap();
    store.set_tenant_enabled(&acme, false).await.unwrap();
    assert_eq!(everything(&*store).await, before);
    let keys = store.keys(&acme).await.unwrap();
    assert_eq!(keys.iter().map(|key| key.id.as_str()).collect::<Vec<_>>(), ["k2"]);
    let found = store.find_key(&[1; 32]).await.unwrap().expect("the key");
    assert_eq!((found.key.tenant.as_str(), found.tenant.id.as_str()), ("other", "other"));
    store.delete_tenant(&acme).await.unwrap();
    assert_eq!(everything(&*store).await, before);
    assert!(store.find_key(&[2; 32]).await.unwrap().is_none());
}
