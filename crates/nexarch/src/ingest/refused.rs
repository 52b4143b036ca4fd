//! How many batches each tenant was refused for want of room or allowance, since the start of this process.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use nexarch_core::ids::TenantId;
use nexarch_store::Error as StoreError;

use super::IngestError;

/// Tenants that are counted; further ones are not.
const MAX_TENANTS: usize = 10_000;

/// Batches of a tenant that were refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// By a rate limit.
    pub rate: u64,
    /// By the quota of spans.
    pub quota: u64,
    /// Because the byte budget or the queue was full.
    pub busy: u64,
}

/// The counts of all tenants.
#[derive(Debug, Default)]
pub struct Refused {
    tenants: Mutex<HashMap<TenantId, Counts>>,
}

impl Refused {
    /// Those of a tenant.
    pub fn of(&self, tenant: &TenantId) -> Counts {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner).get(tenant).copied().unwrap_or_default()
    }

    /// Counts a batch.
    pub fn note(&self, tenant: &TenantId, count: impl FnOnce(&mut Counts)) {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if tenants.len() < MAX_TENANTS || tenants.contains_key(tenant) {
            count(tenants.entry(tenant.clone()).or_default());
        }
    }

    /// Counts a batch that was not stored, if that was for want of something.
    pub(super) fn note_error(&self, tenant: &TenantId, error: &IngestError) {
        match error {
            IngestError::Busy => self.note(tenant, |counts| counts.busy += 1),
            IngestError::Store(StoreError::Quota { .. } | StoreError::BeyondQuota { .. }) => {
                self.note(tenant, |counts| counts.quota += 1);
            }
            IngestError::TooMany(_)
            | IngestError::TooLarge
            | IngestError::Stopping
            | IngestError::Store(_) => {}
        }
    }

    /// Forgets a tenant that is gone.
    pub fn forget(&self, tenant: &TenantId) {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner).remove(tenant);
    }
}
