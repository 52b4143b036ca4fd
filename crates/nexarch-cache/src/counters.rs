//! What is counted while requests run: cheap to raise, exact to read.

use crate::histogram::Histogram;
use crate::key::EntryKey;
use crate::operation::OperationId;
use crate::stats::Cause;
use crate::sync::lock;
use std::cell::{Cell, OnceCell};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime};

/// Threads that count their hits on a line of their own, each a cache line: nobody else writes there, so it takes no
/// locked instruction, which would be a tenth of a hit.
const OWN: usize = 6;

/// Lines that all further threads share.
const SHARED: usize = 2;

/// One hit in this many is timed (and the first of each line), so that a hit reads the clock once.
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
    hits: [Line; OWN + SHARED],
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
    /// The same when hits were priced last.
    priced_at: AtomicU64,
    saved: Mutex<Saved>,
    pub(crate) unshared: Unshared,
}

/// Hits so far are priced before the cost moves by more than this part of it.
const MOVED: u64 = 16;

/// What hits saved. Each is priced once, by what a computation took at its time: so it costs a hit nothing, and what was
/// told once is never taken back.
#[derive(Debug, Default)]
struct Saved {
    /// Hits of both tiers that were priced.
    hits: u64,
    ms: f64,
}

/// Entries whose latest value was not one for the shared tier: too large, or not to be kept at all. Nobody waits for
/// those. A hint: each has one place, and who comes later takes it.
#[derive(Debug, Default)]
pub(crate) struct Unshared([AtomicU64; UNSHARED]);

/// Places of each operation of a scope: one line of the processor's cache.
const UNSHARED: usize = 8;

impl Unshared {
    pub(crate) fn add(&self, key: EntryKey) {
        let (place, mark) = self.place(key);
        place.store(mark, Ordering::Relaxed);
    }

    pub(crate) fn remove(&self, key: EntryKey) {
        let (place, mark) = self.place(key);
        if place.load(Ordering::Relaxed) == mark {
            place.store(0, Ordering::Relaxed);
        }
    }

    pub(crate) fn has(&self, key: EntryKey) -> bool {
        let (place, mark) = self.place(key);
        place.load(Ordering::Relaxed) == mark
    }

    fn place(&self, key: EntryKey) -> (&AtomicU64, u64) {
        let chance = key.chance();
        let at = usize::try_from(chance % UNSHARED as u64).unwrap_or(0);
        // 0 is an empty place. What is lost by it also tells places apart.
        (&self.0[at], chance | 1)
    }
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct Line(AtomicU64);

thread_local! {
    /// Where this thread counts. Apart from [`LEASE`], so that a hit looks at a plain number.
    static LINE: Cell<usize> = const { Cell::new(usize::MAX) };
    static LEASE: OnceCell<Lease> = const { OnceCell::new() };
}

/// The lines that a living thread has for its own, one bit each.
static TAKEN: AtomicU64 = AtomicU64::new(0);

/// A line of its own for one thread, as long as the thread lives.
struct Lease(usize);

impl Lease {
    fn take() -> Option<Self> {
        let free = |taken: u64| (0..OWN).find(|line| taken & (1 << line) == 0);
        let take = |taken| free(taken).map(|line| taken | 1 << line);
        // What its last owner counted there happened before.
        TAKEN.fetch_update(Ordering::Acquire, Ordering::Relaxed, take).ok().and_then(free).map(Self)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // The thread may count once more while it ends, and the next owner may count already.
        LINE.set(OWN);
        TAKEN.fetch_and(!(1 << self.0), Ordering::Release);
    }
}

#[inline]
fn line() -> usize {
    let line = LINE.get();
    if line == usize::MAX { settle() } else { line }
}

#[cold]
fn settle() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let shared = || OWN + NEXT.fetch_add(1, Ordering::Relaxed) % SHARED;
    // A thread that ends already leases nothing.
    let own = LEASE.try_with(|lease| Lease::take().map(|own| lease.get_or_init(|| own).0)).ok().flatten();
    let line = own.unwrap_or_else(shared);
    LINE.set(line);
    line
}

impl Counters {
    pub(crate) fn new(operations: usize) -> Self {
        Self { operations: (0..operations).map(|_| OnceLock::new()).collect(), evictions: Arc::default() }
    }

    #[inline]
    pub(crate) fn of(&self, operation: OperationId) -> &OperationCounters {
        self.operations[operation.index()].get_or_init(Box::default)
    }

    /// Adds its memory hits to those of others, by operation.
    pub(crate) fn add_hits(&self, sums: &mut [u64]) {
        for (sum, counters) in sums.iter_mut().zip(&self.operations) {
            *sum += counters.get().map_or(0, |counters| counters.hits());
        }
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
        let line = line();
        let hits = &self.hits[line].0;
        let before = if line < OWN {
            let before = hits.load(Ordering::Relaxed);
            hits.store(before + 1, Ordering::Relaxed);
            before
        } else {
            hits.fetch_add(1, Ordering::Relaxed)
        };
        before.is_multiple_of(SAMPLE)
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

    /// An estimate of what a computation takes, by this node or by another one.
    pub(crate) fn learn_cost(&self, cost: Duration) {
        let new = crate::clock::nanos(cost).max(1);
        let old = self.cost.load(Ordering::Relaxed);
        // Two at once may lose one of them: it is an estimate.
        let average = if old == 0 { new } else { (old - old / 8 + new / 8).max(1) };
        // A hit in the shared tier learns each time, and mostly nothing new: then it takes no lock.
        if average.abs_diff(self.priced_at.load(Ordering::Relaxed)) > average / MOVED {
            let mut saved = lock(&self.saved);
            self.price(&mut saved);
            self.priced_at.store(average, Ordering::Relaxed);
        }
        self.cost.store(average, Ordering::Relaxed);
    }

    /// Milliseconds that hits did not take so far.
    pub(crate) fn saved_ms(&self) -> f64 {
        let mut saved = lock(&self.saved);
        self.price(&mut saved);
        saved.ms
    }

    /// Prices the hits since the last time. Before any cost is known they wait.
    fn price(&self, saved: &mut Saved) {
        let Some(cost) = self.cost() else { return };
        let hits = self.hits() + self.hits_redis.load(Ordering::Relaxed);
        let each = (cost.as_secs_f64() * 1e3 - self.hit.mean_ms()).max(0.0);
        saved.ms += hits.saturating_sub(saved.hits) as f64 * each;
        saved.hits = saved.hits.max(hits);
    }

    /// A computation ended well: what failed says nothing of how long an answer takes.
    pub(crate) fn computed(&self, cost: Duration) {
        self.compute.record(cost);
        self.learn_cost(cost);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::thread;

    /// Far more threads than lines, in waves, so that lines change hands; and each wave at once.
    #[test]
    fn no_hit_is_lost_whoever_counts() {
        const THREADS: usize = 3 * (OWN + SHARED);
        const WAVES: usize = 5;
        const HITS: u64 = 20_000;
        let counters = Arc::new(OperationCounters::default());
        for _ in 0..WAVES {
            let start = Arc::new(Barrier::new(THREADS));
            let threads: Vec<_> = (0..THREADS)
                .map(|_| {
                    let (counters, start) = (Arc::clone(&counters), Arc::clone(&start));
                    thread::spawn(move || {
                        start.wait();
                        (0..HITS).filter(|_| counters.count_hit()).count()
                    })
                })
                .collect();
            for thread in threads {
                thread.join().unwrap();
            }
        }
        assert_eq!(counters.hits(), (THREADS * WAVES) as u64 * HITS);
    }

    #[test]
    fn a_line_is_of_one_living_thread_and_comes_back() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        for _ in 0..10 * OWN {
            let lines = Arc::clone(&lines);
            thread::spawn(move || lock(&lines).push(line())).join().unwrap();
        }
        // Other tests of this process may have some of them meanwhile.
        assert!(lock(&lines).iter().filter(|line| **line < OWN).count() > 0);
        let both = Arc::new(Barrier::new(2));
        let two: Vec<_> = (0..2)
            .map(|_| {
                let both = Arc::clone(&both);
                thread::spawn(move || {
                    let line = line();
                    both.wait();
                    line
                })
            })
            .collect();
        let two: Vec<_> = two.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert!(two[0] != two[1] || two[0] >= OWN);
    }
}
