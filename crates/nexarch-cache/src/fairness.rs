//! One byte budget for all scopes, and who gives way when it is full.
//!
//! The scope that holds the most loses an entry, so nobody who holds less than an equal part ever loses one to
//! somebody else's flood. A scope alone may fill the whole budget. Above its cap (`tenant_max_percent`) a scope
//! takes nothing from others: it makes room among its own entries.

use crate::clock::BootTime;
use crate::entry::Entry;
use crate::key::EntryKey;
use crate::memory::{Gone, Inserted, Ring};
use crate::sync::lock;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

#[derive(Debug)]
pub(crate) struct Budget {
    max_bytes: u64,
    /// Most bytes of a scope while others want room.
    cap: u64,
    holdings: Mutex<Holdings>,
}

/// Every change of what a ring holds is made and counted under one lock. Insertions are as rare as computations;
/// hits never come here.
#[derive(Debug, Default)]
struct Holdings {
    total: u64,
    /// Entries that gave way.
    evictions: u64,
    /// Bytes by [`Account`], and as they stand in `by_size`.
    bytes: Vec<u64>,
    ordered: Vec<u64>,
    /// The same in order, without those that hold nothing: making room for one large value may take thousands of small ones
    /// from as many scopes. That of the account at work is put in order when it is done.
    by_size: BTreeSet<(u64, usize)>,
    rings: Vec<Option<Arc<Ring>>>,
    free: Vec<usize>,
}

/// One ring's place in the budget; gives back what it holds when dropped.
#[derive(Debug)]
pub(crate) struct Account {
    budget: Arc<Budget>,
    ring: Arc<Ring>,
    at: usize,
}

impl Budget {
    pub(crate) fn new(max_bytes: u64, tenant_max_percent: u8) -> Self {
        let cap = u128::from(max_bytes) * u128::from(tenant_max_percent.min(100)) / 100;
        Self { max_bytes, cap: u64::try_from(cap).unwrap_or(max_bytes), holdings: Mutex::default() }
    }

    pub(crate) fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    pub(crate) fn total(&self) -> u64 {
        lock(&self.holdings).total
    }

    /// Entries of all scopes that gave way to others since it was made.
    pub(crate) fn evictions(&self) -> u64 {
        lock(&self.holdings).evictions
    }

    pub(crate) fn open(self: &Arc<Self>, ring: Ring) -> Account {
        let ring = Arc::new(ring);
        let mut holdings = lock(&self.holdings);
        let at = holdings.free.pop().unwrap_or_else(|| {
            holdings.bytes.push(0);
            holdings.ordered.push(0);
            holdings.rings.push(None);
            holdings.rings.len() - 1
        });
        holdings.rings[at] = Some(Arc::clone(&ring));
        Account { budget: Arc::clone(self), ring, at }
    }

    /// Whose entry goes next when the scope at `at` wants room.
    fn victim(&self, holdings: &Holdings, at: usize) -> usize {
        if holdings.bytes[at] > self.cap {
            return at;
        }
        // Among equals the newcomer itself, so that nobody loses to somebody who holds as much.
        match holdings.by_size.iter().rev().find(|(_, other)| *other != at) {
            Some(&(bytes, largest)) if bytes > holdings.bytes[at] => largest,
            _ => at,
        }
    }
}

impl Account {
    #[inline]
    pub(crate) fn ring(&self) -> &Ring {
        &self.ring
    }

    /// Stores `entry`, unless the one there outranks it, and makes room for it; says whether it is kept.
    pub(crate) fn store(&self, key: EntryKey, entry: Arc<Entry>, now: BootTime) -> bool {
        self.store_unless(key, entry, now, |held, new| held.label.outranks(&new.label))
    }

    /// As [`Self::store`], unless the one there is as good.
    pub(crate) fn store_if_better(&self, key: EntryKey, entry: Arc<Entry>, now: BootTime) -> bool {
        self.store_unless(key, entry, now, |held, new| {
            held.label.outranks(&new.label) || (held.label.covers(&new.label) && held.expires >= new.expires)
        })
    }

    fn store_unless(
        &self,
        key: EntryKey,
        entry: Arc<Entry>,
        now: BootTime,
        stays: impl FnOnce(&Entry, &Entry) -> bool,
    ) -> bool {
        let weight = entry.weight();
        if weight > self.budget.max_bytes {
            return false;
        }
        // Dropped after the lock is.
        let mut gone = Vec::new();
        let mut holdings = lock(&self.budget.holdings);
        let Inserted::Kept(before) = self.ring.insert(key, entry, stays) else { return false };
        holdings.change(self.at, before.as_ref().map_or(0, |gone| gone.weight), weight);
        gone.extend(before);
        let kept = self.make_room(&mut holdings, &key, now, &mut gone);
        if !kept && let Some(own) = self.ring.remove(&key) {
            // Nothing else of its own to give, and nobody holds more: it is this value that does not fit.
            holdings.change(self.at, own.weight, 0);
            gone.push(own);
        }
        holdings.order(self.at);
        kept
    }

    /// Lets entries go until the budget holds, but for `spare`; says whether it does.
    fn make_room(
        &self,
        holdings: &mut Holdings,
        spare: &EntryKey,
        now: BootTime,
        gone: &mut Vec<Gone>,
    ) -> bool {
        while holdings.total > self.budget.max_bytes {
            let victim = self.budget.victim(holdings, self.at);
            let spare = (victim == self.at).then_some(spare);
            let evicted = holdings.rings[victim].as_ref().and_then(|ring| ring.evict_one(spare, now));
            let Some(evicted) = evicted else { return false };
            holdings.evictions += 1;
            holdings.change(victim, evicted.weight, 0);
            if victim != self.at {
                holdings.order(victim);
            }
            gone.push(evicted);
        }
        true
    }

    /// Charges an entry that is held for `more` bytes and makes room for them; says whether it may keep them.
    pub(crate) fn grow(&self, key: &EntryKey, entry: &Arc<Entry>, more: u64, now: BootTime) -> bool {
        let mut gone = Vec::new();
        let mut holdings = lock(&self.budget.holdings);
        if !self.ring.grow(key, entry, more) {
            return false;
        }
        holdings.change(self.at, 0, more);
        let fits = self.make_room(&mut holdings, key, now, &mut gone);
        if !fits {
            // Only itself is left to give way: it goes on without.
            let back = self.ring.shrink(key, entry, more);
            holdings.change(self.at, back, 0);
        }
        holdings.order(self.at);
        fits
    }

    /// Drops the dead among the next `most` places.
    pub(crate) fn sweep(&self, most: usize, now: BootTime) {
        let mut holdings = lock(&self.budget.holdings);
        let freed = self.ring.sweep(most, now);
        holdings.change(self.at, freed, 0);
        holdings.order(self.at);
    }

    /// Places for entries, taken or free.
    pub(crate) fn places(&self) -> usize {
        self.ring.places()
    }

    /// Drops every entry; with `close` for good.
    pub(crate) fn clear(&self, close: bool) {
        // Dropped after the lock is, which all scopes share.
        let _gone;
        let mut holdings = lock(&self.budget.holdings);
        _gone = self.ring.clear(close);
        let held = holdings.bytes[self.at];
        holdings.change(self.at, held, 0);
        holdings.order(self.at);
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.clear(true);
        let mut holdings = lock(&self.budget.holdings);
        holdings.rings[self.at] = None;
        holdings.free.push(self.at);
    }
}

impl Holdings {
    /// [`Self::order`] is to follow.
    fn change(&mut self, at: usize, less: u64, more: u64) {
        self.bytes[at] = self.bytes[at] - less + more;
        self.total = self.total - less + more;
    }

    /// Puts an account in its place by size. Where one value took the place of another of its weight, it has it already.
    fn order(&mut self, at: usize) {
        let (before, after) = (self.ordered[at], self.bytes[at]);
        if before != after {
            self.ordered[at] = after;
            self.by_size.remove(&(before, at));
            if after > 0 {
                self.by_size.insert((after, at));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::tests::{NOW, entry, key, ring};
    use proptest::prelude::*;
    use std::time::Duration;

    fn later(mut entry: Arc<Entry>) -> Arc<Entry> {
        let inner = Arc::get_mut(&mut entry).unwrap();
        inner.expires = inner.expires.plus(Duration::from_millis(1));
        entry
    }

    #[test]
    fn what_is_found_elsewhere_takes_the_place_of_what_is_worse_alone() {
        let account = Arc::new(Budget::new(1 << 20, 50)).open(ring());
        let held = entry("p", 5, 5);
        assert!(account.store_if_better(key(1), Arc::clone(&held), NOW));
        for no_better in [entry("p", 5, 5), entry("p", 5, 4), entry("p", 4, 5), later(entry("p", 5, 4))] {
            assert!(!account.store_if_better(key(1), no_better, NOW));
        }
        assert!(Arc::ptr_eq(&account.ring().peek(&key(1), "p").unwrap(), &held));
        for better in [later(entry("p", 5, 5)), entry("p", 5, 6), entry("q", 1, 1)] {
            assert!(account.store_if_better(key(1), better, NOW));
        }
        assert_eq!(account.ring().usage()[0].entries, 1);
    }

    proptest! {
        /// Whoever stored, grew, swept and gave way: the largest is found where it is.
        #[test]
        fn accounts_stand_in_the_order_of_what_they_hold(
            steps in prop::collection::vec((0usize..4, 0u128..6, 0usize..400, 0u8..8), 1..120),
        ) {
            let budget = Arc::new(Budget::new(3000, 50));
            let accounts: Vec<_> = (0..4).map(|_| budget.open(ring())).collect();
            for (who, which, size, what) in steps {
                let account = &accounts[who];
                let mut new = entry("p", 0, 0);
                Arc::get_mut(&mut new).unwrap().body = vec![0; size].into();
                match what {
                    0 => account.sweep(3, NOW.plus(Duration::from_secs(3))),
                    1 => account.clear(false),
                    2 => {
                        let held = account.ring().peek(&key(which), "p");
                        if let Some(held) = held {
                            account.grow(&key(which), &held, size as u64, NOW);
                        }
                    }
                    _ => _ = account.store(key(which), new, NOW),
                }
                let holdings = lock(&budget.holdings);
                let sum: u64 = holdings.bytes.iter().sum();
                prop_assert!(holdings.total == sum && sum <= 3000, "{holdings:?}");
                let held = |account: &Account| account.ring.usage()[0].bytes;
                let bytes: Vec<_> = accounts.iter().map(held).collect();
                prop_assert_eq!(&holdings.bytes, &bytes);
                let all = bytes.iter().copied().zip(0..).filter(|(bytes, _)| *bytes > 0);
                prop_assert_eq!(&holdings.by_size, &all.collect::<BTreeSet<_>>());
            }
        }
    }
}
