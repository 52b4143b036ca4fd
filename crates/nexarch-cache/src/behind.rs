//! Writing to the shared tier, behind the answer: no request waits for it, and none fails by it.

use crate::cache::Inner;
use crate::compute::Plan;
use crate::entry::Entry;
use crate::envelope::{self, Head};
use crate::fetch::INLINE;
use crate::promise::Promise;
use crate::seal::{NONCE, Sealer};
use crate::tenants::Tenant;
use crate::tier::{Moment, Permits, Tier, count};
use bytes::Bytes;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tracing::Instrument;

/// How long what stands in place of a value may live that is to be gone: as long as Redis counts.
const GONE: Duration = Duration::from_millis(1);

/// Whether the shared tier took a value: told when it is known.
pub(crate) type Written = Arc<Promise<bool>>;

/// A value on its way. It did not arrive unless somebody says so, however this ends.
struct Writing(Written);

impl Drop for Writing {
    fn drop(&mut self) {
        self.0.keep(false);
    }
}

impl Inner {
    /// Sends `entry` to the shared tier on a task of its own, if there is room for it on the way and for the scope there.
    /// Whoever waits for it under `plan`'s lease is let go if it does not arrive.
    pub(crate) fn write_behind(
        self: &Arc<Self>,
        tenant: &Arc<Tenant>,
        plan: &Plan,
        entry: &Arc<Entry>,
    ) -> Option<Written> {
        let Some(permits) = self.may_write(tenant, plan, entry) else {
            self.give_up(plan);
            return None;
        };
        let written = Arc::new(Promise::new());
        let writing = Writing(Arc::clone(&written));
        let (inner, tenant) = (Arc::clone(self), Arc::clone(tenant));
        let (plan, entry) = (plan.clone(), Arc::clone(entry));
        let task = async move {
            if let Some(tier) = &inner.tier {
                let took = inner.write(tier, &tenant, plan.clone(), entry).await;
                writing.0.keep(took);
                if !took {
                    inner.give_up(&plan);
                }
            }
            drop(permits);
        };
        // In a trace it belongs to the read that computed the value.
        self.tracker.spawn(task.in_current_span());
        Some(written)
    }

    /// Room for `entry` on the way to the shared tier; `None` when it is not to be sent.
    fn may_write(&self, tenant: &Tenant, plan: &Plan, entry: &Entry) -> Option<Permits> {
        let tier = self.tier.as_ref()?;
        if entry.body.len() > self.max_value_bytes {
            tenant.counters.of(plan.operation).unshared.add(plan.key(tenant));
            return None;
        }
        if tenant.is_closed() || !self.enabled() || !tier.usable() {
            return None;
        }
        if tenant.remote.bytes(self.clock.boot()) >= tier.scope_max_bytes {
            count(&tier.counts.over_quota);
            return None;
        }
        let permits = tier.begin_write(entry.body.len() + plan.params.len());
        if permits.is_none() {
            count(&tier.counts.not_written);
        }
        permits
    }

    /// Whether the shared tier took it.
    async fn write(self: &Arc<Self>, tier: &Tier, tenant: &Tenant, plan: Plan, entry: Arc<Entry>) -> bool {
        let (key, name, operation) = (plan.key(tenant), self.name(tenant, &plan), plan.operation);
        let moment = Moment::now(&*self.clock);
        let left = entry.dies.since(moment.boot);
        // Redis counts whole milliseconds; one that is over anyway is not worth a command.
        if left < Duration::from_millis(1) {
            return false;
        }
        let head = Head {
            label: entry.label,
            contains: entry.contains,
            computed_at: moment.to_wall(entry.computed_at),
            expires: moment.to_wall(entry.expires),
            dies: moment.to_wall(entry.dies),
            cost: entry.cost,
            negative: entry.negative,
        };
        let Ok(packed) = self.pack(tier, plan, &name, head, entry).await else {
            count(&tier.counts.not_written);
            return false;
        };
        // Others need not wait for what they will not find.
        let unshared = &tenant.counters.of(operation).unshared;
        if packed.len() > tier.max_value_bytes {
            unshared.add(key);
            count(&tier.counts.not_written);
            return false;
        }
        unshared.remove(key);
        if !tenant.remote.charge(key, name.len() + packed.len(), left, moment.boot, tier.scope_max_bytes) {
            count(&tier.counts.over_quota);
            return false;
        }
        // Packing takes its time, and a deleted scope is to leave nothing there.
        if tenant.is_closed() {
            return false;
        }
        let set = tier.set(&name, packed, left).await;
        if tenant.is_closed() {
            // Its values are being removed, and this one may have come after that; in time or not. Another scope of this
            // name, if there is one by now, loses one value by it.
            let _ = tier.set(&name, Bytes::new(), GONE).await;
            return false;
        }
        match set {
            Ok(()) => {
                count(&tier.counts.written);
                true
            }
            Err(error) => {
                // It may be there all the same; then the estimate is low until it expires.
                tenant.remote.release(key);
                tier.failed(&error);
                count(&tier.counts.not_written);
                false
            }
        }
    }

    async fn pack(
        self: &Arc<Self>,
        tier: &Tier,
        plan: Plan,
        name: &str,
        head: Head,
        entry: Arc<Entry>,
    ) -> io::Result<Bytes> {
        let nonce = match tier.sealer {
            Some(_) => Sealer::nonce().map_err(io::Error::other)?,
            None => [0; NONCE],
        };
        let packed = if entry.body.len() <= INLINE {
            envelope::pack(&plan.place(name, tier.sealer.as_ref()), nonce, &head, &entry.body)
        } else {
            let (inner, name) = (Arc::clone(self), name.to_owned());
            let pack = move || {
                let sealer = inner.tier.as_ref().and_then(|tier| tier.sealer.as_ref());
                envelope::pack(&plan.place(&name, sealer), nonce, &head, &entry.body)
            };
            self.tracker.spawn_blocking(pack).await.map_err(io::Error::other)?
        };
        packed.map(Bytes::from)
    }
}
