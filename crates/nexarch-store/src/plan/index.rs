//! Finds a span among those of its trace by its identity (R1), without building one.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hasher},
};

use nexarch_core::facts::Facts;

use crate::chunk::Seeded;

/// From a hash of the identity to a place in a list of facts; reused from trace to trace.
#[derive(Default)]
pub(super) struct Index {
    at: HashMap<u64, usize, Seeded>,
    hasher: Seeded,
}

/// Where a span is, or the key under which it can be put.
pub(super) enum Place {
    At(usize),
    Free(u64),
}

impl Index {
    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.at.clear();
    }

    /// Looks up a span in `facts`, to which all places belong.
    pub(super) fn find(&self, facts: &[Facts], wanted: &Facts) -> Place {
        let mut key = self.key(wanted);
        // Two identities with one hash stand behind each other.
        while let Some(at) = self.at.get(&key) {
            if facts.get(*at).is_some_and(|found| same(found, wanted)) {
                return Place::At(*at);
            }
            key = key.wrapping_add(1);
        }
        Place::Free(key)
    }

    /// Puts a place under a key that [`Index::find`] gave.
    pub(super) fn put(&mut self, key: u64, at: usize) {
        self.at.insert(key, at);
    }

    fn key(&self, facts: &Facts) -> u64 {
        let mut state = self.hasher.build_hasher();
        state.write(facts.service.as_bytes());
        state.write_u64(u64::from_be_bytes(facts.span_id.to_bytes()));
        state.write_u64(facts.start_ns);
        state.write_u64(facts.instance);
        state.write_u8(facts.kind.side() as u8);
        state.finish()
    }
}

/// Do two spans of one trace have one identity?
fn same(a: &Facts, b: &Facts) -> bool {
    let same = a.span_id == b.span_id
        && a.start_ns == b.start_ns
        && a.instance == b.instance
        && a.kind.side() == b.kind.side()
        && a.service == b.service;
    debug_assert_eq!(same, a.identity() == b.identity());
    same
}
