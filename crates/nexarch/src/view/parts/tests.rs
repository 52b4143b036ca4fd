//! Over a real database: what is shared is equal to what is made alone, is of the version that its reader saw, and goes.

use std::{future::pending, sync::atomic::Ordering};

use nexarch_core::export::Format;
use nexarch_store::{Batch, Options, Role, Store};

use super::{
    super::{Objectives, Range, View, compute},
    *,
};
use crate::{demo::Shop, http::Params, lifecycle};

const MINUTE_NS: u64 = 60_000_000_000;
const OPENED_NS: u64 = 1_790_000_040_000_000_000;

/// A store with some minutes of the shop.
struct Shelved {
    store: Arc<dyn Store>,
    tenant: TenantId,
    objectives: Objectives,
    shop: Shop,
    _folder: tempfile::TempDir,
}

impl Shelved {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("a.db").display());
        let store = nexarch_store::open(&url, Options::new(Role::Owner, lifecycle::now_us)).await.unwrap();
        let tenant: TenantId = "acme".parse().unwrap();
        store.create_tenant(&tenant, "").await.unwrap();
        let objectives = Objectives::new(std::time::Duration::from_secs(1), 0.99);
        let shelved = Self { store, tenant, objectives, shop: Shop::new(7, OPENED_NS), _folder: folder };
        shelved.append(0..3).await;
        shelved
    }

    /// Stores what customers of some minutes do.
    async fn append(&self, minutes: std::ops::Range<u64>) {
        let ns = |minute: u64| OPENED_NS + minute * MINUTE_NS;
        let spans = self.shop.customers(ns(minutes.start), ns(minutes.end));
        let batch = Batch { tenant: self.tenant.clone(), created_us: None, spans };
        self.store.append(vec![batch]).await.unwrap().pop().unwrap().unwrap();
    }

    /// The body of a view, which tells of what version it is.
    async fn compute(&self, view: &View, parts: Option<&Parts>) -> String {
        let computed = compute(&*self.store, &self.tenant, view, &self.objectives, parts).await.unwrap();
        String::from_utf8(computed.body().to_vec()).unwrap()
    }

    async fn version(&self) -> u64 {
        self.store.snapshot(&self.tenant).await.unwrap().data_version()
    }
}

/// Every route, of two windows and an environment.
fn views() -> Vec<View> {
    let params = [&[("window", "15m")][..], &[], &[("environment", "production")]];
    params.into_iter().flat_map(|params| of_range(&range(params))).collect()
}

fn range(params: &[(&str, &str)]) -> Range {
    let query: Vec<String> = params.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let uri = format!("/?{}", query.join("&")).parse().unwrap();
    Range::parse(&Params::parse(&uri, &["window", "environment"]).unwrap()).unwrap()
}

fn of_range(range: &Range) -> Vec<View> {
    let range = || range.clone();
    vec![
        View::Overview(range()),
        View::Map(range()),
        View::Export(range(), Format::ALL[0]),
        View::Services(range()),
        View::Service(range(), "checkout".to_owned()),
        View::Service(range(), "nobody".to_owned()),
        View::ServiceMetrics(range(), "checkout".to_owned()),
        View::Trends(range()),
        View::Bottlenecks(range()),
        View::Dependencies(range()),
        View::Health(range()),
        View::Issues(range()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_of_shared_parts_is_equal_to_the_byte_to_what_is_made_alone() {
    let (shop, parts) = (Shelved::new().await, Parts::default());
    for minute in 3..6 {
        let _held = parts.hold(&shop.tenant);
        for view in views() {
            let alone = shop.compute(&view, None).await;
            assert_eq!(shop.compute(&view, Some(&parts)).await, alone, "{}", view.key());
        }
        // What is held is of the version before: it must not show here.
        shop.append(minute..minute + 1).await;
        for view in views() {
            let alone = shop.compute(&view, None).await;
            assert_eq!(shop.compute(&view, Some(&parts)).await, alone, "{} after a change", view.key());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_computation_reads_and_folds_nothing_that_is_held() {
    let (shop, parts) = (Shelved::new().await, Parts::default());
    let held = parts.hold(&shop.tenant);
    shop.compute(&View::Overview(Range::default()), Some(&parts)).await;
    let shared = parts.at(&shop.tenant, shop.version().await);
    for key in shared.cells.keys() {
        // A read that is begun never ends.
        assert!(!shared.cells.read::<()>(key, pending()).await.unwrap().blobs.is_empty());
    }
    for key in shared.sampled.keys() {
        assert!(!shared.sampled.read::<()>(key, pending()).await.unwrap().traces.is_empty());
    }
    let folded = tokio::task::spawn_blocking(move || {
        for key in shared.bases.keys() {
            shared.bases.make::<()>(key, || panic!("made twice")).unwrap();
        }
        let keys = (shared.cells.keys(), shared.rollups.keys(), shared.graphs.keys(), shared.bases.keys());
        assert_eq!((keys.0.len(), keys.1.len(), keys.2.len(), keys.3.len()), (1, 1, 1, 1));
    });
    folded.await.unwrap();
    assert!(parts.room.taken.load(Ordering::Relaxed) > 0);
    drop(held);
    assert_eq!(parts.room.taken.load(Ordering::Relaxed), 0, "what nobody holds is gone");
    assert!(parts.tenants().is_empty());
}

#[test]
fn parts_are_of_one_version_and_of_one_tenant() {
    let (parts, [acme, zoo]) = (Parts::default(), ["acme", "zoo"].map(|id| id.parse().unwrap()));
    let _held = [parts.hold(&acme), parts.hold(&zoo)];
    let first = parts.at(&acme, 7);
    assert!(Arc::ptr_eq(&first, &parts.at(&acme, 7)));
    assert!(!Arc::ptr_eq(&first, &parts.at(&zoo, 7)));
    let next = parts.at(&acme, 8);
    assert_eq!((first.version, next.version), (7, 8));
    let late = parts.at(&acme, 7);
    assert_eq!(late.version, 7, "older than the newest: nobody shares with it");
    assert!(!Arc::ptr_eq(&late, &first) && !Arc::ptr_eq(&late, &parts.at(&acme, 7)));
    assert!(Arc::ptr_eq(&next, &parts.at(&acme, 8)), "the newest is not replaced");
}

#[test]
fn what_nobody_uses_is_forgotten() {
    let parts = Parts::default();
    for nth in 0..10 * MANY {
        let tenant: TenantId = format!("t{nth}").parse().unwrap();
        drop(parts.at(&tenant, 1));
        if nth % 2 == 0 {
            drop(parts.hold(&tenant));
        }
    }
    assert!(parts.tenants().len() <= MANY, "{}", parts.tenants().len());
}
