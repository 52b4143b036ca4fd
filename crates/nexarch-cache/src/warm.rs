//! Warming: computing a value before anybody asks for it, by the very path of a read.

use crate::cache::{Cache, Inner};
use crate::compute::{Landing, Origin, Plan};
use crate::entry::Entry;
use crate::error::{BoxError, Error};
use crate::fence::Fence;
use crate::fly::Terms;
use crate::key::Scope;
use crate::read::{Computed, Read};
use crate::tenants::Tenant;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;

/// What warming one value did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Warmed {
    /// What computing it took.
    pub compute_time: Duration,
    /// Bytes of the value.
    pub bytes: usize,
    /// Whether memory keeps it.
    pub memory: bool,
    /// Whether the shared tier took it.
    pub redis: bool,
    /// The newest version that the value surely contains.
    pub version: u64,
}

/// A tier that keeps values, as statistics and answers call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StoredIn {
    /// This process.
    Memory,
    /// The tier that nodes share.
    Redis,
}

impl Warmed {
    /// The tiers that keep it.
    pub fn stored(&self) -> Vec<StoredIn> {
        let tiers = [(self.memory, StoredIn::Memory), (self.redis, StoredIn::Redis)];
        tiers.into_iter().filter_map(|(kept, tier)| kept.then_some(tier)).collect()
    }
}

impl Cache {
    /// Computes `read` anew, as a read with `no_cache` would, and stores it in every tier; ends when the shared tier has
    /// answered, too. It counts as no request. At most one computation of a key runs and one waits, so warming the same
    /// value many times costs two computations at most; and what is invalidated meanwhile is not served.
    ///
    /// # Errors
    /// [`Error::Disabled`] while the cache is switched off, else as [`Cache::get_or_compute`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), nexarch_cache::Error> {
    /// use nexarch_cache::{Cache, Computed, LocalAuthority, Operation, Read, Scope};
    /// use std::{sync::Arc, time::Duration};
    /// use tokio_util::task::TaskTracker;
    ///
    /// let cache = Cache::builder(Arc::new(LocalAuthority::default()))
    ///     .operations([Operation::new("report", Duration::from_secs(60))])
    ///     .build(TaskTracker::new())?;
    /// let (acme, report) = (Scope::new("acme")?, cache.operation("report")?);
    /// let compute = |_| async { Ok(Computed::new("42")) };
    /// let warmed = cache.warm(&acme, Read::new(report, "year=2025"), compute).await?;
    /// assert!(warmed.memory && !warmed.redis);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn warm<F, Fut>(&self, scope: &Scope, read: Read<'_>, compute: F) -> Result<Warmed, Error>
    where
        F: FnOnce(Fence) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Computed, BoxError>> + Send + 'static,
    {
        let operation = self.inner.operations.get(read.operation)?;
        if !self.is_enabled() {
            return Err(Error::Disabled);
        }
        // Written below, where it is waited for.
        let plan = Plan { behind: false, ..Plan::new(scope, operation, &read) };
        let tenant = self.inner.current(scope, 0).await?;
        let needed = tenant.mirror.certain(plan.operation.index(), plan.follows_data);
        tenant.touch(self.inner.clock.boot());
        let terms = Terms { fresh: true, look_first: false };
        let inner = Arc::clone(&self.inner);
        // On a task of its own: when the caller hangs up, what others joined is still to reach the shared tier.
        let warmed = async move {
            let landing = inner.fly(&tenant, &plan, needed, terms, compute).await?;
            Ok(inner.store_warmed(&tenant, &plan, landing).await)
        };
        self.inner.tracker.spawn(warmed).await.unwrap_or(Err(Error::Dropped))
    }
}

impl Inner {
    async fn store_warmed(self: &Arc<Self>, tenant: &Arc<Tenant>, plan: &Plan, landing: Landing) -> Warmed {
        let memory = match landing.origin {
            Origin::Computed { stored } => stored,
            Origin::Shared | Origin::Fetched | Origin::Awaited => keeps(tenant, plan, &landing.entry),
        };
        let (compute_time, bytes) = (landing.entry.cost, landing.entry.body.len());
        let version = landing.entry.contains;
        let redis = self.write_through(tenant, plan, &landing.entry).await;
        Warmed { compute_time, bytes, memory, redis, version }
    }
}

/// Whether memory holds this very value.
fn keeps(tenant: &Tenant, plan: &Plan, entry: &Arc<Entry>) -> bool {
    let held = tenant.memory.ring().get(&plan.key(tenant), &plan.params);
    held.is_some_and(|held| Arc::ptr_eq(&held, entry))
}
