//! One computation for many readers: as the leader of a flight, as one who joined it, or alone.

use crate::cache::Inner;
use crate::compute::{Landing, Origin, Plan};
use crate::entry::Entry;
use crate::error::{BoxError, Error};
use crate::fence::Fence;
use crate::flight::{Arrival, Ticket};
use crate::key::EntryKey;
use crate::mirror::Needed;
use crate::promise::Promise;
use crate::read::Computed;
use crate::tenants::Tenant;
use std::sync::Arc;
use tokio::sync::Notify;

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
    done: Promise<Result<Landing, Error>>,
}

/// A flight under way: ends it when dropped, so that no panic and no shutdown leaves anybody waiting.
pub(crate) struct Flight {
    tenant: Arc<Tenant>,
    key: FlightKey,
    ticket: Ticket<Arc<Handle>>,
    waits: bool,
}

impl Handle {
    fn new() -> Arc<Self> {
        Arc::new(Self { start: Notify::new(), done: Promise::new() })
    }

    async fn landed(&self) -> Result<Landing, Error> {
        self.done.wait().await
    }
}

impl Flight {
    /// A flight that nobody waits for yet; `None` when there is one of its key already.
    pub(crate) fn take_off(tenant: &Arc<Tenant>, plan: &Plan, needed: &Needed) -> Option<Self> {
        let key = FlightKey { entry: plan.key(tenant), params: Arc::clone(&plan.params) };
        let ticket = tenant.flights.lead(key.clone(), &needed.fence, Handle::new)?;
        Some(Self { tenant: Arc::clone(tenant), key, ticket, waits: false })
    }

    pub(crate) fn land(self, result: Result<Landing, Error>) {
        self.ticket.handle.done.keep(result);
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        // Out of the way before anybody is told: who tries again does not meet it again.
        let next = self.tenant.flights.finish(&self.key, self.ticket.id);
        // Unless it landed.
        self.ticket.handle.done.keep(Err(Error::Dropped));
        if let Some(next) = next {
            next.start.notify_one();
        }
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
        let mut again = true;
        loop {
            match tenant.flights.arrive(key.clone(), &needed.fence, fresh, Handle::new) {
                Arrival::Lead(ticket) => {
                    let flight = Flight { tenant, key, ticket, waits: false };
                    return self.lead(flight, plan, needed, compute).await;
                }
                Arrival::Wait(ticket) => {
                    let flight = Flight { tenant, key, ticket, waits: true };
                    return self.lead(flight, plan, needed, compute).await;
                }
                Arrival::Join(handle) => match handle.landed().await {
                    // The one who computed is gone, with its runtime perhaps; this one is here.
                    Err(Error::Dropped) if again => again = false,
                    landed => return landed.map(Landing::shared),
                },
                Arrival::Alone => return self.alone(tenant, plan, needed, fresh, compute).await,
            }
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
        if fresh {
            return self.compute(&tenant, plan, needed, compute).await;
        }
        if let Some(entry) = self.stored(&tenant, plan, &needed.fence) {
            return Ok(Landing { entry, origin: Origin::Shared });
        }
        self.obtain(&tenant, plan, needed, compute).await
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
        fresh: bool,
        compute: F,
    ) -> Result<Landing, Error>
    where
        F: FnOnce(Fence) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Computed, BoxError>> + Send + 'static,
    {
        let inner = Arc::clone(self);
        let task = async move {
            if fresh {
                inner.compute(&tenant, &plan, needed, compute).await
            } else {
                inner.obtain(&tenant, &plan, needed, compute).await
            }
        };
        self.tracker.spawn(task).await.unwrap_or(Err(Error::Dropped))
    }
}
