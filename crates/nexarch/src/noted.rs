//! What senders did wrong, counted per tenant until the store keeps it.
//!
//! A rejected span changes no data, and a request with nothing but rejected spans must not cost a transaction. So counts
//! wait in memory for the next look of the settling task; a crash loses a few seconds of them, and no span.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use nexarch_core::{ids::TenantId, otlp::Flags};
use nexarch_store::{Error, Store};

/// Tenants with counts that wait; the flood of a further one is not counted until the next look.
const MAX_TENANTS: usize = 10_000;

/// Counts that wait.
#[derive(Default)]
pub(crate) struct Noted(Mutex<HashMap<TenantId, Flags>>);

impl Noted {
    /// Adds what a request showed.
    pub(crate) fn add(&self, tenant: &TenantId, flags: &Flags) {
        if *flags == Flags::default() {
            return;
        }
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < MAX_TENANTS || waiting.contains_key(tenant) {
            waiting.entry(tenant.clone()).or_default().add(flags);
        }
    }

    /// What waits for one tenant.
    pub(crate) fn waiting(&self, tenant: &TenantId) -> Flags {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(tenant).copied().unwrap_or_default()
    }

    /// Hands all counts to the store; what it does not take waits on. (For an instant they are in neither place.)
    pub(crate) async fn flush(&self, store: &dyn Store) -> Result<(), Error> {
        let taken = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let counts = taken.iter().map(|(tenant, flags)| {
            let counts = flags.counts().into_iter().filter(|(_, count)| *count > 0);
            (tenant.clone(), counts.collect::<Vec<_>>())
        });
        let outcome = store.note(counts.filter(|(_, counts)| !counts.is_empty()).collect()).await;
        if outcome.is_err() {
            taken.iter().for_each(|(tenant, flags)| self.add(tenant, flags));
        }
        outcome
    }
}
