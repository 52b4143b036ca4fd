//! How long to wait before the next attempt: full jitter, without end.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Doubled with each attempt. The first retry comes almost at once: most cuts are over by then.
const BASE: Duration = Duration::from_millis(50);

/// The longest wait. A server that came back is found within it, so it bounds recovery; on average two attempts a
/// second and server are below every rate limit that we know of.
const CAP: Duration = Duration::from_secs(1);

/// The longest wait after an answer that time does not heal: wrong password, wrong certificate.
const HOPELESS_CAP: Duration = Duration::from_secs(5);

/// Full jitter after Marc Brooker, "Exponential Backoff And Jitter": uniform between zero and the doubled wait, so
/// that nodes which lost the same server do not come back together.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// The wait before the next attempt; `chance` is uniform over `u64`.
    pub(super) fn next(&mut self, hopeless: bool, chance: u64) -> Duration {
        let cap = if hopeless { HOPELESS_CAP } else { CAP };
        let most = BASE.saturating_mul(1 << self.attempts.min(16)).min(cap);
        self.attempts = self.attempts.saturating_add(1);
        part(most, chance)
    }

    pub(super) fn reset(&mut self) {
        self.attempts = 0;
    }
}

/// A share of `most`: all of it for the largest `chance`, nothing for zero.
pub(super) fn part(most: Duration, chance: u64) -> Duration {
    let nanos = (most.as_nanos() * u128::from(chance)) >> 64;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// A number that nobody can guess and that differs in every process. Not for secrets.
pub(super) fn chance() -> u64 {
    // Every state of the standard library's hasher has fresh keys; hashing nothing under them is a random number.
    RandomState::new().hash_one(0u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_wait_is_longer_than_its_cap_and_all_are_possible(chance in any::<u64>(), attempts in 0u32..100) {
            for (hopeless, cap) in [(false, CAP), (true, HOPELESS_CAP)] {
                let mut backoff = Backoff { attempts };
                let doubled = BASE * (1 << attempts.min(10));
                prop_assert!(backoff.next(hopeless, chance) <= cap.min(doubled));
                prop_assert_eq!(Backoff { attempts }.next(hopeless, 0), Duration::ZERO);
            }
        }
    }

    #[test]
    fn waits_double_up_to_the_cap() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..8).map(|_| backoff.next(false, u64::MAX).as_millis() + 1).collect();
        assert_eq!(waits, [50, 100, 200, 400, 800, 1000, 1000, 1000]);
        backoff.reset();
        assert_eq!(backoff.next(false, u64::MAX).as_millis() + 1, 50);
    }

    #[test]
    fn chances_differ() {
        assert_ne!(chance(), chance());
    }
}
