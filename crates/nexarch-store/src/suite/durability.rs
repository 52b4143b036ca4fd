//! What is acknowledged stays; what is not leaves nothing.

use super::{append, id, open, open_with, picture, spans};
use crate::{Batch, Error};

/// A store that is never closed leaves everything to the next one.
pub async fn survives_a_crash(url: &str) {
    let (store, tenant) = open_with(url, "acme").await;
    let spans = spans::trace(1, 40);
    let versions = append(&*store, &tenant, spans.clone()).await.unwrap().versions;
    let before = picture(&*store, &tenant, &spans).await;
    assert_eq!(before.spans.len(), 40);
    // Still open, as after a crash: nothing was folded in or flushed on the way out.
    let next = open(url).await;
    assert_eq!(picture(&*next, &tenant, &spans).await, before);
    assert_eq!(next.versions(std::slice::from_ref(&tenant)).await.unwrap().versions[0], versions);
    drop(store);
    next.close().await;
    assert!(matches!(next.ping().await, Err(Error::Unavailable { .. })), "closed is closed");
    assert!(append(&*next, &tenant, spans.clone()).await.is_err());
    assert_eq!(picture(&*open(url).await, &tenant, &spans).await, before);
}

/// A group in which one batch cannot be kept stores the others, and of that one nothing.
pub async fn a_failed_append_leaves_nothing(url: &str) {
    use nexarch_core::span::Value;
    let (store, tenant) = open_with(url, "acme").await;
    let mut deep = Value::Null;
    for _ in 0..500 {
        deep = Value::Array(vec![deep]);
    }
    let mut bad = spans::trace(1, 3);
    bad[2].attributes.push(("deep".into(), deep));
    let batch = |spans| Batch { created_us: None, tenant: tenant.clone(), spans };
    let answers = store.append(vec![batch(bad), batch(spans::trace(2, 3))]).await.unwrap();
    assert!(matches!(answers[0], Err(Error::Internal(_))), "{answers:?}");
    assert_eq!(answers[1].as_ref().unwrap().accepted, 3);
    let mut both = spans::trace(1, 3);
    both.extend(spans::trace(2, 3));
    assert_eq!(picture(&*store, &tenant, &both).await.spans, spans::trace(2, 3));
    assert_eq!(append(&*store, &tenant, spans::trace(1, 3)).await.unwrap().accepted, 3);
}

/// A caller who hangs up in the middle leaves all or nothing, and the store goes on.
pub async fn a_dropped_append_leaves_nothing(url: &str) {
    let (store, tenant) = open_with(url, "acme").await;
    let mut polls = 0;
    for number in 0..40 {
        let spans = spans::trace(number, 20);
        // Each round gives up one step later, so that every await is once the last.
        let left = give_up_after(number, append(&*store, &tenant, spans.clone())).await;
        polls += usize::from(left.is_none());
        let seen = picture(&*store, &tenant, &spans).await;
        assert!(matches!(seen.spans.len(), 0 | 20), "half a batch: {}", seen.spans.len());
        let again = append(&*store, &tenant, spans.clone()).await.unwrap();
        assert_eq!(again.accepted + seen.spans.len() as u64, 20);
        let facts: Vec<_> = spans.iter().map(nexarch_core::facts::Facts::from).collect();
        let other = id(&format!("t{number}"));
        store.create_tenant(&other, "").await.unwrap();
        append(&*store, &other, spans.clone()).await.unwrap();
        assert_eq!(
            super::folded(&*store, &other).await,
            super::fold(nexarch_core::infer::contribution(&facts).encode())
        );
    }
    assert!(polls > 5, "only {polls} appends were given up: the test tests nothing");
    let all: Vec<_> = (0..40).flat_map(|number| spans::trace(number, 20)).collect();
    let whole = picture(&*store, &tenant, &all).await;
    assert_eq!((whole.spans.len(), whole.totals.spans, whole.totals.traces), (800, 800, 40));
}

/// Polls a future at most `polls` times.
pub(super) async fn give_up_after<T>(polls: u64, future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    let mut left = polls;
    std::future::poll_fn(|context| {
        if left == 0 {
            return std::task::Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}
