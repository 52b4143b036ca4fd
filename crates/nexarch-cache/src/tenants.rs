//! The scopes this process knows: their mirror, entries, flights and counters.

use crate::clock::BootTime;
use crate::counters::Counters;
use crate::fairness::{Account, Budget};
use crate::fence::Epoch;
use crate::flight::Flights;
use crate::fly::{FlightKey, Handle};
use crate::key::{BuildHashed, Scope};
use crate::memory::Ring;
use crate::mirror::Mirror;
use crate::quota::Quota;
use std::collections::HashMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

/// The map is in this many parts, each under its own lock.
const SHARDS: usize = 16;

/// A scope that was read within this time takes part in the beat.
const LIVE: Duration = Duration::from_mins(1);

/// The time of the latest read is kept to this precision, so that hits do not write to it.
const READ_STAMP: Duration = Duration::from_secs(1);

/// One scope under one epoch. Replaced as a whole when the epoch changes, so nothing of it is ever lowered.
#[derive(Debug)]
pub(crate) struct Tenant {
    pub(crate) scope: Scope,
    pub(crate) mirror: Mirror,
    pub(crate) memory: Account,
    pub(crate) flights: Flights<FlightKey, Arc<Handle>>,
    pub(crate) counters: Arc<Counters>,
    /// What of it is in the shared tier.
    pub(crate) remote: Quota,
    /// 0: never.
    last_read: AtomicU64,
    /// Reads that wait for its versions.
    readers: Arc<AtomicUsize>,
    /// The map that it belongs to: a scope may be used with several caches.
    map: u64,
    /// Set when it leaves the map; whoever still holds it asks the map again.
    closed: AtomicBool,
}

/// Sizes that every scope is made with.
#[derive(Debug)]
pub(crate) struct Limits {
    pub(crate) operations: usize,
    pub(crate) max_waiters: usize,
    pub(crate) max_tenants: usize,
}

#[derive(Debug)]
pub(crate) struct Tenants {
    id: u64,
    limits: Limits,
    budget: Arc<Budget>,
    /// Written only while every shard is locked, read under any of them.
    epoch: AtomicU64,
    /// Memory hits of scopes that are gone, by operation.
    retired: Box<[AtomicU64]>,
    shards: [RwLock<Shard>; SHARDS],
}

/// A scope whose versions a read waits for: it keeps its place until it has them.
#[derive(Debug)]
pub(crate) struct Reading(Arc<Tenant>);

impl Deref for Reading {
    type Target = Arc<Tenant>;

    fn deref(&self) -> &Arc<Tenant> {
        &self.0
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.readers.fetch_sub(1, Ordering::SeqCst);
    }
}

type Shard = HashMap<Scope, Arc<Tenant>, BuildHashed>;

impl Tenant {
    /// Notes that it was read.
    #[inline]
    pub(crate) fn touch(&self, now: BootTime) {
        let last = BootTime::from_nanos(self.last_read.load(Ordering::Relaxed));
        if now.since(last) >= READ_STAMP {
            self.last_read.store(now.as_nanos(), Ordering::Relaxed);
        }
    }

    /// Takes it out of use: what it holds is dropped, and nothing is kept any more. Before its place in the map is given
    /// to another one, so that nobody who saw that one still takes this for current.
    fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.memory.clear(true);
    }

    /// Whether it was taken out of use. What was computed for it nobody asks for: it was deleted, set back, or not read for
    /// longer than thousands of others.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    fn live(&self, now: BootTime) -> bool {
        let read = self.last_read.load(Ordering::Relaxed);
        (read > 0 && now.since(BootTime::from_nanos(read)) <= LIVE)
            || self.memory.ring().usage().iter().any(|u| u.entries > 0)
    }
}

impl Tenants {
    pub(crate) fn new(limits: Limits, budget: Arc<Budget>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let retired = (0..limits.operations).map(|_| AtomicU64::new(0)).collect();
        Self { id, limits, budget, epoch: AtomicU64::new(0), retired, shards: Default::default() }
    }

    /// The epoch read last; 0 before the first.
    pub(crate) fn epoch(&self) -> Epoch {
        Epoch::new(self.epoch.load(Ordering::SeqCst))
    }

    /// The scope where it knows itself, as it mostly does: no lock, no hash and no count of references on the way. (A copy
    /// per thread was no faster than the lock: it costs as much to look for.)
    #[inline]
    pub(crate) fn settled<'a>(&self, scope: &'a Scope) -> Option<&'a Arc<Tenant>> {
        let tenant = scope.home()?;
        (tenant.map == self.id && !tenant.closed.load(Ordering::SeqCst)).then_some(tenant)
    }

    /// Runs `then` on the scope if it is known. It is settled by its first hit: before that, its first read of the epoch
    /// may replace it once more.
    #[cold]
    pub(crate) fn look_up<T>(&self, scope: &Scope, then: impl FnOnce(&Tenant) -> Option<T>) -> Option<T> {
        let shard = self.read(scope);
        let tenant = shard.get(scope)?;
        let found = then(tenant);
        if found.is_some() {
            scope.settle(tenant);
        }
        found
    }

    pub(crate) fn get(&self, scope: &Scope) -> Option<Arc<Tenant>> {
        self.read(scope).get(scope).cloned()
    }

    /// The scope, for a read that begins `now` and may have to wait for its versions.
    pub(crate) fn reading(&self, scope: &Scope, now: BootTime) -> Reading {
        // Counted under the lock under which others are forgotten.
        let count = |tenant: &Arc<Tenant>| {
            tenant.readers.fetch_add(1, Ordering::SeqCst);
            Reading(Arc::clone(tenant))
        };
        if let Some(tenant) = self.read(scope).get(scope) {
            return count(tenant);
        }
        let mut shard = self.write(self.shard(scope));
        if let Some(tenant) = shard.get(scope) {
            return count(tenant);
        }
        self.make_room(&mut shard, |_| true);
        let tenant = self.add(&mut shard, scope);
        // From now on, so that the next to come takes another one's place.
        tenant.last_read.store(now.as_nanos().max(1), Ordering::Relaxed);
        count(&tenant)
    }

    /// The scope, to note what was written to it. `None` where everybody who is known was read: nobody gives his place up
    /// to who is not, and whose first read will ask.
    pub(crate) fn written(&self, scope: &Scope) -> Option<Arc<Tenant>> {
        if let Some(tenant) = self.get(scope) {
            return Some(tenant);
        }
        let mut shard = self.write(self.shard(scope));
        if let Some(tenant) = shard.get(scope) {
            return Some(Arc::clone(tenant));
        }
        let unread = |tenant: &Tenant| tenant.last_read.load(Ordering::Relaxed) == 0;
        self.make_room(&mut shard, unread).then(|| self.add(&mut shard, scope))
    }

    fn add(&self, shard: &mut Shard, scope: &Scope) -> Arc<Tenant> {
        let counters = Arc::new(Counters::new(self.limits.operations));
        let tenant = Arc::new(self.create(scope, self.epoch(), counters, Arc::default()));
        shard.insert(tenant.scope.clone(), Arc::clone(&tenant));
        tenant
    }

    /// Drops the scope, its entries and its counters.
    pub(crate) fn remove(&self, scope: &Scope) {
        let mut shard = self.write(self.shard(scope));
        if let Some(removed) = shard.remove(scope) {
            // Its flights, and scopes at home in it, may hold it yet.
            removed.close();
            self.retire(&removed);
        }
    }

    /// Every scope, or those that were read lately or hold entries.
    pub(crate) fn scopes(&self, live_at: Option<BootTime>) -> Vec<Scope> {
        self.all()
            .into_iter()
            .filter(|t| live_at.is_none_or(|now| t.live(now)))
            .map(|t| t.scope.clone())
            .collect()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Tenant>> {
        let shards = self.shards.iter();
        shards
            .flat_map(|s| {
                s.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect::<Vec<_>>()
            })
            .collect()
    }

    /// Replaces every scope by one of `epoch` that knows nothing and holds nothing but its counters. Returns the
    /// epoch before.
    pub(crate) fn adopt(&self, epoch: Epoch) -> Epoch {
        let mut guards: Vec<_> = self.shards.iter().map(|shard| self.write(shard)).collect();
        let before = self.epoch.swap(epoch.get(), Ordering::SeqCst);
        for tenant in guards.iter_mut().flat_map(|shard| shard.values_mut()) {
            tenant.close();
            let (counters, readers) = (Arc::clone(&tenant.counters), Arc::clone(&tenant.readers));
            let new = self.create(&tenant.scope, epoch, counters, readers);
            new.last_read.store(tenant.last_read.load(Ordering::Relaxed), Ordering::Relaxed);
            *tenant = Arc::new(new);
        }
        Epoch::new(before)
    }

    fn create(
        &self,
        scope: &Scope,
        epoch: Epoch,
        counters: Arc<Counters>,
        readers: Arc<AtomicUsize>,
    ) -> Tenant {
        let ring = Ring::new(self.limits.operations, Arc::clone(&counters.evictions));
        Tenant {
            scope: scope.homeless(),
            mirror: Mirror::new(epoch, self.limits.operations),
            memory: self.budget.open(ring),
            flights: Flights::new(self.limits.max_waiters),
            counters,
            remote: Quota::default(),
            last_read: AtomicU64::new(0),
            readers,
            map: self.id,
            closed: AtomicBool::new(false),
        }
    }

    /// Forgets the scope that was read longest ago when the shard is full, among those that `may` go; says whether there
    /// is room. It costs that scope its entries and counters, never correctness: it is read anew like any scope that was
    /// not met yet. One whose versions are waited for stays, so that its readers get them: the shard is then larger, by no
    /// more than the reads under way, until the next scope comes.
    fn make_room(&self, shard: &mut Shard, may: impl Fn(&Tenant) -> bool) -> bool {
        while shard.len() >= self.limits.max_tenants.div_ceil(SHARDS) {
            let idle = shard.values().filter(|t| t.readers.load(Ordering::SeqCst) == 0 && may(t));
            let oldest = idle.min_by_key(|t| t.last_read.load(Ordering::Relaxed)).map(|t| t.scope.clone());
            let Some(tenant) = oldest.and_then(|scope| shard.remove(&scope)) else { return false };
            tenant.close();
            self.retire(&tenant);
        }
        true
    }

    /// Keeps the hits of a scope that just left the map; under the lock of its shard.
    fn retire(&self, tenant: &Tenant) {
        let mut hits = vec![0; self.retired.len()];
        tenant.counters.add_hits(&mut hits);
        for (sum, hits) in self.retired.iter().zip(hits) {
            sum.fetch_add(hits, Ordering::SeqCst);
        }
    }

    /// Memory hits of all scopes that are or were, by operation, and those that are. Of a scope that leaves meanwhile they
    /// may be missing, and are never there twice: what was retired is looked at first.
    pub(crate) fn hits(&self) -> (Vec<u64>, Vec<Arc<Tenant>>) {
        let mut hits: Vec<u64> = self.retired.iter().map(|sum| sum.load(Ordering::SeqCst)).collect();
        let tenants = self.all();
        for tenant in &tenants {
            tenant.counters.add_hits(&mut hits);
        }
        (hits, tenants)
    }

    fn shard(&self, scope: &Scope) -> &RwLock<Shard> {
        // The map inside uses the lowest and the highest bits.
        &self.shards[(scope.hash64() >> 32) as usize % SHARDS]
    }

    fn read(&self, scope: &Scope) -> RwLockReadGuard<'_, Shard> {
        self.shard(scope).read().unwrap_or_else(PoisonError::into_inner)
    }

    #[expect(clippy::unused_self, reason = "reads like its sibling")]
    fn write<'a>(&self, shard: &'a RwLock<Shard>) -> RwLockWriteGuard<'a, Shard> {
        shard.write().unwrap_or_else(PoisonError::into_inner)
    }
}
