//! What is counted of all scopes together: for monitoring, which keeps figures by operation and never by scope.

use crate::cache::{Cache, Inner};
use crate::counters::{Counters, OperationCounters};
use crate::operation::{Operation, OperationId};
use crate::remote::RemoteStatus;
use crate::stats::{Cause, Distribution, RemoteCounts};
use crate::sync::lock;
use crate::tenants::Tenant;
use crate::tier::Command;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// A scope's counters end with the scope, and those of all would take long to add up; so each event is counted twice. But
/// for memory hits, where that would be a tenth of a hit: they are added up when somebody asks.
#[derive(Debug)]
pub(crate) struct Node {
    counters: Counters,
    /// Memory hits as they were told last, by operation: what was told once is never taken back.
    told: Mutex<Vec<u64>>,
    invalidations: Box<[[AtomicU64; Cause::ALL.len()]]>,
}

impl Node {
    pub(crate) fn new(operations: usize) -> Self {
        let invalidations = (0..operations).map(|_| Default::default()).collect();
        Self { counters: Counters::new(operations), told: Mutex::new(vec![0; operations]), invalidations }
    }

    #[inline]
    pub(crate) fn of(&self, operation: OperationId) -> &OperationCounters {
        self.counters.of(operation)
    }

    /// Memory hits by operation, none less than when they were told before.
    fn hits(&self, now: Vec<u64>) -> Vec<u64> {
        let mut told = lock(&self.told);
        for (told, now) in told.iter_mut().zip(now) {
            *told = now.max(*told);
        }
        told.clone()
    }

    pub(crate) fn invalidated(&self, operation: OperationId, cause: Cause) {
        self.invalidations[operation.index()][cause as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// One node since its cache was built, all scopes together; see [`Cache::node_stats`].
#[derive(Clone, Debug, Serialize)]
pub struct NodeStats {
    /// By name; every operation of the cache is there.
    pub operations: BTreeMap<String, NodeOperation>,
    /// Scopes that are known now.
    pub scopes: u64,
    /// Bytes of all entries in memory.
    pub bytes: u64,
    /// Most bytes of them.
    pub max_bytes: u64,
    /// Entries that gave way to others.
    pub evictions: u64,
    /// Reads of the authority's versions that were answered, by the time that took.
    pub authority_reads: Distribution,
    /// Reads of the authority that failed or took too long.
    pub authority_errors: u64,
    /// The shared tier, when there is one.
    pub remote: Option<NodeRemote>,
}

/// One operation on one node; the words of [`OperationStats`](crate::OperationStats).
#[derive(Clone, Debug, Default, Serialize)]
pub struct NodeOperation {
    /// Served from memory.
    pub hits_memory: u64,
    /// Served from the shared tier.
    pub hits_redis: u64,
    /// Computed.
    pub misses: u64,
    /// Answered by the computation of another reader.
    pub collapsed: u64,
    /// Served although overtaken or expired.
    pub stale: u64,
    /// Computations that failed.
    pub errors: u64,
    /// How often its values became old, by cause; every cause is there. Once for each scope that was concerned.
    pub invalidations: BTreeMap<&'static str, u64>,
    /// Entries in memory, dead ones included for some seconds.
    pub entries: u64,
    /// Bytes of these entries.
    pub bytes: u64,
    /// Time of hits: of one in 64.
    pub hit: Distribution,
    /// Time of computations that succeeded, those for warming and early refreshes too.
    pub compute: Distribution,
}

/// The shared tier as one node sees it.
#[derive(Clone, Debug, Serialize)]
pub struct NodeRemote {
    /// Its state.
    #[serde(skip)]
    pub status: RemoteStatus,
    /// What was counted.
    pub counts: RemoteCounts,
    /// Times of calls that were sent, failed ones too, by command; every command is there.
    pub commands: BTreeMap<&'static str, Distribution>,
    /// Time from the commit of a change on some node to its message here, by the clocks of both.
    pub lag: Distribution,
}

impl Inner {
    /// Where an event of `operation` is counted: for the scope, and for the node.
    pub(crate) fn counted<'a>(
        &'a self,
        tenant: &'a Tenant,
        operation: OperationId,
    ) -> [&'a OperationCounters; 2] {
        [tenant.counters.of(operation), self.node.of(operation)]
    }
}

impl Cache {
    /// What this node counted since the cache was built, all scopes together. For operators: it tells nothing apart by
    /// scope. It looks once at each scope for entries and bytes, and holds up no read.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), nexarch_cache::Error> {
    /// use nexarch_cache::{Cache, Computed, LocalAuthority, Operation, Read, Scope};
    /// use std::{sync::Arc, time::Duration};
    /// use tokio_util::task::TaskTracker;
    ///
    /// let cache = Cache::builder(Arc::new(LocalAuthority::default()))
    ///     .operations([Operation::new("report", Duration::from_secs(60))])
    ///     .build(TaskTracker::new())?;
    /// for scope in [Scope::new("acme")?, Scope::new("globex")?] {
    ///     let read = Read::new(cache.operation("report")?, "year=2025");
    ///     cache.get_or_compute(&scope, read, |_| async { Ok(Computed::new("42")) }).await?;
    /// }
    /// assert_eq!(cache.node_stats().operations["report"].misses, 2);
    /// # Ok(())
    /// # }
    /// ```
    pub fn node_stats(&self) -> NodeStats {
        let inner = &self.inner;
        let (hits, tenants) = inner.tenants.hits();
        let hits = inner.node.hits(hits);
        let mut used = vec![(0, 0); inner.operations.len()];
        for tenant in &tenants {
            for (sum, of_tenant) in used.iter_mut().zip(tenant.memory.ring().usage()) {
                *sum = (sum.0 + of_tenant.entries, sum.1 + of_tenant.bytes);
            }
        }
        let of = |(id, operation): (OperationId, &Operation)| {
            let stats = self.of_operation(id, hits[id.index()], used[id.index()]);
            (operation.name.to_string(), stats)
        };
        NodeStats {
            operations: inner.operations.iter().map(of).collect(),
            scopes: tenants.len() as u64,
            bytes: inner.budget.total(),
            max_bytes: inner.budget.max_bytes(),
            evictions: inner.budget.evictions(),
            authority_reads: inner.truth.times().distribution(),
            authority_errors: inner.truth.errors(),
            remote: inner.tier.as_ref().zip(self.remote_counts()).map(|(tier, counts)| NodeRemote {
                status: tier.status(),
                counts,
                commands: Command::ALL
                    .map(|command| (command.as_str(), tier.times(command).distribution()))
                    .into(),
                lag: tier.counts.lag.distribution(),
            }),
        }
    }

    fn of_operation(&self, id: OperationId, hits: u64, (entries, bytes): (u64, u64)) -> NodeOperation {
        let node = &self.inner.node;
        let counters = node.of(id);
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let causes = &node.invalidations[id.index()];
        NodeOperation {
            hits_memory: hits,
            hits_redis: load(&counters.hits_redis),
            misses: load(&counters.misses),
            collapsed: load(&counters.collapsed),
            stale: load(&counters.stale),
            errors: load(&counters.errors),
            invalidations: Cause::ALL.map(|cause| (cause.as_str(), load(&causes[cause as usize]))).into(),
            entries,
            bytes,
            hit: counters.hit.distribution(),
            compute: counters.compute.distribution(),
        }
    }
}
