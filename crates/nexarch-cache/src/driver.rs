//! The beat: keeps the mirrors of live scopes within their lease when others write, too. And their messages.

use crate::cache::Cache;
use std::time::Duration;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// A quarter of the lease: three beats may fail before a read has to wait for the authority.
const BEAT: Duration = Duration::from_millis(250);

impl Cache {
    /// Drops what has died, reads the versions of live scopes every 250 ms and takes in messages of other nodes, until
    /// `stop` is cancelled. Spawn it on the tracker.
    ///
    /// For a sole owner there are no versions to read.
    pub async fn run(self, stop: CancellationToken) {
        futures_util::future::join3(self.beat(&stop), self.listen(&stop), self.sweep(&stop)).await;
    }

    async fn beat(&self, stop: &CancellationToken) {
        if self.inner.sole_owner {
            stop.cancelled().await;
            return;
        }
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut answered = true;
        while stop.run_until_cancelled(beat.tick()).await.is_some() {
            let Some(read) = stop.run_until_cancelled(self.refresh()).await else { return };
            if let Err(error) = &read
                && answered
            {
                tracing::warn!(%error, "cache versions cannot be read");
            }
            answered = read.is_ok();
        }
    }
}
