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
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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
    last_read: AtomicU64,
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
    shards: [RwLock<Shard>; SHARDS],
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
        Self { id, limits, budget, epoch: AtomicU64::new(0), shards: Default::default() }
    }

    /// The epoch read last; 0 before the first.
    pub(crate) fn epoch(&self) -> Epoch {
        Epoch::new(self.epoch.load(Ordering::SeqCst))
    }

    /// Runs `then` on the scope if it is known. The scope mostly knows itself where that is: no lock, no hash and no count
    /// of references on the way. (A copy per thread was no faster than the lock: it costs as much to look for.)
    #[inline]
    pub(crate) fn with<T>(&self, scope: &Scope, then: impl FnOnce(&Tenant) -> Option<T>) -> Option<T> {
        match scope.home() {
            Some(tenant) if tenant.map == self.id && !tenant.closed.load(Ordering::SeqCst) => then(tenant),
            _ => self.look_up(scope, then),
        }
    }

    /// A scope is settled by its first hit: before that, its first read of the epoch may replace it once more.
    #[cold]
    fn look_up<T>(&self, scope: &Scope, then: impl FnOnce(&Tenant) -> Option<T>) -> Option<T> {
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

    pub(crate) fn get_or_create(&self, scope: &Scope) -> Arc<Tenant> {
        if let Some(tenant) = self.get(scope) {
            return tenant;
        }
        let mut shard = self.write(self.shard(scope));
        if let Some(tenant) = shard.get(scope) {
            return Arc::clone(tenant);
        }
        self.make_room(&mut shard);
        let tenant =
            Arc::new(self.create(scope, self.epoch(), Arc::new(Counters::new(self.limits.operations))));
        shard.insert(tenant.scope.clone(), Arc::clone(&tenant));
        tenant
    }

    /// Drops the scope, its entries and its counters.
    pub(crate) fn remove(&self, scope: &Scope) {
        let mut shard = self.write(self.shard(scope));
        if let Some(removed) = shard.remove(scope) {
            // Its flights, and scopes at home in it, may hold it yet.
            removed.close();
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
            *tenant = Arc::new(self.create(&tenant.scope, epoch, Arc::clone(&tenant.counters)));
        }
        Epoch::new(before)
    }

    fn create(&self, scope: &Scope, epoch: Epoch, counters: Arc<Counters>) -> Tenant {
        let ring = Ring::new(self.limits.operations, Arc::clone(&counters.evictions));
        Tenant {
            scope: scope.homeless(),
            mirror: Mirror::new(epoch, self.limits.operations),
            memory: self.budget.open(ring),
            flights: Flights::new(self.limits.max_waiters),
            counters,
            remote: Quota::default(),
            last_read: AtomicU64::new(0),
            map: self.id,
            closed: AtomicBool::new(false),
        }
    }

    /// Forgets the scope that was read longest ago when the shard is full. It costs that scope its entries and
    /// counters, never correctness: it is read anew like any scope that was not met yet.
    fn make_room(&self, shard: &mut Shard) {
        while shard.len() >= self.limits.max_tenants.div_ceil(SHARDS) {
            let oldest =
                shard.values().min_by_key(|t| t.last_read.load(Ordering::Relaxed)).map(|t| t.scope.clone());
            let Some(tenant) = oldest.and_then(|scope| shard.remove(&scope)) else { return };
            tenant.close();
        }
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
