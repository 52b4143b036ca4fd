//! The order of a read: what it needs, memory, then one flight that looks further. Nothing else.

use crate::authority::Authority;
use crate::builder::Builder;
use crate::changes::Signal;
use crate::checker::Checker;
use crate::clock::{BootTime, Clock};
use crate::compute::{Landing, Origin, Plan};
use crate::entry::Entry;
use crate::error::{BoxError, Error};
use crate::fairness::Budget;
use crate::fence::Fence;
use crate::fly::Terms;
use crate::key::{EntryKey, Scope};
use crate::mirror::Needed;
use crate::node::Node;
use crate::operation::{Operation, OperationId, Operations};
use crate::outcome::{Answer, Source};
use crate::read::{Computed, Read};
use crate::removal::Removals;
use crate::sync::lock;
use crate::tenants::{Tenant, Tenants};
use crate::tier::{Tier, count};
use crate::truth::Truth;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;
use tokio_util::task::TaskTracker;

/// A read-through cache; see the [crate documentation](crate) for what it guarantees. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Cache {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) authority: Arc<dyn Authority>,
    pub(crate) sole_owner: bool,
    /// A sole owner that has no guests.
    pub(crate) alone: bool,
    pub(crate) knows_all: bool,
    pub(crate) tier: Option<Tier>,
    pub(crate) checker: Option<Checker>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) tracker: TaskTracker,
    pub(crate) namespace: Box<str>,
    pub(crate) operations: Operations,
    pub(crate) budget: Arc<Budget>,
    pub(crate) tenants: Tenants,
    pub(crate) node: Node,
    pub(crate) truth: Truth,
    pub(crate) max_value_bytes: usize,
    pub(crate) removals: Removals,
    pub(crate) changes: Signal,
    pub(crate) enabled: AtomicBool,
    /// When it was built or last switched on or off.
    pub(crate) switched: Mutex<SystemTime>,
}

impl Cache {
    /// Begins to build a cache over the authority that holds its versions.
    pub fn builder(authority: Arc<dyn Authority>) -> Builder {
        Builder::new(authority)
    }

    /// The operation of this name, to be kept: looking it up is not part of a read.
    pub fn operation(&self, name: &str) -> Result<OperationId, Error> {
        self.inner.operations.named(name)
    }

    /// The policy of an operation.
    pub fn policy(&self, operation: OperationId) -> Result<&Operation, Error> {
        self.inner.operations.get(operation)
    }

    /// The operations whose whole name matches `pattern`: `*` is any run of characters, `?` any one, everything
    /// else literal, at most 128 characters.
    pub fn matching(&self, pattern: &str) -> Result<Vec<OperationId>, Error> {
        self.inner.operations.matching(pattern)
    }

    /// Answers `read` for `scope` from memory, from a computation under way, or by `compute`.
    ///
    /// A value is served only if its computation saw everything that was acknowledged before this call. `compute`
    /// is given the versions that it has to see; it runs on a task of the tracker, at most one per key runs and
    /// one waits, and it goes on when the caller hangs up.
    #[expect(
        clippy::manual_async_fn,
        reason = "the arguments of an async fn are copied once more than those of a block"
    )]
    #[inline]
    pub fn get_or_compute<'a, F, Fut>(
        &'a self,
        scope: &'a Scope,
        read: Read<'a>,
        compute: F,
    ) -> impl Future<Output = Result<Answer, Error>> + use<'a, F, Fut>
    where
        F: FnOnce(Fence) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Computed, BoxError>> + Send + 'static,
    {
        async move {
            let inner = &self.inner;
            let operation = inner.operations.get(read.operation)?;
            let now = inner.clock.boot();
            if let Some(checker) = &inner.checker {
                return Box::pin(inner.read_checked(checker, scope, operation, &read, now, compute)).await;
            }
            // Nothing is moved on this way: an answer is made where it is returned.
            if let Some(tenant) = inner.tenants.settled(scope)
                && let Some((entry, source, current_to)) = inner.look(tenant, operation, &read, now)
            {
                if now >= entry.early && matches!(source, Source::Memory) {
                    inner.refresh_early(scope, operation, &read, &entry, now, compute);
                }
                return Ok(Answer { entry, source, now, current_to });
            }
            // Boxed: the future of a hit stays small.
            Box::pin(inner.unsettled(scope, operation, &read, now, compute)).await
        }
    }

    /// The text under which a tier shared by several nodes keeps the entry: `{namespace}:{scope}:{operation}:{hash}`.
    /// That of bytes: a value of a type has another, by its type.
    pub fn key(&self, scope: &Scope, operation: OperationId, params: &str) -> Result<String, Error> {
        let key = EntryKey::new(self.inner.tenants.epoch(), operation, params, 0);
        Ok(key.name(&self.inner.namespace, scope, &self.inner.operations.get(operation)?.name))
    }

    /// The master switch. Switched off, every read computes and what is held is dropped.
    pub fn set_enabled(&self, enabled: bool) {
        if self.inner.enabled.swap(enabled, Ordering::SeqCst) != enabled {
            *lock(&self.inner.switched) = self.inner.clock.wall();
        }
        if !enabled {
            self.inner.tenants.all().iter().for_each(|tenant| tenant.memory.clear(false));
        }
    }

    /// Whether the cache is switched on.
    pub fn is_enabled(&self) -> bool {
        self.inner.enabled()
    }

    /// The authority's credentials version as last read; when it has grown, credentials were revoked.
    pub fn auth_version(&self) -> u64 {
        self.inner.truth.auth_version()
    }

    /// The clock's reading now, to be taken before the statement that locks a scope's row is sent; see
    /// [`Commit::read_at`](crate::Commit::read_at).
    pub fn now(&self) -> BootTime {
        self.inner.clock.boot()
    }
}

impl Inner {
    #[inline]
    pub(crate) fn enabled(&self) -> bool {
        self.enabled.load(Ordering::SeqCst)
    }

    /// A read that is no hit of a scope that knows itself: one of a scope that does not yet, or a miss.
    async fn unsettled<F, Fut>(
        self: &Arc<Self>,
        scope: &Scope,
        operation: &Operation,
        read: &Read<'_>,
        now: BootTime,
        compute: F,
    ) -> Result<Answer, Error>
    where
        F: FnOnce(Fence) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Computed, BoxError>> + Send + 'static,
    {
        if self.tenants.settled(scope).is_none()
            && let Some(answer) = self.hit(scope, operation, read, now)
        {
            if now >= answer.entry.early && matches!(answer.source, Source::Memory) {
                self.refresh_early(scope, operation, read, &answer.entry, now, compute);
            }
            return Ok(answer);
        }
        self.miss(scope, operation, read, compute).await
    }

    /// A memory hit of whatever scope.
    pub(crate) fn hit(
        &self,
        scope: &Scope,
        operation: &Operation,
        read: &Read<'_>,
        now: BootTime,
    ) -> Option<Answer> {
        let found = match self.tenants.settled(scope) {
            Some(tenant) => self.look(tenant, operation, read, now),
            None => self.tenants.look_up(scope, |tenant| self.look(tenant, operation, read, now)),
        };
        found.map(|(entry, source, current_to)| Answer { entry, source, now, current_to })
    }

    /// The whole of a memory hit: no await, no allocation, one reading of the clock. Gives the parts of an [`Answer`].
    #[inline]
    fn look(
        &self,
        tenant: &Tenant,
        operation: &Operation,
        read: &Read<'_>,
        now: BootTime,
    ) -> Option<(Arc<Entry>, Source, u64)> {
        // One number is compared while nobody looks: a span that is off would be a tenth of a hit.
        if tracing::enabled!(tracing::Level::TRACE) {
            return self.look_traced(tenant, operation, read, now);
        }
        self.look_untraced(tenant, operation, read, now)
    }

    #[cold]
    fn look_traced(
        &self,
        tenant: &Tenant,
        operation: &Operation,
        read: &Read<'_>,
        now: BootTime,
    ) -> Option<(Arc<Entry>, Source, u64)> {
        let span =
            tracing::trace_span!("memory", operation = &*operation.name, found = tracing::field::Empty);
        let found = span.in_scope(|| self.look_untraced(tenant, operation, read, now));
        span.record("found", found.is_some());
        found
    }

    #[inline]
    fn look_untraced(
        &self,
        tenant: &Tenant,
        operation: &Operation,
        read: &Read<'_>,
        now: BootTime,
    ) -> Option<(Arc<Entry>, Source, u64)> {
        if read.directives.no_cache
            || !self.enabled()
            || !tenant.mirror.trusted(self.trust(now), self.truth.floor(), read.directives.min_version)
        {
            return None;
        }
        let follows_data = read.depends_on_data.unwrap_or(operation.depends_on_data);
        let needed = tenant.mirror.need(read.operation.index(), follows_data);
        self.serve(tenant, read, &needed, now)
    }

    /// The entry in memory, if this read may have it.
    #[inline]
    fn serve(
        &self,
        tenant: &Tenant,
        read: &Read<'_>,
        needed: &Needed,
        now: BootTime,
    ) -> Option<(Arc<Entry>, Source, u64)> {
        let key = EntryKey::new(needed.fence.epoch, read.operation, read.params, read.of_type);
        let entry = tenant.memory.ring().get(&key, read.params)?;
        if !entry.fresh(now) {
            return None;
        }
        if !entry.label.covers(&needed.fence) {
            return self.overtaken(tenant, read, needed, entry, now);
        }
        tenant.touch(now);
        self.count_hit(tenant, read.operation, now);
        Some((entry, Source::Memory, needed.known))
    }

    /// Counts a memory hit that began at `now`, and times one in so many.
    #[inline]
    pub(crate) fn count_hit(&self, tenant: &Tenant, operation: OperationId, now: BootTime) {
        if tenant.counters.of(operation).count_hit() {
            self.time_hit(tenant, operation, now);
        }
    }

    /// Apart, so that counting takes some twenty instructions on the way of a hit, and no call.
    #[cold]
    #[inline(never)]
    fn time_hit(&self, tenant: &Tenant, operation: OperationId, now: BootTime) {
        let time = self.clock.boot().since(now);
        for counters in self.counted(tenant, operation) {
            counters.hit.record(time);
        }
    }

    pub(crate) async fn miss<F, Fut>(
        self: &Arc<Self>,
        scope: &Scope,
        operation: &Operation,
        read: &Read<'_>,
        compute: F,
    ) -> Result<Answer, Error>
    where
        F: FnOnce(Fence) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Computed, BoxError>> + Send + 'static,
    {
        let follows_data = read.depends_on_data.unwrap_or(operation.depends_on_data);
        let tenant = match self.current(scope, read.directives.min_version).await {
            Ok(tenant) => tenant,
            Err(error @ Error::Unverified(_)) if operation.unverified => {
                return self.unverified(scope, read, follows_data).ok_or(error);
            }
            Err(error) => return Err(error),
        };
        // Its epoch is known now: it stays where it is.
        scope.settle(&tenant);
        let needed = tenant.mirror.certain(read.operation.index(), follows_data);
        let now = self.clock.boot();
        tenant.touch(now);
        let enabled = self.enabled();
        if enabled
            && !read.directives.no_cache
            && let Some((entry, source, current_to)) = self.serve(&tenant, read, &needed, now)
        {
            return Ok(Answer { entry, source, now, current_to });
        }
        let plan = Plan::new(scope, operation, read, needed.fence.epoch);
        if read.directives.only_if_cached {
            // What stands in the shared tier was computed before it asked, too.
            if read.directives.no_cache {
                return Err(Error::NotCached);
            }
            let landing = Box::pin(self.only_if_cached(&tenant, &plan, &needed)).await?;
            return Ok(self.answer(&tenant, read, needed, now, landing, Source::Redis));
        }
        if !enabled {
            let landing = Box::pin(self.compute(&tenant, &plan, needed, compute)).await?;
            return Ok(self.answer(&tenant, read, needed, now, landing, Source::Bypass));
        }
        let fresh = read.directives.no_cache;
        // Who may be served something else while he waits leaves the look to a task, which sees it through.
        let look_first = operation.soft_timeout.is_none() || self.expired(&tenant, read, &needed).is_none();
        let terms = Terms { fresh, look_first };
        let mut flight = pin!(self.fly(&tenant, &plan, needed, terms, compute));
        let landed = match operation.soft_timeout.filter(|_| !fresh) {
            None => flight.await,
            // The flight is on a task of its own, and goes on when nobody waits for it.
            Some(patience) => match tokio::time::timeout(patience, &mut flight).await {
                Ok(landed) => landed,
                Err(_elapsed) => match self.stand_in(&tenant, read, &needed, Source::Expired) {
                    Some(answer) => return Ok(answer),
                    None => flight.await,
                },
            },
        };
        match landed {
            Ok(landing) => {
                let source = source(fresh, landing.origin);
                Ok(self.answer(&tenant, read, needed, now, landing, source))
            }
            Err(error) if fresh => Err(error),
            Err(error) => self.stand_in(&tenant, read, &needed, Source::StaleOnError).ok_or(error),
        }
    }

    fn answer(
        &self,
        tenant: &Tenant,
        read: &Read<'_>,
        needed: Needed,
        began: BootTime,
        landing: Landing,
        source: Source,
    ) -> Answer {
        let now = self.clock.boot();
        for counters in self.counted(tenant, read.operation) {
            match landing.origin {
                Origin::Computed { .. } => count(&counters.misses),
                Origin::Shared => count(&counters.collapsed),
                Origin::Fetched => counters.count_redis_hit(Some(now.since(began))),
                // Most of that time it was being computed.
                Origin::Awaited => counters.count_redis_hit(None),
            }
        }
        Answer { entry: landing.entry, source, now, current_to: needed.known }
    }

    /// In place of a computation that failed or takes long: a value that expired within its grace. Never one that was
    /// overtaken.
    fn stand_in(&self, tenant: &Tenant, read: &Read<'_>, needed: &Needed, source: Source) -> Option<Answer> {
        let now = self.clock.boot();
        let entry = self.expired(tenant, read, needed)?;
        self.counted(tenant, read.operation).iter().for_each(|counters| count(&counters.stale));
        Some(Answer { entry, source, now, current_to: needed.known })
    }

    /// A value within its grace that was not overtaken.
    fn expired(&self, tenant: &Tenant, read: &Read<'_>, needed: &Needed) -> Option<Arc<Entry>> {
        let key = EntryKey::new(needed.fence.epoch, read.operation, read.params, read.of_type);
        let entry = tenant.memory.ring().peek(&key, read.params)?;
        (!entry.dead(self.clock.boot()) && entry.label.covers(&needed.fence)).then_some(entry)
    }

    /// When nobody vouches for anything: what is held within its grace, if it is as new as all that is known or was heard
    /// here.
    fn unverified(&self, scope: &Scope, read: &Read<'_>, follows_data: bool) -> Option<Answer> {
        let asks_for_more = read.directives.no_cache || read.directives.min_version > 0;
        let tenant = self.tenants.get(scope).filter(|_| self.enabled() && !asks_for_more)?;
        let needed = tenant.mirror.need(read.operation.index(), follows_data);
        // It contains what its computation saw, and nobody knows more.
        let needed = Needed { known: 0, ..needed };
        self.stand_in(&tenant, read, &needed, Source::Unverified)
    }

    /// An entry that is older than what is needed, for a read that allows it.
    #[cold]
    fn overtaken(
        &self,
        tenant: &Tenant,
        read: &Read<'_>,
        needed: &Needed,
        entry: Arc<Entry>,
        now: BootTime,
    ) -> Option<(Arc<Entry>, Source, u64)> {
        let allowed = read.directives.max_stale.is_some_and(|max| entry.age(now) <= max)
            && entry.label.covers_but_data(&needed.fence)
            && entry.contains >= read.directives.min_version;
        if !allowed {
            return None;
        }
        tenant.touch(now);
        self.counted(tenant, read.operation).iter().for_each(|counters| count(&counters.stale));
        Some((entry, Source::Overtaken, 0))
    }
}

fn source(requested: bool, origin: Origin) -> Source {
    match (requested, origin) {
        (false, Origin::Computed { stored }) => Source::Computed { stored },
        (false, Origin::Shared) => Source::Shared,
        (_, Origin::Fetched | Origin::Awaited) => Source::Redis,
        (true, Origin::Computed { stored }) => Source::Requested { stored },
        (true, Origin::Shared) => Source::RequestedShared,
    }
}
