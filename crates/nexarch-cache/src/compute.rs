//! Computing a value: what is needed for it, what came of it, and where it is kept.

use crate::behind::Written;
use crate::cache::Inner;
use crate::clock::BootTime;
use crate::early;
use crate::entry::{Entry, Etag, jittered, snug};
use crate::error::{BoxError, Error};
use crate::fence::{Epoch, Fence};
use crate::key::{EntryKey, Scope};
use crate::mirror::Needed;
use crate::operation::{Operation, OperationId};
use crate::others::Lease;
use crate::read::{Computed, Read, Shape};
use crate::tenants::Tenant;
use crate::tier::count;
use crate::variant::Variants;
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tracing::Instrument;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// What a flight brought.
#[derive(Clone, Debug)]
pub(crate) struct Landing {
    pub(crate) entry: Arc<Entry>,
    pub(crate) origin: Origin,
    /// Of what was computed here and is sent to the shared tier: what becomes of it there.
    pub(crate) written: Option<Written>,
}

impl Landing {
    /// What was there already.
    pub(crate) fn found(entry: Arc<Entry>, origin: Origin) -> Self {
        Self { entry, origin, written: None }
    }

    /// As those get it who joined the flight.
    pub(crate) fn shared(mut self) -> Self {
        if matches!(self.origin, Origin::Computed { .. }) {
            self.origin = Origin::Shared;
        }
        self
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Computed, and stored or not.
    Computed { stored: bool },
    /// Another reader's computation.
    Shared,
    /// Found in the shared tier.
    Fetched,
    /// Found there after another node had computed it.
    Awaited,
}

/// Everything a computation needs to know of its entry, whoever waits for it.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) scope: Scope,
    pub(crate) operation: OperationId,
    pub(crate) params: Arc<str>,
    pub(crate) follows_data: bool,
    pub(crate) ttl: Duration,
    pub(crate) grace: Duration,
    pub(crate) negative_ttl: Duration,
    pub(crate) hard_timeout: Duration,
    /// Of the schema of the body.
    pub(crate) fingerprint: u64,
    /// A hash of its type; 0 for bytes.
    pub(crate) of_type: u64,
    pub(crate) shape: &'static Shape,
    /// Other nodes wait for what is computed under it.
    pub(crate) lease: Option<Lease>,
    /// Its key in the epoch that it was made in, which is nearly always the one that is asked for.
    pub(crate) known_as: (Epoch, EntryKey),
}

impl Plan {
    pub(crate) fn new(scope: &Scope, operation: &Operation, read: &Read<'_>, epoch: Epoch) -> Self {
        let ttl = read.ttl.map_or(operation.ttl, |ttl| ttl.min(operation.ttl));
        Self {
            scope: scope.clone(),
            operation: read.operation,
            params: read.params.into(),
            follows_data: read.depends_on_data.unwrap_or(operation.depends_on_data),
            ttl,
            grace: operation.grace.min(ttl),
            negative_ttl: operation.negative_ttl,
            hard_timeout: operation.hard_timeout,
            fingerprint: xxh3_64_with_seed(operation.schema.as_bytes(), read.of_type),
            of_type: read.of_type,
            shape: read.shape,
            lease: None,
            known_as: (epoch, EntryKey::new(epoch, read.operation, read.params, read.of_type)),
        }
    }

    /// How long a value is fresh at most, and how long it is of any use, its grace included.
    pub(crate) fn life(&self, negative: bool) -> (Duration, Duration) {
        let (ttl, grace) = if negative {
            (self.ttl.min(self.negative_ttl), self.grace.min(self.negative_ttl))
        } else {
            (self.ttl, self.grace)
        };
        (ttl, ttl.saturating_add(grace))
    }

    pub(crate) fn key(&self, tenant: &Tenant) -> EntryKey {
        let (epoch, key) = self.known_as;
        if epoch == tenant.mirror.epoch() {
            return key;
        }
        EntryKey::new(tenant.mirror.epoch(), self.operation, &self.params, self.of_type)
    }
}

impl Inner {
    /// Computes under `needed`, raises the mirror by what was seen, and stores the value.
    pub(crate) async fn compute<F, Fut>(
        self: &Arc<Self>,
        tenant: &Arc<Tenant>,
        plan: &Plan,
        needed: Needed,
        compute: F,
    ) -> Result<Landing, Error>
    where
        F: FnOnce(Fence) -> Fut + Send,
        Fut: Future<Output = Result<Computed, BoxError>> + Send,
    {
        let began = self.clock.boot();
        let (computed, cost) = self.attempt(plan, needed.fence, began, compute).await;
        for counters in self.counted(tenant, plan.operation) {
            match &computed {
                Ok(_) => counters.computed(cost),
                Err(error) if error.began() => count(&counters.errors),
                Err(_) => {}
            }
        }
        let (computed, label) = computed.inspect_err(|_| self.give_up(plan))?;

        // Seen, therefore committed: no later read on this node may get less.
        tenant.mirror.raise_data(label.data);
        let key = plan.key(tenant);
        let chance = (key.chance() ^ began.as_nanos()).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let (ttl, whole) = plan.life(computed.negative);
        let expires = began.plus(jittered(ttl, chance));
        let body = snug(computed.body);
        let entry = Arc::new(Entry {
            params: Arc::clone(&plan.params),
            etag: Etag::of(&body),
            body,
            label,
            contains: label.newest().max(needed.known),
            computed_at: began,
            expires,
            dies: expires.plus(whole.saturating_sub(ttl)),
            cost,
            negative: computed.negative,
            early: early::begins(began, expires, cost),
            refreshing: false.into(),
            variants: Variants::default(),
        });
        let stored = self.store(tenant, key, &entry);
        let written = if entry.fresh(self.clock.boot()) {
            self.write_behind(tenant, plan, &entry)
        } else {
            tenant.counters.of(plan.operation).unshared.add(key);
            self.give_up(plan);
            None
        };
        Ok(Landing { entry, origin: Origin::Computed { stored }, written })
    }

    /// Runs the computation within its limit: what it brought, with its label, and what it took.
    async fn attempt<F, Fut>(
        &self,
        plan: &Plan,
        fence: Fence,
        began: BootTime,
        compute: F,
    ) -> (Result<(Computed, Fence), Error>, Duration)
    where
        F: FnOnce(Fence) -> Fut + Send,
        Fut: Future<Output = Result<Computed, BoxError>> + Send,
    {
        let name = self.operations.get(plan.operation).map_or("", |operation| &operation.name);
        let span = tracing::debug_span!("compute", operation = name);
        let computed = AssertUnwindSafe(async move { compute(fence).await }).catch_unwind().instrument(span);
        let computed = tokio::time::timeout(plan.hard_timeout, computed).await;
        let mut cost = self.clock.boot().since(began);
        if let Ok(Ok(Ok(Computed { took: Some(took), .. }))) = &computed {
            cost = cost.min(*took);
        }
        let computed = match computed {
            Ok(Ok(Ok(computed))) => label(plan, &fence, &computed).map(|label| (computed, label)),
            Ok(Ok(Err(error))) => Err(Error::Compute(Arc::from(error))),
            Ok(Err(_panic)) => Err(Error::Panicked),
            Err(_elapsed) => Err(Error::TimedOut { limit: plan.hard_timeout }),
        };
        if self.sole_owner && matches!(computed, Err(Error::Outdated { .. })) {
            // The database was set back, which nobody else here would notice: the next read asks.
            self.truth.distrust(self.clock.boot());
        }
        (computed, cost)
    }

    fn store(&self, tenant: &Tenant, key: EntryKey, entry: &Arc<Entry>) -> bool {
        let now = self.clock.boot();
        let wanted = self.enabled() && entry.fresh(now) && entry.body.len() <= self.max_value_bytes;
        wanted && tenant.memory.store(key, Arc::clone(entry), now)
    }
}

/// The label of what was computed under `fence`: what the computation says it saw of the data, the fence else.
fn label(plan: &Plan, fence: &Fence, computed: &Computed) -> Result<Fence, Error> {
    if !plan.follows_data {
        return Ok(*fence);
    }
    let seen = computed.data_version.unwrap_or(fence.data);
    if seen < fence.data {
        return Err(Error::Outdated { seen, needed: fence.data });
    }
    Ok(Fence { data: seen, ..*fence })
}
