//! What computations at one data version have in common: read, added up and analysed once for all of them.
//!
//! A part is of the data version that its reader's own snapshot has, so who uses it labels its value with that version and
//! promises nothing that its own first statement did not see: one data version means one answer. Parts live as long as
//! somebody computes with them, or holds them on for a next computation ([`Parts::hold`]), and no longer.

mod shelf;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use nexarch_core::{
    analysis::Basis, graph::Graph, ids::TenantId, incident::Incident, rollup::Rollup, season::Regressions,
    window::Minutes,
};
use nexarch_store::{Cells, KeptVerdicts, Sampled};

use self::shelf::{Room, Shelf};
use super::gather::Season;

/// Bytes of all kept parts, about. What has no room is used and not kept.
const MAX_BYTES: usize = 64 << 20;
/// Tenants that are remembered before those that nobody computes for are forgotten.
const MANY: usize = 64;

/// The parts that are in use, by tenant.
#[derive(Default)]
pub struct Parts {
    tenants: Mutex<HashMap<TenantId, Latest>>,
    room: Arc<Room>,
}

/// Those of the newest version that somebody computes at.
#[derive(Default)]
struct Latest {
    holders: usize,
    held: Option<Arc<Shared>>,
    used: Weak<Shared>,
}

/// Which cells, and of which environment: `None` for all together.
pub(super) type Cut = (Minutes, u32, Option<String>);

/// The parts of one tenant at one data version.
#[derive(Default)]
pub(super) struct Shared {
    version: u64,
    /// By range and longest cell.
    pub(super) cells: Shelf<(Minutes, u32), Cells>,
    pub(super) verdicts: Shelf<(Minutes, Option<String>), KeptVerdicts>,
    pub(super) incidents: Shelf<Minutes, Vec<Incident>>,
    pub(super) sampled: Shelf<Minutes, Sampled>,
    /// By end of the hour.
    pub(super) seasons: Shelf<u32, Option<Season>>,
    pub(super) rollups: Shelf<(Minutes, u32), Rollup>,
    pub(super) graphs: Shelf<Cut, Graph>,
    pub(super) bases: Shelf<Cut, Basis>,
    pub(super) regressions: Shelf<(u32, Option<String>), Regressions>,
}

impl Shared {
    /// Parts of one computation alone.
    pub(super) fn alone(version: u64) -> Arc<Self> {
        Arc::new(Self { version, ..Self::default() })
    }

    fn new(version: u64, room: &Arc<Room>) -> Self {
        Self {
            version,
            cells: Shelf::new(room),
            verdicts: Shelf::new(room),
            incidents: Shelf::new(room),
            sampled: Shelf::new(room),
            seasons: Shelf::new(room),
            rollups: Shelf::new(room),
            graphs: Shelf::new(room),
            bases: Shelf::new(room),
            regressions: Shelf::new(room),
        }
    }
}

impl Parts {
    /// Those of a computation whose own snapshot is of `version`: none that are older, and none that are newer.
    pub(super) fn at(&self, tenant: &TenantId, version: u64) -> Arc<Shared> {
        let mut tenants = self.tenants();
        if tenants.len() >= MANY {
            tenants.retain(|_, latest| latest.is_needed());
        }
        let latest = tenants.entry(tenant.clone()).or_default();
        let overtaken = match latest.used.upgrade() {
            Some(used) if used.version == version => return used,
            // It began before others, and ends after them.
            Some(used) if used.version > version => return Shared::alone(version),
            overtaken => overtaken,
        };
        let shared = Arc::new(Shared::new(version, &self.room));
        latest.used = Arc::downgrade(&shared);
        latest.held = (latest.holders > 0).then(|| Arc::clone(&shared));
        // Megabytes may go with it: not under the lock.
        drop(tenants);
        drop(overtaken);
        shared
    }

    /// Keeps the newest parts of a tenant, also those to come, until what it returns is dropped.
    pub(crate) fn hold(&self, tenant: &TenantId) -> Hold<'_> {
        let mut tenants = self.tenants();
        let latest = tenants.entry(tenant.clone()).or_default();
        latest.holders += 1;
        latest.held = latest.used.upgrade();
        Hold { parts: self, tenant: tenant.clone() }
    }

    fn tenants(&self) -> MutexGuard<'_, HashMap<TenantId, Latest>> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Latest {
    fn is_needed(&self) -> bool {
        self.holders > 0 || self.used.strong_count() > 0
    }
}

/// See [`Parts::hold`].
pub(crate) struct Hold<'a> {
    parts: &'a Parts,
    tenant: TenantId,
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        let mut tenants = self.parts.tenants();
        let Some(latest) = tenants.get_mut(&self.tenant) else { return };
        latest.holders -= 1;
        let dropped = if latest.holders == 0 { latest.held.take() } else { None };
        if !latest.is_needed() || dropped.as_ref().is_some_and(|last| Arc::strong_count(last) == 1) {
            tenants.remove(&self.tenant);
        }
        drop(tenants);
        drop(dropped);
    }
}

#[cfg(test)]
mod tests;
