//! Versions: only growing, whatever happens.

use super::{Clock, append, id, open, open_at, open_with, spans};
use crate::{Error, Versions};

async fn truth(store: &dyn crate::Store, tenant: &str) -> Versions {
    store.versions(&[id(tenant)]).await.unwrap().versions.remove(0)
}

/// Every change takes a new value, also across a restart; the answer, the truth and a snapshot agree.
pub async fn versions_grow(url: &str) {
    let (store, tenant) = open_with(url, "acme").await;
    assert_eq!(truth(&*store, "acme").await.data, 0, "no data yet");
    let mut last = truth(&*store, "acme").await.clock;
    for round in 0..4 {
        let store = open(url).await;
        let appended = append(&*store, &tenant, vec![spans::span(1, round + 1, 0)]).await.unwrap().versions;
        assert!(appended.data > last);
        assert_eq!(appended.data, appended.clock);
        assert_eq!(truth(&*store, "acme").await, appended);
        assert_eq!(store.snapshot(&tenant).await.unwrap().data_version(), appended.data);
        let operations = ["overview".to_owned()];
        let invalidated = store.invalidate(&tenant, Some(&operations)).await.unwrap();
        assert!(invalidated.clock > appended.clock);
        assert_eq!(invalidated.data, appended.data, "no data changed");
        assert_eq!(truth(&*store, "acme").await, invalidated);
        last = invalidated.clock;
    }
}

/// A clock that is set back, or stands, gives no number twice.
pub async fn the_clock_may_go_back(url: &str) {
    let clock = Clock::default();
    let store = open_at(url, &clock).await;
    store.create_tenant(&id("acme"), "").await.unwrap();
    let at = clock.now_us() + 1_000;
    clock.set(at);
    let first = append(&*store, &id("acme"), vec![spans::span(1, 1, 0)]).await.unwrap().versions;
    assert_eq!(first.data, at, "a version is a time");
    let second = append(&*store, &id("acme"), vec![spans::span(1, 2, 0)]).await.unwrap().versions;
    assert_eq!(second.data, at + 1);
    clock.set(5);
    let third = append(&*store, &id("acme"), vec![spans::span(1, 3, 0)]).await.unwrap().versions;
    assert_eq!(third.data, at + 2);
    assert_eq!(store.invalidate(&id("acme"), None).await.unwrap().all, at + 3);
    clock.set(u64::MAX);
    let far = store.invalidate(&id("acme"), None).await.unwrap().all;
    assert!(far > at + 3);
    assert!(
        store.invalidate(&id("acme"), None).await.unwrap().all > far,
        "it still moves at the end of time"
    );
}

/// A re-created tenant goes on from the clock of the deleted one, whose last readers learn of the end.
pub async fn a_recreated_tenant_goes_on(url: &str) {
    let (store, tenant) = open_with(url, "acme").await;
    let operations = ["workflows".to_owned()];
    append(&*store, &tenant, vec![spans::span(1, 1, 0)]).await.unwrap();
    let before = store.invalidate(&tenant, Some(&operations)).await.unwrap();
    store.delete_tenant(&tenant).await.unwrap();
    let deleted = truth(&*store, "acme").await;
    assert!(deleted.data > before.clock && deleted.all > before.clock, "{deleted:?}");
    assert_eq!(deleted.operations, before.operations, "nothing lowers a version");
    let store = open(url).await;
    store.create_tenant(&tenant, "").await.unwrap();
    let created = truth(&*store, "acme").await;
    assert!(created.clock > deleted.clock && created.data == deleted.data, "{created:?}");
    let appended = append(&*store, &tenant, vec![spans::span(1, 1, 0)]).await.unwrap().versions;
    assert!(appended.data > created.clock);
}

/// One epoch per database, kept; it comes without any tenant, and unknown tenants have version 0.
pub async fn epochs_differ(url: &str) {
    let store = open(url).await;
    let empty = store.versions(&[]).await.unwrap();
    assert!(empty.epoch != 0 && empty.versions.is_empty());
    assert_eq!(open(url).await.versions(&[]).await.unwrap().epoch, empty.epoch);
    store.create_tenant(&id("b"), "").await.unwrap();
    store.invalidate(&id("b"), Some(&["x".to_owned(), "y".to_owned()])).await.unwrap();
    store.create_tenant(&id("a"), "").await.unwrap();
    let truth = store.versions(&[id("nobody"), id("b"), id("a"), id("b")]).await.unwrap();
    assert_eq!(truth.epoch, empty.epoch);
    assert_eq!(truth.versions[0], Versions::default());
    assert_eq!(truth.versions[1].operations.len(), 2, "in the order asked for");
    assert!(truth.versions[2].operations.is_empty());
    assert_eq!(truth.versions[3], truth.versions[1]);
}

/// Each operation has its own version; `None` is everything; an empty list is nothing.
pub async fn scopes_are_raised(url: &str) {
    let (store, tenant) = open_with(url, "acme").await;
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let first = store.invalidate(&tenant, Some(&names(&["b", "a\"'\\%"]))).await.unwrap();
    assert_eq!(first.operations, [("a\"'\\%".to_owned(), first.clock), ("b".to_owned(), first.clock)]);
    assert_eq!((first.all, first.data), (0, 0));
    let second = store.invalidate(&tenant, Some(&names(&["b"]))).await.unwrap();
    assert_eq!(second.operations, [("a\"'\\%".to_owned(), first.clock), ("b".to_owned(), second.clock)]);
    let all = store.invalidate(&tenant, None).await.unwrap();
    assert_eq!((all.all, &all.operations), (all.clock, &second.operations));
    assert!(all.clock > second.clock);
    assert_eq!(store.invalidate(&tenant, Some(&[])).await.unwrap(), all, "nothing was in scope");
    assert_eq!(truth(&*store, "acme").await, all);
    assert!(matches!(store.invalidate(&id("nobody"), None).await, Err(Error::NotFound(_))));
}

/// A database that was set back gets another epoch once, whoever notices; its data stays.
pub async fn an_epoch_is_replaced_once(url: &str) {
    let (store, tenant) = open_with(url, "acme").await;
    let spans = spans::trace(1, 3);
    append(&*store, &tenant, spans[..2].to_vec()).await.unwrap();
    let old = store.versions(&[]).await.unwrap().epoch;
    let new = store.replace_epoch(old).await.unwrap();
    assert!(new != old && new != 0);
    assert_eq!(store.replace_epoch(old).await.unwrap(), new, "a second one who noticed comes late");
    let reopened = open(url).await;
    assert_eq!(reopened.versions(&[]).await.unwrap().epoch, new);
    assert_eq!(append(&*reopened, &tenant, spans.clone()).await.unwrap().duplicates, 2);
    assert_eq!(super::picture(&*reopened, &tenant, &spans).await.spans, spans);
}
