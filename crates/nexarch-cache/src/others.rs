//! One computation in the cluster: who is to compute takes a short lease in the shared tier, the others look for the
//! value until it has lapsed. Only for what costs more than the looking does, and never a reason for a read to fail.
//!
//! Who has nothing to show in the end gives the lease up, so that the next one need not wait until it lapses.

use crate::cache::Inner;
use crate::compute::Plan;
use crate::entry::Entry;
use crate::envelope;
use crate::fence::Fence;
use crate::fetch::Fetched;
use crate::key::EntryKey;
use crate::remote::RemoteError;
use crate::tenants::Tenant;
use crate::tier::{Tier, count};
use bytes::Bytes;
use futures_util::future::join;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What costs fewer round trips than this is computed at once: to take a lease and to look again take as long.
const CHEAP: u32 = 5;

/// What a computation is taken to cost before one was measured: as a slow page. A node that dies with the lease keeps the
/// others waiting twice as long.
const UNKNOWN: Duration = Duration::from_millis(500);

/// Nobody waits longer than twice this for another node, whatever the shared tier says that it costs.
const MOST: Duration = Duration::from_secs(5);

/// The first look comes after this time; a look costs a round trip.
const FIRST_LOOK: Duration = Duration::from_millis(5);

/// How long a lease that was given up still stands there: the shortest life there is.
const GIVEN_UP: Duration = Duration::from_millis(1);

/// The right to compute an entry under a fence, by its name in the shared tier.
#[derive(Clone, Debug)]
pub(crate) struct Lease(Arc<str>);

/// What came of waiting for others.
pub(crate) enum Turn {
    /// Another node computed it.
    Theirs(Arc<Entry>),
    /// It is to be computed here, under a lease or without.
    Ours(Option<Lease>),
}

/// Another node is at it.
pub(crate) struct LeftToAnother;

enum Taken {
    Now,
    /// It is left over from this node: its value was not written, or is gone. Or nothing is known.
    Unknown,
    ByAnother,
}

impl Inner {
    /// The value, if another node computes it and brings it while its lease lasts. `hint` is what it took to compute the
    /// value that was found and was too old; `refused` says that what was found is of no use, and was counted.
    pub(crate) async fn by_another(
        self: &Arc<Self>,
        tier: &Tier,
        tenant: &Arc<Tenant>,
        plan: &Plan,
        needed: &Fence,
        hint: Option<Duration>,
        refused: bool,
    ) -> Turn {
        let cost = hint.or_else(|| tenant.counters.of(plan.operation).cost());
        let Some(cost) = self.dear(tier, tenant, plan, cost) else { return Turn::Ours(None) };
        // However many have it in turn, nobody waits longer than for one who died with it.
        let until = Instant::now() + cost * 2;
        let mut patience = Patience { until, pause: FIRST_LOOK, longest: cost / 4, useless: None, refused };
        let lease = self.lease(tenant, plan, needed);
        let mut waits = false;
        loop {
            match take(tier, &lease, cost * 2).await {
                Taken::Now => return Turn::Ours(Some(lease)),
                Taken::Unknown => return Turn::Ours(None),
                Taken::ByAnother => {}
            }
            if !std::mem::replace(&mut waits, true) {
                count(&tier.counts.waited_for_others);
            }
            match self.wait_for_another(tier, tenant, plan, needed, &lease, &mut patience).await {
                Waited::Found(entry) => return Turn::Theirs(entry),
                Waited::InVain => return Turn::Ours(None),
                Waited::GivenUp => {}
            }
        }
    }

    /// What computing it costs, where a lease is worth its call: others would find it, and it takes longer than looking.
    fn dear(&self, tier: &Tier, tenant: &Tenant, plan: &Plan, cost: Option<Duration>) -> Option<Duration> {
        // Nobody would find what is computed here, so nobody is to wait for it.
        let unshared =
            plan.ttl.is_zero() || tenant.counters.of(plan.operation).unshared.has(plan.key(tenant));
        if unshared || tenant.remote.bytes(self.clock.boot()) >= tier.scope_max_bytes {
            return None;
        }
        let cheap = cost.is_some_and(|cost| cost <= tier.round_trip() * CHEAP);
        (!cheap).then(|| cost.unwrap_or(UNKNOWN).clamp(FIRST_LOOK, MOST))
    }

    /// Looks for the value, and whether anybody computes it yet, until the lease lapses.
    async fn wait_for_another(
        self: &Arc<Self>,
        tier: &Tier,
        tenant: &Arc<Tenant>,
        plan: &Plan,
        needed: &Fence,
        lease: &Lease,
        patience: &mut Patience,
    ) -> Waited {
        while Instant::now() + patience.pause < patience.until {
            tokio::time::sleep(patience.pause).await;
            patience.pause = (patience.pause * 3 / 2).min(patience.longest).max(FIRST_LOOK);
            // Sent together: it is one round trip.
            let looks = join(self.promised(tier, tenant, plan, needed), tier.head(&lease.0, 1));
            let (promised, holder) = match looks.await {
                (Ok(promised), Ok(holder)) => (promised, holder),
                // It would fail again, and cost another deadline.
                (Err(error), _) | (_, Err(error)) => {
                    tier.failed(&error);
                    return Waited::InVain;
                }
            };
            let Some(head) = promised.filter(|head| patience.useless.as_ref() != Some(head)) else {
                if holder.is_none() {
                    return Waited::GivenUp;
                }
                continue;
            };
            match self.fetch(tier, tenant, plan, needed).await {
                Fetched::Hit(entry) => return Waited::Found(entry),
                Fetched::Failed => return Waited::InVain,
                // Each read counts once.
                Fetched::Refused(reason) if !std::mem::replace(&mut patience.refused, true) => {
                    tier.refused(reason);
                }
                Fetched::Refused(_) | Fetched::Miss(_) => {}
            }
            patience.useless = Some(head);
        }
        Waited::InVain
    }

    /// The beginning of a value that claims to be new enough, if one stands there: a look costs a hundred bytes, not the
    /// old value.
    async fn promised(
        &self,
        tier: &Tier,
        tenant: &Tenant,
        plan: &Plan,
        needed: &Fence,
    ) -> Result<Option<Bytes>, RemoteError> {
        let head = tier.head(&self.name(tenant, plan), envelope::HEADER).await;
        let head = match head {
            Err(RemoteError::Foreign) => None,
            head => head?,
        };
        let covers = |head: &Bytes| envelope::claimed_label(head).is_some_and(|label| label.covers(needed));
        Ok(head.filter(covers))
    }

    /// For what can be left to others: an error if another node has the lease; if not, this one takes it where that is
    /// worth it.
    pub(crate) async fn unless_another(
        &self,
        tier: &Tier,
        tenant: &Tenant,
        plan: &Plan,
        needed: &Fence,
        cost: Duration,
    ) -> Result<Option<Lease>, LeftToAnother> {
        let Some(cost) = self.dear(tier, tenant, plan, Some(cost)) else { return Ok(None) };
        let lease = self.lease(tenant, plan, needed);
        match take(tier, &lease, cost * 2).await {
            Taken::Now => Ok(Some(lease)),
            Taken::Unknown => Ok(None),
            Taken::ByAnother => Err(LeftToAnother),
        }
    }

    fn lease(&self, tenant: &Tenant, plan: &Plan, needed: &Fence) -> Lease {
        Lease(EntryKey::lease_name(&self.namespace, &self.name(tenant, plan), needed).into())
    }

    /// Nobody will find anything: whoever waits is let go, and the next to come takes the lease at once. Behind, for it
    /// is a favour.
    pub(crate) fn give_up(self: &Arc<Self>, plan: &Plan) {
        let Some(lease) = plan.lease.clone() else { return };
        let inner = Arc::clone(self);
        self.tracker.spawn(async move {
            let Some(tier) = &inner.tier else { return };
            let gone = async {
                // Between the two another may take it: then its others do not wait for it, and that is all.
                if tier.get(&lease.0, tier.token.len()).await?.is_some_and(|holder| holder == tier.token[..])
                {
                    // An empty value is none already.
                    tier.set(&lease.0, Bytes::new(), GIVEN_UP).await?;
                }
                Ok(())
            };
            gone.await.unwrap_or_else(|error| tier.failed(&error));
        });
    }
}

/// How long somebody waits, and from look to look: longer each time, also when the lease has changed hands.
struct Patience {
    until: Instant,
    pause: Duration,
    longest: Duration,
    /// How a value begins that claims to be new enough, and is not to be used: it is fetched once.
    useless: Option<Bytes>,
    /// Such a value was counted.
    refused: bool,
}

enum Waited {
    Found(Arc<Entry>),
    /// It was, or is gone: nobody has it.
    GivenUp,
    InVain,
}

/// Takes the lease unless it is taken.
async fn take(tier: &Tier, lease: &Lease, ttl: Duration) -> Taken {
    taken(tier, lease, ttl).await.unwrap_or_else(|error| {
        tier.failed(&error);
        Taken::Unknown
    })
}

async fn taken(tier: &Tier, lease: &Lease, ttl: Duration) -> Result<Taken, RemoteError> {
    let own = Bytes::copy_from_slice(&tier.token);
    if tier.set_if_absent(&lease.0, own.clone(), ttl).await? {
        return Ok(Taken::Now);
    }
    match tier.get(&lease.0, tier.token.len()).await? {
        Some(holder) if holder == tier.token[..] => return Ok(Taken::Unknown),
        Some(_) => return Ok(Taken::ByAnother),
        None => {}
    }
    // It is being given up. Whoever else sees that comes as late as this one, and one of them gets it.
    tokio::time::sleep(GIVEN_UP * 2).await;
    let now = tier.set_if_absent(&lease.0, own, ttl).await?;
    Ok(if now { Taken::Now } else { Taken::ByAnother })
}
