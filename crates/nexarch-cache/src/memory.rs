//! The memory tier of one scope: an index and a clock hand over it.
//!
//! Why not a `quick_cache` per scope: fairness across scopes needs "drop one entry of *that* scope, now", and the
//! only way to ask it is `set_capacity` down and up again, which truncates the ghost list at each step until it
//! is empty, refuses bodies above 97 % of the capacity of the moment, and does not say what was dropped. Here
//! `evict_one` is one step of the hand, a value is admitted by the one budget in `fairness`, and "keeps the
//! newer label" is a comparison under the lock that the insertion holds anyway.
//!
//! Second chance (CLOCK) rather than an exact order of use: a hit sets a flag under a shared lock and moves nothing.

use crate::clock::BootTime;
use crate::entry::Entry;
use crate::key::{BuildHashed, EntryKey};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Entries and bytes of one operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
}

/// The entries of one scope.
#[derive(Debug)]
pub(crate) struct Ring {
    inner: RwLock<Inner>,
    evictions: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Inner {
    index: HashMap<EntryKey, usize, BuildHashed>,
    slots: Vec<Option<Slot>>,
    free: Vec<usize>,
    hand: usize,
    usage: Box<[Usage]>,
    /// A scope that was forgotten or set back: what its last flights bring is not kept.
    closed: bool,
}

#[derive(Debug)]
struct Slot {
    key: EntryKey,
    entry: Arc<Entry>,
    used: AtomicBool,
}

/// What an insertion did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inserted {
    /// Kept; the entry that was replaced weighed `freed`.
    Kept { freed: u64 },
    /// The entry there has the newer label, or the ring is closed.
    Refused,
}

impl Ring {
    /// `evictions` outlives the ring: counters are of the scope, entries of an epoch.
    pub(crate) fn new(operations: usize, evictions: Arc<AtomicU64>) -> Self {
        let inner = Inner {
            index: HashMap::default(),
            slots: Vec::new(),
            free: Vec::new(),
            hand: 0,
            usage: vec![Usage::default(); operations].into(),
            closed: false,
        };
        Self { inner: RwLock::new(inner), evictions }
    }

    /// The entry of `key` if it is of these parameters. Whether it may be served is the caller's question.
    pub(crate) fn get(&self, key: &EntryKey, params: &str) -> Option<Arc<Entry>> {
        let inner = self.read();
        let slot = inner.slots[*inner.index.get(key)?].as_ref()?;
        if *slot.entry.params != *params {
            return None;
        }
        // Looked at before it is written: a popular entry's cache line stays shared.
        if !slot.used.load(Ordering::Relaxed) {
            slot.used.store(true, Ordering::Relaxed);
        }
        Some(Arc::clone(&slot.entry))
    }

    /// Stores `entry`, unless the one there outranks it.
    pub(super) fn insert(&self, key: EntryKey, entry: Arc<Entry>) -> Inserted {
        let mut inner = self.write();
        if inner.closed {
            return Inserted::Refused;
        }
        let mut freed = 0;
        if let Some(&at) = inner.index.get(&key) {
            let held = inner.slots[at].as_ref().map(|slot| &slot.entry);
            if held.is_some_and(|held| held.params == entry.params && held.label.outranks(&entry.label)) {
                return Inserted::Refused;
            }
            freed = inner.remove(at);
        }
        inner.add(key, entry);
        Inserted::Kept { freed }
    }

    /// Moves the hand to an entry that is dead or was not used since the hand last came by, and drops it. Returns
    /// its weight; `None` when there is nothing but `spare`.
    pub(super) fn evict_one(&self, spare: Option<&EntryKey>, now: BootTime) -> Option<u64> {
        let mut inner = self.write();
        // Twice round: the first clears every flag, the second must find one.
        for _ in 0..2 * inner.slots.len() {
            inner.hand = (inner.hand + 1) % inner.slots.len();
            let at = inner.hand;
            let Some(slot) = &inner.slots[at] else { continue };
            let second_chance = slot.used.swap(false, Ordering::Relaxed) && !slot.entry.dead(now);
            if second_chance || Some(&slot.key) == spare {
                continue;
            }
            self.evictions.fetch_add(1, Ordering::Relaxed);
            return Some(inner.remove(at));
        }
        None
    }

    /// Drops the entry of `key`; returns its weight.
    pub(super) fn remove(&self, key: &EntryKey) -> u64 {
        let mut inner = self.write();
        let at = inner.index.get(key).copied();
        at.map_or(0, |at| inner.remove(at))
    }

    /// Drops everything, and keeps nothing from now on if `close`.
    pub(super) fn clear(&self, close: bool) {
        let mut inner = self.write();
        let operations = inner.usage.len();
        let closed = inner.closed || close;
        *inner = Inner {
            index: HashMap::default(),
            slots: Vec::new(),
            free: Vec::new(),
            hand: 0,
            usage: vec![Usage::default(); operations].into(),
            closed,
        };
    }

    /// Entries and bytes by operation.
    pub(crate) fn usage(&self) -> Box<[Usage]> {
        self.read().usage.clone()
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn add(&mut self, key: EntryKey, entry: Arc<Entry>) {
        let usage = &mut self.usage[key.operation.index()];
        usage.entries += 1;
        usage.bytes += entry.weight();
        let slot = Some(Slot { key, entry, used: AtomicBool::new(false) });
        let at = self.free.pop().unwrap_or(self.slots.len());
        if at == self.slots.len() {
            self.slots.push(slot);
        } else {
            self.slots[at] = slot;
        }
        self.index.insert(key, at);
    }

    fn remove(&mut self, at: usize) -> u64 {
        let Some(slot) = self.slots[at].take() else { return 0 };
        self.index.remove(&slot.key);
        self.free.push(at);
        let weight = slot.entry.weight();
        let usage = &mut self.usage[slot.key.operation.index()];
        usage.entries -= 1;
        usage.bytes -= weight;
        weight
    }
}
