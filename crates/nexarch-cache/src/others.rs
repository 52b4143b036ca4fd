//! One computation in the cluster: who is to compute takes a short lease in the shared tier, the others look for the
//! value until it has lapsed. Only for what costs more than the looking does, and never a reason for a read to fail.

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
use std::sync::Arc;
use std::sync::atomic::Ordering;
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

impl Inner {
    /// The value, if another node computes it and brings it while its lease lasts; `None` if it is to be computed here.
    /// `hint` is what it took to compute the value that was found and was too old.
    pub(crate) async fn by_another(
        self: &Arc<Self>,
        tier: &Tier,
        tenant: &Arc<Tenant>,
        plan: &Plan,
        needed: &Fence,
        hint: Option<Duration>,
    ) -> Option<Arc<Entry>> {
        // Nobody would find what is computed here, so nobody is to wait for it.
        let unshared =
            plan.ttl.is_zero() || tenant.counters.of(plan.operation).unshared.load(Ordering::Relaxed);
        if unshared || tenant.remote.bytes(self.clock.boot()) >= tier.scope_max_bytes {
            return None;
        }
        let cost = hint.or_else(|| tenant.counters.of(plan.operation).cost());
        if cost.is_some_and(|cost| cost <= tier.round_trip() * CHEAP) {
            return None;
        }
        let cost = cost.unwrap_or(UNKNOWN).clamp(FIRST_LOOK, MOST);
        let lapses = Instant::now() + cost * 2;
        let lease = EntryKey::lease_name(&self.name(tenant, plan), needed);
        if !self.taken_by_another(tier, &lease, cost * 2).await {
            return None;
        }
        count(&tier.counts.waited_for_others);
        let mut pause = FIRST_LOOK;
        while Instant::now() + pause < lapses {
            tokio::time::sleep(pause).await;
            match self.promised(tier, tenant, plan, needed).await {
                Ok(true) => match self.fetch(tier, tenant, plan, needed).await {
                    Fetched::Hit(entry) => return Some(entry),
                    Fetched::Miss(_) | Fetched::Refused(_) => {}
                    Fetched::Failed => return None,
                },
                Ok(false) => {}
                Err(error) => {
                    tier.failed(&error);
                    return None;
                }
            }
            pause = (pause * 3 / 2).min(cost / 4).max(FIRST_LOOK);
        }
        None
    }

    /// Whether a value stands there that claims to be new enough: a look costs a hundred bytes, not the old value.
    async fn promised(
        &self,
        tier: &Tier,
        tenant: &Tenant,
        plan: &Plan,
        needed: &Fence,
    ) -> Result<bool, RemoteError> {
        let head = tier.remote.head(&self.name(tenant, plan), envelope::HEADER).await;
        let head = match head {
            Err(RemoteError::Foreign) => None,
            head => head?,
        };
        Ok(head.and_then(|head| envelope::claimed_label(&head)).is_some_and(|label| label.covers(needed)))
    }

    /// Whether another node has the lease; if not, this one takes it.
    pub(crate) async fn left_to_another(
        &self,
        tier: &Tier,
        tenant: &Tenant,
        plan: &Plan,
        needed: &Fence,
        cost: Duration,
    ) -> bool {
        let lease = EntryKey::lease_name(&self.name(tenant, plan), needed);
        self.taken_by_another(tier, &lease, cost.clamp(FIRST_LOOK, MOST) * 2).await
    }

    /// Takes the lease unless it is taken; says whether it is, and by another node. One of this node is left over: its
    /// value was not written, or is gone.
    async fn taken_by_another(&self, tier: &Tier, lease: &str, ttl: Duration) -> bool {
        let own = Bytes::copy_from_slice(&tier.token);
        if tier.remote.set_if_absent(lease, own, ttl).await != Ok(false) {
            return false;
        }
        let holder = tier.remote.get(lease, tier.token.len()).await;
        matches!(holder, Ok(Some(holder)) if holder != tier.token[..])
    }
}
