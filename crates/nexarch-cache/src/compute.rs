//! Computing a missing value: as the leader of a flight, as one who joined it, or alone.

use crate::cache::Inner;
use crate::entry::{Entry, etag, jittered};
use crate::error::{BoxError, Error};
use crate::fence::Fence;
use crate::flight::{Arrival, Ticket};
use crate::key::{EntryKey, Scope};
use crate::mirror::Needed;
use crate::operation::OperationId;
use crate::read::Computed;
use crate::tenants::Tenant;
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// What a flight is of. The parameters are part of it: two that share a hash share no computation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FlightKey {
    entry: EntryKey,
    params: Arc<str>,
}

/// How those who wait for a flight are woken and answered.
#[derive(Debug)]
pub(crate) struct Handle {
    start: Notify,
    done: watch::Sender<Option<Result<Landing, Error>>>,
}

/// What a flight brought.
#[derive(Clone, Debug)]
pub(crate) struct Landing {
    pub(crate) entry: Arc<Entry>,
    pub(crate) origin: Origin,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Computed, and stored or not.
    Computed { stored: bool },
    /// Another reader's computation.
    Shared,
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
}

/// A flight under way: ends it when dropped, so that no panic and no shutdown leaves anybody waiting.
struct Flight {
    tenant: Arc<Tenant>,
    key: FlightKey,
    ticket: Ticket<Arc<Handle>>,
    waits: bool,
}

impl Handle {
    fn new() -> Arc<Self> {
        Arc::new(Self { start: Notify::new(), done: watch::Sender::new(None) })
    }

    async fn landed(&self) -> Result<Landing, Error> {
        let mut done = self.done.subscribe();
        let landed = done.wait_for(Option::is_some).await.map(|landed| landed.clone());
        landed.ok().flatten().unwrap_or(Err(Error::Dropped))
    }
}

impl Flight {
    fn land(self, result: Result<Landing, Error>) {
        self.ticket.handle.done.send_replace(Some(result));
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.ticket.handle.done.send_if_modified(|landed| {
            let dropped = landed.is_none();
            landed.get_or_insert(Err(Error::Dropped));
            dropped
        });
        if let Some(next) = self.tenant.flights.finish(&self.key, self.ticket.id) {
            next.start.notify_one();
        }
    }
}

impl Plan {
    pub(crate) fn key(&self, tenant: &Tenant) -> EntryKey {
        EntryKey::new(tenant.mirror.epoch(), self.operation, &self.params)
    }
}

impl Inner {
    /// One computation for all who miss `plan` under a fence that it covers.
    pub(crate) async fn fly<F, Fut>(
        self: &Arc<Self>,
        tenant: Arc<Tenant>,
        plan: Plan,
        needed: Needed,
        fresh: bool,
        compute: F,
    ) -> Result<Landing, Error>
    where
        F: FnOnce(Fence) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Computed, BoxError>> + Send + 'static,
    {
        let key = FlightKey { entry: plan.key(&tenant), params: Arc::clone(&plan.params) };
        match tenant.flights.arrive(key.clone(), &needed.fence, fresh, Handle::new) {
            Arrival::Lead(ticket) => {
                let flight = Flight { tenant, key, ticket, waits: false };
                self.lead(flight, plan, needed, compute).await
            }
            Arrival::Wait(ticket) => {
                let flight = Flight { tenant, key, ticket, waits: true };
                self.lead(flight, plan, needed, compute).await
            }
            Arrival::Join(handle) => {
                let mut landing = handle.landed().await?;
                landing.origin = Origin::Shared;
                Ok(landing)
            }
            Arrival::Alone => self.alone(tenant, plan, needed, compute).await,
        }
    }

    /// Computes on a task of its own, which goes on when the caller hangs up: others may have joined.
    async fn lead<F, Fut>(
        self: &Arc<Self>,
        flight: Flight,
        plan: Plan,
        needed: Needed,
        compute: F,
    ) -> Result<Landing, Error>
    where
        F: FnOnce(Fence) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Computed, BoxError>> + Send + 'static,
    {
        let handle = Arc::clone(&flight.ticket.handle);
        let inner = Arc::clone(self);
        self.tracker.spawn(async move {
            let result = inner.run(&flight, &plan, needed, compute).await;
            flight.land(result);
        });
        handle.landed().await
    }

    async fn run<F, Fut>(
        self: &Arc<Self>,
        flight: &Flight,
        plan: &Plan,
        needed: Needed,
        compute: F,
    ) -> Result<Landing, Error>
    where
        F: FnOnce(Fence) -> Fut + Send,
        Fut: Future<Output = Result<Computed, BoxError>> + Send,
    {
        let flights = &flight.tenant.flights;
        if flight.waits {
            flight.ticket.handle.start.notified().await;
        }
        let fresh = flights.begin(&flight.key, flight.ticket.id);
        let (tenant, needed) = if flight.waits {
            // Its fence is taken now, after everybody who joined it asked what he needs.
            let tenant = self.current(&plan.scope, 0).await?;
            let needed = tenant.mirror.certain(plan.operation.index(), plan.follows_data);
            (tenant, needed)
        } else {
            (Arc::clone(&flight.tenant), needed)
        };
        flights.compute_under(&flight.key, flight.ticket.id, needed.fence);
        if !fresh && let Some(entry) = self.stored(&tenant, plan, &needed.fence) {
            return Ok(Landing { entry, origin: Origin::Shared });
        }
        self.compute(&tenant, plan, needed, compute).await
    }

    /// What the flight before this one stored may do for this one, too.
    fn stored(&self, tenant: &Tenant, plan: &Plan, needed: &Fence) -> Option<Arc<Entry>> {
        let entry = tenant.memory.ring().get(&plan.key(tenant), &plan.params)?;
        (entry.fresh(self.clock.boot()) && entry.label.covers(needed)).then_some(entry)
    }

    async fn alone<F, Fut>(
        self: &Arc<Self>,
        tenant: Arc<Tenant>,
        plan: Plan,
        needed: Needed,
        compute: F,
    ) -> Result<Landing, Error>
    where
        F: FnOnce(Fence) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Computed, BoxError>> + Send + 'static,
    {
        let inner = Arc::clone(self);
        let task = async move { inner.compute(&tenant, &plan, needed, compute).await };
        self.tracker.spawn(task).await.unwrap_or(Err(Error::Dropped))
    }

    /// Computes under `needed`, raises the mirror by what was seen, and stores the value.
    pub(crate) async fn compute<F, Fut>(
        &self,
        tenant: &Tenant,
        plan: &Plan,
        needed: Needed,
        compute: F,
    ) -> Result<Landing, Error>
    where
        F: FnOnce(Fence) -> Fut + Send,
        Fut: Future<Output = Result<Computed, BoxError>> + Send,
    {
        let began = self.clock.boot();
        let fence = needed.fence;
        let computed = AssertUnwindSafe(async move { compute(fence).await }).catch_unwind().await;
        let cost = self.clock.boot().since(began);
        let computed = match computed {
            Ok(Ok(computed)) => label(plan, &fence, &computed).map(|label| (computed, label)),
            Ok(Err(error)) => Err(Error::Compute(Arc::from(error))),
            Err(_panic) => Err(Error::Panicked),
        };
        tenant.counters.of(plan.operation).computed(cost, computed.is_err());
        let (computed, label) = computed?;

        // Seen, therefore committed: no later read on this node may get less.
        tenant.mirror.raise_data(label.data);
        let key = plan.key(tenant);
        let chance = (key.chance() ^ began.as_nanos()).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let expires = began.plus(jittered(plan.ttl, chance));
        let entry = Arc::new(Entry {
            params: (*plan.params).into(),
            etag: etag(&computed.body),
            body: computed.body,
            label,
            contains: label.newest().max(needed.known),
            computed_at: began,
            expires,
            dies: expires.plus(plan.grace),
            cost,
        });
        let stored = self.store(tenant, key, &entry);
        Ok(Landing { entry, origin: Origin::Computed { stored } })
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
