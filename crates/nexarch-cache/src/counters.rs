//! What is counted while requests run: cheap to raise, exact to read.

use crate::histogram::Histogram;
use crate::operation::OperationId;
use crate::stats::Cause;
use crate::sync::lock;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime};

/// Threads share this many counters of hits, each on a cache line of its own.
const SHARDS: usize = 4;

/// One hit in this many is timed (and the first of each shard), so that a hit reads the clock once.
const SAMPLE: u64 = 64;

/// The counters of one scope. They outlive its entries.
#[derive(Debug)]
pub(crate) struct Counters {
    /// Made at first use: most scopes use few operations.
    operations: Box<[OnceLock<Box<OperationCounters>>]>,
    pub(crate) evictions: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
pub(crate) struct OperationCounters {
    hits: [Line; SHARDS],
    pub(crate) hits_redis: AtomicU64,
    pub(crate) misses: AtomicU64,
    pub(crate) collapsed: AtomicU64,
    pub(crate) stale: AtomicU64,
    pub(crate) errors: AtomicU64,
    pub(crate) invalidations: AtomicU64,
    pub(crate) last_invalidated: Mutex<Option<(SystemTime, Cause)>>,
    pub(crate) hit: Histogram,
    pub(crate) compute: Histogram,
    /// Nanoseconds that a computation takes lately; 0 = not known.
    cost: AtomicU64,
    /// The latest value was not one for the shared tier: too large, or not to be kept at all.
    pub(crate) unshared: AtomicBool,
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct Line(AtomicU64);

thread_local! {
    static SHARD: Cell<usize> = const { Cell::new(usize::MAX) };
}

#[inline]
fn shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    SHARD.with(|shard| {
        if shard.get() == usize::MAX {
            shard.set(NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS);
        }
        shard.get()
    })
}

impl Counters {
    pub(crate) fn new(operations: usize) -> Self {
        Self { operations: (0..operations).map(|_| OnceLock::new()).collect(), evictions: Arc::default() }
    }

    #[inline]
    pub(crate) fn of(&self, operation: OperationId) -> &OperationCounters {
        self.operations[operation.index()].get_or_init(Box::default)
    }

    /// Stamps an invalidation; `count` says whether it is one that somebody was told of.
    pub(crate) fn invalidated(&self, operation: OperationId, at: SystemTime, cause: Cause, count: bool) {
        let counters = self.of(operation);
        counters.invalidations.fetch_add(u64::from(count), Ordering::Relaxed);
        *lock(&counters.last_invalidated) = Some((at, cause));
    }
}

impl OperationCounters {
    /// Counts a hit; says whether this one is to be timed.
    #[inline]
    pub(crate) fn count_hit(&self) -> bool {
        self.hits[shard()].0.fetch_add(1, Ordering::Relaxed).is_multiple_of(SAMPLE)
    }

    /// Counts a hit of the shared tier, which took `time`; as many of these are timed as of the others.
    pub(crate) fn count_redis_hit(&self, time: Option<Duration>) {
        let timed = self.hits_redis.fetch_add(1, Ordering::Relaxed).is_multiple_of(SAMPLE);
        if let Some(time) = time.filter(|_| timed) {
            self.hit.record(time);
        }
    }

    pub(crate) fn hits(&self) -> u64 {
        self.hits.iter().map(|line| line.0.load(Ordering::Relaxed)).sum()
    }

    /// What a computation takes lately, if one was seen: an average in which each new one has the weight of an eighth.
    pub(crate) fn cost(&self) -> Option<Duration> {
        Some(self.cost.load(Ordering::Relaxed)).filter(|ns| *ns > 0).map(Duration::from_nanos)
    }

    pub(crate) fn learn_cost(&self, cost: Duration) {
        let new = crate::clock::nanos(cost).max(1);
        let old = self.cost.load(Ordering::Relaxed);
        // Two at once may lose one of them: it is an estimate.
        let average = if old == 0 { new } else { old - old / 8 + new / 8 };
        self.cost.store(average.max(1), Ordering::Relaxed);
    }

    pub(crate) fn computed(&self, cost: Duration, failed: bool) {
        if !failed {
            // What failed says nothing of how long an answer takes.
            self.compute.record(cost);
            self.learn_cost(cost);
        }
        self.errors.fetch_add(u64::from(failed), Ordering::Relaxed);
    }
}
