//! What this process knows of one scope's versions. Raised, never lowered: a reply that was overtaken on its way
//! can only repeat what is known.
//!
//! Pure: no clock, no IO, no async. A new epoch is a new mirror.

use crate::clock::BootTime;
use crate::fence::{Epoch, Fence};
use crate::sync::{AtomicU64, Ordering};
use std::time::Duration;

/// How long a truth read is believed when others may write, counted from before it was *sent*: whatever was
/// committed before it was sent is in its answer, whatever came later is at most this old.
pub(crate) const LEASE: Duration = Duration::from_secs(1);

/// When a mirror is believed without asking.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trust {
    /// Every commit passes through this process, which raises the mirror before it acknowledges.
    Sole,
    /// Others commit too: what was read is believed for [`LEASE`].
    Lease(BootTime),
}

/// The versions of one scope under one epoch.
///
/// Plain atomics instead of a lock: a hit reads four numbers. Each part only grows, so a mix of two moments is a
/// fence at least as new as the older of them. All orderings are `SeqCst`: loads cost the same on x86-64, raises
/// are rare, and it is what the interleaving tests model.
#[derive(Debug)]
pub(crate) struct Mirror {
    epoch: Epoch,
    tenant: AtomicU64,
    data: AtomicU64,
    operations: Box<[AtomicU64]>,
    /// The scope's clock up to which the parts above are complete.
    known: AtomicU64,
    /// Nanoseconds since boot when the latest complete read was sent; 0 = never.
    asof: AtomicU64,
}

/// What a read needs, and the version up to which that is complete.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Needed {
    pub(crate) fence: Fence,
    pub(crate) known: u64,
}

impl Mirror {
    pub(crate) fn new(epoch: Epoch, operations: usize) -> Self {
        Self {
            epoch,
            tenant: AtomicU64::new(0),
            data: AtomicU64::new(0),
            operations: (0..operations).map(|_| AtomicU64::new(0)).collect(),
            known: AtomicU64::new(0),
            asof: AtomicU64::new(0),
        }
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(crate) fn raise_tenant(&self, version: u64) {
        self.tenant.fetch_max(version, Ordering::SeqCst);
    }

    pub(crate) fn raise_data(&self, version: u64) {
        self.data.fetch_max(version, Ordering::SeqCst);
    }

    pub(crate) fn raise_operation(&self, operation: usize, version: u64) {
        if let Some(part) = self.operations.get(operation) {
            part.fetch_max(version, Ordering::SeqCst);
        }
    }

    /// Every version up to `clock` has been raised here; they were asked for at `sent`. Called after the parts
    /// are raised: who sees the new trust sees what it vouches for.
    pub(crate) fn complete(&self, clock: u64, sent: BootTime) {
        self.known.fetch_max(clock, Ordering::SeqCst);
        self.asof.fetch_max(sent.as_nanos().max(1), Ordering::SeqCst);
    }

    pub(crate) fn known(&self) -> u64 {
        self.known.load(Ordering::SeqCst)
    }

    /// Whether the parts were ever read whole.
    pub(crate) fn is_complete(&self) -> bool {
        self.asof.load(Ordering::SeqCst) > 0
    }

    /// Whether [`Mirror::need`] may be believed now: read whole after `floor` (the last moment at which trust was
    /// withdrawn), the lease not run out, and `min_version` reached.
    pub(crate) fn trusted(&self, trust: Trust, floor: BootTime, min_version: u64) -> bool {
        let asof = self.asof.load(Ordering::SeqCst);
        let in_time = match trust {
            Trust::Sole => true,
            Trust::Lease(now) => now.since(BootTime::from_nanos(asof)) <= LEASE,
        };
        asof > floor.as_nanos() && in_time && self.known() >= min_version
    }

    /// What a read needs that begins now.
    pub(crate) fn need(&self, operation: usize, follows_data: bool) -> Needed {
        // `known` before the parts: complete() raises in the opposite order, so the parts read here are complete
        // up to it.
        let known = self.known();
        let fence = Fence {
            epoch: self.epoch,
            tenant: self.tenant.load(Ordering::SeqCst),
            operation: self.operations.get(operation).map_or(0, |part| part.load(Ordering::SeqCst)),
            data: if follows_data { self.data.load(Ordering::SeqCst) } else { 0 },
        };
        Needed { fence, known }
    }
}
