//! A value that is not in memory: from the shared tier, from another node that computes it, or computed here.

use crate::cache::Inner;
use crate::compute::{Landing, Origin, Plan};
use crate::error::{BoxError, Error};
use crate::fence::Fence;
use crate::fetch::Fetched;
use crate::mirror::Needed;
use crate::others::{Lease, Turn};
use crate::read::Computed;
use crate::tenants::Tenant;
use std::sync::Arc;

enum Elsewhere {
    Found(Landing),
    /// To be computed here, under this lease if there is one.
    Nowhere(Option<Lease>),
}

impl Inner {
    /// The value from the shared tier, for a read that is not to compute.
    pub(crate) async fn only_if_cached(
        self: &Arc<Self>,
        tenant: &Arc<Tenant>,
        plan: &Plan,
        needed: &Needed,
    ) -> Result<Landing, Error> {
        let Some(tier) = self.tier.as_ref().filter(|_| self.enabled()) else { return Err(Error::NotCached) };
        match self.fetch(tier, tenant, plan, &needed.fence).await {
            Fetched::Hit(entry) => Ok(Landing::found(entry, Origin::Fetched)),
            Fetched::Refused(reason) => {
                tier.refused(reason);
                Err(Error::NotCached)
            }
            Fetched::Miss(_) | Fetched::Failed => Err(Error::NotCached),
        }
    }

    /// Brings a value for `needed`; computes it here when nobody else has it. `looked` is what a first look into the
    /// shared tier brought, if there was one.
    pub(crate) async fn obtain<F, Fut>(
        self: &Arc<Self>,
        tenant: &Arc<Tenant>,
        plan: &Plan,
        needed: Needed,
        looked: Option<Fetched>,
        compute: F,
    ) -> Result<Landing, Error>
    where
        F: FnOnce(Fence) -> Fut + Send,
        Fut: Future<Output = Result<Computed, BoxError>> + Send,
    {
        match self.elsewhere(tenant, plan, &needed.fence, looked).await {
            Elsewhere::Found(landing) => Ok(landing),
            Elsewhere::Nowhere(None) => self.compute(tenant, plan, needed, compute).await,
            Elsewhere::Nowhere(lease) => {
                let plan = Plan { lease, ..plan.clone() };
                self.compute(tenant, &plan, needed, compute).await
            }
        }
    }

    /// From the shared tier, or from the node that computes it now.
    async fn elsewhere(
        self: &Arc<Self>,
        tenant: &Arc<Tenant>,
        plan: &Plan,
        needed: &Fence,
        looked: Option<Fetched>,
    ) -> Elsewhere {
        let Some(tier) = self.tier.as_ref().filter(|_| self.enabled()) else {
            return Elsewhere::Nowhere(None);
        };
        let fetched = match looked {
            Some(fetched) => fetched,
            None => self.fetch(tier, tenant, plan, needed).await,
        };
        let refused = matches!(fetched, Fetched::Refused(_));
        let cost = match fetched {
            Fetched::Hit(entry) => return Elsewhere::Found(Landing::found(entry, Origin::Fetched)),
            Fetched::Miss(cost) => cost,
            Fetched::Refused(reason) => {
                tier.refused(reason);
                None
            }
            // It would fail again, and cost another deadline.
            Fetched::Failed => return Elsewhere::Nowhere(None),
        };
        match self.by_another(tier, tenant, plan, needed, cost, refused).await {
            Turn::Theirs(entry) => Elsewhere::Found(Landing::found(entry, Origin::Awaited)),
            Turn::Ours(lease) => Elsewhere::Nowhere(lease),
        }
    }
}
