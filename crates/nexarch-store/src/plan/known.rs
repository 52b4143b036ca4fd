//! Facts of recently touched traces, so that the batches of one trace do not decode its chunks again and again.

use std::collections::HashMap;

use nexarch_core::ids::TraceId;

use super::Distinct;
use crate::chunk::Seeded;

/// Most facts remembered, in each of two generations: together about 24 MiB where spans repeat
/// their names, and up to some 200 MiB where each has long names and many links of its own.
const GENERATION: usize = 1 << 15;

/// A trace without facts still takes room.
const BASE: usize = 1;

/// Key: number of the tenant, and the trace.
type Map = HashMap<(i64, TraceId), Distinct, Seeded>;

/// Two generations: what is not asked for while the young one fills up is forgotten with the old one.
/// True only while nobody else writes: the owner clears it when another process did, or a transaction failed.
#[derive(Default)]
pub(crate) struct Known {
    young: Map,
    old: Map,
    size: usize,
}

impl Known {
    /// Takes out what is known of a trace; all its stored facts, or `None`.
    pub(crate) fn take(&mut self, tenant: i64, trace: TraceId) -> Option<Distinct> {
        if let Some(facts) = self.young.remove(&(tenant, trace)) {
            self.size -= facts.len() + BASE;
            return Some(facts);
        }
        self.old.remove(&(tenant, trace))
    }

    /// Remembers a trace as it is stored now.
    pub(crate) fn put(&mut self, tenant: i64, trace: TraceId, facts: Distinct) {
        let size = facts.len() + BASE;
        if size > GENERATION {
            return;
        }
        if self.size + size > GENERATION {
            self.old = std::mem::take(&mut self.young);
            self.size = 0;
        }
        self.size += size;
        self.young.insert((tenant, trace), facts);
    }
}
