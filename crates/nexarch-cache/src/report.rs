//! Reading the counters.

use crate::cache::Cache;
use crate::counters::Counters;
use crate::key::Scope;
use crate::memory::Usage;
use crate::stats::{MemoryStats, OperationStats, ScopeStats, Totals};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Cache {
    /// What was counted for `scope` on this node since the cache was built; zeros for a scope it has not met.
    pub fn stats(&self, scope: &Scope) -> ScopeStats {
        let count = self.inner.operations.len();
        let tenant = self.inner.tenants.get(scope);
        let counters =
            tenant.as_ref().map_or_else(|| Arc::new(Counters::new(count)), |t| Arc::clone(&t.counters));
        let usage = tenant.map_or_else(|| vec![Usage::default(); count].into(), |t| t.memory.ring().usage());
        let mut totals = Totals::default();
        let mut operations = BTreeMap::new();
        for (id, operation) in self.inner.operations.iter() {
            let of = counters.of(id);
            let stats = OperationStats::new(operation, of, usage[id.index()]);
            totals.add(&stats, stats.saved_ms(of));
            operations.insert(operation.name.to_string(), stats);
        }
        let memory = MemoryStats {
            entries: usage.iter().map(|u| u.entries).sum(),
            bytes: usage.iter().map(|u| u.bytes).sum(),
            max_bytes: self.inner.budget.max_bytes(),
            evictions: counters.evictions.load(Ordering::Relaxed),
        };
        ScopeStats { totals, operations, memory }
    }

    /// Every scope this node knows, in no order: those of [`Cache::stats`] that are not all zero.
    pub fn scopes(&self) -> Vec<Scope> {
        self.inner.tenants.scopes(None)
    }

    /// Bytes held by all scopes together.
    pub fn memory_bytes(&self) -> u64 {
        self.inner.budget.total()
    }
}
