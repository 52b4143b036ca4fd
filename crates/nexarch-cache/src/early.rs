//! Refreshing an entry before it expires, behind a hit, so that popular entries never expire at all.
//!
//! Each hit draws whether it is the one: `now − Δ·β·ln(rand) ≥ expiry`, with Δ the measured cost of the computation and
//! β = 1 (Vattani, Chierichetti, Lowenstein: *Optimal Probabilistic Cache Stampede Prevention*, VLDB 2015).

use crate::cache::Inner;
use crate::clock::BootTime;
use crate::compute::Plan;
use crate::entry::Entry;
use crate::error::{BoxError, Error};
use crate::fence::Fence;
use crate::fetch::Fetched;
use crate::fly::Flight;
use crate::key::{EntryKey, Scope, splitmix};
use crate::operation::Operation;
use crate::others::{Lease, LeftToAnother};
use crate::read::{Computed, Read};
use crate::tenants::Tenant;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Further from its expiry than this many times its cost an entry is not looked at: e⁻²⁰ of the hits there would refresh.
const REACH: u32 = 20;

/// From when on a hit may refresh the entry: never in the first half of its life, however costly it is.
pub(crate) fn begins(computed_at: BootTime, expires: BootTime, cost: Duration) -> BootTime {
    let half = BootTime::from_nanos(computed_at.as_nanos().midpoint(expires.as_nanos()));
    let reach = crate::clock::nanos(cost.saturating_mul(REACH));
    half.max(BootTime::from_nanos(expires.as_nanos().saturating_sub(reach)))
}

/// Whether the hit at `now` is the one that refreshes `entry`.
fn due(entry: &Entry, now: BootTime, chance: u64) -> bool {
    let left = entry.expires.since(now).as_secs_f64();
    // Above 0, so that its logarithm is finite.
    let rand = ((chance >> 11) as f64 + 1.0) / (1u64 << 53) as f64;
    -rand.ln() * entry.cost.as_secs_f64() >= left
}

impl Inner {
    /// After a hit on an entry that may be refreshed: draws, and computes it anew behind.
    #[cold]
    pub(crate) fn refresh_early<F, Fut>(
        self: &Arc<Self>,
        scope: &Scope,
        operation: &Operation,
        read: &Read<'_>,
        entry: &Arc<Entry>,
        now: BootTime,
        compute: F,
    ) where
        F: FnOnce(Fence) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Computed, BoxError>> + Send + 'static,
    {
        let key = EntryKey::new(entry.label.epoch, read.operation, read.params, read.of_type);
        if !due(entry, now, splitmix(now.as_nanos() ^ key.chance())) {
            return;
        }
        // One for each entry. If it fails, the entry ends in its time like any other.
        if entry.refreshing.swap(true, Ordering::Relaxed) {
            return;
        }
        let (inner, entry) = (Arc::clone(self), Arc::clone(entry));
        let plan = Plan::new(scope, operation, read, entry.label.epoch);
        self.tracker.spawn(async move {
            if let Err(error) = inner.refresh(plan, &entry, compute).await {
                tracing::debug!(%error, "an early refresh failed");
            }
        });
    }

    async fn refresh<F, Fut>(self: &Arc<Self>, plan: Plan, held: &Entry, compute: F) -> Result<(), Error>
    where
        F: FnOnce(Fence) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Computed, BoxError>> + Send + 'static,
    {
        let tenant = self.current(&plan.scope, 0).await?;
        let needed = tenant.mirror.certain(plan.operation.index(), plan.follows_data);
        // Looked for before it takes off: a flight may be joined at once, and who joins it is owed a value.
        let Ok(lease) = self.refreshed_elsewhere(&tenant, &plan, &needed.fence, held).await else {
            return Ok(());
        };
        let plan = Plan { lease, ..plan };
        let Some(flight) = Flight::take_off(&tenant, &plan, &needed) else {
            self.give_up(&plan);
            return Ok(());
        };
        let result = self.compute(&tenant, &plan, needed, compute).await;
        let failed = result.as_ref().err().cloned();
        flight.land(result);
        failed.map_or(Ok(()), Err)
    }

    /// An error if another node has refreshed it, which is then in memory here, or is about to: then its value is found
    /// when this one ends.
    async fn refreshed_elsewhere(
        self: &Arc<Self>,
        tenant: &Arc<Tenant>,
        plan: &Plan,
        needed: &Fence,
        held: &Entry,
    ) -> Result<Option<Lease>, LeftToAnother> {
        let Some(tier) = &self.tier else { return Ok(None) };
        match self.fetch(tier, tenant, plan, needed).await {
            Fetched::Hit(entry) if entry.expires > held.expires => Err(LeftToAnother),
            // Nothing is known of others, and to ask again would cost another deadline.
            Fetched::Failed => Ok(None),
            fetched => {
                if let Fetched::Refused(reason) = fetched {
                    tier.refused(reason);
                }
                self.unless_another(tier, tenant, plan, needed, held.cost).await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Etag;
    use crate::variant::Variants;

    fn entry(cost: Duration) -> Entry {
        let (computed_at, expires) = (at(1000), at(1100));
        Entry {
            params: "".into(),
            body: bytes::Bytes::new(),
            etag: Etag::default(),
            label: Fence::default(),
            contains: 0,
            computed_at,
            expires,
            dies: expires,
            early: begins(computed_at, expires, cost),
            cost,
            negative: false,
            refreshing: false.into(),
            variants: Variants::default(),
        }
    }

    fn at(seconds: u64) -> BootTime {
        BootTime::default().plus(Duration::from_secs(seconds))
    }

    /// The share of hits that refresh is e to the −left/cost.
    #[test]
    fn the_nearer_the_end_and_the_costlier_the_likelier() {
        let draws = 100_000u64;
        for (cost, left) in [(1, 1), (1, 3), (5, 5), (5, 10), (2, 20)] {
            let entry = entry(Duration::from_secs(cost));
            let now = at(1100 - left);
            let hits = (0..draws).filter(|n| due(&entry, now, splitmix(*n))).count();
            let expected = (-(left as f64) / cost as f64).exp() * draws as f64;
            let spread = 4.0 * expected.sqrt() + 2.0;
            assert!((hits as f64 - expected).abs() < spread, "{cost} {left}: {hits} for {expected}");
        }
    }

    #[test]
    fn no_hit_looks_at_it_before_it_is_likely_or_in_its_first_half() {
        assert_eq!(entry(Duration::from_secs(1)).early, at(1080));
        assert_eq!(entry(Duration::from_secs(50)).early, at(1050));
        assert_eq!(entry(Duration::ZERO).early, at(1100));
        assert_eq!(entry(Duration::MAX).early, at(1050));
    }
}
