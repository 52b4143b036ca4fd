//! Spans of one trace, each identity once, however many versions of them are stored.

use std::collections::BTreeMap;

use nexarch_core::facts::Facts;

use super::index::{Index, Place};

/// Versions that may wait to be told apart, beside as many as there are identities.
const SLACK: usize = 1_024;

/// The best stored version of each span of a trace, and how many there are. While versions are added, memory is bounded by
/// the number of identities, not by that of versions.
#[derive(Default)]
pub(crate) struct Distinct {
    facts: Vec<Facts>,
    /// So many of `facts` are different identities; behind them come versions that nobody looked at yet.
    told_apart: usize,
    /// Stored versions beyond the first, by place in `facts`, where there are any.
    again: BTreeMap<usize, u32>,
}

impl Distinct {
    /// Adds stored versions.
    pub(crate) fn extend(&mut self, versions: impl Iterator<Item = Facts>) {
        self.facts.extend(versions);
        if self.facts.len() > 2 * self.told_apart + SLACK {
            self.tell_apart(&mut Index::default(), 0);
        }
    }

    /// Leaves each identity once, and puts all of them into `index`; there is room for `more`.
    pub(super) fn tell_apart(&mut self, index: &mut Index, more: usize) {
        index.clear();
        if self.told_apart == self.facts.len() {
            for (at, facts) in self.facts.iter().enumerate() {
                if let Place::Free(key) = index.find(&self.facts, facts) {
                    index.put(key, at);
                }
            }
            self.facts.reserve(more);
            return;
        }
        let versions = std::mem::take(&mut self.facts);
        let facts = &mut self.facts;
        facts.reserve(versions.len() + more);
        for version in versions {
            match index.find(facts, &version) {
                Place::At(at) => {
                    *self.again.entry(at).or_default() += 1;
                    match facts.get_mut(at) {
                        Some(known) if version.supersedes(known) => *known = version,
                        _ => {}
                    }
                }
                Place::Free(key) => {
                    index.put(key, facts.len());
                    facts.push(version);
                }
            }
        }
        self.told_apart = facts.len();
    }

    /// What was added; versions that nobody looked at yet may be among it.
    pub(crate) fn into_facts(self) -> Vec<Facts> {
        self.facts
    }

    /// The spans; each once after [`Distinct::tell_apart`].
    pub(crate) fn facts(&self) -> &[Facts] {
        &self.facts
    }

    /// How many spans there are.
    pub(crate) fn len(&self) -> usize {
        self.facts.len()
    }

    /// How many versions are stored, of all spans together.
    pub(super) fn stored(&self) -> u64 {
        self.facts.len() as u64 + self.again.values().map(|more| u64::from(*more)).sum::<u64>()
    }

    /// How many versions of the span at a place are stored.
    pub(super) fn stored_of(&self, at: usize) -> u32 {
        self.again.get(&at).map_or(1, |more| more.saturating_add(1))
    }

    /// Adds a new span.
    pub(super) fn push(&mut self, facts: Facts) {
        self.facts.push(facts);
        self.told_apart = self.facts.len();
    }

    /// Puts a better version in its place; `stored` beside the other one, or instead of it.
    pub(super) fn replace(&mut self, at: usize, version: &Facts, stored: bool) {
        if let Some(known) = self.facts.get_mut(at) {
            known.clone_from(version);
            if stored {
                *self.again.entry(at).or_default() += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::spans;

    #[test]
    fn versions_are_told_apart_while_they_come() {
        let base: Vec<Facts> = spans::trace(1, 10).iter().map(Facts::from).collect();
        let longer = |round: u64| {
            let version = move |facts: &Facts| Facts {
                duration_ns: facts.duration_ns.map(|ns| ns + round * 7_919 % 10_007),
                ..facts.clone()
            };
            base.iter().map(version).collect::<Vec<_>>()
        };
        let mut distinct = Distinct::default();
        for round in 0..10_007 {
            distinct.extend(longer(round).into_iter());
            assert!(distinct.len() <= 2 * 10 + SLACK, "{} after {round} rounds", distinct.len());
        }
        distinct.tell_apart(&mut Index::default(), 0);
        assert_eq!((distinct.len(), distinct.stored()), (10, 100_070));
        assert_eq!(distinct.stored_of(3), 10_007);
        let best = base.iter().map(|facts| facts.duration_ns.map(|ns| ns + 10_006));
        assert!(distinct.facts().iter().map(|facts| facts.duration_ns).eq(best));
    }
}
