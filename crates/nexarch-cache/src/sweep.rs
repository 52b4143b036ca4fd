//! Dropping what has died. Nobody asks for it any more, so no eviction finds it while there is room; but it takes the room
//! of its scope, and a scope that holds anything is asked after with every beat.

use crate::cache::Cache;
use std::time::Duration;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// Between two rounds.
const EVERY: Duration = Duration::from_secs(1);

/// The part of a scope's entries that is looked at in one round.
const PART: usize = 8;

/// Entries looked at without letting others in: some 10 µs in which the scope is locked, and longer once three quarters of
/// its places are empty and are given back.
const STEP: usize = 256;

impl Cache {
    /// Drops dead entries, a part of each scope's in each round, until `stop` is cancelled.
    pub(crate) async fn sweep(&self, stop: &CancellationToken) {
        let mut rounds = tokio::time::interval(EVERY);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(rounds.tick()).await.is_some() {
            if stop.run_until_cancelled(self.sweep_round()).await.is_none() {
                return;
            }
        }
    }

    async fn sweep_round(&self) {
        for tenant in self.inner.tenants.all() {
            let mut left = tenant.memory.places().div_ceil(PART);
            while left > 0 {
                tenant.memory.sweep(STEP, self.now());
                left = left.saturating_sub(STEP);
                tokio::task::yield_now().await;
            }
        }
    }
}
