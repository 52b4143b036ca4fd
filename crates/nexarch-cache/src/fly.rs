//! One computation for many readers: as the leader of a flight, as one who joined it, or alone.

use crate::cache::Inner;
use crate::compute::{Landing, Origin, Plan};
use crate::entry::Entry;
use crate::error::{BoxError, Error};
use crate::fence::Fence;
use crate::fetch::Fetched;
use crate::flight::{Arrival, Ticket};
use crate::key::EntryKey;
use crate::mirror::Needed;
use crate::promise::Promise;
use crate::read::Computed;
use crate::tenants::Tenant;
use crate::tier::Tier;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use tokio::sync::Notify;
use tracing::Instrument;

/// What a flight is of. The parameters are part of it: two that share a hash share no computation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FlightKey {
    entry: EntryKey,
    params: Arc<str>,
}

/// Of the entry's hash alone, which is of the parameters.
impl Hash for FlightKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.entry.hash(state);
    }
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

/// How a reader takes part in a flight.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// Only a computation that begins after the call will do.
    pub(crate) fresh: bool,
    /// The reader will wait for the shared tier. One that turns to something else meanwhile leaves the look to a task,
    /// which sees it through.
    pub(crate) look_first: bool,
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

/// One of those who wait for a flight that another one leads; no longer when dropped.
struct Joined<'a> {
    tenant: &'a Tenant,
    key: &'a FlightKey,
    id: u64,
}

impl Drop for Joined<'_> {
    fn drop(&mut self) {
        self.tenant.flights.leave(self.key, self.id);
    }
}

impl Tenant {
    async fn joined(&self, key: &FlightKey, ticket: &Ticket<Arc<Handle>>) -> Result<Landing, Error> {
        let _joined = Joined { tenant: self, key, id: ticket.id };
        ticket.handle.landed().await
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
    /// One computation for all who miss `plan` under a fence that it covers. `look_first` lets the caller itself look
    /// into the shared tier, so that a hit there takes no task; what is to be computed always gets one.
    ///
    /// A caller may stop polling and live on, as the branch of a `select!` that was left. So while he looks he holds
    /// nobody up: the next to come leads, on a task.
    pub(crate) async fn fly<F, Fut>(
        self: &Arc<Self>,
        tenant: &Arc<Tenant>,
        plan: &Plan,
        needed: Needed,
        terms: Terms,
        compute: F,
    ) -> Result<Landing, Error>
    where
        F: FnOnce(Fence) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Computed, BoxError>> + Send + 'static,
    {
        let key = FlightKey { entry: plan.key(tenant), params: Arc::clone(&plan.params) };
        let flight = |ticket, waits| Flight { tenant: Arc::clone(tenant), key: key.clone(), ticket, waits };
        let mut looked = None;
        if terms.look_first
            && !terms.fresh
            && let Some(tier) = self.tier.as_ref().filter(|tier| self.enabled() && tier.usable())
            && let Some(ticket) = tenant.flights.look(key.clone(), Handle::new)
        {
            let flight = flight(ticket, false);
            match self.look_around(tier, tenant, plan, &needed.fence).await {
                Ok(landing) => return Ok(landing),
                Err(fetched) => looked = Some(fetched),
            }
            if tenant.flights.compute_under(&key, flight.ticket.id, needed.fence) {
                return self.lead(flight, plan, needed, looked, compute).landed().await;
            }
        }
        let mut again = true;
        loop {
            match tenant.flights.arrive(key.clone(), &needed.fence, terms.fresh, Handle::new) {
                Arrival::Lead(ticket) => {
                    return self.lead(flight(ticket, false), plan, needed, looked, compute).landed().await;
                }
                // By the time its turn comes, what was found out is old.
                Arrival::Wait(ticket) => {
                    return self.lead(flight(ticket, true), plan, needed, None, compute).landed().await;
                }
                Arrival::Join(ticket) => match tenant.joined(&key, &ticket).await {
                    // The one who computed is gone, with its runtime perhaps; this one is here.
                    Err(Error::Dropped) if again => again = false,
                    landed => return landed.map(Landing::shared),
                },
                Arrival::Alone => {
                    return Box::pin(self.alone(tenant, plan, needed, terms.fresh, compute)).await;
                }
            }
        }
    }

    /// What memory or the shared tier have for the caller himself; else what the tier said.
    async fn look_around(
        self: &Arc<Self>,
        tier: &Tier,
        tenant: &Arc<Tenant>,
        plan: &Plan,
        needed: &Fence,
    ) -> Result<Landing, Fetched> {
        if let Some(entry) = self.stored(tenant, plan, needed) {
            return Ok(Landing::found(entry, Origin::Shared));
        }
        match self.fetch(tier, tenant, plan, needed).await {
            Fetched::Hit(entry) => Ok(Landing::found(entry, Origin::Fetched)),
            other => Err(other),
        }
    }

    /// Computes on a task of its own, which goes on when the caller hangs up: others may have joined. Returns where it will
    /// land.
    fn lead<F, Fut>(
        self: &Arc<Self>,
        flight: Flight,
        plan: &Plan,
        needed: Needed,
        looked: Option<Fetched>,
        compute: F,
    ) -> Arc<Handle>
    where
        F: FnOnce(Fence) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Computed, BoxError>> + Send + 'static,
    {
        let handle = Arc::clone(&flight.ticket.handle);
        let (inner, plan) = (Arc::clone(self), plan.clone());
        let task = async move {
            let result = inner.run(&flight, &plan, needed, looked, compute).await;
            flight.land(result);
        };
        // In a trace it belongs to the read that began it.
        self.tracker.spawn(task.in_current_span());
        handle
    }

    async fn run<F, Fut>(
        self: &Arc<Self>,
        flight: &Flight,
        plan: &Plan,
        needed: Needed,
        looked: Option<Fetched>,
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
            return Ok(Landing::found(entry, Origin::Shared));
        }
        self.obtain(&tenant, plan, needed, looked, compute).await
    }

    /// What the flight before this one stored may do for this one, too.
    fn stored(&self, tenant: &Tenant, plan: &Plan, needed: &Fence) -> Option<Arc<Entry>> {
        let entry = tenant.memory.ring().get(&plan.key(tenant), &plan.params)?;
        (entry.fresh(self.clock.boot()) && entry.label.covers(needed)).then_some(entry)
    }

    async fn alone<F, Fut>(
        self: &Arc<Self>,
        tenant: &Arc<Tenant>,
        plan: &Plan,
        needed: Needed,
        fresh: bool,
        compute: F,
    ) -> Result<Landing, Error>
    where
        F: FnOnce(Fence) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Computed, BoxError>> + Send + 'static,
    {
        let (inner, tenant, plan) = (Arc::clone(self), Arc::clone(tenant), plan.clone());
        let task = async move {
            if fresh {
                inner.compute(&tenant, &plan, needed, compute).await
            } else {
                inner.obtain(&tenant, &plan, needed, None, compute).await
            }
        };
        self.tracker.spawn(task.in_current_span()).await.unwrap_or(Err(Error::Dropped))
    }
}
