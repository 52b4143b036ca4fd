//! Warming: computing a value before anybody asks for it, by the very path of a read.

use crate::cache::{Cache, Inner};
use crate::compute::{Landing, Origin, Plan};
use crate::entry::Entry;
use crate::error::{BoxError, Error};
use crate::fence::Fence;
use crate::fly::Terms;
use crate::key::{EntryKey, Scope};
use crate::read::{Computed, Read};
use crate::tenants::Tenant;
use bytes::Bytes;
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
    /// The value says "there is nothing": [`Computed::negative`].
    pub negative: bool,
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

/// A value that is there, whether or not it had to be computed.
#[derive(Clone, Debug)]
pub struct Ensured {
    /// The value.
    pub body: Bytes,
    /// What computing it did; `None` when somebody had done so.
    pub warmed: Option<Warmed>,
}

/// What memory has of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// As far as is known here, a read would be answered with it.
    Fresh,
    /// It lives, but something was changed or invalidated since it was computed.
    Overtaken,
    /// Nothing, or what expired.
    Absent,
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
        let tenant = self.inner.current(scope, 0).await?;
        let plan = Plan::new(scope, operation, &read, tenant.mirror.epoch());
        let needed = tenant.mirror.certain(plan.operation.index(), plan.follows_data);
        tenant.touch(self.inner.clock.boot());
        let terms = Terms { fresh: true, look_first: false };
        let inner = Arc::clone(&self.inner);
        // On a task of its own: when the caller hangs up, what others joined is still to reach the shared tier.
        let warming = async move {
            let landing = inner.fly(&tenant, &plan, needed, terms, compute).await?;
            Ok(warmed(&tenant, &plan, landing).await)
        };
        self.inner.tracker.spawn(warming).await.unwrap_or(Err(Error::Dropped))
    }

    /// Sees to it that `read` would be a hit: computes it only if neither memory nor the shared tier has a value that may
    /// be served, and stores it in every tier then. It counts as no request.
    ///
    /// # Errors
    /// As [`Cache::warm`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), nexarch_cache::Error> {
    /// use nexarch_cache::{Cache, Computed, Held, LocalAuthority, Operation, Read, Scope};
    /// use std::{sync::Arc, time::Duration};
    /// use tokio_util::task::TaskTracker;
    ///
    /// let cache = Cache::builder(Arc::new(LocalAuthority::default()))
    ///     .operations([Operation::new("report", Duration::from_secs(60))])
    ///     .build(TaskTracker::new())?;
    /// let (acme, read) = (Scope::new("acme")?, Read::new(cache.operation("report")?, "year=2025"));
    /// let compute = |_| async { Ok(Computed::new("42")) };
    /// assert!(cache.ensure(&acme, read, compute).await?.warmed.is_some());
    /// assert!(cache.ensure(&acme, read, compute).await?.warmed.is_none());
    /// assert_eq!(cache.held(&acme, read), Held::Fresh);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn ensure<F, Fut>(&self, scope: &Scope, read: Read<'_>, compute: F) -> Result<Ensured, Error>
    where
        F: FnOnce(Fence) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Computed, BoxError>> + Send + 'static,
    {
        let operation = self.inner.operations.get(read.operation)?;
        if !self.is_enabled() {
            return Err(Error::Disabled);
        }
        let tenant = self.inner.current(scope, 0).await?;
        let plan = Plan::new(scope, operation, &read, tenant.mirror.epoch());
        let needed = tenant.mirror.certain(plan.operation.index(), plan.follows_data);
        let held = tenant.memory.ring().peek(&plan.key(&tenant), &plan.params);
        if let Some(entry) = held.filter(|held| self.inner.serves(held, &needed.fence)) {
            return Ok(Ensured { body: entry.body.clone(), warmed: None });
        }
        let terms = Terms { fresh: false, look_first: false };
        let inner = Arc::clone(&self.inner);
        let ensured = async move {
            let landing = inner.fly(&tenant, &plan, needed, terms, compute).await?;
            let body = landing.entry.body.clone();
            let warmed = match landing.origin {
                Origin::Computed { .. } => Some(warmed(&tenant, &plan, landing).await),
                Origin::Shared | Origin::Fetched | Origin::Awaited => None,
            };
            Ok(Ensured { body, warmed })
        };
        self.inner.tracker.spawn(ensured).await.unwrap_or(Err(Error::Dropped))
    }

    /// What memory has of the value of `read`, as far as is known without asking anybody. It counts as no request and as no
    /// use, and promises nothing: a hint for who wonders whether to warm.
    pub fn held(&self, scope: &Scope, read: Read<'_>) -> Held {
        let (Ok(operation), Some(tenant)) =
            (self.inner.operations.get(read.operation), self.inner.tenants.get(scope))
        else {
            return Held::Absent;
        };
        let follows_data = read.depends_on_data.unwrap_or(operation.depends_on_data);
        let needed = tenant.mirror.need(read.operation.index(), follows_data).fence;
        let key = EntryKey::new(needed.epoch, read.operation, read.params, read.of_type);
        match tenant.memory.ring().peek(&key, read.params) {
            Some(entry) if !entry.fresh(self.inner.clock.boot()) => Held::Absent,
            Some(entry) if entry.label.covers(&needed) => Held::Fresh,
            Some(_) => Held::Overtaken,
            None => Held::Absent,
        }
    }

    /// The newest version of `scope` that this node knows without asking anybody; `None` for a scope it has not met. It
    /// moves with every change.
    pub fn known_version(&self, scope: &Scope) -> Option<u64> {
        self.inner.tenants.get(scope).map(|tenant| tenant.mirror.known())
    }
}

impl Inner {
    fn serves(&self, entry: &Entry, needed: &Fence) -> bool {
        entry.fresh(self.clock.boot()) && entry.label.covers(needed)
    }
}

/// Tells what is kept where, as soon as the shared tier has answered.
async fn warmed(tenant: &Tenant, plan: &Plan, landing: Landing) -> Warmed {
    let memory = match landing.origin {
        Origin::Computed { stored } => stored,
        Origin::Shared | Origin::Fetched | Origin::Awaited => keeps(tenant, plan, &landing.entry),
    };
    let redis = match &landing.written {
        Some(written) => written.wait().await,
        None => false,
    };
    let (compute_time, bytes) = (landing.entry.cost, landing.entry.body.len());
    let (version, negative) = (landing.entry.contains, landing.entry.negative);
    Warmed { compute_time, bytes, memory, redis, version, negative }
}

/// Whether memory holds this very value.
fn keeps(tenant: &Tenant, plan: &Plan, entry: &Arc<Entry>) -> bool {
    let held = tenant.memory.ring().get(&plan.key(tenant), &plan.params);
    held.is_some_and(|held| Arc::ptr_eq(&held, entry))
}
