//! The life of a database: batches come, traces are settled, minutes are merged, days dropped, tenants deleted.

use std::{future::poll_fn, io::Write, path::Path, pin::pin, sync::Arc, time::Duration};

use nexarch_core::{ids::TenantId, span::Span};
use nexarch_store::{Batch, Error, Options, Place, Retention, Role, Store};

use crate::spans;

/// The tenant that stays.
pub(crate) const KEPT: &str = "kept";
/// Said in the middle of a work, just before nothing happens any more.
pub(crate) const CUT: &str = "cut";

/// Spans of a day, so that the old one of each batch goes; rollups of all of them stay.
const RETENTION: Retention =
    Retention { spans: Duration::from_hours(24), rollups: Duration::from_hours(24 * 300) };
/// Between two batches: minutes are closed, and traces fall quiet.
const BETWEEN_US: u64 = 10 * 60_000_000;
/// Batches that a process takes at most before it is to be killed: not every one drops a day or fills an hour.
const PATIENCE: u64 = 8;

/// A database as it is after so many batches.
pub(crate) async fn open(path: &Path, batches: u64) -> Arc<dyn Store> {
    let url = format!("sqlite://{}", path.display());
    let now_us = now_us(batches);
    nexarch_store::open(&url, Options::new(Role::Owner, move || now_us)).await.expect("the database opens")
}

fn now_us(batches: u64) -> u64 {
    spans::BASE_NS / 1_000 + 6 * 3_600_000_000 + batches * BETWEEN_US
}

pub(crate) fn id(tenant: &str) -> TenantId {
    tenant.parse().expect("a tenant id")
}

/// Makes a tenant unless it is there.
pub(crate) async fn tenant(store: &dyn Store, tenant: &str) {
    match store.create_tenant(&id(tenant), "").await {
        Ok(_) | Err(Error::Exists(_)) => {}
        Err(error) => panic!("{error}"),
    }
}

/// Goes on behind so many batches, a line for each that is stored, until `polls` polls of `work` were made.
pub(crate) async fn live(path: &Path, from: u64, work: &str, polls: usize) {
    for batch in from..from + PATIENCE {
        // A process, and a clock, for each: what is remembered in between is read anew.
        let store = open(path, batch).await;
        let polls = |name: &str| if name == work { polls } else { usize::MAX };
        tenant(&*store, KEPT).await;
        let gone = format!("gone-{batch}");
        tenant(&*store, &gone).await;
        let batches = vec![(KEPT.to_owned(), spans::kept(batch..batch + 1)), (gone, spans::gone(batch))];
        cut_after(polls("append"), append(&*store, batches)).await;
        say(&(batch + 1).to_string());
        // However often it was settled, and so would wait: there is something to settle with each batch.
        cut_after(polls("settle"), settle(&*store, u64::MAX)).await;
        cut_after(polls("compact"), compact(&*store)).await;
        cut_after(polls("retain"), retain(&*store)).await;
        cut_after(polls("purge"), purge(&*store)).await;
        store.close().await;
    }
}

/// Everything but appends.
pub(crate) async fn grow_old(store: &dyn Store) {
    settle(store, u64::MAX).await;
    compact(store).await;
    retain(store).await;
    purge(store).await;
}

pub(crate) async fn append(store: &dyn Store, batches: Vec<(String, Vec<Span>)>) {
    let batches =
        batches.into_iter().map(|(tenant, spans)| Batch { created_us: None, tenant: id(&tenant), spans });
    let stored = store.append(batches.collect()).await.expect("stored");
    assert!(stored.iter().all(Result::is_ok), "{stored:?}");
}

pub(crate) async fn settle(store: &dyn Store, due_us: u64) {
    while store.settle(due_us, None).await.expect("a round").more {}
}

async fn compact(store: &dyn Store) {
    let mut place = Some(Place::default());
    while let Some(from) = place {
        place = store.compact(from).await.expect("a step").next;
    }
}

async fn retain(store: &dyn Store) {
    while store.retain(RETENTION).await.expect("a step").next.is_some() {}
}

/// Deletes every tenant but one, also those that a killed process left.
async fn purge(store: &dyn Store) {
    for tenant in store.tenants().await.expect("tenants") {
        if tenant.id != id(KEPT) {
            store.delete_tenant(&tenant.id).await.expect("deleted");
        }
    }
    while store.purge().await.expect("a step").next.is_some() {}
}

/// Polls so often, then says so and never goes on: whoever listens kills this process.
async fn cut_after<T>(polls: usize, work: impl Future<Output = T>) -> T {
    let (mut work, mut left) = (pin!(work), polls);
    poll_fn(|context| {
        if left == 0 {
            say(CUT);
            loop {
                std::thread::park();
            }
        }
        left -= 1;
        work.as_mut().poll(context)
    })
    .await
}

fn say(line: &str) {
    println!("{line}");
    std::io::stdout().flush().expect("a line");
}
