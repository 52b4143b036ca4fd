//! How often a view is read from one change to the next.
//!
//! Pure: no clock. Of what is read again and again between changes the next value is wanted for sure, so it may be
//! computed at once: somebody would compute it anyway. It is never computed more often than half as often as it is read,
//! and once at most after the last read.

/// Stretches between two changes that are looked back at.
const PAST: usize = 4;
/// Reads in all of them that make a habit: two in each, on average.
const OFTEN: u8 = 8;
/// More reads of one stretch than these say nothing more: one busy stretch is no habit yet.
const MOST: u8 = 4;

/// Reads of one view, by stretch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Habit {
    /// Since the last change.
    since: u8,
    /// Between changes, the latest stretch first.
    past: [u8; PAST],
}

impl Habit {
    /// Somebody reads it.
    pub(super) fn read(&mut self) {
        self.since = self.since.saturating_add(1).min(MOST);
    }

    /// Something changed: a stretch is over.
    pub(super) fn changed(&mut self) {
        self.past.rotate_right(1);
        self.past[0] = std::mem::take(&mut self.since);
    }

    /// Will the value after the latest change surely be read? Not when nobody read the one before.
    pub(super) fn is_steady(self) -> bool {
        self.past[0] > 0 && self.reads() >= OFTEN
    }

    /// How many reads the looked-back stretches had: who has more of them is served first.
    pub(super) fn reads(self) -> u8 {
        self.past.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// For each change in turn, how often it was read before; says after which changes it would be computed at once.
    fn computed(stretches: &[u8]) -> Vec<bool> {
        let mut habit = Habit::default();
        let after = |reads: &u8| {
            (0..*reads).for_each(|_| habit.read());
            habit.changed();
            habit.is_steady()
        };
        stretches.iter().map(after).collect()
    }

    #[test]
    fn two_reads_a_change_are_a_habit_and_one_busy_stretch_is_none() {
        assert_eq!(computed(&[2, 2, 2, 2, 2]), [false, false, false, true, true]);
        assert_eq!(computed(&[9, 5]), [false, true]);
        assert_eq!(computed(&[200, 0, 0, 0, 0]), [false; 5]);
        assert_eq!(computed(&[1; 50]), [false; 50], "read once, it is computed once by whoever reads it");
        assert_eq!(computed(&[5, 5, 1, 5]), [false, true, true, true], "one slow stretch ends nothing");
    }

    #[test]
    fn who_closes_a_page_costs_one_computation_for_nobody() {
        assert_eq!(computed(&[5, 5, 5, 3, 0, 0, 0]), [false, true, true, true, false, false, false]);
    }

    proptest! {
        /// However reads fall, what is computed at once is at most half of what is read, and nothing is without a read
        /// of the value before.
        #[test]
        fn no_reads_are_worth_more_computations_than_half_of_them(
            stretches in prop::collection::vec(prop_oneof![Just(0u8), 0..8u8, Just(255)], 0..200)
        ) {
            let computed = computed(&stretches);
            let mut reads = 0;
            let mut ahead = 0;
            for (stretch, computed) in stretches.iter().zip(computed) {
                reads += u32::from(*stretch);
                ahead += u32::from(computed);
                prop_assert!(2 * ahead <= reads, "{ahead} for {reads} reads");
                prop_assert!(!computed || *stretch > 0, "nobody read the value before");
            }
        }

        /// Everything that is read at least twice between any two changes is computed ahead from the fourth change on.
        #[test]
        fn what_is_always_read_twice_is_always_computed(
            stretches in prop::collection::vec(2..=255u8, 4..100)
        ) {
            prop_assert!(computed(&stretches)[3..].iter().all(|computed| *computed));
        }
    }
}
