//! How much of the shared tier a scope fills, as far as this node can tell: what it wrote and what it found there.
//!
//! An estimate on purpose. To ask the tier would cost a round trip per value and be old at once; each node errs by what
//! the others wrote and it never read.

use crate::clock::BootTime;
use crate::key::{BuildHashed, EntryKey};
use crate::sync::lock;
use std::collections::{BTreeSet, HashMap};
use std::sync::Mutex;
use std::time::Duration;

/// Keys of one scope that are kept count of, about 100 bytes each. A scope with more of them alive is full, whatever
/// they weigh.
const MAX_KEYS: usize = 1 << 16;

/// What the tier takes for a key beyond the key and the value, in bytes: measured on Redis 7 for keys of 70 bytes
/// (`MEMORY USAGE` less both), with its time to live.
const OVERHEAD: u64 = 130;

/// Ends that are less than this apart are taken for one: clocks of two nodes are not closer.
const SAME: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(crate) struct Quota(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    total: u64,
    keys: HashMap<EntryKey, (u64, BootTime), BuildHashed>,
    ends: BTreeSet<(BootTime, EntryKey)>,
}

impl Quota {
    /// Bytes that are there now.
    pub(crate) fn bytes(&self, now: BootTime) -> u64 {
        let mut held = lock(&self.0);
        held.expire(now);
        held.total
    }

    /// Counts `bytes` at `key` for `ttl` in place of what was there, if the whole stays within `most`.
    pub(crate) fn charge(
        &self,
        key: EntryKey,
        bytes: usize,
        ttl: Duration,
        now: BootTime,
        most: u64,
    ) -> bool {
        let bytes = bytes as u64 + OVERHEAD;
        let mut held = lock(&self.0);
        held.expire(now);
        let end = now.plus(ttl);
        let before = held.keys.get(&key).copied();
        // Found again and again, a value is not counted anew each time.
        if before.is_some_and(|before| before.0 == bytes && before.1.apart(end) < SAME) && held.total <= most
        {
            return true;
        }
        let before = before.map(|(bytes, _)| bytes);
        if before.is_none() && held.keys.len() >= MAX_KEYS {
            return false;
        }
        if held.total - before.unwrap_or(0) + bytes > most {
            return false;
        }
        held.remove(key);
        held.total += bytes;
        held.keys.insert(key, (bytes, end));
        held.ends.insert((end, key));
        true
    }

    /// What was charged for `key` is not there.
    pub(crate) fn release(&self, key: EntryKey) {
        lock(&self.0).remove(key);
    }

    /// Nothing is there.
    pub(crate) fn clear(&self) {
        *lock(&self.0) = Held::default();
    }
}

impl Held {
    fn expire(&mut self, now: BootTime) {
        while let Some(&(end, key)) = self.ends.first()
            && end <= now
        {
            self.remove(key);
        }
    }

    fn remove(&mut self, key: EntryKey) {
        if let Some((bytes, end)) = self.keys.remove(&key) {
            self.total -= bytes;
            self.ends.remove(&(end, key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(n: u128) -> EntryKey {
        use crate::operation::{Operation, Operations};
        let table = Operations::new(vec![Operation::new("a", SECOND), Operation::new("b", SECOND)]).unwrap();
        let operation = table.find(if n.is_multiple_of(2) { "a" } else { "b" }).unwrap();
        // Two operations share each hash, as they do with the same parameters.
        EntryKey { operation, hash: n / 2 }
    }

    const NOW: BootTime = BootTime::from_nanos(1_000_000_000);
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_is_charged_counts_until_it_ends() {
        let quota = Quota::default();
        assert!(quota.charge(key(1), 1000, SECOND, NOW, 3000));
        assert!(quota.charge(key(2), 1000, SECOND * 2, NOW, 3000));
        assert!(!quota.charge(key(3), 1000, SECOND, NOW, 3000), "over the cap");
        assert!(quota.charge(key(2), 1500, SECOND * 2, NOW, 3000), "in place of what was there");
        assert_eq!(quota.bytes(NOW), 2500 + 2 * OVERHEAD);
        assert!(quota.charge(key(3), 1000, SECOND, NOW.plus(SECOND), 3000), "the first has ended");
        quota.release(key(3));
        quota.release(key(3));
        assert_eq!(quota.bytes(NOW.plus(SECOND)), 1500 + OVERHEAD);
        quota.clear();
        assert_eq!(quota.bytes(NOW), 0);
    }

    #[test]
    fn the_number_of_keys_has_a_limit() {
        let quota = Quota::default();
        for n in 0..MAX_KEYS as u128 {
            assert!(quota.charge(key(n), 0, SECOND, NOW, u64::MAX));
        }
        assert!(!quota.charge(key(u128::MAX), 0, SECOND, NOW, u64::MAX));
        assert!(quota.charge(key(0), 0, SECOND, NOW, u64::MAX));
        assert!(quota.charge(key(u128::MAX), 0, SECOND, NOW.plus(SECOND), u64::MAX));
    }

    proptest! {
        #[test]
        fn the_total_is_the_sum_of_what_lives(
            steps in prop::collection::vec((0u128..8, 0usize..500, 1u64..20, 0u64..5), 1..200),
        ) {
            let (quota, mut now) = (Quota::default(), NOW);
            let mut plain: HashMap<u128, (u64, BootTime)> = HashMap::new();
            for (n, bytes, ttl, passes) in steps {
                now = now.plus(SECOND * u32::try_from(passes).unwrap());
                plain.retain(|_, (_, end)| *end > now);
                let others: u64 = plain.iter().filter(|(k, _)| **k != n).map(|(_, (bytes, _))| bytes).sum();
                let ttl = Duration::from_secs(ttl);
                let fits = others + bytes as u64 + OVERHEAD <= 2000;
                prop_assert_eq!(quota.charge(key(n), bytes, ttl, now, 2000), fits);
                if fits {
                    plain.insert(n, (bytes as u64 + OVERHEAD, now.plus(ttl)));
                }
                prop_assert_eq!(quota.bytes(now), plain.values().map(|(bytes, _)| bytes).sum::<u64>());
            }
        }
    }
}
