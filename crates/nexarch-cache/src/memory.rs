//! The memory tier of one scope: an index, the order in which its keys came, and a hand over that.
//!
//! Why not a `quick_cache` per scope: fairness across scopes needs "drop one entry of *that* scope, now", and the
//! only way to ask it is `set_capacity` down and up again, which truncates the ghost list at each step until it
//! is empty, refuses bodies above 97 % of the capacity of the moment, and does not say what was dropped. Here
//! `evict_one` is one step of the hand, a value is admitted by the one budget in `fairness`, and "keeps the
//! newer label" is a comparison under the lock that the insertion holds anyway.
//!
//! SIEVE rather than an exact order of use: a hit sets a flag under a shared lock and moves nothing, and the hand of
//! [`Arrivals`] spares once what has it.

use crate::arrivals::Arrivals;
use crate::clock::BootTime;
use crate::entry::Entry;
use crate::key::{BuildHashed, EntryKey};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Places that are not worth closing up for.
const FEW: usize = 64;

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
    /// Entries by key, so that a hit is one step into one table.
    index: HashMap<EntryKey, Slot, BuildHashed>,
    arrivals: Arrivals<EntryKey>,
    /// Where the next sweep begins.
    broom: usize,
    usage: Box<[Usage]>,
    /// A scope that was forgotten or set back: what its last flights bring is not kept.
    closed: bool,
}

#[derive(Debug)]
struct Slot {
    entry: Arc<Entry>,
    /// Its place among the arrivals.
    at: usize,
    /// What its forms weigh beside it.
    grown: u64,
    used: AtomicBool,
}

/// What an insertion did.
#[derive(Debug)]
pub(crate) enum Inserted {
    /// Kept, in place of this one if there was one.
    Kept(Option<Gone>),
    /// The entry there is the better one, or the ring is closed.
    Refused,
}

/// An entry that is not held any more, and what it weighed. To be dropped when no lock is held: to give its memory back takes
/// longer than all the rest.
#[derive(Debug)]
pub(crate) struct Gone {
    _entry: Arc<Entry>,
    pub(crate) weight: u64,
}

impl Ring {
    /// `evictions` outlives the ring: counters are of the scope, entries of an epoch.
    pub(crate) fn new(operations: usize, evictions: Arc<AtomicU64>) -> Self {
        Self { inner: RwLock::new(Inner::new(operations, false)), evictions }
    }

    /// The entry of `key` if it is of these parameters. Whether it may be served is the caller's question.
    #[inline]
    pub(crate) fn get(&self, key: &EntryKey, params: &str) -> Option<Arc<Entry>> {
        let inner = self.read();
        let slot = inner.index.get(key)?;
        if *slot.entry.params != *params {
            return None;
        }
        // Looked at before it is written: a popular entry's cache line stays shared.
        if !slot.used.load(Ordering::Relaxed) {
            slot.used.store(true, Ordering::Relaxed);
        }
        Some(Arc::clone(&slot.entry))
    }

    /// As [`Ring::get`], for who only looks: it counts as no use.
    pub(crate) fn peek(&self, key: &EntryKey, params: &str) -> Option<Arc<Entry>> {
        let inner = self.read();
        let entry = &inner.index.get(key)?.entry;
        (*entry.params == *params).then(|| Arc::clone(entry))
    }

    /// Stores `entry`, unless `stays` says that the one there, of the same parameters, does.
    pub(super) fn insert(
        &self,
        key: EntryKey,
        entry: Arc<Entry>,
        stays: impl FnOnce(&Entry, &Entry) -> bool,
    ) -> Inserted {
        let mut inner = self.write();
        if inner.closed {
            return Inserted::Refused;
        }
        let held = inner.index.get(&key).map(|slot| &slot.entry);
        if held.is_some_and(|held| held.params == entry.params && stays(held, &entry)) {
            return Inserted::Refused;
        }
        Inserted::Kept(inner.put(key, entry))
    }

    /// Moves the hand to an entry that is dead or was not used since the hand last came by, and takes it out; `None` when
    /// there is nothing but `spare`.
    pub(super) fn evict_one(&self, spare: Option<&EntryKey>, now: BootTime) -> Option<Gone> {
        let mut inner = self.write();
        // Twice round: the first clears every flag, the second must find one.
        for _ in 0..2 * inner.index.len() {
            let Some(key) = inner.arrivals.step() else { break };
            let Some(slot) = inner.index.get(&key) else { continue };
            let second_chance = slot.used.swap(false, Ordering::Relaxed) && !slot.entry.dead(now);
            if second_chance || Some(&key) == spare {
                continue;
            }
            self.evictions.fetch_add(1, Ordering::Relaxed);
            return inner.remove(&key);
        }
        None
    }

    /// Looks at the next `most` places and drops what is dead there; returns its weight. Nothing is evicted by it: nobody
    /// could have had these entries.
    pub(super) fn sweep(&self, most: usize, now: BootTime) -> u64 {
        let mut inner = self.write();
        let mut freed = 0;
        let places = inner.arrivals.places();
        for _ in 0..most.min(places) {
            inner.broom = (inner.broom + 1) % places;
            let Some(key) = inner.arrivals.get(inner.broom) else { continue };
            if inner.index.get(&key).is_some_and(|slot| slot.entry.dead(now)) {
                freed += inner.remove(&key).map_or(0, |gone| gone.weight);
            }
        }
        if inner.index.is_empty() && places > 0 {
            // It keeps no room for what it once held.
            *inner = Inner::new(inner.usage.len(), inner.closed);
        } else if places > FEW && inner.arrivals.free() > places / 4 * 3 {
            inner.close_up();
        }
        freed
    }

    /// Places for entries, taken or free.
    pub(super) fn places(&self) -> usize {
        self.read().arrivals.places()
    }

    /// Charges the very `entry` for `more` bytes; `false` when it is not held any more.
    pub(super) fn grow(&self, key: &EntryKey, entry: &Arc<Entry>, more: u64) -> bool {
        let mut inner = self.write();
        let Some(slot) = inner.index.get_mut(key).filter(|slot| Arc::ptr_eq(&slot.entry, entry)) else {
            return false;
        };
        slot.grown += more;
        inner.usage[key.operation.index()].bytes += more;
        true
    }

    /// Takes back what [`Self::grow`] charged; returns how much, nothing when the entry is gone with it.
    pub(super) fn shrink(&self, key: &EntryKey, entry: &Arc<Entry>, less: u64) -> u64 {
        let mut inner = self.write();
        let Some(slot) = inner.index.get_mut(key).filter(|slot| Arc::ptr_eq(&slot.entry, entry)) else {
            return 0;
        };
        slot.grown -= less;
        inner.usage[key.operation.index()].bytes -= less;
        less
    }

    /// Takes the entry of `key` out.
    pub(super) fn remove(&self, key: &EntryKey) -> Option<Gone> {
        self.write().remove(key)
    }

    /// Takes everything out, to be dropped as [`Gone`] is, and keeps nothing from now on if `close`.
    pub(super) fn clear(&self, close: bool) -> impl Sized + use<> {
        let mut inner = self.write();
        let empty = Inner::new(inner.usage.len(), inner.closed || close);
        std::mem::replace(&mut *inner, empty)
    }

    /// Entries and bytes by operation.
    pub(crate) fn usage(&self) -> Box<[Usage]> {
        self.read().usage.clone()
    }

    #[inline]
    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn new(operations: usize, closed: bool) -> Self {
        Self {
            index: HashMap::default(),
            arrivals: Arrivals::new(),
            broom: 0,
            usage: vec![Usage::default(); operations].into(),
            closed,
        }
    }

    /// Puts an entry under its key; returns the one that was there. That one's place and flag are its successor's: what is
    /// computed again was not asked for any less.
    fn put(&mut self, key: EntryKey, entry: Arc<Entry>) -> Option<Gone> {
        let usage = &mut self.usage[key.operation.index()];
        usage.bytes += entry.weight();
        if let Some(slot) = self.index.get_mut(&key) {
            let before = std::mem::replace(&mut slot.entry, entry);
            let weight = before.weight() + std::mem::take(&mut slot.grown);
            usage.bytes -= weight;
            return Some(Gone { _entry: before, weight });
        }
        usage.entries += 1;
        let at = self.arrivals.push(key);
        self.index.insert(key, Slot { entry, at, grown: 0, used: AtomicBool::new(false) });
        None
    }

    /// Gives back the places of what is gone: they take memory that nobody is charged for. Each was paid for by an insertion.
    fn close_up(&mut self) {
        let index = &mut self.index;
        self.arrivals = self.arrivals.closed_up(|key, at| {
            if let Some(slot) = index.get_mut(&key) {
                slot.at = at;
            }
        });
        self.broom = 0;
        self.index.shrink_to_fit();
    }

    fn remove(&mut self, key: &EntryKey) -> Option<Gone> {
        let slot = self.index.remove(key)?;
        self.arrivals.remove(slot.at);
        let weight = slot.entry.weight() + slot.grown;
        let usage = &mut self.usage[key.operation.index()];
        usage.entries -= 1;
        usage.bytes -= weight;
        Some(Gone { _entry: slot.entry, weight })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::entry::Etag;
    use crate::fence::{Epoch, Fence};
    use crate::operation::{Operation, Operations};
    use crate::variant::Variants;
    use std::time::Duration;

    pub(crate) const NOW: BootTime = BootTime::from_nanos(1);

    pub(crate) fn ring() -> Ring {
        Ring::new(1, Arc::default())
    }

    pub(crate) fn key(n: u128) -> EntryKey {
        let operation =
            Operations::new(vec![Operation::new("a", Duration::ZERO)]).unwrap().find("a").unwrap();
        EntryKey { operation, hash: n }
    }

    pub(crate) fn entry(params: &str, tenant: u64, data: u64) -> Arc<Entry> {
        Arc::new(Entry {
            params: params.into(),
            body: vec![0; 100].into(),
            etag: Etag::default(),
            label: Fence { epoch: Epoch::new(7), tenant, operation: 0, data },
            contains: 0,
            computed_at: NOW,
            expires: NOW.plus(Duration::from_secs(1)),
            dies: NOW.plus(Duration::from_secs(2)),
            cost: Duration::ZERO,
            negative: false,
            early: NOW.plus(Duration::from_secs(1)),
            refreshing: false.into(),
            variants: Variants::default(),
        })
    }

    fn insert(ring: &Ring, key: EntryKey, entry: Arc<Entry>) -> Inserted {
        ring.insert(key, entry, |held, new| held.label.outranks(&new.label))
    }

    fn held(ring: &Ring) -> (u64, u64) {
        let label = ring.get(&key(1), "p").unwrap().label;
        (label.tenant, label.data)
    }

    #[test]
    fn the_newer_label_is_kept_whichever_comes_first() {
        let ring = ring();
        insert(&ring, key(1), entry("p", 5, 5));
        assert!(matches!(insert(&ring, key(1), entry("p", 5, 4)), Inserted::Refused));
        assert!(matches!(insert(&ring, key(1), entry("p", 4, 5)), Inserted::Refused));
        assert_eq!(held(&ring), (5, 5));
        assert!(matches!(insert(&ring, key(1), entry("p", 4, 6)), Inserted::Kept(_)), "newer in one part");
        assert_eq!(held(&ring), (4, 6));
        let again = entry("p", 4, 6);
        insert(&ring, key(1), Arc::clone(&again));
        assert!(Arc::ptr_eq(&again, &ring.get(&key(1), "p").unwrap()), "equal labels give way");
        assert_eq!(ring.usage()[0].entries, 1);
        assert_eq!(ring.usage()[0].bytes, again.weight());
    }

    #[test]
    fn the_same_hash_of_other_parameters_is_a_miss() {
        let ring = ring();
        insert(&ring, key(1), entry("p", 9, 9));
        assert!(ring.get(&key(1), "q").is_none());
        assert!(
            matches!(insert(&ring, key(1), entry("q", 1, 1)), Inserted::Kept(_)),
            "its label says nothing of p"
        );
        assert!(ring.get(&key(1), "p").is_none());
        assert!(ring.get(&key(1), "q").is_some());
        assert_eq!(ring.usage()[0].entries, 1);
    }

    #[test]
    fn a_crowd_that_is_asked_for_once_pushes_out_its_own_kind() {
        let ring = ring();
        for n in 0..100 {
            insert(&ring, key(n), entry("p", 0, 0));
        }
        for used in 0..50 {
            ring.get(&key(used), "p").unwrap();
        }
        for n in 100..1100 {
            insert(&ring, key(n), entry("p", 0, 0));
            ring.evict_one(Some(&key(n)), NOW).unwrap();
        }
        let kept = (0..50).filter(|n| ring.peek(&key(*n), "p").is_some()).count();
        assert_eq!((kept, ring.usage()[0].entries), (50, 100), "what was used is there yet");
    }

    #[test]
    fn what_is_computed_again_keeps_its_place_and_its_flag() {
        let ring = ring();
        for n in 0..3 {
            insert(&ring, key(n), entry("p", 0, 0));
        }
        ring.get(&key(0), "p").unwrap();
        let Inserted::Kept(Some(Gone { weight: freed, .. })) = insert(&ring, key(0), entry("p", 0, 1)) else {
            panic!()
        };
        assert_eq!(freed, entry("p", 0, 0).weight());
        assert_eq!(ring.usage()[0], Usage { entries: 3, bytes: 3 * freed });
        ring.evict_one(None, NOW).unwrap();
        assert!(ring.peek(&key(0), "p").is_some(), "it was used");
        assert!(ring.peek(&key(1), "p").is_none());
    }

    #[test]
    fn the_hand_passes_over_what_is_used_and_takes_the_dead_first() {
        let ring = ring();
        for n in 0..4 {
            insert(&ring, key(n), entry("p", 0, 0));
        }
        for used in [0, 1, 3] {
            ring.get(&key(used), "p").unwrap();
        }
        ring.evict_one(None, NOW).unwrap();
        assert!(ring.get(&key(2), "p").is_none());
        // All flags are cleared or set again by now; the dead are taken used or not.
        for used in [0, 1, 3] {
            ring.get(&key(used), "p").unwrap();
        }
        ring.evict_one(None, NOW.plus(Duration::from_secs(2))).unwrap();
        assert_eq!(ring.usage()[0].entries, 2);
    }

    #[test]
    fn a_sweep_takes_the_dead_and_nothing_else_however_it_is_cut_up() {
        for most in [1, 3, 100] {
            let ring = ring();
            for n in 0..10 {
                let mut entry = entry("p", 0, 0);
                Arc::get_mut(&mut entry).unwrap().dies =
                    NOW.plus(Duration::from_secs(if n < 4 { 2 } else { 9 }));
                insert(&ring, key(n), entry);
            }
            let at = |seconds| NOW.plus(Duration::from_secs(seconds));
            let sweep = |now| (0..10).map(|_| ring.sweep(most, now)).sum::<u64>();
            assert_eq!(sweep(at(1)), 0);
            assert_eq!((sweep(at(2)), ring.usage()[0].entries), (4 * entry("p", 0, 0).weight(), 6));
            assert!(ring.get(&key(3), "p").is_none() && ring.get(&key(4), "p").is_some());
            sweep(at(9));
            assert_eq!((ring.usage()[0], ring.places()), (Usage::default(), 0));
            assert!(matches!(insert(&ring, key(1), entry("p", 0, 0)), Inserted::Kept(_)));
        }
    }

    #[test]
    fn places_of_what_is_gone_are_given_back_and_the_hand_goes_on_where_it_was() {
        let ring = ring();
        for n in 0..1000 {
            let mut entry = entry("p", 0, 0);
            let lives = if n % 100 == 0 { 9 } else { 2 };
            Arc::get_mut(&mut entry).unwrap().dies = NOW.plus(Duration::from_secs(lives));
            insert(&ring, key(n), entry);
        }
        // The hand spares the first and passes the next 300.
        ring.get(&key(0), "p").unwrap();
        for n in 0..300 {
            ring.evict_one(None, NOW).unwrap();
            assert!(ring.get(&key(n + 1), "p").is_none());
        }
        ring.sweep(1000, NOW.plus(Duration::from_secs(2)));
        let left = [0, 400, 500, 600, 700, 800, 900];
        assert_eq!((ring.usage()[0].entries, ring.places()), (left.len() as u64, left.len()));
        let gone = |n: u128| ring.peek(&key(n), "p").is_none();
        for n in [400, 500, 600, 700, 800, 900, 0] {
            assert!(!gone(n));
            ring.evict_one(None, NOW).unwrap();
            assert!(gone(n), "{n}");
        }
        insert(&ring, key(1), entry("p", 0, 0));
        assert!(ring.get(&key(1), "p").is_some());
    }

    #[test]
    fn what_is_spared_is_not_evicted_and_an_empty_ring_gives_nothing() {
        let ring = ring();
        assert!(ring.evict_one(None, NOW).is_none());
        insert(&ring, key(1), entry("p", 0, 0));
        assert!(ring.evict_one(Some(&key(1)), NOW).is_none());
        assert!(ring.evict_one(None, NOW).is_some());
        assert_eq!(ring.usage()[0], Usage::default());
        ring.clear(true);
        assert!(matches!(insert(&ring, key(1), entry("p", 0, 0)), Inserted::Refused));
    }
}
