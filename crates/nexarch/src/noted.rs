//! What senders did wrong, counted per tenant until the store keeps it.
//!
//! A rejected span changes no data, and a request with nothing but rejected spans must not cost a transaction. So counts
//! wait in memory for the next look of the settling task; a crash loses a few seconds of them, and no span.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use nexarch_core::{ids::TenantId, otlp::Flags};
use nexarch_store::{Error, Snapshot, Store};

/// Tenants with counts that wait; the flood of a further one is not counted until the next look.
const MAX_TENANTS: usize = 10_000;

/// Counts that wait.
#[derive(Default)]
pub(crate) struct Noted {
    waiting: Mutex<HashMap<TenantId, Flags>>,
    /// Held while counts are on their way to the store: in neither place, or in both.
    on_the_way: tokio::sync::Mutex<()>,
}

impl Noted {
    /// Adds what a request showed.
    pub(crate) fn add(&self, tenant: &TenantId, flags: &Flags) {
        if *flags == Flags::default() {
            return;
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < MAX_TENANTS || waiting.contains_key(tenant) {
            waiting.entry(tenant.clone()).or_default().add(flags);
        }
    }

    /// A snapshot of a tenant, and what waits beside it: together each count once.
    pub(crate) async fn beside(
        &self,
        store: &dyn Store,
        tenant: &TenantId,
    ) -> Result<(Flags, Box<dyn Snapshot>), Error> {
        let _still = self.on_the_way.lock().await;
        let snapshot = store.snapshot(tenant).await?;
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        Ok((waiting.get(tenant).copied().unwrap_or_default(), snapshot))
    }

    /// Hands all counts to the store; what it does not take waits on.
    pub(crate) async fn flush(&self, store: &dyn Store) -> Result<(), Error> {
        let _alone = self.on_the_way.lock().await;
        let taken = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        let counts = taken.iter().map(|(tenant, flags)| {
            let counts = flags.counts().into_iter().filter(|(_, count)| *count > 0);
            (tenant.clone(), counts.collect::<Vec<_>>())
        });
        let outcome = store.note(counts.filter(|(_, counts)| !counts.is_empty()).collect()).await;
        if outcome.is_err() {
            for (tenant, flags) in &taken {
                self.add(tenant, flags);
            }
        }
        outcome
    }
}
