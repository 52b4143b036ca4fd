//! What was counted, as one document per scope.

use crate::counters::OperationCounters;
use crate::memory::Usage;
use crate::operation::Operation;
use crate::status::Mode;
use crate::sync::lock;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

/// Why values became old.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Cause {
    /// New data.
    Ingest,
    /// Published numbers were corrected.
    Settle,
    /// Somebody asked for it.
    Manual,
    /// A workflow was generated.
    Workflow,
    /// Old data were dropped.
    Retention,
    /// The database was set back, or replaced.
    Restore,
}

impl Cause {
    /// All, in the order of their declaration.
    pub const ALL: [Self; 6] =
        [Self::Ingest, Self::Settle, Self::Manual, Self::Workflow, Self::Retention, Self::Restore];

    /// The word, as statistics give it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Settle => "settle",
            Self::Manual => "manual",
            Self::Workflow => "workflow",
            Self::Retention => "retention",
            Self::Restore => "restore",
        }
    }

    /// Whether it counts as an invalidation: those that somebody asked for and was answered.
    pub(crate) fn counts(self) -> bool {
        matches!(self, Self::Ingest | Self::Manual | Self::Workflow)
    }
}

/// One scope on this node since the cache was built.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ScopeStats {
    /// All operations together.
    pub totals: Totals,
    /// By name; every operation of the cache is there.
    pub operations: BTreeMap<String, OperationStats>,
    /// The memory tier.
    pub memory: MemoryStats,
    /// The tier that nodes share.
    pub redis: RemoteStats,
}

/// Sums over the operations.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Totals {
    /// Answered reads: hits + misses + collapsed + stale.
    pub requests: u64,
    /// Hits of all tiers.
    pub hits: u64,
    /// Reads that computed.
    pub misses: u64,
    /// hits / requests; 0 when there are none.
    pub hit_ratio: f64,
    /// What hits did not take, in milliseconds: each counts what a computation took lately when it was asked for, on this
    /// node or, before it has computed itself, on others, less the mean hit. It never falls.
    pub time_saved_ms: f64,
}

/// One operation of one scope.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OperationStats {
    /// The TTL of the operation, in seconds.
    pub ttl_seconds: u64,
    /// Answered reads; each is one of the next five.
    pub requests: u64,
    /// Served from memory.
    pub hits_memory: u64,
    /// Served from the remote tier.
    pub hits_redis: u64,
    /// Computed.
    pub misses: u64,
    /// Answered by the computation of another reader.
    pub collapsed: u64,
    /// Served although overtaken or expired, as the request or the operation allows.
    pub stale: u64,
    /// Computations that failed.
    pub errors: u64,
    /// Acknowledged invalidations that had this operation in scope.
    pub invalidations: u64,
    /// hits / requests; 0 when there are none.
    pub hit_ratio: f64,
    /// Time of a hit, sampled.
    pub hit_ms: Quantiles,
    /// Time of a computation.
    pub compute_ms: Quantiles,
    /// 100 × (1 − median hit / median computation); 0 while one of them is missing. Of a node that has not computed it
    /// stands against what a computation took on others.
    pub reduction_percent: f64,
    /// Entries in memory, dead ones included for some seconds.
    pub entries: u64,
    /// Bytes of these entries.
    pub bytes: u64,
    /// The latest invalidation, if any.
    pub last_invalidated: Option<LastInvalidated>,
}

/// A median and a 99th percentile, in milliseconds; 0 when nothing was measured. Within 12 %.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Quantiles {
    /// The median.
    pub p50: f64,
    /// The 99th percentile.
    pub p99: f64,
}

/// Durations by how long they were: a histogram as Prometheus has it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Distribution {
    /// For each bound, in seconds and ascending: durations up to it.
    pub buckets: Vec<(f64, u64)>,
    /// All of them.
    pub count: u64,
    /// Their sum, in seconds.
    pub sum: f64,
}

/// When and why values became old.
#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LastInvalidated {
    /// Wall-clock time, serialised as RFC 3339.
    #[serde(serialize_with = "rfc3339")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub at: SystemTime,
    /// The reason.
    pub cause: Cause,
}

/// The shared tier as it is now. Nothing of other scopes shows in it.
#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RemoteStats {
    /// Answer times lately; 0 when there is no such tier, or nothing was measured.
    pub round_trip_ms: Quantiles,
    /// Whether calls reach it: `closed`, `open`, `half_open`.
    pub breaker: &'static str,
    /// How this node learns what others change.
    pub coherence: Mode,
    /// Connections that were replaced or came back since the start.
    pub reconnects: u64,
}

/// What one node counted of its shared tier.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RemoteCounts {
    /// Values that were not used, by reason; every reason is there.
    pub rejected: BTreeMap<&'static str, u64>,
    /// Calls that brought nothing, those that were not sent left out.
    pub errors: u64,
    /// Values written.
    pub written: u64,
    /// Values that were not: too many on their way, or the call failed.
    pub not_written: u64,
    /// Values that were not written because their scope has its share.
    pub over_quota: u64,
    /// Messages sent.
    pub published: u64,
    /// Messages that were not: too many on their way, or the call failed.
    pub not_published: u64,
    /// Messages that concerned a scope of this node.
    pub heard: u64,
    /// Messages that made no sense, or came faster than they could be read.
    pub garbled: u64,
    /// Misses that waited for the computation of another node.
    pub waited_for_others: u64,
}

/// The memory tier as one scope sees it.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MemoryStats {
    /// Entries of the scope.
    pub entries: u64,
    /// Bytes of the scope.
    pub bytes: u64,
    /// The budget of all scopes together.
    pub max_bytes: u64,
    /// Entries of the scope that gave way to others.
    pub evictions: u64,
}

pub(crate) fn rfc3339<S: Serializer>(at: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    let at = jiff::Timestamp::try_from(*at).map_err(serde::ser::Error::custom)?;
    // Whole milliseconds: what people read and every parser takes.
    serializer.collect_str(&format_args!("{at:.3}"))
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

impl OperationStats {
    pub(crate) fn new(operation: &Operation, counters: &OperationCounters, usage: Usage) -> Self {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let hits_memory = counters.hits();
        let (misses, collapsed, stale) =
            (load(&counters.misses), load(&counters.collapsed), load(&counters.stale));
        let hits_redis = load(&counters.hits_redis);
        let hits = hits_memory + hits_redis;
        let requests = hits + misses + collapsed + stale;
        let hit_ms = Quantiles { p50: counters.hit.quantile_ms(0.5), p99: counters.hit.quantile_ms(0.99) };
        let compute_ms =
            Quantiles { p50: counters.compute.quantile_ms(0.5), p99: counters.compute.quantile_ms(0.99) };
        let learned_ms = || counters.cost().map_or(0.0, |cost| cost.as_secs_f64() * 1e3);
        let whole_ms = if compute_ms.p50 > 0.0 { compute_ms.p50 } else { learned_ms() };
        let measured = hit_ms.p50 > 0.0 && whole_ms > 0.0;
        Self {
            ttl_seconds: operation.ttl.as_secs(),
            requests,
            hits_memory,
            hits_redis,
            misses,
            collapsed,
            stale,
            errors: load(&counters.errors),
            invalidations: load(&counters.invalidations),
            hit_ratio: ratio(hits, requests),
            hit_ms,
            compute_ms,
            reduction_percent: if measured { 100.0 * (1.0 - hit_ms.p50 / whole_ms) } else { 0.0 },
            entries: usage.entries,
            bytes: usage.bytes,
            last_invalidated: lock(&counters.last_invalidated)
                .map(|(at, cause)| LastInvalidated { at, cause }),
        }
    }
}

impl Totals {
    pub(crate) fn add(&mut self, operation: &OperationStats, saved_ms: f64) {
        self.requests += operation.requests;
        self.hits += operation.hits_memory + operation.hits_redis;
        self.misses += operation.misses;
        self.time_saved_ms += saved_ms;
        self.hit_ratio = ratio(self.hits, self.requests);
    }
}
