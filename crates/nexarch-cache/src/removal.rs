//! Removing what the shared tier holds, for operators: where data were deleted and are to be gone there, too, before
//! their time to live ends.

use crate::cache::Cache;
use crate::fence::Epoch;
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

/// What comes of values that were not removed.
const LEFT: &str = "its values stay until they expire";

/// How far a removal is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removal {
    /// Values and leases that are gone by it.
    pub removed: u64,
    /// How often it was begun: more than once when the tier was away meanwhile.
    pub attempts: u32,
    /// Why the latest attempt did not come to its end.
    pub error: Option<RemoteError>,
    /// Everything of this database is gone that was there when the last attempt began.
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
    /// values and leases. Of values, those of this database: another one may use the same namespace and have a scope of the
    /// same name. What was written before a backup was put back belongs to another one, too, and ends by its time to live.
    ///
    /// For operators: no guarantee needs it. What is computed meanwhile is not written for a scope that was
    /// [forgotten](Cache::forget); for others it may stay.
    pub async fn remove_remote(&self, scope: Option<&Scope>) -> Result<u64, RemoteError> {
        let removed = self.remove_once(scope).await;
        removed.error.map_or(Ok(removed.keys), Err)
    }

    async fn remove_once(&self, scope: Option<&Scope>) -> Removed {
        let Some(tier) = &self.inner.tier else { return Removed::default() };
        let Some(epoch) = self.own_epoch().await else { return Err(RemoteError::Away).into() };
        let removed = tier.remote.remove(scope, Some(epoch)).await;
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

    /// Which database is meant; `None` when it has not been read and does not answer.
    async fn own_epoch(&self) -> Option<Epoch> {
        let known = || Some(self.inner.tenants.epoch()).filter(|epoch| *epoch != Epoch::default());
        if known().is_none() {
            self.inner.truth_read([]).await.ok()?;
        }
        known()
    }

    /// As [`Cache::remove_remote`], on a task of its own that begins anew when the tier goes away, until all is gone or
    /// `stop` is cancelled, of which a warning tells; one at a time. To be called when a tenant was deleted, after [`Cache::forget`].
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
            let removing = cache.remove_until_done(scope.as_ref(), &progress);
            if stop.run_until_cancelled(removing).await.is_none() {
                let of = scope.as_ref().map_or("all scopes", Scope::as_str);
                tracing::warn!(scope = of, "cache: a removal from the shared tier ends unfinished, {LEFT}");
            }
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
        let of = scope.map_or("all scopes", Scope::as_str);
        tracing::warn!(scope = of, "cache: a removal from the shared tier is given up, {LEFT}");
    }
}

struct Place<'a>(&'a Removals);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}
