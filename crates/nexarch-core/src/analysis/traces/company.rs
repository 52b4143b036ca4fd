//! Which services are in the same traces.

use std::collections::hash_map::Entry;

use super::{Observer, Together, View};
use crate::infer::tree::Tree;

/// Services of one trace of which pairs are counted: the pairs are the square of it.
const COMPANY: usize = 64;
/// Pairs that are counted in all.
const PAIRS: usize = 50_000;

impl Observer<'_> {
    /// Which services are in one trace.
    pub(super) fn company(&mut self, tree: &Tree<'_>, view: &View) {
        let Some(&first) = tree.order.first() else { return };
        let weight = u64::from(tree.spans[first].weight);
        self.totals.trace_weight += weight;
        let mut services: Vec<usize> = view.place.iter().copied().flatten().collect();
        services.sort_unstable();
        services.dedup();
        for &service in &services {
            *self.totals.present.entry(service).or_default() += weight;
        }
        services.truncate(COMPANY);
        for (nth, &a) in services.iter().enumerate() {
            for &b in &services[nth + 1..] {
                let full = self.totals.together.len() >= PAIRS;
                let pair = match self.totals.together.entry((a, b)) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(_) if full => continue,
                    Entry::Vacant(free) => free.insert(Together::default()),
                };
                pair.traces += 1;
                pair.weight += weight;
            }
        }
    }
}
