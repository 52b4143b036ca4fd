//! Reading a value from the shared tier: believed only where its label is what the authority vouches for.

use crate::cache::Inner;
use crate::compute::Plan;
use crate::early;
use crate::entry::{Entry, Etag};
use crate::envelope::{self, Head, Place, Rejected};
use crate::fence::Fence;
use crate::remote::RemoteError;
use crate::seal::Sealer;
use crate::tenants::Tenant;
use crate::tier::{Moment, Tier};
use crate::variant::Variants;
use bytes::Bytes;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

/// Values above this many bytes are unpacked and packed on a thread that may be kept busy: it takes more than 100 µs.
pub(crate) const INLINE: usize = 64 << 10;

/// What a look into the shared tier brought.
#[derive(Debug)]
pub(crate) enum Fetched {
    /// A value that may be served.
    Hit(Arc<Entry>),
    /// None. If there was one that is too old, what it took to compute.
    Miss(Option<Duration>),
    /// None: what stands there is not what it should be. To be counted by who asked first.
    Refused(Rejected),
    /// The tier did not answer.
    Failed,
}

struct Unpacked {
    head: Head,
    body: Bytes,
    etag: Etag,
}

impl Inner {
    /// The value of `plan` from the shared tier if it may be served where `needed` is needed; it is then in memory, too.
    /// What expired and may yet stand in for a failed computation is kept for that.
    pub(crate) async fn fetch(
        self: &Arc<Self>,
        tier: &Tier,
        tenant: &Arc<Tenant>,
        plan: &Plan,
        needed: &Fence,
    ) -> Fetched {
        let name = self.name(tenant, plan);
        let beside = plan.params.len() + envelope::OVERHEAD;
        let most = self.max_value_bytes.saturating_add(beside).min(tier.max_value_bytes);
        let value = match tier.get(&name, most).await {
            Ok(Some(value)) => value,
            Ok(None) => return Fetched::Miss(None),
            Err(RemoteError::TooLarge) => return Fetched::Refused(Rejected::TooLarge),
            Err(RemoteError::Foreign) => return Fetched::Refused(Rejected::Foreign),
            Err(error) => {
                tier.failed(&error);
                return Fetched::Failed;
            }
        };
        // As its writer counts it.
        let bytes = name.len() + value.len();
        let moment = Moment::now(&*self.clock);
        let Unpacked { head, body, etag } = match self.unpack(tier, plan, name, value, moment.wall).await {
            Ok(read) => read,
            Err(reason) => return Fetched::Refused(reason),
        };
        if head.label.epoch != needed.epoch {
            return Fetched::Refused(Rejected::Foreign);
        }
        if !head.label.covers(needed) {
            return Fetched::Miss(Some(head.cost));
        }
        if !self.vouched(tenant, plan, needed, &head.label).await {
            return Fetched::Refused(Rejected::Ahead);
        }
        let left =
            Duration::from_micros(head.dies.saturating_sub(moment.wall)).min(plan.life(head.negative).1);
        let key = plan.key(tenant);
        tenant.remote.charge(key, bytes, left, moment.boot, tier.scope_max_bytes);
        let entry = Arc::new(entry(plan, &head, (body, etag), moment, tenant.mirror.known()));
        tenant.counters.of(plan.operation).learn_cost(head.cost);
        if self.enabled() {
            tenant.memory.store_if_better(key, Arc::clone(&entry), moment.boot);
        }
        // Unpacking may have waited for a thread, and the authority may have been asked.
        if entry.fresh(self.clock.boot()) { Fetched::Hit(entry) } else { Fetched::Miss(Some(head.cost)) }
    }

    async fn unpack(
        self: &Arc<Self>,
        tier: &Tier,
        plan: &Plan,
        name: String,
        value: Bytes,
        now: u64,
    ) -> Result<Unpacked, Rejected> {
        let max_body = self.max_value_bytes;
        // A few compressed bytes may become many.
        if value.len().max(envelope::claimed_length(&value)) <= INLINE {
            let (head, body) = unpacked(plan, &name, tier.sealer.as_ref(), now, max_body, &value)?;
            return Ok(Unpacked { head, body, etag: Etag::default() });
        }
        let (inner, plan) = (Arc::clone(self), plan.clone());
        let unpack = move || {
            let sealer = inner.tier.as_ref().and_then(|tier| tier.sealer.as_ref());
            let (head, body) = unpacked(&plan, &name, sealer, now, max_body, &value)?;
            let etag = Etag::of(&body);
            Ok(Unpacked { head, body, etag })
        };
        self.tracker.spawn_blocking(unpack).await.unwrap_or(Err(Rejected::Corrupt))
    }

    /// Whether the authority gave the versions of `label`. If the label says more than is known here, it is asked: the
    /// value may be of a change that is not known here yet, or of a future that the database was set back from.
    async fn vouched(
        self: &Arc<Self>,
        tenant: &Arc<Tenant>,
        plan: &Plan,
        needed: &Fence,
        label: &Fence,
    ) -> bool {
        let certain = || tenant.mirror.certain(plan.operation.index(), plan.follows_data).fence;
        if needed.covers(label) || certain().covers(label) {
            return true;
        }
        if !self.knows_all {
            // There is nobody to ask: what others say is taken as said.
            return self.believe(tenant, plan, label);
        }
        // An answer raises this mirror; when the database was set back, or the scope forgotten, it does not.
        self.truth_read([plan.scope.clone()]).await.is_ok() && certain().covers(label)
    }

    /// The name of the key in the shared tier.
    pub(crate) fn name(&self, tenant: &Tenant, plan: &Plan) -> String {
        let operation = self.operations.get(plan.operation).map_or("", |operation| &operation.name);
        plan.key(tenant).name(&self.namespace, &plan.scope, operation)
    }
}

/// All that takes time in proportion to the value.
fn unpacked(
    plan: &Plan,
    name: &str,
    sealer: Option<&Sealer>,
    now: u64,
    max_body: usize,
    value: &Bytes,
) -> Result<(Head, Bytes), Rejected> {
    let (head, body) = envelope::unpack(&plan.place(name, sealer), now, max_body, value)?;
    // The code of a type, on bytes of anybody.
    let decodes = AssertUnwindSafe(|| (plan.shape.decodes)(&body));
    if !catch_unwind(decodes).unwrap_or(false) {
        return Err(Rejected::OtherSchema);
    }
    Ok((head, body))
}

impl Plan {
    pub(crate) fn place<'a>(&'a self, key: &'a str, sealer: Option<&'a Sealer>) -> Place<'a> {
        Place { key, params: &self.params, fingerprint: self.fingerprint, codec: self.shape.codec, sealer }
    }
}

/// `known` bounds what is believed of `contains`: the label was vouched for, that was not.
fn entry(plan: &Plan, head: &Head, (body, etag): (Bytes, Etag), moment: Moment, known: u64) -> Entry {
    let computed_at = moment.passed(head.computed_at);
    let (ttl, whole) = plan.life(head.negative);
    // Whoever wrote it may have had a longer TTL: what is found again and again must not begin anew each time.
    let expires = moment.to_come(head.expires, ttl).min(computed_at.plus(ttl));
    Entry {
        params: Arc::clone(&plan.params),
        etag,
        body,
        label: head.label,
        contains: head.contains.min(known).max(head.label.newest()),
        computed_at,
        expires,
        dies: moment.to_come(head.dies, whole).min(computed_at.plus(whole)),
        cost: head.cost,
        negative: head.negative,
        early: early::begins(computed_at, expires, head.cost),
        refreshing: false.into(),
        variants: Variants::default(),
    }
}
