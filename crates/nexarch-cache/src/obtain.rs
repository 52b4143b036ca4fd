//! A value that is not in memory: from the shared tier, from another node that computes it, or computed here.

use crate::cache::Inner;
use crate::compute::{Landing, Origin, Plan};
use crate::entry::Entry;
use crate::error::{BoxError, Error};
use crate::fence::Fence;
use crate::fetch::Fetched;
use crate::mirror::Needed;
use crate::read::Computed;
use crate::tenants::Tenant;
use std::sync::Arc;

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
            Fetched::Hit(entry) => Ok(Landing { entry, origin: Origin::Fetched }),
            Fetched::Refused(reason) => {
                tier.refused(reason);
                Err(Error::NotCached)
            }
            Fetched::Miss(_) | Fetched::Failed => Err(Error::NotCached),
        }
    }

    /// Brings a value for `needed`; computes it here when nobody else has it.
    pub(crate) async fn obtain<F, Fut>(
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
        match self.elsewhere(tenant, plan, &needed.fence).await {
            Some(entry) => Ok(Landing { entry, origin: Origin::Fetched }),
            None => self.compute(tenant, plan, needed, compute).await,
        }
    }

    /// From the shared tier, or from the node that computes it now.
    async fn elsewhere(
        self: &Arc<Self>,
        tenant: &Arc<Tenant>,
        plan: &Plan,
        needed: &Fence,
    ) -> Option<Arc<Entry>> {
        let tier = self.tier.as_ref().filter(|_| self.enabled())?;
        match self.fetch(tier, tenant, plan, needed).await {
            Fetched::Hit(entry) => Some(entry),
            Fetched::Miss(cost) => self.by_another(tier, tenant, plan, needed, cost).await,
            Fetched::Refused(reason) => {
                tier.refused(reason);
                self.by_another(tier, tenant, plan, needed, None).await
            }
            // It would fail again, and cost another deadline.
            Fetched::Failed => None,
        }
    }
}
