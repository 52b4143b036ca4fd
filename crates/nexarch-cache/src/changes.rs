//! Word that something was changed, for who computes ahead of readers.

use crate::cache::Cache;
use tokio::sync::watch;

/// Where the word comes from; nobody need listen.
#[derive(Debug)]
pub(crate) struct Signal(watch::Sender<()>);

impl Default for Signal {
    fn default() -> Self {
        Self(watch::Sender::new(()))
    }
}

impl Signal {
    /// A version was raised, or read anew.
    pub(crate) fn tell(&self) {
        self.0.send_replace(());
    }
}

/// Wakes whenever versions may have been raised on this node, of whatever scope. Many changes at once are one.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), nexarch_cache::Error> {
/// use nexarch_cache::{Cache, Cause, Invalidation, LocalAuthority, Operation, Scope};
/// use std::{sync::Arc, time::Duration};
/// use tokio_util::task::TaskTracker;
///
/// let cache = Cache::builder(Arc::new(LocalAuthority::default()))
///     .operations([Operation::new("report", Duration::from_secs(60))])
///     .build(TaskTracker::new())?;
/// let acme = Scope::new("acme")?;
/// cache.version(&acme).await?;
/// let mut changes = cache.changes();
/// let version = cache.invalidate(&acme, Invalidation::All, Cause::Manual).await?.version;
/// changes.next().await;
/// assert!(cache.known_version(&acme) >= Some(version));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Changes(watch::Receiver<()>);

impl Changes {
    /// Waits until something changes that this was not told of yet. Cancel safe: what is not waited for is told next time.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            // The cache is gone, and nothing will change any more.
            std::future::pending::<()>().await;
        }
    }
}

impl Cache {
    /// The changes from now on, as hints: what they change is told by [`Cache::known_version`].
    pub fn changes(&self) -> Changes {
        Changes(self.inner.changes.0.subscribe())
    }
}
