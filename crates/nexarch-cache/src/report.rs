//! Reading the counters.

use crate::cache::Cache;
use crate::counters::Counters;
use crate::envelope::Rejected;
use crate::key::Scope;
use crate::memory::Usage;
use crate::remote::Breaker;
use crate::stats::{MemoryStats, OperationStats, Quantiles, RemoteCounts, RemoteStats, ScopeStats, Totals};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

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
            totals.add(&stats, of.saved_ms());
            operations.insert(operation.name.to_string(), stats);
        }
        let memory = MemoryStats {
            entries: usage.iter().map(|u| u.entries).sum(),
            bytes: usage.iter().map(|u| u.bytes).sum(),
            max_bytes: self.inner.budget.max_bytes(),
            evictions: counters.evictions.load(Ordering::Relaxed),
        };
        ScopeStats { totals, operations, memory, redis: self.remote_stats() }
    }

    fn remote_stats(&self) -> RemoteStats {
        let coherence = self.status().mode;
        let Some(tier) = &self.inner.tier else {
            let breaker = Breaker::Closed.as_str();
            return RemoteStats { round_trip_ms: Quantiles::default(), breaker, coherence, reconnects: 0 };
        };
        let status = tier.status();
        let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
        RemoteStats {
            round_trip_ms: Quantiles { p50: ms(status.round_trip.0), p99: ms(status.round_trip.1) },
            breaker: status.breaker.as_str(),
            coherence,
            reconnects: status.reconnects,
        }
    }

    /// What this node counted of its shared tier, all scopes together, since the cache was built; `None` without one.
    /// For operators: it is not told apart by scope.
    pub fn remote_counts(&self) -> Option<RemoteCounts> {
        let counts = &self.inner.tier.as_ref()?.counts;
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let rejected = Rejected::ALL.map(|reason| (reason.as_str(), counts.rejected.get(reason)));
        Some(RemoteCounts {
            rejected: rejected.into(),
            errors: load(&counts.errors),
            written: load(&counts.written),
            not_written: load(&counts.not_written),
            over_quota: load(&counts.over_quota),
            published: load(&counts.published),
            not_published: load(&counts.not_published),
            heard: load(&counts.heard),
            garbled: load(&counts.garbled),
            waited_for_others: load(&counts.waited_for_others),
        })
    }

    /// Bytes of `scope` in the shared tier, as far as this node can tell.
    pub fn remote_bytes(&self, scope: &Scope) -> u64 {
        self.inner.tenants.get(scope).map_or(0, |tenant| tenant.remote.bytes(self.now()))
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
