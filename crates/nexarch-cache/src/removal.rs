//! Removing what the shared tier holds, for operators: where data were deleted and are to be gone there, too, before
//! their time to live ends.

use crate::cache::Cache;
use crate::key::Scope;
use crate::remote::{RemoteError, Removed};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;

/// Removals that wait for their turn at once. Each is a scope that was deleted, and a name.
const MOST: usize = 1024;

/// Waits between attempts: a tier that is away for an hour is asked some sixty times.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// Attempts before a removal is given up: about a day of a tier that is away.
const ATTEMPTS: u32 = 1500;

/// How far a removal is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removal {
    /// Values and leases that are gone by it.
    pub removed: u64,
    /// How often it was begun: more than once when the tier was away meanwhile.
    pub attempts: u32,
    /// Why the latest attempt did not come to its end.
    pub error: Option<RemoteError>,
    /// Everything is gone that was there when the last attempt began.
    pub done: bool,
}

/// One removal runs at a time; the others wait.
#[derive(Debug, Default)]
pub(crate) struct Removals {
    turn: Mutex<()>,
    waiting: AtomicUsize,
}

impl Cache {
    /// Removes what the shared tier has of `scope`, or of all scopes, in small batches and without haste; returns how many
    /// values and leases. For operators: no guarantee needs it, and what is written meanwhile may stay.
    pub async fn remove_remote(&self, scope: Option<&Scope>) -> Result<u64, RemoteError> {
        let removed = self.remove_once(scope).await;
        removed.error.map_or(Ok(removed.keys), Err)
    }

    async fn remove_once(&self, scope: Option<&Scope>) -> Removed {
        let Some(tier) = &self.inner.tier else { return Removed::default() };
        let removed = tier.remote.remove(scope).await;
        if removed.error.is_none() {
            let of = |tenant: &Arc<crate::tenants::Tenant>| scope.is_none_or(|scope| tenant.scope == *scope);
            self.inner
                .tenants
                .all()
                .iter()
                .filter(|tenant| of(tenant))
                .for_each(|tenant| tenant.remote.clear());
        }
        removed
    }

    /// As [`Cache::remove_remote`], on a task of its own that begins anew when the tier goes away, until all is gone or
    /// `stop` is cancelled; one at a time. To be called when a tenant was deleted, after [`Cache::forget`].
    ///
    /// The receiver tells how far it is; it may be dropped. `None` without a shared tier, outside of a runtime, and when
    /// more than a thousand wait already: what is there then ends by its time to live.
    pub fn remove_remote_behind(
        &self,
        scope: Option<Scope>,
        stop: &CancellationToken,
    ) -> Option<watch::Receiver<Removal>> {
        self.inner.tier.as_ref()?;
        let runtime = tokio::runtime::Handle::try_current().ok()?;
        let waiting = &self.inner.removals.waiting;
        let place = |waiting| (waiting < MOST).then_some(waiting + 1);
        waiting.fetch_update(Ordering::SeqCst, Ordering::SeqCst, place).ok()?;
        let (progress, receiver) = watch::channel(Removal::default());
        let (cache, stop) = (self.clone(), stop.clone());
        let task = async move {
            let _place = Place(&cache.inner.removals);
            stop.run_until_cancelled(cache.remove_until_done(scope.as_ref(), &progress)).await;
        };
        self.inner.tracker.spawn_on(task, &runtime);
        Some(receiver)
    }

    async fn remove_until_done(&self, scope: Option<&Scope>, progress: &watch::Sender<Removal>) {
        let _turn = self.inner.removals.turn.lock().await;
        let mut wait = FIRST_WAIT;
        for attempts in 1..=ATTEMPTS {
            let Removed { keys, error } = self.remove_once(scope).await;
            if let Some(error) = &error {
                tracing::debug!(%error, attempts, "cache: a removal from the shared tier begins anew");
            }
            let done = error.is_none();
            progress.send_modify(|progress| {
                *progress = Removal { removed: progress.removed + keys, attempts, error, done };
            });
            if done {
                return;
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
        tracing::warn!("cache: a removal from the shared tier is given up, values stay until they expire");
    }
}

struct Place<'a>(&'a Removals);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}
