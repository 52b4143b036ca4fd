//! Telling other nodes which versions were raised, and listening to what they tell. Hints: the argument why nothing old
//! is served does not need them.

use crate::authority::ScopeVersions;
use crate::cache::{Cache, Inner};
use crate::compute::Plan;
use crate::fence::{Epoch, Fence};
use crate::key::Scope;
use crate::message::{Message, Raised};
use crate::mirror::Part;
use crate::tenants::Tenant;
use crate::tier::{Tier, count};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

/// Versions are microseconds of somebody's wall clock. Where nobody can be asked, one this far in the future is taken for
/// a mistake: believed, it could never be overtaken.
const MAX_AHEAD: Duration = Duration::from_hours(1);

/// How far an invalidation has reached when it is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The shared tier took the message for all nodes, or there is no other. One that is cut off from the tier learns within
    /// [`Cache::staleness_bound`].
    Cluster,
    /// This one. Others learn within [`Cache::staleness_bound`].
    Node,
}

impl Reach {
    /// The word, as answers give it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Node => "node",
        }
    }
}

impl Inner {
    /// Whether no other process reads what this one changes.
    pub(crate) fn unobserved(&self) -> bool {
        self.sole_owner && self.knows_all
    }

    /// Tells others of versions that were just committed, without waiting. Too many at once, or outside of a runtime, it
    /// is left to their next read of the authority.
    pub(crate) fn tell(self: &Arc<Self>, scope: &Scope, versions: &ScopeVersions) {
        let Some(tier) = self.tier.as_ref().filter(|_| !self.unobserved()) else { return };
        let runtime = tokio::runtime::Handle::try_current();
        let (Some(permit), Ok(runtime)) = (tier.begin_publish(), runtime) else {
            return count(&tier.counts.not_published);
        };
        let (inner, scope, versions) = (Arc::clone(self), scope.clone(), versions.clone());
        let task = async move {
            inner.publish(&scope, &versions).await;
            drop(permit);
        };
        self.tracker.spawn_on(task, &runtime);
    }

    /// Tells others and waits for the shared tier, one deadline at most.
    pub(crate) async fn publish(self: &Arc<Self>, scope: &Scope, versions: &ScopeVersions) -> Reach {
        if self.unobserved() {
            return Reach::Cluster;
        }
        let Some(tier) = &self.tier else { return Reach::Node };
        // A node that has read nothing yet does not know under which epoch it writes.
        if self.tenants.epoch() == Epoch::default() && self.truth_read([]).await.is_err() {
            count(&tier.counts.not_published);
            return Reach::Node;
        }
        for message in Message::of(self.tenants.epoch(), scope, versions) {
            if let Err(error) = tier.publish(message.encode().into()).await {
                tier.failed(&error);
                count(&tier.counts.not_published);
                return Reach::Node;
            }
            count(&tier.counts.published);
        }
        if tier.status().messages { Reach::Cluster } else { Reach::Node }
    }

    fn hear(&self, tier: &Tier, message: &Bytes) {
        let Some(message) = Message::decode(message) else { return count(&tier.counts.garbled) };
        // Of another database, or of a scope that nobody reads here: its first read will ask.
        let Some(tenant) = self.tenants.get(&message.scope).filter(|t| t.mirror.epoch() == message.epoch)
        else {
            return;
        };
        count(&tier.counts.heard);
        let now = crate::clock::micros(self.clock.wall());
        for raised in message.raised {
            let (part, version) = match raised {
                Raised::All(version) => (Part::Tenant, version),
                Raised::Data(version) => (Part::Data, version),
                Raised::Operation(name, version) => match self.operations.find(&name) {
                    Some(operation) => (Part::Operation(operation.index()), version),
                    None => continue,
                },
            };
            // A message tells all versions of its scope, and of those only what was raised says how long the way takes. What
            // this node raised itself is known to it already.
            if tenant.mirror.is_news(part, version) {
                tier.counts.lag.record(Duration::from_micros(now.saturating_sub(version)));
            }
            if self.knows_all {
                tenant.mirror.hear(part, version);
            } else if self.plausible(version) {
                self.take(&tenant, part, version);
            }
        }
    }

    /// Where the authority does not know what others write: takes the versions of a label as raised.
    pub(crate) fn believe(&self, tenant: &Tenant, plan: &Plan, label: &Fence) -> bool {
        if !self.plausible(label.newest()) {
            return false;
        }
        self.take(tenant, Part::Tenant, label.tenant);
        self.take(tenant, Part::Operation(plan.operation.index()), label.operation);
        self.take(tenant, Part::Data, label.data);
        true
    }

    fn take(&self, tenant: &Tenant, part: Part, version: u64) {
        // First the authority: what it gives out from now on is newer.
        self.authority.observe(&tenant.scope, version);
        match part {
            Part::Tenant => tenant.mirror.raise_tenant(version),
            Part::Operation(operation) => tenant.mirror.raise_operation(operation, version),
            Part::Data => tenant.mirror.raise_data(version),
        }
    }

    fn plausible(&self, version: u64) -> bool {
        let now = crate::clock::micros(self.clock.wall());
        version <= now.saturating_add(u64::try_from(MAX_AHEAD.as_micros()).unwrap_or(u64::MAX))
    }
}

impl Cache {
    /// Takes in messages until `stop` is cancelled or the shared tier is closed.
    pub(crate) async fn listen(&self, stop: &CancellationToken) {
        let Some(tier) = self.inner.tier.as_ref().filter(|_| !self.inner.unobserved()) else { return };
        let mut messages = tier.remote.messages();
        while let Some(message) = stop.run_until_cancelled(messages.recv()).await {
            match message {
                Ok(message) => self.inner.hear(tier, &message),
                // The oldest are gone. They were hints; the next beat reads what they told.
                Err(RecvError::Lagged(lost)) => {
                    tier.counts.garbled.fetch_add(lost, Ordering::Relaxed);
                }
                Err(RecvError::Closed) => return,
            }
        }
    }
}
